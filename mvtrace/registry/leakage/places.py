"""Where the rows of a dataset lie, as far as they are at hand: files of this machine.

In: a path, or what is registered of a root. Out: :class:`Place`, and its rows with the root that
they have. A file that is not what was registered is not what is compared: the root is computed over
the very rows that are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from mvtrace.components.progress import Progress
from mvtrace.registry.datasets.columns import Columns, check_columns
from mvtrace.registry.datasets.files import TEXTS, find_files
from mvtrace.registry.datasets.hashing import root_of
from mvtrace.registry.datasets.reading import read_batches
from mvtrace.registry.datasets.rows import Row, Rows
from mvtrace.registry.datasets.sorting import RowDigests
from mvtrace.registry.entries import read_entries
from mvtrace.registry.leakage.examples import row_digest
from mvtrace.registry.reading import Ask, statement
from mvtrace.registry.refs import Ref

KIND: Final = "dataset"
_LOCAL_HOSTS: Final = ("", "localhost")


@dataclass(frozen=True, slots=True)
class Place:
    """A dataset's files, or why there are none to read."""

    path: Path | None
    why: str = ""
    columns: Columns = field(default_factory=dict)
    """The types that its columns of text were registered with."""

    @property
    def size(self) -> int:
        """Its bytes on disk."""
        return 0 if self.path is None else find_files(self.path).size

    def rows(self) -> Iterator[Row]:
        """Yield its rows, with progress shown on a terminal.

        Raises:
            DatasetError: they are no dataset, or change meanwhile.
        """
        if self.path is None:
            return
        files = find_files(self.path)
        with Progress(files.size, self.path.name) as progress:
            rows = Rows()
            for file in files.data:
                for batch in read_batches(file, rows, self.columns, progress.advance):
                    yield from batch


@dataclass(frozen=True, slots=True)
class Registered:
    """What is registered of one root."""

    root: str
    name: str
    bodies: Sequence[Mapping[str, Any]]
    """What its entries say, the newest first."""

    @property
    def ref(self) -> Ref:
        """What names it."""
        return Ref(KIND, self.root)

    def place(self) -> Place:
        """Return where it can be read, by the first entry that says a place of this machine."""
        why = "no entry says where its files are"
        for body in self.bodies:
            if not isinstance(uri := body.get("uri"), str):
                continue
            path = path_of(uri)
            if path is None:
                why = f"its files are at {uri}, which is not on this machine"
            elif not _is_there(path):
                why = f"there is no file or folder at {uri}"
            else:
                return Place(path, "", _columns(body))
        return Place(None, why)


class Rooted:
    """Takes the digests of rows as they pass, and gives the root over them."""

    def __init__(self) -> None:
        self._digests = RowDigests()

    def __call__(self, batch: list[Row]) -> None:
        """Take a batch."""
        self._digests.add([row_digest(row) for row in batch])

    def root(self) -> str:
        """Return the 64 hex digits over all that passed."""
        with self._digests as digests:
            return root_of(digests.records())[0]


def registered(ask: Ask, roots: Sequence[str]) -> dict[str, Registered]:
    """Return what is registered of *roots*, by root."""
    if not roots:
        return {}
    rows = ask(statement("leakage_datasets"), {"roots": list(roots)})
    return _by_root(rows)


def other_versions(ask: Ask, names: Sequence[str], limit: int) -> dict[str, Registered]:
    """Return the datasets of one of *names*, by root."""
    known = sorted({name for name in names if name})
    if not known:
        return {}
    asked = {"kind": KIND, "names": known, "limit": limit}
    return _by_root(ask(statement("leakage_versions"), asked))


def path_of(uri: str) -> Path | None:
    """Return the path of this machine that *uri* names; None where it is of another place."""
    if "://" not in uri:
        return Path(uri)
    parts = urlsplit(uri)
    if parts.scheme != "file" or parts.netloc not in _LOCAL_HOSTS:
        return None
    return Path(unquote(parts.path))


def examples_root(said: Mapping[str, Any]) -> str:
    """Return the root over the examples of a suite; empty where somebody wrote one without."""
    examples = said.get("examples")
    return str(examples.get("root", "")) if isinstance(examples, Mapping) else ""


def _is_there(path: Path) -> bool:
    """Whether *path*, which somebody registered, is a file or folder; a pipe would never end."""
    try:
        return path.is_file() or path.is_dir()
    except (OSError, ValueError):
        return False


def _columns(body: Mapping[str, Any]) -> Columns:
    """Return the types that columns of text were registered with, where they are such."""
    if body.get("format") not in TEXTS:
        return {}
    try:
        return check_columns(body.get("columns") or {})
    except ValueError:
        return {}


def _by_root(rows: Sequence[Mapping[str, Any]]) -> dict[str, Registered]:
    bodies: dict[str, list[Mapping[str, Any]]] = {}
    for said in (one.said for one in read_entries(row["body"] for row in rows)):
        bodies.setdefault(str(said.get("root", "")), []).append(said)
    return {
        root: Registered(root, str(said[0].get("name", "")), said) for root, said in bodies.items()
    }
