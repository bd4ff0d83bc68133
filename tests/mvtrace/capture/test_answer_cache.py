"""Answers from a cache name the request that made them, whatever cache it is."""

from __future__ import annotations

import asyncio
import functools
import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from captured import Captured

import mvtrace
from mvtrace.records import RequestRecord


def pickling(function: Callable[..., Any]) -> Callable[..., Any]:
    """A cache that keeps bytes, as one on a disk does."""
    return storing(function, pickle.dumps, pickle.loads)


def json_keeping(function: Callable[..., Any]) -> Callable[..., Any]:
    """A cache that keeps JSON, as one in Redis may."""
    return storing(function, json.dumps, json.loads)


def storing(
    function: Callable[..., Any], dump: Callable[[Any], Any], load: Callable[[Any], Any]
) -> Callable[..., Any]:
    kept: dict[Any, Any] = {}

    @functools.wraps(function)
    def find(*key: Any) -> Any:
        if key not in kept:
            kept[key] = dump(function(*key))
        return load(kept[key])

    return find


def in_request(captured: Captured, act: Callable[[], object]) -> RequestRecord:
    with mvtrace.request(route="/ask"):
        act()
    return captured.records[-1]


@pytest.mark.parametrize("cache", [functools.lru_cache(maxsize=9), pickling, json_keeping])
def test_a_hit_names_who_made_it(captured: Captured, cache: Callable[[Any], Any]) -> None:
    """
    The first request makes the answer, which a second one gets with the first one's id; a request
    that asks twice names nobody.
    """
    asked: list[str] = []

    @mvtrace.cached(cache)
    def answer(question: str) -> dict[str, str]:
        """Answer."""
        asked.append(question)
        return {"answer": question.upper()}

    def ask() -> None:
        assert answer("why") == answer("why") == {"answer": "WHY"}

    first, second = in_request(captured, ask), in_request(captured, ask)

    assert asked == ["why"]
    assert first.cache_origin is None
    assert second.cache_origin == first.request_id
    assert (answer.__name__, answer.__doc__) == ("answer", "Answer.")


def test_what_the_cache_adds_stays(captured: Captured) -> None:
    """
    The cache's own functions are there, and do what they did.
    """

    @mvtrace.cached(functools.lru_cache(maxsize=9))
    def answer(question: str) -> str:
        return question.upper()

    first = in_request(captured, lambda: answer("why"))
    assert answer.cache_info().currsize == 1  # type: ignore[attr-defined]
    answer.cache_clear()  # type: ignore[attr-defined]
    second = in_request(captured, lambda: answer("why"))

    assert first.cache_origin is second.cache_origin is None


def test_coroutines(captured: Captured) -> None:
    """
    A coroutine function is kept by a cache for such, also where requests wait for the same answer.
    """

    def sharing(function: Callable[..., Any]) -> Callable[..., Any]:
        tasks: dict[Any, asyncio.Task[Any]] = {}

        async def find(*key: Any) -> Any:
            return await tasks.setdefault(key, asyncio.ensure_future(function(*key)))

        return find

    async def go() -> None:
        @mvtrace.cached(lambda function: sharing(function))
        async def answer(question: str) -> str:
            await asyncio.sleep(0)
            return question.upper()

        async def one() -> None:
            async with mvtrace.request(route="/ask"):
                assert await answer("why") == "WHY"

        await asyncio.gather(one(), one())

    asyncio.run(go())
    made, got = sorted(captured.records, key=lambda one: one.cache_origin is not None)
    assert (made.cache_origin, got.cache_origin) == (None, made.request_id)


def test_a_step_from_a_cache(captured: Captured) -> None:
    """
    Within a step it is the step that names its origin.
    """

    @mvtrace.retrieval("notes")
    @mvtrace.cached(functools.lru_cache(maxsize=9))
    def search(query: str) -> tuple[tuple[str, float], ...]:
        return (("a", 0.5),)

    first, second = (in_request(captured, lambda: search("x")) for _ in range(2))

    assert second.cache_origin is None
    assert second.calls[0].cache_origin == first.request_id
    assert first.calls[0].cache_origin is None


def test_entries_of_before(captured: Captured) -> None:
    """
    What lay in the cache before is returned as it is, and nobody is named.
    """
    found: list[Any] = []

    def full(_function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda _question: {"answer": "old"}

    @mvtrace.cached(full)
    def answer(question: str) -> dict[str, str]:
        return {"answer": question}

    record = in_request(captured, lambda: found.append(answer("why")))

    assert found == [{"answer": "old"}]
    assert record.cache_origin is None


def test_outside_of_requests(captured: Captured) -> None:
    """
    An answer that was made outside of any request has no origin to name.
    """

    @mvtrace.cached(functools.lru_cache(maxsize=9))
    def answer(question: str) -> str:
        return question.upper()

    assert answer("why") == "WHY"
    assert in_request(captured, lambda: answer("why")).cache_origin is None


def test_generators_are_refused() -> None:
    """
    A generator is refused where it is decorated: what it yields would be gone after the first use.
    """
    with pytest.raises(mvtrace.MvtraceError, match="in no cache"):

        @mvtrace.cached(functools.lru_cache(maxsize=9))
        def answer(question: str) -> Any:
            yield question
