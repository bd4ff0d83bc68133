"""The key store: wrapped data keys of encrypted content, and what was erased; apart from all data.

In: keys as applications send them, subjects to erase. Out: the keys of some content, for whoever
has the master key. One SQLite file in a directory of its own, which belongs into no backup of the
store: whoever has store and inbox, but not this file, cannot read the content, not even with the
master key. A destroyed key never comes back, and what was erased is known here even where an old
copy of the store was put back. ``secure_delete`` overwrites what is deleted; what lies below a file
(a journal of the file system, a snapshot) is not in anybody's hands here.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from mvtrace.errors import ConfigurationError

KEYS_FILE: Final = "payload-keys.sqlite"
_BUSY_SECONDS: Final = 5.0
_REMEMBERED: Final = 100_000

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS data_keys (
    project TEXT NOT NULL, key_id TEXT NOT NULL, subject TEXT NOT NULL,
    wrapped BLOB NOT NULL, made_ms INTEGER NOT NULL, PRIMARY KEY (project, key_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS data_keys_of ON data_keys (project, subject);
CREATE TABLE IF NOT EXISTS destroyed_keys (
    project TEXT NOT NULL, key_id TEXT NOT NULL, subject TEXT NOT NULL,
    PRIMARY KEY (project, key_id, subject)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS erasures (
    project TEXT NOT NULL, subject TEXT NOT NULL, erased_ms INTEGER NOT NULL,
    erased_by TEXT NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (project, subject, erased_ms)
) WITHOUT ROWID;
"""


class PayloadKey(NamedTuple):
    """A data key as the store has it: wrapped by a master key that is not here."""

    project: str
    id: str
    subject: str
    wrapped: bytes
    made_ms: int
    """By the collector's clock, and not after it was received."""


class Tombstone(NamedTuple):
    """That everything about a subject was erased, by whom and why."""

    project: str
    subject: str
    erased_ms: int
    erased_by: str
    reason: str


class KeyStore:
    """The keys in *directory*; safe for several threads of one process."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = directory / KEYS_FILE
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        _check_private(directory, 0o700)
        _check_private(path, 0o600)
        self._lock = threading.Lock()
        self._known: set[tuple[str, str]] = set()
        self._connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode = DELETE")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("PRAGMA secure_delete = ON")
        self._connection.executescript(_SCHEMA)

    def keep(self, keys: Iterable[PayloadKey]) -> None:
        """Keep *keys*, durably; those that were destroyed, or made before an erasure, are not."""
        with self._lock:
            new = [key for key in keys if (key.project, key.id) not in self._known]
            if not new:
                return
            with self._connection:
                self._connection.executemany(
                    "INSERT OR IGNORE INTO data_keys SELECT :project, :id, :subject, :wrapped, "
                    ":made_ms WHERE NOT EXISTS (SELECT 1 FROM destroyed_keys WHERE project = "
                    ":project AND key_id = :id AND subject = :subject) AND NOT EXISTS "
                    "(SELECT 1 FROM erasures WHERE project = :project AND subject = :subject "
                    "AND erased_ms >= :made_ms)",
                    [key._asdict() for key in new],
                )
            if len(self._known) > _REMEMBERED:
                self._known.clear()
            self._known.update((key.project, key.id) for key in new)

    def wrapped(self, project: str, key_ids: Sequence[str]) -> dict[str, bytes]:
        """Return those of *key_ids* that are there, wrapped."""
        with self._lock:
            found = (
                self._connection.execute(
                    "SELECT key_id, wrapped FROM data_keys WHERE project = ? AND key_id = ?",
                    (project, key_id),
                ).fetchone()
                for key_id in key_ids
            )
            return {row[0]: bytes(row[1]) for row in found if row is not None}

    def latest_ms(self, project: str, subject: str) -> int:
        """Return when the youngest key of *subject* was made; 0 where there is none."""
        with self._lock:
            (latest,) = self._connection.execute(
                "SELECT max(made_ms) FROM data_keys WHERE project = ? AND subject = ?",
                (project, subject),
            ).fetchone()
        return latest or 0

    def destroy(self, tombstone: Tombstone, key_ids: Sequence[str] = ()) -> int:
        """Destroy all keys of a subject, and those of *key_ids* that are its; durable.

        A row of content may name any key: one of another subject stays. Returns how many there
        were.
        """
        project, subject = tombstone.project, tombstone.subject
        with self._lock, self._connection:
            self._connection.execute(
                "INSERT OR IGNORE INTO erasures VALUES (?, ?, ?, ?, ?)", tuple(tombstone)
            )
            rows = self._connection.execute(
                "SELECT key_id FROM data_keys WHERE project = ? AND subject = ? AND made_ms <= ?",
                (project, subject, tombstone.erased_ms),
            ).fetchall()
            gone = {*(row[0] for row in rows), *filter(None, key_ids)}
            named = [(project, key_id, subject) for key_id in gone]
            self._connection.executemany(
                "INSERT OR IGNORE INTO destroyed_keys VALUES (?, ?, ?)", named
            )
            before = self._connection.total_changes
            self._connection.executemany(
                "DELETE FROM data_keys WHERE project = ? AND key_id = ? AND subject = ?", named
            )
            return self._connection.total_changes - before

    def tombstones(self) -> list[Tombstone]:
        """Return everything that was erased, as far as this key store knows."""
        with self._lock:
            rows = self._connection.execute("SELECT * FROM erasures ORDER BY erased_ms").fetchall()
        return [Tombstone(*row) for row in rows]

    def close(self) -> None:
        """Give the file back."""
        with self._lock:
            self._connection.close()


def _check_private(path: Path, wanted: int) -> None:
    """Refuse a directory or file of keys that others may enter, read or change.

    Raises:
        ConfigurationError: they may.
    """
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise ConfigurationError(
            "--data",
            str(path),
            f"others may read or change the keys in it (mode {mode:04o})",
            hint=f"chmod {wanted:o} {path}",
        )


def now_ms() -> int:
    """Return Unix time in milliseconds."""
    return time.time_ns() // 1_000_000
