"""The files of a dataset: which they are, in which format, opened within bounds.

In: a path to a file or folder. Out: its data files in order of their names. A folder that Hugging
Face's ``datasets`` saved is read as its ``state.json`` says; of any other folder each file whose
name says its format, links followed. Left out: files whose names begin with ``.`` or ``_``, and
those of no format, which are listed as passed over.
"""

from __future__ import annotations

import gzip
import io
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import orjson

from mvtrace.components.walking import FolderError, walk
from mvtrace.registry.datasets.errors import DatasetError, PartMissingError

FORMATS: Final = ("jsonl", "json", "csv", "tsv", "parquet", "arrow")
SUFFIXES: Final = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
}
PACKED: Final = {".gz": "gzip", ".zst": "zstd"}
TEXTS: Final = frozenset({"jsonl", "json", "csv", "tsv"})
MOST_EXPANSION: Final = 1100
"""Deflate cannot expand more, so a file that does was made for it."""
SMALL: Final = 64 * 1024 * 1024
"""What any packed file may hold."""

_STATE = "state.json"
_SPLITS = "dataset_dict.json"
_ABOUT = frozenset({_STATE, _SPLITS, "dataset_info.json", "dataset_infos.json"})
_MOST_STATE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class DataFile:
    """One file of a dataset."""

    path: Path
    relative: str
    """Its name within the dataset; of a single file its own."""
    form: str
    packed: str | None
    status: os.stat_result

    @property
    def size(self) -> int:
        """Its bytes on disk."""
        return self.status.st_size


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a dataset in order, and the names of those that are none of its data."""

    form: str
    data: tuple[DataFile, ...]
    passed_over: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Their bytes on disk."""
        return sum(file.size for file in self.data)


def find_files(
    path: str | os.PathLike[str], *, form: str | None = None, split: str | None = None
) -> Files:
    """Return the files of the dataset at *path*; *form* is the format where no suffix says it.

    Raises:
        DatasetError: there is none, or it is no dataset; says why.
    """
    root = Path(path)
    try:
        if not stat.S_ISDIR(root.stat().st_mode):
            return _single(root, form, split)
        if (root / _SPLITS).is_file():
            root = _split_of(root, split)
        elif split is not None:
            raise DatasetError(root, f"it has no splits, so no split {split!r}.")
        if (root / _STATE).is_file():
            return _saved(root)
        return _folder(root, form)
    except OSError as error:
        raise DatasetError(root, f"it cannot be read: {error.strerror or error}.") from error


@contextmanager
def unchanged(file: DataFile) -> Iterator[None]:
    """Refuse what was read within, where *file* was written to meanwhile."""
    _require_same(file)
    yield
    _require_same(file)


def open_text(file: DataFile) -> BinaryIO:
    """Open a file of text, unpacked as its suffix says, and never far more than was packed.

    Raises:
        PartMissingError: unpacking needs a library.
    """
    if file.packed == "gzip":
        return _Bounded(cast("BinaryIO", gzip.open(file.path)), file)
    if file.packed == "zstd":
        try:
            import pyarrow as pa  # noqa: PLC0415 (an extra)
        except ImportError as error:
            raise PartMissingError("zstd", str(error)) from error
        return _Bounded(pa.CompressedInputStream(pa.OSFile(str(file.path)), "zstd"), file)
    return file.path.open("rb", buffering=0)


class _Bounded(io.RawIOBase, BinaryIO):
    """An unpacking stream that ends in an error where it gives more than packing can explain."""

    def __init__(self, inner: Any, file: DataFile) -> None:
        self._inner = inner
        self._left = SMALL + MOST_EXPANSION * file.size
        self._file = file

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        """Return some bytes, none at the end."""
        try:
            data: bytes = self._inner.read(size)
        except (OSError, EOFError, zlib.error) as error:
            said = str(error).rstrip(".")
            raise DatasetError(self._file.path, f"it cannot be unpacked: {said}.") from error
        self._left -= len(data)
        if self._left < 0:
            raise DatasetError(
                self._file.path,
                f"its {self._file.size:,} bytes unpack to more than {MOST_EXPANSION:,} times as "
                "many, so it is not unpacked further.",
            )
        return data

    def close(self) -> None:
        if not self.closed:
            self._inner.close()
        super().close()


def _single(path: Path, form: str | None, split: str | None) -> Files:
    if split is not None:
        raise DatasetError(path, f"it is a file, so it has no split {split!r}.")
    file = _data_file(path, path.name, form)
    if file is None:
        raise DatasetError(
            path,
            f"its name does not say its format; known are {', '.join(sorted(SUFFIXES))}, "
            "those of text also with .gz or .zst.",
            hint=f"Say it: --format {'|'.join(FORMATS)}.",
        )
    return Files(file.form, (file,))


