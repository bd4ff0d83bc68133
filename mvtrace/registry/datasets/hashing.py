r"""What names a dataset: the root over its rows, whatever file, order, format or machine has them.

In: a path. Out: its root, rows and columns, and the entry that registers it. The root is SHA-256
over ``mvtrace.dataset/1\n`` and, for each digest of a row in ascending order, its 32 bytes and how
often it occurs (8 bytes, big-endian). A row's digest is SHA-256 over ``mvtrace.row/1\n`` and its
canonical bytes. Two datasets with one root are one multiset of rows, or a collision of SHA-256:
nothing is added or XORed, which an adversary could choose rows for (schemas/README.md).

Left out of the root: the order and names of files, types that hold the same values, columns that
are null throughout, compression.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mvtrace.components.progress import Progress
from mvtrace.digest import canonical_bytes
from mvtrace.registry.datasets.arrows import arrow_columns
from mvtrace.registry.datasets.columns import ANY, Columns, Kind
from mvtrace.registry.datasets.errors import DatasetError
from mvtrace.registry.datasets.files import TEXTS, DataFile, Files, find_files, unchanged
from mvtrace.registry.datasets.reading import read_batches
from mvtrace.registry.datasets.rows import ROW_DOMAIN, Row, Rows
from mvtrace.registry.datasets.separated import header
from mvtrace.registry.datasets.sorting import RECORD_BYTES, RowDigests
from mvtrace.registry.entries import Entry, entry_of
from mvtrace.registry.refs import Ref

DATASET_DOMAIN: Final = b"mvtrace.dataset/1\n"
MOST_SOURCES: Final = 500
"""More files are not listed in the entry, which has to fit one event."""
MOST_COLUMNS_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset by its content."""

    root: str
    """64 hex digits."""
    rows: int
    distinct: int
    """How many of the rows differ from each other."""
    bytes: int
    """Of its files, as they lie there."""
    format: str
    columns: Mapping[str, Kind]
    """The types that are known: of typed files, of declared columns, of CSV."""
    sources: tuple[Mapping[str, Any], ...] = field(compare=False)
    """Each file's path within the dataset, its bytes and plain SHA-256."""
    passed_over: tuple[str, ...] = field(default=(), compare=False)
    """Files of the folder that are none of its data."""

    @property
    def ref(self) -> Ref:
        """What names it."""
        return Ref("dataset", self.root)

    def entry(self, name: str, *, uri: str | None = None) -> Entry:
        """Return the entry that registers it as *name*; *uri* says where its bytes are kept.

        Raises:
            RegistryError: the name is none.
        """
        said: dict[str, Any] = {
            "name": name,
            "root": self.root,
            "rows": self.rows,
            "distinct": self.distinct,
            "bytes": self.bytes,
            "format": self.format,
            "files": len(self.sources),
        }
        columns = dict(self.columns)
        if columns and len(canonical_bytes(columns)) <= MOST_COLUMNS_BYTES:
            said["columns"] = columns
        if len(self.sources) <= MOST_SOURCES:
            said["sources"] = [dict(one) for one in self.sources]
        return entry_of("dataset", said if uri is None else {**said, "uri": uri})


def hash_dataset(
    path: str | os.PathLike[str],
    *,
    format: str | None = None,  # noqa: A002 (what it is called everywhere)
    columns: Columns | None = None,
    split: str | None = None,
) -> Dataset:
    """Return the dataset at *path*; arguments as of read_rows.

    Raises:
        DatasetError: it is no dataset, a row is none, or a file changed meanwhile.
        PartMissingError: its format needs a library that is not installed.
    """
    files = find_files(path, form=format, split=split)
    with RowDigests() as digests:
        collect_digests(files, digests, columns or {})
        root, distinct = root_of(digests.records())
        return Dataset(
            root=root,
            rows=digests.rows,
            distinct=distinct,
            bytes=files.size,
            format=files.form,
            columns=_columns(files, columns or {}),
            sources=tuple(_source(file) for file in files.data),
            passed_over=files.passed_over,
        )


def hash_rows(rows: Iterable[Row]) -> tuple[str, int]:
    """Return root and number of canonical *rows*."""
    with RowDigests() as digests:
        digests.add([row_digest(row) for row in rows])
        return root_of(digests.records())[0], digests.rows


def collect_digests(files: Files, digests: RowDigests, columns: Columns) -> None:
    """Add the digest of each row of *files*.

    Raises:
        DatasetError: as hash_dataset.
    """
    rows, sha256 = Rows(), hashlib.sha256
    name = Path(os.path.commonpath([file.path for file in files.data])).name if files.data else ""
    with Progress(files.size, name) as progress:
        for file in files.data:
            for batch in read_batches(file, rows, columns, progress.advance):
                try:
                    digests.add([sha256(ROW_DOMAIN + row).digest() for row in batch])
                except OSError as error:
                    raise _no_room(error) from error


def row_digest(row: Row) -> bytes:
    """Return the 32 bytes that name a canonical row."""
    return hashlib.sha256(ROW_DOMAIN + row).digest()


def root_of(records: Iterator[bytes]) -> tuple[str, int]:
    """Return the root over sorted records (sorting.py), and how many there are.

    Raises:
        DatasetError: temporary files cannot be read.
    """
    state = hashlib.sha256(DATASET_DOMAIN)
    size = 0
    try:
        for part in records:
            state.update(part)
            size += len(part)
    except OSError as error:
        raise _no_room(error) from error
    return state.hexdigest(), size // RECORD_BYTES


def _no_room(error: OSError) -> DatasetError:
    return DatasetError(
        "",
        f"its rows cannot be sorted in temporary files: {error.strerror or error}.",
        hint="TMPDIR names a folder with room for 40 bytes a row.",
    )


def _source(file: DataFile) -> dict[str, Any]:
    with unchanged(file), file.path.open("rb", buffering=0) as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"path": file.relative, "bytes": file.size, "sha256": digest}


def _columns(files: Files, declared: Columns) -> dict[str, Kind]:
    """Return the columns of all files; of a type where all agree."""
    found: dict[str, Kind] = {}
    for file in files.data:
        for name, kind in _file_columns(file, declared).items():
            found[name] = kind if found.get(name, kind) == kind else ANY
    return found


def _file_columns(file: DataFile, declared: Columns) -> dict[str, Kind]:
    if file.form not in TEXTS:
        return arrow_columns(file)
    if file.form in ("csv", "tsv"):
        return {name: declared.get(name, "text") for name in header(file)}
    return dict(declared)
