"""The cells of one metric of both arms as arrays: which strata there are, what they add. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mvtrace.quality.cells import Cell, Columns, Stratum
from mvtrace.quality.estimators import Buckets, Contribution, contribution
from mvtrace.quality.events import EventCount

_SUMS = [one.name for one in fields(Cell)]
_REQUESTS, _TOTAL = _SUMS.index("requests"), _SUMS.index("total")
_DENSE: Final = 1 << 20
"""Hours and buckets lie within so many numbers; other clusters' numbers may be any."""
Floats = NDArray[np.float64]
Places = NDArray[np.intp]


class Table:
    """One metric; an arm that has no cells is empty."""

    def __init__(self, baseline: Columns | None, canary: Columns | None) -> None:
        arms = [Columns.of([]) if one is None else one for one in (baseline, canary)]
        self._sums = [one.sums for one in arms]
        hours, hour_at = _numbered([one.hours for one in arms])
        phases, phase_at = _numbered([one.phases for one in arms])
        if len(phases) == 1:
            used, self._rows = np.arange(len(hours)), hour_at
        else:
            pairs_at = zip(hour_at, phase_at, strict=True)
            used, self._rows = _numbered([hour * len(phases) + phase for hour, phase in pairs_at])
        pairs = [divmod(int(code), len(phases)) for code in used]
        self._strata = [Stratum(int(hours[hour]), str(phases[phase])) for hour, phase in pairs]
        self._buckets, self._columns = _numbered([one.buckets for one in arms])
        counted = [
            np.bincount(rows, weights=sums[_REQUESTS], minlength=len(used)).tolist()
            for rows, sums in zip(self._rows, self._sums, strict=True)
        ]
        self._requests = {
            stratum: (round(counted[0][row]), round(counted[1][row]))
            for row, stratum in enumerate(self._strata)
        }
        self.baseline, self.canary = self.requests_in(self._strata)

    def strata(self) -> list[Stratum]:
        """Return the strata of either arm, in order."""
        return list(self._strata)

    def requests_in(self, strata: Iterable[Stratum]) -> tuple[int, int]:
        """Return each arm's requests in *strata*."""
        both = [self._requests[one] for one in strata]
        return sum(below for below, _ in both), sum(above for _, above in both)

    def concurrent(self) -> int:
        """Return how many of the canary's requests are in hours in which the baseline has any."""
        served = {one.hour for one, (below, _) in self._requests.items() if below}
        return sum(above for one, (_, above) in self._requests.items() if one.hour in served)

    def beyond_in(
        self, strata: Collection[Stratum], is_beyond: Callable[[Buckets], NDArray[np.bool_]]
    ) -> tuple[int, int]:
        """Return how many buckets in *strata* are *is_beyond*; and of how many, if any is."""
        chosen = set(strata)
        kept = np.array([one in chosen for one in self._strata], dtype=bool)
        counted = found = 0
        for sums, rows in zip(self._sums, self._rows, strict=True):
            counts = kept[rows] & (sums[_REQUESTS] > 0)
            buckets = Buckets(*(sums if counts.all() else sums[:, counts]))
            counted += buckets.requests.size
            found += int(np.count_nonzero(is_beyond(buckets)))
        return (found, counted) if found else (0, 0)

    def contribution_of(self, strata: Collection[Stratum]) -> Contribution:
        """Return what *strata* add together."""
        shape = (len(self._strata), len(self._buckets))
        chosen = set(strata)
        kept = np.array([one in chosen for one in self._strata])
        arms = []
        for sums, rows, columns in zip(self._sums, self._rows, self._columns, strict=True):
            dense = np.zeros((len(_SUMS), shape[0] * shape[1]))
            places = rows * shape[1] + columns
            for row, values in zip(dense, sums, strict=True):  # far faster than all at once
                row[places] = values
            table = dense.reshape(-1, *shape)
            arms.append(Buckets(*(table if kept.all() else table[:, kept])))
        found = contribution(*arms)
        return Contribution(*(getattr(found, one.name).sum(axis=0) for one in fields(found)))

    def events_in(
        self, strata: Sequence[Stratum], shares: Mapping[Stratum, float]
    ) -> tuple[EventCount, ...]:
        """Return the events of *strata*, by planned share."""
        totals = [
            np.bincount(rows, weights=sums[_TOTAL], minlength=len(self._strata))
            for rows, sums in zip(self._rows, self._sums, strict=True)
        ]
        row_of = {stratum: row for row, stratum in enumerate(self._strata)}
        counts: dict[float, list[int]] = {}
        for stratum in strata:
            both = counts.setdefault(shares[stratum], [0, 0])
            for arm in (0, 1):
                both[arm] += round(totals[arm][row_of[stratum]])
        return tuple(EventCount(share, *counts[share]) for share in sorted(counts))


def _numbered(both: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], list[Places]]:
    """Return the values there are, in order, and each arm's places among them."""
    if all(one.dtype.kind == "U" and one.strides == (0,) and one.size for one in both):
        # One text so often, as a reader makes it: to compare each would take longer than all else.
        values, firsts = np.unique([one[0] for one in both], return_inverse=True)
        return values, [
            np.broadcast_to(first, one.shape) for first, one in zip(firsts, both, strict=True)
        ]
    if all(one.dtype.kind == "i" for one in both) and any(one.size for one in both):
        lowest = min(int(one.min()) for one in both if one.size)
        highest = max(int(one.max()) for one in both if one.size)
        if highest - lowest < _DENSE:
            return _numbered_densely(both, lowest, highest)
    values, places = np.unique(np.concatenate(both), return_inverse=True)
    return values, [places[: len(both[0])], places[len(both[0]) :]]


def _numbered_densely(
    both: Sequence[NDArray[Any]], lowest: int, highest: int
) -> tuple[NDArray[Any], list[Places]]:
    """Do so by a list of all numbers between, which needs no sorting."""
    is_there = np.zeros(highest - lowest + 1, dtype=bool)
    for one in both:
        is_there[one - lowest] = True
    place_of = np.cumsum(is_there) - 1
    return np.flatnonzero(is_there) + lowest, [place_of[one - lowest] for one in both]
