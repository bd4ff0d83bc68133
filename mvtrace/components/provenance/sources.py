"""What is looked for where: the notes of files, of code, and of the process.

In: a path that was hashed, with its listing. Out: notes, at most MAX_NOTES. Looking never fails: a
file that cannot be read, or that says what cannot be, is told by a note with the problem, or not.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import orjson

from mvtrace.components.provenance import (
    git_state,
    headers,
    hub_snapshot,
    image_digests,
    signature,
    trust,
)
from mvtrace.components.provenance.note import MAX_NOTES, Note

KEYS_VARIABLE: Final = "MVTRACE_TRUSTED_KEYS"
"""PEM files of trusted keys and certificates, parted as in PATH."""
MAX_FILES: Final = 512
"""Weights of one folder whose headers are read."""
SAFETENSORS: Final = "safetensors"
GGUF: Final = "gguf"
_METADATA: Final = ("format", "modelspec.title", "modelspec.license", "modelspec.author")
_log: Final = logging.getLogger("mvtrace")


def of_artifact(path: Path, listing: bytes) -> tuple[Note, ...]:
    """Return where the files at *path* come from; *listing* is the artifact's."""
    files = {
        str(one["path"]): str(one["digest"]).removeprefix("sha256:")
        for one in orjson.loads(listing)["files"]
    }
    looks: tuple[Callable[[Path, Mapping[str, str]], Iterable[Note]], ...] = (
        _signatures,
        hub_snapshot.notes_of,
        _safetensors,
        _gguf,
    )
    found: list[Note] = []
    for look in looks:
        found.extend(_tried(look, path, files))
    return tuple(found[:MAX_NOTES])


def of_code(path: Path) -> tuple[Note, ...]:
    """Return which commit the code at *path* is of."""
    return tuple(_tried(lambda place, _: _given(git_state.note_of(place.absolute())), path, {}))


def of_image() -> tuple[Note, ...]:
    """Return which container image the process is declared to run in."""
    return tuple(_tried(lambda *_: _given(image_digests.note_of(os.environ)), Path(), {}))


def _given(note: Note | None) -> list[Note]:
    return [] if note is None else [note]


def _tried(
    look: Callable[[Path, Mapping[str, str]], Iterable[Note]],
    path: Path,
    files: Mapping[str, str],
) -> list[Note]:
    try:
        return list(look(path, files))
    except Exception as error:  # noqa: BLE001 (files of strangers, and it only adds)
        _log.warning("Where %s comes from could not be read: %r", path, error)
        return []


def _named(path: Path, files: Mapping[str, str], suffix: str) -> list[Path]:
    """Return the files of a format, in the order of their names."""
    if "." in files and len(files) == 1:
        return [path] if path.name.lower().endswith(suffix) else []
    names = sorted(name for name in files if name.lower().endswith(suffix))
    return [path / name for name in names[:MAX_FILES]]


def _safetensors(path: Path, files: Mapping[str, str]) -> Iterator[Note]:
    """Yield what all safetensors files list together, and what their metadata says."""
    weights = _named(path, files, ".safetensors")
    if not weights:
        return
    count, parameters, dtypes = 0, 0, Counter[str]()
    metadata: dict[str, str] = {}
    for one in weights:
        try:
            with one.open("rb") as file:
                found = headers.read_safetensors(file, one.stat().st_size)
        except (headers.HeaderError, OSError) as error:
            yield _problem(SAFETENSORS, one, error)
            return
        count, parameters = count + found.number, parameters + found.parameters
        dtypes.update(found.dtypes)
        metadata.update(found.metadata)
    facts = {"files": len(weights), "tensors": count, "parameters": parameters}
    yield Note(SAFETENSORS, "observed", {**facts, "dtypes": dict(dtypes.most_common())})
    said = {key: metadata[key] for key in (*_METADATA, *sorted(metadata)) if key in metadata}
    if said:
        yield Note(SAFETENSORS, "declared", said)


def _gguf(path: Path, files: Mapping[str, str]) -> Iterator[Note]:
    """Yield what the first GGUF file says: of a model in several it is the one with the keys."""
    weights = _named(path, files, ".gguf")
    if not weights:
        return
    try:
        with weights[0].open("rb") as file:
            found = headers.read_gguf(file)
    except (headers.HeaderError, OSError) as error:
        yield _problem(GGUF, weights[0], error)
        return
    yield Note(GGUF, "observed", {"files": len(weights), **found.observed})
    if found.declared:
        yield Note(GGUF, "declared", found.declared)


def _problem(source: str, path: Path, error: Exception) -> Note:
    said = error.strerror if isinstance(error, OSError) else str(error)
    return Note(source, "observed", {"file": path.name, "problem": said})


def _signatures(path: Path, files: Mapping[str, str]) -> Iterator[Note]:
    """Yield what each bundle beside the files, or among them, says of them."""
    trusted: trust.Trust | None = None
    for bundle, own in _bundles(path, files):
        with bundle.open("rb") as file:
            data = file.read(signature.MAX_BUNDLE_BYTES + 1)
        if not signature.is_bundle(data):
            continue
        trusted = trusted or trust.trust_in(_trusted_paths())
        try:
            yield signature.note_of(data, files, own, trusted)
        except signature.BundleError as error:
            yield _problem(signature.SOURCE, bundle, error)


def _bundles(path: Path, files: Mapping[str, str]) -> list[tuple[Path, list[str]]]:
    """Return the files that may be bundles, with the path each has among the files."""
    endings = (".sig", ".sigstore.json", ".sigstore")
    place = path.absolute()
    beside = [place.with_name(place.name + ending) for ending in endings if place.name]
    if "." in files and len(files) == 1:
        beside.append(place.with_name("model.sig"))
    within = [name for name in sorted(files) if "/" not in name and name.endswith(endings)]
    found: list[tuple[Path, list[str]]] = [(path / name, within) for name in within]
    return [*found, *((one, within) for one in beside if one.is_file())]


def _trusted_paths() -> list[str]:
    return [one for one in os.environ.get(KEYS_VARIABLE, "").split(os.pathsep) if one]
