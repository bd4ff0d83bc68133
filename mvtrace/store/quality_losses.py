"""How many records of each arm were numbered, and how many came.

In: the question, and how many requests of each side are stored. Out: a ``Delivery`` a side, or
none where no producer numbers its records. A lost record tells no arm: whose it was is inferred
from what its producer recorded around the gap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from mvtrace.explain.gaps import Gap
from mvtrace.quality.cells import Delivery
from mvtrace.quality.sufficient import SETTLED_S
from mvtrace.store.filters import GapFilter
from mvtrace.store.gaps import Gaps
from mvtrace.store.quality_rows import HOUR_S, Asked, key_of, sides_of
from mvtrace.store.quality_strata import TooManyStrataError
from mvtrace.store.request_ids import hexadecimal, highest_id, lowest_id
from mvtrace.store.statements import Statements, statement
from mvtrace.store.store import Store

MAX_GAPS: Final = 10_000
AROUND_MS: Final = 600_000
"""How far before and after its gaps a producer's records tell whose the missing ones are."""


class _Around(NamedTuple):
    """Which of a producer's records tell of its gaps, in Unix milliseconds."""

    producer: str
    first: int
    last: int


def deliveries(store: Store, asked: Asked, served: tuple[int, int]) -> dict[str, Delivery]:
    """Return by side how many records were expected and came; see ``read_rollup``.

    Raises:
        TooManyStrataError: there are more gaps than can be told whose they are.
    """
    statements = Statements(store, asked.project)
    place = {"service": asked.service or "", "environment": asked.environment or ""}
    if not statements.run("quality/numbering", **place).rows[0][0]:
        return {}
    missing = _missing(statements, asked, served)
    sides = (asked.baseline, asked.canary)
    return {
        side: Delivery(expected=came + round(lost), received=came, awaited=round(new))
        for side, came, (lost, new) in zip(sides, served, missing, strict=True)
        if came
    }


def _missing(
    statements: Statements, asked: Asked, served: tuple[int, int]
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return how many of each side's records are missing, as far as can be told.

    With each how many of them were found to be missing a moment ago.
    """
    first, last = asked.hours
    time = (first * HOUR_S * 1000, (last + 1) * HOUR_S * 1000 - 1)
    gaps = Gaps(statements).listed(
        GapFilter(
            since_ms=time[0], until_ms=time[1], limit=MAX_GAPS + 1,
            service=asked.service, environment=asked.environment,
        )
    )  # fmt: skip
    if not gaps:
        return (0.0, 0.0), (0.0, 0.0)
    if len(gaps) > MAX_GAPS:  # to leave out the rest would call less missing than is
        raise TooManyStrataError(f"more than {MAX_GAPS} gaps of producers lie in its time")
    known = _neighbours(statements, asked, _around(gaps, time))
    total = _served(statements, asked)
    lost, new = [0.0, 0.0], [0.0, 0.0]
    for gap in gaps:
        is_new = gap.detected_at > (asked.until - SETTLED_S) * 1000
        baseline, canary, any_side = known.get(gap.producer_id.replace("-", ""), (*served, total))
        for side, theirs in enumerate((baseline, canary)):
            part = gap.missing * theirs / max(any_side, 1)
            lost[side] += part
            new[side] += part * is_new
    return (lost[0], new[0]), (lost[1], new[1])


def _around(gaps: Sequence[Gap], time: tuple[int, int]) -> list[_Around]:
    found: dict[str, _Around] = {}
    for gap in gaps:
        producer = gap.producer_id.replace("-", "")
        first = time[0] if gap.started_after is None else gap.started_after - AROUND_MS
        last = time[1] if gap.started_before is None else gap.started_before + AROUND_MS
        known = found.get(producer, _Around(producer, first, last))
        found[producer] = _Around(producer, min(first, known.first), max(last, known.last))
    return [found[producer] for producer in sorted(found)]


def _neighbours(
    statements: Statements, asked: Asked, around: Sequence[_Around]
) -> Mapping[str, tuple[int, int, int]]:
    """Return by producer how many requests it recorded there: of both sides, and of any."""
    rows = statements.run_text(
        statement("quality/neighbours").replace("{key}", key_of(asked)),
        {
            **sides_of(asked),
            "producers": [one.producer for one in around],
            "froms": [max(0, one.first) for one in around],
            "untils": [one.last for one in around],
            "first": hexadecimal(lowest_id(max(0, min(one.first for one in around)))),
            "last": hexadecimal(highest_id(max(one.last for one in around))),
        },
    ).rows
    return {str(producer): (int(one), int(two), int(both)) for producer, one, two, both in rows}


def _served(statements: Statements, asked: Asked) -> int:
    """Return how many requests there were, of any version."""
    first, last = asked.hours
    rows = statements.run(
        "quality/all_served",
        since_hour=first,
        until_hour=last,
        service=asked.service or "",
        environment=asked.environment or "",
    ).rows
    return int(rows[0][0])
