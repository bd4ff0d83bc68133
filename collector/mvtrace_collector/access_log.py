"""The access log: an entry is durable before the answer it is about is given.

Comes in: entries. Goes out: a promise a entry, kept after fdatasync; rows of ``access_log``, loaded
by a thread of its own. The journal is an inbox beside the one of the exports: entries are synced in
groups, a kill loses none, and what is stored is kept for a while and loaded again at each start,
so that a store whose rows were lost gets them back. An entry's id and revision keep it once.

It takes entries until half of the inbox's floor of free space is left: while exports are refused
already, questions are still answered. Then, or where the disk refuses, nothing is answered any
more that an entry would be due for.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import threading
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Final

from mvtrace.digest import keyed_digest
from mvtrace.errors import ConfigurationError, UnavailableError
from mvtrace.store.store import Store
from mvtrace_collector.access_log_entry import Entry, Note
from mvtrace_collector.access_log_loader import EntryLoader
from mvtrace_collector.inbox import Accepted, Inbox, InboxSettings, Lag
from mvtrace_collector.keys import Identity
from mvtrace_collector.logs import described
from mvtrace_collector.segment_writer import sync_directory

_LOGGER: Final = logging.getLogger(__name__)
KEY_FILE: Final = "access-digest-key"
LOAD_EVERY_S: Final = 5.0
"""How long entries are collected before they are stored, where nobody reads the log."""

_MIB: Final = 1024 * 1024
_KEPT_SECONDS: Final = 48 * 3600.0
_KEY_BYTES: Final = 32
_FIRST_BACKOFF_S: Final = 0.5
_MAX_BACKOFF_S: Final = 30.0


def journal_settings(inbox: InboxSettings) -> InboxSettings:
    """Return the sizes and times of the journal beside an inbox with the settings *inbox*."""
    return replace(
        inbox,
        segment_bytes=4 * _MIB,
        max_segment_bytes=8 * _MIB,
        queued_bytes=64 * _MIB,
        unstored_bytes=1024 * _MIB,
        disk_floor_bytes=inbox.disk_floor_bytes // 2,
        retention_seconds=_KEPT_SECONDS,
        retention_bytes=256 * _MIB,
        max_age_seconds=_KEPT_SECONDS,
    )


class AccessLog:
    """The log of one collector; safe for several threads, open in one process."""

    def __init__(self, directory: Path, keys_dir: Path, inbox: InboxSettings) -> None:
        self._key, self._key_id = _digest_key(keys_dir)
        self._journal = Inbox(directory, journal_settings(inbox))
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def digest(self, text: str) -> str:
        """Return the keyed digest that stands for *text* in entries."""
        return keyed_digest(self._key, self._key_id, text)

    def submit(self, entry: Entry) -> Future[Accepted]:
        """Append *entry*; the future is done once it is durable.

        Raises:
            InboxError: the journal takes nothing.
        """
        batch = f"{entry.id}:{entry.revision}"
        return self._journal.submit(entry.project, "logs", entry.to_bytes(), batch)

    def note(self, action: str, *, client: str = "") -> Note:
        """Return a new note of this log."""
        return Note(action, client=client, digest=self.digest)

    def governed(
        self,
        identity: Identity,
        *,
        project: str,
        count: int,
        batch: str,
        is_refused: bool = False,
        client: str = "",
    ) -> Future[Accepted]:
        """Append that *identity* sent *count* decisions, or was refused to decide.

        What was decided stands in tables of its own. *batch* tells this sending from others: one
        that is repeated is logged once. Whoever acknowledges it waits for the future first.

        Raises:
            InboxError: the journal takes nothing; the decisions may not be acknowledged.
        """
        note = self.note("govern", client=client)
        note.identity, note.project, note.rows = identity, project, count
        entry = note.entry(status=403 if is_refused else 200)
        return self._journal.submit(project, "logs", entry.to_bytes(), f"govern:{batch}")

    def check_room(self) -> None:
        """Raise InboxError where an entry would not be taken."""
        self._journal.check_room()

    def lag(self) -> Lag:
        """Return what is durable and not yet a row."""
        return self._journal.lag()

    def start(self, store: Store) -> None:
        """Begin to store entries in *store*."""
        loader = EntryLoader(store, self._journal)
        self._thread = threading.Thread(
            target=self._run, args=(loader,), name="access-log", daemon=True
        )
        self._thread.start()

    def settle(self, timeout_s: float) -> bool:
        """Wait until what is durable now is stored; return whether it is."""
        seq = self._journal.lag().accepted_seq
        self._wake.set()
        return self._journal.wait_stored(seq, timeout_s)

    def close(self, timeout_s: float = 10.0) -> bool:
        """Store what is left, release the journal; return whether the store is free again."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
        self._journal.close()
        return self._thread is None or not self._thread.is_alive()

    def _run(self, loader: EntryLoader) -> None:
        backoff, is_replayed = _FIRST_BACKOFF_S, False
        while not self._stop.is_set():
            try:
                if not is_replayed:
                    loader.replay()
                    is_replayed = True
                self._wake.wait(LOAD_EVERY_S)
                self._wake.clear()
                loader.load_all()
                backoff = _FIRST_BACKOFF_S
            except Exception as error:
                # Whatever it was: the journal keeps the entries, and the thread lives on.
                is_foreseen = isinstance(error, UnavailableError)
                text = "Entries of the access log are stored later: %s"
                _LOGGER.warning(text, described(error), exc_info=not is_foreseen)
                loader.forget_session()
                self._stop.wait(backoff)
                backoff = min(2 * backoff, _MAX_BACKOFF_S)
        loader.close()


def _digest_key(directory: Path) -> tuple[bytes, str]:
    """Return the key of this collector's digests and its id; made once."""
    path = directory / KEY_FILE
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _write_key(path)
        key = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            "--data", str(path), f"the system refuses it: {error.strerror or error}"
        ) from error
    if len(key) != _KEY_BYTES:
        raise ConfigurationError("--data", str(path), f"a digest key has {_KEY_BYTES} bytes")
    return key, hashlib.sha256(key).hexdigest()[:8]


def _write_key(path: Path) -> None:
    fresh = path.with_name(f"{path.name}.new")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(secrets.token_bytes(_KEY_BYTES))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    sync_directory(path.parent)
