"""Takes decisions about what serves: one after another, durable, and only then answered.

In: what somebody wants, whose key proved him. Out: the deployment as it is stored, or an error that
says what stands against it. A decision goes the way of every event, into the inbox and through the
loader, which alone judges whether the expected version served; here it gets its time, later than
all that was decided before, and the version that its words leave open.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from mvtrace.errors import ConfigurationError, LostRaceError, UnavailableError
from mvtrace.errors import UnregisteredVersionError as UnregisteredError
from mvtrace.otlp import LogEvent
from mvtrace.registry.deployments import (
    ACTIONS,
    Action,
    Decision,
    Deployment,
    Serving,
    event_of,
    serving_at,
)
from mvtrace.registry.errors import BeingCollectedError, PartlyCollectedError
from mvtrace.registry.retention.inputs import begun, read_version
from mvtrace.registry.retention.wholeness import Artifact, artifacts_of, being_collected
from mvtrace.scores import export_of
from mvtrace.semconv import EVENT_DEPLOYMENT
from mvtrace.store.asking import ask_of
from mvtrace.store.deployments import Deployments
from mvtrace.store.statements import Statements
from mvtrace.store.store import Store
from mvtrace_collector.decisions import BEING_COLLECTED, LOST_RACE, event_id_of
from mvtrace_collector.inbox import Inbox
from mvtrace_collector.segments import Sender

SETTLE_S: Final = 10.0
"""How long what was accepted before is waited for, so that its decisions are known."""
STORE_S: Final = 20.0
"""How long a decision is waited for, once it is accepted."""
_VERSION_DIGITS: Final = 8
_SHOWN: Final = 12
_CLOCK_STEP_NS: Final = 100_000_000
"""What is waited for where the clock is behind; more than that is said."""
_QUARANTINED: Final = (
    "SELECT reason, detail FROM quarantine "
    "WHERE project = {project:String} AND subject = {subject:String} LIMIT 1"
)


class PendingError(UnavailableError):
    """The decision is durable and not stored yet; it will be."""

    code = "pending"

    def __init__(self, event_id: str) -> None:
        super().__init__(
            f"The decision {event_id} is accepted and will be stored, but is not within "
            f"{STORE_S:.0f} s.",
            hint="'mvtrace deployments' shows it once it is; do not decide again.",
        )


class UnsettledError(UnavailableError):
    """What was accepted before is not stored yet, so what serves is not known."""

    code = "unsettled"

    def __init__(self) -> None:
        super().__init__(
            "What was sent before is not stored yet, so nobody knows what serves; nothing was "
            "decided.",
            hint="'mvtrace status' tells what waits; try again.",
        )


class ClockError(UnavailableError):
    """The clock is behind the last decision."""

    code = "clock"

    def __init__(self, behind_ns: int) -> None:
        super().__init__(
            f"The collector's clock is {behind_ns / 10**9:.1f} s behind the last decision about "
            "this service: a new one would change nothing, so none was taken.",
            hint="Set the clock right, or wait.",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What somebody wants decided, as far as he said it."""

    action: Action
    service: str
    environment: str
    version: str | None = None
    """Its first digits; None: the one that follows from the action."""
    share: float | None = None
    reason: str = ""
    evidence: tuple[str, ...] = ()
    expect: str | None = None
    claimed_actor: str = ""
    without_artifacts: bool = False


class Decided(NamedTuple):
    """A deployment as it is stored, and what is left of the version it is about."""

    deployment: Deployment
    artifacts: tuple[Artifact, ...]


class State(Protocol):
    """What a governor needs of the collector."""

    @property
    def store(self) -> Store: ...

    @property
    def inbox(self) -> Inbox: ...


