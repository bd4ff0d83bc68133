"""Which decisions may be stored, decided by the key they came under and by what served before.

In: the decisions of a segment in the order in which they came, and the deployments the store has.
Out: one row each for ``stage_decisions``, with the problem of those that go to quarantine. A
deployment that expects a version is taken only if that one served just before it. While an artifact
is being collected no version that needs it is deployed, and none is collected of what serves: of a
deployment and a collection the one that came first is taken. What a version needs is what the
registry knows of it by then, not only what the collection said when it began: one that was
registered since is told as well, and of one that nobody registered nothing is known, so it waits.

Law: loaded again in the same order, whatever part of them the store still has, all decisions get
the answers they had. So each is judged by what was received no later than itself, and takes effect
before it; what the store learned since is passed over. What a version needs is fixed by its digest.
(Only a version that nobody had registered may be deployed by a replay that knows it by then.)
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache
from typing import Final, NamedTuple

import orjson

from mvtrace.registry.deployments import Decision, Deployment, Order, serving_at, serving_before
from mvtrace.registry.retention.tombstones import COLLECT, Came, Tombstone, latest
from mvtrace.registry.retention.values import Known
from mvtrace.registry.retention.wholeness import being_collected
from mvtrace.semconv import EVENT_DEPLOYMENT, EVENT_RETENTION

GOVERN: Final = "govern"
NOT_PERMITTED: Final = "not-permitted"
"""Reason in ``quarantine`` of what a key decided that may decide nothing."""
LOST_RACE: Final = "lost-race"
"""Of what expected another version to serve than did."""
BEING_COLLECTED: Final = "being-collected"
"""Of a deployment of a version that needs what is being collected."""
STILL_SERVES: Final = "still-serves"
"""Of a collection of what a version needs that serves."""
NOT_A_DECISION: Final = "not-a-decision"
_EARLIEST_NS: Final = 1_577_836_800_000_000_000
_MILLISECOND: Final = 1_000_000
_SHOWN: Final = 12

Target = tuple[str, str, str]
"""Project, service, environment."""

Needs = Callable[[str, str], Known]
"""Project and version -> what the registry knows of the version: no versions where nothing."""


class Sent(NamedTuple):
    """One decision of the segment (decisions_survey.sql)."""

    project: str
    received_ms: int
    seq: int
    name: str
    time_ns: int
    body: str
    is_text: bool
    actor: str
    actor_label: str
    grants: str


class Stored(NamedTuple):
    """One deployment of the store (decisions_known.sql)."""

    project: str
    at: int
    seq: int
    event: str
    actor: str
    actor_label: str
    body: str
    received_ms: int


class Said(NamedTuple):
    """One step of a collection that the store has (retention_known.sql)."""

    project: str
    at: int
    seq: int
    event: str
    body: str
    received_ms: int


class Judged(NamedTuple):
    """One row of ``stage_decisions``."""

    project: str
    name: str
    event_id: bytes
    at_ns: int
    seq: int
    received_ms: int
    actor: str
    actor_label: str
    body: str
    problem: str
    is_new: bool
    service: str = ""
    environment: str = ""
    action: str = ""
    composite: str = ""
    share: float = 0.0
    claimed_actor: str = ""
    reason: str = ""


def judge(
    sent: Iterable[Sent],
    stored: Iterable[Stored],
    said: Iterable[Said],
    needs: Needs,
) -> Iterator[Judged]:
    """Yield a row for each decision of *sent*, in its order.

    *stored* are the deployments of its projects, *said* the steps of their collections; *needs* is
    asked only where something is being collected.
    """
    past = _Past(needs)
    for held in stored:
        past.add(held.project, deployment_of(held))
    for one in said:
        came = Came(one.received_ms, one.seq, one.at, one.event.lower())
        if step := _step(one.body, came):
            past.steps[one.project].append(step)
        past.known.add(one.event.lower())
    for decision in sent:
        judged = _judged(decision, past)
        if not judged.problem:
            past.known.add(judged.event_id.hex())
        yield judged


class _Past:
    """What is known of all projects while decisions are judged."""

    def __init__(self, needs: Needs) -> None:
        self.deployments: defaultdict[Target, list[Deployment]] = defaultdict(list)
        self.steps: defaultdict[str, list[Tombstone]] = defaultdict(list)
        self.known: set[str] = set()
        self._needs = cache(needs)

    def needed(self, project: str, version: str, received_ms: int) -> Known:
        """Return what is known of *version*, with the places that were told by then."""
        known = self._needs(project, version)
        last = (received_ms + 1) * _MILLISECOND
        return replace(known, places=tuple(one for one in known.places if one.at < last))

    def add(self, project: str, one: Deployment) -> None:
        self.deployments[project, one.decision.service, one.decision.environment].append(one)
        self.known.add(one.event_id)


def deployment_of(held: Stored) -> Deployment:
    """Return a stored row as the deployment it is."""
    return Deployment(
        event_id=held.event.lower(),
        decision=Decision.from_bytes(held.body),
        at=held.at,
        actor=held.actor,
        actor_label=held.actor_label,
        received_at=held.received_ms * _MILLISECOND,
        seq=held.seq,
    )


def event_id_of(project: str, name: str, actor: str, at_ns: int, body: str) -> bytes:
    """Return the identity of a decision: what was decided, when, where and by whose key."""
    said = f"{name}/1\n{project}\n{actor}\n{at_ns}\n{body}"
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).digest()[:16]


def _judged(sent: Sent, past: _Past) -> Judged:
    decision, problem = _read(sent)
    said_ns = decision.at if decision and decision.at is not None else sent.time_ns
    at_ns = said_ns or sent.received_ms * _MILLISECOND
    event_id = event_id_of(sent.project, sent.name, sent.actor, at_ns, sent.body)
    is_new = event_id.hex() not in past.known
    if not problem and at_ns < _EARLIEST_NS:
        problem = f"{NOT_A_DECISION}: its time cannot be"
    # It was received within the millisecond that received_ms names the start of.
    at_ns = max(0, min(at_ns, (sent.received_ms + 1) * _MILLISECOND - 1))
    if is_new and not problem:
        problem = _contrary(decision, sent, past, Order(at_ns, sent.seq, event_id.hex()))
    facts = _columns(decision) if decision and not problem else {}
    return Judged(
        project=sent.project,
        name=sent.name,
        event_id=event_id,
        at_ns=at_ns,
        seq=sent.seq,
        received_ms=sent.received_ms,
        actor=sent.actor,
        actor_label=sent.actor_label,
        body=sent.body,
        problem=problem,
        is_new=is_new and not problem,
        **facts,  # type: ignore[arg-type]  # texts, and a share
    )


def _contrary(decision: Decision | None, sent: Sent, past: _Past, place: Order) -> str:
    """Return what is against something new, by what had come before; note it where nothing is."""
    arrived = (sent.received_ms * _MILLISECOND, sent.seq)
    if decision is not None:
        target = (sent.project, decision.service, decision.environment)
        then = [one for one in past.deployments[target] if (one.received_at, one.seq) <= arrived]
        problem = _lost_race(decision, then, place) or _collection(decision, sent, past)
        if not problem:
            past.deployments[target].append(_deployment(decision, place, sent))
        return problem
    came = Came(sent.received_ms, sent.seq, place.at, place.event_id)
    step = _step(sent.body, came) if sent.name == EVENT_RETENTION else None
    if step is None:
        return ""
    problem = _serves(step, sent.project, past, arrived) if step.action == COLLECT else ""
    if not problem:
        past.steps[sent.project].append(step)
    return problem


def _collection(decision: Decision, sent: Sent, past: _Past) -> str:
    """Return the collection that takes what the version needs; nothing where none does."""
    if decision.action == "revert":
        return ""
    arrived = (sent.received_ms, sent.seq)
    then = [one for one in past.steps[sent.project] if one.came[:2] <= arrived]
    going = [one for one in latest(then).values() if one.action == COLLECT]
    if not going:
        return ""
    version = decision.composite
    known = past.needed(sent.project, version, sent.received_ms)
    if step := being_collected(known, version, going):
        return (
            f"{BEING_COLLECTED}: {version[:_SHOWN]} needs the artifact "
            f"{step.artifact[:_SHOWN]}, whose collection from {step.uri} has begun"
        )
    if not known.versions:
        return (
            f"{BEING_COLLECTED}: nobody registered {version[:_SHOWN]}, so it is not known whether "
            f"it needs the artifact {going[0].artifact[:_SHOWN]}, whose collection from "
            f"{going[0].uri} has begun"
        )
    return ""


def _serves(step: Tombstone, project: str, past: _Past, arrived: tuple[int, int]) -> str:
    """Return which version serves that needs what *step* collects; nothing where none does."""
    for (owner, service, environment), decisions in sorted(past.deployments.items()):
        if owner != project:
            continue
        state = serving_at(one for one in decisions if (one.received_at, one.seq) <= arrived)
        for serving in (state.stable, state.canary):
            if serving is None:
                continue
            known = past.needed(project, serving.composite, step.came.received_ms)
            if being_collected(known, serving.composite, [step]):
                return (
                    f"{STILL_SERVES}: {serving.composite[:_SHOWN]}, which needs the artifact "
                    f"{step.artifact[:_SHOWN]}, serves {service} in {environment}"
                )
    return ""


def _step(body: str, came: Came) -> Tombstone | None:
    """Return the step of a collection that *body* says; None where it says something else."""
    try:
        return Tombstone.from_bytes(body, came=came)
    except ValueError:
        return None


def _read(sent: Sent) -> tuple[Decision | None, str]:
    """Return the deployment that was decided, if it is one, and why it may not be stored."""
    if GOVERN not in sent.grants.split():
        whose = f"key {sent.actor}" if sent.actor else "its sender"
        return None, f"{NOT_PERMITTED}: {whose} has not the scope {GOVERN}"
    try:
        if not sent.is_text:
            raise ValueError("the body is no text")  # noqa: TRY301 (one way out)
        if sent.name == EVENT_DEPLOYMENT:
            return Decision.from_bytes(sent.body), ""
        said = orjson.loads(sent.body)
        if not isinstance(said, dict) or type(said.get("schema_version")) is not int:
            raise ValueError("schema_version is missing")  # noqa: TRY301
    except ValueError as error:
        return None, f"{NOT_A_DECISION}: {error}"
    return None, ""


def _lost_race(decision: Decision, history: Iterable[Deployment], place: Order) -> str:
    """Return what served instead of the version that *decision* expects; nothing where it did."""
    if decision.expect is None:
        return ""
    serving = serving_before(history, place)
    if serving.version == decision.expect:
        return ""
    found = "nothing was deployed"
    if serving.stable is not None:
        found = f"{serving.stable.composite[:_SHOWN]} serves, decided by {serving.stable.by}"
    return f"{LOST_RACE}: {decision.expect[:_SHOWN]} was expected to serve, but {found}"


def _deployment(decision: Decision, place: Order, sent: Sent) -> Deployment:
    return Deployment(
        event_id=place.event_id,
        decision=decision,
        at=place.at,
        actor=sent.actor,
        actor_label=sent.actor_label,
        received_at=sent.received_ms * _MILLISECOND,
        seq=place.seq,
    )


def _columns(decision: Decision) -> dict[str, str | float]:
    return {
        "service": decision.service,
        "environment": decision.environment,
        "action": decision.action,
        "composite": decision.composite,
        "share": decision.share,
        "claimed_actor": decision.claimed_actor,
        "reason": decision.reason,
    }
