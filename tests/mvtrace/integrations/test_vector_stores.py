"""Searches of vector stores, observed where they are made: index as queried, documents, one call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from captured import Captured
from captured_table import record
from index_stores import DIMENSION, Store
from index_stores_more import STORES

import mvtrace
from mvtrace.capture import retrieval_calls
from mvtrace.integrations import searches
from mvtrace.integrations.instrument import uninstrument

pytestmark = pytest.mark.usefixtures("instrumented")

VECTORS = np.random.default_rng(7).normal(size=(12, DIMENSION)).astype(np.float32)
NEAREST = 3
"""The vector that every search here asks with."""


def in_usearch(store: Any, k: int) -> list[object]:
    return list(store.index.search(VECTORS[NEAREST], k).keys)


def in_faiss(store: Any, k: int) -> list[object]:
    return list(store.index.search(VECTORS[NEAREST : NEAREST + 1], k)[1][0])


def in_lancedb(store: Any, k: int) -> list[object]:
    return [row["id"] for row in store.table.search(VECTORS[NEAREST]).limit(k).to_list()]


def in_chroma(store: Any, k: int) -> list[object]:
    found = store.collection.query(query_embeddings=[VECTORS[NEAREST]], n_results=k)
    return list(found["ids"][0])


def in_qdrant(store: Any, k: int) -> list[object]:
    return [
        point.id for point in store.client.query_points("docs", VECTORS[NEAREST], limit=k).points
    ]


def in_hnswlib(store: Any, k: int) -> list[object]:
    return list(store.index.knn_query(VECTORS[NEAREST], k)[0][0])


def in_milvus(store: Any, k: int) -> list[object]:
    found = store.client.search("docs", [VECTORS[NEAREST].tolist()], limit=k)
    return [hit["id"] for hit in found[0]]


Find = Callable[[Any, int], list[object]]
FIND: dict[str, tuple[str, str, Find]] = {
    "usearch": ("usearch", "usearch", in_usearch),
    "faiss": ("faiss", "faiss-cpu", in_faiss),
    "lancedb": ("lancedb", "lancedb", in_lancedb),
    "chroma": ("chromadb", "chromadb", in_chroma),
    "qdrant": ("qdrant_client", "qdrant-client", in_qdrant),
    "hnswlib": ("hnswlib", "hnswlib", in_hnswlib),
    "milvus": ("pymilvus", "pymilvus", in_milvus),
}
"""By the name of the store: what is imported, what is installed, and a search in it."""
HEAVY = frozenset(FIND) - {"usearch", "faiss"}


@pytest.fixture(
    params=[
        pytest.param(name, marks=[pytest.mark.stores] if name in HEAVY else []) for name in FIND
    ]
)
def filled(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Store, Find]]:
    """A store with VECTORS in it, and how it is searched."""
    module, _, find = FIND[request.param]
    pytest.importorskip(module)
    store = STORES[request.param](tmp_path)
    store.fill(VECTORS)
    yield store, find
    store.close()


def test_search(
    captured: Captured, filled: tuple[Store, Find], request: pytest.FixtureRequest
) -> None:
    """
    A search is answered as ever; its call names where it was asked from, the index in its state,
    and what came back; a changed index is another snapshot.
    """
    store, find = filled
    uninstrument()
    expected = find(store, 4)
    mvtrace.instrument()

    with mvtrace.request(route="/first"):
        found = find(store, 4)
    store.put(len(VECTORS), -VECTORS[0])
    with mvtrace.request(route="/second"):
        later = find(store, 4)

    first, second = captured.records
    assert found == expected
    assert str(found[0]) == str(NEAREST)
    for one, answer in ((first, found), (second, later)):
        assert [call.kind for call in one.calls] == ["retrieval"]
        (snapshot,) = one.index_snapshots
        assert one.calls[0].name == snapshot.name == f"{__name__}.{find.__name__}"
        assert [document.id for document in snapshot.documents] == [str(each) for each in answer]
        assert all(document.score is not None for document in snapshot.documents)
        assert snapshot.digest is not None
        assert snapshot.query_digest is None  # of a vector, none
    assert first.index_snapshots[0].digest != second.index_snapshots[0].digest
    assert [drift.what for drift in second.drift] == ["changed"]
    name = next(iter(request.node.callspec.params.values()))
    record(
        FIND[name][1], version(FIND[name][1]), ["index snapshot", "documents", "scores", "top k"]
    )


def test_one_call_where_the_application_wraps_it(captured: Captured, tmp_path: Path) -> None:
    """
    Within a retrieval of the application's own there is one call: its index is the one that is
    searched, and what came back is known without a word.
    """
    store = STORES["faiss"](tmp_path)
    store.fill(VECTORS)

    with mvtrace.request(route="/r"), mvtrace.retrieval("notes", query="why?", top_k=2):
        found = in_faiss(store, 2)

    (one,) = captured.records
    (snapshot,) = one.index_snapshots
    assert [call.name for call in one.calls] == ["notes"]
    assert (snapshot.name, snapshot.size, snapshot.top_k) == ("notes", 12, 2)
    assert [document.id for document in snapshot.documents] == [str(each) for each in found]
    assert snapshot.query_digest is not None


def test_a_pinned_index_is_what_it_was_pinned_as(captured: Captured, tmp_path: Path) -> None:
    """
    Where the application says which component it searches, that is looked at and nothing else.
    """
    store = STORES["usearch"](tmp_path)
    store.fill(VECTORS)
    pinned = store.pin("docs")

    with mvtrace.request(route="/r"), mvtrace.retrieval("find", index=pinned) as call:
        in_usearch(store, 3)
        call.documents([("a", 0.5)])

    (one,) = captured.records
    (snapshot,) = one.index_snapshots
    assert (snapshot.name, snapshot.digest) == ("docs", pinned.digest)
    assert [document.id for document in snapshot.documents] == ["a"]


def test_several_queries_at_once(captured: Captured, tmp_path: Path) -> None:
    """
    A search with many vectors is one call; what was found is told to its bound, and what FAISS
    fills up with is not told.
    """
    faiss, usearch = STORES["faiss"](tmp_path), STORES["usearch"](tmp_path)
    faiss.fill(VECTORS[:2])
    usearch.fill(VECTORS[:2])

    with mvtrace.request(route="/r"):
        faiss.index.search(VECTORS, 3)  # type: ignore[attr-defined]
        usearch.index.search(VECTORS, 3)  # type: ignore[attr-defined]
        faiss.index.search(np.repeat(VECTORS, 50, axis=0), 2)  # type: ignore[attr-defined]

    (one,) = captured.records
    seen = [len(snapshot.documents) for snapshot in one.index_snapshots]
    assert seen == [24, 24, retrieval_calls.MAX_DOCUMENTS]
    assert one.capture is not None
    assert one.capture.truncated == 1


def test_outside_of_requests_nothing_is_looked_at(
    captured: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Whoever fills or tries an index without a request does not pay for its hash.
    """
    store = STORES["usearch"](tmp_path)
    store.fill(VECTORS)
    looked: list[object] = []
    monkeypatch.setattr(searches, "Search", lambda *given: looked.append(given))

    in_usearch(store, 3)

    assert looked == []
    assert captured.records == []


