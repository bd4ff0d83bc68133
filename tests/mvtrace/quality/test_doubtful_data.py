"""What must not sway a verdict: values out of range, lone requests, requests that nothing assigned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rollups import STARTED, arms_after, plan_of, rolled_up

from mvtrace.quality.cells import Cell, CellKey, Delivery, RollUp, Stratum
from mvtrace.quality.deciding import compare
from mvtrace.quality.estimators import Buckets, within
from mvtrace.quality.gates import FAIL, PASS, UNKNOWN, Gate
from mvtrace.quality.plan import Metric
from mvtrace.quality.verdict import Verdict

SUCCESS = Metric(name="success", kind="rate", margin=0.03)
PLAN = plan_of(SUCCESS)


def served(success: float = 0.9, **options: object) -> RollUp:
    """Return 30 hours of a baseline of 0.9 beside a canary of *success*."""
    return rolled_up({"success": (0.9, success)}, **{"requests": 4000, **options})  # type: ignore[arg-type]


def with_cell(found: RollUp, arm: str, stratum: Stratum, cell: Cell, bucket: int = 0) -> RollUp:
    """Return *found* with *cell* added to what it has there."""
    key = CellKey(arm, "success", stratum, bucket)
    both = found.cells[key] + cell if key in found.cells else cell
    return replace(found, cells={**found.cells, key: both})


def gate(verdict: Verdict, name: str) -> Gate:
    return next(one for one in verdict.gates if one.name == name)


@pytest.mark.parametrize("value", [1e6, -1e6])
def test_one_value_out_of_range_sways_nothing(value: float) -> None:
    """
    One vote of a million neither saves a worse canary nor hurts an equal one.
    """
    vote = Cell.of([value])
    decisions = []
    for success in (0.8, 0.9):
        found = with_cell(served(success), "canary", Stratum(STARTED + 1), vote)
        decisions.append(compare(PLAN, found, arms_after(30)).decision)

    assert decisions == ["revert", "promote"]


def test_a_request_is_one_bad_event_at_most() -> None:
    """
    A vote of ten is no ten bad events.
    """
    down = Metric(name="success", kind="event", direction="lower", margin=1.5)
    found = served(0.9)
    cells = {key: replace(cell, total=10 * cell.requests) for key, cell in found.cells.items()}

    (sums,) = compare(plan_of(down), replace(found, cells=cells), arms_after(30)).sufficient.metrics

    (events,) = sums.events
    assert (events.baseline, events.canary) == (sums.baseline, sums.canary)


@st.composite
def buckets(draw: st.DrawFn) -> tuple[Buckets, tuple[float, float]]:
    """Return buckets of values in a range, and the range."""
    low = draw(st.floats(-5, 5))
    high = low + draw(st.floats(0.5, 10))
    values = draw(st.lists(st.lists(st.floats(low, high), max_size=6), min_size=1, max_size=4))
    cells = [Cell.of(one) for one in values]
    columns = ([float(getattr(one, name)) for one in cells] for name in Cell.__slots__)
    return Buckets(*map(np.array, columns)), (low, high)


@given(buckets())
def test_what_values_of_the_range_came_to_is_not_changed(
    found: tuple[Buckets, tuple[float, float]],
) -> None:
    """
    Sums that values of the range have are left as they are, to the last digit.
    """
    one, limits = found

    assert within(one, *limits) is one


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=5))
def test_no_bucket_counts_for_more_than_its_requests_at_one_end(values: list[float]) -> None:
    """
    Whatever the values are, what is left are sums that as many values from 0 to 1 have.
    """
    cell = Cell.of(values)
    sums = (np.array([float(getattr(cell, name))]) for name in Cell.__slots__)

    found = within(Buckets(*sums), 0.0, 1.0)

    number, total, squares = (float(one[0]) for one in (found.requests, found.total, found.squares))
    assert -1e-6 <= total <= number + 1e-6
    assert total**2 / number - 1e-6 <= squares <= total + 1e-6


def test_a_ratio_has_no_range() -> None:
    """
    Of a ratio of sums no request's value is known, so none is cut.
    """
    ones = np.array([2.0])
    one = Buckets(ones, 50 * ones, 1250 * ones, 7 * ones, 25 * ones, 175 * ones)

    assert within(one, 0.0, 1.0) is one


def test_a_metric_that_is_shown_needs_no_one_scorer() -> None:
    """
    Two scorers of what decides nothing are no failed gate.
    """
    shown = Metric(name="tone", kind="rate", role="info", margin=0.03)
    found = rolled_up({"success": (0.9, 0.9), "tone": (0.5, 0.5)}, requests=4000)
    found = replace(found, scorers={"tone": frozenset({"sha256:1", "sha256:2"})})

    verdict = compare(plan_of(SUCCESS, shown), found, arms_after(30))

    assert verdict.decision == "promote"
    assert [one.name for one in verdict.gates if one.name.startswith("scorer")] == []


def test_a_lone_early_request_is_no_beginning() -> None:
    """
    A canary that somebody tried out two days ago is promoted no earlier: hours count in which both
    arms served.
    """
    found = served(hours=6, requests=20_000)
    early = with_cell(found, "canary", Stratum(STARTED - 48), Cell.of([1.0]))
    arms = replace(arms_after(6), started_at=(STARTED - 48) * 3600)

    verdict = compare(plan_of(SUCCESS), early, arms)

    assert (verdict.decision, verdict.reason) == ("hold", "too_early")
    assert verdict.sufficient.hours == 6
    assert verdict.forecast.promote_hours == pytest.approx(18)
    assert verdict.result("success").status == "non_inferior"


def test_beside_what_was_assigned_nothing_else_counts() -> None:
    """
    Requests that nobody assigned compare nothing where shares are planned: who tries the canary by
    hand is no sample of the traffic.
    """
    found = served()
    hand = Stratum(STARTED + 2, "by hand")
    for bucket in range(256):
        tried = Cell.of([0.0] * 40)
        found = with_cell(found, "canary", hand, tried, bucket)
        found = with_cell(found, "stable", hand, Cell.of([1.0] * 40), bucket)

    verdict = compare(PLAN, found, arms_after(30))
    without_shares = compare(PLAN, replace(found, shares={}, units={}), arms_after(30))

    assert verdict.decision == "promote"
    assert verdict.sufficient.metrics[0].unpaired == 2 * 256 * 40
    assert without_shares.decision == "revert"


def test_a_sticky_plan_without_units_does_not_compare() -> None:
    """
    A plan by user over requests of which none says whose it is fails, rather than taking each for
    independent of its user's others.
    """
    plan = plan_of(SUCCESS, unit="user")
    found = replace(served(0.7), units={})

    verdict = compare(plan, found, arms_after(30))
    by_request = compare(PLAN, found, arms_after(30))
    few = compare(plan, replace(served(hours=1, requests=40), units={}), arms_after(1))

    assert (verdict.decision, verdict.reason) == ("hold", "invalid_gate")
    assert gate(verdict, "sample_ratio").said == (
        "the plan assigns by user, and no request says which user it is of"
    )
    assert (gate(by_request, "sample_ratio").state, by_request.decision) == (UNKNOWN, "revert")
    assert gate(few, "sample_ratio").state == UNKNOWN


def looks_of_a_late_arm(delivered: float) -> Iterator[tuple[RollUp, float]]:
    """Yield what is known after so many hours: in the last the canary's records come late."""
    whole = served(hours=4)
    late = {
        key: units for key, units in whole.units.items() if key != ("canary", Stratum(STARTED + 2))
    }
    lost = {
        "stable": Delivery(expected=10_000, received=10_000),
        "canary": Delivery(expected=1_000, received=round(1_000 * delivered)),
    }
    first = {key: units for key, units in late.items() if key[1].hour < STARTED + 3}
    yield replace(whole, units=first, deliveries=lost), 3.1 if delivered == 1 else 3.5
    yield whole, 4.3


@pytest.mark.parametrize("delivered", [1.0, 0.6])
def test_an_arm_whose_records_come_late_is_no_broken_split(delivered: float) -> None:
    """
    While an hour's records are still awaited, or are known to be missing, the split holds the
    verdict and is forgotten once they have come.
    """
    before = None
    states = []
    for found, hours in looks_of_a_late_arm(delivered):
        before = compare(PLAN, found, arms_after(hours), before=before)
        states.append(gate(before, "sample_ratio").state)

    assert states == [FAIL, PASS]


def test_a_split_that_is_broken_in_settled_hours_stays_so() -> None:
    """
    What failed with all records there is not waited out.
    """
    bad = compare(PLAN, served(hours=4, served_share=0.05), arms_after(4.5))
    good = compare(PLAN, served(hours=8), arms_after(8.5), before=bad)

    assert [gate(one, "sample_ratio").state for one in (bad, good)] == [FAIL, FAIL]
