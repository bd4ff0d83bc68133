"""Pages of shared memory in which producers count: files in /dev/shm that survive SIGKILL.

In: the spool directory of a producer. Out: 512 bytes mapped into this process, found again by
another one from the directory's path alone. A page is locked while its producer lives and ends with
the path it belongs to; where the directory is deleted with the process, the next one to start
sweeps the page away. Nothing here waits for a device.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import itertools
import mmap
import os
import re
import stat
from pathlib import Path
from typing import Final

PAGE_BYTES: Final = 512
SWEPT_AFTER_S: Final = 86_400.0
"""So long after its last use is a page kept whose directory is not there: it may be unmounted."""
MAX_SWEPT: Final = 1_000
"""Pages looked at in one sweep."""
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - the files in it are made anew, and private
"""A file system without a device, where a store into a mapped page waits for nobody."""
_MAX_PATH_BYTES: Final = 4096
_TIMES: Final = slice(2, 6)
"""Words of a page with the times of its use, in nanoseconds."""


def make_page(directory: Path) -> memoryview | None:
    """Return words that survive the process; None where there is no memory to share."""
    path = page_file(directory)
    data = bytes(PAGE_BYTES) + os.fsencode(directory.absolute())
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        path.unlink(missing_ok=True)
        descriptor = os.open(path, flags, 0o600)
    except OSError:
        return None
    try:
        # The map has a descriptor of its own that shares this lock: held as long as it is mapped.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Written, not only made that long: a store into a page without a block is a SIGBUS.
        is_whole = os.write(descriptor, data) == len(data)
        return memoryview(mmap.mmap(descriptor, PAGE_BYTES)).cast("Q") if is_whole else None
    except (OSError, ValueError):
        return None
    finally:
        os.close(descriptor)


def read_page(directory: Path) -> bytes:
    """Return the words of the producer of *directory*; empty where there are none of ours."""
    try:
        descriptor = os.open(page_file(directory), _READING)
    except OSError:
        return b""
    try:
        is_ours = os.fstat(descriptor).st_uid == os.geteuid()
        return os.read(descriptor, PAGE_BYTES) if is_ours else b""
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def forget_page(directory: Path) -> None:
    """Give back the page of the producer whose spool was *directory*."""
    with contextlib.suppress(OSError):
        page_file(directory).unlink(missing_ok=True)


def page_file(directory: Path) -> Path:
    """Return where the producer of *directory* has its page."""
    name = hashlib.sha256(os.fsencode(directory.absolute())).hexdigest()[:32]
    return _MEMORY / f"mvtrace-{os.geteuid()}-{name}"


def sweep_pages(*, now_ns: int) -> int:
    """Remove pages whose producers are gone together with their spools; return how many.

    A page stays while its producer lives, while there is a directory to adopt, and for a day.
    """
    name = re.compile(rf"mvtrace-{os.geteuid()}-[0-9a-f]{{32}}")
    try:
        with os.scandir(_MEMORY) as entries:
            ours = (Path(entry.path) for entry in entries if name.fullmatch(entry.name))
            found = list(itertools.islice(ours, MAX_SWEPT))
    except OSError:
        return 0
    return sum(_is_swept(path, now_ns) for path in found)


def _is_swept(path: Path, now_ns: int) -> bool:
    """Remove *path* if nobody can need it any more; whether it was removed."""
    try:
        descriptor = os.open(path, _READING)
    except OSError:
        return False  # another process was faster, or it is somebody else's
    try:
        found = os.fstat(descriptor)
        oldest_ns = now_ns - int(SWEPT_AFTER_S * 1e9)
        # A young page is not even locked: its maker may be about to do so.
        if found.st_uid != os.geteuid() or not stat.S_ISREG(found.st_mode):
            return False
        if found.st_mtime_ns > oldest_ns:
            return False
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        data = os.read(descriptor, PAGE_BYTES + _MAX_PATH_BYTES)
        if _last_use_ns(data) > oldest_ns or _has_directory(data):
            return False
        path.unlink()
    except OSError:
        return False  # its producer lives
    finally:
        os.close(descriptor)
    return True


def _last_use_ns(data: bytes) -> int:
    if len(data) < PAGE_BYTES:
        return 0
    return max(memoryview(data)[:PAGE_BYTES].cast("Q")[_TIMES].tolist())


def _has_directory(data: bytes) -> bool:
    """Whether the directory that the page belongs to is there, as far as can be seen."""
    try:
        os.lstat(data[PAGE_BYTES:])
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


_READING: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
