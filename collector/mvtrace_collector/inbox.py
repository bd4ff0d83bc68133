"""The inbox: what was accepted lies here, on the disk, until it is stored and for a while after.

Comes in: export bodies with a batch id. Goes out: one acknowledgement a batch, after fdatasync, and
intents: sealed segment files for the loader, the same one until it is marked. One thread writes and
syncs for all who wait. A batch id is durably tied to its data because it stands in the frame; the
index beside the files only finds it faster. Decoding is not done here.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import sqlite3
import threading
import time
import zlib
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mvtrace_collector.disk_room import DiskRoom
from mvtrace_collector.errors import InboxFullError, InboxInUseError, InboxWriteError
from mvtrace_collector.segment_log import INDEX_FILE, Batch, SegmentLog
from mvtrace_collector.segment_writer import make_durable_directory, segment_path
from mvtrace_collector.segments import BATCH_KEY_BYTES, Sender, Signal

_LOGGER: Final = logging.getLogger(__name__)
_MIB: Final = 1024 * 1024
_SHORT_REST_S: Final = 1.0
_EXPIRY_PARTS: Final = 64
"""By a part in so many the stored segments may exceed their budget for a while."""


@dataclass(frozen=True, slots=True)
class InboxSettings:
    """Sizes and times of an inbox."""

    segment_bytes: int = 32 * _MIB
    """A segment is sealed once it is this large."""
    max_segment_bytes: int = 64 * _MIB
    """No frame is added that would make a segment larger."""
    queued_bytes: int = 256 * _MIB
    """Of batches that wait for the disk."""
    unstored_bytes: int = 16 * 1024 * _MIB
    """Of batches that wait for the loader."""
    disk_floor_bytes: int = 256 * _MIB
    """Free space that is left to the index and to others."""
    retention_seconds: float = 48 * 3600.0
    """How long stored segments and batch ids are kept, while the disk has room."""
    retention_bytes: int = 4 * 1024 * _MIB
    """Of stored segments."""
    max_age_seconds: float = 48 * 3600.0
    """From receipt: an older copy of what was stored, or put into quarantine, is deleted, however
    much room there is. What senders that know nothing of mvtrace send lies here as they sent it."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """An acknowledgement: the batch is on the disk, now or since before."""

    seq: int
    duplicate: bool


@dataclass(frozen=True, slots=True)
class Intent:
    """A sealed segment that is to be stored; *epoch* and *id* together never come again."""

    id: int
    epoch: int
    path: Path
    first_seq: int
    last_seq: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Lag:
    """What is accepted and not yet stored."""

    segments: int
    bytes: int
    oldest_ms: int | None
    accepted_seq: int
    stored_seq: int


@dataclass(slots=True)
class _Waiting:
    batch: Batch
    future: Future[int] = field(default_factory=Future)


def batch_key(project: str, signal: Signal, batch_id: str) -> bytes:
    """Return the key of a batch: one project's ids never meet another's."""
    text = f"{project}\n{signal}\n{batch_id}".encode()
    return hashlib.sha256(text).digest()[:BATCH_KEY_BYTES]


class Inbox:
    """A directory of segments, open in one process; thread-safe, not fork-safe."""

    def __init__(self, directory: Path | str, settings: InboxSettings | None = None) -> None:
        self.directory = Path(directory)
        self.settings = settings or InboxSettings()
        if not (self.directory / INDEX_FILE).exists():
            make_durable_directory(self.directory)
        self._lock_handle = _lock_directory(self.directory)
        self._pid = os.getpid()
        self._changed = threading.Condition()  # taken after the log's own lock, never before
        self._queue: list[_Waiting] = []
        self._queued_bytes = 0
        self._inflight: dict[bytes, _Waiting] = {}
        self._closing = False
        self._room = DiskRoom(
            self.directory,
            floor_bytes=self.settings.disk_floor_bytes,
            segment_bytes=self.settings.segment_bytes,
        )
        self._log = SegmentLog(
            self.directory,
            segment_bytes=self.settings.segment_bytes,
            max_segment_bytes=self.settings.max_segment_bytes,
            free_disk=self._room.give_up_reserve,
        )
        ready = self._log.ready
        self._unstored_bytes = sum(row.bytes for row in ready)
        self._accepted_seq = self._log.last_seq
        self._stored_seq = ready[0].first_seq - 1 if ready else self._accepted_seq
        self._finished_bytes = 0
        self._expire()
        self._expire_every_s = max(0.5, min(60.0, self.settings.max_age_seconds / 10))
        self._committer = threading.Thread(target=self._commit_loop, name="inbox", daemon=True)
        self._committer.start()

    def append(self, project: str, signal: Signal, body: bytes, batch_id: str) -> Accepted:
        """Append *body*, or find that *batch_id* was appended before; durable on return.

        Raises InboxFullError at a limit, InboxWriteError where the disk refuses or after ``close``.
        """
        return self.submit(project, signal, body, batch_id).result()

    def submit(
        self,
        project: str,
        signal: Signal,
        body: bytes,
        batch_id: str,
        *,
        sender: Sender | None = None,
        ahead_ms: int = 0,
    ) -> Future[Accepted]:
        """Append without waiting; the future is done once the batch is durable.

        What *sender* may do is written down with it; the same batch of another is another one. So
        is how far his clock is ahead, which is no part of the batch.
        """
        self._check_process()
        if sender is not None:
            batch_id = f"{sender.actor} {sender.grants}:{batch_id}"
        key = batch_key(project, signal, batch_id)
        received_ms = time.time_ns() // 1_000_000
        batch = Batch(project, signal, body, zlib.crc32(body), key, received_ms, sender, ahead_ms)
        item = _Waiting(batch)
        with self._changed:
            self._check_open()
            seq = self._log.find(key)
            if seq is not None:
                return _done(Accepted(seq, duplicate=True))
            first = self._inflight.get(key)
            if first is None:
                self._check_limits(len(body))
                self._inflight[key] = item
                self._queue.append(item)
                self._queued_bytes += len(body)
                self._room.take(len(body))
                self._changed.notify_all()
        return _follow(item if first is None else first, duplicate=first is not None)

    def check_room(self) -> None:
        """Raise InboxFullError or InboxWriteError where an append would."""
        self._check_process()
        with self._changed:
            self._check_open()
            self._check_limits(0)

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise InboxWriteError("it was opened by another process, before a fork.")

    def _check_open(self) -> None:
        if self._closing:
            raise InboxWriteError("it is closed.")

    def _check_limits(self, size: int) -> None:
        settings = self.settings
        if self._queue and self._queued_bytes + size > settings.queued_bytes:
            raise InboxFullError("too much waits for the disk", settings.queued_bytes)
        if self._unstored_bytes + size > settings.unstored_bytes:
            raise InboxFullError("too much waits for the loader", settings.unstored_bytes)
        if not self._room.allows(size):
            raise InboxFullError("the disk is nearly full", settings.disk_floor_bytes)

    def _commit_loop(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closing)
                group, self._queue = self._queue, []
                self._queued_bytes = 0
            if not group:
                return
            self._commit(group)

    def _commit(self, group: list[_Waiting]) -> None:
        left = iter(group)

        def settled(seqs: Sequence[int]) -> None:
            self._settle([(next(left), seq) for seq in seqs])

        try:
            self._log.write([item.batch for item in group], settled)
        except Exception as error:
            # Whatever it was: the thread lives on, and those who wait get an answer.
            _LOGGER.exception("The inbox cannot be written")
            reason = getattr(error, "strerror", None) or str(error)
            self._fail(list(left), InboxWriteError(f"{reason}."))

    def _settle(self, settled: list[tuple[_Waiting, int]]) -> None:
        with self._changed:
            for item, seq in settled:
                del self._inflight[item.batch.key]
                self._unstored_bytes += len(item.batch.body)
                self._accepted_seq = seq
        for item, seq in settled:
            item.future.set_result(seq)

    def _fail(self, left: list[_Waiting], error: InboxWriteError) -> None:
        with self._changed:
            for item in left:
                del self._inflight[item.batch.key]
        for item in left:
            item.future.set_exception(error)

    def take(self, max_bytes: int = 32 * _MIB, max_age_s: float = 0.2) -> Intent | None:
        """Return the oldest segment that is not stored, sealing the active one when it is due.

        The same intent comes again until it is marked, also after a restart.
        """
        self._check_process()
        rest_s = _SHORT_REST_S if self._room.is_short else self._expire_every_s
        if time.monotonic() - self._expired_at > rest_s:
            self._expire()  # also where nothing comes in any more
        while (row := self._log.seal_due(max_bytes, max_age_s)) is not None:
            path = segment_path(self.directory, row.id)
            intent = Intent(row.id, row.epoch, path, row.first_seq, row.last_seq, row.bytes)
            if path.exists():
                return intent
            _LOGGER.error("Segment %s of the inbox is gone and was not stored", row.id)
            self.mark_poison(intent, "the file is gone")
        return None

    def mark_stored(self, intent: Intent, counts: Mapping[str, int]) -> None:
        """Note that the rows of *intent* are durable in the store, and how many a table."""
        self._finish(intent, counts, is_stored=True)

    def mark_poison(self, intent: Intent, reason: str = "") -> None:
        """Note that the store will never take *intent*.

        Its file stays for a person to look at, up to the maximum age.
        """
        self._finish(intent, {"reason": reason}, is_stored=False)

    def _finish(self, intent: Intent, outcome: Mapping[str, object], *, is_stored: bool) -> None:
        with self._log.lock:
            self._log.finish(intent.id, outcome, is_stored=is_stored)
        with self._changed:
            self._stored_seq = max(self._stored_seq, intent.last_seq)
            is_empty = self._stored_seq >= self._accepted_seq
            self._unstored_bytes = 0 if is_empty else max(0, self._unstored_bytes - intent.bytes)
            self._changed.notify_all()
        self._finished_bytes += intent.bytes
        if self._is_expiry_due():
            self._expire()

    def _is_expiry_due(self) -> bool:
        """Whether enough became stored, or time passed, that something may have to go.

        To look costs the more the more segments are kept, which may be a million small ones.
        """
        settings = self.settings
        rest_s = min(self._expire_every_s, settings.retention_seconds / 10)
        return (
            self._room.is_short
            or self._finished_bytes > settings.retention_bytes // _EXPIRY_PARTS
            or time.monotonic() - self._expired_at > rest_s
        )

    def stored_segments(self, *, after_ms: int) -> list[int]:
        """Return the segments that were marked stored after *after_ms* and are still kept."""
        return self._log.stored(after_ms=after_ms)

    def stored_at_ms(self) -> int:
        """Return when the last segment was marked stored; 0 before the first."""
        return self._log.stored_at_ms()

    def reopen(self, segments: Collection[int], *, is_new_epoch: bool) -> tuple[int, ...]:
        """Let stored *segments* be taken again; return those that are still kept.

        Under a new epoch the store inserts all of their rows again, else only those it lacks.
        """
        if not segments:
            return ()
        found = self._log.reopen(segments, epochs_on=int(is_new_epoch))
        with self._changed:
            self._unstored_bytes = sum(row.bytes for row in self._log.ready)
            if self._log.ready:
                self._stored_seq = self._log.ready[0].first_seq - 1
        return tuple(found)

    def lag(self) -> Lag:
        """Return what is accepted and not yet stored."""
        oldest = self._log.oldest_ms()
        with self._changed:
            return Lag(
                segments=len(oldest),
                bytes=self._unstored_bytes,
                oldest_ms=min(oldest, default=None),
                accepted_seq=self._accepted_seq,
                stored_seq=self._stored_seq,
            )

    def wait_stored(self, seq: int, timeout_s: float) -> bool:
        """Wait until everything up to *seq* is stored; return whether it is."""
        with self._changed:
            return bool(self._changed.wait_for(lambda: self._stored_seq >= seq, timeout_s))

    def close(self) -> None:
        """Commit what waits, refuse the rest, release the directory; idempotent."""
        with self._changed:
            if self._closing:
                return
            self._closing = True
            self._changed.notify_all()
        self._committer.join()
        self._log.close()
        os.close(self._lock_handle)

    def _expire(self) -> None:
        """Delete what need not be kept, or may not; what the disk refuses is done next time."""
        settings, now = self.settings, time.time()
        self._expired_at = time.monotonic()
        self._finished_bytes = 0
        try:
            self._log.expire(
                before_ms=int((now - settings.retention_seconds) * 1000),
                received_before_ms=int((now - settings.max_age_seconds) * 1000),
                budget_bytes=settings.retention_bytes,
                short_bytes=self._room.short_bytes(),
            )
            self._room.hold()
        except (OSError, sqlite3.Error):
            _LOGGER.exception("What the inbox need not keep cannot be deleted now")


def _lock_directory(directory: Path) -> int:
    handle = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise InboxInUseError(str(directory)) from error
    return handle


def _done(accepted: Accepted) -> Future[Accepted]:
    future: Future[Accepted] = Future()
    future.set_result(accepted)
    return future


def _follow(source: _Waiting, *, duplicate: bool) -> Future[Accepted]:
    """Return a future of its own for each caller, so that none can cancel another's."""
    future: Future[Accepted] = Future()
    future.set_running_or_notify_cancel()

    def finish(done: Future[int]) -> None:
        error = done.exception()
        if error is None:
            future.set_result(Accepted(done.result(), duplicate))
        else:
            future.set_exception(error)

    source.future.add_done_callback(finish)
    return future
