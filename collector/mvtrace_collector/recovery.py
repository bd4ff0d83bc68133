"""Parts of the store that are gone: noticed at the start, loaded again from the inbox, or told.

In: what the engine says of its parts, now and when it was last written down (``parts.json`` in the
inbox), each with the segments it was made from. Out: those segments, to be loaded once more under a
new epoch; those that the inbox no longer has are named in the log and in ``quarantine``. An engine
that finds a damaged part puts it aside, and one whose folder was deleted it does not miss at all:
only a list of what was there can tell. Reading every row again is ``mvtrace verify``'s business.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from mvtrace.errors import MvtraceError
from mvtrace.store.store import Store
from mvtrace_collector.inbox import Inbox
from mvtrace_collector.logs import alarm
from mvtrace_collector.poison import QUARANTINE_COLUMNS
from mvtrace_collector.segment_writer import sync_directory

_LOGGER: Final = logging.getLogger(__name__)
BOOK_FILE: Final = "parts.json"
MOST_REST_S: Final = 2.0
REST_FOR_WORK: Final = 20.0
"""Writing the parts down may take a twentieth of the loader's time."""
LOST_PART: Final = "lost-part"
"""Reason of the rows in ``quarantine`` that name what nothing can bring back."""
_SHOWN: Final = 20
_PARTS: Final = """
SELECT table, partition_id, name, min_block_number, max_block_number, rows
FROM system.parts WHERE database = {database:String} AND active
    AND table NOT IN ('payloads', 'access_log')
ORDER BY table, partition_id, min_block_number
"""


class Part(NamedTuple):
    """One part of a table, and the segments (first and last id) whose rows are in it."""

    table: str
    partition: str
    name: str
    first_block: int
    last_block: int
    rows: int
    first_segment: int = 0
    last_segment: int = 0

    def covers(self, other: Part) -> bool:
        """Whether this part is *other*, or was merged from it."""
        return (
            (self.table, self.partition) == (other.table, other.partition)
            and self.first_block <= other.first_block
            and self.last_block >= other.last_block
        )


@dataclass(frozen=True)
class Findings:
    """What a start found."""

    lost: tuple[Part, ...] = ()
    reopened: tuple[int, ...] = ()
    """Segments that are loaded again."""
    gone: tuple[int, ...] = ()
    """Segments of lost parts that the inbox no longer has."""


class PartsBook:
    """Writes down which parts there are and where they came from; used by the loader's thread."""

    def __init__(self, store: Store, inbox: Inbox) -> None:
        self._store = store
        self._inbox = inbox
        self._path = inbox.directory / BOOK_FILE
        self._parts = read_book(self._path).parts
        self._loaded: list[int] = []
        self._due_at = float("-inf")

    def stored(self, segment: int) -> None:
        """Note that *segment* is stored and marked; written down now or within MOST_REST_S."""
        self._loaded.append(segment)
        self.settle()

    def settle(self, *, is_last: bool = False) -> None:
        """Write down what was noted, if it is time for that."""
        if self._loaded and (is_last or time.monotonic() >= self._due_at):
            try:
                self._write()
            except (OSError, MvtraceError):
                _LOGGER.exception("The store's parts are written down later")
                self._due_at = time.monotonic() + MOST_REST_S

    def _write(self) -> None:
        began = time.monotonic()
        self._parts = _traced(current_parts(self._store), self._parts, self._loaded)
        self._loaded = []
        _write_book(self._path, self._inbox.stored_at_ms(), self._parts)
        ended = time.monotonic()
        self._due_at = ended + min(MOST_REST_S, REST_FOR_WORK * (ended - began))


class Book(NamedTuple):
    """What was last written down."""

    at_ms: int
    """When the last segment was marked that these parts have."""
    parts: tuple[Part, ...]


def current_parts(store: Store) -> tuple[Part, ...]:
    """Return the active parts of all tables."""
    rows = store.query(_PARTS, {"database": store.database}).rows
    return tuple(Part(*row) for row in rows)


