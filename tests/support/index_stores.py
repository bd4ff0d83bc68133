"""One way to fill, change and break each vector store: what the tests of index snapshots share.

Libraries are imported by the store that needs them, so that each can have an environment of its own.
"""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import mvtrace
from mvtrace.components import Component

DIMENSION = 8
FIRST_TIER = (
    "usearch",
    "faiss",
    "lancedb",
    "lancedb-database",
    "chroma",
    "chroma-client",
    "chroma-memory",
    "qdrant",
    "qdrant-memory",
    "sqlite-vec",
    "sqlite-vec-apsw",
)
SECOND_TIER = ("hnswlib", "bm25s", "milvus", "pgvector", "files")


def vectors_of(count: int, *, seed: int = 7, dimension: int = DIMENSION) -> Any:
    """Return *count* vectors, the same in every process."""
    return np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)


class Store(ABC):
    """A library with one index in it, or several where it has collections."""

    sees_exchange: ClassVar[bool] = True
    """Whether a vector exchanged under its id is seen with the next query."""
    has_ids: ClassVar[bool] = True
    """Whether an item has an id of its own, or its position is its id."""
    rest_s: ClassVar[float] = 0.0
    """How long after a look the next is put off."""

    def __init__(self, folder: Path, *, dimension: int = DIMENSION) -> None:
        self.folder = folder
        self.dimension = dimension
        self.filled = 0

    def fill(self, vectors: Any, order: Sequence[int] | None = None) -> None:
        """Make a new index of *vectors*, added in *order*; the old one goes."""
        self.filled += 1
        self.clear()
        self.add_all([int(at) for at in (range(len(vectors)) if order is None else order)], vectors)

    def pin(self, name: str = "docs", **facts: Any) -> Component:
        """Return the component of the index as an application pins it."""
        return mvtrace.index(name, self.source(), **self.where(), **facts)

    def where(self) -> dict[str, str]:
        """Return which collection of the source it is."""
        return {}

    @abstractmethod
    def source(self) -> Any:
        """Return what the application queries."""

    @abstractmethod
    def clear(self) -> None:
        """Have an empty index."""

    @abstractmethod
    def add_all(self, order: Sequence[int], vectors: Any) -> None:
        """Add the vectors at the places in *order*."""

    @abstractmethod
    def put(self, at: int, vector: Any) -> None:
        """Add a vector under the id *at*, or exchange it."""

    @abstractmethod
    def remove(self, at: int) -> None:
        """Remove the vector with the id *at*."""

    def close(self) -> None:  # noqa: B027 (most have nothing to give back)
        """Give everything back."""


def has(store: type[Store], ability: str) -> bool:
    """Whether *store* can be asked for *ability*."""
    return hasattr(store, ability)


class Usearch(Store):
    sees_exchange = False

    def source(self) -> Any:
        return self.index

    def clear(self) -> None:
        from usearch.index import Index

        self.index = Index(ndim=self.dimension, metric="cos", dtype="f32")

    def add_all(self, order: Sequence[int], vectors: Any) -> None:
        self.index.add(np.array(order), vectors[order])

    def put(self, at: int, vector: Any) -> None:
        if at in self.index:
            self.index.remove(at)
        self.index.add(at, vector)

    def remove(self, at: int) -> None:
        self.index.remove(at)


class Faiss(Store):
    sees_exchange = False

    def source(self) -> Any:
        return self.index

    def clear(self) -> None:
        import faiss

        self.index = faiss.IndexIDMap2(faiss.IndexFlatIP(self.dimension))

    def add_all(self, order: Sequence[int], vectors: Any) -> None:
        self.index.add_with_ids(vectors[order], np.array(order))

    def put(self, at: int, vector: Any) -> None:
        self.remove(at)
        self.index.add_with_ids(vector.reshape(1, -1), np.array([at]))

    def remove(self, at: int) -> None:
        self.index.remove_ids(np.array([at]))


