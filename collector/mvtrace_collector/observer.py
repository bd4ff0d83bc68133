"""What the collector sees of itself between two looks: rows turned away, gaps, damage, rates.

Comes in: the collector's state, looked at every few seconds by a thread of its own. Goes out: the
newest Sighting, for /metrics and the status, and alarms in the log: one when a trouble begins or
grows, one word when it is over. A store that does not answer leaves the numbers as they were.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from mvtrace.errors import MvtraceError
from mvtrace.store.store import Store
from mvtrace_collector import health
from mvtrace_collector.decisions import (
    BEING_COLLECTED,
    LOST_RACE,
    NOT_PERMITTED,
    STILL_SERVES,
)
from mvtrace_collector.logs import alarm, described, event

_LOGGER: Final = logging.getLogger(__name__)
INTERVAL_S: Final = 10.0
RATE_WINDOW_S: Final = 60.0
FRESH_S: Final = 2.0
"""A sighting this young is not made anew for who asks."""
ASKED_S: Final = 1.0
"""So long does who asks wait for a look that is under way."""

_QUARANTINE: Final = """
SELECT reason, count(), countIf(received_at > now64(3, 'UTC') - INTERVAL 1 HOUR)
FROM quarantine GROUP BY reason ORDER BY reason
"""
_DETACHED: Final = """
SELECT table, if(reason = '', 'detached', assumeNotNull(reason)) AS why, count()
FROM system.detached_parts WHERE database = {database:String}
GROUP BY table, why ORDER BY table, why
"""
_HAS_GAPS: Final = """
SELECT count() FROM system.tables WHERE database = {database:String} AND name = 'ingest_gaps'
"""
_GAPS: Final = """
SELECT countIf(left > 0), sum(left)
FROM
(
    SELECT argMax(missing, revision) AS left FROM ingest_gaps GROUP BY project, producer_id, first
)
"""
_ALARM_OF_REASON: Final = {
    "conflicting-record": "conflict",
    "unloadable-batch": "poison",
    NOT_PERMITTED: "not-permitted",
}
_EXPECTED: Final = frozenset({LOST_RACE, BEING_COLLECTED, STILL_SERVES, "vote-taken"})
"""Reasons that are no trouble: whom they concern was told, or it happens every day."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """What the store says of itself at one moment."""

    at: float = 0.0
    """Monotonic time; 0 before the first look."""
    quarantine: Mapping[str, int] = field(default_factory=dict)
    """Rows by reason, of all time."""
    recent_quarantine: Mapping[str, int] = field(default_factory=dict)
    """Rows by reason, of the last hour."""
    gaps: int = 0
    """Rows of ``ingest_gaps``: ranges of numbers that a producer took and nobody received."""
    missing: int = 0
    """Records in these ranges that never came."""
    detached: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Parts by table and reason that the engine put aside."""


def look(store: Store) -> Sighting:
    """Ask *store*; raises MvtraceError where it does not answer."""
    rows = store.query(_QUARANTINE).rows
    database = {"database": store.database}
    detached = store.query(_DETACHED, database).rows
    gaps = missing = 0
    if store.query(_HAS_GAPS, database).rows[0][0]:
        gaps, missing = map(int, store.query(_GAPS).rows[0])
    return Sighting(
        at=time.monotonic(),
        quarantine={str(reason): int(count) for reason, count, _ in rows},
        recent_quarantine={str(reason): int(recent) for reason, _, recent in rows if recent},
        gaps=gaps,
        missing=missing,
        detached={(str(table), str(why)): int(count) for table, why, count in detached},
    )


