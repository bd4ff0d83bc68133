"""One look at a comparison: read, decide, keep.

In: where it is read from, what is compared, perhaps a plan. Out: a :class:`Look`. The order is one
that loses nothing: the looks before are read, the verdict is made with what they remember, and it
is kept before anybody hears of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

import numpy as np

from mvtrace.comparing.defaults import (
    MOST_METRICS,
    NAME,
    Facts,
    default_plan,
    scorers_of,
    sources_of,
)
from mvtrace.comparing.differing import differences_of
from mvtrace.comparing.errors import (
    ClockBehindError,
    NothingServedError,
    NothingToDecideError,
    OneVersionError,
    PlanMadeError,
)
from mvtrace.comparing.events import ARM, VERSION, Subject, body_of, entry_of_plan, event_of
from mvtrace.comparing.history import Past, past_of
from mvtrace.comparing.reading import Source, Span, now
from mvtrace.comparing.sending import Keep
from mvtrace.quality.deciding import decide
from mvtrace.quality.plan import Plan, PlanProblem
from mvtrace.quality.results import Memory
from mvtrace.quality.sufficient import HOUR_S, REQUESTS, Arms, RolledUp, first_hour, reduce
from mvtrace.quality.verdict import Past as Remembered
from mvtrace.quality.verdict import Verdict
from mvtrace.registry.evals.runs import version_named

MOST_SKEW_S: Final = 300
"""So far two clocks may differ, by which looks at one comparison are taken."""
BACK_S: Final = 7 * 86_400
"""How far back a plan looks for what the baseline has."""
_SHOWN: Final = 12
_MADE_UP: Final = "the plan was made for this look, which is not kept: another look makes another"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What somebody asks to have compared, in his own words."""

    baseline: str
    canary: str
    environment: str | None = None
    service: str | None = None
    rollout: str | None = None
    by_arm: bool = False
    since: int | None = None
    until: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A verdict, and what it stands among."""

    verdict: Verdict
    subject: Subject
    last: tuple[Verdict, ...] = ()
    """The looks that this one went on from."""
    before: tuple[Verdict, ...] = ()
    """Earlier looks, oldest first; some of them, where there were many."""
    notes: tuple[str, ...] = ()
    is_kept: bool = False
    body: Mapping[str, Any] = field(default_factory=dict, repr=False)
    versions: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Of arms: by arm the versions that served it, with their requests, those of most first."""

    @property
    def baseline(self) -> str:
        """The version, or the arm."""
        return self.subject.baseline

    @property
    def canary(self) -> str:
        """The version, or the arm."""
        return self.subject.canary

    @property
    def service(self) -> str:
        """Empty: any."""
        return self.subject.service

    @property
    def environment(self) -> str:
        """Empty: any."""
        return self.subject.environment

    @property
    def rollout(self) -> str:
        """Empty: any."""
        return self.subject.rollout

    def to_dict(self) -> dict[str, Any]:
        """Return the body of the event ``mvtrace.verdict``."""
        return dict(self.body)


def take(source: Source, asked: Asked, plan: Plan | None, *, keep: Keep | None) -> Look:
    """Take a look at what *source* has; with *keep* it is kept.

    Raises:
        MvtraceError: as of ``mvtrace.comparing.look``.
    """
    subject = subject_of(source, asked)
    past = past_of(source.ask, subject, plan.digest if plan else None, until=asked.until)
    before = past.before
    until = _now(before) if asked.until is None else asked.until
    notes: list[str] = []
    if plan is None:
        plan = before.plan if before else made_plan(source, subject, until)
        if before is None and keep is None:
            notes.append(_MADE_UP)
    notes += _notes(past, plan)
    arms, found = _read(source, subject, plan, before, Span(subject.since, until))
    sums = reduce(plan, found, arms)
    arms = sums.arms
    verdict = decide(plan, sums, before=before)
    if keep is None:
        verdict = without_last_look(verdict, before)
    body = body_of(verdict, subject, past.last)
    notes += differences_of(source.ask, verdict, found)
    if keep is not None:
        entries = () if past.looks else entry_of_plan(plan).events()
        keep([*entries, event_of(body)])
    served = Span(arms.started_at, arms.until)
    return Look(
        verdict=verdict, subject=subject, last=past.last, before=past.shown, notes=tuple(notes),
        is_kept=keep is not None, body=body,
        versions=source.versions(subject, served) if subject.by == ARM else {},
    )  # fmt: skip


def _now(before: Verdict | None) -> int:
    """Return the time of a look at what is, in Unix seconds: never before that of *before*.

    Raises:
        ClockBehindError: it would be long before.
    """
    present = now()
    newest = present if before is None else before.sufficient.arms.until
    if newest > present + MOST_SKEW_S:
        raise ClockBehindError(present, newest)
    return max(present, newest)


def without_last_look(verdict: Verdict, before: Verdict | None) -> Verdict:
    """Return *verdict* as it is while the last look of a declared horizon is still to come.

    It is taken once, and only by a look that is kept: what nobody keeps would be the last look each
    time, with its chance of error each time.
    """
    was_taken = before is not None and before.past.final_at is not None
    if was_taken or verdict.past.final_at is None:
        return verdict
    if before is None:
        blank = tuple(replace(one, memory=Memory()) for one in verdict.results)
        before = replace(verdict, results=blank, past=Remembered(peaks={}))
    taken = replace(before.past, final_at=verdict.past.final_at)
    made = decide(verdict.plan, verdict.sufficient, before=replace(before, past=taken))
    return replace(made, past=replace(made.past, final_at=None))


