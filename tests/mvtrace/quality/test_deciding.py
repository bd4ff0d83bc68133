"""The rules of a verdict, one after another, and that a verdict can be computed again."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import numpy as np
import orjson
import pytest
from rollups import arms_after, plan_of, rolled_up

from mvtrace.quality.cells import Cell, CellKey, RollUp, Stratum
from mvtrace.quality.deciding import compare, decide, levels_of
from mvtrace.quality.plan import Gates, Horizon, Metric, Policy
from mvtrace.quality.verdict import EXIT_CODES, Verdict

SUCCESS = Metric(name="success", kind="rate", margin=0.03)
ERROR = Metric(name="error", kind="event", direction="lower", role="guardrail", margin=1.5)
EQUAL = {"success": (0.9, 0.9), "error": (0.02, 0.02)}


@cache
def served(
    success: float = 0.9, error: float = 0.02, *, requests: int = 4000, hours: int = 30
) -> RollUp:
    """Return a roll-up of 10 % canary beside a baseline of 0.9 success and 0.02 errors."""
    return rolled_up(
        {"success": (0.9, success), "error": (0.02, error)}, requests=requests, hours=hours
    )


def test_equal_canary_is_promoted() -> None:
    """
    A canary that is proven no worse in all that is required is promoted.
    """
    verdict = compare(plan_of(SUCCESS, ERROR), served(), arms_after(30))

    assert (verdict.decision, verdict.reason, verdict.exit_code) == (
        "promote",
        "all_noninferior",
        0,
    )
    assert verdict.metrics == ("success", "error")
    assert verdict.sentence == (
        "Promote: success and error are proven no worse than the margin allows. "
        "success: difference -0.0004549, interval -0.009981 to +0.009071."
    )
    assert verdict.guarantee == "asymptotic"


def test_worse_canary_is_reverted() -> None:
    """
    One metric that is proven worse is enough.
    """
    verdict = compare(plan_of(SUCCESS, ERROR), served(error=0.06), arms_after(30))

    assert (verdict.decision, verdict.reason, verdict.exit_code) == ("revert", "harm", 11)
    assert (verdict.metrics, verdict.guarantee) == (("error",), "exact")
    assert verdict.result("success").status == "non_inferior"


def test_harm_reverts_before_the_minimum_of_hours() -> None:
    """
    Nothing is promoted early, but harm does not wait.
    """
    plan = plan_of(SUCCESS, ERROR)

    verdicts = [
        compare(plan, served(rate, requests=12_000, hours=6), arms_after(6)) for rate in (0.9, 0.8)
    ]

    assert [(one.decision, one.reason) for one in verdicts] == [
        ("hold", "too_early"),
        ("revert", "harm"),
    ]


def test_what_is_not_known_yet_holds_with_a_forecast() -> None:
    """
    Few requests hold, and it is said how many more are needed.
    """
    verdict = compare(plan_of(SUCCESS, ERROR), served(requests=300), arms_after(30))

    assert (verdict.decision, verdict.reason, verdict.exit_code) == ("hold", "undecided", 10)
    needed = verdict.forecast.promote_if_equal_requests
    assert needed is not None
    later = compare(
        plan_of(SUCCESS, ERROR), served(requests=(9000 + needed) // 30 + 200), arms_after(30)
    )
    assert later.decision == "promote"
    assert verdict.forecast.promote_if_equal_hours == pytest.approx(needed / 300)


def test_harm_is_not_forgotten() -> None:
    """
    A canary that was proven worse stays reverted when later requests look good.
    """
    plan = plan_of(SUCCESS, ERROR)

    bad = compare(plan, served(0.8), arms_after(30))
    good = compare(plan, served(0.9), arms_after(60), before=bad)

    assert [one.decision for one in (bad, good)] == ["revert", "revert"]
    assert good.result("success").memory.harm_at == arms_after(30).until
    assert good.result("success").p_harm == bad.result("success").p_harm
    assert good.past.looks == 2


@pytest.mark.parametrize(
    ("policy", "decision"), [("hold", "hold"), ("promote", "promote"), ("revert", "revert")]
)
def test_small_regression_is_a_matter_of_policy(policy: str, decision: str) -> None:
    """
    A canary that is worse beyond doubt, yet by less than the margin, goes as the plan says.
    """
    plan = plan_of(SUCCESS, policy=Policy(small_regression=policy))
    slightly = rolled_up({"success": (0.9, 0.89)}, requests=12_000, share=0.5)

    verdict = compare(plan, slightly, arms_after(30))

    assert verdict.result("success").status == "small_regression"
    assert (verdict.decision, verdict.reason) == (decision, "small_regression")


@pytest.mark.parametrize(("policy", "decision"), [("hold", "hold"), ("revert", "revert")])
def test_deadline(policy: str, decision: str) -> None:
    """
    What has not been decided by the deadline is held or reverted, as the plan says.
    """
    plan = plan_of(SUCCESS, ERROR, deadline_hours=30, policy=Policy(expired=policy))

    verdict = compare(plan, served(requests=300), arms_after(30))

    assert (verdict.decision, verdict.reason) == (decision, "expired")


def test_too_little_for_the_deadline_is_said_at_once() -> None:
    """
    A comparison that could not end in time, were the arms equal, says so before its deadline.
    """
    plan = plan_of(SUCCESS, ERROR, deadline_hours=48)

    verdict = compare(plan, served(requests=300), arms_after(30))

    assert (verdict.decision, verdict.reason) == ("hold", "underpowered")


def test_missing_metric_is_never_a_pass() -> None:
    """
    A required metric without data promotes nothing, however good the others are.
    """
    judge = Metric(name="judge", kind="score", margin=0.2, low=1.0, high=5.0)

    verdict = compare(plan_of(SUCCESS, judge), served(), arms_after(30))

    assert (verdict.decision, verdict.reason, verdict.metrics) == ("hold", "too_early", ("judge",))
    assert verdict.sentence == (
        "Hold: judge is not to be judged yet. judge has 0 requests of the canary that count."
    )


def test_first_requests_are_not_judged() -> None:
    """
    Before thirty requests of the canary, in twenty clusters, no mean is judged.
    """
    verdict = compare(plan_of(SUCCESS), served(0.1, requests=25, hours=10), arms_after(10))

    assert verdict.result("success").status == "too_few"
    assert verdict.result("success").log_e_harm is None
    assert verdict.decision == "hold"


def test_thirty_requests_without_a_failure_prove_nothing() -> None:
    """
    A canary without a failure yet is not promoted for having no variance.
    """
    perfect = rolled_up({"success": (1.0, 1.0)}, requests=25, hours=30)

    verdict = compare(plan_of(SUCCESS), perfect, arms_after(30))

    assert verdict.result("success").canary_requests >= 30
    assert verdict.decision == "hold"
    assert verdict.result("success").warnings == (
        "all values are one: nothing can be judged by them",
    )


def test_info_decides_nothing() -> None:
    """
    A metric that is only shown neither reverts nor is needed, and takes no part of alpha.
    """
    plan = plan_of(replace(SUCCESS, role="info"), ERROR)

    verdict = compare(plan, served(0.5), arms_after(30))

    assert verdict.decision == "promote"
    assert verdict.result("success").status == "shown"
    assert verdict.result("success").difference == pytest.approx(-0.4, abs=0.02)
    assert list(levels_of(plan)) == ["error"]


def test_all_together_may_be_worse_though_none_is() -> None:
    """
    Several metrics that are each a little worse revert by their average before any does alone.
    """
    metrics = [replace(SUCCESS, name=f"m{number}", margin=0.03) for number in range(6)]
    rates = {metric.name: (0.9, 0.87) for metric in metrics}
    found = rolled_up(rates, requests=350, hours=30, seed=3)

    verdict = compare(plan_of(*metrics, global_share=0.5), found, arms_after(30))

    assert {one.status for one in verdict.results} == {"undecided"}
    assert (verdict.decision, verdict.reason, len(verdict.metrics)) == ("revert", "harm", 6)
    assert verdict.level_global is not None
    assert verdict.log_e_global >= verdict.level_global


def test_worse_together_yet_each_within_its_margin_is_a_conflict() -> None:
    """
    Where the average says harm and every single metric is proven within its margin, a person decides.
    """
    metrics = [replace(SUCCESS, name=f"m{number}", margin=0.06) for number in range(6)]
    rates = {metric.name: (0.9, 0.883) for metric in metrics}

    verdict = compare(
        plan_of(*metrics, global_share=0.5), rolled_up(rates, requests=600, seed=6), arms_after(30)
    )

    assert (verdict.decision, verdict.reason) == ("hold", "conflict")


def test_immature_hours_are_left_out() -> None:
    """
    Where feedback takes a day, the last day's requests do not count yet.
    """
    plan = plan_of(replace(SUCCESS, maturity_hours=24))

    result = compare(plan, served(), arms_after(30)).result("success")

    assert result.baseline_requests + result.canary_requests == 6 * 4000
    assert result.dropped == pytest.approx(24 / 30)


def test_events_count_only_under_a_planned_share() -> None:
    """
    Hours in which the share changed take no part in the exact tests, and are said to be left out.
    """
    found = served()
    shares = dict(list(found.shares.items())[:20])

    result = compare(plan_of(ERROR), replace(found, shares=shares), arms_after(30)).result("error")

    assert result.baseline_requests + result.canary_requests == 20 * 4000
    assert result.dropped == pytest.approx(1 / 3)


def test_declared_horizon_has_one_last_look() -> None:
    """
    At the horizon alpha's rest is spent on one test, once; no later look is another last one.
    """
    plan = plan_of(SUCCESS, horizon=Horizon(requests=20_000), minimum_hours=1)
    looks = [served(0.885, requests=1000, hours=hours) for hours in (10, 20, 30)]
    verdict = None
    verdicts = []
    for hours, found in zip((10.5, 20.5, 30.5), looks, strict=True):
        verdict = compare(plan, found, arms_after(hours), before=verdict)
        verdicts.append(verdict)

    assert [one.past.final_at for one in verdicts] == [None] + [arms_after(20.5).until] * 2
    levels = levels_of(plan)["success"]
    assert levels.final_harm == pytest.approx(0.04)
    assert levels.harm == pytest.approx(4.6051702)  # ln(1 / 0.01): one metric needs no global share


def test_last_look_finds_what_the_sequence_had_not() -> None:
    """
    At its horizon a hybrid plan reverts a canary that the purely sequential one holds.
    """
    found = rolled_up({"success": (0.9, 0.87)}, requests=700, hours=30, seed=4)
    hybrid = plan_of(SUCCESS, horizon=Horizon(requests=20_000))

    decisions = [
        compare(plan, found, arms_after(30)).decision for plan in (hybrid, plan_of(SUCCESS))
    ]

    assert decisions == ["revert", "hold"]


def test_verdict_is_what_its_bytes_say_and_can_be_computed_again() -> None:
    """
    From the bytes of a verdict the same verdict is read, and from its statistics computed again.
    """
    plan = plan_of(SUCCESS, ERROR)
    first = compare(plan, served(hours=10), arms_after(10))
    second = compare(plan, served(), arms_after(30), before=first)

    again = Verdict.from_dict(orjson.loads(second.to_bytes()))

    assert again == second
    assert decide(again.plan, again.sufficient, before=first).to_bytes() == second.to_bytes()
    assert again.digest == second.digest
    assert len(second.to_bytes()) < 6000


def test_neither_order_nor_parts_change_a_verdict() -> None:
    """
    A roll-up merged from parts in another order gives the same bytes.
    """
    found = served(hours=30)
    turned = replace(found, cells=dict(reversed(found.cells.items())))
    halves = [
        replace(
            found,
            cells={key: cell for key, cell in found.cells.items() if key.bucket % 2 == odd},
            units={},
            deliveries={},
        )
        for odd in (0, 1)
    ]
    merged = replace(halves[1].merge(halves[0]), units=found.units, deliveries=found.deliveries)
    plan = plan_of(SUCCESS, ERROR)

    bytes_of = {compare(plan, one, arms_after(30)).to_bytes() for one in (found, turned, merged)}

    assert len(bytes_of) == 1


def test_verdict_of_another_form_or_plan_is_refused() -> None:
    """
    A verdict of a later form, or with a plan that was changed, is not read.
    """
    said = compare(plan_of(SUCCESS), served(), arms_after(30)).to_dict()

    with pytest.raises(ValueError, match="schema_version is 2; 1 is known"):
        Verdict.from_dict({**said, "schema_version": 2})
    with pytest.raises(ValueError, match=r"the plan's digest is sha256:.*, not sha256:"):
        Verdict.from_dict({**said, "plan": {**said["plan"], "alpha_revert": 0.5}})


def test_look_before_is_of_the_same_comparison() -> None:
    """
    A look before of another plan, other arms or later data is refused.
    """
    plan = plan_of(SUCCESS)
    first = compare(plan, served(), arms_after(30))

    with pytest.raises(ValueError, match="the look before followed plan"):
        compare(plan_of(ERROR), served(), arms_after(30), before=first)
    with pytest.raises(ValueError, match="the look before compared stable and canary, not a and b"):
        compare(plan, served(), replace(arms_after(30), baseline="a", canary="b"), before=first)
    with pytest.raises(ValueError, match=r"the look before reached .*, later than"):
        compare(plan, served(), arms_after(29), before=first)


def test_exit_codes() -> None:
    """
    Decisions have codes of their own: none is 1, 2 or 3, which mean the same for every command.
    """
    assert dict(EXIT_CODES) == {"promote": 0, "hold": 10, "revert": 11}


def test_metric_that_is_not_there() -> None:
    """
    A verdict knows its plan's metrics only.
    """
    with pytest.raises(KeyError, match="other"):
        compare(plan_of(SUCCESS), served(), arms_after(30)).result("other")


def test_latency_and_cost_are_judged_by_ratios() -> None:
    """
    A canary that is a fifth slower is reverted by the logarithm of its latency, and one that costs as
    much for each success is promoted by the ratio of two sums.
    """
    slower, costs = (
        Metric(name="latency", kind="log", direction="lower", margin=1.1),
        Metric(name="cost", kind="ratio", direction="lower", margin=0.2),
    )
    generator = np.random.default_rng(9)
    cells: dict[CellKey, Cell] = {}
    for place in range(400):
        key = CellKey("canary" if place % 4 == 0 else "stable", "latency", Stratum(480_000), place)
        logs = generator.normal(math.log(1.2) * (key.arm == "canary"), 0.5, 20)
        bases = generator.integers(0, 2, 20).astype(float)
        cells[key] = Cell.of(logs.tolist())
        cells[key._replace(metric="cost")] = Cell.of(
            (bases + generator.normal(0, 0.3, 20)).tolist(), bases.tolist()
        )
    found = RollUp(cells=cells)
    ungated = Gates(sample_ratio=False, completeness=None)

    verdicts = [
        compare(plan_of(metric, gates=ungated, minimum_hours=0), found, arms_after(1))
        for metric in (slower, costs)
    ]

    assert [one.decision for one in verdicts] == ["revert", "promote"]
    low, high = verdicts[0].result("latency").interval or (None, None)
    assert low is not None
    assert high is not None
    assert low < math.log(1.2) < high
    assert verdicts[1].result("cost").baseline == pytest.approx(1.0, abs=0.05)


def test_one_bucket_gives_no_verdict() -> None:
    """
    A roll-up with one bucket has no clusters: nothing is judged, and the bytes are still canonical.
    """
    cells = {
        CellKey(arm, "success", Stratum(480_000), 0): Cell.of([1.0, 0.0] * 50)
        for arm in ("stable", "canary")
    }

    verdict = compare(plan_of(SUCCESS), RollUp(cells=cells), arms_after(1))

    assert verdict.result("success").status == "too_few"
    assert Verdict.from_dict(orjson.loads(verdict.to_bytes())) == verdict
