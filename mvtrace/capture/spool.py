"""The disk spool of one producer: append-only segments that survive the process.

In: encoded payloads with their kind, from the writer's thread. Out: segment files in a directory of
this producer's own (0700, files 0600), read by ``spool_reader`` in this process or, after its end,
in another. A segment is a header (magic, lengths, checksum, the resource's bytes) and frames
(length, CRC32, sequence, kind, payload). Data is handed to the kernel, not synced: it survives a
kill of the process, not a loss of power; the collector's inbox does that.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
import struct
import threading
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

SEGMENT_BYTES: Final = 8 << 20
MAGIC: Final = b"mvspool1"
HEADER: Final = struct.Struct("<8sII")
"""Magic, length and CRC32 of the resource's bytes, which follow."""
FRAME: Final = struct.Struct("<IIQB")
"""Length of the payload, CRC32 over sequence, kind and payload; sequence; kind."""
MAX_FRAME_BYTES: Final = 3 << 20
"""A larger payload is refused by the writer, so that any longer length in a file is damage."""
LOGS: Final = 1
SPANS: Final = 2
LOCK_FILE: Final = "lock"
POSITION_FILE: Final = "position"
ANSWER_FILE: Final = "answer"
SEGMENT_NAME: Final = re.compile(r"([0-9]{8})\.seg")
QUARANTINE: Final = "quarantine"
QUARANTINE_BYTES: Final = 64 << 20
PRODUCER_NAME: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

_SEQUENCE_AND_KIND: Final = struct.Struct("<QB")


class Payload(NamedTuple):
    """One encoded scope on its way to the disk."""

    kind: int
    body: bytes


def segment_name(number: int) -> str:
    """Return the file name of the segment *number*."""
    return f"{number:08d}.seg"


def segment_numbers(directory: Path) -> list[int]:
    """Return the numbers of the segments in *directory*, in order.

    Other files are ignored, and so is what another user put there.
    """
    with os.scandir(directory) as entries:
        return sorted(
            int(match[1])
            for entry in entries
            if (match := SEGMENT_NAME.fullmatch(entry.name))
            and entry.is_file(follow_symlinks=False)
            and is_ours(entry)
        )


def is_ours(entry: os.DirEntry[str]) -> bool:
    """Whether this process's user made *entry*; what vanished meanwhile is nobody's."""
    try:
        return entry.stat(follow_symlinks=False).st_uid == os.geteuid()
    except FileNotFoundError:
        return False


def private_directory(path: Path) -> None:
    """Make *path* a directory of ours that nobody else may enter.

    Raises:
        OSError: it cannot be made, is a link, or belongs to somebody else.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise PermissionError(f"{path} is not a directory of user {os.geteuid()}")
    if stat.S_IMODE(found.st_mode) & 0o077:
        path.chmod(0o700)


def open_private(path: Path, flags: int) -> int:
    """Return a descriptor of the file *path*, never through a link, never inherited by programs."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)