def _folder(root: Path, form: str | None) -> Files:
    found: list[DataFile] = []
    passed: list[str] = []
    for relative, path in _walk(root):
        file = None if path.name in _ABOUT else _data_file(path, relative, form)
        passed += [relative] if file is None else []
        found += [file] if file is not None else []
    if not found:
        raise DatasetError(
            root,
            f"the folder holds no file of a known format ({', '.join(sorted(SUFFIXES))}).",
        )
    forms = sorted({file.form for file in found})
    data = tuple(sorted(found, key=lambda file: file.relative))
    return Files("+".join(forms), data, tuple(sorted(passed)))


def _walk(root: Path) -> Iterator[tuple[str, Path]]:
    try:
        for met in walk(root, is_left_out=lambda name: name[:1] in (".", "_")):
            yield met.relative, met.path
    except FolderError as error:
        if error.place == root:
            raise DatasetError(root, f"it {error.problem}") from error
        place = error.place
        raise DatasetError(place.parent, f"{place.name!r} {error.problem}") from error


def _split_of(root: Path, split: str | None) -> Path:
    splits = _json(root / _SPLITS).get("splits")
    if not (isinstance(splits, list) and all(isinstance(name, str) for name in splits)):
        raise DatasetError(root, f"its {_SPLITS} lists no splits.")
    if split not in splits:
        names = ", ".join(repr(name) for name in sorted(splits))
        which = "a dataset is one of them" if split is None else f"there is no {split!r}"
        raise DatasetError(
            root, f"the folder holds the splits {names}; {which}.", hint="Say it: --split NAME."
        )
    return _within(root, str(split))


def _saved(root: Path) -> Files:
    """Return the files of a folder that ``Dataset.save_to_disk`` wrote, in its order."""
    state = _json(root / _STATE)
    listed = state.get("_data_files")
    if state.get("_indices_files") or state.get("_indices_data_files"):
        raise DatasetError(
            root,
            "it selects rows by an indices file, as old versions of 'datasets' saved it.",
            hint="Load and save it once with a newer 'datasets'.",
        )
    if not isinstance(listed, list) or not all(
        isinstance(one, dict) and isinstance(one.get("filename"), str) for one in listed
    ):
        raise DatasetError(root, f"its {_STATE} lists no data files.")
    names = [one["filename"] for one in listed]
    if len(set(names)) != len(names):
        raise DatasetError(root, f"its {_STATE} lists a file twice.")
    data = tuple(
        DataFile(path, name, "arrow", None, _regular(path))
        for name in names
        for path in (_within(root, name),)
    )
    others = {path.name for path in root.iterdir()} - {*names, *_ABOUT}
    return Files("huggingface", data, tuple(sorted(others)))


def _within(root: Path, name: str) -> Path:
    """Return the child *name* of *root*; a hostile listing names files elsewhere."""
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise DatasetError(root, f"it lists {name!r}, which is no file of the folder.")
    return root / name


def _data_file(path: Path, relative: str, form: str | None) -> DataFile | None:
    suffix, packed = path.suffix.lower(), None
    if suffix in PACKED:
        packed = PACKED[suffix]
        suffix = Path(path.stem).suffix.lower()
    known = form or SUFFIXES.get(suffix)
    if known is None:
        return None
    if packed and known not in TEXTS:
        raise DatasetError(
            path, f"{known} is not read from a packed file.", hint="Unpack it; it packs itself."
        )
    try:
        relative.encode()
    except UnicodeEncodeError as error:
        raise DatasetError(ascii(relative), "the name of the file is not UTF-8.") from error
    return DataFile(path, relative, known, packed, _regular(path))


def _regular(path: Path) -> os.stat_result:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise DatasetError(path, "it is neither a file nor a folder.")
    return status


def _require_same(file: DataFile) -> None:
    try:
        now = file.path.stat()
    except OSError as error:
        raise DatasetError(file.path, "it went away while it was read.") from error
    if _state(now) != _state(file.status):
        raise DatasetError(
            file.path,
            "it changed while it was read.",
            hint="Hash it once nothing writes to it any more.",
        )


def _state(status: os.stat_result) -> tuple[int, ...]:
    return (*_identity(status), status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _json(path: Path) -> dict[str, Any]:
    if path.stat().st_size > _MOST_STATE_BYTES:
        raise DatasetError(path, f"it has more than {_MOST_STATE_BYTES:,} bytes.")
    try:
        said = orjson.loads(path.read_bytes())
    except ValueError as error:
        raise DatasetError(path, f"it is no JSON: {error}.") from error
    if not isinstance(said, dict):
        raise DatasetError(path, "it is no JSON object.")
    return said
