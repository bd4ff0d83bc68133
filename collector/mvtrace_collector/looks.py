"""Looks at comparisons, as a collector takes them over the store it has.

In: what is asked. Out: what a gate reads of the verdict, as plain values. A look that only reads
keeps nothing, so it is never the one last look of a declared horizon, which it would be each time.
One that may be kept is, once in an hour and whenever something changed.
The statistics are imported at the first look; where they are not installed the error says so.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import import_module
from typing import Any, Final, Protocol

import orjson

from mvtrace import comparing
from mvtrace.errors import MvtraceError, NotFoundError
from mvtrace.otlp import LogEvent
from mvtrace.registry.deployments import serving_at
from mvtrace.registry.errors import EntryNotFoundError
from mvtrace.scores import export_of
from mvtrace.semconv import EVENT_VERDICT
from mvtrace.store.asking import ask_of
from mvtrace.store.deployments import Deployments
from mvtrace.store.statements import Statements
from mvtrace.store.store import Store
from mvtrace_collector.compared import Asked
from mvtrace_collector.inbox import Inbox
from mvtrace_collector.quality_watch import QualityWatch
from mvtrace_collector.segments import Sender

STORE_S: Final = 5.0
"""How long a look that is kept is waited for, once it is durable, so that the next goes on from
it."""
LIMITS: Final = {"max_execution_time": 20, "max_memory_usage": 2 << 30, "max_threads": 2}
"""Of one statement."""
_STATISTICS: Final = ("numpy", "scipy")
_HOUR_S: Final = 3600
_SHOWN: Final = (
    *("name", "kind", "role", "status", "baseline_requests", "canary_requests"),
    *("baseline", "canary", "difference", "interval", "p_harm"),
    *("log_e_harm", "level_harm", "log_e_noninferior", "level_noninferior"),
)
_HOURS: Final = (
    *("revert_hours", "promote_hours"),
    *("promote_if_equal_hours", "promote_if_equal_at_most_hours"),
)
_HORIZON: Final = "the declared horizon is reached; its last look is taken when a look is kept"
_MADE_UP: Final = (
    "no plan was named and no look is kept: the plan is made of the metrics there are, anew each "
    "time"
)
_INGEST: Final = "ingest"


class PartMissingError(MvtraceError):
    """The collector runs without the extra that the statistics need."""

    code = "extra-missing"
    status = 501
    exit_code = 3

    def __init__(self, missing: str) -> None:
        super().__init__(
            f"This collector cannot compare: a part of mvtrace is not installed ({missing}).",
            hint="pip install 'mvtrace[quality]' where the collector runs, and start it again.",
        )


class NoCanaryError(NotFoundError):
    """Nothing runs in a place that could be compared."""

    code = "no-canary"

    def __init__(self, service: str, environment: str) -> None:
        super().__init__(
            f"No canary of {service!r} runs in {environment!r} beside another version.",
            hint="'mvtrace deployments' shows what serves; baseline=…&canary=… compares others.",
        )


@dataclass(frozen=True, slots=True)
class Wanted:
    """A look that somebody wants: kept, where *sender* may keep it."""

    asked: Asked
    sender: Sender | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What a look has found."""

    told: dict[str, Any]
    """What a gate reads; see ``told_of``."""
    evidence: bytes
    """The whole verdict, JSON."""

    @property
    def size(self) -> int:
        """Bytes that keeping it takes, about."""
        return 2 * len(self.evidence)

    @property
    def decision(self) -> str:
        """Return promote, hold or revert."""
        return str(self.told["decision"])


class State(Protocol):
    """What looking needs of the collector."""

    @property
    def store(self) -> Store: ...

    @property
    def inbox(self) -> Inbox: ...

    @property
    def quality(self) -> QualityWatch: ...


