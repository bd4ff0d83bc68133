"""A call that two libraries know of, one beneath the other, recorded once.

In: the call, from the library further out, which begins it and ends it. Out: the same call, to the
library beneath, once: that one was there when the provider was asked, and tells what it knows.

The library further out may tell the end in a task of its own, where no context variable of the
caller can be put back. So a call that is over stays where it is, and is taken by nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Final, Generic, TypeVar

MAX_CALLS: Final = 256
"""Calls that wait at once; of more, those put first are taken by nobody."""

_T = TypeVar("_T")


class Awaiting(Generic[_T]):
    """Calls of one kind that wait for what a library beneath knows of them."""

    def __init__(self, name: str) -> None:
        self._calls: Final[ContextVar[tuple[_T, ...]]] = ContextVar(name, default=())

    def put(self, call: _T, *, is_further: bool = False) -> None:
        """Let *call* be the next to be taken; a *further* one is taken after those before it."""
        self._calls.set((*self._calls.get()[1 - MAX_CALLS :], call) if is_further else (call,))

    def take(self, fits: Callable[[_T], bool]) -> _T | None:
        """Return the next call that *fits*, if there is one."""
        return next(filter(fits, self._calls.get()), None)
