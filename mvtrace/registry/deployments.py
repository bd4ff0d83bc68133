"""Deployments: what was decided to serve, and what therefore served at any instant. Pure.

In: decisions somebody took (deploy, canary, promote, revert, rollback). Out: the bytes of their
event ``mvtrace.deployment`` and back; the state at an instant. Nothing is ever changed or deleted:
a state is folded from all decisions up to then.

Laws: ``Decision.from_bytes(decision.to_bytes()) == decision``; the state at an instant depends on
which deployments there are, never on the order or number of times in which they are given.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple, Self, get_args

import orjson

from mvtrace.digest import canonical_bytes
from mvtrace.otlp import LogEvent
from mvtrace.semconv import COMPOSITE_VERSION, DEPLOYMENT_ACTION, EVENT_DEPLOYMENT

Action = Literal["deploy", "canary", "promote", "revert", "rollback"]
ACTIONS: Final[tuple[Action, ...]] = get_args(Action)
SCHEMA_VERSION: Final = 1
CANARY_ARM: Final = "canary"
MAX_NAME: Final = 128
MAX_REASON: Final = 2_000
MAX_EVIDENCE: Final = 32
MAX_REFERENCE: Final = 500
_VERSION: Final = re.compile(r"[0-9a-f]{64}")
_TIME: Final = re.compile(r"[0-9]{1,19}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What somebody decided, in his own words; *at* is Unix time in nanoseconds.

    Raises:
        ValueError: it is none; the text says what is wrong with which field.
    """

    action: Action
    service: str
    environment: str
    composite: str
    """The version that serves from then on; of a revert the canary that is taken back."""
    at: int | None = None
    """None: when it was received."""
    share: float = 1.0
    """Of the requests, for a canary; all of them otherwise."""
    reason: str = ""
    evidence: tuple[str, ...] = ()
    """References: the id of a verdict, a ticket, an address."""
    expect: str | None = None
    """The version that has to serve until then, or else the decision is not taken."""
    claimed_actor: str = ""
    """A label; who decided is told by the key."""
    without_artifacts: bool = False
    """Decided although artifacts of the version were known to be gone."""

    def __post_init__(self) -> None:
        """Check every field, whoever set it."""
        _require(self.action in ACTIONS, f"action is none of {', '.join(ACTIONS)}")
        for name in ("service", "environment"):
            _require(_is_line(getattr(self, name), MAX_NAME), f"{name} is no name")
        for version in (self.composite, self.expect or self.composite):
            _require(bool(_VERSION.fullmatch(version)), "a version has 64 hex digits")
        _require(self.at is None or 0 <= self.at < 1 << 63, "at is no time")
        is_canary = self.action == "canary"
        _require(
            0 < self.share < 1 if is_canary else self.share == 1,
            "share is above 0 and below 1 for a canary, 1 for everything else",
        )
        _require(len(self.reason) <= MAX_REASON, f"reason is over {MAX_REASON} characters")
        _require(len(self.claimed_actor) <= MAX_NAME, "claimed_actor is too long")
        _require(
            len(self.evidence) <= MAX_EVIDENCE
            and all(0 < len(one) <= MAX_REFERENCE for one in self.evidence),
            f"evidence is at most {MAX_EVIDENCE} texts of {MAX_REFERENCE} characters",
        )

    def to_bytes(self) -> bytes:
        """Return the canonical form: the body of the event."""
        said: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "action": self.action,
            "service": self.service,
            "environment": self.environment,
            "composite": self.composite,
            "share": self.share,
        }
        if self.at is not None:
            said["at"] = str(self.at)
        if self.evidence:
            said["evidence"] = list(self.evidence)
        for name in ("reason", "expect", "claimed_actor", "without_artifacts"):
            if value := getattr(self, name):
                said[name] = value
        return canonical_bytes(said)

    @classmethod
    def from_bytes(cls, body: bytes | str) -> Self:
        """Return the decision of an event's *body*; properties nobody knows are passed over.

        Raises:
            ValueError: it is none.
        """
        said = orjson.loads(body)
        _require(isinstance(said, dict), "the body is no JSON object")
        _require(type(said.get("schema_version")) is int, "schema_version is missing")
        texts = {
            name: _text(said, name) for name in ("action", "service", "environment", "composite")
        }
        share, evidence = said.get("share", 1.0), said.get("evidence", [])
        _require(type(share) in (int, float) and math.isfinite(share), "share is no number")
        _require(
            isinstance(evidence, list) and all(isinstance(one, str) for one in evidence),
            "evidence is no list of texts",
        )
        return cls(
            **texts,  # type: ignore[arg-type]  # __post_init__ checks the action
            at=_time(said),
            share=float(share),
            reason=_text(said, "reason", ""),
            evidence=tuple(evidence),
            expect=_text(said, "expect", "") or None,
            claimed_actor=_text(said, "claimed_actor", ""),
            without_artifacts=said.get("without_artifacts") is True,
        )


