"""Adapter for plain files that are read when they are queried: a file, or a folder with all below.

The signal is each file's size, times and inode, so a change is seen with the next query; a folder
where that look takes long is looked at less often (mvtrace.components.index_probe). The fingerprint
is the artifact's digest: paths within the folder and contents, whatever their times.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mvtrace.components.artifact import SKIPPED_FOLDERS, hash_artifact
from mvtrace.components.fingerprint import METHOD_FULL
from mvtrace.components.index_probe import Probe
from mvtrace.components.index_source import SnapshotFacts


class FilesIndex:
    """Files as an IndexSource."""

    is_exact = True

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._look = Probe(lambda: tuple(sorted(_states(self._path))))

    def change_signal(self) -> Hashable:
        """Return size, times and inode of every file."""
        return self._look()

    def snapshot(self) -> SnapshotFacts:
        """Return the digest of the files as they are."""
        artifact = hash_artifact(self._path)
        return SnapshotFacts(fingerprint=artifact.digest, size=artifact.files, method=METHOD_FULL)

    def describe(self) -> Mapping[str, Any]:
        """Return that it is files."""
        return {"library": "files", "sort": "folder" if self._path.is_dir() else "file"}


def _states(path: Path) -> Iterator[tuple[str, int, int, int, int]]:
    if not path.is_dir():
        yield _state("", path.stat())
        return
    for folder, below, names in os.walk(path, followlinks=True):
        below[:] = [name for name in below if name not in SKIPPED_FOLDERS]
        for name in names:
            full = os.path.join(folder, name)  # noqa: PTH118 (a Path takes ten times as long)
            yield _state(full, os.stat(full))  # noqa: PTH116


def _state(name: str, status: os.stat_result) -> tuple[str, int, int, int, int]:
    return name, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
