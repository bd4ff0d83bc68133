"""Spools whose producers have ended: adopted, so that what they left is delivered.

In: the spool's root. Out: a SpoolReader for each directory that this process could lock; a living
producer holds the lock of its own. Used by the shipper's thread only.
"""

from __future__ import annotations

import os
import time
from collections import deque
from pathlib import Path
from typing import Final

from mvtrace.capture.counts import Counts
from mvtrace.capture.number_pages import sweep_pages
from mvtrace.capture.numbers import Numbers
from mvtrace.capture.spool import PRODUCER_NAME, is_ours, lock_directory
from mvtrace.capture.spool_reader import SpoolReader

FIRST_RETRY_S: Final = 30.0
LONGEST_RETRY_S: Final = 3600.0
"""After how long a spool that could not be read is tried again: at first, and at most."""
MAX_ADOPTED: Final = 32
"""Spools held at once, with two open files each: the application needs its own."""
MAX_WAITING: Final = 10_000
"""Names remembered of those that wait to be adopted; more are found by a later look."""


class Orphans:
    """The adopted spools beside *own*."""

    def __init__(self, own: Path, counts: Counts) -> None:
        self._own = own
        self._counts = counts
        self._adopted: dict[SpoolReader, int] = {}
        self._numbers: dict[SpoolReader, Numbers] = {}
        self._left: set[Path] = set()
        """Directories in which something remains that is no segment."""
        self._unreadable: dict[Path, tuple[float, int]] = {}
        """When to try again what could not be read, and how often that was tried."""
        self._waiting: deque[Path] = deque()
        self._of_others: set[Path] = set()
        """Directories that another user made: whatever is in them is not ours to send."""
        self._has_swept = False

    def readers(self) -> list[SpoolReader]:
        """Return the readers of all adopted spools."""
        return list(self._adopted)

    def numbers_of(self, reader: SpoolReader) -> Numbers | None:
        """Return what the producer of *reader*'s spool has numbered, where it kept that."""
        return self._numbers.get(reader)

    def adopt(self) -> None:
        """Look for directories that nobody owns any more, and once for what deleted ones left.

        At most MAX_ADOPTED are held at a time: ``adopt_waiting`` goes on where some are released.
        """
        if not self._has_swept:
            self._has_swept = True
            sweep_pages(now_ns=time.time_ns())
        now = time.monotonic()
        later = {path for path, (retry_at, _) in self._unreadable.items() if now < retry_at}
        known = {self._own, *self._left, *later, *(one.directory for one in self._adopted)}
        self._waiting = deque()
        try:
            with os.scandir(self._own.parent) as entries:
                for entry in entries:
                    if self._is_orphan(entry, known) and len(self._waiting) < MAX_WAITING:
                        self._waiting.append(Path(entry.path))
        except OSError:
            return
        self.adopt_waiting()

    def adopt_waiting(self) -> None:
        """Adopt what was found before, as far as there is room."""
        while self._waiting and len(self._adopted) < MAX_ADOPTED:
            self._adopt(self._waiting.popleft())

    def _is_orphan(self, entry: os.DirEntry[str], known: set[Path]) -> bool:
        if PRODUCER_NAME.fullmatch(entry.name) is None or not entry.is_dir(follow_symlinks=False):
            return False
        directory = Path(entry.path)
        if is_ours(entry):
            return directory not in known
        if (
            directory.exists()
            and directory not in self._of_others
            and len(self._of_others) < MAX_WAITING
        ):
            self._of_others.add(directory)
            self._counts.add("spools_of_others")
        return False

    def _adopt(self, directory: Path) -> None:
        try:
            lock = lock_directory(directory)
        except OSError:
            return  # it vanished, or belongs to another user
        if lock is not None:
            numbers = Numbers.load(directory)
            reader = SpoolReader(directory, self._counts, numbers)
            self._adopted[reader] = lock
            if numbers is not None:
                self._numbers[reader] = numbers
            self._counts.add("spools_adopted")

    def release(self, reader: SpoolReader) -> None:
        """Delete the spool of *reader*, all of which is delivered."""
        if not reader.remove_if_delivered():
            self._left.add(reader.directory)
        self._unreadable.pop(reader.directory, None)
        self._let_go(reader)

    def give_up(self, reader: SpoolReader) -> None:
        """Leave the spool of *reader*, which cannot be read, to others; try again later."""
        _, tries = self._unreadable.get(reader.directory, (0.0, 0))
        rest_s = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(tries, 16))
        self._unreadable[reader.directory] = (time.monotonic() + rest_s, tries + 1)
        self._let_go(reader)

    def close(self) -> None:
        """Let other processes adopt what is left."""
        for reader in list(self._adopted):
            self._let_go(reader)

    def _let_go(self, reader: SpoolReader) -> None:
        os.close(self._adopted.pop(reader))
        numbers = self._numbers.pop(reader, None)
        if numbers is not None:
            numbers.release()
