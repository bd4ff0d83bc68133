"""The sides of a rollout as the code of a request knows them: values, without I/O.

In: the systems that a rollout chooses from, and what is in force of it. Out: for each side what the
application is told, what the record says, and what every span carries.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from mvtrace import semconv
from mvtrace.capture.assigning import Draw
from mvtrace.capture.declared import Composite, Declared, Pinned
from mvtrace.otlp import LogEvent

STABLE: Final = "stable"
CANARY: Final = "canary"


class Arm(NamedTuple):
    """Which side of a rollout serves the request in progress: what an application runs by."""

    name: str
    """``stable``, ``canary``, or the name that ``MVTRACE_ARM`` gives."""
    composite_version: str | None = None
    """64 hex digits; None where no version is known."""
    composite: Composite | None = None
    """The composite that was handed to ``rollout`` for this side, where one was."""
    rollout: str | None = None
    """The id of the rollout that drew; None where none is running."""
    share: float | None = None
    """The share of units that is planned for the canary."""

    @property
    def is_canary(self) -> bool:
        """Whether this is the canary's side.

        A promoted version serves as stable: which system to run is told by ``composite_version``.
        """
        return self.name == CANARY


class Side(NamedTuple):
    """One side, all that a request needs of it made once."""

    arm: Arm
    declared: Declared
    flags: Mapping[str, str] | None
    """On every span; None where nothing was drawn."""


class KnownVersion(NamedTuple):
    """A version that this process knows by its digest alone; no part of it can be compared."""

    version: str
    name: str
    kinds: tuple[str, ...] = ()
    """Kinds of its components: what a request meets of them is no news."""
    components: tuple[Pinned, ...] = ()

    def events(self, *, register_content: bool = True) -> Iterator[LogEvent]:  # noqa: ARG002
        """Yield nothing: whoever told of it has it registered."""
        return iter(())


class Force(NamedTuple):
    """What is in force: the side of a request that is not drawn for, and both of those that are."""

    idle: Side
    draw: Draw | None = None
    stable: Side | None = None
    canary: Side | None = None

    def side(self, name: str) -> Side:
        """Return the side called *name*: whatever is not the canary is served as stable is."""
        found = self.canary if name == CANARY else self.stable
        return found or self.idle


def idle(declared: Declared, name: str = STABLE) -> Side:
    """Return the side of requests that no rollout is about."""
    return Side(_arm(name, declared), declared, None)


def drawn(draw: Draw, stable: Declared, canary: Declared) -> Force:
    """Return both sides of a rollout that runs."""
    sides = {
        name: Side(
            _arm(name, declared)._replace(rollout=draw.rollout, share=draw.share),
            declared,
            flags_of(draw.rollout, name),
        )
        for name, declared in ((STABLE, stable), (CANARY, canary))
    }
    return Force(idle(stable), draw, sides[STABLE], sides[CANARY])


def flags_of(rollout: str, arm: str) -> dict[str, str]:
    """Return the attributes by which other tools know which variant a span belongs to."""
    return {semconv.FEATURE_FLAG_KEY: rollout, semconv.FEATURE_FLAG_VARIANT: arm}


def declared_known(known: KnownVersion) -> Declared:
    """Return what is declared by a version of which only the kinds of its parts are known."""
    declared = Declared(known)
    # Never none: where nothing is declared, a version is made of what requests meet.
    declared.kinds = frozenset(known.kinds or ("unknown",))
    return declared


def _arm(name: str, declared: Declared) -> Arm:
    composite = declared.composite
    held = None if isinstance(composite, KnownVersion) else composite
    return Arm(name, declared.version, held)
