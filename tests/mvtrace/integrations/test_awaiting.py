"""Calls that two libraries know of: taken once, by the right one, and never kept for good."""

from __future__ import annotations

import asyncio
import contextvars

from mvtrace.integrations.awaiting import MAX_CALLS, Awaiting


def anything(_: object) -> bool:
    return True


def test_the_last_one_is_taken() -> None:
    """
    A call replaces those before it; further ones of a batch are taken in their order.
    """
    waiting: Awaiting[str] = Awaiting("test")
    assert waiting.take(anything) is None
    waiting.put("a")
    waiting.put("b")
    waiting.put("c", is_further=True)

    assert waiting.take(anything) == "b"
    assert waiting.take(lambda one: one != "b") == "c"
    assert waiting.take(lambda one: one == "a") is None


def test_nobody_elses_is_taken() -> None:
    """
    What was put in another context is not seen, in one that was begun from it is.
    """
    waiting: Awaiting[str] = Awaiting("test")
    contextvars.copy_context().run(waiting.put, "a")
    assert waiting.take(anything) is None

    async def go() -> str | None:
        async def beneath() -> str | None:
            return waiting.take(anything)

        waiting.put("b")
        return await asyncio.create_task(beneath())

    assert asyncio.run(go()) == "b"


def test_batches_do_not_pile_up() -> None:
    """
    However many calls were put, a few hundred are kept.
    """
    waiting: Awaiting[int] = Awaiting("test")
    for number in range(3 * MAX_CALLS):
        waiting.put(number, is_further=True)

    assert waiting.take(anything) == 2 * MAX_CALLS
