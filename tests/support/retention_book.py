"""A registry in memory that keeps the steps of collections by the same rules as a collector does.

And moments: between any two things that an applied plan does, a test may kill it or let a deployment
arrive.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from retention_histories import NOW, deployed

from mvtrace.components.content import pin_content
from mvtrace.digest import ARTIFACT_DOMAIN, digest_of
from mvtrace.registry.errors import ArtifactKeptError
from mvtrace.registry.retention.applying import Applying, KeptError, Outcome
from mvtrace.registry.retention.places import File, Found, Storage
from mvtrace.registry.retention.plans import Plan
from mvtrace.registry.retention.steps import Wanted, taken
from mvtrace.registry.retention.tombstones import Came, Tombstone, latest
from mvtrace.registry.retention.uris import Where
from mvtrace.registry.retention.values import Known, Policy
from mvtrace.registry.retention.wholeness import artifacts_of, being_collected


class Killed(BaseException):
    """The process that applied a plan is no more."""


class Moments:
    """Calls something at each moment, with its number; it may raise Killed."""

    def __init__(self, at: Callable[[int], None] = lambda number: None) -> None:
        self.number = 0
        self._at = at

    def pass_one(self) -> None:
        number, self.number = self.number, self.number + 1
        self._at(number)


def killing(*numbers: int) -> Callable[[int], None]:
    """Return what kills at the moments *numbers*."""

    def at(number: int) -> None:
        if number in numbers:
            raise Killed(number)

    return at


@dataclass
class Book:
    """What is registered; *known* is everything, also the steps taken."""

    known: Known
    contents: dict[str, str]

    def deploy(self, version: str, environment: str) -> bool:
        """Deploy as a collector does; return whether it was decided."""
        needed = replace(self.known, versions={version: self.known.versions[version]})
        parts = {one.digest for one in artifacts_of(needed)} & self._needed(version)
        places = tuple(one for one in self.known.places if one.artifact in parts)
        needed = replace(needed, places=places)
        begun = [one for one in latest(self.known.tombstones).values() if one.action == "collect"]
        if being_collected(needed, version, begun):
            return False
        if any(one.is_gone for one in artifacts_of(needed)):
            return False
        number = len(self.known.deployments) + 1
        one = deployed(version, environment, "deploy", NOW - 1000 + number, number)
        self.known = replace(self.known, deployments=(*self.known.deployments, one))
        return True

    def _needed(self, version: str) -> set[str]:
        found: set[str] = set()
        waiting = list(self.known.versions[version].components)
        while waiting:
            new = self.known.mentions.get(waiting.pop(), frozenset()) - found
            found |= new
            waiting.extend(new)
        return found


@dataclass
class BookKeeper:
    """The book as an applied plan sees it, with a moment before and after whatever it does."""

    book: Book
    moments: Moments

    def states(self) -> Mapping[tuple[str, str], Tombstone]:
        self.moments.pass_one()
        return latest(self.book.known.tombstones)

    def take(self, step: Tombstone, *, policy: Policy, listing: str) -> Tombstone:
        self.moments.pass_one()
        try:
            answer = taken(Wanted(step=step, policy=policy, listing=listing), self.book.known, NOW)
        except ArtifactKeptError as error:
            raise KeptError(error.message, error.rule) from error
        if not answer.is_stored:
            said = self.book.known.tombstones
            came = Came(NOW // 10**6 + len(said) + 1, 1, 0, f"{len(said):032x}")
            # As it travels: by its bytes.
            stored = Tombstone.from_bytes(answer.step.to_bytes(), came=came)
            if listing:
                self.book.contents[pin_content(listing).reference["content"]["digest"]] = listing
            self.book.known = replace(self.book.known, tombstones=(*said, stored))
        self.moments.pass_one()
        return answer.step

    def listing(self, reference: Mapping[str, Any]) -> bytes | None:
        self.moments.pass_one()
        found = self.book.contents.get(reference["content"]["digest"])
        return None if found is None else found.encode()


class WatchedStorage(Storage):
    """The real storage, with a moment before and after each file it reads or removes."""

    def __init__(self, roots: tuple[Where, ...], moments: Moments) -> None:
        super().__init__(roots)
        self._moments = moments

    def find(self, where: Where) -> Found | None:
        self._moments.pass_one()
        found = super().find(where)
        self._moments.pass_one()
        return found

    def remove(self, where: Where, found: Found, listed: tuple[File, ...]) -> Iterator[File]:
        self._moments.pass_one()
        for one in super().remove(where, found, listed):
            self._moments.pass_one()
            yield one
        self._moments.pass_one()


def apply(plan: Plan, book: Book, roots: tuple[Where, ...], moments: Moments) -> list[Outcome]:
    """Apply *plan* until its end, or until it is killed."""
    run = Applying(
        plan=plan, keeper=BookKeeper(book, moments), storage=WatchedStorage(roots, moments)
    )
    return list(run.run())


def digest_of_files(files: Mapping[str, bytes]) -> str:
    """Return the artifact of *files*, 64 hex digits."""
    listing = listing_of(files)
    return digest_of(ARTIFACT_DOMAIN, listing).removeprefix("sha256:")


def listing_of(files: Mapping[str, bytes]) -> bytes:
    """Return the list of *files* as an artifact has it."""
    return Found(
        tuple(
            File(path, len(body), f"sha256:{hashlib.sha256(body).hexdigest()}")
            for path, body in sorted(files.items())
        ),
        {},
    ).listing