class Lance(Store):
    """A database of one table."""

    table: Any = None

    def __init__(self, folder: Path, *, dimension: int = DIMENSION) -> None:
        import lancedb

        super().__init__(folder, dimension=dimension)
        self.database = lancedb.connect(folder / "lance")

    def clear(self) -> None:
        import pyarrow as pa

        vector = pa.list_(pa.float32(), self.dimension)
        columns = {"id": pa.int64(), "text": pa.string(), "vector": vector}
        schema = pa.schema(list(columns.items()))
        self.table = self.database.create_table("docs", schema=schema, mode="overwrite")

    def add_all(self, order: Sequence[int], vectors: Any) -> None:
        self.table.add([self.row(at, vectors[at]) for at in order])

    def put(self, at: int, vector: Any) -> None:
        self.remove(at)
        self.table.add([self.row(at, vector)])

    def row(self, at: int, vector: Any) -> dict[str, Any]:
        return {"id": at, "text": f"text {at}", "vector": vector}

    def remove(self, at: int) -> None:
        self.table.delete(f"id = {at}")


class LanceTable(Lance):
    """A table object, moved to the newest state by the application."""

    def source(self) -> Any:
        return self.table

    def move_alias(self, vectors: Any) -> None:
        self.table.tags.create("prod", self.table.version)
        before = self.table.version
        self.put(1, vectors[1])
        self.table.tags.update("prod", self.table.version)
        assert self.table.version != before
        self.table.checkout("prod")


class LanceDatabase(Lance):
    """A database, with the name of a table in it."""

    def source(self) -> Any:
        return self.database

    def where(self) -> dict[str, str]:
        return {"collection": "docs"}

    def break_it(self) -> None:
        shutil.rmtree(self.folder / "lance")


class Chroma(Store):
    """A collection of a client with a folder."""

    client: Any = None

    def make_client(self) -> Any:
        import chromadb
        from chromadb.config import Settings

        settings = Settings(anonymized_telemetry=False)
        return chromadb.PersistentClient(str(self.folder / "chroma"), settings=settings)

    def source(self) -> Any:
        return self.collection

    def clear(self) -> None:
        self.client = self.client or self.make_client()
        if self.filled > 1:
            self.client.delete_collection("docs")
        self.collection = self.client.create_collection("docs", embedding_function=None)

    def add_all(self, order: Sequence[int], vectors: Any) -> None:
        for at in range(0, len(order), 1000):
            page = order[at : at + 1000]
            texts = [f"text {one}" for one in page]
            self.collection.add(
                ids=[str(one) for one in page], embeddings=vectors[page], documents=texts
            )

    def put(self, at: int, vector: Any) -> None:
        self.collection.upsert(ids=[str(at)], embeddings=[vector], documents=[f"text {at}"])

    def remove(self, at: int) -> None:
        self.collection.delete(ids=[str(at)])

    def break_it(self) -> None:
        self.client.delete_collection("docs")

    def close(self) -> None:
        self.client.close()


class ChromaClient(Chroma):
    """A client, with the name of a collection."""

    def source(self) -> Any:
        return self.client

    def where(self) -> dict[str, str]:
        return {"collection": "docs"}

    def move_alias(self, vectors: Any) -> None:
        green = self.client.create_collection("docs-green", embedding_function=None)
        self.collection.modify(name="docs-blue")
        self.collection = green
        self.add_all(list(range(len(vectors))), vectors)
        green.modify(name="docs")


class ChromaMemory(Chroma):
    """A collection of a client in memory."""

    sees_exchange = False

    def make_client(self) -> Any:
        import chromadb
        from chromadb.config import Settings

        client = chromadb.EphemeralClient(Settings(anonymized_telemetry=False))
        if any(one.name == "docs" for one in client.list_collections()):
            client.delete_collection("docs")  # all clients in memory share one
        return client


