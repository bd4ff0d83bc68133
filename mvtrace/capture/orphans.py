"""Spools whose producers have ended: adopted, so that what they left is delivered.

In: the spool's root. Out: a SpoolReader for each directory that this process could lock; a living
producer holds the lock of its own. Used by the shipper's thread only.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from mvtrace.capture.counts import Counts
from mvtrace.capture.number_pages import sweep_pages
from mvtrace.capture.numbers import Numbers
from mvtrace.capture.spool import PRODUCER_NAME, lock_directory
from mvtrace.capture.spool_reader import SpoolReader


class Orphans:
    """The adopted spools beside *own*."""

    def __init__(self, own: Path, counts: Counts) -> None:
        self._own = own
        self._counts = counts
        self._adopted: dict[SpoolReader, int] = {}
        self._numbers: dict[SpoolReader, Numbers] = {}
        self._left: set[Path] = set()
        """Directories in which something remains that is no segment, or cannot be read."""
        self._has_swept = False

    def readers(self) -> list[SpoolReader]:
        """Return the readers of all adopted spools."""
        return list(self._adopted)

    def numbers_of(self, reader: SpoolReader) -> Numbers | None:
        """Return what the producer of *reader*'s spool has numbered, where it kept that."""
        return self._numbers.get(reader)

    def adopt(self) -> None:
        """Look for directories that nobody owns any more, and once for what deleted ones left."""
        if not self._has_swept:
            self._has_swept = True
            sweep_pages(now_ns=time.time_ns())
        known = {self._own, *self._left, *(reader.directory for reader in self._adopted)}
        try:
            entries = list(os.scandir(self._own.parent))
        except OSError:
            return
        for entry in entries:
            directory = Path(entry.path)
            is_spool = PRODUCER_NAME.fullmatch(entry.name) is not None
            if is_spool and directory not in known and entry.is_dir(follow_symlinks=False):
                self._adopt(directory)

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
        self._let_go(reader)

    def give_up(self, reader: SpoolReader) -> None:
        """Leave the spool of *reader*, which cannot be read, to others."""
        self._left.add(reader.directory)
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
