"""What retention is planned from, as plain values. Pure.

In: nothing. Out: the types of the policy, of what the registry knows, and of what is to become of
each place. Times are Unix nanoseconds; digests are 64 hex digits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from mvtrace.registry.deployments import Deployment
from mvtrace.registry.refs import Ref
from mvtrace.registry.retention.tombstones import Tombstone

DAY_NS: Final = 86_400 * 10**9
GIGABYTE: Final = 10**9

RUNNING: Final = "running"
PRODUCTION: Final = "production"
PARENT: Final = "parent"
HELD: Final = "held"
WINDOW: Final = "window"
OVERLAP: Final = "overlap"
OUTSIDE: Final = "outside"
UNFIT: Final = "unfit"
UNKNOWN: Final = "unknown"
EXPIRED: Final = "expired"
UNFINISHED: Final = "unfinished"
RULES: Final[Mapping[str, str]] = {
    RUNNING: "of a version that serves now, in any environment",
    PRODUCTION: "of a version that ever served production",
    PARENT: "of what such a version was made from",
    HELD: "the policy names it",
    WINDOW: "of an experiment that was used within the window",
    OVERLAP: "lies within, around or where something kept lies",
    OUTSIDE: "lies under no root of the policy",
    UNFIT: "its URI is none that is ever collected",
    UNKNOWN: "no registered version ever needed it",
    EXPIRED: "of an experiment that was last used before the window",
    UNFINISHED: "its collection was begun and did not end",
}
"""Every rule, in the order in which they are tried."""
COLLECTED_BY: Final = (EXPIRED, UNFINISHED)
"""The rules by which bytes are collected; by all others they are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What is to be kept, and where anything may be collected at all."""

    environments: tuple[str, ...] = ("prod", "production")
    """Whatever ever served one of these is kept, and what it was made from; a policy that is read
    always has the default ones."""
    window_ns: int = 90 * DAY_NS
    """How long after its last use something experimental is kept."""
    roots: tuple[str, ...] = ()
    """URIs of folders; nothing outside them is ever collected, and without any nothing at all."""
    keep: tuple[str, ...] = ()
    """Refs (``artifact:…``, ``component:…``, ``composite:…``) that are kept in any case."""
    costs: Mapping[str, float] = field(default_factory=dict)
    """What 10^9 bytes cost a month, by scheme."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "environments": list(self.environments),
            "window_s": self.window_ns // 10**9,
            "roots": list(self.roots),
            "keep": list(self.keep),
            "costs": dict(self.costs),
        }


class Place(NamedTuple):
    """Where the bytes of an artifact were registered to lie."""

    artifact: str
    uri: str
    bytes: int
    at: int
    """When it was registered."""


class Version(NamedTuple):
    """A composite version."""

    components: frozenset[str]
    at: int
    """When it was registered, the last time."""


class Served(NamedTuple):
    """That a version answered requests."""

    version: str
    environment: str
    last_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the registry knows, as far as it bears on some artifacts."""

    places: tuple[Place, ...] = ()
    mentions: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Component -> the digests in its body, of artifacts and of other components."""
    versions: Mapping[str, Version] = field(default_factory=dict)
    made: tuple[tuple[Ref, Ref], ...] = ()
    """Child and parent, of every derivation."""
    deployments: tuple[Deployment, ...] = ()
    served: tuple[Served, ...] = ()
    tombstones: tuple[Tombstone, ...] = ()


class Verdict(NamedTuple):
    """What is to become of a place, and by which rule."""

    place: Place
    rule: str
    why: str
    versions: tuple[str, ...] = ()
    """The composite versions that need the artifact."""

    @property
    def is_collected(self) -> bool:
        """Whether its bytes are to be collected."""
        return self.rule in COLLECTED_BY
