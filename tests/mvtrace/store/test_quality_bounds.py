"""What a comparison reads of a roll-up that somebody filled with anything."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from exposed import BASELINE, CANARY, HOUR
from hourly import COLUMNS, KEY, SUMS, folded
from stored import new_store

from mvtrace.quality.cells import Columns, Delivery, Stratum
from mvtrace.quality.deciding import compare
from mvtrace.quality.plan import Metric, Plan
from mvtrace.quality.sufficient import Arms
from mvtrace.store import Store
from mvtrace.store.quality import Asked, StoredRollUp, read_rollup
from mvtrace.store.quality_losses import MAX_GAPS
from mvtrace.store.quality_rows import MAX_HOURS, MAX_PHASES
from mvtrace.store.quality_strata import TooManyStrataError, check_units

HOSTILE = 'it\'s "a" \\ {project:String} \x1f -- é'
PLAN = Plan(name="p", metrics=(Metric(name="good", kind="rate", margin=0.02),), minimum_hours=1)
ASKED = Asked(
    baseline=BASELINE, canary=CANARY, metrics=("good",),
    since=HOUR * 3600, until=(HOUR + 48) * 3600,
)  # fmt: skip
ARMS = Arms(baseline=BASELINE, canary=CANARY, started_at=ASKED.since, until=ASKED.until)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with new_store(f"chdb://{tmp_path_factory.mktemp('bounds') / 'store'}") as made:
        yield made


def cell(
    project: str, version: str, *, bucket: int = 0, hour: int = 0, **said: Any
) -> dict[str, Any]:
    """Return one bucket of an hour: four requests that came to two."""
    arm = "canary" if version == CANARY else "stable"
    place = (project, "prod", "shop", version, "good", "r1", arm)
    when = (datetime.fromtimestamp((HOUR + hour) * 3600, UTC), "0.1", "")
    sums = (4, 2.0, 2.0, 4.0, 4.0, 2.0)
    named = dict(zip((*KEY, *SUMS), (*place, *when, *sums), strict=True))
    return {**named, "bucket": bucket, **said}


def put(store: Store, cells: Sequence[dict[str, Any]]) -> None:
    with store.session() as session:
        session.insert("quality_hourly", COLUMNS, folded(cells))


def totals(found: StoredRollUp, metric: str = "good") -> dict[str, tuple[float, float]]:
    """Return the requests and the sum of each version."""
    return {
        arm: (float(one.sums[0].sum()), float(one.sums[1].sum()))
        for (name, arm), one in found.columns().items()
        if name == metric
    }


def test_as_many_planned_shares_as_are_taken(store: Store) -> None:
    """
    Two hundred planned shares are strata of their own; one more is refused with what to do.
    """
    shares = [f"{number / 1000:g}" for number in range(1, MAX_PHASES + 1)]
    for metric in ("request", "good"):
        those = [cell("ramp", CANARY, phase=share, metric=metric, bucket=7) for share in shares]
        put(store, those)
    asked = replace(ASKED, project="ramp")

    found = read_rollup(store, asked)

    assert found.shares == {Stratum(HOUR, f"r1 {share}"): float(share) for share in shares}
    assert totals(found) == {CANARY: (4 * MAX_PHASES, 2 * MAX_PHASES)}
    put(store, [cell("ramp", BASELINE, phase="0.9", rollout="r2")])
    with pytest.raises(TooManyStrataError) as refusal:
        read_rollup(store, asked)
    assert refusal.value.message == (
        "It is too much for one comparison: its requests were drawn under more than 200 planned "
        "shares."
    )
    assert refusal.value.hint == "Compare a shorter time, one rollout, or fewer metrics."
    assert len(read_rollup(store, replace(asked, rollout="r1")).shares) == MAX_PHASES


def test_more_rows_than_are_taken(store: Store) -> None:
    """
    A hundred thousand hours by scorer are read, one more is refused.
    """
    store.command(
        "INSERT INTO quality_hourly (project, environment, service, composite_version, metric, "
        "hour, scorer, revision, requests) SELECT 'many', 'prod', 'shop', {v:String}, 'good', "
        "toDateTime({at:UInt32}, 'UTC'), toString(number), 1, 1 FROM numbers({n:UInt32})",
        {"v": CANARY, "at": HOUR * 3600, "n": MAX_HOURS + 1},
    )
    asked = replace(ASKED, project="many")

    with pytest.raises(TooManyStrataError) as refusal:
        read_rollup(store, asked)

    assert refusal.value.message == (
        "It is too much for one comparison: its metrics have more than 100000 hours, each of a "
        "version, an arm and a scorer."
    )


def test_what_is_no_share_is_none(store: Store) -> None:
    """
    A phase that is no number from 0 to 1 has no planned share, whatever it is.
    """
    phases = ["", "nan", "inf", "-0.1", "1.5", "0x1p-3", HOSTILE, "0.25"]
    for metric in ("request", "good"):
        put(store, [cell("phases", CANARY, phase=phase, metric=metric) for phase in phases])

    found = read_rollup(store, replace(ASKED, project="phases"))

    assert found.shares == {Stratum(HOUR, "r1 0.25"): 0.25}
    assert totals(found) == {CANARY: (32, 16)}


def test_names_are_what_they_are(store: Store) -> None:
    """
    Metrics, services, rollouts, scorers and projects of any name are found, and no others.
    """
    said: dict[str, Any] = {
        "metric": HOSTILE,
        "service": HOSTILE,
        "rollout": HOSTILE,
        "scorer": HOSTILE,
    }
    for project in (HOSTILE, "other"):
        put(store, [cell(project, version, **said) for version in (BASELINE, CANARY)])
    asked = replace(ASKED, project=HOSTILE, metrics=(HOSTILE,), service=HOSTILE, rollout=HOSTILE)

    found = read_rollup(store, asked)

    assert totals(found, HOSTILE) == {BASELINE: (4, 2), CANARY: (4, 2)}
    assert found.scorers == {HOSTILE: frozenset({HOSTILE})}
    assert read_rollup(store, replace(asked, service="shop")) == StoredRollUp()


def test_what_is_there_twice_is_added_up(store: Store) -> None:
    """
    Two services', arms' or scorers' buckets of one hour are one bucket, where any is asked for.
    """
    twice = [
        cell("two", version, bucket=bucket) for version in (BASELINE, CANARY) for bucket in (3, 9)
    ]
    put(store, [*twice, *({**one, "service": "till"} for one in twice)])

    both = read_rollup(store, replace(ASKED, project="two"))
    one = read_rollup(store, replace(ASKED, project="two", service="till"))

    assert totals(both) == {BASELINE: (16, 8), CANARY: (16, 8)}
    assert totals(one) == {BASELINE: (8, 4), CANARY: (8, 4)}
    for found in (both, one):
        assert sorted(found.columns()["good", CANARY].buckets.tolist()) == [3, 9]


def test_a_missing_arm_and_numbers_that_are_none(store: Store) -> None:
    """
    An arm that is not there has no cells, and sums that are no numbers decide nothing.
    """
    put(store, [cell("alone", BASELINE, hour=hour) for hour in range(3)])
    broken = {"total": math.nan, "squares": math.inf, "cross": -math.inf}
    those = [
        {**cell("broken", version, bucket=bucket, hour=hour), **(broken if bucket == 0 else {})}
        for version in (BASELINE, CANARY)
        for hour in range(3)
        for bucket in range(40)
    ]
    put(store, those)

    alone = read_rollup(store, replace(ASKED, project="alone"))
    odd = read_rollup(store, replace(ASKED, project="broken"))

    assert totals(alone) == {BASELINE: (12, 6)}
    assert [compare(PLAN, found, ARMS).decision for found in (alone, odd)] == ["hold", "hold"]


def test_a_time_without_an_end(store: Store) -> None:
    """
    A comparison until a year that no store knows reads what there is, and one since then nothing.
    """
    put(store, [cell("endless", version) for version in (BASELINE, CANARY)])
    asked = replace(ASKED, project="endless")

    for until in (2**32 + 5, 10**12, 10**17):
        assert totals(read_rollup(store, replace(asked, until=until))) == {
            BASELINE: (4, 2),
            CANARY: (4, 2),
        }
    late = replace(asked, since=10**16, until=10**17)
    assert read_rollup(store, late) == StoredRollUp()


def test_sums_too_large_for_a_number(store: Store) -> None:
    """
    Of means whose squares or sums are infinite nothing is claimed, and nothing breaks.
    """
    plan = Plan(
        name="p",
        metrics=(
            Metric(name="good", kind="mean", margin=1.0),
            Metric(name="length", kind="log", direction="lower", margin=1.1),
            Metric(name="error", kind="event", direction="lower", margin=1.1),
        ),
        minimum_hours=1,
    )
    huge = {"total": 1e308, "squares": math.inf, "cross": 1e308}
    those = [
        {**cell("huge", version, bucket=bucket, hour=hour), **huge, "metric": metric}
        for version in (BASELINE, CANARY)
        for hour in range(3)
        for bucket in range(40)
        for metric in ("good", "length")
    ]
    put(store, those)

    found = read_rollup(store, replace(ASKED, project="huge", metrics=("good", "length", "error")))

    assert compare(plan, found, ARMS).decision == "hold"


def test_more_gaps_than_can_be_told_whose_they_are(store: Store) -> None:
    """
    Ten thousand gaps are shared between the arms; with one more there is no answer, since what is
    left out would count as received.
    """
    put(store, [cell("gaps", version, metric="request") for version in (BASELINE, CANARY)])
    store.command(
        "INSERT INTO ingest_gaps (project, producer_id, first, last, revision, state, missing, "
        "missing_ranges, reason, service, environment, started_after, started_before, detected_at, "
        "changed_at) SELECT 'gaps', toFixedString(leftPad(toString(number), 16, '0'), 16), 1, 1, 1, "
        "'open', 1, [(1, 1)], 'unknown', 'shop', 'prod', at, at, at, at FROM "
        "(SELECT number, fromUnixTimestamp64Milli({at:Int64}, 'UTC') AS at FROM numbers({n:UInt32}))",
        {"at": HOUR * 3_600_000 + 1000, "n": MAX_GAPS},
    )
    store.command(
        "INSERT INTO producers (project, producer_id, revision, state, last, service, environment) "
        "VALUES ('gaps', '0000000000000000', 1, 'running', 2, 'shop', 'prod')"
    )
    asked = replace(ASKED, project="gaps")

    found = read_rollup(store, asked)

    assert found.deliveries == {
        version: Delivery(expected=4 + MAX_GAPS // 2, received=4) for version in (BASELINE, CANARY)
    }
    store.command(
        "INSERT INTO ingest_gaps SELECT * REPLACE (toFixedString('x', 16) AS producer_id) "
        "FROM ingest_gaps WHERE project = 'gaps' LIMIT 1"
    )
    with pytest.raises(TooManyStrataError) as refusal:
        read_rollup(store, asked)
    assert refusal.value.message == (
        "It is too much for one comparison: more than 10000 gaps of producers lie in its time."
    )


def test_units_that_do_not_fit_into_memory() -> None:
    """
    A hundred thousand units are clusters of their own in a hundred hours, and refused in one more.
    """
    units = np.arange(100_000)

    def columns(hours: int) -> dict[tuple[str, str], Columns]:
        found = Columns(
            units % hours, np.broadcast_to(np.array(""), len(units)), units, np.empty(0)
        )
        return {("good", CANARY): found}

    check_units(columns(100))
    with pytest.raises(TooManyStrataError) as refusal:
        check_units(columns(101))

    assert refusal.value.message == (
        "It is too much for one comparison: 100000 units in 101 hours do not fit into memory."
    )
