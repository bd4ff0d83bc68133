"""One run of a transformation: the datasets before and after it, and the entries that say so.

In: the paths of inputs and outputs. Out: what each held, and derivations from the inputs to each
output. What is said is what was seen: the inputs are hashed before the run and must be the same
files after it, an output must have been written by it.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from mvtrace.registry.datasets.errors import DatasetError
from mvtrace.registry.datasets.files import SUFFIXES
from mvtrace.registry.datasets.hashing import Dataset, hash_dataset
from mvtrace.registry.datasets.steps import KIND, Step
from mvtrace.registry.entries import Entry
from mvtrace.registry.errors import RegistryError
from mvtrace.registry.lineage.derivations import derivation
from mvtrace.registry.refs import Ref

ROLE: Final = "dataset"
Paths = Mapping[str, Path]
"""A dataset's slot in the step (a parameter, ``in``, ``out2``) -> where it lies."""


@dataclass(frozen=True, slots=True)
class Begun:
    """What there was before a run."""

    inputs: Mapping[str, Dataset]
    paths: Paths
    outputs: Paths
    states: Mapping[str, frozenset[tuple[Any, ...]]]
    started_at: str


@dataclass(frozen=True, slots=True)
class Run:
    """A run that ended well."""

    step: Step
    inputs: Mapping[str, Dataset]
    outputs: Mapping[str, Dataset]
    names: Mapping[str, str]
    """What the dataset of each slot is called."""
    started_at: str
    ended_at: str

    @property
    def parents(self) -> list[tuple[Ref, str]]:
        """The inputs as parents of each output."""
        return [(one.ref, ROLE) for one in self.inputs.values()]

    @property
    def unchanged(self) -> list[str]:
        """Outputs that hold the very rows of an input: nothing was derived."""
        roots = {one.root for one in self.inputs.values()}
        return [slot for slot, one in self.outputs.items() if one.root in roots]

    def derivations(self) -> list[Entry]:
        """Return what was made from what."""
        run = {"started_at": self.started_at, "ended_at": self.ended_at}
        return [
            derivation(one.ref, self.parents, how=self.step.ref, name=slot, run=run)
            for slot, one in self.outputs.items()
            if slot not in self.unchanged
        ]

    def entries(self, known: Collection[str] = ()) -> Iterator[Step | Entry]:
        """Yield all that is to be registered, what is referred to first.

        Inputs whose roots are *known* have a name already.
        """
        yield self.step
        for slot, one in {**self.inputs, **self.outputs}.items():
            if slot not in self.inputs or one.root not in known:
                yield one.entry(self.names[slot])
        yield from self.derivations()


def begin(inputs: Paths, outputs: Paths) -> Begun:
    """Hash the inputs, and note how the outputs are.

    Raises:
        DatasetError: an input is no dataset.
        RegistryError: there are no inputs or outputs, or one path is both.
    """
    if not inputs or not outputs:
        raise RegistryError(KIND, "it has at least one input and one output.")
    both = {path.resolve() for path in inputs.values()} & {p.resolve() for p in outputs.values()}
    if both:
        raise RegistryError(
            KIND,
            f"{str(min(both))!r} is input and output: what went in would be lost.",
            hint="Write to another path.",
        )
    states = {slot: _state(path) for slot, path in {**inputs, **outputs}.items()}
    hashed = {slot: hash_dataset(path) for slot, path in inputs.items()}
    return Begun(hashed, inputs, outputs, states, _now())


def end(begun: Begun, step: Step) -> Run:
    """Hash the outputs.

    Raises:
        DatasetError: an input changed meanwhile, or an output was not written or is no dataset.
    """
    ended_at = _now()
    for slot, path in begun.paths.items():
        if _state(path) != begun.states[slot]:
            raise DatasetError(
                path,
                "it changed while it was an input, so what was made from it cannot be said.",
                hint="Keep outputs out of the folders of inputs.",
            )
    for slot, path in begun.outputs.items():
        if _state(path) == begun.states[slot]:
            raise DatasetError(path, "the step did not write it, so nothing was made.")
    outputs = {slot: hash_dataset(path) for slot, path in begun.outputs.items()}
    names = {slot: dataset_name(path) for slot, path in {**begun.paths, **begun.outputs}.items()}
    return Run(step, begun.inputs, outputs, names, begun.started_at, ended_at)


def dataset_name(path: Path) -> str:
    """Return what a dataset is called that nobody named: its file's name without suffixes."""
    name = path.resolve().name
    while Path(name).suffix.lower() in (*SUFFIXES, ".gz", ".zst"):
        name = Path(name).stem
    return name if name.isprintable() else ascii(name)[1:-1]


def _state(path: Path) -> frozenset[tuple[Any, ...]]:
    """Return what changes whenever something at *path* is written."""
    if not path.is_dir():
        return frozenset([_file_state(path)] if path.exists() else [])
    return frozenset(_file_state(file) for file in _files(path))


def _files(path: Path) -> Iterator[Path]:
    """Yield the files below *path*, links to folders left out; os.walk may recurse too deep."""
    waiting = [path]
    while waiting:
        with suppress(OSError), os.scandir(waiting.pop()) as children:
            for child in children:
                if not child.is_dir():
                    yield Path(child.path)
                elif not child.is_symlink():
                    waiting.append(Path(child.path))


def _file_state(path: Path) -> tuple[Any, ...]:
    try:
        found = path.stat()
    except OSError:  # a link that leads nowhere, or what went away: seen as such, read by nobody
        return (str(path),)
    return str(path), found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
