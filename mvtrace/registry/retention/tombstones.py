"""Tombstones: what is said of an artifact's bytes while they are collected, and after. Pure.

In: what is done to one place. Out: the bytes of its event ``mvtrace.retention`` and back, and the
state of each place folded from them.

``collect`` says that from now on the bytes at a place are going: no version that needs them is
deployed any more. ``collected`` is the tombstone: they are gone. ``release`` takes a ``collect``
back: they are whole and stay. ``restored`` ends a ``collected``: they were put back. So whoever is
interrupted between any two steps leaves a ``collect`` behind, and whoever runs again ends it.

Law: ``Tombstone.from_bytes(one.to_bytes()) == one`` but for what the store adds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Self

import orjson

from mvtrace.digest import canonical_bytes
from mvtrace.otlp import LogEvent
from mvtrace.registry.deployments import time_text
from mvtrace.registry.retention.uris import Where
from mvtrace.semconv import EVENT_RETENTION

COLLECT: Final = "collect"
COLLECTED: Final = "collected"
RELEASE: Final = "release"
RESTORED: Final = "restored"
ACTIONS: Final = (COLLECT, COLLECTED, RELEASE, RESTORED)
SCHEMA_VERSION: Final = 1
MAX_VERSIONS: Final = 2_000
"""Of one artifact; what more versions need is not collected."""
MAX_REASON: Final = 2_000
_HEX: Final = re.compile(r"[0-9a-f]{64}")
_MAX_URI: Final = 4_096
_MILLISECOND: Final = 1_000_000


class Came(NamedTuple):
    """The place of an event among all: as it came in."""

    received_ms: int
    seq: int
    at: int
    event_id: str


NOT_STORED: Final = Came(0, 0, 0, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tombstone:
    """One step of a collection.

    Raises:
        ValueError: it is none; the text says what is wrong with which field.
    """

    action: str
    artifact: str
    uri: str
    size: int
    """In bytes."""
    reason: str = ""
    rule: str = ""
    plan: str = ""
    """The digest of the plan that it follows."""
    versions: tuple[str, ...] = ()
    """Of a ``collect``: the composite versions that need the artifact."""
    listing: Mapping[str, Any] | None = None
    """Of a ``collect``: reference to the artifact's files, as components have it."""
    host: str = ""
    """Of a file: the host that it lies on."""
    claimed_actor: str = ""
    actor: str = field(default="", compare=False)
    actor_label: str = field(default="", compare=False)
    came: Came = field(default=NOT_STORED, compare=False)

    def __post_init__(self) -> None:
        """Check every field, whoever set it."""
        _require(self.action in ACTIONS, f"action is none of {', '.join(ACTIONS)}")
        _require(bool(_HEX.fullmatch(self.artifact)), "an artifact has 64 hex digits")
        _require(0 < len(self.uri) <= _MAX_URI, "uri is none")
        _require(type(self.size) is int and self.size >= 0, "bytes is no number of bytes")
        _require(len(self.reason) <= MAX_REASON, f"reason is over {MAX_REASON} characters")
        _require(len(self.versions) <= MAX_VERSIONS, f"versions are more than {MAX_VERSIONS}")
        _require(all(map(_HEX.fullmatch, self.versions)), "a version has 64 hex digits")

    @property
    def key(self) -> tuple[str, str]:
        """The place: artifact and URI."""
        return self.artifact, self.uri

    @property
    def at(self) -> int:
        """When it came, Unix nanoseconds."""
        return self.came.received_ms * _MILLISECOND

    def to_dict(self) -> dict[str, Any]:
        """Return what people ask of a step, as plain JSON values."""
        return {
            "event_id": self.came.event_id,
            "action": self.action,
            "artifact": self.artifact,
            "uri": self.uri,
            "bytes": self.size,
            "rule": self.rule,
            "reason": self.reason,
            "plan": self.plan,
            "at": time_text(self.at),
            "actor": self.actor,
            "actor_label": self.actor_label,
        }

    def to_bytes(self) -> bytes:
        """Return the canonical form: the body of the event."""
        said: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "action": self.action,
            "artifact": self.artifact,
            "uri": self.uri,
            "bytes": self.size,
        }
        if self.versions:
            said["versions"] = list(self.versions)
        if self.listing is not None:
            said["listing"] = dict(self.listing)
        for name in ("reason", "rule", "plan", "host", "claimed_actor"):
            if value := getattr(self, name):
                said[name] = value
        return canonical_bytes(said)

    @classmethod
    def from_bytes(cls, body: bytes | str, **stored: Any) -> Self:
        """Return the step of an event's *body*; properties nobody knows are passed over.

        Raises:
            ValueError: it is none.
        """
        said = orjson.loads(body)
        _require(isinstance(said, dict), "the body is no JSON object")
        _require(type(said.get("schema_version")) is int, "schema_version is missing")
        versions, listing = said.get("versions", []), said.get("listing")
        _require(_is_texts(versions), "versions is no list of texts")
        _require(listing is None or isinstance(listing, dict), "listing is no object")
        texts: dict[str, Any] = {name: _text(said, name) for name in ("action", "artifact", "uri")}
        for name in ("reason", "rule", "plan", "host", "claimed_actor"):
            texts[name] = _text(said, name, "")
        return cls(
            **texts,
            size=said.get("bytes", -1),
            versions=tuple(versions),
            listing=listing,
            **stored,
        )

    def event(self, *, now_ns: int) -> LogEvent:
        """Return the event that carries it."""
        return LogEvent(
            name=EVENT_RETENTION,
            time_unix_nano=now_ns,
            body=self.to_bytes().decode(),
            attributes={},
        )


def latest(tombstones: Iterable[Tombstone]) -> dict[tuple[str, str], Tombstone]:
    """Return the last step of each place, in whatever order and how often they are given."""
    found: dict[tuple[str, str], Tombstone] = {}
    for one in tombstones:
        if one.key not in found or found[one.key].came < one.came:
            found[one.key] = one
    return found


def latest_places(tombstones: Iterable[Tombstone]) -> dict[tuple[str, str], Tombstone]:
    """Return the last step of each place, however its URI was spelled; see :func:`place_of`."""
    steps = sorted(latest(tombstones).values(), key=lambda one: one.came)
    return {place_of(one.artifact, one.uri): one for one in steps}


def place_of(artifact: str, uri: str) -> tuple[str, str]:
    """Return artifact and place, by which two spellings of one place are one."""
    try:
        return artifact, str(Where.parse(uri))
    except ValueError:
        return artifact, uri


def _require(holds: bool, otherwise: str) -> None:  # noqa: FBT001 (reads as a sentence)
    if not holds:
        raise ValueError(otherwise)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _text(said: Mapping[str, Any], name: str, default: str | None = None) -> str:
    value = said.get(name, default)
    _require(isinstance(value, str), f"{name} is no text")
    return str(value)
