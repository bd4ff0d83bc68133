"""What looks remember together, where two were taken at the same time."""

from __future__ import annotations

import pytest
from rollups import arms_after, plan_of, rolled_up

from mvtrace.quality.deciding import compare
from mvtrace.quality.joining import joined
from mvtrace.quality.plan import Horizon, Metric
from mvtrace.quality.verdict import Verdict

SUCCESS = Metric(name="success", kind="rate", margin=0.03)
PLAN = plan_of(SUCCESS, horizon=Horizon(requests=10_000))
GOOD = rolled_up({"success": (0.9, 0.9)}, requests=1000, hours=12)
BAD = rolled_up({"success": (0.9, 0.7)}, requests=1000, hours=12)
BROKEN = rolled_up({"success": (0.9, 0.9)}, requests=1000, hours=12, served_share=0.4)


def looks() -> tuple[Verdict, Verdict, Verdict]:
    """Return looks that go on from one: one saw harm, one a broken split, one neither."""
    first = compare(PLAN, GOOD, arms_after(6))
    return (
        compare(PLAN, GOOD, arms_after(13), before=first),
        compare(PLAN, BAD, arms_after(12), before=first),
        compare(PLAN, BROKEN, arms_after(12), before=first),
    )


def test_one_look_is_itself() -> None:
    """
    Of one look there is nothing to join.
    """
    one, *_ = looks()

    assert joined([one]) is one


def test_what_either_saw_stays_seen() -> None:
    """
    Joined, the latest look has the strongest evidence of each, whatever their order.
    """
    good, bad, broken = looks()

    both = joined([good, bad, broken])

    assert both == joined([broken, bad, good])
    assert both.sufficient == good.sufficient
    assert both.results[0].memory.reverted
    assert both.results[0].memory.harm_at == bad.results[0].memory.harm_at
    assert both.past.peaks["sample_ratio"] == broken.past.peaks["sample_ratio"]
    assert broken.past.final_at is None
    assert both.past.final_at == min(good.past.final_at or 0, bad.past.final_at or 0) > 0
    assert both.past.looks == 4
    after = compare(PLAN, GOOD, arms_after(20), before=both)
    assert (after.decision, after.reason) == ("hold", "invalid_gate")
    assert after.past.looks == 5


def test_looks_of_two_plans_are_not_joined() -> None:
    """
    Looks that follow different plans have nothing in common.
    """
    good, *_ = looks()
    other = compare(plan_of(SUCCESS), GOOD, arms_after(6))

    for some in ([], [good, other]):
        with pytest.raises(ValueError, match="looks of one plan"):
            joined(some)
