"""From the inbox to the tables: takes sealed segments, loads them, marks them stored.

In: an open store and an inbox. Out: rows, counted a table. A segment that the engine cannot take is
halved until the batch at fault stands alone; that one goes to `quarantine` as it came, the rest is
stored. A store that does not answer is asked again for ever: what was accepted is never given up.
One thread; nothing here decides what was accepted.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mvtrace.errors import StatementFailedError, UnavailableError
from mvtrace.store.session import Session
from mvtrace.store.store import Store
from mvtrace_collector.failpoints import reach
from mvtrace_collector.inbox import Inbox, Intent
from mvtrace_collector.logs import described
from mvtrace_collector.poison import QUARANTINE_COLUMNS, Frame, quarantine_row, split_frames
from mvtrace_collector.recovery import PartsBook
from mvtrace_collector.stage import (
    PAYLOAD_DAYS,
    PRESSURE_CODES,
    SegmentStage,
    ShortLoadError,
    UnloadableSegmentError,
)

_LOGGER: Final = logging.getLogger(__name__)
SCHEMA_CACHE: Final = "__cache__"
"""Where the engine keeps schemas, below the process's directory, which is the inbox's."""
_IDLE_S: Final = 0.05
_MAX_REST_S: Final = 1.0
_LARGE_BYTES: Final = 1024 * 1024
_FIRST_BACKOFF_S: Final = 0.5
_MAX_BACKOFF_S: Final = 30.0
_HEALING_TRIES: Final = 3
_EDGE_BYTES: Final = 4096
_SESSION_SETTINGS: Final = {
    "compile_expressions": "0",
    "compile_aggregate_expressions": "0",
    "compile_sort_description": "0",
}
"""Machine code made for a statement is not worth making where a load is a dozen statements."""


@dataclass
class LoaderStats:
    """What the loader has done since the start."""

    rows: Counter[str] = field(default_factory=Counter)
    segments: int = 0
    errors: int = 0
    """Loads that failed; each was tried again."""
    unloadable: int = 0
    """Batches that went to quarantine as they came."""
    replays: int = 0
    """Loads repeated under another token, since rows were missing after them."""
    seconds: float = 0.0
    """Time spent on loads that came to their end."""
    last_error: str | None = None
    """What kind of error the last load met; None once one has succeeded."""


class Loader:
    """Loads the segments of one inbox into one store."""

    def __init__(self, store: Store, inbox: Inbox | None = None) -> None:
        self.stats = LoaderStats()
        self._store = store
        self._inbox = inbox
        self._session: Session | None = None
        self._healed = 0
        self._schema_edition = -1
        self.memory_bytes = 0
        """What the engine may use for one statement; 0 leaves it to the engine."""
        self.exclusive = threading.Lock()
        """Held while a segment is loaded: an erasure waits for it, and it for an erasure."""
        self.payload_days = PAYLOAD_DAYS
        self.digest_key = ""
        self.book: PartsBook | None = None
        """Where the store's parts are written down after each load."""
        self.on_stored: Callable[[Sequence[tuple[Any, ...]], Sequence[str]], None] | None = None
        """Told, after a load, the numbers of its records and the producers that spoke in it."""
        self.on_scored: Callable[[Sequence[tuple[str, int]]], None] | None = None
        """Told, after a load, of which hours' requests it had scores, by project."""

    def run(self, stop: threading.Event) -> None:
        """Load what the inbox has until *stop* is set; errors are logged and tried again."""
        backoff = _FIRST_BACKOFF_S
        self._forget_schemas()
        while not stop.is_set():
            try:
                started = time.monotonic()
                is_busy = self.load_next()
                self.stats.last_error = None if is_busy else self.stats.last_error
                self.stats.seconds += time.monotonic() - started if is_busy else 0.0
                if self.book is not None and not is_busy:
                    self.book.settle()
                stop.wait(self._rest_s(time.monotonic() - started) if is_busy else _IDLE_S)
                backoff = _FIRST_BACKOFF_S
            except Exception as error:
                # Whatever it was: the segment stays in the inbox, and the thread lives on.
                self.stats.errors += 1
                self.stats.last_error = described(error)
                self._forget_session()
                if isinstance(error, StatementFailedError):
                    self._forget_schemas()
                is_foreseen = isinstance(error, UnavailableError)
                _LOGGER.warning("Loading failed: %s", error, exc_info=not is_foreseen)
                stop.wait(backoff)
                backoff = min(2 * backoff, _MAX_BACKOFF_S)
        self.close()

    def _rest_s(self, elapsed_s: float) -> float:
        """Return how long to collect before the next load: a small one costs as much as a large."""
        if self._inbox is None:
            return 0.0
        lag = self._inbox.lag()
        # Of several segments all but the last are sealed, and do not grow by waiting.
        is_pressing = lag.segments > 1 or lag.bytes >= _LARGE_BYTES
        return 0.0 if is_pressing else min(_MAX_REST_S, 2 * elapsed_s)

    def load_next(self) -> bool:
        """Load and mark the next segment of the inbox; return whether there was one."""
        intent = self._inbox.take() if self._inbox is not None else None
        if intent is None or self._inbox is None:
            return False
        with self.exclusive:
            rows = self.load(intent)
        reach("loader.before-mark")
        self._inbox.mark_stored(intent, rows)
        reach("loader.after-mark")
        if self.book is not None:
            self.book.stored(intent.id)
        return True

    def load(self, intent: Intent) -> Mapping[str, int]:
        """Store the segment of *intent* and return the number of rows a table; durable on return.

        Loaded twice, under the same epoch or another, it gives the same rows once.

        Raises:
            UnavailableError: the store does not answer, or lost what it had taken.
            StatementFailedError: the store refuses for a reason that is not in the data.

        """
        return self.load_segment(intent.path, token=f"{intent.epoch}:{intent.id}")

    def load_segment(self, segment: Path, *, token: str = "") -> Mapping[str, int]:
        """Store one segment file; *token* names this try among those of the same file."""
        rows = self._load(segment, f"{_fingerprint(segment)}:{token}")
        self.stats.segments += 1
        self.stats.rows.update(rows)
        return rows

    def close(self) -> None:
        """Give the session back; the next load opens another."""
        if self.book is not None:
            self.book.settle(is_last=True)
        self._forget_session()

    def _load(self, segment: Path, token: str) -> Counter[str]:
        try:
            return self._load_whole(segment, token)
        except UnloadableSegmentError as error:
            frames, rest = split_frames(segment.read_bytes())
            if rest:
                frames.append(Frame(rest, "default", 0, 0))
            _LOGGER.warning("A segment of %d batches cannot be loaded: %s", len(frames), error)
            if len(frames) == 1:
                if isinstance(error.__cause__, StatementFailedError) and (
                    error.__cause__.store_code in PRESSURE_CODES
                ):
                    raise error.__cause__ from None  # the whole is tried again until it fits
                return self._quarantine(frames[0], str(error))
            return self._load_halves(frames, token)

    def _load_whole(self, segment: Path, token: str) -> Counter[str]:
        for _ in range(_HEALING_TRIES - 1):
            try:
                return self._load_stage(token, segment)
            except ShortLoadError as error:
                # The engine swallowed rows under a token it has seen: only a new one gets through.
                self._healed += 1
                self.stats.replays += 1
                token = f"{token}.{self._healed}"
                _LOGGER.warning("Loading again: %s", error)
        return self._load_stage(token, segment)

    def _load_stage(self, token: str, segment: Path) -> Counter[str]:
        stage = self._stage(token)
        rows = stage.load(segment)
        if self.on_stored is not None:
            self.on_stored(stage.numbers, stage.spoken)
        if self.on_scored is not None and stage.scored:
            self.on_scored(stage.scored)
        return rows

    def _load_halves(self, frames: list[Frame], token: str) -> Counter[str]:
        rows: Counter[str] = Counter()
        middle = len(frames) // 2
        with tempfile.TemporaryDirectory(prefix="mvtrace-") as folder:
            for number, part in enumerate((frames[:middle], frames[middle:])):
                path = Path(folder) / f"{number}.segment"
                path.write_bytes(b"".join(frame.raw for frame in part))
                rows.update(self._load(path, f"{token}/{number}"))
        return rows

    def _quarantine(self, frame: Frame, detail: str) -> Counter[str]:
        self._stage("").check_reading()
        self._current_session().insert(
            "quarantine", QUARANTINE_COLUMNS, [quarantine_row(frame, detail)]
        )
        self.stats.unloadable += 1
        return Counter({"quarantine": 1})

    def _stage(self, token: str) -> SegmentStage:
        stage = SegmentStage(self._current_session(), self._store.database, token=token)
        stage.retention_days = self.payload_days
        stage.digest_key = self.digest_key
        stage.schema_edition = max(0, self._schema_edition)
        return stage

    def _current_session(self) -> Session:
        if self._session is None:
            memory = {"max_memory_usage": str(self.memory_bytes)} if self.memory_bytes else {}
            self._session = self._store.open_session({**_SESSION_SETTINGS, **memory})
        return self._session

    def _forget_session(self) -> None:
        if self._session is not None:
            session, self._session = self._session, None
            self._store.close_session(session)

    def _forget_schemas(self) -> None:
        """Delete what the engine keeps of the schemas that it was told.

        It takes such a file for good, and what it read of it too: one that a full disk or a power
        loss cut short would fail every load from then on.
        """
        self._schema_edition += 1
        if self._inbox is not None:
            for path in (self._inbox.directory / SCHEMA_CACHE).glob("*.proto"):
                with contextlib.suppress(OSError):
                    path.unlink()


def load_segment(store: Store, segment: Path, *, token: str = "") -> Mapping[str, int]:
    """Store one segment file, without an inbox; see ``Loader.load_segment``."""
    loader = Loader(store)
    try:
        return loader.load_segment(segment, token=token)
    finally:
        loader.close()


def _fingerprint(segment: Path) -> str:
    """Return what tells this segment's tokens from those of any other collector's.

    The frames at both ends carry times, numbers, checksums and batch keys.
    """
    size = segment.stat().st_size
    with segment.open("rb") as file:
        edges = file.read(_EDGE_BYTES)
        file.seek(max(0, size - _EDGE_BYTES))
        edges += file.read(_EDGE_BYTES)
    return hashlib.sha256(edges + str(size).encode()).hexdigest()[:32]
