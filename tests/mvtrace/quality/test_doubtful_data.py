"""What must not sway a verdict: lone requests, requests that nothing assigned, records that come late."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from rollups import STARTED, arms_after, plan_of, rolled_up

from mvtrace.quality.cells import Cell, CellKey, Delivery, RollUp, Stratum
from mvtrace.quality.deciding import compare
from mvtrace.quality.gates import FAIL, PASS, UNKNOWN, Gate
from mvtrace.quality.plan import Gates, Horizon, Metric, Policy
from mvtrace.quality.results import Memory
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


ERROR = Metric(name="error", kind="event", direction="lower", role="guardrail", margin=1.5)


def an_hour(errors: tuple[int, int], requests: tuple[int, int], hour: int = STARTED) -> RollUp:
    """Return an hour under a planned share of 5 %: both arms' errors and requests."""
    stratum = Stratum(hour, "r1 0.05")
    cells = {}
    for arm, bad, number in zip(("stable", "canary"), errors, requests, strict=True):
        for bucket in range(50):
            errors_here = float(bad // 50 + (bucket < bad % 50))
            one = Cell.of_sums(number // 50, errors_here, errors_here)
            cells[CellKey(arm, "error", stratum, bucket)] = one
    units = dict(zip((("stable", stratum), ("canary", stratum)), requests, strict=True))
    return RollUp(cells=cells, shares={stratum: 0.05}, units=units)


LATE = an_hour((40, 40), (500, 500))
"""An hour of which nearly all of the baseline's records are still to come."""
WHOLE = an_hour((3000, 156), (50_000, 2600))


def test_harm_that_is_seen_while_the_arms_do_not_compare_is_not_remembered() -> None:
    """
    While a gate fails nothing that the metrics say is kept: once the records have come the canary is
    judged by them alone.
    """
    plan = plan_of(ERROR, replace(SUCCESS, name="other"), minimum_hours=0)

    held = compare(plan, LATE, arms_after(1 / 3))
    healed = compare(plan, WHOLE, arms_after(3), before=held)

    assert (held.decision, held.metrics) == ("hold", ("sample_ratio",))
    assert held.result("error").status == "harm"
    assert held.result("error").p_harm < 0.01
    assert held.result("error").memory == Memory()
    assert held.past.peak_global == 0
    assert (gate(healed, "sample_ratio").state, healed.decision) == (PASS, "hold")
    assert healed.result("error").status == "non_inferior"
    assert healed.past.peak_global < 1


def test_the_last_look_is_not_spent_while_the_arms_do_not_compare() -> None:
    """
    The one last look of a horizon waits for arms that compare, and for hours whose records came.
    """
    gates = Gates(completeness=None)
    plan = plan_of(ERROR, minimum_hours=0, gates=gates, horizon=Horizon(requests=1000))
    broken = replace(WHOLE, mixed=2000)

    looks = [compare(plan, LATE, arms_after(1 / 3))]
    for found, hours in ((WHOLE, 1.1), (broken, 1.5), (WHOLE, 2.0), (WHOLE, 3.0)):
        looks.append(compare(plan, found, arms_after(hours), before=looks[-1]))

    assert [one.past.final_at for one in looks] == [None, None, None] + [arms_after(2).until] * 2
    assert [one.reason == "invalid_gate" for one in looks] == [True, False, True, False, False]


def test_events_are_remembered_once_their_hour_is_settled() -> None:
    """
    Events of an hour whose records are awaited revert while they say so; what they say is remembered
    only once the hour's records have come.
    """
    open_gates = Gates(sample_ratio=False, completeness=None)
    plan = plan_of(ERROR, minimum_hours=0, gates=open_gates)
    worse = an_hour((3000, 400), (50_000, 2600))

    early = compare(plan, LATE, arms_after(1 / 3))
    later = compare(plan, WHOLE, arms_after(3), before=early)
    settled = compare(plan, worse, arms_after(3))
    diluted = compare(plan, WHOLE, arms_after(4), before=settled)

    assert [one.decision for one in (early, later)] == ["revert", "promote"]
    assert [one.decision for one in (settled, diluted)] == ["revert", "revert"]
    assert early.result("error").memory.harm_at is None
    assert settled.result("error").memory.harm_at == arms_after(3).until


def test_a_deadline_counts_from_when_both_arms_were_assigned() -> None:
    """
    Who tried the canary by hand four days ago has not begun the comparison: neither its deadline nor
    its pace counts from then.
    """
    policy = Policy(expired="revert")
    plan = plan_of(SUCCESS, deadline_hours=72, policy=policy)
    found = served(requests=300, hours=2)
    for arm in ("stable", "canary"):
        found = with_cell(found, arm, Stratum(STARTED - 96, "by hand"), Cell.of([1.0]))
    arms = replace(arms_after(2), started_at=(STARTED - 96) * 3600)
    arms_alone = replace(arms, until=STARTED * 3600)

    verdict = compare(plan, found, arms)
    by_hand = replace(
        found, cells={key: one for key, one in found.cells.items() if key.stratum.phase}
    )
    before_any = compare(plan, by_hand, arms_alone)

    assert (verdict.decision, verdict.reason) != ("revert", "expired")
    assert verdict.sufficient.arms.started_at == STARTED * 3600
    assert verdict.sufficient.arms.hours == 2
    assert before_any.sufficient.arms.hours == 0


def test_requests_are_counted_once_whoever_scored_them() -> None:
    """
    How many requests there were is told by the requests, and where these are not known by what
    decides: what is only shown, by however many scorers, says nothing of it.
    """
    shown = Metric(name="tone", kind="rate", role="info", margin=0.03)
    found = rolled_up({"success": (0.9, 0.9), "tone": (0.5, 0.5)}, requests=400)
    twice = {
        key: one + one if key.metric == "tone" else one for key, one in found.cells.items()
    } | {
        key._replace(metric="tone", stratum=Stratum(STARTED - 9)): one
        for key, one in found.cells.items()
        if key.stratum.hour == STARTED
    }
    counted = {
        key._replace(metric="request"): one + one
        for key, one in found.cells.items()
        if key.metric == "success"
    }

    by_metrics, by_requests = (
        compare(plan_of(SUCCESS, shown), replace(found, cells=cells), arms_after(30)).sufficient
        for cells in (twice, {**twice, **counted})
    )

    assert (by_metrics.requests, by_requests.requests) == (30 * 400, 2 * 30 * 400)
    assert (by_metrics.paired_hours, by_requests.paired_hours) == (30, 30)
    assert by_metrics.gates.canary == by_metrics.canary
