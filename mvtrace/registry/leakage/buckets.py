"""LSH as sorted arrays: which texts share a band with a signature, for many signatures at a time.

In: signatures of the eval, then others. Out: for each of these the candidates that datasketch's
MinHashLSH of the same bands names, which a test holds; in 1 KB a text instead of 12 (a set for each
band of each text), and without 30 look-ups in Python for each signature asked.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from mvtrace.registry.leakage.banding import Bands
from mvtrace.registry.leakage.shingles import Hashes, Known
from mvtrace.registry.leakage.signatures import Words, band_keys

Numbers = npt.NDArray[np.int32]


class Buckets:
    """Signatures by number, found again by any of their bands.

    Of a bucket with more than *most* texts the first are kept: *crowded* is how many texts were
    left out of one.
    """

    def __init__(self, minima: Words, numbers: Numbers, cut: Bands, *, most: int) -> None:
        self._cut = cut
        keys = band_keys(minima, *cut).ravel()
        order = np.argsort(keys, kind="stable")
        keys, owners = keys[order], np.repeat(numbers, cut.bands)[order]
        places = np.arange(len(keys))
        is_first = np.concatenate([np.ones(1, np.bool_), keys[1:] != keys[:-1]])[: len(keys)]
        firsts = np.maximum.accumulate(np.where(is_first, places, 0))
        is_kept = places - firsts < most
        self.crowded = len(np.unique(owners[~is_kept]))
        self._keys: Hashes = keys[is_kept]
        self._owners: Numbers = owners[is_kept]
        self._known = Known(self._keys)

    def candidates(self, minima: Words) -> Iterator[tuple[int, Numbers]]:
        """Yield each row of *minima* that shares a band with any, with whose, in order."""
        keys = band_keys(minima, *self._cut)
        rows, bands = np.nonzero(self._known.holds(keys))
        met = keys[rows, bands]
        firsts = np.searchsorted(self._keys, met, "left")
        ends = np.searchsorted(self._keys, met, "right")
        found: dict[int, list[Numbers]] = {}
        for row, first, end in zip(rows.tolist(), firsts.tolist(), ends.tolist(), strict=True):
            if first < end:
                found.setdefault(row, []).append(self._owners[first:end])
        for row, parts in found.items():
            yield row, np.unique(np.concatenate(parts))
