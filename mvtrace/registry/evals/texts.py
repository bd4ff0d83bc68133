"""Texts in what a suite or a scorer says: they are named by digest, and registered as content.

In: plain values, as a harness logs them: prompts, templates, few-shot examples among them. Out: the
same values with a content reference for each such text, and the texts. The references are the same
whether the texts are registered or not, and so is the digest of what says them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from mvtrace.components.content import Content, pin_content
from mvtrace.otlp import LogEvent
from mvtrace.semconv import CONTENT_DIGEST, EVENT_CONTENT

_NAME: Final = re.compile(r"[A-Za-z0-9_.:/@+-]{0,64}|[^\w{}]{0,16}")
"""What stays as it is: names, versions, paths, and delimiters without a letter."""


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts that can be registered."""

    contents: tuple[Content, ...] = field(default=(), repr=False)

    def events(self, register_content: bool = True) -> Iterator[LogEvent]:  # noqa: FBT001, FBT002 (as versions have it)
        """Yield what registers them; nothing where content stays."""
        for piece in self.contents if register_content else ():
            facts = {CONTENT_DIGEST: piece.digest}
            yield LogEvent(EVENT_CONTENT, time.time_ns(), piece.text, facts)


def pinned(value: Any) -> tuple[Any, tuple[Content, ...]]:
    """Return *value* with a reference for each text in it that is no name, and those texts.

    Raises:
        ValueError: a text has no UTF-8 form, or is too long.
    """
    contents: dict[str, Content] = {}

    def settled(one: Any) -> Any:
        if isinstance(one, dict):
            return {key: settled(inner) for key, inner in one.items()}
        if isinstance(one, (list, tuple)):
            return [settled(inner) for inner in one]
        if not isinstance(one, str) or _NAME.fullmatch(one):
            return one
        found = pin_content(one)
        contents.update((piece.digest, piece) for piece in found.pieces)
        return found.reference

    return settled(value), tuple(contents.values())
