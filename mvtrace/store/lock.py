"""Who owns an embedded store: a file beside its directory, locked by the owning process.

The lock (flock) goes with the process, also by SIGKILL; its text names the owner for the message
of whoever comes second. The engine has a lock of its own, but it says nothing of the owner.
"""

from __future__ import annotations

import fcntl
import json
import os
import weakref
from pathlib import Path

from mvtrace.errors import StoreInUseError, StoreUnreachableError


class DirectoryLock:
    """Holds ``<directory>.lock`` until closed."""

    def __init__(self, directory: Path, *, owner_url: str | None) -> None:
        self._directory = directory
        self.path = directory.with_name(directory.name + ".lock")
        self._descriptor = self._locked_file()
        owner = json.dumps({"pid": os.getpid(), "url": owner_url}).encode()
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, owner, 0)
        _held.add(self)

    def _locked_file(self) -> int:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreUnreachableError(f"chdb://{self._directory}", str(error)) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid, url = _owner_of(descriptor)
            os.close(descriptor)
            raise StoreInUseError(str(self._directory), pid=pid, url=url) from None
        return descriptor

    def close(self) -> None:
        """Give the directory back; a second call does nothing."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)


_held: weakref.WeakSet[DirectoryLock] = weakref.WeakSet()


def _owner_of(descriptor: int) -> tuple[int | None, str | None]:
    try:
        owner = json.loads(os.pread(descriptor, 4096, 0))
        return owner["pid"], owner["url"]
    except (ValueError, KeyError, TypeError):
        return None, None  # the owner is about to write it


def _release_in_child() -> None:
    # A child would keep the lock beyond its parent's death.
    for lock in list(_held):
        lock.close()


os.register_at_fork(after_in_child=_release_in_child)
