"""What hooks into a prompt registry's client have in common: a template is fetched, then rendered.

In: how a library's prompt object is read. Out: what goes on around a fetch and a rendering.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mvtrace.capture.guard import fail_open
from mvtrace.integrations.templates import KnownTemplates, Template, met, rendered


class Told:
    """What is done with the result of one call; its errors are the library's."""

    def __init__(self, then: Callable[[Any], object]) -> None:
        self._then = fail_open(then)

    def enter(self) -> None:
        """Nothing becomes current."""

    def leave(self) -> None:
        """Nothing to end."""

    def answered(self, result: Any) -> None:
        """Take the result."""
        self._then(result)

    def failed(self, error: BaseException) -> None:
        """Leave it to the application: without a template there is none to tell."""


class Registry:
    """One registry: its prompt objects, and the templates they are."""

    def __init__(self, read: Callable[[Any, str | None], Template]) -> None:
        self._read = read
        self._known = KnownTemplates()

    def fetched(self, slot: str | None) -> Told:
        """Return what notes a prompt object that comes, for *slot*."""
        return Told(lambda holder: self._met(holder, slot))

    def rendering(self, holder: Any) -> Told:
        """Return what notes that *holder* was rendered."""
        return Told(lambda result: rendered(self._template(holder), result))

    def _met(self, holder: Any, slot: str | None) -> None:
        if holder is None:
            return  # the library was told to put up with none
        template = self._read(holder, slot)
        self._known.add(holder, template)
        met(template)

    def _template(self, holder: Any) -> Template:
        known = self._known.get(holder)
        return self._read(holder, None) if known is None else known
