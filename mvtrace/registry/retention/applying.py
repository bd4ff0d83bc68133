"""Applying a plan: place by place, so that wherever it is interrupted, running again ends the same.

In: a plan, who keeps the registry, and the storage. Out: what became of each place.

1. The bytes are hashed. Only if they are the artifact's, and no link makes the place that of
   another artifact as well, is anything else done.
2. ``collect`` is stored: the registry finds once more that no rule keeps the artifact, and refuses
   from then on to deploy what needs it. With it the list of the files.
3. The files are removed, each only if it still is the one that was hashed.
4. ``collected`` is stored: the tombstone.

Interrupted before 2, nothing was done. Interrupted later, a ``collect`` without an end is found: by
its list of files the rest is told from whatever else lies there by now, removed, and 4 is done.
Where nothing was removed and something is against it, ``release`` takes 2 back; a storage that
fails may have removed all the same, so only if all files are found whole once more.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from mvtrace.errors import MvtraceError
from mvtrace.registry.retention.links import Reached
from mvtrace.registry.retention.places import File, ForeignError, Found, Storage, files_of, proves
from mvtrace.registry.retention.plans import Plan
from mvtrace.registry.retention.tombstones import COLLECT, COLLECTED, RELEASE, Tombstone
from mvtrace.registry.retention.uris import Where
from mvtrace.registry.retention.values import RULES, RUNNING, Policy, Verdict

DONE: Final = "collected"
ALREADY: Final = "already"
KEPT: Final = "kept"
ABSENT: Final = "absent"
FOREIGN: Final = "foreign"
FAILED: Final = "failed"
OUTCOMES: Final[Mapping[str, str]] = {
    DONE: "collected",
    ALREADY: "was collected before",
    KEPT: "kept after all: a rule holds by now",
    ABSENT: "not found from here, so nothing was done",
    FOREIGN: "left alone: what lies there is not the artifact",
    FAILED: "could not be done",
}
TROUBLES: Final = (FOREIGN, FAILED)
MAX_LISTING: Final = 4 * 1024 * 1024
"""The list of an artifact's files travels in one request: some 30,000 files."""


class KeptError(Exception):
    """A rule keeps an artifact by now; the text says why."""

    def __init__(self, why: str, rule: str) -> None:
        super().__init__(why)
        self.rule = rule if rule in RULES else RUNNING


class Outcome(NamedTuple):
    """What became of one place."""

    verdict: Verdict
    outcome: str
    why: str = ""
    left: int = 0
    """Files that lie there still, and are none of the artifact's."""
    rule: str = ""
    """The rule that keeps it by now."""


