"""What makes two arms not comparable is found, and holds every verdict."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from rollups import STARTED, arms_after, plan_of, rolled_up

from mvtrace.quality import gates
from mvtrace.quality.cells import CellKey, Delivery, RollUp, Stratum
from mvtrace.quality.deciding import compare
from mvtrace.quality.gates import Gate
from mvtrace.quality.plan import Gates, Metric
from mvtrace.quality.sufficient import reduce

SUCCESS = Metric(name="success", kind="rate", margin=0.03)
ANSWERED = Metric(name="answered", kind="rate", role="gate", margin=0.02)
GOOD = {"success": (0.9, 0.9), "answered": (0.3, 0.3)}


def gate(name: str, found: RollUp, **changes: object) -> Gate:
    """Return the gate *name* of *found*."""
    plan = plan_of(SUCCESS, ANSWERED, **changes)
    all_gates = gates.evaluate(plan, reduce(plan, found, arms_after(30)), peaks={})
    return next(one for one in all_gates if one.name == name)


def test_sound_comparison_passes_every_gate() -> None:
    """
    Where nothing is wrong every gate passes, and says by which figures.
    """
    plan = plan_of(SUCCESS, ANSWERED)

    found = gates.evaluate(plan, reduce(plan, rolled_up(GOOD), arms_after(30)), peaks={})

    assert [(one.name, one.state, one.said) for one in found] == [
        ("sample_ratio", "pass", "1215 of 12000 units are the canary's; 1200 were planned"),
        ("completeness", "pass", "99.99% of the baseline's records came and 99.99% of the canary's"),
        ("concurrency", "pass", "in hours of 100.0% of the canary's requests the baseline served too"),
        ("mixed", "pass", "0 requests (0.00%) were served by more than one version, or the other arm's; at most 1.00% may be"),
        ("answered", "pass", "10785 requests of the baseline, 1215 of the canary"),
    ]  # fmt: skip


def test_eight_per_cent_for_ten_hold() -> None:
    """
    A canary that gets 8 % of the units instead of 10 % holds, whatever its metrics say.
    """
    broken = rolled_up(GOOD, served_share=0.08, requests=2000)

    verdict = compare(plan_of(SUCCESS, ANSWERED), broken, arms_after(30))

    assert (verdict.decision, verdict.reason, verdict.metrics) == (
        "hold",
        "invalid_gate",
        ("sample_ratio",),
    )
    assert verdict.sentence == (
        "Hold: the arms do not compare. sample_ratio (fail): 4843 of 60000 units are the canary's; "
        "6000 were planned: it is not the planned share."
    )
    assert verdict.guarantee == "exact"


def test_feedback_that_one_arm_gives_more_often_holds() -> None:
    """
    A canary whose users answer one and a half times as often holds, though its answers are equal.
    """
    eager = rolled_up({**GOOD, "answered": (0.3, 0.45)}, requests=2000)

    verdict = compare(plan_of(SUCCESS, ANSWERED), eager, arms_after(30))

    assert (verdict.decision, verdict.reason, verdict.metrics) == (
        "hold",
        "invalid_gate",
        ("answered",),
    )


def delayed(slower: float) -> RollUp:
    """Return a comparison whose users answer 30 % of the time, after 4 hours on average.

    The canary's take *slower* times as long. Looked at after 30 hours.
    """
    found = rolled_up({"success": (0.9, 0.9)}, requests=2000)
    generator = np.random.default_rng(2)
    cells = dict(found.cells)
    for key, cell in found.cells.items():
        mean = 4.0 * (slower if key.arm == "canary" else 1.0)
        reached = 1 - np.exp(-(STARTED + 30 - key.stratum.hour) / mean)
        answered = float(generator.binomial(cell.requests, 0.3 * reached))
        cells[CellKey(key.arm, "answered", key.stratum, key.bucket)] = type(cell).of_sums(
            cell.requests, answered, answered
        )
    return replace(found, cells=cells)


def test_feedback_that_comes_three_times_later_holds() -> None:
    """
    A canary that delays feedback holds; feedback that is as late in both arms does not.
    """
    plan = plan_of(SUCCESS, ANSWERED)

    late, alike = (compare(plan, delayed(slower), arms_after(30)) for slower in (3.0, 1.0))

    assert (late.decision, late.reason, late.metrics) == ("hold", "invalid_gate", ("answered",))
    assert alike.decision == "promote"


def test_lost_records_hold() -> None:
    """
    Records that did not come hold: too few of one arm, or of one arm fewer than of the other.
    """
    found = rolled_up(GOOD)
    stable = Delivery(expected=100_000, received=99_900)
    few = replace(
        found, deliveries={"stable": stable, "canary": Delivery(expected=10_000, received=9_000)}
    )
    fewer = replace(
        found, deliveries={"stable": stable, "canary": Delivery(expected=10_000, received=9_700)}
    )

    assert gate("completeness", few) == Gate(
        name="completeness",
        state="fail",
        said="99.90% of the baseline's records came and 90.00% of the canary's; at least 95.00% have to",
    )
    unequal = gate("completeness", fewer)
    assert unequal.state == "fail"
    assert unequal.said == (
        "99.90% of the baseline's records came and 97.00% of the canary's: it is not equal in both arms"
    )


def test_records_that_may_come_still_are_not_held_against_an_arm_for_ever() -> None:
    """
    Records that were found to be missing just now hold the verdict; once they have come it goes on,
    and only what stayed away is remembered.
    """
    found = rolled_up(GOOD)
    stable = Delivery(expected=50_000, received=50_000)
    whole = replace(
        found, deliveries={"stable": stable, "canary": Delivery(expected=2600, received=2600)}
    )
    states = []
    for awaited in (100, 0):
        missing = Delivery(expected=2600, received=2500, awaited=awaited)
        gap = replace(found, deliveries={"stable": stable, "canary": missing})
        first = compare(plan_of(SUCCESS), gap, arms_after(20))
        later = compare(plan_of(SUCCESS), whole, arms_after(30), before=first)
        states.append([one.state for look in (first, later) for one in look.gates[1:2]])

    assert states == [["fail", "pass"], ["fail", "fail"]]


def test_what_is_not_counted_is_unknown() -> None:
    """
    Without units, numbered records or a canary's requests the gates do not pass: they are unknown.
    """
    empty = RollUp()

    states = {
        name: gate(name, empty).state
        for name in ("sample_ratio", "completeness", "concurrency", "answered")
    }

    assert set(states.values()) == {"unknown"}


def test_unknown_gate_promotes_nothing_and_reverts_all_the_same() -> None:
    """
    Where it is not known whether the split was kept nothing is promoted; harm still reverts.
    """
    plan = plan_of(SUCCESS)
    good, bad = (
        replace(rolled_up({"success": (0.9, rate)}, requests=2000), units={}) for rate in (0.9, 0.8)
    )

    verdicts = [compare(plan, one, arms_after(30)) for one in (good, bad)]

    assert [(one.decision, one.reason, one.metrics) for one in verdicts] == [
        ("hold", "invalid_gate", ("sample_ratio",)),
        ("revert", "harm", ("success",)),
    ]


def test_baseline_of_another_time_holds() -> None:
    """
    A canary compared with what served yesterday holds: the hours have nothing to be compared with.
    """
    found = rolled_up({"success": (0.9, 0.9)})
    moved = {
        key if key.arm == "stable" else key._replace(stratum=Stratum(key.stratum.hour + 30)): cell
        for key, cell in found.cells.items()
    }

    verdict = compare(plan_of(SUCCESS), replace(found, cells=moved), arms_after(60))

    assert (verdict.reason, verdict.metrics) == ("invalid_gate", ("concurrency",))
    assert verdict.result("success").status == "no_data"
    assert verdict.result("success").dropped == 1.0


def test_requests_of_two_versions_hold() -> None:
    """
    Too many requests that more than one version served hold.
    """
    found = replace(rolled_up(GOOD), mixed=600)

    assert gate("mixed", found).state == "fail"
    assert gate("mixed", replace(found, mixed=100)).state == "pass"


def test_two_judges_hold() -> None:
    """
    A metric that two scorers scored holds; one that none declared is said to compare only here.
    """
    found = rolled_up({"success": (0.9, 0.9)}, requests=2000)
    two = replace(found, scorers={"success": frozenset({"sha256:a", "sha256:b"})})
    undeclared = replace(found, scorers={"success": frozenset({"undeclared:user/thumbs"})})

    verdicts = [compare(plan_of(SUCCESS), one, arms_after(30)) for one in (two, undeclared)]

    assert [(one.decision, one.metrics) for one in verdicts] == [
        ("hold", ("scorer of success",)),
        ("promote", ("success",)),
    ]
    assert verdicts[1].warnings == (
        "success has no scorer's digest: it compares these two arms, and nothing across time",
    )


def test_what_failed_once_stays_failed() -> None:
    """
    A split that was broken at one look is broken for the comparison, though totals recover.
    """
    plan = plan_of(SUCCESS)
    broken = rolled_up({"success": (0.9, 0.9)}, served_share=0.05, hours=10)
    repaired = rolled_up({"success": (0.9, 0.9)}, hours=30)

    first = compare(plan, broken, arms_after(10))
    later = compare(plan, repaired, arms_after(30), before=first)

    assert [one.reason for one in (first, later)] == ["invalid_gate"] * 2
    assert compare(plan, repaired, arms_after(30)).reason != "invalid_gate"


def test_what_failed_once_stays_failed_though_it_is_not_known_any_more() -> None:
    """
    A split that was broken at one look is not excused by units that are no longer counted.
    """
    plan = plan_of(SUCCESS)
    broken = rolled_up({"success": (0.9, 0.9)}, served_share=0.05, hours=10)

    first = compare(plan, broken, arms_after(10))
    uncounted = compare(plan, replace(broken, units={}), arms_after(11), before=first)
    later = compare(plan, replace(broken, units={}), arms_after(12), before=uncounted)

    assert later.gates[0].state == "fail"
    assert later.gates[0].said == (
        "no units were counted under a share; it failed at a look before"
    )


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        (Gates(), ["sample_ratio", "completeness", "concurrency", "mixed"]),
        (Gates(sample_ratio=False, completeness=None, concurrency=None, mixed=None), []),
    ],
)
def test_gates_that_a_plan_has(changes: Gates, names: list[str]) -> None:
    """
    A gate that the plan turns off is not there.
    """
    plan = plan_of(SUCCESS, gates=changes)

    found = gates.evaluate(plan, reduce(plan, rolled_up(GOOD, hours=1), arms_after(1)), peaks={})

    assert [one.name for one in found] == names