def subject_of(source: Source, asked: Asked) -> Subject:
    """Return what *asked* names.

    Raises:
        NotFoundError: there is no such version.
        OneVersionError: both are one.
    """
    named = str if asked.by_arm else partial(version_named, source.ask)
    baseline, canary = named(asked.baseline), named(asked.canary)
    if baseline == canary:
        raise OneVersionError(baseline if asked.by_arm else baseline[:_SHOWN])
    return Subject(
        baseline=baseline, canary=canary, by=ARM if asked.by_arm else VERSION,
        service=asked.service or "", environment=asked.environment or "",
        rollout=asked.rollout or "", since=asked.since or 0,
    )  # fmt: skip


def baseline_of(
    source: Source,
    baseline: str,
    *,
    by_arm: bool = False,
    service: str | None = None,
    environment: str | None = None,
) -> Subject:
    """Return what a plan is made for before there is a canary: a baseline, beside nothing.

    Raises:
        NotFoundError: there is no such version.
    """
    named = baseline if by_arm else version_named(source.ask, baseline)
    return Subject(
        baseline=named, canary="", by=ARM if by_arm else VERSION,
        service=service or "", environment=environment or "",
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a plan that is made shall have; unsaid it is as it has been."""

    name: str = ""
    unit: str = ""
    """What is going to be assigned."""
    has_shares: bool | None = None
    """Whether a share is going to be planned."""
    thresholds: bool = False
    """Freeze the baseline's slowest requests into it, and count each vote by itself: such metrics
    are in the roll-up from when the plan is registered."""


def made_plan(source: Source, subject: Subject, until: int, wish: Wish = Wish()) -> Plan:
    """Return a plan of what the baseline had in the week before the canary, or before *until*.

    Raises:
        NothingToDecideError: nothing of it could decide.
    """
    hour = source.first_hours(subject)[1]
    begun = until if hour is None else min(until, hour * HOUR_S)
    span = Span(max(0, begun - BACK_S), min(until, begun + BACK_S))
    metrics = source.metrics(subject, span.since)
    wanted = [one for one in metrics if one != REQUESTS][:MOST_METRICS]
    facts = source.facts(subject, metrics, span)
    found = source.rolled_up(subject, wanted, span, facts.scorers)
    first = _first_hour(found, subject.canary)
    drawn = source.started(subject, first)[1] if first is not None else Facts().unit
    facts = replace(facts, unit=wish.unit or drawn, has_shares=wish.has_shares)
    if wish.thresholds:
        thresholds = source.thresholds(subject, span)
        facts = replace(facts, thresholds=thresholds, counts_votes=True)
    arms = Arms(baseline=subject.baseline, canary=subject.canary, started_at=until, until=until)
    try:
        plan = default_plan(found, arms, facts, name=wish.name or NAME)
    except PlanProblem as error:
        raise PlanMadeError(error.key, error.problem) from error
    if plan is None:
        raise NothingToDecideError(_words(subject, subject.baseline), list(metrics))
    return plan


def _read(
    source: Source, subject: Subject, plan: Plan, before: Verdict | None, span: Span
) -> tuple[Arms, RolledUp]:
    """Return the arms and their sums, from the hour on in which the canary first served.

    They begin in the first hour that compares: who tried the canary by hand began nothing.

    Raises:
        NothingServedError: neither of them has served.
    """
    first = source.first_hours(subject)
    if first == (None, None):
        raise NothingServedError(subject.baseline, subject.canary, by=subject.by)
    begun = span.until - HOUR_S if first[1] is None else first[1] * HOUR_S
    since = min(max(span.since, begun), span.until - 1)
    found = source.rolled_up(subject, sources_of(plan), Span(since, span.until), scorers_of(plan))
    hour = first_hour(plan, found, baseline=subject.baseline, canary=subject.canary)
    known = before.sufficient.arms.started_at // HOUR_S if before is not None else 0
    started = span.until
    if before is not None and before.sufficient.paired_hours and known >= (hour or 0):
        started = before.sufficient.arms.started_at
    elif hour is not None:
        started = max(source.started(subject, hour)[0] or hour * HOUR_S, since)
    arms = Arms(
        baseline=subject.baseline, canary=subject.canary,
        started_at=min(started, span.until), until=span.until,
    )  # fmt: skip
    return arms, found


def _first_hour(found: RolledUp, arm: str) -> int | None:
    """Return the first hour of an arm."""
    hours: set[int] = set()
    for (_, name), one in found.columns().items():
        if name == arm and one.sums.size:
            hours.update(np.unique(one.hours[one.sums[0] > 0]).tolist())
    return min(hours, default=None)


def _notes(past: Past, plan: Plan) -> Iterable[str]:
    if past.other_plans:
        number = len(past.other_plans)
        yield (
            f"by {number} other plan{'s' if number > 1 else ''} the same was looked at: each of "
            "them has its own chance of error"
        )
    if past.unreadable:
        yield f"{past.unreadable} of the looks before cannot be read and were passed over"
    if not past.looks:
        shown = [one.name for one in plan.metrics if one.role == "info"]
        if shown:
            yield f"shown and not judged by the plan: {', '.join(shown)}"


def _words(subject: Subject, side: str) -> str:
    return f"arm {side!r}" if subject.by == ARM else side[:_SHOWN]