class Keeper(Protocol):
    """Who keeps the registry."""

    def states(self) -> Mapping[tuple[str, str], Tombstone]:
        """Return the last step of each place."""

    def take(self, step: Tombstone, *, policy: Policy, listing: str) -> Tombstone:
        """Have *step* stored, and return what is stored of it.

        Raises:
            KeptError: a rule keeps the artifact.
            MvtraceError: it is not stored.
        """

    def listing(self, reference: Mapping[str, Any]) -> bytes | None:
        """Return the list of files that a step refers to; None where it is not stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Applying:
    """One run over a plan."""

    plan: Plan
    keeper: Keeper
    storage: Storage
    reason: str = ""
    claimed_actor: str = ""
    host: str = ""
    """The host that files lie on, where this one had another name; without it this one."""

    def run(self) -> Iterator[Outcome]:
        """Yield what became of each place of the plan, in its order.

        Raises:
            MvtraceError: the registry does not answer; running again ends what was begun.
        """
        states = self.keeper.states()
        reached = Reached(one.place.uri for one in self.plan.verdicts)
        for verdict in self.plan.collected:
            try:
                state = states.get((verdict.place.artifact, verdict.place.uri))
                yield self._one(verdict, state, reached)
            except ForeignError as error:
                yield Outcome(verdict, FOREIGN, str(error))
            except MvtraceError:
                raise
            except Exception as error:  # noqa: BLE001 (drivers of storages raise what they like)
                why = getattr(error, "strerror", None) or str(error) or type(error).__name__
                yield Outcome(verdict, FAILED, str(why))

    def _one(self, verdict: Verdict, state: Tombstone | None, reached: Reached) -> Outcome:
        place = verdict.place
        where = Where.parse(place.uri)
        if state is not None and state.action == COLLECTED:
            return Outcome(verdict, ALREADY)
        if near := reached.near(where):
            return Outcome(verdict, FOREIGN, f"through a link it shares its place with {near}")
        if state is not None and state.action == COLLECT:
            return self._ended(verdict, where, state)
        return self._begun(verdict, where)

    def _begun(self, verdict: Verdict, where: Where) -> Outcome:
        """Collect what nobody began to collect."""
        found = self.storage.find(where)
        if found is None:
            return Outcome(verdict, ABSENT)
        listing = found.listing
        if not proves(listing, verdict.place.artifact):
            return Outcome(verdict, FOREIGN, "its bytes do not have the artifact's digest")
        if len(listing) > MAX_LISTING:
            why = f"the list of its files takes {len(listing):,} bytes, over {MAX_LISTING:,}"
            return Outcome(verdict, FAILED, why)
        try:
            taken = self._take(verdict, COLLECT, where, listing.decode())
        except KeptError as error:
            return Outcome(verdict, KEPT, str(error), rule=error.rule)
        if taken.action == COLLECTED:
            return Outcome(verdict, ALREADY)
        return self._removed(verdict, where, found, found.files)

    def _ended(self, verdict: Verdict, where: Where, begun: Tombstone) -> Outcome:
        """End a collection that was interrupted."""
        if where.scheme == "file" and begun.host != self._host(where):
            return Outcome(verdict, FAILED, _elsewhere(begun.host))
        listing = self.keeper.listing(begun.listing or {})
        if listing is None or not proves(listing, begun.artifact):
            return Outcome(verdict, FAILED, "the list of its files is not stored")
        rest, is_whole = self._rest(where, files_of(listing))
        if not rest.files and self._host(where) not in ("", socket.gethostname()):
            why = f"nothing of it is here, so nothing shows that this is {begun.host}: put it back"
            return Outcome(verdict, FAILED, why)
        try:
            self._take(verdict, COLLECT, where, listing.decode())
        except KeptError as error:
            if not is_whole:
                return Outcome(verdict, FAILED, f"part of it is gone already, but: {error}")
            self._take(verdict, RELEASE, where, why=str(error))
            return Outcome(verdict, KEPT, str(error), rule=error.rule)
        return self._removed(verdict, where, rest, files_of(listing))

    def _is_whole(self, where: Where, listed: tuple[File, ...]) -> bool:
        """Whether all files *listed* are there; not where that cannot be seen."""
        try:
            return self._rest(where, listed)[1]
        except (ForeignError, OSError):
            return False

    def _rest(self, where: Where, files: tuple[File, ...]) -> tuple[Found, bool]:
        """Return what is left of *files*, and whether that is all of them."""
        listed = set(files)
        found = self.storage.find(where) or Found((), {})
        left = tuple(one for one in found.files if one in listed)
        return Found(left, found.marks), len(left) == len(listed)

    def _removed(
        self, verdict: Verdict, where: Where, found: Found, listed: tuple[File, ...]
    ) -> Outcome:
        """Remove what was *found* of the files *listed*, and have the end stored."""
        removed = 0
        try:
            for _ in self.storage.remove(where, found, listed):
                removed += 1
        except (ForeignError, OSError) as error:
            if not removed and self._is_whole(where, listed):
                self._take(verdict, RELEASE, where, why=str(error))
            raise
        self._take(verdict, COLLECTED, where)
        # Whoever registered the place may have claimed any size.
        size = sum(one.bytes for one in listed)
        verdict = verdict._replace(place=verdict.place._replace(bytes=size))
        try:
            return Outcome(verdict, DONE, left=self.storage.left(where))
        except (ForeignError, OSError) as error:
            return Outcome(verdict, DONE, f"what lies there by now: {error}")

    def _take(
        self, verdict: Verdict, action: str, where: Where, listing: str = "", *, why: str = ""
    ) -> Tombstone:
        place = verdict.place
        step = Tombstone(
            action=action,
            artifact=place.artifact,
            uri=place.uri,
            size=place.bytes,
            reason=why or (f"{self.reason} ({verdict.why})" if self.reason else verdict.why),
            plan=self.plan.digest,
            host=self._host(where),
            claimed_actor=self.claimed_actor,
        )
        return self.keeper.take(step, policy=self.plan.policy, listing=listing)

    def _host(self, where: Where) -> str:
        return (self.host or socket.gethostname()) if where.scheme == "file" else ""


def _elsewhere(host: str) -> str:
    return f"it was begun on the host {host}: run it there, or with --host {host} if this is it"
