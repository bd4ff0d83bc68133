"""Containment: texts of the eval that occur in a longer text of the training data.

In: the normalized texts of the eval, once; then normalized texts of training rows. Out: which texts
of the eval have at least a given share of their runs of *n* tokens in one training text (the
criterion by which PaLM's authors called an example contaminated, with 70 % of its 8-grams:
Chowdhery et al., PaLM, 2022, section 8). A text of fewer tokens has one run: itself.

Nothing is missed by sampling. A text of *g* runs of which *m* must be there has one of its
g - m + 1 rarest runs there (prefix filtering: Chaudhuri, Ganti and Kaushik, 2006), so only these
are indexed. Runs are met by 64-bit hashes over the eval's own vocabulary and confirmed as text.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from mvtrace.registry.leakage.normalizing import tokens
from mvtrace.registry.leakage.shingles import Hashes, Known, rolled

MAX_POSTINGS: Final = 256
"""Texts of the eval that one run leads to; of more of the same kind the rest is not indexed."""
MAX_CANDIDATES: Final = 512
PIECE: Final = 1 << 18
"""Characters of a long text that are cut into tokens at once."""


class Contained(NamedTuple):
    """A text of the eval, by its number, and the share of its runs that a training text holds."""

    text: int
    share: float


class _Wanted(NamedTuple):
    """The runs of one text of the eval."""

    hashes: frozenset[int]
    needed: int


class Containment:
    """The texts of the eval, asked which of them a text contains."""

    def __init__(self, forms: Sequence[str], *, threshold: float, n: int, least: int) -> None:
        """Index *forms*; those of fewer than *least* tokens occur anywhere, and are left out."""
        self.threshold, self.n = threshold, n
        self.crowded = 0
        """Texts of which a run that identifies them is shared by more than MAX_POSTINGS."""
        self.cut = 0
        """Training texts with more candidates than were compared."""
        self._forms = forms
        self._words: dict[str, int] = {}
        self._lengths: set[int] = set()
        runs = {
            number: ids
            for number, form in enumerate(forms)
            if len(ids := self._numbered(form)) >= least
        }
        self._wanted = {number: self._runs_of(ids) for number, ids in runs.items()}
        self._postings = self._indexed()
        self._sought = frozenset(one for wanted in self._wanted.values() for one in wanted.hashes)
        self._known = Known(np.fromiter(self._sought, np.uint64, len(self._sought)))

    def of(self, forms: Sequence[str]) -> list[list[Contained]]:
        """Return for each of *forms* the texts of the eval that it contains, in their order."""
        found: list[list[Contained]] = [[] for _ in forms]
        if not self._wanted:
            return found
        met: dict[int, set[int]] = {}
        for batch in _batches(forms, max(self._lengths)):
            for number, run in self._met(batch):
                met.setdefault(number, set()).add(run)
        for number, runs in met.items():
            found[number] = self._among(forms[number], runs)
        return found

    def _among(self, form: str, met: set[int]) -> list[Contained]:
        """Return the texts that *form* contains, of which it has the sought runs *met*."""
        numbers = sorted({number for one in met for number in self._postings.get(one, ())})
        if len(numbers) > MAX_CANDIDATES:
            self.cut += 1
            numbers = numbers[:MAX_CANDIDATES]
        wanted = self._wanted
        likely = [one for one in numbers if len(wanted[one].hashes & met) >= wanted[one].needed]
        return list(self._confirmed(form, likely)) if likely else []

    def _met(self, batch: Sequence[tuple[int, list[str]]]) -> Iterator[tuple[int, int]]:
        """Yield the texts of *batch*, by number, with the sought runs that are in them.

        A run with a word that no text of the eval has is none; between two texts is such a word.
        """
        number_of = self._words.get
        ids = np.array(
            [number_of(word, 0) for _, words in batch for word in (*words, "")], np.uint64
        )
        ends = np.cumsum([len(words) + 1 for _, words in batch])
        strange = np.concatenate([np.zeros(1, np.intp), np.cumsum(ids == 0, dtype=np.intp)])
        for length in self._lengths:
            if len(ids) < length:
                continue
            at = np.flatnonzero(strange[length:] == strange[:-length])
            runs = _hashed(ids, length)[at]
            is_known = self._known.holds(runs)
            places = np.searchsorted(ends, at[is_known], side="right")
            for place, run in zip(places.tolist(), runs[is_known].tolist(), strict=True):
                if run in self._sought:
                    yield batch[place][0], run

    def _numbered(self, form: str) -> npt.NDArray[np.uint64]:
        known = self._words
        return np.array([known.setdefault(one, len(known) + 1) for one in tokens(form)], np.uint64)

    def _runs_of(self, ids: npt.NDArray[np.uint64]) -> _Wanted:
        length = min(len(ids), self.n)
        self._lengths.add(length)
        hashes = frozenset(_hashed(ids, length).tolist())
        return _Wanted(hashes, math.ceil(self.threshold * len(hashes) - 1e-9))

    def _indexed(self) -> dict[int, list[int]]:
        """Return for the rarest runs of each text the texts they lead to."""
        rarity = Counter(one for wanted in self._wanted.values() for one in wanted.hashes)
        postings: dict[int, list[int]] = {}
        for number, wanted in self._wanted.items():
            ordered = sorted(wanted.hashes, key=lambda one: (rarity[one], one))
            prefix = ordered[: len(ordered) - wanted.needed + 1]
            full = [one for one in prefix if len(postings.get(one, ())) >= MAX_POSTINGS]
            self.crowded += bool(full)
            for one in prefix:
                if one not in full:
                    postings.setdefault(one, []).append(number)
        return postings

    def _confirmed(self, form: str, numbers: Sequence[int]) -> Iterator[Contained]:
        """Yield those of *numbers* whose runs, as text, are in *form*; counted without hashes."""
        text = f" {' '.join(tokens(form))} "
        for number in numbers:
            words = tokens(self._forms[number])
            length = min(len(words), self.n)
            runs = {" ".join(words[at : at + length]) for at in range(len(words) - length + 1)}
            found = sum(f" {run} " in text for run in runs)
            if found >= self.threshold * len(runs) - 1e-9:
                yield Contained(number, found / len(runs))


def _hashed(ids: npt.NDArray[np.uint64], length: int) -> Hashes:
    return rolled(ids + np.uint64(length) * np.uint64(1 << 40), length)


def _batches(forms: Sequence[str], widest: int) -> Iterator[list[tuple[int, list[str]]]]:
    """Yield the tokens of *forms*, with their numbers, some PIECE of characters at a time.

    Of a long one the pieces overlap by what a run of *widest* tokens can reach over.
    """
    batch: list[tuple[int, list[str]]] = []
    size = 0
    for number, form in enumerate(forms):
        for words in [tokens(form)] if len(form) <= PIECE else _pieces(form, widest - 1):
            batch.append((number, words))
            size += min(len(form), PIECE)
            if size >= PIECE:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch


def _pieces(form: str, overlap: int) -> Iterator[list[str]]:
    carried: list[str] = []
    at = 0
    while at < len(form):
        end = form.find(" ", at + PIECE)
        end = len(form) if end < 0 else end
        words = carried + tokens(form[at:end])
        yield words
        carried = words[-overlap:] if overlap else []
        at = end + 1