def recover(store: Store, inbox: Inbox) -> Findings:
    """Compare *store* with what was written down; reopen in *inbox* what has to be loaded again.

    Called before the loader starts. Segments that were stored after the last writing are reopened
    too: their tokens tell the engine what it has, and counting tells the loader what it lacks.
    """
    book = read_book(inbox.directory / BOOK_FILE)
    if store.kind != "embedded" or not book.at_ms:
        return Findings()
    now = current_parts(store)
    lost = tuple(old for old in book.parts if not any(part.covers(old) for part in now))
    wanted = {number for part in lost for number in _segments_of(part)}
    young = inbox.stored_segments(after_ms=book.at_ms)
    reopened = inbox.reopen(wanted, is_new_epoch=True)
    gone = tuple(sorted(wanted - set(reopened)))
    reopened = (*reopened, *inbox.reopen(set(young) - wanted, is_new_epoch=False))
    if lost:
        _tell(store, lost, gone)
    try:
        _write_book(inbox.directory / BOOK_FILE, book.at_ms, _traced(now, book.parts, ()))
    except OSError:  # a full disk must not keep what is accepted from being stored
        _LOGGER.exception("The store's parts are written down later")
    return Findings(lost, reopened, gone)


def _segments_of(part: Part) -> range:
    if not part.last_segment:
        return range(0)
    return range(part.first_segment, part.last_segment + 1)


def _traced(now: Iterable[Part], before: Iterable[Part], loaded: Iterable[int]) -> tuple[Part, ...]:
    """Return the parts of *now* with their segments: those of what they cover, and of the news."""
    old = tuple(before)
    newest: dict[str, int] = {}
    for part in old:
        newest[part.table] = max(newest.get(part.table, -1), part.last_block)
    fresh = sorted(loaded)
    traced = []
    for part in now:
        sources = [number for one in old if part.covers(one) for number in _edges(one)]
        if part.last_block > newest.get(part.table, -1):
            sources += fresh
        first, last = (min(sources), max(sources)) if sources else (0, 0)
        traced.append(part._replace(first_segment=first, last_segment=last))
    return tuple(traced)


def _edges(part: Part) -> tuple[int, ...]:
    return (part.first_segment, part.last_segment) if part.last_segment else ()


def _tell(store: Store, lost: Iterable[Part], gone: tuple[int, ...]) -> None:
    missing = set(gone)
    for part in lost:
        segments = _segments_of(part)
        without = [number for number in segments if number in missing]
        outcome = "its segments are loaded again from the inbox"
        if without or not segments:
            outcome = f"the inbox has no segment {_shown(without) or 'of it'} any more"
        text = f"Part {part.name} of {part.table} ({part.rows} rows) is gone; {outcome}"
        alarm(_LOGGER, LOST_PART, text, table=part.table, part=part.name, segments_gone=without)
        if without:
            _keep(store, part, text)


def _keep(store: Store, part: Part, text: str) -> None:
    """Let whoever reads the store know what it lacks."""
    key = hashlib.sha256(f"{part.table}/{part.name}".encode()).digest()[:16]
    subject = f"{part.table} {part.name}"
    row = ("default", datetime.now(UTC), key, LOST_PART, text, subject, "")
    with store.session() as session:
        session.insert("quarantine", QUARANTINE_COLUMNS, [row])


def _shown(numbers: list[int]) -> str:
    text = ", ".join(map(str, numbers[:_SHOWN]))
    return f"{text} and {len(numbers) - _SHOWN} more" if len(numbers) > _SHOWN else text


def read_book(path: Path) -> Book:
    """Return what was last written down; a book that is not there or damaged says nothing."""
    try:
        plain: Mapping[str, Any] = json.loads(path.read_bytes())
        return Book(int(plain["at_ms"]), tuple(Part(*row) for row in plain["parts"]))
    except FileNotFoundError:
        return Book(0, ())
    except (ValueError, TypeError, KeyError):
        _LOGGER.exception("%s cannot be read: lost parts are not noticed at this start", path)
        return Book(0, ())


def _write_book(path: Path, at_ms: int, parts: Iterable[Part]) -> None:
    fresh = path.with_name(f"{path.name}.new")
    with fresh.open("wb") as file:
        file.write(json.dumps({"at_ms": at_ms, "parts": list(parts)}).encode())
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    sync_directory(path.parent)
