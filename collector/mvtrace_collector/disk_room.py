"""The room on an inbox's disk: what may still be taken, and a reserve to finish what was taken.

Comes in: the directory and its floor of free space. Goes out: whether so many bytes may be
written, and how many should be freed. What is accepted leaves the disk only after the index has
noted that it is stored; so on a disk that others have filled the index gets the reserve, a file of
zeroes, and nothing is accepted until the reserve is there again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from pathlib import Path
from typing import Final

_LOGGER: Final = logging.getLogger(__name__)
RESERVE_FILE: Final = "reserve"
_LOOK_S: Final = 1.0
_RESERVE_SHARE: Final = 16
_MARGIN_SHARE: Final = 32
_ZEROES: Final = bytes(1024 * 1024)


class DiskRoom:
    """The disk under one inbox; ``allows`` and ``take`` under its owner's lock."""

    def __init__(self, directory: Path, *, floor_bytes: int, segment_bytes: int) -> None:
        self._directory = directory
        self._reserve = directory / RESERVE_FILE
        self._floor_bytes = floor_bytes
        space = os.statvfs(directory)
        disk_bytes = space.f_blocks * space.f_frsize
        self._reserve_bytes = min(segment_bytes // 2, disk_bytes // _RESERVE_SHARE)
        self._margin_bytes = min(segment_bytes, disk_bytes // _MARGIN_SHARE)
        self._looked_at = float("-inf")
        self._left_bytes = 0
        self._refused_bytes = 0
        self.is_short = False
        """Whether something was refused since ``hold``, or the reserve is missing."""
        self.hold()

    def allows(self, size: int) -> bool:
        """Whether *size* more bytes leave the floor and the reserve untouched."""
        now = time.monotonic()
        if now - self._looked_at > _LOOK_S:
            self._left_bytes, self._looked_at = self._left(), now
        if self._left_bytes >= size:
            return True
        self._refused_bytes = max(self._refused_bytes, size)
        self.is_short = True
        return False

    def take(self, size: int) -> None:
        """Note that *size* bytes will be written: the disk itself is asked only now and then."""
        self._left_bytes -= size

    def short_bytes(self) -> int:
        """Return how much is to be freed, so that what comes next has room; 0 where it has."""
        wanted = max(self._margin_bytes, self._refused_bytes)
        self._refused_bytes = 0
        left = self._left()
        return 0 if left >= wanted else 2 * wanted - left

    def hold(self) -> None:
        """Make the reserve, if it is missing and there is room for it; called after deleting."""
        self._looked_at = float("-inf")
        if not self._missing_bytes():
            self.is_short = False
            return
        self.is_short = True
        if self._left() < 0:
            return
        try:
            _fill(self._reserve, self._reserve_bytes)
        except OSError:
            with contextlib.suppress(OSError):
                self._reserve.unlink(missing_ok=True)
        else:
            self.is_short = False

    def give_up_reserve(self) -> bool:
        """Free the reserve for the index; return whether there was one."""
        try:
            self._reserve.unlink()
        except OSError:
            return False
        self.is_short = True
        self._looked_at = float("-inf")
        _LOGGER.warning("The inbox's disk is full: its reserve is used to finish what was accepted")
        return True

    def _left(self) -> int:
        """Return the bytes above the floor and what is missing of the reserve."""
        space = os.statvfs(self._directory)
        return space.f_bavail * space.f_frsize - self._floor_bytes - self._missing_bytes()

    def _missing_bytes(self) -> int:
        try:
            held = self._reserve.stat().st_size
        except OSError:
            held = 0
        return max(0, self._reserve_bytes - held)


def _fill(path: Path, size: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        while size > 0:
            size -= os.write(handle, _ZEROES[: min(size, len(_ZEROES))])
        os.fsync(handle)
    finally:
        os.close(handle)
