"""Whether the arms compare at all: looked at before any metric. Pure.

In: a plan and its sufficient statistics. Out: one ``Gate`` each with pass, fail or unknown. A
failed gate makes every verdict "hold": no estimator repairs a split that is broken, feedback that
one arm gives less often or later, records that were lost, or a judge that changed. What the tests
flag stays flagged; a comparison with a broken split is begun anew, not waited out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from mvtrace.quality.cells import Delivery
from mvtrace.quality.evidence import beyond_words, gate_evidence
from mvtrace.quality.mixture import log_e_two_sided
from mvtrace.quality.plan import GATE_SCALE, Plan
from mvtrace.quality.sample_ratio import log_e_ratio
from mvtrace.quality.sufficient import Sufficient

PASS: Final = "pass"  # noqa: S105 (a state, no secret)
FAIL: Final = "fail"
UNKNOWN: Final = "unknown"
UNDECLARED: Final = "undeclared:"
_LARGEST: Final = 1e300
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_SHOWN: Final = 19


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One gate at one look."""

    name: str
    state: str
    said: str
    """A sentence with the figures."""
    log_e: float | None = None
    """Of the gates that are tests: the evidence by which it failed or passed."""
    peak: float | None = None
    """The largest of any look that stays, whatever comes later."""
    level: float | None = None
    is_exact: bool = True
    """Whether its chance of error holds at any size."""


def evaluate(plan: Plan, found: Sufficient, *, peaks: Mapping[str, float]) -> tuple[Gate, ...]:
    """Return the state of each gate that *plan* has; *peaks* are the log_e of earlier looks."""
    gates: list[Gate] = []
    if plan.gates.sample_ratio:
        gates.append(_sample_ratio(plan, found, peaks))
    if plan.gates.completeness is not None:
        gates.append(_completeness(plan, found, peaks))
    if plan.gates.concurrency is not None:
        gates.append(_concurrency(plan.gates.concurrency, found))
    if plan.gates.mixed is not None:
        gates.append(_mixed(plan.gates.mixed, found))
    if plan.gates.single_scorer:
        gates += _scorers(found)
    gates += _equalities(plan, found, peaks)
    return tuple(_latched(plan, one, peaks) for one in gates)


def warnings_of(found: Sufficient) -> tuple[str, ...]:
    """Return what is allowed and yet worth saying."""
    names = [
        name
        for name, scorers in sorted(found.gates.scorers.items())
        if any(scorer.startswith(UNDECLARED) for scorer in scorers)
    ]
    return tuple(
        f"{name} has no scorer's digest: it compares these two arms, and nothing across time"
        for name in names
    )


def _sample_ratio(plan: Plan, found: Sufficient, peaks: Mapping[str, float]) -> Gate:
    units = found.gates.units
    total = sum(one.baseline + one.canary for one in units)
    if found.gates.services:
        said = f"each of {found.gates.services} services counted units and first events for itself"
        return Gate(name="sample_ratio", state=UNKNOWN, said=f"{said}: name a service")
    if not total and plan.is_sticky and found.canary >= plan.minimum_requests:
        # Without them each request would count as if it were independent of its user's others.
        said = f"the plan assigns by {plan.unit}, and no request says which {plan.unit} it is of"
        return Gate(name="sample_ratio", state=FAIL, said=said)
    if not total:
        return Gate(name="sample_ratio", state=UNKNOWN, said="no units were counted under a share")
    canary = sum(one.canary for one in units)
    planned = sum(one.share * (one.baseline + one.canary) for one in units)
    said = f"{canary} of {total} units are the canary's; {planned:.0f} were planned"
    # What one arm sends later than the other looks like a broken split until it has come.
    stays = 0.0 if _is_incomplete(plan, found) else log_e_ratio(found.gates.settled)
    return _tested(plan, "sample_ratio", log_e_ratio(units), peaks, said, stays=stays)


def _is_incomplete(plan: Plan, found: Sufficient) -> bool:
    """Whether records of either arm are missing that its producers numbered."""
    least = plan.gates.completeness or 0.0
    known = [one for one in found.gates.deliveries if one is not None and one.expected]
    return any(one.received < least * one.expected for one in known)


def _completeness(plan: Plan, found: Sufficient, peaks: Mapping[str, float]) -> Gate:
    """Each arm's records came nearly all, and of both arms as many."""
    least = plan.gates.completeness or 0.0
    below, above = found.gates.deliveries
    if below is None or above is None or not (below.expected and above.expected):
        return Gate(name="completeness", state=UNKNOWN, said="no producer numbered its records")
    shares = [one.received / one.expected for one in (below, above)]
    said = f"{shares[0]:.2%} of the baseline's records came and {shares[1]:.2%} of the canary's"
    if min(shares) < least:
        return Gate(name="completeness", state=FAIL, said=f"{said}; at least {least:.2%} have to")
    stays = _unequal(*(replace(one, received=one.received + one.awaited) for one in (below, above)))
    log_e = _unequal(below, above)
    return _tested(plan, "completeness", log_e, peaks, said, is_exact=False, stays=stays)


