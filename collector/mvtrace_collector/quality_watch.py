"""The scheduled sweep for the roll-up: over the hours whose requests or scores are new.

In: after each load, the hours its requests and scores lie in; at the start, those of what came in
since the last sweep before. Out: rows of the roll-up, how far it is, and the numbers for /metrics.
One thread, one statement at a time, each bounded in time and memory; between two sweeps it rests a
multiple of what the last one took, so that a busy collector is never busy with this.

How far was swept is in the store (``quality_progress``): an hour that fails, or is to be made anew
for the sake of another, stays there until it is made, and a comparison is refused meanwhile.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from mvtrace.errors import MvtraceError, StatementFailedError, UnavailableError
from mvtrace.quality.sources import BAD_EVENTS, FIRST, GIVEN, Asked
from mvtrace.store.session import Session
from mvtrace.store.store import Store
from mvtrace_collector.drift_dirty import Dirty
from mvtrace_collector.drift_dirty import Minutes as Range
from mvtrace_collector.inbox import Inbox
from mvtrace_collector.prices import PriceBook
from mvtrace_collector.quality_asked import asked_by
from mvtrace_collector.quality_hours import Hours
from mvtrace_collector.quality_progress import Progress, now_ms
from mvtrace_collector.quality_sweep import (
    HOUR_MS,
    SETTINGS,
    SLACK_MS,
    QualitySweep,
    hour_ids,
    steady,
)
from mvtrace_collector.statements import statement

_LOGGER: Final = logging.getLogger(__name__)

INTERVAL_S: Final = 60.0
"""How often is swept, where nothing else is set."""
SWEEP_S: Final = 60.0
"""How long at a time; what is left then is swept the next time."""
REST: Final = 4.0
"""So many times as long as a sweep took nothing is swept after it: at most a fifth of one core."""
MAX_REST_S: Final = 300.0
LOOK_BACK_MS: Final = 86_400_000
"""How far the first sweep of all looks back."""
WIDE: Final = 48
"""Of a range with more hours those in which something is new are asked for."""
MADE_HOURS: Final = 336
"""So many hours back a metric is made that a new plan asks for."""
MAKING_S: Final = 20.0
"""How long at a time."""
MAX_PROJECTS: Final = 256
_MAX_BACKOFF_S: Final = 60.0
_DAY_HOURS: Final = 24
_EVERY: Final = "request"


@dataclass(frozen=True, slots=True)
class QualityNumbers:
    """What the sweep says at one moment."""

    swept_at: float = 0.0
    """Unix time of the last sweep that came to its end; 0 before the first."""
    oldest_at: float = 0.0
    """Unix time since when something may have been received that is not in the roll-up; 0: it is
    not known."""
    seconds: float = 0.0
    """Spent on sweeps since the start."""
    hours: int = 0
    """Hours made anew since the start."""
    failed: int = 0
    """Times that one could not be."""

    @property
    def behind_s(self) -> float:
        """How far the roll-up is behind what was received."""
        return max(0.0, time.time() - self.oldest_at) if self.oldest_at else 0.0


class QualityWatch:
    """Keeps the roll-up of what one collector stores."""

    def __init__(self, store: Store, inbox: Inbox, *, interval_s: float = INTERVAL_S) -> None:
        self._store = store
        self._inbox = inbox
        self._interval_s = interval_s
        self._numbers = QualityNumbers()
        self._session: Session | None = None
        self._sweeps: dict[str, QualitySweep] = {}
        self._prices: PriceBook | None = None
        self._asked: dict[str, Asked] = {}
        self._made: dict[str, set[tuple[str, str]]] = {}
        self._progress: Progress | None = None
        self._turn = ""
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
            try:
                if self._progress is not None and self._session is not None:
                    self._progress.write(self._session)
            except MvtraceError as error:  # then the next start sweeps more than it needs to
                _LOGGER.warning("How far quality is cannot be written: %s", error)
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

        What is known is compared, unless it is too old; the next sweep tries again.
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
                    self._guarded_step(began + SWEEP_S)
                    self._make_missing(time.monotonic() + MAKING_S)
                rest = min(REST * (time.monotonic() - began), MAX_REST_S)
                pause = max(self._interval_s, rest)
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

        Return whether all of it is swept, as far as it can be.

        Raises:
            UnavailableError: the store does not answer; the next step begins with the same.
        """
        reached_ms = min(self._inbox.lag().oldest_ms or 1 << 62, now_ms())
        progress = self._progress or self._begin()
        self._asked.clear()
        with self._news:
            ranges = self._dirty.take()
        left = self._sweep_all(progress, ranges, ends_at)
        projects = {project for project, _ in ranges}
        progress.advance(self._current_session(), reached_ms, swept=projects, but=left)
        self._numbers = replace(
            self._numbers,
            oldest_at=(progress.oldest_ms or reached_ms) / 1000,
            swept_at=self._numbers.swept_at if left else time.time(),
        )
        return not left

    def _sweep_all(
        self, progress: Progress, ranges: Sequence[tuple[str, Range]], ends_at: float
    ) -> frozenset[str]:
        """Sweep the hours of *ranges* and those that lack something; return who has some left.

        What is not reached is dirty again.
        """
        waiting = list(ranges)
        hours = Hours(self._turn)
        try:
            while waiting:
                project, one = waiting[-1]
                hours.add(project, self._narrowed(progress, project, one))
                waiting.pop()
            for project, hour in progress.due():
                hours.add(project, (hour,))
            while hours and not self._stop.is_set() and time.monotonic() < ends_at:
                project, hour = hours.next()
                hours.add(project, self._sweep(progress, project, hour))
                hours.done(project)
            return hours.projects
        finally:
            self._turn = hours.turn
            with self._news:
                for project, one in (*waiting, *((of, (at, at)) for of, at in hours)):
                    self._dirty.add(project, one)

    def _begin(self) -> Progress:
        """Take up what came in since the last sweep of an earlier process."""
        session = self._current_session()
        progress = Progress(session, self._store.database, back_ms=LOOK_BACK_MS)
        newest = now_ms() // HOUR_MS + _DAY_HOURS
        found = self._received(progress, "", (0, newest))
        with self._news:
            for project, hour in found:
                self._dirty.add(project, (hour, hour))
        self._progress = progress
        return progress

    def _narrowed(self, progress: Progress, project: str, hours: Range) -> list[int]:
        """Return *hours* one by one; of a wide range only those in which something is new."""
        if hours[1] - hours[0] <= WIDE:
            return list(range(hours[0], hours[1] + 1))
        return [hour for _, hour in self._received(progress, project, hours)]

    def _received(self, progress: Progress, project: str, hours: Range) -> list[tuple[str, int]]:
        rows = self._current_session().query(
            statement("quality_received", self._store.database),
            {
                "projects": list(progress.reached),
                "reached": list(progress.reached.values()),
                "others_ms": progress.others_ms,
                "slack_ms": SLACK_MS,
                "project": project,
                "first": hour_ids(hours[0])["first"],
                "last": hour_ids(hours[1])["last"],
            },
        )
        return [(str(of_project), int(hour)) for of_project, hour in rows.rows]

    def _sweep(self, progress: Progress, project: str, hour: int) -> list[int]:
        """Sweep an hour; return which later ones are to be swept for its sake."""
        began = time.monotonic()
        later: list[int] = []

        def note(hours: list[int]) -> None:
            progress.lack(self._current_session(), project, hours)
            later.extend(hours)

        try:
            sweep = self._of(project)
            if not sweep.is_empty(hour):
                prices = self._price_book().learn(project, *hour_ids(hour).values())
                sweep.sweep(hour, self._asked_in(project), prices=prices, again=note)
                self._numbers = replace(self._numbers, hours=self._numbers.hours + 1)
            progress.made(project, hour)
        except UnavailableError:
            raise
        except Exception as error:
            # Whatever somebody's records hold: others are swept, and this is tried again, seldom.
            is_foreseen = isinstance(error, StatementFailedError)
            _LOGGER.warning("An hour cannot be swept: %s", error, exc_info=not is_foreseen)
            self._forget_session()
            progress.failed(project, hour)
            self._numbers = replace(self._numbers, failed=self._numbers.failed + 1)
        seconds = self._numbers.seconds + time.monotonic() - began
        self._numbers = replace(self._numbers, seconds=seconds)
        return later

    def _make_missing(self, ends_at: float) -> bool:
        """Make, the newest hours first, what plans ask for and earlier sweeps did not make.

        Return whether that is done.
        """
        progress = self._progress or self._begin()
        since = now_ms() // HOUR_MS - MADE_HOURS
        for project in list(self._sweeps):
            wanted = set(_derived(self._asked_in(project)))
            made = self._made[project] = self._made.get(project, set()) & wanted
            for name, source in sorted(wanted - made):
                for hour in self._of(project).missing(source, name, since=since):
                    if self._stop.is_set() or time.monotonic() > ends_at:
                        return False
                    self._sweep(progress, project, hour)  # what is next for its sake is noted
                made.add((name, source))
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


def _derived(asked: Asked) -> Iterator[tuple[str, str]]:
    """Yield what plans ask for that not every hour has, each with what it is made of."""
    yield from ((one.name, one.source) for one in asked.sources)
    yield from ((f"{name}{GIVEN}", _EVERY) for name in asked.wanted)
    yield from ((f"{name}{FIRST}", name) for name in asked.events if name not in BAD_EVENTS)
