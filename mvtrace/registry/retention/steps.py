"""Which step of a collection may be taken, by what is known. Pure.

In: a step as somebody says it, what bears on its place, its state. Out: the step to be stored,
or the one that is stored already; an error where a rule keeps the artifact. Who decides so
under one lock with all deployments leaves no moment in which both could be taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from mvtrace.components.content import pin_content
from mvtrace.errors import ConfigurationError
from mvtrace.otlp import LogEvent
from mvtrace.registry.errors import ArtifactKeptError
from mvtrace.registry.retention.places import files_of, proves
from mvtrace.registry.retention.planning import plan
from mvtrace.registry.retention.tombstones import (
    COLLECT,
    COLLECTED,
    MAX_VERSIONS,
    RESTORED,
    Tombstone,
    latest,
)
from mvtrace.registry.retention.values import Known, Policy, Verdict
from mvtrace.semconv import CONTENT_DIGEST, EVENT_CONTENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A step that somebody wants taken."""

    step: Tombstone
    """As he says it; size and versions are told by the registry."""
    policy: Policy
    """Of a ``collect``: what decides whether the artifact is kept."""
    listing: str
    """Of a ``collect``: the artifact's files."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The step to be stored, or the one that is stored already."""

    step: Tombstone
    is_stored: bool


def taken(wanted: Wanted, known: Known, now: int) -> Answer:
    """Return what becomes of *wanted*.

    Raises:
        ArtifactKeptError: a rule keeps what is to be collected.
        ConfigurationError: nothing of the kind can be collected, or none was begun.
    """
    state = latest(known.tombstones).get(wanted.step.key)
    if wanted.step.action == COLLECT:
        return _begun(wanted, known, state, now)
    return _ended(wanted.step, state)


def listing_events(wanted: Wanted, now_ns: int) -> Iterator[LogEvent]:
    """Yield the events that register the list of files, so that an interrupted run can be ended."""
    if wanted.listing:
        for piece in pin_content(wanted.listing).pieces:
            yield LogEvent(EVENT_CONTENT, now_ns, piece.text, {CONTENT_DIGEST: piece.digest})


def _begun(wanted: Wanted, known: Known, state: Tombstone | None, now: int) -> Answer:
    said = wanted.step
    found = {(one.place.artifact, one.place.uri): one for one in plan(known, wanted.policy, now)}
    verdict = found.get(said.key)
    if verdict is None:
        if state is not None and state.action == COLLECTED:
            return Answer(state, is_stored=True)
        problem = f"the artifact {said.artifact[:12]} is not registered to lie there"
        raise ConfigurationError("uri", said.uri, problem)
    _check_kept(verdict)
    if state is not None and state.action == COLLECT:
        return Answer(state, is_stored=True)
    reference = _reference(wanted.listing, said.artifact)
    step = replace(
        said,
        size=sum(one.bytes for one in files_of(wanted.listing.encode())),
        rule=verdict.rule,
        reason=said.reason or verdict.why,
        versions=verdict.versions,
        listing=reference,
    )
    return Answer(step, is_stored=False)


def _check_kept(verdict: Verdict) -> None:
    artifact = verdict.place.artifact
    if not verdict.is_collected:
        raise ArtifactKeptError(artifact, verdict.rule, verdict.why)
    if len(verdict.versions) > MAX_VERSIONS:
        why = f"{len(verdict.versions):,} versions need it, over {MAX_VERSIONS:,}"
        raise ArtifactKeptError(artifact, verdict.rule, why)


def _ended(said: Tombstone, state: Tombstone | None) -> Answer:
    if state is not None and state.action == said.action:
        return Answer(state, is_stored=True)
    before = COLLECTED if said.action == RESTORED else COLLECT
    if state is None or state.action != before:
        what = "was collected" if before == COLLECTED else "is being collected"
        problem = f"nothing of {said.artifact[:12]} {what} from {said.uri}"
        raise ConfigurationError("action", said.action, problem)
    step = replace(
        said,
        size=state.size,
        rule=state.rule,
        plan=said.plan or state.plan,
        reason=said.reason or (state.reason if said.action == COLLECTED else ""),
        listing=None,
        versions=(),
    )
    return Answer(step, is_stored=False)


def _reference(listing: str, artifact: str) -> dict[str, Any]:
    """Return how the step refers to the list of files, which has to be the artifact's."""
    try:
        if not proves(listing.encode(), artifact):
            raise ValueError("it is not the list of the artifact's files")  # noqa: TRY301
        return pin_content(listing).reference
    except ValueError as error:
        raise ConfigurationError("listing", listing[:80], str(error)) from error
