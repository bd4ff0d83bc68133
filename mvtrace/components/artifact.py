"""Artifacts: files and folders hashed by content, the heavy bytes behind a component.

In: a path. Out: an Artifact with the digest of its listing. Hashes of large files are remembered
under path, size, times and inode, so that an unchanged file is read once. Left out: the bytes
themselves, times, owners and modes, and folders named ``.git`` or ``__pycache__``.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from mvtrace.components.artifact_cache import ArtifactCache
from mvtrace.components.progress import Progress
from mvtrace.components.walking import walk
from mvtrace.digest import ARTIFACT_DOMAIN, canonical_bytes, digest_of

SKIPPED_FOLDERS: Final = frozenset({".git", "__pycache__"})
"""What they hold changes without a change of behaviour."""
SINGLE_FILE: Final = "."
"""The path of a file in its own listing: renamed weights are the same weights."""

_CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file or folder by its content. Law: ``digest == digest_of(ARTIFACT_DOMAIN, listing)``."""

    digest: str
    total_bytes: int
    files: int
    listing: bytes
    """Canonical JSON ``{"files": [{"bytes", "digest", "path"}, …]}``, sorted by path."""
    file_digest: str | None = None
    """Of a single file: its plain SHA-256, as ``sha256sum`` prints it."""


class _Entry(NamedTuple):
    relative: str
    path: Path
    status: os.stat_result


def hash_artifact(path: str | os.PathLike[str], *, cache: ArtifactCache | None = None) -> Artifact:
    """Return the artifact at *path*; links are followed.

    Raises:
        OSError: something cannot be read.
        ValueError: *path* holds no file, a device, a folder within itself or too much, or changed
            meanwhile.

    """
    entries = sorted(_entries(Path(path)))
    if not entries:
        raise ValueError(f"the folder {str(path)!r} holds no files.")
    cache = ArtifactCache() if cache is None else cache
    with Progress(sum(entry.status.st_size for entry in entries), Path(path).name) as progress:
        files = [_listed(entry, cache, progress) for entry in entries]
    cache.save()
    listing = canonical_bytes({"files": files})
    is_single = entries[0].relative == SINGLE_FILE
    return Artifact(
        digest=digest_of(ARTIFACT_DOMAIN, listing),
        total_bytes=sum(entry.status.st_size for entry in entries),
        files=len(entries),
        listing=listing,
        file_digest=str(files[0]["digest"]) if is_single else None,
    )


def _listed(entry: _Entry, cache: ArtifactCache, progress: Progress) -> dict[str, object]:
    digest = cache.find(entry.path, entry.status)
    if digest is None:
        digest = _hash_file(entry, progress)
        cache.remember(entry.path, entry.status, digest)
    else:
        progress.advance(entry.status.st_size)
    return {"path": entry.relative, "bytes": entry.status.st_size, "digest": f"sha256:{digest}"}


def _hash_file(entry: _Entry, progress: Progress) -> str:
    state = hashlib.sha256()
    buffer = bytearray(_CHUNK_BYTES)
    view = memoryview(buffer)
    with entry.path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            state.update(view[:count])
            progress.advance(count)
        after = os.fstat(file.fileno())
    before = entry.status
    if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise ValueError(f"{str(entry.path)!r} changed while it was read.")
    return state.hexdigest()


def _entries(root: Path) -> Iterator[_Entry]:
    status = root.stat()
    if stat.S_ISDIR(status.st_mode):
        for met in walk(root, skipped_folders=SKIPPED_FOLDERS):
            yield _file_entry(met.path, met.relative, met.status)
    else:
        yield _file_entry(root, SINGLE_FILE, status)


def _file_entry(path: Path, relative: str, status: os.stat_result) -> _Entry:
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{str(path)!r} is neither a file nor a folder.")
    try:
        relative.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"the file name {os.fsencode(path)!r} is not UTF-8.") from error
    return _Entry(relative, path, status)
