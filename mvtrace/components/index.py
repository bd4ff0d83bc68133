"""index(): pins a retrieval index, and keeps it to tell at query time whether it is still that one.

In: a live index of a known library, a plain Python object, anything with the three methods of
IndexSource, or a path. Out: a Component whose source is an ObservedIndex. No library of indexes is
imported here: an adapter is chosen by the module that the object's class comes from, and imported
only then.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import FunctionType, MethodType
from typing import Any, Final

from mvtrace.components.component import Component, Draft
from mvtrace.components.index_source import IndexSource
from mvtrace.components.observed import ObservedIndex
from mvtrace.errors import CanonicalFormError, ComponentError

ADAPTERS: Final = {
    "usearch": "index_usearch.UsearchIndex",
    "faiss": "index_faiss.FaissIndex",
    "hnswlib": "index_hnswlib.HnswlibIndex",
    "bm25s": "index_bm25s.Bm25sIndex",
    "lancedb": "index_lancedb.LanceIndex",
    "chromadb": "index_chroma.ChromaIndex",
    "qdrant_client": "index_qdrant.QdrantIndex",
    "sqlite3": "index_sqlite_vec.SqliteVecIndex",
    "pysqlite3": "index_sqlite_vec.SqliteVecIndex",
    "apsw": "index_sqlite_vec.SqliteVecIndex",
    "psycopg": "index_pgvector.PgvectorIndex",
    "psycopg_pool": "index_pgvector.PgvectorIndex",
    "pymilvus": "index_milvus.MilvusIndex",
}
"""The package an object's class comes from, and the adapter for it."""
WITHOUT_COLLECTIONS: Final = frozenset({"usearch", "faiss", "hnswlib", "bm25s"})
_PLAIN: Final = "index_plain.PlainIndex"
_HERE: Final = __name__.rpartition(".")[0]


def index(  # noqa: PLR0913 (one keyword a fact)
    name: str,
    source: object,
    /,
    *,
    collection: str | None = None,
    embedding_model: Component | str | None = None,
    lock: AbstractContextManager[Any] | None = None,
    digest: str | None = None,
    label: str | None = None,
    **settings: object,
) -> Component:
    """Pin an index by its content, and keep *source* to tell at query time whether it changed.

    *source* is an index of ``usearch``, ``faiss``, ``hnswlib`` or ``bm25s``; a table of LanceDB, a
    collection of Chroma; a client or connection of those, of Qdrant, Milvus, PostgreSQL (pgvector)
    or SQLite (sqlite-vec), with the name or alias of the *collection* or table that is queried; a
    dict or list or NumPy array of vectors or documents (see mvtrace.components.index_plain); an
    object with the methods of IndexSource; a function without parameters that returns one of those
    (for an application that swaps its index, or opens it anew for each query); or the path of index
    files, pinned by their content and not observed (where they are read anew for each query, give
    mvtrace.components.FilesIndex(path)).

    *lock* is held while the index is read; give the one that guards its changes, unless the library
    allows reading and writing at once (of those in memory usearch does, faiss and hnswlib do not).
    It must be re-entrant if retrieval happens under it.

    Raises:
        ComponentError: no adapter fits *source*, or its content cannot be read.

    """
    draft = Draft("index", name, label, digest)
    if isinstance(embedding_model, Component):
        draft.add(embedding_model=draft.add_part("embedding_model", embedding_model))
    elif embedding_model is not None:
        draft.add(embedding_model={"name": embedding_model})
    draft.add_settings(settings)
    if isinstance(source, (str, os.PathLike)):
        draft.add_artifact(source)
        return draft.pin()
    observed = ObservedIndex(finder(draft, source, collection), draft.facts, lock=lock)
    draft.facts = _first_facts(draft, observed)
    return draft.pin(source=observed)


def _first_facts(draft: Draft, observed: ObservedIndex) -> dict[str, Any]:
    """Return what the index is now, or raise a ComponentError."""
    try:
        return observed.current().facts
    except CanonicalFormError as error:
        raise draft.error(
            f"of its content, {error.message[:1].lower()}{error.message[1:]}",
            hint="Items are arrays, bytes, dataclasses or JSON values; "
            "for others give an object with the methods of mvtrace.components.IndexSource.",
        ) from error
    except ComponentError:
        raise
    except Exception as error:
        raise draft.error(
            f"its content cannot be read: {type(error).__name__}: {error}",
            hint="If other threads change it meanwhile, give lock=… that guards it.",
        ) from error


def finder(
    draft: Draft, source: object, collection: str | None = None
) -> Callable[[], IndexSource]:
    """Return what gives the adapter of *source*, or of what it returns if it is a function.

    Raises:
        ComponentError: no adapter fits *source*; for a function, when it is called.

    """
    if not isinstance(source, (FunctionType, MethodType)):
        adapter = _adapter(draft, source, collection)
        return lambda: adapter
    last: list[Any] = [None, None]

    def find() -> IndexSource:
        live = source()
        if live is not last[0] or last[1] is None:
            found: IndexSource = _adapter(draft, live, collection)
            last[:] = [live, last[1] if _is_same(found, last[1]) else found]
        adapter: IndexSource = last[1]
        return adapter

    return find


def adapter_class(place: str) -> Any:
    """Return the adapter at *place*, ``module.Class`` of this package."""
    module, _, name = place.partition(".")
    return getattr(importlib.import_module(f"{_HERE}.{module}"), name)


def _is_same(one: IndexSource, other: IndexSource | None) -> bool:
    """Whether both read the same index, although over two objects."""
    identity = getattr(one, "identity", None)
    return identity is not None and identity == getattr(other, "identity", None)


def _adapter(draft: Draft, live: object, collection: str | None) -> IndexSource:
    if isinstance(live, IndexSource) and not isinstance(live, type):
        return live
    roots = {cls.__module__.partition(".")[0] for cls in type(live).__mro__}
    library = next((name for name in ADAPTERS if name in roots), None)
    adapter: IndexSource | None
    if library is None or library in WITHOUT_COLLECTIONS:
        _refuse_collection(draft, live, collection)
        adapter = adapter_class(ADAPTERS[library] if library else _PLAIN).over(live)
    else:
        adapter = adapter_class(ADAPTERS[library]).over(live, collection)
    if adapter is not None:
        return adapter
    raise draft.error(
        f"no adapter fits a {_class_of(live)}{_of(collection)}.",
        hint="Give an index, table or synchronous client of a known library, with collection=… "
        "where it has several; a dict, list or NumPy array, a path, or an object with the methods "
        "of mvtrace.components.IndexSource.",
    )


def _refuse_collection(draft: Draft, live: object, collection: str | None) -> None:
    if collection is not None:
        raise draft.error(
            f"a {_class_of(live)} has no collections, so none called {collection!r}.",
            hint="Leave collection=… out.",
        )


def _class_of(live: object) -> str:
    return f"{type(live).__module__}.{type(live).__qualname__}"


def _of(collection: str | None) -> str:
    return "" if collection is None else f" with a collection {collection!r}"
