"""``mvtrace.rollout``: which of two systems serves a request, and that everybody can prove it.

In: the two systems, or what the registry says of them; a share; who is drawn for. Out: for each
request its side, on the record, on every span, and for the application by ``current_arm``. The hash
decides alone, so a unit keeps its side in every process. What was decided about the service is
asked for in the background and kept in a file: no request waits, and a server starts alone.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, Final

from mvtrace.capture.arms import (
    CANARY,
    STABLE,
    Arm,
    Force,
    KnownVersion,
    Side,
    declared_known,
    drawn,
    flags_of,
    idle,
)
from mvtrace.capture.asgi import Scope
from mvtrace.capture.assigning import Draw, UnitDigests, rollout_id, share_of
from mvtrace.capture.declared import Composite, Declared, declared_by
from mvtrace.capture.exchange import RequestExchange
from mvtrace.capture.guard import fail_open
from mvtrace.capture.pipeline import Tracing
from mvtrace.capture.rollout_following import Follower
from mvtrace.capture.rollout_told import Told
from mvtrace.capture.unit_key import REQUEST, SUBJECT, KeyFunction, UnitKey, key_bytes, unit_key
from mvtrace.errors import ConfigurationError
from mvtrace.records import Assignment

System = Composite | str
REFRESH_S: Final = 10.0
MIN_REFRESH_S: Final = 0.05
MAX_TEXT: Final = 128
_SAY_S: Final = 60.0

_log: Final = logging.getLogger("mvtrace")
_live: Final[weakref.WeakSet[Rollout]] = weakref.WeakSet()


class Rollout:
    """Two systems and how requests are shared between them; see ``rollout``."""

    def __init__(  # noqa: PLR0913 (what a rollout is made of, by name)
        self,
        *,
        stable: System | None,
        canary: System | None,
        share: float | None,
        key: UnitKey,
        name: str | None,
        unkeyed: str,
        refresh_s: float,
    ) -> None:
        self._stable, self._canary = stable, canary
        self._share, self._key, self._name = share, key, name
        self._is_drawn_unkeyed = unkeyed == REQUEST
        self._refresh_s = refresh_s
        self._lock = threading.Lock()
        self._tracing: Tracing | None = None
        self._follower: Follower | None = None
        self._place: tuple[str | None, ...] = ()
        """Whose rollout it is: collector, project, service, environment."""
        self._digests: tuple[Tracing, UnitDigests] | None = None
        self._said_at: dict[str, float] = {}
        self._missed = 0
        known = None if stable is None or isinstance(stable, str) else stable
        self.declared = Declared(known)
        """What serves until more is known: the stable system, where it was handed over."""
        self.declared.rollout = self
        self._force = self._idle(self.declared)
        _live.add(self)

    # What is in force

    @property
    def arm(self) -> Arm:
        """The side that nothing is drawn for: what to run where ``current_arm`` is None.

        In a process that is disabled it is the stable system as it was handed over: no decision
        is followed there.
        """
        return self._force.idle.arm

    def prepare(self, tracing: Tracing) -> None:
        """Find out what is in force while the server starts, so that its first requests know."""
        self._bind(tracing)
        _ = tracing.digest_key_bytes  # units are digested with it, and it may be in a file
        if self._follower is not None:
            self._follower.wait_first()

    def _bind(self, tracing: Tracing) -> None:
        with self._lock:
            if tracing is self._tracing:
                return
            if self._follower is not None:
                self._follower.stop()
                self._follower = None
            try:
                self._begin(tracing)
            finally:  # last: who finds it bound goes by what is in force, and does not wait
                self._tracing = tracing

    def _begin(self, tracing: Tracing) -> None:
        config, before = tracing.config, self._place
        self._place = (config.url, config.project, config.service, config.environment)
        for one in (self._stable, self._canary):
            if one is not None and not isinstance(one, str):
                tracing.register(one)
        names = [one for one in (self._stable, self._canary) if isinstance(one, str)]
        if self._share is not None and not names:
            self._force = self._fixed(self.declared, declared_by(self._held(self._canary)))
            return
        if before not in {(), self._place}:
            self._force = self._idle(self.declared)  # what was decided was about another place
        if config.environment is None:
            self._warn("No decision about %s is followed: set MVTRACE_ENVIRONMENT", config.service)
            return
        self._follower = Follower(
            config, names, self._hear, lambda: tracing.is_closed, refresh_s=self._refresh_s
        )
        self._follower.begin()

    @fail_open
    def _hear(self, told: Told) -> None:
        """Let what was *told* be in force: one assignment, which requests see or do not see yet."""
        if self._share is None:
            self._force = self._followed(told)
            return
        stable, canary = (self._named(one, told) for one in (self._stable, self._canary))
        if stable is not None and canary is not None:
            self._force = self._fixed(stable, canary)
        else:
            unknown = [text for text, known in told.named.items() if known is None]
            self._warn("No or several registered versions are called %s", ", ".join(unknown))

    def _fixed(self, stable: Declared, canary: Declared) -> Force:
        """Return the sides of a rollout whose share the application has set."""
        *_, service, environment = self._place
        # Not of the stable version: the next one of it shall not draw anew for the same canary.
        found = self._name or rollout_id(
            service=service, environment=environment, canary=canary.version
        )
        return drawn(Draw(found, self._share or 0.0), stable, canary)

    def _followed(self, told: Told) -> Force:
        """Return what the decisions about the service mean for a process with these systems."""
        stable = self._system(told.stable, told)
        if told.rollout is not None and told.canary is not None:
            canary = self._system(told.canary, told)
            if told.stable is None:  # nobody said what serves: it is what this process has
                stable = self._named(self._stable, told)
            if stable is not None and canary is not None:
                return drawn(Draw(told.rollout, told.share), stable, canary)
            self._say(told.canary if canary is None else told.stable)
        return self._idle(stable or self._named(self._stable, told) or self.declared)

    def _idle(self, stable: Declared) -> Force:
        """Return what is in force where nothing is drawn; who is called the canary still is it."""
        canary = self._held(self._canary)
        side = None if canary is None else idle(declared_by(canary), CANARY)
        return Force(idle(stable), canary=side)

    def _system(self, told_of: KnownVersion | None, told: Told) -> Declared | None:
        """Return the system of this process that is the version *told_of*."""
        if told_of is None:
            return None
        if self._stable is None and self._canary is None:
            return declared_known(told_of)
        for one in (self._stable, self._canary):
            held = self._named(one, told)
            if held is not None and held.version == told_of.version:
                return held
        return None

    def _named(self, one: System | None, told: Told) -> Declared | None:
        if isinstance(one, str):
            known = told.named.get(one)
            return None if known is None else declared_known(known)
        if one is not None and one is self.declared.composite:
            return self.declared
        return None if one is None else declared_by(one)

    @staticmethod
    def _held(one: System | None) -> Composite | None:
        return None if isinstance(one, str) else one

    def _say(self, missing: KnownVersion | None) -> None:
        if missing is not None:
            text = "This process has no system of version %s, so no request is drawn for"
            self._warn(text, missing.version[:12])

    def _warn(self, text: str, *about: object) -> None:
        now = time.monotonic()
        if now - self._said_at.get(text, float("-inf")) > _SAY_S:
            self._said_at[text] = now
            _log.warning(text, *about)

    # A request

    @fail_open
    def enter(self, exchange: RequestExchange, scope: Scope, named: str | None) -> None:
        """Say which side serves *exchange*; *named* is the side that somebody else has chosen."""
        if exchange.tracing is not self._tracing:
            self._bind(exchange.tracing)
        exchange.chooser = self
        if self._key.form == SUBJECT and self._force.draw is not None:
            exchange.undecided = self
            if named is None:
                exchange.serve(self._force.idle)
                return
        find = self._key.find
        self._decide(exchange, None if find is None else self._tried(find, scope), named)

    @fail_open
    def settle(self, exchange: RequestExchange, key: object) -> None:
        """Draw for *key*, which the application has named; the first naming holds."""
        if exchange.undecided is not self or exchange.is_finished:
            return
        exchange.undecided = None
        if exchange.tracing is not self._tracing:
            self._bind(exchange.tracing)
        self._decide(exchange, self._tried(key_bytes, key), exchange.arm)

    def _tried(self, find: Callable[[Any], bytes | None], said: object) -> bytes | None:
        """Return the key that *find* makes of *said*; None where it fails.

        That is the application's error and not tracing's, and its text may tell the key.
        """
        try:
            return find(said)
        except Exception as error:  # noqa: BLE001 (the application's own function)
            self._missed += 1
            text = "No key of a rollout was found, which is text, bytes or an int: %s (%d so far)"
            self._warn(text, type(error).__name__, self._missed)
            return None

    def _decide(self, exchange: RequestExchange, key: bytes | None, named: str | None) -> None:
        force, kind = self._force, self._key.kind
        draw = force.draw
        if key is None and (self._is_drawn_unkeyed or self._key.form == REQUEST):
            key, kind = exchange.request_id.encode(), REQUEST
        if draw is None or (key is None and named is None):
            exchange.serve(force.idle if named is None else force.side(named))
            return
        if named is None and key is not None:
            side = force.side(CANARY if draw.is_canary(key) else STABLE)
        else:
            side = _called(force.side(named or STABLE), named or STABLE, draw)
        facts: dict[str, Any] = {"rollout": draw.rollout, "share": draw.share}
        if key is not None:
            facts["unit"] = self._digests_of(exchange.tracing, draw.rollout).of(key)
            facts["unit_kind"] = kind
        if named is not None:
            facts["basis"] = "named"
        exchange.serve(side, Assignment.holding(facts))

    def _digests_of(self, tracing: Tracing, rollout: str) -> UnitDigests:
        known = self._digests
        if known is None or known[0] is not tracing or known[1].rollout != rollout:
            known = self._digests = (tracing, UnitDigests(tracing.digest_key_bytes, rollout))
        return known[1]

    def after_fork(self) -> None:
        """Find out anew in the child: threads stay with the parent."""
        self._lock = threading.Lock()
        self._tracing = self._follower = None


def _called(side: Side, name: str, draw: Draw) -> Side:
    """Return *side* under the *name* that somebody else has given it."""
    if side.arm.name == name and side.flags is not None:
        return side
    return Side(side.arm._replace(name=name), side.declared, flags_of(draw.rollout, name))


def rollout(  # noqa: PLR0913 (what a rollout is made of, by name)
    *,
    key: str | KeyFunction,
    stable: System | None = None,
    canary: System | None = None,
    share: float | None = None,
    unit: str | None = None,
    name: str | None = None,
    unkeyed: str = STABLE,
    refresh_s: float = REFRESH_S,
) -> Rollout:
    """Share requests between two systems: ``TraceMiddleware(app, composite=mvtrace.rollout(…))``.

    *stable* and *canary* are composites, or the digits or names of registered ones; without them
    both are what ``mvtrace deploy`` and ``mvtrace canary`` say of this service in this environment.
    Without *share* so is the share. *key* says for whom is drawn: ``header:NAME``, ``cookie:NAME``,
    ``subject`` (whom ``mvtrace.subject`` names), ``request`` (each for itself) or a function over
    the ASGI scope; *unit* is what such a one is called. It never leaves the process. Requests
    without a key are served by the stable system and belong to no side, or with *unkeyed*
    ``request`` are drawn for one by one. *name* is the id of a rollout with a share of its own;
    without it service, environment and canary are.

    Raises:
        ConfigurationError: an argument that cannot be.
    """
    _check_share(share, name, is_whole=stable is not None and canary is not None)
    for role, one in (("stable", stable), ("canary", canary)):
        if not _is_system(one):
            raise ConfigurationError(
                role, one, "it is a composite, or the digits or name of a registered one"
            )
    if unkeyed not in (STABLE, REQUEST):
        raise ConfigurationError("unkeyed", unkeyed, "it is stable or request")
    if not refresh_s >= MIN_REFRESH_S:
        raise ConfigurationError("refresh_s", refresh_s, f"it is at least {MIN_REFRESH_S}")
    return Rollout(
        stable=stable,
        canary=canary,
        share=share,
        key=unit_key(key, unit),
        name=name,
        unkeyed=unkeyed,
        refresh_s=refresh_s,
    )


def _check_share(share: object, name: str | None, *, is_whole: bool) -> None:
    """Refuse a share that is none, and a name for what has one already."""
    if share is not None:
        share_of(share)
        if not is_whole:
            raise ConfigurationError("share", share, "it is between a stable and a canary system")
    elif name is not None:
        raise ConfigurationError("name", name, "without a share the decision's id is the name")
    if name is not None and not _is_line(name):
        raise ConfigurationError("name", name, f"it is a line of at most {MAX_TEXT} characters")


def _is_system(one: object) -> bool:
    if one is None or (isinstance(one, str) and _is_line(one)):
        return True
    return hasattr(one, "version") and hasattr(one, "components")


def _is_line(text: object) -> bool:
    return isinstance(text, str) and 0 < len(text) <= MAX_TEXT and text.isprintable()


def arm_of(exchange: RequestExchange) -> Arm | None:
    """Return which side serves *exchange*; asking settles that where it was still open."""
    if exchange.undecided is not None and exchange.arm is None:
        exchange.undecided.settle(exchange, None)
    side = exchange.side
    if side is not None:
        return side.arm if exchange.arm is None else side.arm._replace(name=exchange.arm)
    if exchange.arm is None:
        return None
    return Arm(exchange.arm, exchange.composite_version, exchange.declared.composite)


@fail_open
def _after_fork_in_child() -> None:
    for one in list(_live):
        one.after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
