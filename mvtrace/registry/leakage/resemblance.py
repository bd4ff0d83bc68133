"""Near-duplicates: texts of training rows whose Jaccard similarity to a text of the eval is high.

In: the normalized texts of the eval, once; then normalized texts of training rows, many at a time.
Out: pairs of high similarity, each computed exactly over the shingles. MinHash LSH, datasketch's,
names the candidates, so a pair at the threshold is missed as rarely as the bands say. Before it
stand filters that lose nothing and spare most rows the work:

- where J(A, B) >= t, at least t of the elements of A are in B, hence in some text of the eval;
- what shares no band with any text of the eval has no candidate.

A candidate whose whole signature is six standard deviations less alike than the threshold asks is
not compared further; of pairs at the threshold that loses one in a thousand million.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from mvtrace.registry.leakage.banding import bands_for
from mvtrace.registry.leakage.buckets import Buckets, Numbers
from mvtrace.registry.leakage.shingles import (
    PIECE,
    Batch,
    Hashes,
    Known,
    distinct_of_long,
    hashed,
    jaccard,
    shingles,
)
from mvtrace.registry.leakage.signatures import Signer, Words

MAX_CROWD: Final = 256
"""Texts of the eval with one and the same band; more than these are not found by that band."""
MAX_CANDIDATES: Final = 512
"""Candidates of one text that are compared; how many texts had more is counted."""
_MAX_SETS: Final = 4_096
_AT_ONCE: Final = 1_000
_DEVIATIONS: Final = 6


class Resembling(NamedTuple):
    """A text of the eval, by its number, and how alike it is."""

    text: int
    similarity: float


class Resemblance:
    """The texts of the eval, asked which of them a text resembles.

    Memory is a few KB a text of the eval, whatever the number of training rows.
    """

    def __init__(
        self, forms: Sequence[str], *, threshold: float, permutations: int, k: int, recall: float
    ) -> None:
        self.threshold, self.k = threshold, k
        self.bands = bands_for(threshold, permutations, recall)
        self.cut = 0
        """Training texts with more candidates than were compared."""
        self._forms = forms
        self._sets: dict[int, frozenset[str]] = {}
        self._signer = Signer(permutations)
        # The share of equal minima is binomial: a pair at the threshold is this far below it with a
        # probability of 1e-9.
        deviation = math.sqrt(threshold * (1 - threshold) / permutations)
        self._likeliest = threshold - _DEVIATIONS * deviation
        self._minima = np.zeros((len(forms), permutations), np.uint32)
        distinct = self._distinct(forms)
        sizes = [len(one) for one in distinct if len(one)]
        self._least = min(sizes, default=0) * threshold
        self._most = max(sizes, default=0) / threshold
        self._known = Known(np.concatenate([np.zeros(0, np.uint64), *distinct]))
        self._buckets = self._indexed(distinct)

    @property
    def crowded(self) -> int:
        """Texts that were left out of a bucket since MAX_CROWD others are in it."""
        return self._buckets.crowded

    def of(self, forms: Sequence[str]) -> list[list[Resembling]]:
        """Return for each of *forms* what it resembles, the most alike first."""
        found: list[list[Resembling]] = [[] for _ in forms]
        worth = self._worth_it(forms)
        if not worth:
            return found
        minima = self._signer.minima([hashes for _, hashes in worth])
        for row, candidates in self._buckets.candidates(minima):
            number = worth[row][0]
            found[number] = self._verified(forms[number], minima[row], candidates)
        return found

    def _worth_it(self, forms: Sequence[str]) -> list[tuple[int, Hashes]]:
        """Return the number and the hashes of each of *forms* that can resemble anything."""
        if not self._most:
            return []
        batch = hashed([form if len(form) <= PIECE else "" for form in forms], self.k)
        held = batch.sums(self._known.holds(batch.hashes))
        is_some = (held > 0) & (held >= self._least)
        is_full = held >= self.threshold * batch.counts
        found = [(number, batch.of(number)) for number in _where(is_some & is_full)]
        # Where shingles repeat, more of the distinct ones may be held.
        found += self._enough((n, _distinct(batch, n)) for n in _where(is_some & ~is_full))
        long = (number for number, form in enumerate(forms) if len(form) > PIECE)
        most = self._most
        found += self._enough((n, distinct_of_long(forms[n], self.k, most)) for n in long)
        return found

    def _enough(self, parts: Iterable[tuple[int, Hashes]]) -> Iterator[tuple[int, Hashes]]:
        """Yield those of *parts* of which so much is held that they can resemble anything."""
        for number, distinct in parts:
            shared = np.count_nonzero(self._known.holds(distinct))
            if len(distinct) and shared >= self.threshold * len(distinct):
                yield number, distinct

    def _verified(self, form: str, minima: Words, numbers: Numbers) -> list[Resembling]:
        candidates = self._likely(numbers, minima)
        if len(candidates) > MAX_CANDIDATES:
            self.cut += 1
            candidates = candidates[:MAX_CANDIDATES]
        own = shingles(form, self.k) if candidates else frozenset()
        pairs = (Resembling(number, jaccard(self._set(number), own)) for number in candidates)
        alike = [one for one in pairs if one.similarity >= self.threshold]
        return sorted(alike, key=lambda one: (-one.similarity, one.text))

    def _likely(self, numbers: Numbers, minima: Words) -> list[int]:
        """Return those of *numbers*, in order, whose signatures are not far too different."""
        agreeing = np.mean(self._minima[numbers] == minima, axis=1)
        likely: list[int] = numbers[agreeing >= self._likeliest].tolist()
        return likely

    def _distinct(self, forms: Sequence[str]) -> list[Hashes]:
        """Return the distinct hashes of each of the texts of the eval."""
        found: list[Hashes] = []
        for first in range(0, len(forms), _AT_ONCE):
            part = forms[first : first + _AT_ONCE]
            batch = hashed([form if len(form) <= PIECE else "" for form in part], self.k)
            found += [
                _distinct(batch, number)
                if len(form) <= PIECE
                else distinct_of_long(form, self.k, float("inf"))
                for number, form in enumerate(part)
            ]
        return found

    def _indexed(self, distinct: Sequence[Hashes]) -> Buckets:
        numbers = np.array([n for n, hashes in enumerate(distinct) if len(hashes)], np.int32)
        if len(numbers):
            self._minima[numbers] = self._signer.minima([distinct[number] for number in numbers])
        return Buckets(self._minima[numbers], numbers, self.bands, most=MAX_CROWD)

    def _set(self, number: int) -> frozenset[str]:
        """Return the shingles of a text of the eval; those asked for last are kept."""
        known = self._sets.get(number)
        if known is None:
            if len(self._sets) >= _MAX_SETS:
                self._sets.clear()
            known = self._sets[number] = shingles(self._forms[number], self.k)
        return known


def _where(mask: npt.NDArray[np.bool_]) -> list[int]:
    found: list[int] = np.flatnonzero(mask).tolist()
    return found


def _distinct(batch: Batch, number: int) -> Hashes:
    ordered = np.sort(batch.of(number))
    if not len(ordered):
        return ordered
    is_first = np.concatenate([np.ones(1, np.bool_), ordered[1:] != ordered[:-1]])
    found: Hashes = ordered[is_first]
    return found
