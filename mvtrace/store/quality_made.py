"""Metrics that plans make of others: is each in every hour that it can be in? Pure.

In: what is met of both sides (``Met``). Out: what is missing somewhere. The collector makes as many
such metrics as it has room for, so one can stop while that which it is made of goes on. Then the
hours it has are those of before: they say nothing of what happens now, and nothing is told by them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mvtrace.quality.sources import FIRST, parts_of
from mvtrace.store.quality_rows import REQUEST, Met

Place = tuple[int, int]
"""A side and an hour."""


def unmade(met: Sequence[Met]) -> frozenset[str]:
    """Return the metrics of *met* that lack hours which have what they are made of.

    Hours before a metric's first one do not count: there nobody had asked for it yet.
    """
    by_metric: dict[str, list[Met]] = {}
    for one in met:
        by_metric.setdefault(one.metric, []).append(one)
    return frozenset(
        name
        for name, those in by_metric.items()
        if (made_of := _parts(name)) and _lacks(those, made_of, by_metric, name.endswith(FIRST))
    )


def parts_needed(metrics: Sequence[str]) -> list[str]:
    """Return what has to be met too, to tell whether *metrics* are there wherever they can be."""
    return sorted({one for name in metrics for one in _parts(name)} - {*metrics})


def _parts(name: str) -> tuple[str, ...]:
    plain = name.removesuffix(FIRST)
    return parts_of(plain) or ((plain,) if plain != name else ())


def _lacks(
    those: Sequence[Met],
    made_of: Sequence[str],
    by_metric: dict[str, list[Met]],
    is_first: bool,  # noqa: FBT001 (of one caller)
) -> bool:
    found = _counted(those)
    first = min(hour for _, hour in found)
    parts = [
        [one for one in by_metric.get(name, ()) if one.rollout or not is_first] for name in made_of
    ]
    if len(parts) == 1:
        expected = set(_counted(parts[0]))
    else:
        expected = _overlapping(parts, by_metric.get(REQUEST, ()))
    return any(place[1] >= first and place not in found for place in expected)


def _overlapping(parts: Sequence[Sequence[Met]], requests: Sequence[Met]) -> set[Place]:
    """Return where some request must have both parts of a ratio: together they exceed all."""
    if any(len({scorer for one in part for scorer in one.scorers}) > 1 for part in parts):
        return set()  # a request counts once a scorer; and two of them compare nothing anyway
    above, below = (_counted(part) for part in parts)
    every = _counted(requests)
    return {place for place in above if above[place] + below[place] > every[place]}


def _counted(those: Sequence[Met]) -> Counter[Place]:
    """Return the requests by place."""
    counts: Counter[Place] = Counter()
    for one in those:
        for hour, requests in zip(one.hours.tolist(), one.sums[0].tolist(), strict=True):
            counts[one.side, hour] += round(requests)
    return counts
