"""The demo's documents: the language reference that every Python ships, cut into passages.

In: ``pydoc_data.topics``. Out: passages with stable ids such as ``assert#2``. Two ways of cutting
are offered; going from one to the other is the reindex that nobody declares.
"""

from __future__ import annotations

import re
from pydoc_data.topics import topics  # type: ignore[import-untyped,unused-ignore]
from typing import Final, NamedTuple

WORD: Final = re.compile(r"[a-z_][a-z0-9_]*")


class Passage(NamedTuple):
    """A piece of one topic."""

    id: str
    topic: str
    text: str


def passages(words_per_passage: int) -> list[Passage]:
    """Return every topic cut into pieces of about *words_per_passage* words, at paragraph ends."""
    return [
        Passage(f"{topic}#{number}", topic, text)
        for topic in sorted(topics)
        for number, text in enumerate(_pieces(topics[topic], words_per_passage))
    ]


def words_of(text: str) -> list[str]:
    """Return the lower-case words of *text*."""
    return WORD.findall(text.lower())


def questions(number: int) -> list[str]:
    """Return *number* different-enough questions about the corpus, the same ones every time."""
    subjects = sorted(topics)
    forms = (
        "What does {} mean in Python?",
        "How do I use {}?",
        "When would I need {}?",
        "Explain {} with its syntax.",
    )
    return [
        forms[i // len(subjects) % len(forms)].format(subjects[i * 7 % len(subjects)].lower())
        for i in range(number)
    ]


def _pieces(text: str, words_per_passage: int) -> list[str]:
    pieces: list[str] = []
    current: list[str] = []
    for paragraph in text.split("\n\n"):
        current.append(paragraph.strip())
        if sum(len(part.split()) for part in current) >= words_per_passage:
            pieces.append("\n\n".join(current))
            current = []
    if any(current):
        pieces.append("\n\n".join(current))
    return pieces
