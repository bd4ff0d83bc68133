"""Answers from a library's cache: followed to the request that got the provider's response."""

from __future__ import annotations

from pathlib import Path

from stored import Filler, new_store
from story import record, request_id

from mvtrace.explain.explainer import explain
from mvtrace.records import Alias, Call
from mvtrace.store.reader import Reader


def test_cached_responses_are_followed(tmp_path: Path) -> None:
    """
    An answer that names a provider's response came from the request that got it; where none did,
    or several, nobody is named and the explanation says that the origin is not known.
    """
    with new_store(f"chdb://{tmp_path / 'store'}") as store:
        fill = Filler(store, "default")
        fill.system()
        for number, response in [(1, "c-1"), (2, "c-2"), (3, "c-2")]:
            fill.request(record(number, aliases=(Alias(kind="response_id", value=response),)))
        for number, response in [(4, "c-1"), (5, "c-2"), (6, "c-3")]:
            hit = Call(kind="generation", name="a", cache_origin=f"response_id:{response}")
            fill.request(record(number, aliases=(), calls=(hit,)))
        reader = Reader(store, "default")
        found = [reader.read(request_id(number)) for number in (4, 5, 6)]

    assert [one.origins[0][0] for one in found] == [
        request_id(1), "response_id:c-2", "response_id:c-3",
    ]  # fmt: skip
    said = [
        next(each.text for each in explain(one).findings if each.code.startswith("cache_origin"))
        for one in found
    ]
    assert said[0].startswith(
        f"The answer came from a cache: it was made by request {request_id(1)}"
    )
    assert [f"the response c-{number} none" in said[number - 1] for number in (2, 3)] == [
        True,
        True,
    ]
    origins = [explain(one).to_dict()["cache_origin"]["explanation"] for one in found]
    assert [None if one is None else one["request_id"] for one in origins] == [
        request_id(1), None, None,
    ]  # fmt: skip


def test_a_cached_step_is_no_cached_answer(tmp_path: Path) -> None:
    """
    A search or an embedding from a cache does not make the answer one from a cache.
    """
    step = Call(kind="retrieval", name="a", cache_origin=request_id(1))
    with new_store(f"chdb://{tmp_path / 'store'}") as store:
        fill = Filler(store, "default")
        fill.request(record(1))
        fill.request(record(2, calls=(step,)))
        found = explain(Reader(store, "default").read(request_id(2))).to_dict()

    assert found["cache_origin"] is None
    assert found["calls"][0]["cache_origin"] == request_id(1)
