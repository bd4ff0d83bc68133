"""Index snapshots of each vector store, with the real library: what makes another, and what not.

In CI the stores of the first tier; MVTRACE_TEST_STORES names others, separated by commas.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import index_stores_more  # noqa: F401 (adds its stores)
import numpy as np
import pytest
from captured import Captured
from index_stores import FIRST_TIER, STORES, Store, has, vectors_of

import mvtrace
from mvtrace.capture.guard import BREAKER
from mvtrace.components import Component, IndexState, ObservedIndex
from mvtrace.components.fingerprint import FULL_ITEMS

NAMES = os.environ.get("MVTRACE_TEST_STORES", ",".join(FIRST_TIER)).split(",")
COUNT = 60
VECTORS = vectors_of(COUNT)
OTHER = vectors_of(COUNT, seed=8)

pytestmark = pytest.mark.stores


def able(ability: str) -> pytest.MarkDecorator:
    """The stores that can be asked for *ability*."""
    return pytest.mark.parametrize(
        "store", [name for name in NAMES if has(STORES[name], ability)], indirect=True
    )


@pytest.fixture(params=NAMES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made = STORES[request.param](tmp_path)
    yield made
    made.close()


def now(component: Component) -> IndexState:
    assert isinstance(component.source, ObservedIndex)
    return component.source.current()


def later(component: Component, store: Store) -> IndexState:
    """The state once a look that was put off is due, and the last hash is old."""
    time.sleep(store.rest_s)
    if not store.sees_exchange:
        assert isinstance(component.source, ObservedIndex)
        component.source._hashed_at -= 3600
    return now(component)


def test_rebuild_with_the_same_content(store: Store) -> None:
    """
    An index built anew of the same vectors is the same snapshot, and a pinned one says nothing.
    """
    store.fill(VECTORS)
    component = store.pin()
    assert now(component).digest == component.digest

    store.fill(VECTORS)

    assert store.pin().digest == component.digest
    assert component.facts["snapshot"]["size"] == COUNT
    assert component.facts["snapshot"]["method"] == "full"
    assert "native_version" not in component.facts["snapshot"]


def test_rebuild_is_queried_under_the_old_handle(store: Store) -> None:
    """
    What was pinned before the rebuild gives the same digest after it, where it leads there.
    """
    store.fill(VECTORS)
    component = store.pin()
    is_named = bool(store.where())

    store.fill(VECTORS)

    if is_named:
        assert later(component, store).digest == component.digest


def test_same_content_in_another_order(store: Store) -> None:
    """
    Order of insertion makes no other snapshot, but where a position is the id.
    """
    order = np.random.default_rng(5).permutation(COUNT).tolist()
    store.fill(VECTORS)
    component = store.pin()

    store.fill(VECTORS, order)

    assert (store.pin().digest == component.digest) is store.has_ids


@pytest.mark.parametrize(
    "change",
    [
        lambda store: store.put(COUNT, OTHER[0]),
        lambda store: store.remove(17),
    ],
    ids=["added", "removed"],
)
def test_vector_added_or_removed(store: Store, change: Callable[[Store], None]) -> None:
    """
    One vector more or less is another snapshot.
    """
    store.fill(VECTORS)
    component = store.pin()
    size = now(component).snapshot.size

    change(store)

    state = later(component, store)
    assert state.digest not in (component.digest, None)
    assert state.snapshot.size != size


def test_vector_exchanged(store: Store) -> None:
    """
    Another vector under an id is another snapshot, and the former vector the former snapshot.
    """
    store.fill(VECTORS)
    store.put(17, VECTORS[17])  # some normalize one vector otherwise than many, by its last bit
    component = store.pin()

    store.put(17, OTHER[17])
    changed = later(component, store).digest
    store.put(17, VECTORS[17])

    assert changed not in (component.digest, None)
    assert later(component, store).digest == component.digest


@able("move_alias")
def test_alias_moved(store: Store) -> None:
    """
    A name that leads to another collection is another snapshot, and tells which it leads to.
    """
    store.fill(VECTORS)
    component = store.pin()
    before = now(component)

    store.move_alias(OTHER)

    state = now(component)
    assert state.digest not in (component.digest, None)
    if before.native_version is not None:
        assert state.native_version != before.native_version


def test_large_index_is_sampled(store: Store) -> None:
    """
    Above the limit all ids and the vectors of a sample are hashed, and the facts say so.
    """
    if not store.has_ids or type(store).__name__ == "Files":
        pytest.skip("it is hashed as a whole")
    vectors = vectors_of(FULL_ITEMS + 500, dimension=store.dimension)
    store.fill(vectors)
    store.put(FULL_ITEMS, vectors[FULL_ITEMS])
    component = store.pin()
    assert component.facts["snapshot"]["method"] == "sampled"
    assert now(component).digest == component.digest

    store.remove(FULL_ITEMS)

    assert later(component, store).digest != component.digest
    store.put(FULL_ITEMS, vectors[FULL_ITEMS])
    assert later(component, store).digest == component.digest


@able("break_it")
def test_index_that_fails(store: Store, captured: Captured) -> None:
    """
    While the index fails requests go on: the failure is counted, and the snapshot is absent.
    """
    store.fill(VECTORS)
    component = store.pin()
    store.break_it()
    time.sleep(store.rest_s)

    for _ in range(3):
        with mvtrace.request(route="ask"), mvtrace.retrieval("search", index=component) as call:
            call.documents([("a", 0.5)])

    for record in captured.records:
        [snapshot] = record.index_snapshots
        assert (snapshot.digest, snapshot.fingerprint, snapshot.method) == (
            None, None, "unavailable",
        )  # fmt: skip
        assert snapshot.expected == component.digest
        assert [document.id for document in snapshot.documents] == ["a"]
        assert record.capture is not None
        assert record.capture.errors == 1
        assert record.observed == ()
    assert len(captured.records) == 3
    assert not BREAKER.is_open


def test_index_that_nobody_pinned(store: Store, captured: Captured) -> None:
    """
    A call that is handed the index itself has its snapshot; that it changed is seen, not declared.
    """
    store.fill(VECTORS)
    source = store.source()
    live = (source, store.where()["collection"]) if store.where() else source

    for at in range(2):
        with mvtrace.request(route="ask"), mvtrace.retrieval("docs", index=live):
            pass
        store.put(COUNT + at, OTHER[at])
        time.sleep(store.rest_s)

    snapshots = [record.index_snapshots[0] for record in captured.records]
    assert {one.what for record in captured.records for one in record.drift} <= {"changed"}
    assert [shot.size for shot in snapshots] == [COUNT, COUNT + 1]
    assert len({shot.digest for shot in snapshots} - {None}) == 2


def test_facts_name_library_and_embedding_model(store: Store) -> None:
    """
    The facts tell library, version and dimension; another embedding model is another index.
    """
    store.fill(VECTORS)
    component = store.pin(embedding_model="e5-small")

    facts: dict[str, Any] = component.facts
    assert facts["library"]
    assert facts["embedding_model"] == {"name": "e5-small"}
    assert store.pin(embedding_model="e5-large").digest != component.digest
    if facts["library"] not in ("files", "bm25s"):
        assert facts["library_version"]
        assert facts["snapshot"]["dimension"] == store.dimension
