"""From the inbox to the tables: takes sealed segments, loads them, marks them stored.

In: an open store and an inbox. Out: rows, counted a table. A segment that the engine cannot take is
halved until the batch at fault stands alone; that one goes to `quarantine` as it came, the rest is
stored. A store that does not answer is asked again for ever: what was accepted is never given up.
One thread; nothing here decides what was accepted.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mvtrace.errors import UnavailableError
from mvtrace.store.session import Session
from mvtrace.store.store import Store
from mvtrace_collector.inbox import Inbox, Intent
from mvtrace_collector.poison import QUARANTINE_COLUMNS, Frame, quarantine_row, split_frames
from mvtrace_collector.stage import SegmentStage, ShortLoadError, UnloadableSegmentError

_LOGGER: Final = logging.getLogger(__name__)
_IDLE_S: Final = 0.05
_MAX_REST_S: Final = 1.0
_LARGE_BYTES: Final = 1024 * 1024
_FIRST_BACKOFF_S: Final = 0.5
_MAX_BACKOFF_S: Final = 30.0
_HEALING_TRIES: Final = 3
_EDGE_BYTES: Final = 4096


@dataclass
class LoaderStats:
    """What the loader has done since the start."""

    rows: Counter[str] = field(default_factory=Counter)
    segments: int = 0
    errors: int = 0
    """Loads that failed; each was tried again."""
    unloadable: int = 0
    """Batches that went to quarantine as they came."""


class Loader:
    """Loads the segments of one inbox into one store."""

    def __init__(self, store: Store, inbox: Inbox | None = None) -> None:
        self.stats = LoaderStats()
        self._store = store
        self._inbox = inbox
        self._session: Session | None = None
        self._healed = 0

    def run(self, stop: threading.Event) -> None:
        """Load what the inbox has until *stop* is set; errors are logged and tried again."""
        backoff = _FIRST_BACKOFF_S
        while not stop.is_set():
            try:
                started = time.monotonic()
                is_busy = self.load_next()
                stop.wait(self._rest_s(time.monotonic() - started) if is_busy else _IDLE_S)
                backoff = _FIRST_BACKOFF_S
            except Exception as error:
                # Whatever it was: the segment stays in the inbox, and the thread lives on.
                self.stats.errors += 1
                self._forget_session()
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
        self._inbox.mark_stored(intent, self.load(intent))
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
                return self._quarantine(frames[0], str(error))
            return self._load_halves(frames, token)

    def _load_whole(self, segment: Path, token: str) -> Counter[str]:
        for _ in range(_HEALING_TRIES - 1):
            try:
                return self._stage(token).load(segment)
            except ShortLoadError as error:
                # The engine swallowed rows under a token it has seen: only a new one gets through.
                self._healed += 1
                token = f"{token}.{self._healed}"
                _LOGGER.warning("Loading again: %s", error)
        return self._stage(token).load(segment)

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
        return SegmentStage(self._current_session(), self._store.database, token=token)

    def _current_session(self) -> Session:
        if self._session is None:
            self._session = self._store.open_session()
        return self._session

    def _forget_session(self) -> None:
        if self._session is not None:
            session, self._session = self._session, None
            self._store.close_session(session)


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
