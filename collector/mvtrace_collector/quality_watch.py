"""The scheduled sweep for the roll-up: over the hours whose requests or scores are new.

In: after each load, the hours its requests and scores lie in; at the start, those of what came in
since the last sweep before. Out: rows of the roll-up, and the numbers for /metrics. One thread, one
statement at a time, each bounded in time and memory; between two sweeps it rests a multiple of what
the last one took, so that a busy collector is never busy with this.

How far was swept is in a file of the inbox's directory, with the hours that are to be made anew for
the sake of others; without it the last day is swept again, which changes nothing that is known.
"""

from __future__ import annotations

import contextlib
import heapq
import json
import logging
import math
import os
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from mvtrace.errors import MvtraceError, StatementFailedError, UnavailableError
from mvtrace.quality.sources import Asked
from mvtrace.store.session import Session
from mvtrace.store.store import Store
from mvtrace_collector.drift_dirty import Dirty
from mvtrace_collector.drift_dirty import Minutes as Hours
from mvtrace_collector.inbox import Inbox
from mvtrace_collector.prices import PriceBook
from mvtrace_collector.quality_asked import asked_by
from mvtrace_collector.quality_sweep import HOUR_MS, SETTINGS, QualitySweep, hour_ids, steady
from mvtrace_collector.statements import statement

_LOGGER: Final = logging.getLogger(__name__)

INTERVAL_S: Final = 60.0
"""How often is swept, where nothing else is set."""
REST: Final = 4.0
"""So many times as long as a sweep took nothing is swept after it: at most a fifth of one core."""
LOOK_BACK_MS: Final = 86_400_000
"""How far the first sweep of all looks back."""
SLACK_MS: Final = 600_000
WIDE: Final = 48
"""Of a range with more hours those in which something is new are asked for."""
MADE_HOURS: Final = 336
"""So many hours back a metric is made that a new plan asks for."""
MAKING_S: Final = 20.0
"""How long at a time."""
MAX_PROJECTS: Final = 256
_MAX_BACKOFF_S: Final = 60.0
_DAY_HOURS: Final = 24
_FILE: Final = "quality.json"


@dataclass(frozen=True, slots=True)
class QualityNumbers:
    """What the sweep says at one moment."""

    swept_at: float = 0.0
    """Unix time of the last sweep that came to its end; 0 before the first."""
    seconds: float = 0.0
    """Spent on sweeps since the start."""
    hours: int = 0
    """Hours made anew since the start."""
    failed: int = 0
    """Hours that could not be."""


