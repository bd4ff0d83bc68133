"""The README's table of vector stores is what the stores' tests show."""

from __future__ import annotations

import tomllib
from pathlib import Path

import index_stores_more  # noqa: F401 (adds its stores)
import pytest
from index_stores import FIRST_TIER, SECOND_TIER, STORES, has

from mvtrace.components.index import ADAPTERS

ROOT = Path(__file__).resolve().parents[3]
README = (ROOT / "README.md").read_text()
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]

GIVEN = {
    "usearch": ("usearch", "index", "size, levels, some vectors"),
    "faiss": ("FAISS", "index", "size, settings, some vectors"),
    "lancedb": ("LanceDB", "table", "the version it stands at"),
    "lancedb-database": ("", "database, table's name", "the newest version"),
    "chroma": ("Chroma, a folder", "collection", "counters of its SQLite file"),
    "chroma-client": ("", "client, collection's name", "the same, and who has the name"),
    "chroma-memory": ("Chroma, memory or server", "collection, or client and name", "count"),
    "qdrant": ("Qdrant, a folder", "client, collection or alias", "count of writes"),
    "qdrant-memory": ("Qdrant, memory or server", "client, collection or alias", "count"),
    "sqlite-vec": (
        "sqlite-vec",
        "connection (sqlite3, pysqlite3, apsw), table",
        "SQLite's counters",
    ),
    "hnswlib": ("hnswlib", "index", "size, ef, some vectors"),
    "pgvector": (
        "pgvector",
        "psycopg connection or pool, table",
        "position of the log, row versions",
    ),
    "milvus": ("Milvus, Milvus Lite", "client, collection or alias", "count"),
    "bm25s": ("bm25s", "retriever", "which arrays, some scores"),
    "files": ("plain files", "`FilesIndex(path)`", "size, times, inode"),
}
"""Library, what is given to ``mvtrace.index``, and the signal asked with every query."""
WORDS = {True: "next query", False: "5 s or more"}


def row(name: str) -> str:
    """The row of a store: what is said of it, and what its tests hold."""
    store = STORES[name]
    seen = "a second or two" if store.rest_s >= 0.5 else WORDS[store.sees_exchange]
    alias = "yes" if has(store, "move_alias") else ""
    order = "" if store.has_ids else "yes"
    return f"| {' | '.join((*GIVEN[name], seen, alias, order))} |"


@pytest.mark.parametrize("name", GIVEN)
def test_row_of_the_readme(name: str) -> None:
    """
    Each store's row says when a changed vector is seen, and what else its tests hold.
    """
    assert row(name) in README


def test_every_adapter_has_a_row() -> None:
    """
    No adapter and no tested store is left out; each has an extra, or needs none.
    """
    tested = {"sqlite-vec-apsw", *GIVEN}
    modules = {place.partition(".")[0].removeprefix("index_") for place in ADAPTERS.values()}

    assert tested == {*FIRST_TIER, *SECOND_TIER}
    assert modules | {"files"} == {name.partition("-")[0] for name in GIVEN} - {"sqlite"} | {
        "sqlite_vec"
    }
    assert {name for name in GIVEN if name not in EXTRAS} == {
        "lancedb-database", "chroma-client", "chroma-memory", "qdrant-memory", "files",
    }  # fmt: skip
