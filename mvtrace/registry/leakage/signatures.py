"""MinHash signatures of many texts at a time: the same numbers as datasketch's, ten times as fast.

datasketch documents its scheme affine32: a 32-bit hash is mixed once by the MurmurHash3 finalizer,
then permutation *i* is ``a_i * h + b_i`` modulo 2^32, and the signature is the least of each. A
test holds that both give the same signature; the permutations themselves are datasketch's.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from datasketch import MinHash

from mvtrace.registry.leakage.shingles import Hashes

Words = npt.NDArray[np.uint32]
SCHEME: Final = "affine32"
_HIGH: Final = np.uint64(32)
_STEPS: Final = ((16, 0x85EBCA6B), (13, 0xC2B2AE35))
_LAST: Final = np.uint32(16)
_AT_ONCE: Final = 1 << 16
"""Hashes that are permuted at once: they fit into a processor's cache."""


class Signer:
    """Makes signatures of *permutations* numbers."""

    def __init__(self, permutations: int) -> None:
        factors, terms = MinHash(num_perm=permutations, scheme=SCHEME).permutations
        self._factors = np.asarray(factors, np.uint32)
        self._terms = np.asarray(terms, np.uint32)

    def minima(self, parts: list[Hashes]) -> Words:
        """Return one row a part: the least of its hashes under each permutation.

        No part is empty; that a hash occurs several times changes nothing.
        """
        found = np.empty((len(parts), len(self._factors)), np.uint32)
        first = 0
        while first < len(parts):
            last, size = first + 1, len(parts[first])
            while last < len(parts) and size + len(parts[last]) <= _AT_ONCE:
                size += len(parts[last])
                last += 1
            self._fill(found[first:last], parts[first:last])
            first = last
        return found

    def _fill(self, found: Words, parts: list[Hashes]) -> None:
        sizes = np.fromiter(map(len, parts), np.intp, len(parts))
        starts = np.cumsum(sizes) - sizes
        mixed = _finalized((np.concatenate(parts) >> _HIGH).astype(np.uint32))
        permuted = np.empty_like(mixed)
        for number, (factor, term) in enumerate(zip(self._factors, self._terms, strict=True)):
            np.multiply(mixed, factor, out=permuted)
            permuted += term
            found[:, number] = np.minimum.reduceat(permuted, starts)


def band_keys(minima: Words, bands: int, rows: int) -> Hashes:
    """Return for each signature one number a band, equal where the bands are."""
    cut = minima[:, : bands * rows].reshape(len(minima), bands, rows).astype(np.uint64)
    keys = np.broadcast_to(np.arange(bands, dtype=np.uint64), cut.shape[:2]).copy()
    for row in range(rows):
        keys = (keys ^ cut[:, :, row]) * np.uint64(0x9E3779B97F4A7C15)
        keys ^= keys >> np.uint64(29)
    return keys * np.uint64(0xBF58476D1CE4E5B9)


def _finalized(words: Words) -> Words:
    for shift, factor in _STEPS:
        words = words ^ (words >> np.uint32(shift))
        words *= np.uint32(factor)
    return words ^ (words >> _LAST)