@pytest.mark.parametrize("part", ["retrieval", "current_call", "call_site", "AWAITING"])
def test_no_failure_of_ours_reaches_the_library(
    captured: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """
    Whatever of ours raises, the search answers as ever.
    """
    store = STORES["faiss"](tmp_path)
    store.fill(VECTORS)
    expected = in_faiss(store, 4)
    monkeypatch.setattr(searches, part, None)

    with mvtrace.request(route="/r"):
        found = in_faiss(store, 4)

    assert found == expected
    assert [one.outcome for one in captured.records] == ["ok"]


def test_an_error_of_the_library_is_its_own(captured: Captured, tmp_path: Path) -> None:
    """
    A search that fails raises what it raises, and the call says so.
    """
    store = STORES["faiss"](tmp_path)
    store.fill(VECTORS)

    with mvtrace.request(route="/r"), pytest.raises(AssertionError):
        store.index.search(VECTORS[:, :3], 4)  # type: ignore[attr-defined]

    (one,) = captured.records
    assert [(call.outcome, call.error_type) for call in one.calls] == [("error", "AssertionError")]


@pytest.mark.stores
def test_words(captured: Captured) -> None:
    """
    An index of words tells documents by their numbers, and no text of them.
    """
    bm25s = pytest.importorskip("bm25s")
    texts = ["a cat purrs", "a dog barks", "a bird sings"]
    index = bm25s.BM25()
    index.index(bm25s.tokenize(texts, show_progress=False), show_progress=False)
    asked = bm25s.tokenize("dog", show_progress=False)

    with mvtrace.request(route="/r"):
        index.retrieve(asked, k=2, show_progress=False)
        index.retrieve(asked, corpus=texts, k=2, show_progress=False)

    (one,) = captured.records
    numbered, named = one.index_snapshots
    assert numbered.documents[0].id == "1"
    assert named.documents == ()
    assert numbered.digest == named.digest is not None
    record("bm25s", version("bm25s"), ["index snapshot", "documents", "scores", "top k"])
