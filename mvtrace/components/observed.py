"""ObservedIndex: a live index, and the component digest it would have now.

In: an adapter. Out: an IndexState, from memory as long as the adapter's change signal stays the
same, else by a new snapshot. Left out: how content is read; that is the adapter's part.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any, Final

from mvtrace.components.index_source import IndexSource, SnapshotFacts
from mvtrace.digest import COMPONENT_DOMAIN, canonical_bytes, digest_of
from mvtrace.errors import IndexUnavailableError

MAX_AGE_S: Final = 5.0
"""How long a change that no counter shows may stay unseen while the index is queried …"""
MAX_AGE_IN_HASHES: Final = 200
"""… or this many times as long as hashing takes, where that is longer: looking for what will rarely
be found shall take half a percent of the time at most."""
HASH_SHARE: Final = 0.05
"""Share of wall time that hashing an index that does change may take in the long run …"""
HASH_BURST_S: Final = 1.0
"""… and the seconds of it that may come at once."""
RETRY_S: Final = 1.0
"""How long an index that failed to answer is not asked again, at first …"""
RETRY_MOST_S: Final = 60.0
"""… and at most, after it failed again and again: a store that is down holds up no requests."""


@dataclass(frozen=True, slots=True)
class IndexState:
    """An index as it is now."""

    digest: str | None
    """Digest of the component it would be pinned as; None if it changed and the time for hashing is
    used up: then only counts are known."""
    facts: dict[str, Any]
    """The facts under *digest*; with *digest* None, without a fingerprint."""
    native_version: str | None = None
    """The library's own version, or the collection behind an alias. Where there is a fingerprint it
    is not under *digest*: the same content rebuilt has another one."""

    @property
    def snapshot(self) -> SnapshotFacts:
        """The part of the facts that says what the content is."""
        known = {"native_version": self.native_version, **self.facts["snapshot"]}
        return SnapshotFacts(**known)


class ObservedIndex:
    """A live index: current() tells its state, from memory as long as nothing seems changed.

    It is safe to call from several threads. *find* returns the adapter of the index in use now;
    *pinned* are facts that the caller declared (embedding model, settings).
    """

    def __init__(
        self,
        find: Callable[[], IndexSource],
        pinned: Mapping[str, Any],
        *,
        lock: AbstractContextManager[Any] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._find = find
        self._pinned = dict(pinned)
        self._index_lock = nullcontext() if lock is None else lock
        self._lock = threading.Lock()
        self._clock = clock
        self._budget_s = HASH_BURST_S
        self._max_age_s = MAX_AGE_S
        self._refilled_at = self._hashed_at = clock()
        self._source: IndexSource | None = None
        self._signal: Hashable = None
        self._state: IndexState | None = None
        self._retry_s = RETRY_S
        self._retry_at = float("-inf")

    def current(self) -> IndexState:
        """Return the state now.

        Raises:
            CanonicalFormError: the adapter describes the index by what JSON cannot hold.
            IndexUnavailableError: it failed a moment ago, and is not asked again yet.
            Exception: whatever the index raises when it is read.

        """
        with self._index_lock, self._lock:
            wait_s = self._retry_at - self._clock()
            if wait_s > 0:
                raise IndexUnavailableError(wait_s)
            try:
                state = self._look()
            except Exception:
                self._retry_at = self._clock() + self._retry_s
                self._retry_s = min(2 * self._retry_s, RETRY_MOST_S)
                raise
            self._retry_s = RETRY_S
            return state

    def _look(self) -> IndexState:
        source = self._find()
        signal = source.change_signal()
        state = self._state if source is self._source and signal == self._signal else None
        now = self._clock()
        if state is not None and now - self._hashed_at < self._max_age_s:
            return state
        self._refill(now)
        if state is None and self._state is not None and self._budget_s <= 0:
            return self._unhashed(source)
        return self._hash(source, signal)

    def _refill(self, now: float) -> None:
        earned = (now - self._refilled_at) * HASH_SHARE
        self._budget_s = min(HASH_BURST_S, self._budget_s + earned)
        self._refilled_at = now

    def _hash(self, source: IndexSource, signal: Hashable) -> IndexState:
        before = self._clock()
        snapshot = source.snapshot()
        facts = self._facts(source, snapshot)
        body = canonical_bytes({"kind": "index", "facts": facts})
        digest = digest_of(COMPONENT_DOMAIN, body)
        self._state = IndexState(digest, facts, snapshot.native_version)
        # The signal from before: what changed meanwhile is seen by the next call.
        self._source, self._signal = source, signal
        self._hashed_at = self._clock()
        cost_s = self._hashed_at - before
        self._budget_s -= cost_s
        self._max_age_s = max(MAX_AGE_S, cost_s * MAX_AGE_IN_HASHES)
        if getattr(source, "is_exact", False):
            self._max_age_s = float("inf")
        return self._state

    def _unhashed(self, source: IndexSource) -> IndexState:
        size = getattr(source, "size", None)
        counts = SnapshotFacts(size=size if isinstance(size, int) else None, method="changed")
        return IndexState(None, self._facts(source, counts))

    def _facts(self, source: IndexSource, snapshot: SnapshotFacts) -> dict[str, Any]:
        known = {key: value for key, value in asdict(snapshot).items() if value is not None}
        if snapshot.fingerprint is not None:
            known.pop("native_version", None)
        return {**source.describe(), **self._pinned, "snapshot": known}
