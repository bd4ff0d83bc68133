"""A live index: what it costs to look, and how long a change may stay unseen."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Mapping
from typing import Any

import mvtrace
from mvtrace.components import IndexSource, ObservedIndex, SnapshotFacts
from mvtrace.components.observed import HASH_BURST_S, MAX_AGE_S


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Store:
    """An index with a version of its own, like a database's; hashing it takes *cost_s*."""

    def __init__(self, clock: Clock, cost_s: float = 0.0) -> None:
        self.version = 1
        self.visible = 1
        self.size = 10
        self.snapshots = 0
        self._clock = clock
        self._cost_s = cost_s

    def write(self, *, visibly: bool = True) -> None:
        self.version += 1
        if visibly:
            self.visible = self.version

    def change_signal(self) -> Hashable:
        return self.visible

    def snapshot(self) -> SnapshotFacts:
        self.snapshots += 1
        self._clock.now += self._cost_s
        return SnapshotFacts(native_version=str(self.version), size=self.size, method="native")

    def describe(self) -> Mapping[str, Any]:
        return {"library": "store"}


def observed(store: IndexSource, clock: Clock) -> ObservedIndex:
    return ObservedIndex(lambda: store, {"settings": {"top_k": 3}}, clock=clock)


def test_object_with_the_three_methods() -> None:
    """
    Any object with the protocol's methods is an index; its component pins what they tell.
    """
    store = Store(Clock())

    component = mvtrace.index("docs", store, top_k=3)

    assert isinstance(store, IndexSource)
    assert component.facts == {
        "library": "store",
        "settings": {"top_k": 3},
        "snapshot": {"native_version": "1", "size": 10, "method": "native"},
    }
    assert isinstance(component.source, ObservedIndex)
    state = component.source.current()
    assert (state.digest, state.facts) == (component.digest, component.facts)
    assert state.snapshot == SnapshotFacts(native_version="1", size=10, method="native")


def test_nothing_is_hashed_while_nothing_changes() -> None:
    """
    As long as the signal stays, the state comes from memory.
    """
    clock = Clock()
    store = Store(clock)
    index = observed(store, clock)

    states = [index.current() for _ in range(100)]

    assert store.snapshots == 1
    assert len({state.digest for state in states}) == 1


def test_change_is_seen_at_once() -> None:
    """
    A changed signal gives another digest with the next query, and back again.
    """
    clock = Clock()
    store = Store(clock)
    index = observed(store, clock)
    before = index.current().digest
    store.write()
    assert index.current().digest != before

    store.version = store.visible = 1

    assert index.current().digest == before


def test_silent_change_is_seen_in_time() -> None:
    """
    A change that the signal does not show is found after MAX_AGE_S.
    """
    clock = Clock()
    store = Store(clock)
    index = observed(store, clock)
    before = index.current().digest
    store.write(visibly=False)
    clock.now += MAX_AGE_S - 0.01
    assert index.current().digest == before

    clock.now += 0.02

    assert index.current().digest != before


def test_hashing_takes_a_bounded_share_of_time() -> None:
    """
    An index that changes with every query is hashed for a burst, then now and then; between, the
    state says that it changed, how large it is, and no digest.
    """
    clock = Clock()
    store = Store(clock, cost_s=0.1)
    index = observed(store, clock)
    states = []
    for _ in range(1000):
        store.write()
        clock.now += 0.1
        states.append(index.current())

    elapsed = clock.now - 100.0
    assert store.snapshots * 0.1 <= HASH_BURST_S + 0.05 * elapsed + 0.2
    hashed = [state for state in states if state.digest is not None]
    assert len(hashed) == store.snapshots > HASH_BURST_S / 0.1
    unhashed = next(state for state in states if state.digest is None)
    assert unhashed.facts == {
        "library": "store",
        "settings": {"top_k": 3},
        "snapshot": {"size": 10, "method": "changed"},
    }

    clock.now += 60.0

    assert index.current().digest is not None


def test_index_that_is_dear_to_hash_is_looked_at_less_often() -> None:
    """
    Looking for changes that no signal shows takes half a percent of the time at most.
    """
    clock = Clock()
    store = Store(clock, cost_s=0.3)
    index = observed(store, clock)
    index.current()
    store.write(visibly=False)
    clock.now += 59.0
    assert (index.current().snapshot.native_version, store.snapshots) == ("1", 1)

    clock.now += 2.0

    assert (index.current().snapshot.native_version, store.snapshots) == ("2", 2)


def test_change_while_hashing_is_seen_by_the_next_query() -> None:
    """
    A write during the snapshot is not lost.
    """
    clock = Clock()

    class Busy(Store):
        def snapshot(self) -> SnapshotFacts:
            facts = super().snapshot()
            if self.snapshots == 1:
                self.write()
            return facts

    index = observed(Busy(clock), clock)

    assert index.current().snapshot.native_version == "1"
    assert index.current().snapshot.native_version == "2"


def test_application_that_swaps_its_index() -> None:
    """
    A function that returns the index in use follows every swap.
    """
    live: dict[str, Any] = {"index": {"a": "one"}}

    def current() -> Any:
        return live["index"]

    component = mvtrace.index("docs", current)
    assert isinstance(component.source, ObservedIndex)
    assert component.source.current().digest == component.digest

    live["index"] = {"a": "two"}
    assert component.source.current().digest != component.digest

    live["index"] = {"a": "one"}
    assert component.source.current().digest == component.digest


def test_lock_is_held_while_the_index_is_read() -> None:
    """
    Nothing of the index is read outside the lock that guards it.
    """
    lock = threading.RLock()
    held = []

    class Guarded(Store):
        def change_signal(self) -> Hashable:
            held.append(lock._is_owned())  # type: ignore[attr-defined]
            return super().change_signal()

        def snapshot(self) -> SnapshotFacts:
            held.append(lock._is_owned())  # type: ignore[attr-defined]
            return super().snapshot()

    component = mvtrace.index("docs", Guarded(Clock()), lock=lock)
    assert isinstance(component.source, ObservedIndex)
    with lock:
        component.source.current()

    assert held == [True, True, True]
    assert not lock._is_owned()  # type: ignore[attr-defined]


def test_threads_hash_a_change_once() -> None:
    """
    Several threads that meet the same change share one hash.
    """
    clock = Clock()
    store = Store(clock)
    index = observed(store, clock)
    index.current()
    store.write()
    found: list[str | None] = []
    threads = [
        threading.Thread(target=lambda: found.append(index.current().digest)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (store.snapshots, len(found), len(set(found))) == (2, 8, 1)
