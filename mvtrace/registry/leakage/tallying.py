"""From texts that were met to examples that were: what a certificate counts and lists.

In: the examples and, for each source of training data, what it was found to hold. Out: for each
example the surest sign that it was met, and counts by version, method and column. An example was
met if its whole row was, or a text that tells of it alone, or all its texts in one training row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from mvtrace.registry.leakage.examples import Examples
from mvtrace.registry.leakage.matching import RANK, Matched
from mvtrace.registry.leakage.methods import EXACT, METHODS

WHOLE: Final = "row"
"""The whole row of the eval is a training row."""
PAIR: Final = "pair"
"""All texts of the example are in one training row."""

_WIDTHS: Final = {WHOLE: 0, PAIR: 1}


class Sign(NamedTuple):
    """Where an example was met, and how."""

    rank: int
    similarity: float
    source: int
    row: int
    column: str
    """Of the eval; empty where it is the whole row, or all columns."""
    how: str
    """A method, or ``row`` or ``pair``."""

    @property
    def order(self) -> tuple[int, float, int, int, int]:
        """What sorts signs: the surest first, of those the whole row, then all texts in one."""
        return self.rank, -self.similarity, _WIDTHS.get(self.how, 2), self.source, self.row


@dataclass(frozen=True, slots=True)
class Tally:
    """Which examples were met, by their number, each with its surest sign."""

    signs: dict[int, Sign]
    by_column: dict[str, int]
    """How many of the eval's own examples have a text in that column that was met and tells."""
    pairs: int
    """How many of its own were met with all their texts in one training row."""
    rows: int
    """How many of its own are training rows whole."""

    def counts(self, examples: Examples, version: int = 0) -> dict[str, Any]:
        """Return the numbers about one version, as a certificate has them."""
        own = [
            sign for number, sign in self.signs.items() if examples.each[number].version == version
        ]
        ways = Counter(METHODS[sign.rank] for sign in own)
        return {"examples": len(own), "by_method": {name: ways[name] for name in METHODS}}


def tally(examples: Examples, sources: Sequence[Matched]) -> Tally:
    """Return what *sources* hold together; a source is named by its place in the sequence."""
    counting = _Counting(examples)
    for place, found in enumerate(sources):
        counting.texts(place, found)
        counting.pairs_of(place, found)
        counting.wholes_of(place, found)
    return Tally(
        counting.signs,
        {name: _own(examples, numbers) for name, numbers in counting.columns.items()},
        _own(examples, counting.pairs),
        _own(examples, counting.wholes),
    )


class _Counting:
    """Signs as they come in, source by source."""

    def __init__(self, examples: Examples) -> None:
        self._examples = examples
        self.signs: dict[int, Sign] = {}
        self.columns: dict[str, set[int]] = {name: set() for name in examples.columns}
        self.pairs: set[int] = set()
        self.wholes: set[int] = set()

    def texts(self, place: int, found: Matched) -> None:
        """Count what was met text by text."""
        columns = self._examples.columns
        for hit in found.hits.values():
            for text in self._examples.places[hit.text]:
                if text.is_telling:
                    column, how = columns[text.column], METHODS[hit.rank]
                    self.columns[column].add(text.example)
                    sign = Sign(hit.rank, hit.similarity, place, hit.row, column, how)
                    self._note(text.example, sign)

    def pairs_of(self, place: int, found: Matched) -> None:
        """Count what was met with all its texts in one row."""
        for pair, row in found.pairs.items():
            hits = [found.hits[number] for number in pair]
            rank, similarity = max(hit.rank for hit in hits), min(hit.similarity for hit in hits)
            for example in self._examples.pairs[pair]:
                self.pairs.add(example)
                self._note(example, Sign(rank, similarity, place, row, "", PAIR))

    def wholes_of(self, place: int, found: Matched) -> None:
        """Count what was met as a whole row."""
        for digest, row in found.whole.items():
            for example in self._examples.rows[digest]:
                self.wholes.add(example)
                self._note(example, Sign(RANK[EXACT], 1.0, place, row, "", WHOLE))

    def _note(self, example: int, sign: Sign) -> None:
        known = self.signs.get(example)
        if known is None or sign.order < known.order:
            self.signs[example] = sign


def _own(examples: Examples, numbers: set[int]) -> int:
    return sum(examples.each[number].version == 0 for number in numbers)
