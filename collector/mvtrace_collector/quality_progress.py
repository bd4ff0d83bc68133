"""How far the roll-up is: kept in the store, so that it holds after a restart and for any reader.

In: what was swept, and what could not be. Out: rows of ``quality_swept``: up to when all that a
project received is in the roll-up, and the hours that lack something nevertheless: they failed, or
are to be made again for the sake of an earlier hour. Such an hour is written down before anything
that depends on it, and taken back later than it was made, so that a kill in between loses none.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from mvtrace.store.session import Session
from mvtrace_collector.statements import statement

WRITE_MS: Final = 240_000
"""What is written of a project's progress is older than it is by that much at most."""
FIRST_PAUSE_S: Final = 60.0
"""How long an hour that failed rests; each time twice as long."""
MAX_PAUSE_S: Final = 3_600.0
HOUR_S: Final = 3600
_COLUMNS: Final = ("project", "hour", "lacks", "swept_to", "revision")


class Progress:
    """What is swept of each project; not for several threads at once."""

    def __init__(self, session: Session, database: str, *, back_ms: int) -> None:
        """Read what is stored; where nothing is, what came *back_ms* before now is still to do.

        Raises:
            StatementFailedError: the store refuses.
            UnavailableError: it does not answer.
        """
        self._reached: dict[str, int] = {}
        self._lacking: dict[str, dict[int, int]] = {}
        self._written: dict[str, int] = {}
        self._unwritten: set[tuple[str, int]] = set()
        self._taken_back: set[tuple[str, int]] = set()
        self._failed: dict[tuple[str, int], tuple[int, float]] = {}
        self._revision = 0
        self.others_ms = 0
        """Since when a project that nothing is known of has something to sweep."""
        rows = session.query(statement("quality_progress", database)).rows
        for project, number, to_ms in rows:
            if number:
                self._lacking.setdefault(str(project), {})[int(number)] = int(to_ms)
            else:
                self._reached[str(project)] = self._written[str(project)] = int(to_ms)
        if not rows:
            self.others_ms = now_ms() - back_ms
            found = session.query(statement("quality_projects", database)).rows
            self._reached = {str(row[0]): self.others_ms for row in found}

    @property
    def reached(self) -> Mapping[str, int]:
        """By project, up to when all that was received is swept, Unix milliseconds."""
        return self._reached

    @property
    def oldest_ms(self) -> int | None:
        """Since when the hour or the project that is most behind is so; None: nothing is known."""
        lacking = [since for those in self._lacking.values() for since in those.values()]
        return min((*self._reached.values(), *lacking), default=None)

    def due(self) -> Iterable[tuple[str, int]]:
        """Return the hours that lack something and do not rest after a failure."""
        now = time.monotonic()
        return [
            (project, hour)
            for project, those in self._lacking.items()
            for hour in those
            if self._failed.get((project, hour), (0, 0.0))[1] <= now
        ]

    def lack(self, session: Session, project: str, hours: Sequence[int]) -> None:
        """Write down that *hours* lack something, before that is so."""
        self._note(project, hours)
        if any((project, hour) in self._unwritten for hour in hours):
            self._write(session, ())

    def failed(self, project: str, hour: int) -> None:
        """Note that *hour* could not be made: it rests, and is tried again."""
        self._note(project, (hour,))
        times = self._failed.get((project, hour), (0, 0.0))[0] + 1
        pause = min(FIRST_PAUSE_S * 2 ** min(times - 1, 16), MAX_PAUSE_S)
        self._failed[project, hour] = (times, time.monotonic() + pause)

    def made(self, project: str, hour: int) -> None:
        """Note that *hour* lacks nothing any more."""
        self._failed.pop((project, hour), None)
        if self._lacking.get(project, {}).pop(hour, None) is not None:
            if not self._lacking[project]:
                del self._lacking[project]
            if (project, hour) in self._unwritten:
                self._unwritten.discard((project, hour))
            else:
                self._taken_back.add((project, hour))

    def advance(
        self, session: Session, reached_ms: int, *, swept: Iterable[str], but: Collection[str]
    ) -> None:
        """Note that what came before *reached_ms* is swept: of *swept*, of all known, not of *but*.

        Of a project of which nothing is known nothing is said before all of it is swept.
        """
        for project in {*self._reached, *swept} - {*but}:
            self._reached[project] = max(self._reached.get(project, 0), reached_ms)
        self.write(session, WRITE_MS)

    def write(self, session: Session, by_ms: int = 0) -> None:
        """Write down what is further by *by_ms* than what is written."""
        further = [
            project
            for project, reached in self._reached.items()
            if reached - self._written.get(project, -by_ms - 1) > by_ms
        ]
        if further or self._unwritten or self._taken_back:
            self._write(session, further)

    def _note(self, project: str, hours: Iterable[int]) -> None:
        since = self._reached.get(project) or now_ms()
        for hour in hours:
            # Of 1970's first hour is the row of the project; no request is of it.
            if hour and hour not in self._lacking.setdefault(project, {}):
                self._lacking[project][hour] = since
                self._taken_back.discard((project, hour))
                self._unwritten.add((project, hour))

    def _write(self, session: Session, projects: Iterable[str]) -> None:
        self._revision = max(self._revision + 1, time.time_ns())
        told = [(project, 0, False, self._reached[project]) for project in projects]
        told += [(of, hour, True, self._lacking[of][hour]) for of, hour in sorted(self._unwritten)]
        told += [(of, hour, False, 0) for of, hour in sorted(self._taken_back)]
        rows: list[tuple[Any, ...]] = [
            (project, _time(hour * HOUR_S), lacks, _time(to_ms / 1000), self._revision)
            for project, hour, lacks, to_ms in told
        ]
        session.insert("quality_swept", _COLUMNS, rows)
        self._written |= {project: to_ms for project, hour, _, to_ms in told if not hour}
        self._unwritten.clear()
        self._taken_back.clear()


def now_ms() -> int:
    """Return the time, Unix milliseconds."""
    return time.time_ns() // 1_000_000


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