class Looker:
    """Looks at whatever is asked; in one thread."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._bounded: Store | None = None

    def look(self, wanted: Wanted) -> Found:
        """Return what a look finds.

        Raises:
            PartMissingError: the collector lacks the extra ``quality``.
            NotFoundError: no canary runs, no version or plan is called so, or none has served.
            MvtraceError: whatever the comparison raises.
        """
        _need_statistics()
        self._state.quality.refresh()
        asked = self._resolved(wanted.asked)
        seen = self._seen(asked, None)
        if wanted.sender is not None and _is_news(seen):
            seen = self._seen(asked, wanted.sender)
        return Found(told_of(seen, asked), orjson.dumps(seen.to_dict()))

    def close(self) -> None:
        """Close the connections."""
        if self._bounded is not None:
            self._bounded.close()

    def _seen(self, asked: Asked, sender: Sender | None) -> Any:
        return comparing.look(
            self._store(),
            asked.baseline,
            asked.canary,
            plan=self._plan(asked),
            project=asked.project,
            environment=asked.environment or None,
            service=asked.service or None,
            rollout=asked.rollout or None,
            arms=asked.by_arm,
            remember=sender is not None,
            keep=None if sender is None else self._keeping(asked.project, sender),
        )

    def _resolved(self, asked: Asked) -> Asked:
        """Return *asked* with the versions that it leaves to what runs.

        Raises:
            NoCanaryError: nothing runs that could be compared.
        """
        if not asked.is_of_rollout:
            return asked
        deployments = Deployments(Statements(self._store(), asked.project))
        serving = serving_at(deployments.of(asked.service, asked.environment))
        stable = serving.version
        canary = None if serving.canary is None else serving.canary.composite
        if stable is None or canary is None or stable == canary:
            raise NoCanaryError(asked.service, asked.environment)
        return replace(asked, baseline=stable, canary=canary)

    def _plan(self, asked: Asked) -> Any:
        if not asked.plan:
            return None
        found = _part("comparing.plans").plan_named(
            ask_of(self._store(), asked.project), asked.plan
        )
        events = _part("comparing.events")
        digests = (found.digest, events.entry_of_plan(found).digest)
        if not any(one.startswith(f"sha256:{asked.plan}") for one in digests):
            # One that is only called so: a name is whose it was that registered something last.
            raise EntryNotFoundError(events.PLAN, asked.plan)
        return found

    def _keeping(self, project: str, sender: Sender) -> comparing.Keep:
        def keep(events: Iterable[LogEvent]) -> None:
            """Put *events* into the inbox under the sender's key; without ``ingest`` no plan."""
            may_register = _INGEST in sender.grants.split()
            kept = [one for one in events if may_register or one.name == EVENT_VERDICT]
            batch_id = f"look:{time.time_ns()}"
            inbox = self._state.inbox
            done = inbox.submit(project, "logs", export_of(kept), batch_id, sender=sender)
            inbox.wait_stored(done.result().seq, STORE_S)

        return keep

    def _store(self) -> Store:
        if self._bounded is None:
            self._bounded = self._state.store.bounded(LIMITS)
        return self._bounded


def told_of(looked: Any, asked: Asked) -> dict[str, Any]:
    """Return what a gate reads of a look: decision first, no statistics that it was made of."""
    verdict = looked.verdict
    arms = verdict.sufficient.arms
    return {
        "decision": verdict.decision,
        "reason": verdict.reason,
        "metrics": list(verdict.metrics),
        "sentence": verdict.sentence,
        "guarantee": verdict.guarantee,
        "exit_code": verdict.exit_code,
        "project": asked.project,
        "service": asked.service,
        "environment": asked.environment,
        "rollout": asked.rollout,
        "baseline": looked.baseline,
        "canary": looked.canary,
        "plan": verdict.plan.digest,
        "plan_name": verdict.plan.name,
        "verdict": verdict.digest,
        "looked_at": _time_text(arms.until),
        "looked_s": arms.until,
        "hours": round(arms.hours, 2),
        "looks": verdict.past.looks,
        "kept": bool(looked.is_kept),
        "requests": {"baseline": verdict.sufficient.baseline, "canary": verdict.sufficient.canary},
        "gates": [
            {"name": one.name, "state": one.state, "said": one.said} for one in verdict.gates
        ],
        "results": [_fields(one, _SHOWN) for one in verdict.results],
        "forecast": _fields(verdict.forecast, _HOURS),
        "warnings": [*verdict.warnings, *looked.notes, *_cautions(looked, asked)],
    }


def _cautions(looked: Any, asked: Asked) -> Iterator[str]:
    """Yield what is to be known of a look that nobody keeps."""
    if looked.is_kept:
        return
    if _reaches_horizon(looked.verdict) and looked.verdict.past.final_at is None:
        yield _HORIZON
    if not (asked.plan or looked.last):
        yield _MADE_UP


def _fields(found: Any, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(found, name) for name in names}


def _is_news(looked: Any) -> bool:
    """Whether a look is worth keeping: the first of its hour, or another outcome than the last."""
    if not looked.last:
        return True
    last, now = _part("quality.joining").joined(looked.last), looked.verdict
    hours = [one.sufficient.arms.until // _HOUR_S for one in (last, now)]
    is_due = _reaches_horizon(now) and last.past.final_at is None
    return hours[0] != hours[1] or is_due or _outcome(last) != _outcome(now)


def _reaches_horizon(verdict: Any) -> bool:
    """Whether a look like this one is the last of its plan's horizon, if it is kept."""
    is_sound = all(one.state != "fail" for one in verdict.gates)
    return is_sound and bool(verdict.sufficient.reaches(verdict.plan.horizon))


def _outcome(verdict: Any) -> tuple[Any, ...]:
    return (
        verdict.decision,
        verdict.reason,
        verdict.metrics,
        tuple(one.state for one in verdict.gates),
        tuple(one.status for one in verdict.results),
    )


def _need_statistics() -> None:
    try:
        for name in _STATISTICS:
            import_module(name)
    except ImportError as error:
        raise PartMissingError(str(error)) from error


def _part(name: str) -> Any:
    """Return a module of ours that needs the statistics."""
    return import_module(f"mvtrace.{name}")


def _time_text(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
