"""Simulated canaries, many runs at once: what each look at them sees, as the estimators take it.

A ``World`` says what requests are like; ``looks`` yields, look by look, the ``Moments`` of all runs
as arrays, and the plain totals that a naive test would use. Values come from a normal variable
through their distribution's quantiles, so users (a shared part of that variable) and the drift of
the day (a shift of it) mean the same for every distribution.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
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
    totals: tuple[Floats, Floats, Floats, Floats, Floats, Floats]
    """Requests, sum and sum of squares of the baseline, then of the canary: without hours or
    users."""
    firsts: tuple[Floats, Floats]
    """Users of each arm that had a value below 1 (of a rate: a failure) at least once; else
    events."""


def looks(world: World, *, counts_firsts: bool = False) -> Iterator[Seen]:
    """Yield what each look at *world* sees; *firsts* only where they are asked for."""
    generator = np.random.default_rng(world.seed)
    people = _People(world, generator) if world.users else None
    sums = np.zeros((3, world.runs * 2 * world.buckets))
    past: Contribution | None = None
    totals = np.zeros((6, world.runs))
    firsts = np.zeros((2, world.runs))
    for look in range(world.looks):
        share = world.share_at(look)
        values, arms, buckets = _draw(world, generator, people, share, look)
        added = _summed(world, values, arms, buckets)
        totals += added.reshape(3, world.runs, 2, -1).sum(-1).transpose(2, 0, 1).reshape(6, -1)
        if counts_firsts:
            firsts += people.firsts(values) if people else _failures(values, arms)
        if world.ramp:
            here = _contribution(world.runs, added)
            past = here if past is None else past + here
            found = moments(past)
        else:
            sums += added
            found = moments(_contribution(world.runs, sums))
        yield Seen((look + 1) * world.step, found, tuple(totals), (firsts[0], firsts[1]))


def rate(good: float, canary: float | None = None) -> Callable[[Floats, NDArray[np.bool_]], Floats]:
    """A 1 with probability *good*, of the canary with *canary*."""
    below, above = special.ndtri(good), special.ndtri(good if canary is None else canary)
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
    return lambda normal, arms: np.searchsorted(edges, normal.ravel()).reshape(normal.shape) / 4.0


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
        self._failed = np.zeros(shape, dtype=bool)
        self._who = np.zeros(0, dtype=np.intp)
        self._arms = np.zeros(0, dtype=bool)

    def draw(self, share: float) -> tuple[Floats, NDArray[np.bool_], NDArray[np.intp]]:
        """The moods, arms and buckets of the next requests."""
        world = self._world
        chosen = self._generator.random((world.runs, world.step))
        who = np.minimum(np.searchsorted(self._cumulative, chosen), world.users - 1)
        rows = np.arange(world.runs)[:, None]
        self._who, self._arms = who, self._place[rows, who] < share
        return self._mood[rows, who], self._arms, who % world.buckets

    def firsts(self, values: Floats) -> Floats:
        """Users of each arm that fail for the first time."""
        rows = np.broadcast_to(np.arange(self._world.runs)[:, None], self._who.shape)
        new = (values < 1) & ~self._failed[rows, self._who]
        users = np.divmod(
            np.unique(rows[new] * self._world.users + self._who[new]), self._world.users
        )
        self._failed[users[0], users[1]] = True
        arms = self._place[users[0], users[1]] < self._world.share
        return np.stack(
            [
                np.bincount(users[0][arms == arm], minlength=self._world.runs)
                for arm in (False, True)
            ]
        )


def _draw(
    world: World, generator: np.random.Generator, people: _People | None, share: float, look: int
) -> tuple[Floats, NDArray[np.bool_], NDArray[np.intp]]:
    shape = (world.runs, world.step)
    normal = generator.standard_normal(shape)
    if people:
        mood, arms, buckets = people.draw(share)
        normal = math.sqrt(world.likeness) * mood + math.sqrt(1 - world.likeness) * normal
    else:
        arms = generator.random(shape) < share
        buckets = generator.integers(0, world.buckets, shape)
    normal = normal + world.drift * math.sin(2 * math.pi * look / 24)
    return world.quantile(normal, arms), arms, buckets


def _summed(
    world: World, values: Floats, arms: NDArray[np.bool_], buckets: NDArray[np.intp]
) -> Floats:
    places = ((np.arange(world.runs)[:, None] * 2 + arms) * world.buckets + buckets).ravel()
    flat = values.ravel()
    size = world.runs * 2 * world.buckets
    return np.stack(
        [
            np.bincount(places, minlength=size).astype(np.float64),
            np.bincount(places, weights=flat, minlength=size),
            np.bincount(places, weights=flat * flat, minlength=size),
        ]
    )


def _failures(values: Floats, arms: NDArray[np.bool_]) -> Floats:
    failed = values < 1
    return np.stack([(failed & ~arms).sum(axis=1), (failed & arms).sum(axis=1)])


def _contribution(runs: int, sums: Floats) -> Contribution:
    by_arm = sums.reshape(3, runs, 2, -1)
    return contribution(
        Buckets.of_values(*(one[:, 0, :] for one in by_arm)),
        Buckets.of_values(*(one[:, 1, :] for one in by_arm)),
    )
