"""A Hugging Face snapshot: which repository and commit a cached folder says that it is.

In: a path in the cache's layout, ``models--<owner>--<name>/snapshots/<commit>``, and the digests of
its files. Out: repository, commit and the refs to it, ``declared``, since a folder's name
proves nothing; and, where each file's name in the store of blobs is its own digest, ``verified``.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from mvtrace.components.provenance.note import Note

SOURCE: Final = "huggingface"
MAX_REFS: Final = 256
MAX_SMALL: Final = 16 << 20
"""Files up to here are stored by Git, and named by Git's digest."""
_REPOSITORY: Final = re.compile(r"(models|datasets|spaces)--([\w.-]{1,96}(?:--[\w.-]{1,96})?)")
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_BLOB: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def notes_of(path: Path, files: Mapping[str, str]) -> Iterator[Note]:
    """Yield what the place of *path* says; *files* are hex SHA-256 by path below it.

    Raises:
        OSError: a ref or a file cannot be read.

    """
    absolute = path.absolute()  # not resolved: its files are links to blobs
    place = next((one for one in (absolute, *absolute.parents) if _is_snapshot(one)), None)
    if place is None:
        return
    kind, name = _named(place)
    facts = {"repository": name, "commit": place.name, "refs": _refs(place)}
    if kind != "models":
        facts["kind"] = kind
    yield Note(SOURCE, "declared", facts)
    matching = sum(_is_its_blob(path, name, digest) for name, digest in files.items())
    if files and matching == len(files):
        yield Note(SOURCE, "verified", {"files_as_named_by_the_hub": matching})
    elif matching:
        yield Note(SOURCE, "observed", {"files_as_named_by_the_hub": matching, "files": len(files)})


def _is_snapshot(folder: Path) -> bool:
    return (
        _COMMIT.fullmatch(folder.name) is not None
        and folder.parent.name == "snapshots"
        and _REPOSITORY.fullmatch(folder.parent.parent.name) is not None
    )


def _named(snapshot: Path) -> tuple[str, str]:
    found = _REPOSITORY.fullmatch(snapshot.parent.parent.name)
    return (found.group(1), found.group(2).replace("--", "/")) if found else ("", "")


def _refs(snapshot: Path) -> list[str]:
    """Return the branches and tags whose file names the commit."""
    folder = snapshot.parent.parent / "refs"
    found = []
    for ref in sorted(itertools.islice(folder.rglob("*"), MAX_REFS)):
        if ref.is_file():
            with ref.open("rb") as file:
                if file.read(64).strip() == snapshot.name.encode():
                    found.append(ref.relative_to(folder).as_posix())
    return found


def _is_its_blob(root: Path, name: str, digest: str) -> bool:
    """Whether a file is a link to a blob that is named by the digest of its content."""
    path = root if name == "." else root / name
    if not path.is_symlink():
        return False
    blob = path.readlink().name
    if not _BLOB.fullmatch(blob):
        return False
    if len(blob) == len(digest):
        return blob == digest
    size = path.stat().st_size
    if size > MAX_SMALL:
        return False
    state = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    state.update(path.read_bytes())
    return state.hexdigest() == blob
