"""Values that a metric cannot have: by them it is not judged, and the other metrics are."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rollups import arms_after, plan_of, rolled_up

from mvtrace.quality.cells import Cell, CellKey, RollUp
from mvtrace.quality.deciding import compare, decide
from mvtrace.quality.estimators import Buckets, beyond
from mvtrace.quality.plan import Metric
from mvtrace.quality.results import OUT_OF_RANGE
from mvtrace.quality.sufficient import Sufficient, reduce

SUCCESS = Metric(name="success", kind="rate", margin=0.03)
ERROR = Metric(name="error", kind="rate", role="guardrail", direction="lower", margin=0.01)
DOWN = Metric(name="success", kind="event", direction="lower", margin=1.5)
STARS = Metric(name="success", kind="score", margin=0.12, low=1.0, high=5.0)
PLAN = plan_of(SUCCESS, ERROR)


def served(success: float = 0.9, error: float = 0.02) -> RollUp:
    """Return 30 hours of a baseline beside a canary with these rates."""
    return rolled_up({"success": (0.9, success), "error": (0.02, error)}, requests=4000)


def revalued(found: RollUp, value: float, share: float, seed: int = 5) -> RollUp:
    """Return *found* where a share of all votes are *value* instead, in both arms alike."""
    generator = np.random.default_rng(seed)

    def voted(key: CellKey, cell: Cell) -> Cell:
        if key.metric != "success":
            return cell
        off = int(generator.binomial(cell.requests, share))
        good = int(
            generator.hypergeometric(round(cell.total), cell.requests - round(cell.total), off)
        )
        total = cell.total - good
        return Cell.of_sums(cell.requests, total + off * value, total + off * value**2)

    return replace(found, cells={key: voted(key, cell) for key, cell in found.cells.items()})


@pytest.mark.parametrize(("value", "share"), [(10.0, 0.01), (-1.0, 0.05), (1e6, 0.0001)])
@pytest.mark.parametrize("success", [0.9, 0.86])
def test_by_values_beyond_its_range_a_metric_is_not_judged(
    value: float, share: float, success: float
) -> None:
    """
    However many votes are no 0 and no 1, they make an equal canary no worse and save no worse one.
    """
    verdict = compare(PLAN, revalued(served(success), value, share), arms_after(30))

    seen = verdict.result("success")
    assert (verdict.decision, verdict.reason) == ("hold", "too_early")
    assert verdict.metrics == ("success",)
    assert (seen.status, seen.log_e_harm, seen.log_e_noninferior) == (OUT_OF_RANGE, None, None)
    assert verdict.result("error").status == "non_inferior"


def test_what_is_beyond_is_said_with_one_thing_to_do() -> None:
    """
    The warning says the range, how many sums are beyond it, and what counts each value by itself.
    """
    verdict = compare(PLAN, revalued(served(), 10.0, 0.0001), arms_after(30))

    sums = verdict.sufficient.metrics[0]
    words = (
        f"values beyond its range 0 to 1 in {sums.beyond} of {sums.buckets} buckets; "
        "a plan with the source 'success>0.5' counts each value by itself"
    )
    assert verdict.result("success").warnings == (words,)
    assert verdict.sentence == f"Hold: success is not to be judged yet. success: {words}."
    assert 0 < sums.beyond < sums.buckets


def test_harm_elsewhere_reverts_all_the_same() -> None:
    """
    Who votes a million keeps no canary that fails more often.
    """
    verdict = compare(PLAN, revalued(served(error=0.1), 1e6, 0.01), arms_after(30))

    assert (verdict.decision, verdict.metrics) == ("revert", ("error",))


def test_harm_that_was_seen_is_not_forgotten_for_it() -> None:
    """
    A look at values beyond the range adds nothing to what is remembered, and takes nothing from it.
    """
    calm, worse = (compare(PLAN, served(one), arms_after(30)) for one in (0.9, 0.8))
    found = revalued(served(0.5), -5.0, 0.2)

    after_calm, after_worse = (
        compare(PLAN, found, arms_after(31), before=one) for one in (calm, worse)
    )

    assert after_calm.result("success").memory == calm.result("success").memory
    assert after_worse.result("success").memory == worse.result("success").memory
    assert [one.decision for one in (calm, after_calm)] == ["promote", "hold"]
    assert [one.decision for one in (worse, after_worse)] == ["revert", "revert"]


@pytest.mark.parametrize("value", [5.0, -1.0, 0.5])
def test_what_is_no_0_and_no_1_is_no_event(value: float) -> None:
    """
    A vote of five is neither five bad events nor one, and by votes of it nothing is promoted.
    """
    plan = plan_of(DOWN)
    found = rolled_up({"success": (0.04, 0.04)}, requests=4000)

    verdict = compare(plan, revalued(found, value, 0.05), arms_after(30))

    seen = verdict.result("success")
    assert verdict.decision == "hold"
    assert (seen.status, seen.log_e_harm, seen.log_e_noninferior) == (OUT_OF_RANGE, None, None)
    assert seen.warnings[0].startswith("values other than 0 and 1 in ")
    assert "a plan with the source 'success>0.5' counts each value by itself" in seen.warnings[0]
    assert compare(plan, found, arms_after(30)).decision == "promote"


def test_a_score_has_the_range_that_the_plan_says() -> None:
    """
    A score between its ends is judged; beyond them it is not.
    """
    found = served()
    scored = {  # of each vote four stars more than one, or none
        key: Cell.of_sums(one.requests, one.requests + 4 * one.total, one.requests + 24 * one.total)
        for key, one in found.cells.items()
    }
    narrow = plan_of(replace(STARS, high=4.5))

    wide, beside = (
        compare(plan, replace(found, cells=scored), arms_after(30))
        for plan in (plan_of(STARS), narrow)
    )

    assert wide.decision == "promote"
    assert beside.result("success").status == OUT_OF_RANGE
    assert (
        beside.result("success")
        .warnings[0]
        .endswith("buckets; a plan with the range that they have judges them")
    )


def test_a_gate_beyond_its_range_is_not_known() -> None:
    """
    What says whether the arms compare says nothing by values that cannot be.
    """
    gate = Metric(name="success", kind="rate", role="gate", margin=0.05)
    plan = plan_of(gate, ERROR)

    verdict = compare(plan, revalued(served(), 10.0, 0.01), arms_after(30))

    (found,) = [one for one in verdict.gates if one.name == "success"]
    assert (verdict.decision, verdict.reason) == ("hold", "invalid_gate")
    assert found.state == "unknown"
    assert found.said.startswith("values beyond its range 0 to 1 in ")


def test_what_is_shown_only_is_shown() -> None:
    """
    A metric that decides nothing has its figures and the warning, and holds nobody up.
    """
    plan = plan_of(replace(SUCCESS, role="info"), ERROR)

    verdict = compare(plan, revalued(served(), 10.0, 0.01), arms_after(30))

    seen = verdict.result("success")
    assert (verdict.decision, seen.status) == ("promote", "shown")
    assert seen.baseline == pytest.approx(0.991, abs=0.01)
    assert seen.warnings[0].startswith("values beyond its range 0 to 1")


def test_it_is_computed_again_from_what_is_stored() -> None:
    """
    How many buckets are beyond is stored, so that the verdict comes of it to the same bytes.
    """
    sums = reduce(PLAN, revalued(served(), 10.0, 0.001), arms_after(30))

    again = Sufficient.from_dict(json.loads(json.dumps(sums.to_dict())))

    assert again == sums
    assert again.metrics[0].beyond > 0 == again.metrics[1].beyond
    assert decide(PLAN, again).to_dict() == decide(PLAN, sums).to_dict()


def sums_of(
    values: Sequence[Sequence[float]], bases: Sequence[Sequence[float]] | None = None
) -> Buckets:
    """Return the buckets of *values*."""
    below: Sequence[Any] = bases or [None] * len(values)
    cells = [Cell.of(one, over) for one, over in zip(values, below, strict=True)]
    return Buckets(
        *(np.array([float(getattr(one, name)) for one in cells]) for name in Cell.__slots__)
    )


@st.composite
def ranged(draw: st.DrawFn) -> tuple[list[list[float]], tuple[float, float]]:
    """Return values in a range, and the range."""
    low = draw(st.floats(-5, 5))
    high = low + draw(st.floats(0.5, 10))
    values = st.lists(st.lists(st.floats(low, high), max_size=6), min_size=1, max_size=4)
    return draw(values), (low, high)


@given(ranged())
def test_no_values_of_the_range_are_beyond_it(
    found: tuple[list[list[float]], tuple[float, float]],
) -> None:
    """
    Sums that values of the range have are never taken for others.
    """
    values, limits = found

    assert not beyond(sums_of(values), *limits).any()


OFF = st.floats(-1e9, -0.01) | st.floats(1.01, 1e9)


@given(st.lists(st.sampled_from([0.0, 1.0]), max_size=40), st.lists(OFF, min_size=1, max_size=3))
def test_among_votes_of_0_and_1_one_beyond_is_always_seen(
    votes: list[float], off: list[float]
) -> None:
    """
    No number of votes for and against hides one of another size.
    """
    assert beyond(sums_of([[*votes, *off]]), 0.0, 1.0).all()


@pytest.mark.parametrize(
    ("change", "is_beyond"),
    [(lambda base: 0.5 * base, False), (lambda base: base + 1, True), (lambda base: -base, True)],
)
def test_a_part_is_at_most_the_whole(
    change: Callable[[float], float],
    is_beyond: bool,
) -> None:
    """
    A rate over another metric is 0 to 1 of what it is over.
    """
    bases = [1.0, 4.0, 20.0]

    assert beyond(sums_of([[change(one) for one in bases]], [bases]), 0.0, 1.0).all() == is_beyond
