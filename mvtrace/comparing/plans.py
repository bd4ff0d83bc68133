"""Plans by name: registered ones found again, and a plan as the text of its file.

In: an Ask and what somebody typed. Out: a Plan. A plan has two digests: its own, which is in every
verdict, and that of its entry in the registry; either names it, by its first 8 digits or more.
Law: ``parse_plan(plan_text(plan).encode(), name="") == plan``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, Final

from mvtrace.comparing.defaults import BY_VOTE
from mvtrace.comparing.events import PLAN, plan_of_entry
from mvtrace.quality.plan import Metric, Plan
from mvtrace.registry.entries import read_entries
from mvtrace.registry.errors import AmbiguousEntryError, EntryNotFoundError
from mvtrace.registry.reading import MIN_DIGITS, Ask, statement

MOST_PLANS: Final = 10_000
_EACH_VOTE: Final = (
    "each vote counts by itself, as 1 or 0, from when the plan is registered; without that source\n"
    "one vote on another scale would leave it unjudged"
)
_TABLES: Final = ("gates", "horizon", "policy")


def plan_named(ask: Ask, text: str) -> Plan:
    """Return the registered plan that *text* names: digits of a digest of it, or its name.

    A name that several plans have names none of them: whoever may send data may register a milder
    plan of the same name.

    Raises:
        EntryNotFoundError: there is none.
        AmbiguousEntryError: several digests start so, or several plans have the name.
    """
    digits = text.removeprefix(f"{PLAN}:").removeprefix("sha256:").lower()
    is_hex = len(digits) >= MIN_DIGITS and not set(digits) - set("0123456789abcdef")
    registered = list(registered_plans(ask))
    if is_hex:
        hits = {
            plan.digest: plan
            for entry, plan in registered
            if f"sha256:{digits}" in (entry[: len(digits) + 7], plan.digest[: len(digits) + 7])
        }
        if hits:
            return _the_one(text, hits)
    called = {plan.digest: plan for _, plan in registered if plan.name == text}
    if called:
        return _the_one(text, called)
    raise EntryNotFoundError(
        PLAN, text, hint="'mvtrace plan list' shows those there are; a file is named by its path."
    )


def _the_one(text: str, hits: Mapping[str, Plan]) -> Plan:
    if len(hits) > 1:
        listed = [f"{digest} {plan.name}" for digest, plan in hits.items()]
        raise AmbiguousEntryError(PLAN, text, listed)
    return next(iter(hits.values()))


def registered_plans(ask: Ask) -> Iterator[tuple[str, Plan]]:
    """Yield the digest of each plan's entry and the plan, the newest first."""
    rows = ask(statement("entries_of_kind"), {"kind": PLAN, "limit": MOST_PLANS})
    for entry in read_entries(row["body"] for row in rows):
        try:
            yield entry.digest, plan_of_entry(entry)
        except ValueError:
            continue  # another version's form; it hides no other


def plan_text(plan: Plan, *, comments: Mapping[str, str] | None = None) -> str:
    """Return *plan* as the TOML of its file; what is as by default is left out.

    *comments* stand above the metric of that name; empty: above everything.
    """
    said = comments or {}
    lines = [*_comment(said.get("", "")), *_fields(plan, ("metrics", *_TABLES))]
    for name in _TABLES:
        table = getattr(plan, name)
        if table is not None and (shown := list(_fields(table))):
            lines += ["", f"[{name}]", *shown]
    for metric in plan.metrics:
        lines += ["", *_comment(said.get(metric.name, "")), "[[metrics]]", *_fields(metric)]
    return "\n".join(lines) + "\n"


def _fields(value: Any, left_out: Sequence[str] = ()) -> Iterator[str]:
    for one in fields(value):
        held = getattr(value, one.name)
        if one.name in left_out or held == one.default:
            continue
        if one.default is MISSING and one.default_factory is not MISSING:
            continue  # a table of its own
        # A file has no word for nothing: a gate that is off is false.
        shown = False if held is None else held
        yield f"{one.name} = {json.dumps(shown, ensure_ascii=False)}"


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in text.splitlines()]


def meaning(metric: Metric) -> str:
    """Return what *metric* asks, as a sentence for a comment."""
    if not metric.is_required:
        return "gate: both arms alike, or nothing compares" if metric.role == "gate" else "shown"
    more = "higher" if metric.direction == "higher" else "lower"
    by = f"a factor of {metric.margin:g}" if metric.is_ratio_margin else f"{metric.margin:g}"
    said = f"{metric.role}: {more} is better; no worse than by {by}"
    if metric.source is not None and metric.source.endswith(BY_VOTE):
        said += f"\n{_EACH_VOTE}"
    return said
