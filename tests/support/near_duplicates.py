"""A corpus with planted near-duplicates: texts, and copies of them edited more and more strongly.

In: a seed. Out: eval texts, and training texts of which some are edits of one, each with the exact
similarity it has left. Words are made up, drawn with the frequencies of a language (Zipf), so that
texts share words and phrases as real ones do; nothing is downloaded.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

LETTERS = "eeeeeeeeeeeetttttttttaaaaaaaaooooooooiiiiiiinnnnnnnsssssshhhhhhrrrrrrddddllllcccuuummwwffggyyppbbvk"


class Copy(NamedTuple):
    """A training text made from an eval text."""

    origin: int
    edits: int
    text: str


class Corpus:
    """Seeded: the same texts each time."""

    def __init__(self, seed: int, *, words: int = 5_000) -> None:
        self._random = random.Random(seed)
        self._words = [self._word() for _ in range(words)]
        self._weights = [1 / (rank + 1) for rank in range(words)]

    def texts(self, count: int, *, least: int = 20, most: int = 60) -> list[str]:
        """Return *count* texts of *least* to *most* words."""
        return [self._text(self._random.randint(least, most)) for _ in range(count)]

    def copies(self, texts: Sequence[str], edits: Sequence[int]) -> list[Copy]:
        """Return of each text one copy for each number of *edits*: words replaced, put in, gone."""
        return [
            Copy(origin, number, self._edited(text, number))
            for origin, text in enumerate(texts)
            for number in edits
        ]

    def _word(self) -> str:
        length = min(2 + int(self._random.expovariate(0.3)), 14)
        return "".join(self._random.choices(LETTERS, k=length))

    def _drawn(self, count: int) -> list[str]:
        return self._random.choices(self._words, self._weights, k=count)

    def _text(self, length: int) -> str:
        words = self._drawn(length)
        for at in range(8, length, 9):
            words[at] += self._random.choice((",", ".", ";"))
        return " ".join(words).capitalize() + "."

    def _edited(self, text: str, edits: int) -> str:
        words = text.split()
        for _ in range(edits):
            at = self._random.randrange(len(words))
            kind = self._random.randrange(3)
            if kind == 0:
                words[at] = self._drawn(1)[0]
            elif kind == 1:
                words.insert(at, self._drawn(1)[0])
            elif len(words) > 1:
                del words[at]
        return " ".join(words)