class Qdrant(Store):
    """An alias in a local client with a folder."""

    def __init__(self, folder: Path, *, dimension: int = DIMENSION) -> None:
        super().__init__(folder, dimension=dimension)
        self.client = self.make_client()
        self.behind = ""

    def make_client(self) -> Any:
        from qdrant_client import QdrantClient

        return QdrantClient(path=str(self.folder / "qdrant"))

    def source(self) -> Any:
        return self.client

    def where(self) -> dict[str, str]:
        return {"collection": "docs"}

    def clear(self) -> None:
        from qdrant_client import models

        name, before = f"docs-{self.filled}", self.behind
        space = models.VectorParams(size=self.dimension, distance=models.Distance.COSINE)
        self.client.create_collection(name, vectors_config=space)
        alias = models.CreateAlias(collection_name=name, alias_name="docs")
        self.client.update_collection_aliases([models.CreateAliasOperation(create_alias=alias)])
        if before:
            self.client.delete_collection(before)
        self.behind = name

    def add_all(self, order: Sequence[int], vectors: Any) -> None:
        self.client.upload_collection(
            self.behind, vectors=vectors[order], ids=list(order),
            payload=[{"text": f"text {at}"} for at in order],
        )  # fmt: skip

    def put(self, at: int, vector: Any) -> None:
        from qdrant_client import models

        point = models.PointStruct(id=at, vector=vector.tolist(), payload={"text": f"text {at}"})
        self.client.upsert(self.behind, [point])

    def remove(self, at: int) -> None:
        self.client.delete(self.behind, [at])

    def move_alias(self, vectors: Any) -> None:
        self.fill(vectors)

    def break_it(self) -> None:
        self.client.delete_collection(self.behind)

    def close(self) -> None:
        self.client.close()


class QdrantMemory(Qdrant):
    sees_exchange = False

    def make_client(self) -> Any:
        from qdrant_client import QdrantClient

        return QdrantClient(":memory:")


class SqliteVec(Store):
    """A connection of pysqlite3 with one ``vec0`` table."""

    connection: Any = None

    def connect(self) -> Any:
        import pysqlite3

        return pysqlite3.connect(str(self.folder / "docs.sqlite"), isolation_level=None)

    def source(self) -> Any:
        return self.connection

    def clear(self) -> None:
        import sqlite_vec

        if self.connection is None:
            self.connection = self.connect()
            self.connection.enable_load_extension(True)
            self.connection.load_extension(sqlite_vec.loadable_path())
        self.connection.execute("DROP TABLE IF EXISTS docs")
        self.connection.execute(
            "CREATE VIRTUAL TABLE docs USING vec0(id integer primary key, "
            f"embedding float[{self.dimension}] distance_metric=cosine, +text text)"
        )

    def add_all(self, order: Sequence[int], vectors: Any) -> None:
        self.connection.execute("BEGIN")
        self.connection.executemany("INSERT INTO docs VALUES (?, ?, ?)", self.rows(order, vectors))
        self.connection.execute("COMMIT")

    def rows(self, order: Sequence[int], vectors: Any) -> Iterable[tuple[int, bytes, str]]:
        return [(at, vectors[at].tobytes(), f"text {at}") for at in order]

    def put(self, at: int, vector: Any) -> None:
        self.remove(at)
        values = (at, vector.tobytes(), f"text {at}")
        self.connection.execute("INSERT INTO docs VALUES (?, ?, ?)", values)

    def remove(self, at: int) -> None:
        self.connection.execute("DELETE FROM docs WHERE id = ?", (at,))

    def break_it(self) -> None:
        self.connection.execute("DROP TABLE docs")

    def close(self) -> None:
        self.connection.close()


class SqliteVecApsw(SqliteVec):
    """The same over a connection of apsw."""

    def connect(self) -> Any:
        import apsw

        return apsw.Connection(str(self.folder / "docs.sqlite"))


class Files(Store):
    """A folder of files that are read when they are queried."""

    rest_s = 0.2

    def source(self) -> Any:
        return mvtrace.components.FilesIndex(self.folder / "files")

    def clear(self) -> None:
        shutil.rmtree(self.folder / "files", ignore_errors=True)
        (self.folder / "files").mkdir()

    def add_all(self, order: Sequence[int], vectors: Any) -> None:
        for at in order:
            self.put(at, vectors[at])

    def put(self, at: int, vector: Any) -> None:
        (self.folder / "files" / f"{at}.bin").write_bytes(vector.tobytes())

    def remove(self, at: int) -> None:
        (self.folder / "files" / f"{at}.bin").unlink()

    def break_it(self) -> None:
        shutil.rmtree(self.folder / "files")


STORES: dict[str, type[Store]] = {
    "usearch": Usearch,
    "faiss": Faiss,
    "lancedb": LanceTable,
    "lancedb-database": LanceDatabase,
    "chroma": Chroma,
    "chroma-client": ChromaClient,
    "chroma-memory": ChromaMemory,
    "qdrant": Qdrant,
    "qdrant-memory": QdrantMemory,
    "sqlite-vec": SqliteVec,
    "sqlite-vec-apsw": SqliteVecApsw,
    "files": Files,
}
