"""The segment being written: one append-only file, synced in groups.

Comes in: frames. Goes out: a file whose acknowledged part is on the disk. When the disk refuses,
the file is cut back to that part. Which segment comes next, and who waits, is not known here.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from mvtrace_collector.segments import Frame

SEGMENT_PREFIX: Final = "segment-"
SEGMENT_SUFFIX: Final = ".pb"


def segment_path(directory: Path, segment_id: int) -> Path:
    """Return where the segment *segment_id* lies."""
    return directory / f"{SEGMENT_PREFIX}{segment_id:016d}{SEGMENT_SUFFIX}"


def segment_id_of(path: Path) -> int | None:
    """Return the id in a segment's file name, None for another file."""
    digits = path.name.removeprefix(SEGMENT_PREFIX).removesuffix(SEGMENT_SUFFIX)
    is_segment = path.name == f"{SEGMENT_PREFIX}{digits}{SEGMENT_SUFFIX}" and digits.isdecimal()
    return int(digits) if is_segment else None


def sync_directory(directory: Path) -> None:
    """Make the directory's entries durable."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_durable_directory(directory: Path) -> None:
    """Make *directory* with what is missing above it, and all their entries durable."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for parent in directory.parents:
        with contextlib.suppress(PermissionError):  # one that we may only pass through was there
            sync_directory(parent)


class SegmentWriter:
    """One new segment file; not thread-safe."""

    def __init__(self, directory: Path, segment_id: int) -> None:
        self.id = segment_id
        self.path = segment_path(directory, segment_id)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self._handle = os.open(self.path, flags, 0o600)
        try:
            sync_directory(directory)
        except OSError:
            os.close(self._handle)
            self.path.unlink()
            raise
        self.opened_at = time.monotonic()
        self.frames: list[Frame] = []
        """Those that are durable."""
        self.durable_bytes = 0
        self._written: list[Frame] = []
        self.written_bytes = 0
        self.is_cut = False
        """Whether bytes may follow the durable part (the disk refused to cut them off)."""

    def append(self, frame: Frame, parts: Sequence[bytes]) -> None:
        """Write a frame; it counts once ``sync`` returned."""
        _write_all(self._handle, parts)
        self.written_bytes += sum(map(len, parts))
        self._written.append(frame)

    def sync(self) -> None:
        """Make all written frames durable."""
        if self._written:
            os.fdatasync(self._handle)
            if not os.fstat(self._handle).st_nlink:
                raise FileNotFoundError(errno.ENOENT, "the segment was deleted", str(self.path))
            self.frames += self._written
            self._written = []
            self.durable_bytes = self.written_bytes

    def close(self) -> None:
        """Close the file; what was written since the last sync is cut off."""
        if self.written_bytes != self.durable_bytes or self._written:
            self.is_cut = True
        os.close(self._handle)
        self.cut()

    def give_up(self) -> None:
        """Close after the disk refused: bytes of unknown state may follow the durable part."""
        self.is_cut = True
        os.close(self._handle)

    def cut(self) -> None:
        """Cut the file back to its durable part, durably, where that is needed."""
        if not self.is_cut:
            return
        handle = os.open(self.path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.ftruncate(handle, self.durable_bytes)
            os.fsync(handle)
        finally:
            os.close(handle)
        self.is_cut = False


def _write_all(handle: int, parts: Sequence[bytes]) -> None:
    total = sum(map(len, parts))
    written = os.writev(handle, parts)
    if written == total:
        return
    rest = memoryview(b"".join(parts))[written:]
    while rest:
        rest = rest[os.write(handle, rest) :]