class QualityWatch:
    """Keeps the roll-up of what one collector stores."""

    def __init__(self, store: Store, inbox: Inbox, *, interval_s: float = INTERVAL_S) -> None:
        self._store = store
        self._inbox = inbox
        self._interval_s = interval_s
        self._file = inbox.directory / _FILE
        self._numbers = QualityNumbers()
        self._session: Session | None = None
        self._sweeps: dict[str, QualitySweep] = {}
        self._prices: PriceBook | None = None
        self._asked: dict[str, Asked] = {}
        self._made: dict[str, set[tuple[str, str]]] = {}
        self._swept_ms: int | None = None
        self._again: dict[str, set[int]] = {}
        self._noted: _Kept | None = None
        self._news = threading.Lock()
        self._dirty = Dirty()
        self._stepping = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="quality", daemon=True)

    @property
    def numbers(self) -> QualityNumbers:
        """What was swept, for any thread."""
        return self._numbers

    def stored(self, numbers: Sequence[tuple[Any, ...]]) -> None:
        """Note what requests a load has stored; from the loader's thread."""
        with self._news:
            for project, *_, lowest_ms, highest_ms in numbers:
                self._dirty.add(project, (lowest_ms // HOUR_MS, highest_ms // HOUR_MS))

    def scored(self, hours: Iterable[tuple[str, int]]) -> None:
        """Note of which hours' requests a load has stored scores; from the loader's thread."""
        with self._news:
            for project, hour in hours:
                self._dirty.add(project, (hour, hour))

    def start(self) -> None:
        """Begin to sweep, unless the interval is 0."""
        if self._interval_s > 0:
            self._thread.start()

    def stop(self) -> None:
        """End; a statement under way is waited for."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        with self._stepping:
            self._forget_session()

    def sweep_now(self, within_s: float = 5.0) -> bool:
        """Sweep what is stored by now, for somebody who compares; return whether that is done.

        Raises:
            UnavailableError: the store does not answer.
        """
        ends_at = time.monotonic() + within_s
        if not self._stepping.acquire(timeout=within_s):
            return False
        try:
            if self._stop.is_set() or not self._guarded_step(ends_at):
                return False
            return self._make_missing(ends_at)
        finally:
            self._stepping.release()

    def refresh(self) -> None:
        """Sweep, for somebody who compares, unless that was done within an interval; never raises.

        What is known is compared; the next sweep tries again.
        """
        if self._interval_s > 0 and time.time() - self._numbers.swept_at < self._interval_s:
            return
        try:
            self.sweep_now()
        except MvtraceError as error:
            _LOGGER.warning("Quality cannot be swept: %s", error)

    def _run(self) -> None:
        pause = self._interval_s
        while not self._stop.wait(pause):
            began = time.monotonic()
            try:
                with self._stepping:
                    self._guarded_step()
                    self._make_missing(began + MAKING_S)
                pause = max(self._interval_s, REST * (time.monotonic() - began))
            except Exception as error:
                # Whatever it was: what is dirty stays so, and is swept the next time.
                is_foreseen = isinstance(error, UnavailableError)
                _LOGGER.warning("Quality cannot be swept: %s", error, exc_info=not is_foreseen)
                pause = min(2 * pause, max(_MAX_BACKOFF_S, self._interval_s))

    def _guarded_step(self, ends_at: float = math.inf) -> bool:
        try:
            return self.step(ends_at)
        except Exception:
            self._forget_session()
            raise

    def step(self, ends_at: float = math.inf) -> bool:
        """Sweep what is new until *ends_at* on the monotonic clock; not for two threads at once.

        Return whether all of it is swept.

        Raises:
            UnavailableError: the store does not answer; the next step begins with the same.
        """
        lag = self._inbox.lag()
        reached_ms = min(lag.oldest_ms or 1 << 62, time.time_ns() // 1_000_000)
        if self._swept_ms is None:
            self._begin()
        self._asked.clear()
        with self._news:
            ranges = self._dirty.take()
        if not self._sweep_all(ranges, ends_at):
            return False
        self._note_end(reached_ms)
        return True

    def _sweep_all(self, ranges: Sequence[tuple[str, Hours]], ends_at: float) -> bool:
        """Sweep the hours of *ranges*, in order of time: what is first is told by what was before.

        What is not reached is dirty again.
        """
        waiting = list(ranges)
        try:
            hours = {(of, hour) for of, one in ranges for hour in self._narrowed(of, one)}
            waiting = [(project, (hour, hour)) for project, hour in hours]
            heap = sorted(hours)
            while heap and not self._stop.is_set() and time.monotonic() < ends_at:
                project, hour = heap[0]
                for later in self._sweep(project, hour):
                    if (project, later) not in hours:
                        hours.add((project, later))
                        heapq.heappush(heap, (project, later))
                hours.discard(heapq.heappop(heap))
                waiting = [(of, (one, one)) for of, one in hours]
            return not heap
        finally:
            with self._news:
                for project, one in waiting:
                    self._dirty.add(project, one)

    def _begin(self) -> None:
        """Take up what came in since the last sweep of an earlier process."""
        now_ms = time.time_ns() // 1_000_000
        kept = _read(self._file)
        self._swept_ms = min(kept.swept_ms or now_ms - LOOK_BACK_MS, now_ms)
        newest = now_ms // HOUR_MS + _DAY_HOURS
        found = self._received("", (0, newest))
        self._again = {project: set(hours) for project, hours in kept.again.items()}
        with self._news:
            for project, hour in found:
                self._dirty.add(project, (hour, hour))
            for project, hours in self._again.items():
                for hour in hours:
                    self._dirty.add(project, (hour, hour))

    def _narrowed(self, project: str, hours: Hours) -> list[int]:
        """Return *hours* one by one; of a wide range only those in which something is new."""
        if hours[1] - hours[0] <= WIDE:
            return list(range(hours[0], hours[1] + 1))
        return [hour for _, hour in self._received(project, hours)]

    def _received(self, project: str, hours: Hours) -> list[tuple[str, int]]:
        ids = (hour_ids(hours[0])["first"], hour_ids(hours[1])["last"])
        rows = self._current_session().query(
            statement("quality_received", self._store.database),
            {
                "since_ms": (self._swept_ms or 0) - SLACK_MS,
                "project": project,
                "first": ids[0],
                "last": ids[1],
            },
        )
        return [(str(of_project), int(hour)) for of_project, hour in rows.rows]

    def _sweep(self, project: str, hour: int) -> list[int]:
        """Sweep an hour; return which later ones are to be swept for its sake."""
        began = time.monotonic()
        later: list[int] = []

        def note(hours: list[int]) -> None:
            later.extend(hours)
            self._again.setdefault(project, set()).update(hours)
            self._note()

        try:
            sweep = self._of(project)
            prices = self._price_book().learn(project, *hour_ids(hour).values())
            sweep.sweep(hour, self._asked_in(project), prices=prices, again=note)
        except UnavailableError:
            raise
        except Exception as error:
            # Whatever somebody's records hold: others are swept, and nothing is tried for ever.
            is_foreseen = isinstance(error, StatementFailedError)
            _LOGGER.warning("An hour cannot be swept: %s", error, exc_info=not is_foreseen)
            self._forget_session()
            self._numbers = replace(self._numbers, failed=self._numbers.failed + 1)
        self._again.get(project, set()).discard(hour)
        numbers = self._numbers
        seconds = numbers.seconds + time.monotonic() - began
        self._numbers = replace(numbers, seconds=seconds, hours=numbers.hours + 1)
        return later

    def _make_missing(self, ends_at: float) -> bool:
        """Make, the newest hours first, what plans ask for and earlier sweeps did not make.

        Return whether that is done.
        """
        since = time.time_ns() // 1_000_000 // HOUR_MS - MADE_HOURS
        for project in list(self._sweeps):
            asked = self._asked_in(project)
            made = {(one.name, one.source) for one in asked.sources}
            wanted = made - self._made.get(project, set())
            for name, source in sorted(wanted):
                for hour in self._of(project).missing(source, name, since=since):
                    if self._stop.is_set() or time.monotonic() > ends_at:
                        return False
                    found = self._sweep(project, hour)
                    with self._news:
                        for later in found:
                            self._dirty.add(project, (later, later))
                self._made.setdefault(project, set()).add((name, source))
        return True

    def _asked_in(self, project: str) -> Asked:
        if project not in self._asked:
            self._asked[project] = asked_by(self._of(project).plans())
        return self._asked[project]

    def _of(self, project: str) -> QualitySweep:
        session = self._current_session()
        if project not in self._sweeps:
            if len(self._sweeps) >= MAX_PROJECTS:
                self._sweeps.clear()
            self._sweeps[project] = QualitySweep(session, self._store.database, project)
        return self._sweeps[project]

    def _price_book(self) -> PriceBook:
        if self._prices is None:
            self._prices = PriceBook(self._current_session(), self._store.database)
        return self._prices

    def _note_end(self, reached_ms: int) -> None:
        self._numbers = replace(self._numbers, swept_at=time.time())
        self._swept_ms = reached_ms
        with contextlib.suppress(OSError):  # then the next start sweeps more than it needs to
            self._note()

    def _note(self) -> None:
        """Write down how far was swept, and what is to be swept again."""
        again = {project: sorted(hours) for project, hours in self._again.items() if hours}
        now = _Kept(self._swept_ms, again)
        if now != self._noted:
            _write(self._file, now)
            self._noted = now

    def _current_session(self) -> Session:
        if self._session is None:
            self._session = self._store.open_session(SETTINGS)
            steady(self._session)
        return self._session

    def _forget_session(self) -> None:
        self._sweeps.clear()
        self._prices = None
        if self._session is not None:
            session, self._session = self._session, None
            self._store.close_session(session)


@dataclass(frozen=True, slots=True)
class _Kept:
    """What the file says."""

    swept_ms: int | None = None
    again: Mapping[str, list[int]] = field(default_factory=dict)


def _read(path: Path) -> _Kept:
    try:
        said = json.loads(path.read_text("utf-8"))
        again = {str(of): [int(hour) for hour in hours] for of, hours in said["again"].items()}
        return _Kept(int(said["swept_ms"]), again)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return _Kept()


def _write(path: Path, kept: _Kept) -> None:
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump({"swept_ms": kept.swept_ms or 0, "again": kept.again}, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
