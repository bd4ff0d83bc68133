"""Vector stores and text indexes, as they are searched: which index answered, in which state.

In: the search functions of FAISS, usearch, hnswlib, bm25s, LanceDB, Chroma, Qdrant and Milvus. Out:
a retrieval a search, under the function that asks. The index is hashed with its first query, and
again when its library says that it changed; a remote store is asked for that with each query, so
whoever finds this too dear pins the index at the start, or names the libraries to observe.

Left out: searches in SQL (sqlite-vec, pgvector), which say neither which table they search nor that
they are searches: ``mvtrace.retrieval`` wraps those. The index behind an asynchronous client cannot
be looked at from within its own event loop: its searches are recorded without a snapshot.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain
from typing import Any, Final

from mvtrace.capture.retrieval_calls import MAX_DOCUMENTS
from mvtrace.integrations.hooks import Hook
from mvtrace.integrations.searches import Asked, Hit, argument, search_of

_LANCE_SCORES: Final = ("_relevance_score", "_score", "_distance")
_NOBODY: Final = -1
"""What FAISS fills up with where it found less than it was asked for."""


def install_faiss() -> tuple[Hook, ...]:
    """Wrap the searches of every kind of index; each kind has its own."""
    import faiss  # noqa: PLC0415 (only where it is installed)

    kinds = {one for one in vars(faiss).values() if inspect.isclass(one)}
    kinds = {one for one in kinds if issubclass(one, faiss.Index)}
    begin = search_of(partial(_of_index, name="k"), _faiss_hits)
    names = ("search", "search_and_reconstruct")
    return tuple(Hook(kind, name, begin) for kind in kinds for name in names if name in vars(kind))


def install_usearch() -> tuple[Hook, ...]:
    """Wrap the search of an index."""
    from usearch.index import Index  # noqa: PLC0415

    return (Hook(Index, "search", search_of(partial(_of_index, name="count"), _usearch_hits)),)


def install_hnswlib() -> tuple[Hook, ...]:
    """Wrap the search of both kinds of index."""
    import hnswlib  # noqa: PLC0415

    begin = search_of(partial(_of_index, name="k"), lambda found: _pairs(found[0], found[1]))
    return tuple(Hook(kind, "knn_query", begin) for kind in (hnswlib.Index, hnswlib.BFIndex))


def install_bm25s() -> tuple[Hook, ...]:
    """Wrap the search of an index of words."""
    from bm25s import BM25  # noqa: PLC0415

    return (Hook(BM25, "retrieve", search_of(_of_words, _bm25s_hits)),)


def install_lancedb() -> tuple[Hook, ...]:
    """Wrap what runs a search: every other way to its result goes through there."""
    from lancedb import query  # noqa: PLC0415

    begin = search_of(_of_builder, _lance_hits)
    kinds = (
        query.LanceVectorQueryBuilder,
        query.LanceFtsQueryBuilder,
        query.LanceHybridQueryBuilder,
    )
    return tuple(Hook(kind, "to_arrow", begin) for kind in kinds)


def install_chroma() -> tuple[Hook, ...]:
    """Wrap the search of a collection, synchronous or not."""
    from chromadb.api.models.AsyncCollection import AsyncCollection  # noqa: PLC0415
    from chromadb.api.models.Collection import Collection  # noqa: PLC0415

    begin = search_of(_of_collection, _chroma_hits)
    return tuple(Hook(kind, "query", begin) for kind in (Collection, AsyncCollection))


def install_qdrant() -> tuple[Hook, ...]:
    """Wrap the search of a collection, synchronous or not."""
    from qdrant_client import AsyncQdrantClient, QdrantClient  # noqa: PLC0415

    begin = search_of(partial(_of_client, name="limit"), lambda found: _points(found.points))
    return tuple(Hook(kind, "query_points", begin) for kind in (QdrantClient, AsyncQdrantClient))


def install_milvus() -> tuple[Hook, ...]:
    """Wrap the search of a collection."""
    from pymilvus import MilvusClient  # noqa: PLC0415

    begin = search_of(partial(_of_client, name="limit"), _milvus_hits)
    return (Hook(MilvusClient, "search", begin),)


INSTALLED_BY: Final = {
    "faiss": install_faiss,
    "usearch": install_usearch,
    "hnswlib": install_hnswlib,
    "bm25s": install_bm25s,
    "lancedb": install_lancedb,
    "chromadb": install_chroma,
    "qdrant_client": install_qdrant,
    "pymilvus": install_milvus,
}
"""By the package that is imported."""
MODULES: Final = {"usearch": "usearch.index"}
"""Where a package is of use only with a module of its own."""


def _of_index(index: Any, *args: Any, name: str, **kwargs: Any) -> Asked:
    return Asked(index, argument(args, kwargs, 1, name))


def _of_words(index: Any, *_: Any, **kwargs: Any) -> Asked:
    return Asked(index, kwargs.get("k"))


def _of_builder(builder: Any, *_: Any, **__: Any) -> Asked:
    query = getattr(builder, "_query", None)
    is_text = isinstance(query, str)
    return Asked(builder._table, builder._limit, query if is_text else None)  # noqa: SLF001


def _of_collection(collection: Any, *args: Any, **kwargs: Any) -> Asked:
    texts = argument(args, kwargs, 1, "query_texts")
    one = texts[0] if isinstance(texts, list) and len(texts) == 1 else texts
    query = one if isinstance(one, str) else None
    return Asked(collection, argument(args, kwargs, 4, "n_results"), query)


def _of_client(client: Any, *args: Any, name: str, **kwargs: Any) -> Asked:
    collection = argument(args, kwargs, 0, "collection_name")
    return Asked((client, str(collection)), kwargs.get(name))


def _faiss_hits(found: Any) -> Iterator[Hit]:
    return (hit for hit in _pairs(found[1], found[0]) if hit[0] != _NOBODY)


def _usearch_hits(found: Any) -> Iterable[Hit]:
    counts = getattr(found, "counts", None)
    if counts is None:
        return _pairs(found.keys, found.distances)
    rows = ((found.keys[at][:held], found.distances[at][:held]) for at, held in enumerate(counts))
    return chain.from_iterable(_pairs(*row) for row in rows)


def _bm25s_hits(found: Any) -> Iterator[Hit]:
    for document, score in _pairs(getattr(found, "documents", found), getattr(found, "scores", ())):
        given = document.get("id") if isinstance(document, dict) else document
        if isinstance(given, int) or (isinstance(document, dict) and given is not None):
            yield given, score


def _lance_hits(found: Any) -> Iterable[Hit]:
    if "id" not in found.column_names:
        return ()
    few = found.slice(0, MAX_DOCUMENTS + 1)
    scores = next((name for name in _LANCE_SCORES if name in few.column_names), None)
    ids = few.column("id").to_pylist()
    return zip(ids, few.column(scores).to_pylist() if scores else [None] * len(ids), strict=True)


def _chroma_hits(found: Any) -> Iterator[Hit]:
    for at, ids in enumerate(found["ids"]):
        distances = found.get("distances")
        yield from zip(ids, distances[at] if distances else [None] * len(ids), strict=True)


def _milvus_hits(found: Any) -> Iterator[Hit]:
    for row in found:
        for hit in row:
            yield hit["id"], hit["distance"]


def _points(points: Iterable[Any]) -> Iterator[Hit]:
    return ((point.id, point.score) for point in points)


def _pairs(ids: Any, scores: Any) -> Iterator[Hit]:
    """Yield the first of two arrays of one shape, of one query or several."""
    flat_ids, flat_scores = ids.ravel()[: MAX_DOCUMENTS + 1], scores.ravel()[: MAX_DOCUMENTS + 1]
    return zip(flat_ids.tolist(), flat_scores.tolist(), strict=True)
