"""The files of an inbox: the active segment, the sealed ones, and what becomes of them.

Comes in: groups of batches to write. Goes out: durable frames, sealed segments in order. The files
are the truth: after a kill those the index does not know are scanned, a torn tail (it was never
acknowledged) is cut off, and the rest is entered. Waiting, limits and threads are the inbox's.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mvtrace_collector.failpoints import reach
from mvtrace_collector.inbox_index import POISON, SEALED, STORED, InboxIndex, SegmentRow
from mvtrace_collector.segment_writer import (
    SegmentWriter,
    segment_id_of,
    segment_path,
    sync_directory,
)
from mvtrace_collector.segments import Frame, Sender, Signal, frame_head, scan_segment

_LOGGER: Final = logging.getLogger(__name__)
INDEX_FILE: Final = "index.sqlite"
_SAY_INTERVAL_S: Final = 60.0
_HEAD_BYTES: Final = 1024
"""More than a frame's head ever takes."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One body to write, and the key that tells it from all others."""

    project: str
    signal: Signal
    body: bytes
    body_crc: int
    key: bytes
    received_ms: int
    sender: Sender | None = None
    ahead_ms: int = 0


class SegmentLog:
    """All segments of one directory; ``lock`` guards the active one and is held while syncing."""

    def __init__(
        self,
        directory: Path,
        *,
        segment_bytes: int,
        max_segment_bytes: int,
        free_disk: Callable[[], bool] = lambda: False,
    ) -> None:
        self.directory = directory
        self.lock = threading.RLock()
        self.ready: deque[SegmentRow] = deque()
        """Sealed and entered in the index, not stored; oldest first."""
        self._segment_bytes = segment_bytes
        self._max_segment_bytes = max_segment_bytes
        self._active: SegmentWriter | None = None
        self._closed: deque[SegmentWriter] = deque()  # sealed, waiting for the index
        self._recent: dict[bytes, int] = {}  # batches of segments that are not in the index
        self._index = InboxIndex(directory / INDEX_FILE, free_disk)
        self._said_at = float("-inf")
        self._epoch = self._index.number("epoch", time.time_ns() // 1_000_000)
        self._next_id = self._next_seq = 1
        self._recover()

    @property
    def last_seq(self) -> int:
        """The highest sequence number given so far."""
        return self._next_seq - 1

    def find(self, key: bytes) -> int | None:
        """Return the sequence number under which a batch is durable."""
        seq = self._recent.get(key)
        return self._index.find_batch(key) if seq is None else seq

    def write(self, batches: Sequence[Batch], settled: Callable[[Sequence[int]], None]) -> None:
        """Append *batches*; *settled* hears the sequence numbers of each part that is durable.

        Where it raises, those of which *settled* did not hear are not kept.
        """
        written: list[int] = []
        with self.lock:
            try:
                for batch in batches:
                    if self._active is not None and self._is_full(self._active, len(batch.body)):
                        self._sync(written, settled)
                        written = []
                        self.seal()
                    written.append(self._append(batch))
                self._sync(written, settled)
            except Exception:
                self._give_up_active()
                raise

    def _is_full(self, active: SegmentWriter, body_bytes: int) -> bool:
        size = active.written_bytes
        return bool(size) and (
            size >= self._segment_bytes or size + body_bytes + _HEAD_BYTES > self._max_segment_bytes
        )

    def _append(self, batch: Batch) -> int:
        if self._active is None:
            for refused in self._closed:
                refused.cut()  # what the disk refused there comes again here, and must not be twice
            self._active = SegmentWriter(self.directory, self._next_id)
            self._next_id += 1
        frame = Frame(self._next_seq, batch.received_ms, batch.key, batch.ahead_ms)
        head = frame_head(
            batch.project,
            batch.signal,
            batch.body,
            frame=frame,
            body_crc=batch.body_crc,
            sender=batch.sender,
        )
        self._active.append(frame, (head, batch.body))
        self._next_seq += 1
        return frame.seq

    def _sync(self, written: Sequence[int], settled: Callable[[Sequence[int]], None]) -> None:
        if self._active is None or not written:
            return
        reach("inbox.before-commit")
        self._active.sync()
        reach("inbox.after-commit")
        self._recent.update((one.batch, one.seq) for one in self._active.frames[-len(written) :])
        settled(written)

    def seal_due(self, max_bytes: int, max_age_s: float) -> SegmentRow | None:
        """Return the oldest sealed segment, sealing the active one when there is no other."""
        with self.lock:
            self._enter_closed()
            active = self._active
            if not self.ready and active is not None and active.frames:
                age = time.monotonic() - active.opened_at
                if active.durable_bytes >= max_bytes or age >= max_age_s:
                    self.seal()
            return self.ready[0] if self.ready else None

    def seal(self) -> None:
        """Close the active segment and enter it in the index."""
        with self.lock:
            active, self._active = self._active, None
            if active is not None:
                self._closed.append(active)
                active.close()
            self._enter_closed()

    def _give_up_active(self) -> None:
        active, self._active = self._active, None
        if active is not None:
            active.give_up()
            self._closed.append(active)

    def _enter_closed(self) -> None:
        """Enter sealed segments in the index; what the disk refuses now is tried again later."""
        self._closed = deque(one for one in self._closed if one.frames or not _is_deleted(one.path))
        while self._closed:
            segment = self._closed[0]
            try:
                segment.cut()
                if segment.frames:
                    reach("inbox.before-index")
                    self._enter(segment.id, segment.frames, segment.durable_bytes)
            except (OSError, sqlite3.Error):
                if time.monotonic() - self._said_at > _SAY_INTERVAL_S:
                    self._said_at = time.monotonic()
                    text = "Segment %s cannot be entered in the inbox's index; tried again"
                    _LOGGER.exception(text, segment.id)
                return
            self._closed.popleft()

    def _enter(self, segment_id: int, frames: Sequence[Frame], size: int) -> None:
        row = SegmentRow(
            segment_id, self._epoch, frames[0].seq, frames[-1].seq, size, frames[0].received_ms
        )
        self._index.enter(row, ((one.batch, one.seq, one.received_ms) for one in frames))
        self.ready.append(row)
        for one in frames:
            self._recent.pop(one.batch, None)

    def finish(self, segment_id: int, outcome: Mapping[str, object], *, is_stored: bool) -> None:
        """Note what became of a segment and take it off ``ready``."""
        self._index.finish(segment_id, STORED if is_stored else POISON, outcome)
        if self.ready and self.ready[0].id == segment_id:
            self.ready.popleft()  # as nearly always, of however many
        else:
            self.ready = deque(row for row in self.ready if row.id != segment_id)

    def stored_at_ms(self) -> int:
        """Return when the last segment was marked stored; 0 before the first."""
        return self._index.stored_at_ms()

    def stored(self, *, after_ms: int = -1) -> list[int]:
        """Return the stored segments whose files are there, of those marked after *after_ms*."""
        return [
            row.id
            for row in self._index.segments()
            if row.state == STORED
            and row.done_ms > after_ms
            and segment_path(self.directory, row.id).exists()
        ]

    def reopen(self, segment_ids: Collection[int], *, epochs_on: int) -> list[int]:
        """Put stored segments back on ``ready``; return those that are there to be put back."""
        with self.lock:
            found = [one for one in self.stored() if one in segment_ids]
            self._index.reopen(found, epochs_on=epochs_on)
            waiting = [row for row in self._index.segments() if row.state == SEALED]
            self.ready = deque(waiting)
            return found

    def oldest_ms(self) -> list[int]:
        """Return for each segment that is not stored when its first batch came."""
        with self.lock:
            writers = [*self._closed, *([self._active] if self._active is not None else [])]
            return [row.oldest_ms for row in self.ready] + [
                one.frames[0].received_ms for one in writers if one.frames
            ]

    def expire(
        self,
        *,
        before_ms: int,
        budget_bytes: int,
        received_before_ms: int = 0,
        short_bytes: int = 0,
    ) -> None:
        """Delete stored segments older than *before_ms*, and the oldest over the budget.

        Where the disk is *short_bytes* short, so much more of the oldest goes. Whatever
        holds a batch received before *received_before_ms* goes too, also what the store would not
        take; only what still waits for the store stays.
        """
        gone = self._index.expired(
            before_ms=before_ms,
            received_before_ms=received_before_ms,
            budget_bytes=budget_bytes,
            short_bytes=short_bytes,
        )
        for segment_id in gone:
            segment_path(self.directory, segment_id).unlink(missing_ok=True)
        if gone:
            sync_directory(self.directory)  # a file that came back would be taken for a new one
            self._index.forget(gone, batches_before_ms=before_ms)

    def close(self) -> None:
        """Seal what is open; what cannot be entered now is found at the next start."""
        with self.lock:
            try:
                self.seal()
            except OSError:
                _LOGGER.exception("The last segment is entered at the next start")
            self._index.close()

    def _recover(self) -> None:
        known = {row.id: row for row in self._index.segments()}
        found = ((segment_id_of(path), path) for path in self.directory.iterdir())
        named = {number: path for number, path in found if number is not None}
        files = {number: path for number, path in named.items() if self._is_ours(path)}
        for row in known.values():
            if row.state == SEALED:
                self.ready.append(row)
                self._cut(files.get(row.id), row.bytes)
        for number in sorted(files.keys() - known.keys()):
            self._recover_file(number, files[number])
        last_id, last_seq = self._index.last()
        self._next_id = max(last_id, max(named, default=0)) + 1
        self._next_seq = last_seq + 1

    def _is_ours(self, path: Path) -> bool:
        """Whether *path* is a file that we, or the owner of the inbox, made.

        Nothing else is read, cut or deleted: it may be a link to what is none of the inbox's.
        """
        found = path.lstat()
        owners = {os.geteuid(), self.directory.stat().st_uid}
        if stat.S_ISREG(found.st_mode) and found.st_uid in owners:
            return True
        _LOGGER.error("%s is no segment of this inbox: no file, or another user's", path.name)
        return False

    def _cut(self, path: Path | None, size: int) -> None:
        torn = 0 if path is None else path.stat().st_size - size
        if path is not None and torn > 0:
            _LOGGER.warning("%s: %s torn bytes cut, never acknowledged", path.name, torn)
            os.truncate(path, size)

    def _recover_file(self, number: int, path: Path) -> None:
        scan = scan_segment(path)
        self._cut(path, scan.good_bytes)
        if not scan.frames:
            path.unlink()
            return
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        sync_directory(self.directory)
        self._enter(number, scan.frames, scan.good_bytes)


def _is_deleted(path: Path) -> bool:
    """Delete a segment without frames; return whether it is gone."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return False
    return True
