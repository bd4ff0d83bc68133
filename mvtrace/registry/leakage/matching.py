"""What of an eval is found in training rows: the eval indexed once, rows asked many at a time.

In: :class:`Examples` and canonical rows. Out: :class:`Matched`: which texts were met in which row,
how, and how alike. A row's texts are compared column by column for being equal or near-duplicates,
all of them together for containing a text of the eval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from mvtrace.registry.leakage.columns import cells_of
from mvtrace.registry.leakage.containment import Containment
from mvtrace.registry.leakage.examples import Examples, row_digest
from mvtrace.registry.leakage.methods import (
    CONTAINED,
    EXACT,
    METHODS,
    MIN_TOKENS,
    NEAR,
    NORMALIZED,
    RECALL,
    Settings,
)
from mvtrace.registry.leakage.normalizing import normalized
from mvtrace.registry.leakage.resemblance import Resemblance

RANK: Final = {method: number for number, method in enumerate(METHODS)}


class Hit(NamedTuple):
    """One text of the eval, by number, met in a training row."""

    text: int
    rank: int
    """Of its method: the number in METHODS."""
    similarity: float
    row: int
    """Position in the training data, from 0."""

    @property
    def order(self) -> tuple[int, float, int]:
        """What sorts hits: the surest first, then the most alike, then the earliest."""
        return self.rank, -self.similarity, self.row


@dataclass(slots=True)
class Matched:
    """What some rows were found to hold."""

    rows: int = 0
    texts: int = 0
    overlapping: int = 0
    """Rows that hold something of the eval."""
    hits: dict[int, Hit] = field(default_factory=dict)
    """The surest hit of each text."""
    whole: dict[bytes, int] = field(default_factory=dict)
    """Digest of a row of the eval -> the first row that is it."""
    pairs: dict[frozenset[int], int] = field(default_factory=dict)
    """All texts of an example -> the first row that holds them."""
    cut: int = 0
    """Training texts with more candidates than were compared."""

    def add(self, other: Matched) -> None:
        """Take in what further rows were found to hold."""
        self.rows += other.rows
        self.texts += other.texts
        self.overlapping += other.overlapping
        self.cut += other.cut
        for hit in other.hits.values():
            self.meet(hit)
        for digest, row in other.whole.items():
            self.whole[digest] = min(row, self.whole.get(digest, row))
        for pair, row in other.pairs.items():
            self.pairs[pair] = min(row, self.pairs.get(pair, row))

    def meet(self, hit: Hit) -> None:
        """Keep *hit* where it is surer than what is known of its text."""
        known = self.hits.get(hit.text)
        if known is None or hit.order < known.order:
            self.hits[hit.text] = hit


class _Asked(NamedTuple):
    """A text of a training row that equals none of the eval."""

    row: int
    form: str


class Matcher:
    """An eval indexed for comparison; memory grows with it alone."""

    def __init__(self, examples: Examples, settings: Settings) -> None:
        self._examples = examples
        forms = examples.telling_forms()
        self._resemblance = Resemblance(
            forms,
            threshold=settings.threshold,
            permutations=settings.permutations,
            k=settings.shingle,
            recall=RECALL,
        )
        self._containment = Containment(
            forms, threshold=settings.contained, n=settings.run, least=MIN_TOKENS
        )

    @property
    def crowded(self) -> int:
        """Texts of the eval too many of which are alike to be all indexed."""
        return self._resemblance.crowded + self._containment.crowded

    def match(self, rows: Sequence[bytes], first: int = 0) -> Matched:
        """Return what *rows*, the first of which is row *first*, hold of the eval."""
        found = Matched(rows=len(rows))
        met: dict[int, dict[int, Hit]] = {}
        asked: list[_Asked] = []
        wholes: list[str] = []
        equal: set[int] = set()
        cut_before = self._cut
        for number, row in enumerate(rows):
            at = first + number
            digest = row_digest(row)
            if digest in self._examples.rows:
                found.whole.setdefault(digest, at)
                equal.add(number)
            forms = self._equal(row, at, met.setdefault(number, {}))
            found.texts += len(forms)
            asked += [_Asked(number, form) for form, is_met in forms.items() if not is_met]
            wholes.append(" ".join(form for form in forms))
        self._alike(asked, first, met)
        self._contained(wholes, first, met)
        found.cut = self._cut - cut_before
        for number, hits in met.items():
            if self._told(found, first + number, hits):
                equal.add(number)
        found.overlapping = len(equal)
        return found

    @property
    def _cut(self) -> int:
        return self._resemblance.cut + self._containment.cut

    def _equal(self, row: bytes, at: int, hits: dict[int, Hit]) -> dict[str, bool]:
        """Note which texts of a row equal one of the eval; return its forms, and which do."""
        forms: dict[str, bool] = {}
        for _, text in cells_of(row):
            number = self._examples.exact.get(text)
            if number is not None:
                _note(hits, Hit(number, RANK[EXACT], 1.0, at))
                forms[self._examples.forms[number]] = True
                continue
            form = normalized(text)
            number = self._examples.numbers.get(form)
            if number is not None:
                _note(hits, Hit(number, RANK[NORMALIZED], 1.0, at))
            if form:
                forms[form] = number is not None
        return forms

    def _alike(self, asked: Sequence[_Asked], first: int, met: dict[int, dict[int, Hit]]) -> None:
        for one, alike in zip(
            asked, self._resemblance.of([one.form for one in asked]), strict=True
        ):
            for number, similarity in alike:
                hit = Hit(number, RANK[NEAR], similarity, first + one.row)
                _note(met[one.row], hit)

    def _contained(self, wholes: Sequence[str], first: int, met: dict[int, dict[int, Hit]]) -> None:
        for row, contained in enumerate(self._containment.of(wholes)):
            for number, share in contained:
                _note(met[row], Hit(number, RANK[CONTAINED], share, first + row))

    def _told(self, found: Matched, at: int, hits: dict[int, Hit]) -> bool:
        """Note what a row holds; return whether that tells of an example."""
        telling = False
        for number, hit in hits.items():
            found.meet(hit)
            telling |= self._examples.telling[number]
        for pair in self._examples.pairs_in(hits):
            found.pairs.setdefault(pair, at)
            telling = True
        return telling


def _note(hits: dict[int, Hit], hit: Hit) -> None:
    known = hits.get(hit.text)
    if known is None or hit.order < known.order:
        hits[hit.text] = hit
