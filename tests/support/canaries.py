"""Simulated canaries, many runs at once: what each look at them sees, as the estimators take it.

A ``World`` says what requests are like; ``looks`` yields, look by look, the ``Moments`` of all runs
as arrays, and the plain totals that a naive test would use. Values come from a normal variable
through their distribution's quantiles, so users (a shared part of that variable) and the drift of
the day (a shift of it) mean the same for every distribution.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import special

from mvtrace.quality.estimators import Buckets, Contribution, Moments, contribution, moments

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class World:
    """What is simulated; *step* requests come between two looks."""

    quantile: Callable[[Floats, NDArray[np.bool_]], Floats]
    """The value for a normal variable, given whether it is the canary's."""
    share: float = 0.5
    runs: int = 2000
    looks: int = 200
    step: int = 100
    users: int = 0
    """0: each request is for itself."""
    likeness: float = 0.0
    """The correlation within a user."""
    tail: float = 1.0
    """The standard deviation of the logarithm of a user's activity."""
    drift: float = 0.0
    """The amplitude of a day's cycle, in the normal variable."""
    ramp: tuple[float, ...] = ()
    """Shares, one after another, instead of *share*; each look is then an hour."""
    buckets: int = 64
    seed: int = 1
    is_binary: bool = False
    """Whether values are 0 or 1, their squares therefore themselves."""

    def share_at(self, look: int) -> float:
        """The planned share before this look."""
        if not self.ramp:
            return self.share
        return self.ramp[min(len(self.ramp) - 1, look * len(self.ramp) // self.looks)]


@dataclass(frozen=True)
class Seen:
    """All runs at one look."""

    requests: int
    moments: Moments
    totals: tuple[Floats, ...]
    """Requests, sum and sum of squares of the baseline, then of the canary: without hours or
    users."""


def looks(world: World) -> Iterator[Seen]:
    """Yield what each look at *world* sees."""
    for (seen,) in looks_together([world]):
        yield seen


def looks_together(worlds: Sequence[World]) -> Iterator[tuple[Seen, ...]]:
    """Yield what each look sees of several worlds with the same requests.

    They differ in the distribution of values and in the share alone, so what is drawn is drawn once
    for all of them; each by itself is as random as if it were alone.
    """
    first = worlds[0]
    drawn = _Requests(first)
    states = [_State(world) for world in worlds]
    for look in range(first.looks):
        drawn.draw(look)
        yield tuple(state.seen(drawn, look) for state in states)


def failures(world: World, *, counts_all: bool = False) -> Iterator[tuple[float, Floats, Floats]]:
    """Yield, look by look, the planned share and the baseline's and canary's new values below 1.

    Of users only the first failure of each counts, unless *counts_all*.
    """
    drawn = _Requests(world)
    for look in range(world.looks):
        share = world.share_at(look)
        drawn.draw(look)
        arms = drawn.arms(share)
        failed = world.quantile(drawn.normal, arms) < 1
        if drawn.people and not counts_all:
            failed = drawn.people.first(failed)
        yield share, (failed & ~arms).sum(axis=1), (failed & arms).sum(axis=1)


def rate(good: float, canary: float | None = None) -> Callable[[Floats, NDArray[np.bool_]], Floats]:
    """A 1 with probability *good*, of the canary with *canary*."""
    below, above = special.ndtri(good), special.ndtri(good if canary is None else canary)
    if below == above:
        return lambda normal, arms: (normal < below).astype(np.float64)
    return lambda normal, arms: (normal < np.where(arms, above, below)).astype(np.float64)


def beta(a: float = 4.0, *, lower: float = 0.0) -> Callable[[Floats, NDArray[np.bool_]], Floats]:
    """A score with the distribution Beta(a, 1); the canary's is *lower* by so much."""
    return lambda normal, arms: special.ndtr(normal) ** (1 / a) - lower * arms


def failing(share: float, a: float = 4.0) -> Callable[[Floats, NDArray[np.bool_]], Floats]:
    """A score of Beta(a, 1), of which the canary loses *share* wholly: these are 0."""

    def value(normal: Floats, arms: NDArray[np.bool_]) -> Floats:
        uniform = special.ndtr(normal)
        kept = np.where(arms, np.maximum(uniform - share, 0.0) / (1 - share), uniform)
        found: Floats = kept ** (1 / a)
        return found

    return value


def levels(weights: tuple[float, ...] = (0.05, 0.1, 0.15, 0.3, 0.4)) -> Callable[..., Floats]:
    """A judge's five levels, from 0 to 1."""
    edges = special.ndtri(np.cumsum(weights)[:-1])
    return lambda normal, arms: sum((normal > edge) * 0.25 for edge in edges)


def logs(
    sigma: float = 0.8, *, higher: float = 0.0
) -> Callable[[Floats, NDArray[np.bool_]], Floats]:
    """The logarithm of a lognormal latency; the canary's is *higher* by so much."""
    return lambda normal, arms: sigma * normal + higher * arms


DISTRIBUTIONS = {
    "binary .9": rate(0.9),
    "binary .995": rate(0.995),
    "Beta(4,1)": beta(),
    "five levels": levels(),
    "lognormal logs": logs(),
}

WORLDS: dict[str, Callable[[World, float], World]] = {
    "iid": lambda world, share: replace(world, share=share),
    "sticky": lambda world, share: replace(world, share=share, users=1000, likeness=0.2),
    "ramp and drift": lambda world, share: replace(
        world, ramp=(0.2 * share, 0.5 * share, share), drift=0.25, looks=72, step=300
    ),
}


def z_of(seen: Seen) -> Floats:
    """The naive z statistic, canary less baseline, of totals."""
    below, below_sum, below_squares, above, above_sum, above_squares = seen.totals
    with np.errstate(divide="ignore", invalid="ignore"):
        means = below_sum / below, above_sum / above
        variance = (below_squares / below - means[0] ** 2) / below
        variance = variance + (above_squares / above - means[1] ** 2) / above
        return np.nan_to_num((means[1] - means[0]) / np.sqrt(variance), posinf=0, neginf=0)


def naive_variance(seen: Seen) -> tuple[Floats, Floats]:
    """The difference of totals and Welch's variance, each request for itself."""
    below, below_sum, below_squares, above, above_sum, above_squares = seen.totals
    with np.errstate(divide="ignore", invalid="ignore"):
        means = below_sum / below, above_sum / above
        variance = (below_squares / below - means[0] ** 2) / (below - 1)
        variance = variance + (above_squares / above - means[1] ** 2) / (above - 1)
        return means[1] - means[0], variance


def at_most(alpha: float, runs: int) -> float:
    """The share of *runs* that may raise a false alarm: alpha and three standard errors."""
    return alpha + 3 * math.sqrt(alpha * (1 - alpha) / runs)


class _People:
    """Users that stay with an arm, some far more active than others."""

    def __init__(self, world: World, generator: np.random.Generator) -> None:
        self._world, self._generator = world, generator
        shape = (world.runs, world.users)
        self._mood = generator.standard_normal(shape)
        self._place = generator.random(shape)
        weights = np.exp(world.tail * generator.standard_normal(world.users))
        self._cumulative = np.cumsum(weights / weights.sum())
        self._rows = np.arange(world.runs)[:, None]
        self._failed = np.zeros(shape, dtype=bool)
        self.who = np.zeros(0, dtype=np.intp)

    def draw(self) -> tuple[Floats, Floats]:
        """Choose who asks next; return their moods, and where they lie between the arms."""
        world = self._world
        chosen = self._generator.random((world.runs, world.step))
        self.who = np.minimum(np.searchsorted(self._cumulative, chosen), world.users - 1)
        return self._mood[self._rows, self.who], self._place[self._rows, self.who]

    def first(self, failed: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which of *failed* are the first failure of their user."""
        new = failed & ~self._failed[self._rows, self.who]
        rows, columns = np.nonzero(new)
        users = self.who[rows, columns]
        _, kept = np.unique(rows * self._world.users + users, return_index=True)
        first = np.zeros_like(new)
        first[rows[kept], columns[kept]] = True
        self._failed[rows, users] = True
        return first


class _Requests:
    """The requests between two looks, of all runs: what does not depend on share or distribution."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._generator = np.random.default_rng(world.seed)
        self.people = _People(world, self._generator) if world.users else None
        self.normal = self._place = np.zeros(0)
        self.buckets = np.zeros(0, dtype=np.intp)
        self._rows = np.arange(world.runs)[:, None] * 2 * world.buckets
        self._places: dict[float, tuple[NDArray[np.intp], Floats]] = {}

    def draw(self, look: int) -> None:
        """Draw the next ones."""
        world, shape = self._world, (self._world.runs, self._world.step)
        self._places.clear()
        normal = self._generator.standard_normal(shape)
        if self.people:
            mood, self._place = self.people.draw()
            normal *= math.sqrt(1 - world.likeness)
            normal += math.sqrt(world.likeness) * mood
            self.buckets = self.people.who % world.buckets
        else:
            self._place = self._generator.random(shape)
            self.buckets = self._generator.integers(0, world.buckets, shape)
        if world.drift:
            normal += world.drift * math.sin(2 * math.pi * look / 24)
        self.normal = normal

    def arms(self, share: float) -> NDArray[np.bool_]:
        """Return which requests are the canary's."""
        return self._place < share

    def sums(self, values: Floats, share: float, *, is_binary: bool) -> tuple[Floats, ...]:
        """Return requests, sums and sums of squares by run, arm and bucket."""
        world = self._world
        shape = (world.runs, 2, world.buckets)
        size = math.prod(shape)
        if share not in self._places:
            places = self._rows + self.arms(share) * world.buckets + self.buckets
            counts = np.bincount(places.ravel(), minlength=size).astype(np.float64)
            self._places[share] = places.ravel(), counts.reshape(shape)
        places, counts = self._places[share]
        total = np.bincount(places, values.ravel(), size).reshape(shape)
        if is_binary:
            return counts, total, total
        return counts, total, np.bincount(places, values.ravel() ** 2, size).reshape(shape)


class _State:
    """One world's sums so far."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._sums = tuple(np.zeros((world.runs, 2, world.buckets)) for _ in range(3))
        self._past: Contribution | None = None

    def seen(self, drawn: _Requests, look: int) -> Seen:
        """Return this look."""
        world = self._world
        share = world.share_at(look)
        values = world.quantile(drawn.normal, drawn.arms(share))
        added = drawn.sums(values, share, is_binary=world.is_binary)
        for total, more in zip(self._sums, added, strict=True):
            total += more
        if world.ramp:
            here = _contribution(added)
            self._past = here if self._past is None else self._past + here
            found = moments(self._past)
        else:
            found = moments(_contribution(self._sums))
        totals = [one.sum(-1) for one in self._sums]
        by_arm = tuple(one[:, arm] for arm in (0, 1) for one in totals)
        return Seen((look + 1) * world.step, found, by_arm)


def _contribution(by_arm: tuple[Floats, ...]) -> Contribution:
    return contribution(
        Buckets.of_values(*(one[:, 0, :] for one in by_arm)),
        Buckets.of_values(*(one[:, 1, :] for one in by_arm)),
    )
