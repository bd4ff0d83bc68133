"""From the journal to the table ``access_log``: each entry once, whatever happened before.

Comes in: sealed segments of the journal. Goes out: rows. What the store has of a segment is asked
before anything is inserted, so a segment may come again after a kill or a failed insert, and those
of the last days at each start. The entry that something was begun is held back for a minute: mostly
the one of its answer comes, and says all. Entries are only ever added.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from mvtrace.store.session import Session
from mvtrace.store.store import Store
from mvtrace.tables import AccessRow
from mvtrace_collector.access_log_entry import ANSWERED, Entry
from mvtrace_collector.failpoints import reach
from mvtrace_collector.inbox import Inbox
from mvtrace_collector.segment_writer import segment_path
from mvtrace_collector.segments import read_bodies

_LOGGER: Final = logging.getLogger(__name__)
HELD_S: Final = 60.0
"""How long the answer of something begun is waited for."""
_BATCH: Final = 10_000
_KNOWN: Final = """
SELECT lower(hex(access_id)), max(revision) FROM access_log
WHERE access_id >= unhex({first:String}) AND access_id <= unhex({last:String})
GROUP BY access_id
"""


class EntryLoader:
    """Stores the entries of one journal; used by one thread."""

    def __init__(self, store: Store, journal: Inbox) -> None:
        self._store = store
        self._journal = journal
        self._session: Session | None = None
        self._held: dict[str, Entry] = {}

    def replay(self) -> None:
        """Store what the journal keeps and the store lacks; nothing, in the ordinary case."""
        kept = (
            segment_path(self._journal.directory, number)
            for number in self._journal.stored_segments(after_ms=-1)
        )
        for part in _batches(entry for path in kept for entry in entries_of(path)):
            lacking = self._store_batch(self._ripe(part))
            if lacking:
                _LOGGER.warning("The store lacked %d entries of the access log", lacking)

    def load_all(self) -> None:
        """Store what is in the journal now; durable and marked on return."""
        while (intent := self._journal.take(max_age_s=0.0)) is not None:
            parts = _batches(entries_of(intent.path))
            stored = sum(self._store_batch(self._ripe(part)) for part in parts)
            reach("access.before-mark")
            self._journal.mark_stored(intent, {"access_log": stored})
        self._release()

    def close(self) -> None:
        """Store what is left, also what was begun and not seen to end."""
        try:
            self.load_all()
            self._store_batch(list(self._held.values()))
        except Exception:
            # The journal keeps it all for the next start; a stop must not hang on the store.
            _LOGGER.exception("Entries of the access log are stored at the next start")
        self.forget_session()

    def forget_session(self) -> None:
        """Give the connection back; the next load opens another."""
        if self._session is not None:
            session, self._session = self._session, None
            self._store.close_session(session)

    def _ripe(self, entries: Iterable[Entry]) -> list[Entry]:
        """Return the entries to be stored now; those that something was begun are held."""
        ripe: list[Entry] = []
        for entry in entries:
            if entry.revision == ANSWERED:
                self._held.pop(entry.id, None)
                ripe.append(entry)
            else:
                self._held[entry.id] = entry
        return ripe

    def _release(self) -> None:
        """Store what was begun and has no answer after all that time."""
        before_us = (time.time() - HELD_S) * 1e6
        late = [entry for entry in self._held.values() if entry.time_us < before_us]
        if late:
            self._store_batch(late)
            for entry in late:
                del self._held[entry.id]

    def _store_batch(self, entries: Sequence[Entry]) -> int:
        """Store those of *entries* that are not stored; return how many that were."""
        if not entries:
            return 0
        session = self._current_session()
        ids = sorted(entry.id.replace("-", "") for entry in entries)
        asked = {"first": ids[0], "last": ids[-1]}
        known = {str(text): int(revision) for text, revision in session.query(_KNOWN, asked).rows}
        new = [
            entry for entry in entries if entry.revision > known.get(entry.id.replace("-", ""), 0)
        ]
        if new:
            rows = [entry.to_row() for entry in new]
            reach("access.before-insert")
            session.insert("access_log", AccessRow._fields, rows)
        return len(new)

    def _current_session(self) -> Session:
        if self._session is None:
            self._session = self._store.open_session()
        return self._session


def entries_of(segment: Path) -> Iterator[Entry]:
    """Yield the entries of a segment; one that a damaged disk made unreadable is left out."""
    for body in read_bodies(segment):
        try:
            yield Entry.from_bytes(body)
        except ValueError:
            _LOGGER.exception("An entry of the access log in %s cannot be read", segment.name)


def _batches(entries: Iterable[Entry]) -> Iterator[Sequence[Entry]]:
    left = iter(entries)
    while part := list(islice(left, _BATCH)):
        yield part
