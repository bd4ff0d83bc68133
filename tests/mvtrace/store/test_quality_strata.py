"""Which planned share an hour has where versions change their parts, or a few requests are wrong."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from exposed import BASELINE, CANARY, HOUR
from hourly import COLUMNS, KEY, SUMS, folded
from stored import new_store

from mvtrace.quality.cells import Stratum
from mvtrace.quality.deciding import compare
from mvtrace.quality.plan import Metric, Plan
from mvtrace.quality.sufficient import Arms, reduce
from mvtrace.store import Store
from mvtrace.store.quality import Asked, StoredRollUp, read_rollup

HOURS = 4
PLAN = Plan(
    name="p",
    metrics=(
        Metric(name="success", kind="rate", margin=0.1),
        Metric(name="error", kind="event", direction="lower", margin=2.0),
    ),
    unit="user",
    minimum_hours=1,
)
ASKED = Asked(
    baseline=BASELINE, canary=CANARY, since=HOUR * 3600, until=(HOUR + HOURS) * 3600,
    metrics=tuple(map(PLAN.source_of, PLAN.metrics)),
)  # fmt: skip
ARMS = Arms(baseline=BASELINE, canary=CANARY, started_at=ASKED.since, until=ASKED.until)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with new_store(f"chdb://{tmp_path_factory.mktemp('strata') / 'store'}") as made:
        yield made


def served(
    version: str,
    arm: str,
    hour: int,
    requests: int = 100,
    *,
    phase: str = "0.25",
    rollout: str = "r1",
    service: str = "shop",
) -> list[dict[str, Any]]:
    """Return what *requests* of one hour are in the roll-up: one in ten is bad, and each a unit's."""
    found = []
    for metric, total in (
        ("request", requests), ("success", requests * 0.9), ("error:first", requests // 10),
        (">unit", requests),
    ):  # fmt: skip
        if rollout or metric in ("request", "success"):
            when = datetime.fromtimestamp((HOUR + hour) * 3600, UTC)
            place = ("p", "prod", service, version, metric, rollout, arm, when, phase, "")
            sums = (requests, total, total, requests, requests, total)
            found.append({**dict(zip((*KEY, *SUMS), (*place, *sums), strict=True)), "bucket": hour})
    return found


def both(hour: int, **said: Any) -> list[dict[str, Any]]:
    """Return an hour of a rollout as it was planned."""
    return [
        *served(BASELINE, "stable", hour, 300, **said),
        *served(CANARY, "canary", hour, 100, **said),
    ]


def read(
    store: Store, project: str, rows: Sequence[dict[str, Any]], **changes: Any
) -> StoredRollUp:
    """Return what is read of *rows*, in a project of their own."""
    with store.session() as session:
        session.insert(
            "quality_hourly", COLUMNS, folded({**one, "project": project} for one in rows)
        )
    return read_rollup(store, replace(ASKED, project=project, **changes))


def shares(*those: float | None) -> dict[Stratum, float]:
    """Return the shares of the first hours; None: the hour has no stratum."""
    return {
        Stratum(HOUR + hour, "r1 0.25"): share
        for hour, share in enumerate(those)
        if share is not None
    }


def test_one_request_under_the_other_arm_changes_no_share(store: Store) -> None:
    """
    A request of the baseline under the arm canary is counted as one that two versions served, and
    the hour is compared as it was planned.
    """
    rows = [row for hour in range(HOURS) for row in both(hour)]
    rows += served(BASELINE, "canary", 1, 1)

    found = read(store, "one", rows)

    assert found.shares == shares(0.25, 0.25, 0.25, 0.25)
    assert found.mixed == 1
    sums = reduce(PLAN, found, ARMS)
    assert (sums.paired_hours, sums.metrics[1].canary) == (HOURS, HOURS * 100)
    gate = next(one for one in compare(PLAN, found, ARMS).gates if one.name == "mixed")
    assert gate.state == "pass"


def test_many_requests_under_the_other_arm_fail_the_gate(store: Store) -> None:
    """
    More than one request in a hundred under the other arm is no comparison.
    """
    rows = [row for hour in range(HOURS) for row in both(hour)]
    rows += served(BASELINE, "canary", 1, 30)

    found = read(store, "many", rows)

    assert (found.shares, found.mixed) == (shares(0.25, 0.25, 0.25, 0.25), 30)
    verdict = compare(PLAN, found, ARMS)
    assert (verdict.decision, verdict.reason, verdict.metrics) == (
        "hold",
        "invalid_gate",
        ("mixed",),
    )


def test_a_phase_asked_for_the_other_way_round(store: Store) -> None:
    """
    Asked for the other way round an hour has what is left of its share, also one that only one of
    the sides served in; the one request that is not is counted.
    """
    rows = [*both(0), *both(1), *served(CANARY, "stable", 1, 1), *served(BASELINE, "stable", 2)]

    found = read(store, "round", rows, baseline=CANARY, canary=BASELINE)

    assert (found.shares, found.mixed) == (shares(0.75, 0.75, 0.75), 1)


def test_the_next_rollout_under_the_same_name_says_nothing_of_the_last_one(store: Store) -> None:
    """
    Hours in which the canary is the stable arm of the next canary are planned, and under no share
    of this comparison; those before keep theirs.
    """
    rows = [*both(0), *both(1), *served(CANARY, "stable", 2), *served(CANARY, "stable", 3)]

    found = read(store, "next", rows)

    assert found.shares == shares(0.25, 0.25, math.nan, math.nan)
    assert found.mixed == 0
    sums = reduce(PLAN, found, ARMS)
    assert [(one.baseline, one.canary) for one in sums.gates.units] == [(600, 200)]


def test_what_was_drawn_for_others_makes_no_unassigned_comparison(store: Store) -> None:
    """
    Where a share was planned, unassigned requests of both sides compare nothing, whatever part the
    sides have in the plan.
    """
    rows = served(CANARY, "stable", 0)
    for hour in range(HOURS):
        for version in (BASELINE, CANARY):
            rows += served(version, "", hour, phase="", rollout="")

    found = read(store, "others", rows)

    sums = reduce(PLAN, found, ARMS)
    assert sums.paired_hours == 0
    assert [(one.baseline, one.canary) for one in sums.metrics] == [(0, 0), (0, 0)]


def test_a_canary_that_never_served_has_its_share(store: Store) -> None:
    """
    A phase that only the baseline served in, as the stable arm, keeps its share: its units are a
    broken split.
    """
    found = read(store, "never", [*served(BASELINE, "stable", 0), *served(BASELINE, "stable", 1)])

    assert found.shares == shares(0.25, 0.25)
    assert [(one.baseline, one.canary) for one in reduce(PLAN, found, ARMS).gates.units] == [
        (200, 0)
    ]


def test_units_that_several_services_count_are_not_added_up(store: Store) -> None:
    """
    A unit that two services of one rollout met was met by each of them: until one is named neither
    the split nor first events are known, and nothing is decided by them.
    """
    rows = [row for service in ("shop", "till") for hour in range(HOURS) for row in both(hour, service=service)]  # fmt: skip

    found = read(store, "services", rows)
    one = read(store, "services", [], service="till")

    assert (found.services, found.units) == ({"shop", "till"}, {})
    assert {metric for metric, _ in found.columns()} == {"request", "success"}
    ratio = compare(PLAN, found, ARMS).gates[0]
    assert (ratio.name, ratio.state) == ("sample_ratio", "unknown")
    assert (
        ratio.said == "each of 2 services counted units and first events for itself: name a service"
    )
    assert one.services == frozenset()
    assert sum(one.units.values()) == HOURS * 400
    assert compare(PLAN, one, ARMS).gates[0].state == "pass"


@pytest.mark.parametrize("apart", ["rollout", "environment"])
def test_units_of_several_draws_are_added_up(store: Store, apart: str) -> None:
    """
    Units of two rollouts, or of two environments, were drawn for each of them.
    """
    rows = [
        {**row, **({apart: "other"} if service == "till" else {})}
        for service in ("shop", "till")
        for row in both(0, service=service)
    ]

    found = read(store, f"apart {apart}", rows)

    assert found.services == frozenset()
    assert sum(found.units.values()) == 800