class Governor:
    """Decides for one collector; safe for several threads, which decide one after another."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.lock = threading.Lock()
        """Held while something is decided by what was decided before."""

    def decide(self, project: str, wanted: Wanted, sender: Sender) -> Decided:
        """Take a decision and return it as it is stored.

        Raises:
            ConfigurationError: it cannot be one.
            UnregisteredVersionError: nothing is known of the version.
            AmbiguousVersionError: its first digits are those of several.
            LostRaceError: another version serves than was expected.
            BeingCollectedError: an artifact of the version is being collected.
            PartlyCollectedError: artifacts of the version no longer exist.
            UnavailableError: it could not be stored (now).
        """
        deployments = Deployments(Statements(self._state.store, project))
        version = self._registered(deployments, wanted.version, project)
        expect = self._registered(deployments, wanted.expect, project)
        with self.lock:
            self.settle()
            before = deployments.of(wanted.service, wanted.environment)
            now_ns = self._now_ns(before)
            decision = _decision(wanted, version, expect, serving_at(before), now_ns)
            artifacts = self._artifacts(project, decision)
            event = event_of(decision, now_ns=decision.at or 0)
            batch_id = f"decision:{decision.at}"
            seq = self.accepted(project, batch_id, [event], sender)
        event_id = event_id_of(
            project, EVENT_DEPLOYMENT, sender.actor, decision.at or 0, event.body
        ).hex()
        if not self._state.inbox.wait_stored(seq, STORE_S):
            raise PendingError(event_id)
        return Decided(self._outcome(project, decision, event_id), artifacts)

    def _artifacts(self, project: str, decision: Decision) -> tuple[Artifact, ...]:
        """Return what is left of the version that *decision* is about.

        Raises:
            BeingCollectedError: one of its artifacts is being collected.
            PartlyCollectedError: artifacts are gone, and the decision does not say that it knows.
        """
        ask = ask_of(self._state.store, project)
        known = read_version(ask, decision.composite)
        artifacts = tuple(artifacts_of(known))
        if decision.action == "revert":
            return artifacts
        if step := being_collected(known, decision.composite, begun(ask)):
            raise BeingCollectedError(
                f"{decision.composite[:_SHOWN]} needs the artifact {step.artifact[:_SHOWN]}, whose "
                f"collection from {step.uri} has begun"
            )
        gone = [one for one in artifacts if one.is_gone]
        if gone and not decision.without_artifacts and decision.action != "rollback":
            raise PartlyCollectedError(
                decision.composite, len(artifacts), [one.words() for one in gone]
            )
        return artifacts

    def _registered(self, deployments: Deployments, prefix: str | None, project: str) -> str | None:
        if prefix is None:
            return None
        digits = prefix.lower().removeprefix("sha256:")
        is_hex = not set(digits) - set("0123456789abcdef")
        if not is_hex or len(digits) < _VERSION_DIGITS:
            raise ConfigurationError(
                "version", prefix[:80], f"it is at least {_VERSION_DIGITS} hex digits of one"
            )
        if (found := deployments.registered(digits)) is None:
            raise UnregisteredError(prefix, project)
        return found

    def settle(self) -> None:
        """Wait until what is accepted is stored, so that it is known what was decided before."""
        lag = self._state.inbox.lag()
        if not self._state.inbox.wait_stored(lag.accepted_seq, SETTLE_S):
            raise UnsettledError

    def _now_ns(self, before: tuple[Deployment, ...]) -> int:
        """Return the time, which is after all decisions about this target.

        Raises:
            ClockError: the clock was set back: a decision dated now would change nothing.
        """
        last_ns = max((one.at for one in before), default=0)
        if last_ns >= time.time_ns() + _CLOCK_STEP_NS:
            raise ClockError(last_ns - time.time_ns())
        while (now_ns := time.time_ns()) <= last_ns:
            time.sleep(_CLOCK_STEP_NS / 10**10)
        return now_ns

    def accepted(
        self, project: str, batch_id: str, events: Iterable[LogEvent], sender: Sender
    ) -> int:
        """Make *events* durable as one batch; return its place in the inbox."""
        done = self._state.inbox.submit(project, "logs", export_of(events), batch_id, sender=sender)
        return done.result().seq

    def _outcome(self, project: str, decision: Decision, event_id: str) -> Deployment:
        store = self._state.store
        found = Deployments(Statements(store, project)).of(decision.service, decision.environment)
        for one in found:
            if one.event_id == event_id:
                return one
        subject = f"{EVENT_DEPLOYMENT} {event_id}"
        refused = store.query(_QUARANTINED, {"project": project, "subject": subject}).rows
        reason, detail = refused[0] if refused else ("", "")
        if reason == LOST_RACE:
            raise LostRaceError(detail)
        if reason == BEING_COLLECTED:
            raise BeingCollectedError(detail)
        raise UnavailableError(f"The decision {event_id} was not stored: {reason} {detail}".strip())


def wanted_of(said: Mapping[str, Any]) -> Wanted:
    """Return what a JSON document asks for.

    Raises:
        ConfigurationError: a value means nothing.
    """
    action = said.get("action")
    if action not in ACTIONS:
        raise ConfigurationError("action", action, f"it is one of {', '.join(ACTIONS)}")
    texts = {
        name: said.get(name) or ""
        for name in ("service", "environment", "reason", "claimed_actor", "version", "expect")
    }
    bad = next((name for name, value in texts.items() if not isinstance(value, str)), None)
    evidence, share = said.get("evidence") or [], said.get("share")
    if bad is None and not (
        isinstance(evidence, list) and all(isinstance(one, str) for one in evidence)
    ):
        bad = "evidence"
    if bad is not None:
        raise ConfigurationError(bad, None, "it is text, evidence a list of texts")
    if share is not None and type(share) not in (int, float):
        raise ConfigurationError("share", None, "it is a number")
    return Wanted(
        action=action,
        service=texts["service"],
        environment=texts["environment"],
        version=texts["version"] or None,
        share=share,
        reason=texts["reason"],
        evidence=tuple(evidence),
        expect=texts["expect"] or None,
        claimed_actor=texts["claimed_actor"],
        without_artifacts=said.get("without_artifacts") is True,
    )


def _decision(
    wanted: Wanted, version: str | None, expect: str | None, serving: Serving, now_ns: int
) -> Decision:
    composite = version or _implied(wanted, serving)
    try:
        return Decision(
            action=wanted.action,
            service=wanted.service,
            environment=wanted.environment,
            composite=composite,
            at=now_ns,
            share=1.0 if wanted.share is None else wanted.share,
            reason=wanted.reason,
            evidence=wanted.evidence,
            expect=expect,
            claimed_actor=wanted.claimed_actor,
            without_artifacts=wanted.without_artifacts,
        )
    except ValueError as error:
        raise ConfigurationError("decision", wanted.action, str(error)) from error


def _implied(wanted: Wanted, serving: Serving) -> str:
    """Return the version that an action without one means.

    Raises:
        ConfigurationError: there is none.
    """
    where = f"{wanted.service} in {wanted.environment}"
    if wanted.action in ("promote", "revert"):
        if serving.canary is not None:
            return serving.canary.composite
        raise ConfigurationError("version", None, f"no canary of {where} is running")
    if wanted.action == "rollback":
        was_rolled_back = serving.stable is not None and (
            serving.stable.decision.action == "rollback"
        )
        if serving.previous is not None and not was_rolled_back:
            return serving.previous
        problem = "the last decision was a rollback" if was_rolled_back else "nothing served before"
        raise ConfigurationError("version", None, f"{problem} in {where}, so name the version")
    raise ConfigurationError("version", None, f"{wanted.action} needs the version")
