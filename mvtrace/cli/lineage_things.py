"""What a command line means by a thing: what the registry knows, or a file by its content.

In: texts. Out: refs. A path is what begins with ``/``, ``./``, ``../`` or ``~``, and what lies
there and is nothing that the registry knows. ``dataset:PATH`` and ``artifact:PATH`` say what it is.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from mvtrace.cli.errors import CommandLineError
from mvtrace.components.artifact import hash_artifact
from mvtrace.registry.datasets.errors import DatasetError
from mvtrace.registry.datasets.hashing import hash_dataset
from mvtrace.registry.errors import EntryNotFoundError
from mvtrace.registry.lineage.derivations import ROLE_PATTERN, default_role
from mvtrace.registry.lineage.naming import Named, named, split_kind
from mvtrace.registry.lineage.walking import Direction, walk
from mvtrace.registry.reading import Ask, statement
from mvtrace.registry.refs import KINDS, Ref

_PATH_STARTS: Final = ("/", "./", "../", "~")
_WAYS: Final[tuple[Direction, ...]] = ("up", "down")
_DATA_SUFFIXES: Final = (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".arrow")


def thing(ask: Ask, text: str) -> Named:
    """Return what *text* names, which the registry has to know something of.

    Raises:
        NotFoundError: nothing, or several things.
        CommandLineError: a path cannot be read.
    """
    path = _path(text)
    if path is not None:
        return _known_file(ask, path)
    try:
        found = named(ask, text)
    except EntryNotFoundError:
        if os.path.exists(text):  # noqa: PTH110 (a Path raises where no file can be called so)
            return _known_file(ask, Path(text))
        raise
    if not found.is_registered and not _has_edges(ask, found.ref):
        hint = "Nothing of this digest is registered, and no derivation names it."
        raise EntryNotFoundError(found.ref.kind, found.ref.digest, hint=hint)
    return found


def made_thing(ask: Ask, text: str) -> Ref:
    """Return the ref of *text*: a file has one, whether anything is known of it or not.

    Raises:
        NotFoundError: it is no file, and names nothing or several things.
        CommandLineError: a path cannot be read.
    """
    kind, rest = split_kind(text)
    path = _path(rest)
    if path is not None:
        return _file_ref(path, kind)
    try:
        found = named(ask, text)
    except EntryNotFoundError:
        if os.path.exists(rest):  # noqa: PTH110 (as above)
            return _file_ref(Path(rest), kind)
        raise
    return found.composite or found.ref


def parent(ask: Ask, text: str, child: Ref) -> tuple[Ref, str]:
    """Return what ``REF`` or ``REF:role`` names, and its role as a parent of *child*.

    Raises:
        NotFoundError: it names nothing, or several things.
        CommandLineError: a path cannot be read.
    """
    rest, colon, role = text.rpartition(":")
    is_kind = rest in KINDS
    is_digest = len(role) >= 8 and not set(role) - set("0123456789abcdef")  # noqa: PLR2004 (digits)
    if colon and not is_kind and not is_digest and ROLE_PATTERN.fullmatch(role):
        return made_thing(ask, rest), role
    ref = made_thing(ask, text)
    return ref, default_role(ref, child)


def _path(text: str) -> Path | None:
    return Path(text).expanduser() if text.startswith(_PATH_STARTS) else None


def _file_ref(path: Path, kind: str) -> Ref:
    """Return the ref of a file or folder, of *kind* or of what its name tells."""
    if kind == "dataset" or (not kind and path.suffix.lower() in _DATA_SUFFIXES):
        return hash_dataset(path).ref
    if kind in ("", "artifact"):
        try:
            return Ref.of("artifact", hash_artifact(path).digest)
        except (OSError, ValueError) as error:
            raise CommandLineError(f"{str(path)!r} cannot be read: {error}") from error
    raise CommandLineError(
        f"{str(path)!r} is a file, and no {kind}.",
        hint="Files are artifact:PATH or dataset:PATH.",
    )


def _known_file(ask: Ask, path: Path) -> Named:
    """Return what the content of a file is known as: an artifact, else a dataset."""
    refs = [_file_ref(path, "artifact")]
    if _is_known(ask, refs[0]):
        return Named(refs[0], str(path))
    try:
        refs.append(hash_dataset(path).ref)
    except DatasetError:
        pass  # it is no dataset, so it can be none that is known
    else:
        if _is_known(ask, refs[-1]):
            return Named(refs[-1], str(path))
    hint = f"Its content is {' and '.join(map(str, refs))}, and nothing is recorded of that."
    raise EntryNotFoundError("thing", str(path), hint=hint)


def _has_edges(ask: Ask, ref: Ref) -> bool:
    return any(walk(ask, ref, direction=way, max_nodes=1).cut for way in _WAYS)


def _is_known(ask: Ask, ref: Ref) -> bool:
    return bool(ask(statement("lineage_starting"), {"prefix": ref.digest, "kind": ref.kind}))
