"""The looks before this one: verdicts read back from where they are kept.

In: an Ask and what is compared. Out: :class:`Past`: which looks there were, and the one to go on
from. A look names the looks it went on from, so a look that no other names is a last one; where two
were taken at the same time there are two, and both are gone on from. What is not what its digest
says is no look: it is left out, and counted. A look of a form that only another version of mvtrace
reads is one, and without knowing what it saw nothing is decided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mvtrace.comparing.errors import UnreadableLookError
from mvtrace.comparing.events import LookFormError, Subject, read_body
from mvtrace.quality.joining import joined
from mvtrace.quality.verdict import Verdict
from mvtrace.registry.reading import Ask, statement

LATEST: Final = 2**62
"""Later than any look."""
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


def past_of(
    ask: Ask, subject: Subject, plan_digest: str | None, *, until: int | None = None
) -> Past:
    """Return the looks at *subject* by the plan; None: by that of the newest look.

    With *until* only those that reach no further: by whatever clock, none is left out otherwise.

    Raises:
        UnreadableLookError: a look to go on from is of a form that is not known here.
        MvtraceError: the store does not answer.
    """
    heads, passed_over = _heads(ask, subject, LATEST if until is None else until), 0
    found: dict[str, Verdict] = {}
    while True:
        ours = _of_plan(heads, plan_digest)
        gone_on = {one for head in ours for one in head.before}
        ends = [one for one in ours if one.digest not in gone_on]
        wanted = {one.event_id for one in (*ends, *thinned(ours, MOST_SHOWN))} - found.keys()
        read, broken = _verdicts(ask, sorted(wanted)) if wanted else ({}, {})
        found |= read
        untrue = {one for one, is_form in broken.items() if not is_form}
        passed_over += len(untrue)
        if not untrue:
            break
        heads = [one for one in heads if one.event_id not in untrue]
    for one in ends:
        if one.event_id in broken:
            raise UnreadableLookError(one.event_id, one.until)
    last = [found[one.event_id] for one in ends]
    shown = [found[one.event_id] for one in ours if one.event_id in found]
    others = dict.fromkeys(one.plan_digest for one in heads if one not in ours)
    return Past(
        last=tuple({one.digest: one for one in last}.values()),
        shown=tuple({one.digest: one for one in shown}.values()),
        looks=len({one.digest for one in ours}),
        other_plans=tuple(others),
        unreadable=passed_over + len(broken),
    )


def _of_plan(heads: Sequence[Head], plan_digest: str | None) -> list[Head]:
    digest = plan_digest or (heads[-1].plan_digest if heads else "")
    return [one for one in heads if one.plan_digest == digest]


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


def _verdicts(ask: Ask, events: Sequence[str]) -> tuple[dict[str, Verdict], dict[str, bool]]:
    """Return those that can be read, and of the others whether they are of another form."""
    found: dict[str, Verdict] = {}
    broken = dict.fromkeys(events, False)
    for row in ask(statement("comparison_bodies"), {"events": list(events)}):
        event = str(row["event"])
        try:
            found[event] = read_body(row["body"])
        except LookFormError:
            broken[event] = True
        except ValueError:
            continue
    return found, {one: is_form for one, is_form in broken.items() if one not in found}
