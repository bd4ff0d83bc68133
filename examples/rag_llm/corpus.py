"""The corpus: Python's own reference manual, as the standard library ships it, in passages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pydoc_data.topics import topics
from typing import Final

TOPICS: Final = (
    "with", "try", "raise", "while", "for", "yield", "global", "nonlocal", "assert", "lambda",
    "del", "break", "return", "in",
)  # fmt: skip
"""Statements and operators: enough to answer from, embedded in seconds on two cores."""

PASSAGE_CHARACTERS: Final = 480
"""About 110 tokens: three passages are read by the language model in about a second."""

UNDERLINE: Final = re.compile(r"^[*=~^-]{4,}$", re.MULTILINE)
"""What stands under a heading."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A few paragraphs of one topic; ``id`` is stable while the manual is."""

    id: str
    topic: str
    text: str


def passages(names: Iterable[str] = TOPICS) -> list[Passage]:
    """Return the passages of the topics *names*, in their order."""
    return [
        Passage(f"{name}#{number}", name, text)
        for name in names
        for number, text in enumerate(split(topics[name]))
    ]


def split(text: str, limit: int = PASSAGE_CHARACTERS) -> Iterator[str]:
    """Yield *text* in runs of whole paragraphs of up to *limit* characters.

    A paragraph longer than that stays whole: half a rule would be worse than a long passage.
    """
    passage = ""
    for block in text.split("\n\n"):
        paragraph = " ".join(UNDERLINE.sub("", block).split())
        if passage and len(passage) + len(paragraph) > limit:
            yield passage
            passage = ""
        passage = f"{passage}\n{paragraph}".strip()
    if passage:
        yield passage