class Order(NamedTuple):
    """The place of a deployment among all: by its time, then as it came in."""

    at: int
    seq: int
    event_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A decision as it is stored: who took it is proven by his key."""

    event_id: str
    """32 hex digits, made from what was decided and by whom."""
    decision: Decision
    at: int
    """When it took effect, Unix nanoseconds: never after it was received."""
    actor: str
    """The id of a key; ``open`` where a collector has no keys."""
    actor_label: str = ""
    received_at: int = 0
    seq: int = 0

    @property
    def order(self) -> Order:
        """Its place among all."""
        return Order(self.at, self.seq, self.event_id)

    @property
    def composite(self) -> str:
        """The version it is about."""
        return self.decision.composite

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        decision = self.decision
        return {
            "event_id": self.event_id,
            "at": time_text(self.at),
            "action": decision.action,
            "service": decision.service,
            "environment": decision.environment,
            "composite_version": decision.composite,
            "share": decision.share,
            "actor": self.actor,
            "actor_label": self.actor_label,
            "claimed_actor": decision.claimed_actor,
            "reason": decision.reason,
            "evidence": list(decision.evidence),
            "expected": decision.expect,
            "without_artifacts": decision.without_artifacts,
            "received_at": time_text(self.received_at),
        }

    @property
    def by(self) -> str:
        """Who decided, in words: his key, and who he says he is."""
        key = f"{self.actor} ({self.actor_label})" if self.actor_label else self.actor
        claimed = self.decision.claimed_actor
        return f"{key}, claiming to be {claimed}" if claimed else key


@dataclass(frozen=True, slots=True)
class Serving:
    """What serves one service in one environment."""

    stable: Deployment | None = None
    """What made the version serve that serves; None before the first."""
    canary: Deployment | None = None
    previous: str | None = None
    """The version that served before the stable one."""
    last: Deployment | None = field(default=None, compare=False)
    """The last decision of all."""

    @property
    def version(self) -> str | None:
        """The stable version."""
        return self.stable.composite if self.stable else None

    def of_arm(self, arm: str | None) -> Deployment | None:
        """Return what put the version there that serves an arm."""
        if arm == CANARY_ARM and self.canary is not None:
            return self.canary
        return self.stable


def serving_at(deployments: Iterable[Deployment], at: int | None = None) -> Serving:
    """Return what served at the instant *at*, Unix nanoseconds; without it, what serves last.

    *deployments* are of one service in one environment, in any order, perhaps repeated.
    """
    state = Serving()
    for one in ordered(deployments):
        if at is not None and one.at > at:
            break
        state = after(state, one)
    return state


def serving_before(deployments: Iterable[Deployment], place: Order) -> Serving:
    """Return what served just before *place*: what a decision there may expect."""
    return _folded(one for one in ordered(deployments) if one.order < place)


def ordered(deployments: Iterable[Deployment]) -> list[Deployment]:
    """Return each deployment once, in order."""
    return sorted({one.event_id: one for one in deployments}.values(), key=lambda one: one.order)


def after(state: Serving, one: Deployment) -> Serving:
    """Return what serves after one more decision."""
    action = one.decision.action
    if action == "canary":
        return Serving(state.stable, one, state.previous, one)
    if action == "revert":
        is_running = state.canary is not None and state.canary.composite == one.composite
        return Serving(state.stable, None if is_running else state.canary, state.previous, one)
    is_other = state.version is not None and state.version != one.composite
    return Serving(one, None, state.version if is_other else state.previous, one)


def event_of(decision: Decision, *, now_ns: int) -> LogEvent:
    """Return the event that carries *decision*."""
    return LogEvent(
        name=EVENT_DEPLOYMENT,
        time_unix_nano=now_ns if decision.at is None else decision.at,
        body=decision.to_bytes().decode(),
        attributes={DEPLOYMENT_ACTION: decision.action, COMPOSITE_VERSION: decision.composite},
    )


def _folded(deployments: Iterable[Deployment]) -> Serving:
    state = Serving()
    for one in deployments:
        state = after(state, one)
    return state


def time_text(unix_nano: int) -> str:
    """Return ISO 8601 in UTC with microseconds."""
    moment = datetime.fromtimestamp(unix_nano // 10**9, UTC)
    micros = unix_nano % 10**9 // 1000
    return f"{moment.replace(microsecond=micros, tzinfo=None).isoformat(timespec='microseconds')}Z"


def _require(holds: bool, otherwise: str) -> None:  # noqa: FBT001 (reads as a sentence)
    if not holds:
        raise ValueError(otherwise)


def _is_line(text: object, most: int) -> bool:
    return isinstance(text, str) and 0 < len(text) <= most and text.isprintable()


def _text(said: Mapping[str, Any], name: str, default: str | None = None) -> str:
    value = said.get(name, default)
    _require(isinstance(value, str), f"{name} is no text")
    return str(value)


def _time(said: Mapping[str, Any]) -> int | None:
    value = said.get("at")
    if value is None:
        return None
    _require(isinstance(value, str) and bool(_TIME.fullmatch(value)), "at is no time")
    return int(value)
