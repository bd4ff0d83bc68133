"""What retention did and would do, in words and as JSON: bytes and costs by rule.

In: a plan, and what became of its places. Out: text whose foreign parts are inert.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from mvtrace.cli.inert import inert
from mvtrace.cli.text import table_text
from mvtrace.cli.words import plural
from mvtrace.registry.retention.applying import DONE, KEPT, OUTCOMES, Outcome
from mvtrace.registry.retention.plans import Plan, Sum, sums_of
from mvtrace.registry.retention.values import DAY_NS, RULES, Policy

_COLUMNS: Final = ("rule", "artifacts", "places", "bytes", "a month", "why")


def plan_words(made: Plan, out: Path) -> str:
    """Return what a plan keeps and frees by rule."""
    parts = []
    for word, is_collected in (("kept", False), ("would be collected", True)):
        sums = made.sums(collected=is_collected)
        parts.append(f"{word}: {_total_words(sums)}\n")
        if sums:
            parts.append(table_text(_COLUMNS, [_row(one) for one in sums]) + "\n")
    if not made.policy.roots:
        parts.append("No root is named, so nothing is ever collected: --root URI names one.\n")
    parts.append(f"plan {made.digest} is in {inert(out)}\n")
    return "".join(parts)


def policy_words(policy: Policy) -> str:
    """Return what a policy keeps and where it lets anything be collected."""
    lines = [
        ("environments", policy.environments),
        ("window", [f"{policy.window_ns / DAY_NS:g} days"]),
        ("roots", policy.roots),
        ("keep", policy.keep),
    ]
    return "".join(f"{name}: {', '.join(map(inert, values)) or 'none'}\n" for name, values in lines)


def plan_dict(made: Plan, out: Path) -> dict[str, Any]:
    """Return the same as plain JSON values."""
    return {
        "plan": made.digest,
        "file": str(out),
        "project": made.project,
        "policy": made.policy.to_dict(),
        "kept": [one.to_dict() for one in made.sums(collected=False)],
        "freed": [one.to_dict() for one in made.sums(collected=True)],
    }


def place_words(outcome: Outcome) -> str:
    """Return what became of one place."""
    place = outcome.verdict.place
    why = f": {inert(outcome.why)}" if outcome.why else ""
    left = f"; {plural(outcome.left, 'file')} beside it stay" if outcome.left else ""
    became = f"{OUTCOMES[outcome.outcome]}{why}{left}"
    return f"{inert(place.artifact[:12])}  {inert(place.uri)}  {became}\n"


def outcome_words(made: Plan, outcomes: Sequence[Outcome]) -> str:
    """Return what an applied plan came to."""
    freed = _freed(made, outcomes)
    kept = _kept(made, outcomes)
    counts = Counter(one.outcome for one in outcomes)
    told = ", ".join(f"{counts[one]:,} {OUTCOMES[one]}" for one in OUTCOMES if counts[one])
    missing = len(made.collected) - len(outcomes)
    rest = f"; {plural(missing, 'place')} not looked at" if missing else ""
    lines = [f"{plural(len(outcomes), 'place')}: {told or 'nothing to do'}{rest}\n"]
    for word, sums in (("freed", freed), ("kept", kept)):
        lines.append(f"{word}: {_total_words(sums)}\n")
        if sums:
            lines.append(table_text(_COLUMNS, [_row(one) for one in sums]) + "\n")
    return "".join(lines)


def outcome_dict(made: Plan, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return the same as plain JSON values."""
    return {
        "plan": made.digest,
        "policy": made.policy.to_dict(),
        "places": [
            {
                "artifact": one.verdict.place.artifact,
                "uri": one.verdict.place.uri,
                "bytes": one.verdict.place.bytes,
                "rule": one.verdict.rule,
                "outcome": one.outcome,
                "why": one.why,
                "left": one.left,
            }
            for one in outcomes
        ],
        "not_looked_at": len(made.collected) - len(outcomes),
        "freed": [one.to_dict() for one in _freed(made, outcomes)],
        "kept": [one.to_dict() for one in _kept(made, outcomes)],
    }


def _freed(made: Plan, outcomes: Iterable[Outcome]) -> list[Sum]:
    done = [one.verdict for one in outcomes if one.outcome == DONE]
    return sums_of(done, made.policy.costs)


def _kept(made: Plan, outcomes: Iterable[Outcome]) -> list[Sum]:
    """Return what the plan keeps, and what was found kept since."""
    since = [one.verdict._replace(rule=one.rule) for one in outcomes if one.outcome == KEPT]
    still = [one for one in made.verdicts if not one.is_collected]
    return sums_of([*still, *since], made.policy.costs)


def _row(one: Sum) -> list[str]:
    return [
        one.rule,
        f"{one.artifacts:,}",
        f"{one.places:,}",
        f"{one.bytes:,}",
        _cost_words(one),
        RULES[one.rule],
    ]


def _total_words(sums: Sequence[Sum]) -> str:
    if not sums:
        return "nothing"
    total = sum(one.bytes for one in sums)
    costs = [one.cost for one in sums if one.cost is not None]
    cost = f", {sum(costs):,.2f} a month" if costs else ""
    return f"{total:,} bytes{cost}"


def _cost_words(one: Sum) -> str:
    if one.cost is None:
        return ""
    return f"{one.cost:,.2f}" + (" and more, unpriced" if one.unpriced_bytes else "")
