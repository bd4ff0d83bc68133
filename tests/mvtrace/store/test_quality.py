"""Comparisons from SQL: the roll-up, raw rows by SQL and raw rows in Python say the same."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from exposed import (
    BASELINE,
    CANARY,
    HOUR,
    SCORER,
    Exposed,
    Sweeping,
    exposures,
    put,
    rolled_up,
    shifted,
)
from stored import new_store

from mvtrace.quality.cells import Delivery, Stratum
from mvtrace.quality.deciding import compare
from mvtrace.quality.estimators import Estimate, estimate
from mvtrace.quality.plan import Metric, Plan
from mvtrace.quality.sufficient import Arms, RolledUp, known
from mvtrace.quality.verdict import Verdict
from mvtrace.store import Store
from mvtrace.store.quality import Asked, StoredRollUp, read_rollup
from mvtrace.store.statements import FOLDER
from mvtrace.tables import TABLES
from mvtrace_collector.quality_sweep import HOUR_MS

HOURS = 2
PLAN = Plan(
    name="all kinds",
    unit="user",
    metrics=(
        Metric(name="good", kind="score", margin=0.05, low=0.0, high=20.0),
        Metric(name="log_latency_ms", kind="log", direction="lower", margin=1.1),
        Metric(name="error", kind="event", direction="lower", margin=1.5),
        Metric(name="good:given", kind="rate", role="gate", margin=0.05),
    ),
    minimum_hours=1,
)
METRICS = tuple(PLAN.source_of(metric) for metric in PLAN.metrics)
ASKED = Asked(
    baseline=BASELINE, canary=CANARY, metrics=METRICS, project="a",
    environment="prod", service="shop", since=HOUR * 3600, until=(HOUR + HOURS) * 3600,
)  # fmt: skip
ARMS = Arms(baseline=BASELINE, canary=CANARY, started_at=HOUR * 3600, until=(HOUR + HOURS) * 3600)
REQUESTS = 300


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with new_store(f"chdb://{tmp_path_factory.mktemp('quality') / 'store'}") as made:
        yield made


@pytest.fixture(scope="module")
def units(store: Store) -> list[bytes]:
    """Units of which no two are in one bucket, so that the roll-up has a bucket for each."""
    rows = store.query(
        "SELECT min(unit) FROM (SELECT reinterpretAsFixedString(toUInt128(number + 1)) AS unit "
        "FROM numbers(400)) GROUP BY sipHash64('mvtrace.quality/1', unit) % 256 ORDER BY 1 LIMIT 48"
    ).rows
    return [bytes(unit) for (unit,) in rows]


@pytest.fixture(scope="module")
def requests(units: list[bytes]) -> list[Exposed]:
    return exposures(REQUESTS, units, hours=range(HOURS))


@pytest.fixture(scope="module")
def sweeping(store: Store, requests: list[Exposed]) -> Sweeping:
    """The roll-up of the requests in project a."""
    made = Sweeping(store)
    put(made.session, "a", requests)
    made.sweep("a", range(HOURS))
    return made


def numbers(verdict: Verdict) -> dict[str, Any]:
    """Return every number of a verdict, by its place."""
    found: dict[str, Any] = {}

    def walk(value: Any, place: str) -> None:
        if isinstance(value, dict):
            for key, one in value.items():
                walk(one, f"{place}.{key}")
        elif isinstance(value, list):
            for at, one in enumerate(value):
                walk(one, f"{place}[{at}]")
        elif type(value) in (int, float):
            found[place] = value

    walk(verdict.to_dict(), "")
    return found


def assert_same(one: Verdict, other: Verdict) -> None:
    """Hold that all numbers of two verdicts are equal to 1e-9, and all else too."""
    assert (one.decision, one.reason, one.metrics) == (other.decision, other.reason, other.metrics)
    first, second = numbers(one), numbers(other)
    assert first.keys() == second.keys()
    different = {
        place: (value, second[place])
        for place, value in first.items()
        if not math.isclose(value, second[place], rel_tol=1e-9, abs_tol=1e-9)
    }
    assert different == {}
    assert len(first) > 100


def verdict_of(found: RolledUp, arms: Arms = ARMS) -> Verdict:
    return compare(PLAN, found, arms)


def estimate_of(verdict: Verdict, name: str) -> Estimate:
    """Return the difference of a metric with its variance."""
    sums = next(one for one in verdict.sufficient.metrics if one.name == name)
    assert sums.moments is not None
    return estimate(known(sums.moments))


def test_sql_says_what_python_says(
    store: Store, sweeping: Sweeping, requests: list[Exposed]
) -> None:
    """
    Raw rows in Python, raw rows by SQL with a cluster a unit, and the roll-up with a bucket a unit
    give one verdict, to 1e-9.
    """
    expected = verdict_of(rolled_up(requests))

    assert_same(verdict_of(read_rollup(store, ASKED, exact=True, per_unit=True)), expected)
    assert_same(verdict_of(read_rollup(store, ASKED)), expected)


def test_the_roll_up_is_what_raw_rows_make(store: Store, sweeping: Sweeping) -> None:
    """
    Read from raw rows into buckets, the cells are those of the roll-up, to the last digit.
    """
    found, exact = read_rollup(store, ASKED), read_rollup(store, ASKED, exact=True)

    assert _cells(found) == _cells(exact)
    assert (found.shares, found.units, found.scorers) == (exact.shares, exact.units, exact.scorers)


def test_merges_and_empty_hours_change_nothing(store: Store, sweeping: Sweeping) -> None:
    """
    Parts merged or not, and days without a request around, give the same verdict.
    """
    before = verdict_of(read_rollup(store, ASKED))

    sweeping.sweep("a", [HOUR - 1])
    for table in ("quality_hourly", "quality_units", "requests", "scores"):
        sweeping.session.command(f"OPTIMIZE TABLE {table} FINAL")
    wide = replace(ASKED, since=ASKED.since - 90_000, until=ASKED.until + 90_000)

    assert verdict_of(read_rollup(store, wide)) == before


def test_swapped_arms_change_the_sign(store: Store, sweeping: Sweeping) -> None:
    """
    Asked the other way round, each difference has the other sign and the same variance, and the
    planned share is what is left of it.
    """
    one = read_rollup(store, ASKED)
    other = read_rollup(store, replace(ASKED, baseline=CANARY, canary=BASELINE))
    turned = replace(ARMS, baseline=CANARY, canary=BASELINE)

    for name in ("good", "log_latency_ms"):
        seen = estimate_of(verdict_of(one), name)
        swapped = estimate_of(verdict_of(other, turned), name)
        assert swapped.difference == pytest.approx(-seen.difference, rel=1e-9)
        assert swapped.variance == pytest.approx(seen.variance, rel=1e-9)
    assert {1 - share for share in one.shares.values()} == set(other.shares.values()) == {0.75}


def test_an_added_constant_changes_no_difference(
    store: Store, sweeping: Sweeping, requests: list[Exposed]
) -> None:
    """
    Scores that are all ten higher differ as much, with the same variance.
    """
    put(sweeping.session, "higher", shifted(requests, 10.0))
    sweeping.sweep("higher", range(HOURS))

    seen, higher = (
        estimate_of(verdict_of(read_rollup(store, replace(ASKED, project=name))), "good")
        for name in ("a", "higher")
    )

    assert higher.difference == pytest.approx(seen.difference, rel=1e-9)
    assert higher.variance == pytest.approx(seen.variance, rel=1e-9)
    assert higher.baseline == pytest.approx(seen.baseline + 10, rel=1e-9)


def test_arms_of_one_rollout(store: Store, sweeping: Sweeping, requests: list[Exposed]) -> None:
    """
    Arms are compared under their own names, within the rollout that is named.
    """
    asked = replace(ASKED, baseline="stable", canary="canary", by="arm", rollout="r1")

    found = read_rollup(store, asked)
    nothing = read_rollup(store, replace(asked, rollout="r2"))

    canaries = sum(one.version == CANARY for one in requests)
    assert found.columns()["request", "canary"].sums[0].sum() == canaries
    assert set(found.shares.values()) == {0.25}
    assert nothing == StoredRollUp()


def test_every_metric_and_only_those_asked_for(store: Store, sweeping: Sweeping) -> None:
    """
    Without names all metrics are read; with names these and the requests.
    """
    every = {metric for metric, _ in read_rollup(store, replace(ASKED, metrics=None)).columns()}
    some = {metric for metric, _ in read_rollup(store, replace(ASKED, metrics=("good",))).columns()}

    assert every == {
        *("request", "good", "good:given", "latency_ms", "log_latency_ms", "error", "error:first")
    }
    assert some == {"request", "good"}


def test_a_version_under_the_other_arm_is_counted(store: Store, sweeping: Sweeping) -> None:
    """
    A request of the canary under the arm of the baseline is one that does not compare.
    """
    there = [
        Exposed(at_ms=number, number=number, version=version, unit=bytes([9]) * 16, rollout="next")
        for number, version in enumerate((BASELINE, BASELINE, CANARY))
    ]
    put(sweeping.session, "turned", there)
    sweeping.session.command(
        "ALTER TABLE requests UPDATE arm = 'stable' WHERE project = 'turned' SETTINGS mutations_sync = 2"
    )
    sweeping.sweep("turned", [0])

    found = read_rollup(store, replace(ASKED, project="turned"))

    assert found.columns()["request", CANARY].sums[0].sum() == 1
    assert (found.shares, found.mixed) == ({Stratum(HOUR, "next 0.1"): 0.1}, 1)


def test_scorers_and_units(store: Store, sweeping: Sweeping, requests: list[Exposed]) -> None:
    """
    Who scored is told by metric, and units are counted once, in the hour that first saw them.
    """
    found = read_rollup(store, ASKED)
    expected = rolled_up(requests)

    assert found.scorers == {"good": frozenset({SCORER})}
    assert found.units == expected.units
    assert set(found.shares) == {Stratum(HOUR + hour, "r1 0.25") for hour in range(HOURS)}
    assert found.mixed == 0


def test_lost_records_are_of_the_arm_that_their_producer_served(
    store: Store, sweeping: Sweeping
) -> None:
    """
    A gap of a process that served the canary alone is the canary's; of one that served both it is
    shared as its records are; and of one without any record as all requests are.
    """
    name, session = "lossy", sweeping.session
    producers = {"canary": b"1" * 16, "both": b"2" * 16, "silent": b"3" * 16}
    served = [
        *[("canary", CANARY)] * 10,
        *[("both", CANARY)] * 5,
        *[("both", BASELINE)] * 15,
        *[("neither", BASELINE)] * 30,
    ]
    for who in ("canary", "both", "neither"):
        those = [
            Exposed(at_ms=number, number=number, version=version, unit=bytes([1 + number]) * 16)
            for number, (of, version) in enumerate(served)
            if of == who
        ]
        put(session, name, those, producer=producers.get(who, bytes(16)))
    _gap(session, name, producers["canary"], missing=4)
    _gap(session, name, producers["both"], missing=8)
    _gap(session, name, producers["silent"], missing=12)
    session.insert(
        "producers",
        ("project", "producer_id", "revision", "state", "last", "service", "environment"),
        [(name, producers["canary"], 1, "running", 14, "shop", "prod")],
    )
    sweeping.sweep(name, [0])

    found = read_rollup(store, replace(ASKED, project=name))

    # 4 and a quarter of 8 are the canary's, and a quarter of the silent producer's 12.
    assert found.deliveries == {
        BASELINE: Delivery(expected=45 + 6 + 9, received=45),
        CANARY: Delivery(expected=15 + 4 + 2 + 3, received=15),
    }
    soon = read_rollup(store, replace(ASKED, project=name, until=HOUR * 3600 + 600))
    assert [one.awaited for one in soon.deliveries.values()] == [6 + 9, 4 + 2 + 3]


def test_without_a_producer_that_numbers_there_are_no_deliveries(
    store: Store, sweeping: Sweeping
) -> None:
    """
    Nothing is expected where nobody counts, so that completeness is unknown and not whole.
    """
    assert read_rollup(store, ASKED).deliveries == {}


def test_another_projects_requests_are_nobodys(store: Store, sweeping: Sweeping) -> None:
    """
    A project sees its own roll-up, whatever its name looks like.
    """
    for name in ("", "a' OR project = 'a", "*"):
        assert read_rollup(store, replace(ASKED, project=name)) == StoredRollUp()


@pytest.mark.parametrize(
    ("changes", "exactness", "message"),
    [
        ({"canary": BASELINE}, {}, f"'{BASELINE}' is asked for as baseline and as canary"),
        ({"until": 5, "since": 5}, {}, "no time is from 5 to 5"),
        ({"since": -1}, {}, f"no time is from -1 to {ASKED.until}"),
        ({}, {"per_unit": True}, "the roll-up has buckets of units only: per_unit needs exact"),
    ],
)
def test_what_cannot_be_asked(
    store: Store, changes: dict[str, Any], exactness: dict[str, bool], message: str
) -> None:
    """
    A question that has no answer is refused with what is wrong with it.
    """
    with pytest.raises(ValueError) as refusal:
        read_rollup(store, replace(ASKED, **changes), **exactness)

    assert str(refusal.value) == message


def test_every_read_of_a_table_names_the_project() -> None:
    """
    Every statement compares the project as often as it reads a table.
    """
    for path in (FOLDER / "quality").glob("*.sql"):
        sql = re.sub(r"--.*", "", path.read_text("utf-8"))
        tables = [name for name in re.findall(r"\bFROM\s+(\w+)", sql) if name in TABLES]
        assert sql.count("project = {project:String}") == len(tables), path.name


def _cells(found: StoredRollUp) -> dict[tuple[str, str], list[tuple[Any, ...]]]:
    return {
        key: sorted(
            zip(
                one.hours.tolist(),
                one.phases.tolist(),
                one.buckets.tolist(),
                *one.sums.tolist(),
                strict=True,
            )
        )
        for key, one in found.columns().items()
    }


def _gap(session: Any, project: str, producer: bytes, *, missing: int) -> None:
    began = HOUR * HOUR_MS / 1000
    session.insert(
        "ingest_gaps",
        ("project", "producer_id", "first", "last", "revision", "state", "missing", "missing_ranges",
         "reason", "service", "environment", "started_after", "started_before", "detected_at", "changed_at"),
        [(project, producer, 1, missing, 1, "open", missing, [(1, missing)], "unknown", "shop", "prod",
          *(datetime.fromtimestamp(began + at, UTC) for at in (0, 1, 2, 2)))],
    )  # fmt: skip