class Observer:
    """Looks every few seconds; its numbers are read by any thread."""

    def __init__(self, state: health.State, interval_s: float = INTERVAL_S) -> None:
        self._state = state
        self._interval_s = interval_s
        self._sighting = Sighting()
        self._has_failed = False
        self._failing: dict[str, str] = {}
        self._samples: deque[tuple[float, Mapping[str, float]]] = deque()
        self._looking = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="observer", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End; a look under way is waited for."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(health.CHECK_SECONDS)

    def sighting(self) -> Sighting:
        """Return what the store says now, or said last where it does not answer.

        A store that failed is asked again by the observer's own thread alone: a scrape must not
        wait for what it is to report.
        """
        if self._has_failed or not self._looking.acquire(timeout=ASKED_S):
            return self._sighting
        try:
            if time.monotonic() - self._sighting.at > FRESH_S or not self._sighting.at:
                self._look()
            return self._sighting
        finally:
            self._looking.release()

    def rates(self) -> dict[str, float]:
        """Return what was counted a second, over the last minute at most."""
        samples = list(self._samples)
        newest = (time.monotonic(), self._state.metrics.totals())
        if not samples:
            return dict.fromkeys(newest[1], 0.0)
        elapsed = max(newest[0] - samples[0][0], 0.001)
        before = samples[0][1]
        return {key: (value - before.get(key, 0.0)) / elapsed for key, value in newest[1].items()}

    @property
    def is_well(self) -> bool:
        """Whether every check held at the last look."""
        return not self._failing

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.round()
            except Exception as error:
                # Whatever it was: a collector that cannot watch itself still collects.
                _LOGGER.exception("The observer met an error of its own (%s)", type(error).__name__)
            self._stop.wait(self._interval_s)

    def round(self) -> None:
        """Look once, and say what began, grew or ended."""
        now = time.monotonic()
        self._samples.append((now, self._state.metrics.totals()))
        while self._samples[0][0] < now - RATE_WINDOW_S:
            self._samples.popleft()
        with self._looking:
            before = self._sighting
            self._look()
            after = self._sighting
        if before.at:
            self._tell_growth(before, after)
        elif after.detached:
            self._tell_detached({}, after.detached)
        self._tell_checks(health.outcomes(self._state))

    def _look(self) -> None:
        try:
            self._sighting = look(self._state.store)
            self._has_failed = False
        except MvtraceError as error:
            self._has_failed = True
            event(
                _LOGGER, logging.INFO, "look-failed", "The store cannot be asked",
                error=described(error),
            )  # fmt: skip

    def _tell_growth(self, before: Sighting, after: Sighting) -> None:
        grown: dict[str, dict[str, int]] = {}
        for reason, count in after.quarantine.items():
            more = count - before.quarantine.get(reason, 0)
            if more > 0 and reason not in _EXPECTED:
                grown.setdefault(_ALARM_OF_REASON.get(reason, "quarantine"), {})[reason] = more
        for name, reasons in grown.items():
            alarm(_LOGGER, name, "Rows went to quarantine", reasons=reasons)
        if after.gaps > before.gaps:
            alarm(
                _LOGGER,
                "gap",
                "Records were lost on the way",
                ranges=after.gaps - before.gaps,
                missing=after.missing,
            )
        self._tell_detached(before.detached, after.detached)

    def _tell_detached(
        self, before: Mapping[tuple[str, str], int], after: Mapping[tuple[str, str], int]
    ) -> None:
        for (table, reason), count in after.items():
            if count > before.get((table, reason), 0):
                alarm(
                    _LOGGER, "detached-part", "Parts were put aside",
                    table=table, reason=reason, parts=count,
                )  # fmt: skip

    def _tell_checks(self, found: Sequence[health.Outcome]) -> None:
        if not self._state.gate.is_open:
            return  # what stops now is meant to
        failing = {one.name: one for one in found if one.reason is not None}
        for name, one in failing.items():
            if name not in self._failing:
                alarm(_LOGGER, one.alarm, f"Check {name} fails", check=name, hint=one.hint or "")
        for name in self._failing.keys() - failing.keys():
            event(_LOGGER, logging.WARNING, "over", f"Check {name} holds again", check=name)
        self._failing = {name: one.alarm for name, one in failing.items()}
