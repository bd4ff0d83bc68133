"""The looks before this one: verdicts read back from where they are kept.

In: an Ask and what is compared. Out: :class:`Past`: which looks there were, and the one to go on
from. A look names the looks it went on from, so a look that no other names is a last one; where two
were taken at the same time there are two, and both are gone on from. What cannot be read, or is not
what its digest says, is left out and counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mvtrace.comparing.events import Subject, read_body
from mvtrace.quality.joining import joined
from mvtrace.quality.verdict import Verdict
from mvtrace.registry.reading import Ask, statement

MOST_LOOKS: Final = 20_000
MOST_SHOWN: Final = 48
"""Looks that are read whole, for a plot: the first, the last, and evenly between."""


@dataclass(frozen=True, slots=True)
class Head:
    """A look as a list shows it."""

    event_id: str
    digest: str
    plan_digest: str
    before: tuple[str, ...]
    until: int
    """Unix seconds."""


@dataclass(frozen=True, slots=True)
class Past:
    """The looks at one comparison by one plan, and how many others there were."""

    last: tuple[Verdict, ...] = ()
    """The looks that this one goes on from: those no other went on from."""
    shown: tuple[Verdict, ...] = ()
    """Some of the looks, oldest first."""
    looks: int = 0
    other_plans: tuple[str, ...] = ()
    """Digests of plans by which the same arms were looked at."""
    unreadable: int = 0

    @property
    def before(self) -> Verdict | None:
        """The look before this one, with what all before it remember."""
        return joined(self.last) if self.last else None


def past_of(ask: Ask, subject: Subject, plan_digest: str | None, *, until: int) -> Past:
    """Return the looks at *subject* up to *until*, by the plan; None: by that of the newest look.

    Raises:
        MvtraceError: the store does not answer.
    """
    heads = _heads(ask, subject, until)
    if not heads:
        return Past()
    digest = plan_digest or heads[-1].plan_digest
    ours = [one for one in heads if one.plan_digest == digest]
    others = dict.fromkeys(one.plan_digest for one in heads if one.plan_digest != digest)
    if not ours:
        return Past(other_plans=tuple(others))
    gone_on = {one for head in ours for one in head.before}
    ends = [one for one in ours if one.digest not in gone_on]
    wanted = {one.event_id for one in (*ends, *thinned(ours, MOST_SHOWN))}
    found = _verdicts(ask, sorted(wanted))
    last = [found[one.event_id] for one in ends if one.event_id in found]
    shown = [found[one.event_id] for one in ours if one.event_id in found]
    return Past(
        last=tuple({one.digest: one for one in last}.values()),
        shown=tuple({one.digest: one for one in shown}.values()),
        looks=len({one.digest for one in ours}),
        other_plans=tuple(others),
        unreadable=len(wanted) - len(found),
    )


def thinned(heads: Sequence[Head], most: int) -> list[Head]:
    """Return at most *most* of *heads*, evenly, the first and the last among them."""
    if len(heads) <= most:
        return list(heads)
    end = len(heads) - 1
    return [heads[round(place * end / (most - 1))] for place in range(most)]


def _heads(ask: Ask, subject: Subject, until: int) -> list[Head]:
    rows = ask(
        statement("comparison_looks"),
        {**subject.parameters(), "until": until, "limit": MOST_LOOKS},
    )
    heads = [_head(row) for row in rows]
    return sorted(heads, key=lambda one: (one.until, one.event_id))


def _head(row: Mapping[str, Any]) -> Head:
    return Head(
        event_id=str(row["event"]),
        digest=str(row["digest"]),
        plan_digest=str(row["plan_digest"]),
        before=tuple(map(str, row["before"])),
        until=int(row["until"]),
    )


def _verdicts(ask: Ask, events: Sequence[str]) -> dict[str, Verdict]:
    found = {}
    for row in ask(statement("comparison_bodies"), {"events": list(events)}):
        try:
            found[str(row["event"])] = read_body(row["body"])
        except ValueError:
            continue  # counted by who asked for it
    return found
