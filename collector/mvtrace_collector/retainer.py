"""Takes the steps of collections: one after another with the decisions about what serves.

In: that an artifact is to be collected from a place, was, or stays after all. Out: the step as it
is stored, or what keeps the artifact. Whether it is kept is found here once more, under the lock
that every deployment takes: of a deployment and a collection the second knows of the first.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from mvtrace.errors import ConfigurationError, UnavailableError
from mvtrace.registry.errors import ArtifactKeptError
from mvtrace.registry.reading import Ask, statement
from mvtrace.registry.retention.inputs import read_near, steps_of
from mvtrace.registry.retention.policies import policy_of
from mvtrace.registry.retention.steps import Wanted, listing_events, taken
from mvtrace.registry.retention.tombstones import COLLECT, Tombstone
from mvtrace.registry.retention.uris import Where
from mvtrace.registry.retention.values import OVERLAP, RUNNING, Known
from mvtrace.semconv import EVENT_RETENTION
from mvtrace.store.asking import ask_of
from mvtrace_collector.decisions import STILL_SERVES, event_id_of
from mvtrace_collector.governor import STORE_S, Governor, PendingError, State
from mvtrace_collector.segments import Sender

_REFUSED: Final = (
    "SELECT reason, detail FROM quarantine "
    "WHERE project = {project:String} AND subject = {subject:String} LIMIT 1"
)


class Retainer:
    """Takes steps for one collector; safe for several threads."""

    def __init__(self, state: State, governor: Governor) -> None:
        self._state = state
        self._governor = governor

    def take(self, project: str, wanted: Wanted, sender: Sender) -> Tombstone:
        """Take a step and return it as it is stored; one that was taken already as it was.

        Raises:
            ConfigurationError: it cannot be one.
            ArtifactKeptError: a rule keeps what is to be collected.
            UnavailableError: it could not be stored (now).
        """
        ask = ask_of(self._state.store, project)
        with self._governor.lock:
            self._governor.settle()
            known = _known(ask, wanted.step)
            if wanted.step.action == COLLECT:
                self._check_others(project, wanted.step)
            answer = taken(wanted, known, time.time_ns())
            if answer.is_stored:
                return answer.step
            now_ns = time.time_ns()
            event = answer.step.event(now_ns=now_ns)
            batch_id = f"retention:{now_ns}:{answer.step.artifact}"
            events = [*listing_events(wanted, now_ns), event]
            seq = self._governor.accepted(project, batch_id, events, sender)
        event_id = event_id_of(project, EVENT_RETENTION, sender.actor, now_ns, event.body).hex()
        if not self._state.inbox.wait_stored(seq, STORE_S):
            raise PendingError(event_id)
        return self._outcome(ask, project, answer.step, event_id)

    def _check_others(self, project: str, step: Tombstone) -> None:
        """Raise ArtifactKeptError where another project has an artifact at the place of *step*."""
        where = Where.parse(step.uri)
        bound = {"project": project, "artifacts": [], "path": where.path.strip("/")}
        for row in self._state.store.query(_of_others(), bound).dicts():
            try:
                is_near = Where.parse(row["uri"]).overlaps(where)
            except ValueError:
                continue
            if is_near:
                why = "another project registered what lies within, around or where it lies"
                raise ArtifactKeptError(step.artifact, OVERLAP, why)

    def _outcome(self, ask: Ask, project: str, step: Tombstone, event_id: str) -> Tombstone:
        for one in steps_of(ask, [step.artifact]):
            if one.came.event_id == event_id:
                return one
        subject = f"{EVENT_RETENTION} {event_id}"
        refused = self._state.store.query(_REFUSED, {"project": project, "subject": subject}).rows
        reason, detail = refused[0] if refused else ("", "")
        if reason == STILL_SERVES:
            raise ArtifactKeptError(step.artifact, RUNNING, detail)
        raise UnavailableError(f"The step {event_id} was not stored: {reason} {detail}".strip())


def _of_others() -> str:
    """Return the statement that finds places, of all projects but one."""
    mine, others = "project = {project:String}", "project != {project:String}"
    return statement("retention_places").replace(mine, others)


def wanted_of(said: Mapping[str, Any]) -> Wanted:
    """Return the step that a JSON document asks for.

    Raises:
        ConfigurationError: it is none.
    """
    texts: dict[str, Any] = {
        name: said.get(name) or ""
        for name in ("action", "artifact", "uri", "reason", "plan", "host", "claimed_actor")
    }
    listing, policy = said.get("listing") or "", said.get("policy") or {}
    bad = next((name for name, value in texts.items() if not isinstance(value, str)), None)
    if bad is not None or not isinstance(listing, str) or not isinstance(policy, dict):
        raise ConfigurationError(bad or "listing", None, "it is text, policy an object")
    try:
        return Wanted(step=Tombstone(size=0, **texts), policy=policy_of(policy), listing=listing)
    except ValueError as error:
        raise ConfigurationError("retention", texts["action"], str(error)) from error


def _known(ask: Ask, step: Tombstone) -> Known:
    """Return what bears on the place of *step*; of one that ends a collection its past."""
    if step.action != COLLECT:
        return Known(tombstones=steps_of(ask, [step.artifact]))
    try:
        where = Where.parse(step.uri)
    except ValueError as error:
        raise ConfigurationError("uri", step.uri, str(error)) from error
    return read_near(ask, step.artifact, where)
