"""The stores of the second tier, each of which is tested in an environment of its own."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from index_stores import DIMENSION, STORES, Store


class Hnswlib(Store):
    sees_exchange = False

    def source(self) -> Any:
        return self.index

    def clear(self) -> None:
        import hnswlib

        self.index = hnswlib.Index(space="cosine", dim=self.dimension)
        self.index.init_index(max_elements=200_000, M=8, ef_construction=20)

    def add_all(self, order: Sequence[int], vectors: Any) -> None:
        self.index.add_items(vectors[order], np.array(order))

    def put(self, at: int, vector: Any) -> None:
        self.index.add_items(vector.reshape(1, -1), np.array([at]))

    def remove(self, at: int) -> None:
        self.index.mark_deleted(at)


class Bm25s(Store):
    """Texts, a word for each number; a position is an id, and a change is a new index."""

    has_ids = False

    def source(self) -> Any:
        return lambda: self.index

    def clear(self) -> None:
        self.texts: list[str] = []

    def add_all(self, order: Sequence[int], vectors: Any) -> None:
        self.texts = [self.text(vectors[at]) for at in order]
        self.build()

    def text(self, vector: Any) -> str:
        return " ".join(f"word{int(abs(number) * 10)}" for number in vector)

    def build(self) -> None:
        import bm25s

        self.index = bm25s.BM25(corpus=list(self.texts))
        self.index.index(bm25s.tokenize(self.texts, show_progress=False), show_progress=False)

    def put(self, at: int, vector: Any) -> None:
        self.texts[at : at + 1] = [self.text(vector)]
        self.build()

    def remove(self, at: int) -> None:
        del self.texts[at]
        self.build()


class Milvus(Store):
    """An alias in a file of Milvus Lite."""

    sees_exchange = False

    def __init__(self, folder: Path, *, dimension: int = DIMENSION) -> None:
        from pymilvus import MilvusClient

        super().__init__(folder, dimension=dimension)
        self.client = MilvusClient(str(folder / "milvus.db"))
        self.behind = ""

    def source(self) -> Any:
        return self.client

    def where(self) -> dict[str, str]:
        return {"collection": "docs"}

    def clear(self) -> None:
        name, before = f"docs_{self.filled}", self.behind
        self.client.create_collection(name, dimension=self.dimension, metric_type="COSINE")
        if before:
            self.client.alter_alias(name, "docs")
            self.client.drop_collection(before)
        else:
            self.client.create_alias(name, "docs")
        self.behind = name

    def add_all(self, order: Sequence[int], vectors: Any) -> None:
        for at in range(0, len(order), 1000):
            rows = [self.row(one, vectors[one]) for one in order[at : at + 1000]]
            self.client.insert(self.behind, rows)

    def row(self, at: int, vector: Any) -> dict[str, Any]:
        return {"id": at, "vector": vector.tolist(), "text": f"text {at}"}

    def put(self, at: int, vector: Any) -> None:
        self.client.upsert(self.behind, [self.row(at, vector)])

    def remove(self, at: int) -> None:
        self.client.delete(self.behind, ids=[at])

    def move_alias(self, vectors: Any) -> None:
        self.fill(vectors)

    def break_it(self) -> None:
        self.client.drop_alias("docs")

    def close(self) -> None:
        self.client.close()


class Pgvector(Store):
    """A table of a PostgreSQL server that comes with pgvector."""

    rest_s = 1.5

    def __init__(self, folder: Path, *, dimension: int = DIMENSION) -> None:
        # The path of the server's socket has room for some hundred characters.
        self.home = tempfile.mkdtemp(prefix="mvtrace-")
        self.runtime = tempfile.mkdtemp(prefix="mvtrace-")
        os.environ.setdefault("XDG_RUNTIME_DIR", self.runtime)  # read when it is imported
        import pgserver
        import psycopg

        super().__init__(folder, dimension=dimension)
        self.server = pgserver.get_server(self.home)
        self.connection = psycopg.connect(self.server.get_uri(), autocommit=True)
        self.connection.execute("CREATE EXTENSION vector")

    def source(self) -> Any:
        return self.connection

    def where(self) -> dict[str, str]:
        return {"collection": "docs"}

    def clear(self, name: str = "docs") -> None:
        self.connection.execute(f"DROP TABLE IF EXISTS {name}")
        self.connection.execute(
            f"CREATE TABLE {name} (id int PRIMARY KEY, text text, embedding vector({self.dimension}))"
        )

    def add_all(self, order: Sequence[int], vectors: Any, name: str = "docs") -> None:
        with self.connection.cursor().copy(f"COPY {name} FROM STDIN") as copy:
            for at in order:
                copy.write_row((at, f"text {at}", str(vectors[at].tolist())))

    def put(self, at: int, vector: Any) -> None:
        self.connection.execute(
            "INSERT INTO docs VALUES (%s, %s, %s) "
            "ON CONFLICT (id) DO UPDATE SET embedding = excluded.embedding",
            (at, f"text {at}", str(vector.tolist())),
        )

    def remove(self, at: int) -> None:
        self.connection.execute("DELETE FROM docs WHERE id = %s", (at,))

    def move_alias(self, vectors: Any) -> None:
        self.clear("green")
        self.add_all(range(len(vectors)), vectors, "green")
        with self.connection.transaction():
            self.connection.execute("ALTER TABLE docs RENAME TO blue")
            self.connection.execute("ALTER TABLE green RENAME TO docs")

    def break_it(self) -> None:
        self.connection.execute("DROP TABLE docs")

    def close(self) -> None:
        self.connection.close()
        self.server.cleanup()
        shutil.rmtree(self.home, ignore_errors=True)
        shutil.rmtree(self.runtime, ignore_errors=True)


STORES.update(hnswlib=Hnswlib, bm25s=Bm25s, milvus=Milvus, pgvector=Pgvector)
