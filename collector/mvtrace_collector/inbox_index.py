"""The inbox's index: which segments exist, which batch ids they hold, what became of them.

A small SQLite file beside the segments. It is an index, not the truth: a segment that it does not
know is scanned and entered again, and a damaged index is put aside and built anew. So a commit here
is never on the way of an acknowledgement. One connection, one lock, never used across a fork.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

_LOGGER: Final = logging.getLogger(__name__)

_T = TypeVar("_T")
_BUSY_SECONDS: Final = 1.0
_DISK_CODES: Final = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
SEALED, STORED, POISON = "sealed", "stored", "poison"

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS segments (
    id INTEGER PRIMARY KEY,
    state TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    oldest_ms INTEGER NOT NULL,
    done_ms INTEGER,
    outcome TEXT
);
CREATE TABLE IF NOT EXISTS batches (
    batch BLOB PRIMARY KEY,
    seq INTEGER NOT NULL,
    received_ms INTEGER NOT NULL
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class SegmentRow:
    """One segment as the index knows it."""

    id: int
    epoch: int
    first_seq: int
    last_seq: int
    bytes: int
    oldest_ms: int
    state: str = SEALED
    done_ms: int = 0


class InboxIndex:
    """The SQLite file; every method is thread-safe and durable on return."""

    def __init__(self, path: Path, free_disk: Callable[[], bool] = lambda: False) -> None:
        """Open *path*; *free_disk* frees space where the disk refuses, and says if it did."""
        self._lock = threading.RLock()
        self._free_disk = free_disk
        self._connection = self._tried(lambda: _open(path))

    def close(self) -> None:
        """Close the file; nothing is pending."""
        with self._lock:
            self._connection.close()

    def number(self, name: str, default: int) -> int:
        """Return the number kept under *name*; the first call fixes it to *default*."""
        with self._lock, self._connection as db:
            db.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (name, default))
            row = db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return int(row[0])

    def last(self) -> tuple[int, int]:
        """Return the highest segment id and sequence number that were ever entered."""
        return self.number("last_id", 0), self.number("last_seq", 0)

    def find_batch(self, batch: bytes) -> int | None:
        """Return the sequence number under which *batch* was accepted."""
        with self._lock:
            row = self._connection.execute(
                "SELECT seq FROM batches WHERE batch = ?", (batch,)
            ).fetchone()
        return None if row is None else int(row[0])

    def enter(self, row: SegmentRow, batches: Iterable[tuple[bytes, int, int]]) -> None:
        """Enter a sealed segment and its batch ids (key, seq, received_ms) in one transaction."""
        with self._lock:
            entries = tuple(batches)
            self._tried(lambda: self._enter(row, entries))

    def _enter(self, row: SegmentRow, batches: Iterable[tuple[bytes, int, int]]) -> None:
        with self._connection as db:
            db.execute(
                "INSERT INTO segments (id, state, epoch, first_seq, last_seq, bytes, oldest_ms)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    row.id,
                    row.state,
                    row.epoch,
                    row.first_seq,
                    row.last_seq,
                    row.bytes,
                    row.oldest_ms,
                ),
            )
            db.executemany("INSERT OR IGNORE INTO batches VALUES (?, ?, ?)", batches)
            db.executemany(
                "INSERT INTO meta VALUES (?, ?)"
                " ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)",
                (("last_id", row.id), ("last_seq", row.last_seq)),
            )

    def segments(self) -> list[SegmentRow]:
        """Return all segments, oldest first."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT id, epoch, first_seq, last_seq, bytes, oldest_ms, state,"
                " coalesce(done_ms, 0) FROM segments ORDER BY id"
            ).fetchall()
        return [SegmentRow(*row) for row in rows]

    def stored_at_ms(self) -> int:
        """Return when the last segment was marked stored; 0 before the first."""
        with self._lock:
            (found,) = self._connection.execute(
                "SELECT max(done_ms) FROM segments WHERE state = ?", (STORED,)
            ).fetchone()
        return int(found or 0)

    def expired(
        self, *, before_ms: int, received_before_ms: int, budget_bytes: int, short_bytes: int
    ) -> list[int]:
        """Return the segments that need not be kept, newest first; see ``SegmentLog.expire``."""
        with self._lock:
            if short_bytes:
                (stored,) = self._connection.execute(
                    "SELECT coalesce(sum(bytes), 0) FROM segments WHERE state = ?", (STORED,)
                ).fetchone()
                budget_bytes = min(budget_bytes, int(stored) - short_bytes)
            rows = self._connection.execute(
                "SELECT id FROM (SELECT id, state, oldest_ms, coalesce(done_ms, 0) AS done_ms,"
                " sum(iif(state = :stored, bytes, 0)) OVER (ORDER BY id DESC) AS kept"
                " FROM segments WHERE state != :sealed)"
                " WHERE oldest_ms < :received_before"
                " OR state = :stored AND (done_ms < :before OR kept > :budget) ORDER BY id DESC",
                {
                    "stored": STORED,
                    "sealed": SEALED,
                    "received_before": received_before_ms,
                    "before": before_ms,
                    "budget": budget_bytes,
                },
            ).fetchall()
        return [int(row[0]) for row in rows]

    def finish(self, segment_id: int, state: str, outcome: Mapping[str, object]) -> None:
        """Mark a segment *state* with its *outcome* (rows by table, or the reason)."""
        done_ms = time.time_ns() // 1_000_000

        def write() -> None:
            with self._connection as db:
                db.execute(
                    "UPDATE segments SET state = ?, outcome = ?, done_ms = ? WHERE id = ?",
                    (state, json.dumps(dict(outcome)), done_ms, segment_id),
                )

        with self._lock:
            self._tried(write)

    def reopen(self, segment_ids: Iterable[int], *, epochs_on: int) -> None:
        """Make stored segments wait for the loader once more, *epochs_on* epochs later."""
        with self._lock, self._connection as db:
            db.executemany(
                "UPDATE segments SET state = ?, epoch = epoch + ?, outcome = NULL, done_ms = NULL"
                " WHERE id = ? AND state = ?",
                [(SEALED, epochs_on, one, STORED) for one in segment_ids],
            )

    def forget(self, segment_ids: Iterable[int], *, batches_before_ms: int) -> None:
        """Drop segments whose files are gone, and batch ids older than the window."""
        with self._lock, self._connection as db:
            db.executemany("DELETE FROM segments WHERE id = ?", [(one,) for one in segment_ids])
            db.execute("DELETE FROM batches WHERE received_ms < ?", (batches_before_ms,))

    def _tried(self, write: Callable[[], _T]) -> _T:
        """Return what *write* gives, tried again after space was freed where the disk is full."""
        try:
            return write()
        except sqlite3.OperationalError as error:
            # The low byte is the code; a full disk shows as either.
            is_disk = error.sqlite_errorcode & 0xFF in _DISK_CODES
            if not is_disk or not self._free_disk():
                raise
            return write()


def _open(path: Path) -> sqlite3.Connection:
    try:
        return _connect(path)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError:
        aside = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
        _LOGGER.exception("The inbox's index is damaged; put aside as %s, built anew", aside.name)
        path.rename(aside)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        return _connect(path)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        connection.executescript(_SCHEMA)
    except sqlite3.Error:
        connection.close()
        raise
    path.chmod(0o600)
    return connection
