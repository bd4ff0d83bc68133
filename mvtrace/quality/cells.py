"""The roll-up as values: sums by arm, metric, exposure hour and bucket, and how they merge. Pure.

A cell counts what a few requests of one arm in one hour came to; whoever adds the cells of all
hours and buckets has all that the estimators ask of any number of spans. Hours are those of the
*exposure*, not of the score's arrival, and the bucket is a hash of the unit with another salt than
the router's.

Laws: ``merge`` is associative and commutative up to the rounding of sums, an empty roll-up is
neutral, and splitting a bucket's requests over several cells changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Final, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Stratum(NamedTuple):
    """What compares directly: one exposure hour of one phase of a rollout."""

    hour: int
    """Hours since 1970 UTC."""
    phase: str = ""
    """Tells apart what was assigned within one hour with different shares, or by route."""


class CellKey(NamedTuple):
    """Which requests a cell counts."""

    arm: str
    metric: str
    stratum: Stratum
    bucket: int


@dataclass(frozen=True, slots=True)
class Cell:
    """Sums over the requests of one key.

    *base* is what a ratio divides by, *squares*, *base_squares* and *cross* are sums of products.
    Of a mean the base is the count: ``Cell.of(values)``.
    """

    requests: int
    total: float
    squares: float
    base: float
    base_squares: float
    cross: float

    def __add__(self, other: Cell) -> Cell:
        """Return the cell of both cells' requests."""
        return Cell(
            self.requests + other.requests,
            self.total + other.total,
            self.squares + other.squares,
            self.base + other.base,
            self.base_squares + other.base_squares,
            self.cross + other.cross,
        )

    @classmethod
    def of_sums(cls, requests: int, total: float, squares: float) -> Self:
        """Return the cell of *requests* values with these sums."""
        return cls(requests, total, squares, requests, requests, total)

    @classmethod
    def of(cls, values: Iterable[float], bases: Iterable[float] | None = None) -> Self:
        """Return the cell of *values*, one a request, perhaps each over one of *bases*."""
        numbers = list(values)
        total, squares = sum(numbers), sum(value * value for value in numbers)
        if bases is None:
            return cls.of_sums(len(numbers), total, squares)
        below = list(bases)
        cross = sum(value * base for value, base in zip(numbers, below, strict=True))
        return cls(
            len(numbers), total, squares, sum(below), sum(base * base for base in below), cross
        )


@dataclass(frozen=True, slots=True)
class Columns:
    """The cells of one metric and one arm, a place each; no stratum and bucket twice."""

    hours: NDArray[np.int64]
    phases: NDArray[np.str_]
    buckets: NDArray[np.int64]
    sums: NDArray[np.float64]
    """A row for each field of Cell, in its order."""

    @classmethod
    def of(cls, pairs: Sequence[tuple[CellKey, Cell]]) -> Self:
        """Return *pairs* as columns."""
        keys = [key for key, _ in pairs]
        return cls(
            np.array([key.stratum.hour for key in keys], dtype=np.int64),
            np.array([key.stratum.phase for key in keys], dtype=np.str_),
            np.array([key.bucket for key in keys], dtype=np.int64),
            np.array([_FIELDS(cell) for _, cell in pairs], dtype=np.float64).reshape(-1, 6).T,
        )


_FIELDS: Final = attrgetter("requests", "total", "squares", "base", "base_squares", "cross")


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """How many records an arm's producers numbered, and how many of these came."""

    expected: int
    received: int
    awaited: int = 0
    """Of the others those that were found to be missing a moment ago: they may come still."""

    def __add__(self, other: Delivery) -> Delivery:
        """Return both together."""
        return Delivery(
            expected=self.expected + other.expected,
            received=self.received + other.received,
            awaited=self.awaited + other.awaited,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RollUp:
    """All that is known of a comparison's requests, but no request."""

    cells: Mapping[CellKey, Cell] = field(default_factory=dict)
    shares: Mapping[Stratum, float] = field(default_factory=dict)
    """The planned share of the canary. A stratum that has none, since it changed within it, is left
    out of the exact tests."""
    units: Mapping[tuple[str, Stratum], int] = field(default_factory=dict)
    """By arm: units assigned for the first time. Requests of sticky users are no units."""
    deliveries: Mapping[str, Delivery] = field(default_factory=dict)
    scorers: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """By metric: the digests of what scored it, on either arm."""
    services: frozenset[str] = frozenset()
    """Those that count units of one draw each for itself, where they are several."""
    mixed: int = 0
    """Requests that more than one version served."""

    def merge(self, other: RollUp) -> RollUp:
        """Return the roll-up of both; neither counts what the other counts.

        Raises:
            ValueError: they plan different shares for one stratum.
        """
        for stratum in self.shares.keys() & other.shares.keys():
            if self.shares[stratum] != other.shares[stratum]:
                shares = f"{self.shares[stratum]} and {other.shares[stratum]}"
                raise ValueError(f"the planned share of {stratum} is both {shares}")
        return RollUp(
            cells=_merged(self.cells, other.cells, lambda one, two: one + two),
            shares={**self.shares, **other.shares},
            units=_merged(self.units, other.units, lambda one, two: one + two),
            deliveries=_merged(self.deliveries, other.deliveries, lambda one, two: one + two),
            scorers=_merged(self.scorers, other.scorers, lambda one, two: one | two),
            services=self.services | other.services,
            mixed=self.mixed + other.mixed,
        )

    def columns(self) -> dict[tuple[str, str], Columns]:
        """Return the cells as columns, by metric and arm: what a query would return of them."""
        chosen: dict[tuple[str, str], list[tuple[CellKey, Cell]]] = {}
        for key, cell in self.cells.items():
            chosen.setdefault((key.metric, key.arm), []).append((key, cell))
        return {one: Columns.of(pairs) for one, pairs in chosen.items()}


def _merged(
    first: Mapping[_Key, _Value],
    second: Mapping[_Key, _Value],
    add: Callable[[_Value, _Value], _Value],
) -> dict[_Key, _Value]:
    merged = dict(first)
    for key, value in second.items():
        merged[key] = add(merged[key], value) if key in merged else value
    return merged