def lock_directory(directory: Path) -> int | None:
    """Return a descriptor that owns *directory* while it is open; None if another process does."""
    descriptor = open_private(directory / LOCK_FILE, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def quarantine(root: Path, name: str, data: bytes) -> None:
    """Keep *data*, which nobody takes, as a file of its own below the spool's *root*.

    Above QUARANTINE_BYTES nothing more is kept: the caller's counter is then all that remains.
    """
    folder = root / QUARANTINE
    try:
        private_directory(folder)
        if directory_bytes(folder) + len(data) > QUARANTINE_BYTES:
            return
        descriptor = open_private(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    except OSError:
        return
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


def directory_bytes(directory: Path) -> int:
    """Return the size of all files below *directory*; what vanishes meanwhile counts nothing."""
    total = 0
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    total += directory_bytes(Path(entry.path))
                else:
                    total += entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        pass
    return total


def encode_frame(sequence: int, payload: Payload) -> bytes:
    """Return the frame of *payload*."""
    crc = frame_crc(sequence, payload.kind, payload.body)
    return FRAME.pack(len(payload.body), crc, sequence, payload.kind) + payload.body


def frame_crc(sequence: int, kind: int, body: bytes | memoryview) -> int:
    """Return the checksum over everything of a frame that is not its length."""
    return zlib.crc32(body, zlib.crc32(_SEQUENCE_AND_KIND.pack(sequence, kind)))


class Tail(NamedTuple):
    """How far the newest segment is written: a reader stops there."""

    segment: int
    offset: int


class Spool:
    """The writing end: one a producer, used by its writer's thread only, but for *tail*.

    Nothing is created before the first append, so that a process which traces nothing leaves
    nothing.
    """

    def __init__(
        self,
        root: Path,
        producer_id: str,
        resource: Callable[[], bytes],
        *,
        owned: Callable[[Path], object] = str,
    ) -> None:
        """*owned* is called with the directory each time it was made and locked."""
        self.directory = root / producer_id
        self._owned = owned
        self._root = root
        self._resource = resource
        self._lock = threading.Lock()
        self._lock_descriptor: int | None = None
        self._descriptor: int | None = None
        self._tail = Tail(0, 0)
        self._segment = 0
        self._sequence = 0

    @property
    def tail(self) -> Tail:
        """The end of what was written whole."""
        with self._lock:
            return self._tail

    def append(self, payloads: Sequence[Payload]) -> int:
        """Hand *payloads* to the kernel in one write; return the number of bytes.

        Raises:
            OSError: nothing of *payloads* counts as written; the next call starts a new segment.
        """
        frames = b"".join(
            encode_frame(self._sequence + index, payload) for index, payload in enumerate(payloads)
        )
        if self._tail.offset + len(frames) > SEGMENT_BYTES:
            self._close_segment()
        if not self._write(frames) and not self._write(frames):
            raise FileNotFoundError(f"the segments in {self.directory} are being deleted")
        self._sequence += len(payloads)
        with self._lock:
            self._tail = Tail(self._tail.segment, self._tail.offset + len(frames))
        return len(frames)

    def _write(self, frames: bytes) -> bool:
        """Write *frames* to the open segment, or to a new one; False if nobody finds it there."""
        descriptor = self._start_segment() if self._descriptor is None else self._descriptor
        try:
            _write_all(descriptor, frames)
        except OSError:
            self._abandon_segment(descriptor)
            raise
        if not self._is_found(descriptor):
            self._close_segment()
            return False
        return True

    def _is_found(self, descriptor: int) -> bool:
        """Whether the open segment lies under its name: not deleted, nor under a newer mount."""
        path = self.directory / segment_name(self._segment)
        try:
            return os.path.samestat(os.fstat(descriptor), os.lstat(path))
        except FileNotFoundError:
            return False

    def _start_segment(self) -> int:
        self.own()
        self._segment += 1
        number = self._segment
        path = self.directory / segment_name(number)
        descriptor = open_private(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND)
        resource = self._resource()
        header = HEADER.pack(MAGIC, len(resource), zlib.crc32(resource)) + resource
        try:
            _write_all(descriptor, header)
        except OSError:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise
        self._descriptor = descriptor
        with self._lock:
            self._tail = Tail(number, len(header))
        return descriptor

    def own(self) -> None:
        """Make sure that the directory is there and locked.

        It gets its name once it is locked, so that nobody can adopt it in between.
        """
        if self._lock_descriptor is not None and (self.directory / LOCK_FILE).exists():
            return
        self._release_lock()
        private_directory(self._root)
        is_there = self.directory.exists()
        made = self.directory if is_there else self._root / f"{self.directory.name}.new"
        private_directory(made)
        self._lock_descriptor = lock_directory(made)
        if self._lock_descriptor is None:
            raise BlockingIOError(f"another process holds {made}")
        if not is_there:
            made.rename(self.directory)
        self._owned(self.directory)

    def _abandon_segment(self, descriptor: int) -> None:
        """Cut what a failed write left, and never append there again."""
        with contextlib.suppress(OSError):  # a reader stops at the tail, a later one cuts the rest
            os.ftruncate(descriptor, self._tail.offset)
        self._close_segment()

    def _close_segment(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _release_lock(self) -> None:
        if self._lock_descriptor is not None:
            os.close(self._lock_descriptor)
            self._lock_descriptor = None

    def close(self) -> None:
        """Give up the directory: another process may adopt it, unless a forked parent holds it."""
        self._close_segment()
        self._release_lock()


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
