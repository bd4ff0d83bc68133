"""A search by a client library: one retrieval on the record, with the index as it was queried.

In: what a library's own search was called with, and what it returned. Out: index snapshot and
document ids, once. Within a retrieval that the application wraps itself, or that a library further
out has begun, that one is told what it does not know. Texts and vectors stay where they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from mvtrace.capture.calls import current_call
from mvtrace.capture.context import current_exchange
from mvtrace.capture.guard import fail_open
from mvtrace.capture.retrieval_calls import RetrievalCall, retrieval
from mvtrace.integrations.awaiting import Awaiting
from mvtrace.integrations.call_site import call_site

AWAITING: Final[Awaiting[RetrievalCall]] = Awaiting("mvtrace_searches")
"""Searches that a library further out has begun."""
_is_looking: Final[ContextVar[bool]] = ContextVar("mvtrace_is_looking", default=False)
"""Whether it is we who ask: an adapter may read an index by the very function that is wrapped."""

Hit = tuple[object, float | None]
"""A document's id and its score, as the library gives it: a similarity, or a distance."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a search is asked for; *index* is what ``mvtrace.retrieval`` takes."""

    index: object
    top_k: object = None
    query: str | None = None
    """Where it is a text: only its keyed digest is kept."""


class Search:
    """One search of a library."""

    def __init__(self, asked: Asked, hits: Callable[[Any], Iterable[Hit]]) -> None:
        self._hits = hits
        outer = current_call()
        further = outer if isinstance(outer, RetrievalCall) else AWAITING.take(_is_open)
        self._is_ours = further is None
        if further is not None:
            self.call = further
            self._look(lambda: further.queried(asked.index))
        else:
            top_k = asked.top_k if type(asked.top_k) is int else None
            self.call = retrieval(
                call_site("search"), index=asked.index, query=asked.query, top_k=top_k
            )
            self._look(self.call.open)

    @fail_open
    def _look(self, look: Callable[[], object]) -> None:
        before = _is_looking.set(True)
        try:
            look()
        finally:
            _is_looking.reset(before)

    @fail_open
    def enter(self) -> None:
        """Make the call current while the library works."""
        if self._is_ours:
            self.call.attach()

    @fail_open
    def leave(self) -> None:
        """End that."""
        if self._is_ours:
            self.call.detach()

    @fail_open
    def answered(self, result: Any) -> None:
        """Take what was found."""
        try:
            if not self.call.has_documents:
                self.call.documents(self._hits(result))
        finally:
            if self._is_ours:
                self.call.close()

    @fail_open
    def failed(self, error: BaseException) -> None:
        """End the call by *error*."""
        if self._is_ours:
            self.call.close(error)


def search_of(
    asked: Callable[..., Asked | None], hits: Callable[[Any], Iterable[Hit]]
) -> Callable[..., Search | None]:
    """Return what begins a search, told by *asked* what the library's function is called with.

    Outside of any request, and where we look at an index ourselves, there is none.
    """

    def begin(*args: Any, **kwargs: Any) -> Search | None:
        if _is_looking.get() or current_exchange() is None:
            return None
        wanted = asked(*args, **kwargs)
        return None if wanted is None else Search(wanted, hits)

    return begin


def argument(args: tuple[Any, ...], kwargs: dict[str, Any], position: int, name: str) -> Any:
    """Return the argument at *position*, or the one called *name*; None where neither is given."""
    return args[position] if len(args) > position else kwargs.get(name)


def _is_open(call: RetrievalCall) -> bool:
    return call.is_open