def _unequal(below: Delivery, above: Delivery) -> float:
    """Return ln E against both arms losing the same share of their records."""
    lost = [one.expected - one.received for one in (below, above)]
    expected = below.expected + above.expected
    share = sum(lost) / expected
    difference = lost[1] / above.expected - lost[0] / below.expected
    variance = share * (1 - share) * (1 / below.expected + 1 / above.expected)
    log_e = float(log_e_two_sided(difference, variance, GATE_SCALE))
    return log_e if math.isfinite(log_e) else 0.0


def _concurrency(least: float, found: Sufficient) -> Gate:
    gates = found.gates
    if not gates.canary:
        return Gate(name="concurrency", state=UNKNOWN, said="the canary has served no request")
    share = gates.concurrent / gates.canary
    said = f"in hours of {share:.1%} of the canary's requests the baseline served too"
    if share < least:
        return Gate(name="concurrency", state=FAIL, said=f"{said}; at least {least:.1%} are needed")
    return Gate(name="concurrency", state=PASS, said=said)


def _mixed(most: float, found: Sufficient) -> Gate:
    share = found.gates.mixed / found.requests if found.requests else 0.0
    said = f"{found.gates.mixed} requests ({share:.2%}) were served by more than one version"
    said = f"{said}, or the other arm's"
    state = FAIL if share > most else PASS
    return Gate(name="mixed", state=state, said=f"{said}; at most {most:.2%} may be")


def _scorers(found: Sufficient) -> list[Gate]:
    return [
        Gate(
            name=f"scorer of {name}",
            state=FAIL if len(scorers) > 1 else PASS,
            said=f"{len(scorers)} scorers scored it: {', '.join(map(_short, scorers))}"
            if len(scorers) > 1
            else f"one scorer scored it: {_short(scorers[0])}",
        )
        for name, scorers in sorted(found.gates.scorers.items())
        if scorers
    ]


def _short(scorer: str) -> str:
    """Return a digest's first digits; what is none as it is."""
    return scorer[:_SHOWN] if _DIGEST.fullmatch(scorer) else scorer


def _equalities(plan: Plan, found: Sufficient, peaks: Mapping[str, float]) -> list[Gate]:
    """Return the metrics of role gate: how often feedback is given, above all."""
    gates = []
    for metric, sums in zip(plan.metrics, found.metrics, strict=True):
        if metric.role != "gate":
            continue
        log_e = gate_evidence(plan, metric, sums)
        if log_e is None:
            said = "it has too little data yet"
            if sums.beyond:
                said = beyond_words(plan, metric, sums)
            gates.append(Gate(name=metric.name, state=UNKNOWN, said=said, is_exact=False))
            continue
        counts = f"{sums.baseline} requests of the baseline, {sums.canary} of the canary"
        gates.append(_tested(plan, metric.name, log_e, peaks, counts, is_exact=False))
    return gates


def _latched(plan: Plan, gate: Gate, peaks: Mapping[str, float]) -> Gate:
    """Return *gate*, failed if it is not known now but failed at a look before."""
    level = -math.log(plan.gates.alpha)
    if gate.state != UNKNOWN or peaks.get(gate.name, 0.0) < level:
        return gate
    said = f"{gate.said}; it failed at a look before"
    peak = peaks[gate.name]
    return replace(gate, state=FAIL, said=said, log_e=peak, peak=peak, level=level)


def _tested(  # noqa: PLR0913 (one keyword a condition)
    plan: Plan,
    name: str,
    log_e: float,
    peaks: Mapping[str, float],
    said: str,
    *,
    is_exact: bool = True,
    stays: float | None = None,
) -> Gate:
    """Return the gate that *log_e*, or a look before, fails or passes.

    Later looks remember *stays*, None for *log_e*.
    """
    level = -math.log(plan.gates.alpha)
    peak = max(peaks.get(name, 0.0), min(log_e if stays is None else stays, _LARGEST))
    seen = max(peak, min(log_e, _LARGEST))
    failed = seen >= level
    broken = "is not the planned share" if name == "sample_ratio" else "is not equal in both arms"
    return Gate(
        name=name,
        state=FAIL if failed else PASS,
        said=f"{said}: it {broken}" if failed else said,
        log_e=seen,
        peak=peak,
        level=level,
        is_exact=is_exact,
    )
