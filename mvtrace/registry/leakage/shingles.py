"""Shingles: the runs of *k* characters of a normalized text, hashed many texts at a time.

In: normalized texts. Out: for each its distinct shingles as 64-bit hashes (numpy), or, where
similarity is computed exactly, as the runs themselves. A text shorter than *k* is one shingle.

A hash is the polynomial of the code points modulo 2^64, mixed once: it is the same on every machine
and in every process, and finds candidates only; what is reported was compared by the runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]

_FACTOR: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX: Final = np.uint64(0xBF58476D1CE4E5B9)
_SHIFT: Final = np.uint64(29)
PIECE: Final = 1 << 18
"""Characters of a long text that are hashed at once: some 10 MiB of work."""


def shingles(form: str, k: int) -> frozenset[str]:
    """Return the distinct runs of *k* characters of *form*; of a shorter one itself."""
    if len(form) <= k:
        return frozenset({form}) if form else frozenset()
    return frozenset(form[at : at + k] for at in range(len(form) - k + 1))


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """Return the size of what two sets share, over that of their union; 0 for two empty ones."""
    shared = len(one & other)
    union = len(one) + len(other) - shared
    return shared / union if union else 0.0


def rolled(codes: npt.NDArray[np.uint64], k: int) -> Hashes:
    """Return the hash of each run of *k* of *codes*; there are at least *k*."""
    count = len(codes) - k + 1
    found = codes[:count].copy()
    for offset in range(1, k):
        found *= _FACTOR
        found += codes[offset : offset + count]
    return mixed(found)


def mixed(hashes: Hashes) -> Hashes:
    """Return *hashes* with every bit depending on all: their high bits can address a table."""
    found = hashes ^ (hashes >> _SHIFT)
    found *= _MIX
    found ^= found >> _SHIFT
    return found


class Batch(NamedTuple):
    """The hashes of several texts one after the other, as often as each occurs."""

    hashes: Hashes
    starts: npt.NDArray[np.intp]
    """Where those of each text begin; one that has none begins where the next does."""
    counts: npt.NDArray[np.intp]

    def of(self, number: int) -> Hashes:
        """Return the hashes of one text."""
        start = self.starts[number]
        return self.hashes[start : start + self.counts[number]]

    def sums(self, values: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
        """Return for each text how many of *values*, one a hash, are true."""
        running = np.concatenate([np.zeros(1, np.intp), np.cumsum(values, dtype=np.intp)])
        sums: npt.NDArray[np.intp] = running[self.starts + self.counts] - running[self.starts]
        return sums


def hashed(forms: Sequence[str], k: int) -> Batch:
    """Return the hashes of the runs of *k* characters of each of *forms*.

    Each is at most PIECE long; longer ones come through distinct_of_long.
    """
    padded = [form if not form or len(form) >= k else form.ljust(k, "\0") for form in forms]
    sizes = np.fromiter(map(len, padded), np.intp, len(padded))
    counts = np.maximum(sizes - k + 1, 0)
    ends = np.cumsum(counts)
    starts = ends - counts
    joined = "".join(padded).encode("utf-32-le", "surrogatepass")
    codes = np.frombuffer(joined, dtype=np.uint32).astype(np.uint64)
    if len(codes) < k:
        return Batch(np.zeros(0, np.uint64), starts, counts)
    every = rolled(codes, k)
    # Runs that begin in one text and end in the next are of neither.
    at = np.repeat(np.cumsum(sizes) - sizes - starts, counts) + np.arange(len_of(ends))
    return Batch(every[at], starts, counts)


def len_of(ends: npt.NDArray[np.intp]) -> int:
    """Return the last of *ends*, 0 where there are none."""
    return int(ends[-1]) if len(ends) else 0


def distinct_of_long(form: str, k: int, most: float) -> Hashes:
    """Return the distinct hashes of a long text, read piece by piece; none if more than *most*."""
    distinct = np.zeros(0, np.uint64)
    for at in range(0, len(form) - k + 1, PIECE):
        piece = hashed([form[at : at + PIECE + k - 1]], k).hashes
        distinct = np.union1d(distinct, piece)
        if len(distinct) > most:
            return distinct[:0]
    return distinct


class Known:
    """A set of hashes that answers for many at once; what it does not know, it never claims.

    It may claim some that it does not hold (1 in 16 of the others, or fewer): a filter.
    """

    def __init__(self, hashes: Hashes) -> None:
        bits = max(int(len(hashes) * 16).bit_length(), 10)
        self._shift = np.uint64(64 - min(bits, 28))
        self._table = np.zeros(1 << min(bits, 28), dtype=np.bool_)
        self._table[hashes >> self._shift] = True

    def holds(self, hashes: Hashes) -> npt.NDArray[np.bool_]:
        """Return for each of *hashes* whether it may be held."""
        found: npt.NDArray[np.bool_] = self._table[hashes >> self._shift]
        return found
