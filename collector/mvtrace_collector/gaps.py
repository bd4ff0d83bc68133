"""Finds the numbers that producers took and whose records never came: rows of ``ingest_gaps``.

In: after each load, the numbers that were stored and the producers that spoke; at the start, what
the tables say. Out: gap rows, and how far each producer was checked. What is suspected is asked of
the store before it is said, so that replays, restarts and other collectors change nothing. One
thread; its work grows with what came in and with what is missing, not with the tables.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from mvtrace.errors import UnavailableError
from mvtrace.explain.gaps import Gap
from mvtrace.ids import format_uuid7
from mvtrace.store.session import Session
from mvtrace.store.store import Store
from mvtrace_collector.gap_book import GapBook
from mvtrace_collector.number_runs import Hole, Range, Run, without
from mvtrace_collector.producers import Loss, Producer, Word
from mvtrace_collector.statements import statement

_LOGGER: Final = logging.getLogger(__name__)

GRACE_S: Final = 60.0
"""How long a number may be missing below a stored one of a running producer."""
END_GRACE_S: Final = 30.0
"""How long other collectors of the same store may take to load what they accepted."""
INTERVAL_S: Final = 0.5
SAVE_INTERVAL_S: Final = 60.0
REFRESH_S: Final = 60.0
"""How often the gaps of other collectors are read."""
IDLE_S: Final = 600.0
"""After this long without news a settled producer is forgotten; the tables know it."""
MAX_NEWS: Final = 100_000
"""Runs of stored numbers that wait to be taken in."""
LOST_S: Final = 7 * 86_400.0
"""After this long without news any producer is."""

_NUMBER_FIELDS: Final = 8
_SLACK_MS: Final = 60_000
_DAY_MS: Final = 86_400_000
_MAX_BACKOFF_S: Final = 30.0
_GAP_COLUMNS: Final = (
    *("project", "producer_id", "first", "last", "revision", "state", "missing"),
    *("missing_ranges", "reason", "service", "environment", "started_after", "started_before"),
    *("detected_at", "changed_at"),
)
_CHECK_COLUMNS: Final = (
    *("project", "producer_id", "checked", "known", "is_settled", "revision", "checked_to"),
    *("known_to", "service", "environment", "changed_at"),
)

Numbers = Sequence[tuple[Any, ...]]
Key = tuple[str, str]
"""A project and a producer's id in hex digits."""


class GapWatch:
    """Watches the numbers of all producers that send to one collector."""

    def __init__(
        self,
        store: Store,
        book: GapBook | None = None,
        *,
        grace_s: float = GRACE_S,
        end_grace_s: float | None = None,
    ) -> None:
        self.book = book or GapBook()
        self._store = store
        self._grace_s = grace_s
        is_alone = store.kind == "embedded"
        self._end_grace_s = (
            (0.0 if is_alone else END_GRACE_S) if end_grace_s is None else end_grace_s
        )
        self._refresh_s = float("inf") if is_alone else REFRESH_S
        self._session: Session | None = None
        self._news = threading.Lock()
        self._arrived: list[tuple[Any, ...]] = []
        self._spoken: set[str] = set()
        self._producers: dict[Key, Producer] = {}
        self._is_begun = False
        self._refreshed_at = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gaps", daemon=True)

    def stored(self, numbers: Numbers, spoken: Sequence[str]) -> None:
        """Note what a load has stored; from the loader's thread."""
        with self._news:
            if len(self._arrived) > MAX_NEWS:  # nobody can look: begin again from the tables
                self._arrived.clear()
                self._is_begun = False
            self._arrived.extend(row[:_NUMBER_FIELDS] for row in numbers)
            self._spoken.update(spoken)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End; a step under way is waited for."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        pause = INTERVAL_S
        while not self._stop.wait(pause):
            try:
                self.step(now=time.monotonic())
                pause = INTERVAL_S
            except Exception as error:
                # Whatever it was: what is missing can still be found the next time.
                self._forget_session()
                is_foreseen = isinstance(error, UnavailableError)
                _LOGGER.warning("Gaps cannot be looked for: %s", error, exc_info=not is_foreseen)
                pause = min(2 * pause, _MAX_BACKOFF_S)
        self._forget_session()

    def step(self, *, now: float) -> None:
        """Take in what is new and judge what is due at *now*, in monotonic seconds.

        Raises:
            MvtraceError: the store does not answer; the next step goes on where this one was.
        """
        if not self._is_begun:
            self._learn(None, now=now)
            self._is_begun = True
        if now - self._refreshed_at >= self._refresh_s or not self._refreshed_at:
            self.book.read((project, gap) for project, _, gap in self._gap_rows())
            self._refreshed_at = now
        self._take_news(now)
        touched = [one for one in self._producers.values() if self._checked(one, now=now)]
        self._save(touched, now=now)
        self._forget_idle(now)

    def _take_news(self, now: float) -> None:
        with self._news:
            arrived, spoken = list(self._arrived), set(self._spoken)
        known = {key for _, key in self._producers}
        strangers = {key for _, key, *_ in arrived} - known
        if strangers or spoken:
            self._learn(sorted(strangers | spoken), now=now)
        for project, key, first, last, first_ms, last_ms, service, environment in arrived:
            one = self._producer(project, key)
            one.service, one.environment = service or one.service, environment or one.environment
            one.arrived(Run(first, last, first_ms, last_ms), now=now)
        with self._news:
            del self._arrived[: len(arrived)]
            self._spoken -= spoken

    def _producer(self, project: str, key: str) -> Producer:
        return self._producers.setdefault((project, key), Producer(project, key))

    def _learn(self, keys: Sequence[str] | None, *, now: float) -> None:
        """Read what the tables say of the producers *keys*, or of all that are not settled."""
        parameters = {"producers": list(keys or ()), "all": int(keys is None)}
        for row in self._query("gap_producers", parameters):
            project, key, state, last, started, taken, ended, losses = row[:8]
            checked, known, checked_ms, known_ms, is_settled, service, environment = row[8:]
            is_new = (project, key) not in self._producers
            one = self._producer(project, key)
            one.service, one.environment = one.service or service, one.environment or environment
            if is_new:
                one.checked, one.known, one.touched_at = checked, max(checked, known), now
                one.saved = (checked, known, bool(is_settled)) if known_ms else None
                if checked and checked_ms:
                    one.runs.add(Run(checked, checked, checked_ms, checked_ms))
                if known > checked:
                    one.runs.add(Run(known, known, known_ms, known_ms))
            if state:
                said = tuple(Loss(*loss) for loss in losses)
                one.heard(Word(state, last, started, taken, ended, said), now=now)
                if is_new and is_settled:
                    one.has_new_word = False

    def _checked(self, one: Producer, *, now: float) -> bool:
        """Judge *one*; what cannot be judged holds up no other producer."""
        try:
            return self._check(one, now=now)
        except UnavailableError:
            raise
        except Exception:
            _LOGGER.exception("Gaps of producer %s cannot be judged", one.key)
            return False

    def _check(self, one: Producer, *, now: float) -> bool:
        """Judge what is due of *one*; whether anything about it changed."""
        if one.late or one.has_new_word:
            self._look_again(one)
            one.late.clear()
            one.has_new_word = False
        due = one.due_up_to(now=now, grace_s=self._grace_s, end_grace_s=self._end_grace_s)
        if due > one.checked:
            holes = list(one.runs.holes(one.checked + 1, due))
            if holes:
                self._confirm(one, holes, due)
            one.judged(due)
        return one.saved != (one.checked, one.known, one.is_settled)

    def _confirm(self, one: Producer, holes: Sequence[Hole], due: int) -> None:
        """Ask the store for what seems to be missing, and write down what is."""
        first, last = holes[0], holes[-1]
        for run in self._stored_runs(one, first.first, last.last, first.after_ms, last.before_ms):
            one.runs.add(run)
        holes = list(one.runs.holes(one.checked + 1, due))
        if not holes:
            return
        written = [(gap.first, gap.last) for _, _, gap in self._gap_rows(one)]
        found = [
            self._gap(one, part, hole, reason)
            for hole in holes
            for (low, high), reason in one.reasons(hole)
            for part in without([(low, high)], written)
        ]
        self._write(one, found)
        if found:
            missing = sum(gap.missing for gap in found)
            _LOGGER.warning("%d records of producer %s are missing", missing, one.uuid)

    def _gap(self, one: Producer, part: Range, hole: Hole, reason: str) -> Gap:
        ended_ms = one.word.ended_ms or one.word.last_ms or None
        return Gap(
            producer_id=one.uuid,
            first=part[0],
            last=part[1],
            missing_ranges=(part,),
            reason=reason,
            service=one.service,
            environment=one.environment,
            started_after=hole.after_ms or one.began_ms,
            started_before=hole.before_ms or (ended_ms if one.word.is_end else None),
            detected_at=time.time_ns() // 1_000_000,
        )

    def _look_again(self, one: Producer) -> None:
        """See which open gaps the late records fill, or the producer's new word explains."""
        changed = []
        for gap in self.book.of_producer(one.project, one.uuid):
            is_filling = any(low <= gap.last and high >= gap.first for low, high in one.late)
            if not is_filling and not (one.has_new_word and gap.reason == "unknown"):
                continue
            runs = self._stored_runs(
                one, gap.first, gap.last, gap.started_after, gap.started_before
            )
            left = without(gap.missing_ranges, [(run.first, run.last) for run in runs])
            reason = gap.reason
            if reason == "unknown":
                hole = Hole(gap.first, gap.last, gap.started_after, gap.started_before)
                reason = next(why for _, why in one.reasons(hole))
            fresh = _changed(gap, left, reason)
            if fresh != gap:
                changed.append(fresh)
        self._write(one, changed)

    def _stored_runs(
        self, one: Producer, first: int, last: int, after_ms: int | None, before_ms: int | None
    ) -> list[Run]:
        """Return which of the numbers *first* to *last* are stored."""
        lowest = after_ms or one.began_ms or 0
        highest = before_ms or max(time.time_ns() // 1_000_000, one.word.last_ms) + _DAY_MS
        parameters = {
            "project": one.project,
            "producer": one.key,
            "first": first,
            "last": last,
            "lowest": format_uuid7(max(0, lowest - _SLACK_MS), 0).replace("-", ""),
            "highest": format_uuid7(highest + _SLACK_MS, (1 << 74) - 1).replace("-", ""),
        }
        return [Run(*row) for row in self._query("gap_numbers", parameters)]

    def _gap_rows(self, one: Producer | None = None) -> list[tuple[str, int, Gap]]:
        """Return project, revision and gap of each gap of *one*, or of each that is open."""
        parameters = {"project": one.project if one else "", "producer": one.key if one else ""}
        return [_read_gap(row) for row in self._query("gap_rows", parameters)]

    def _write(self, one: Producer, gaps: Sequence[Gap]) -> None:
        if not gaps:
            return
        rows = [_gap_row(one, gap) for gap in gaps]
        self._current_session().insert("ingest_gaps", _GAP_COLUMNS, rows)
        for gap in gaps:
            self.book.put(one.project, gap)

    def _save(self, producers: Iterable[Producer], *, now: float) -> None:
        """Keep how far *producers* are checked: the new and the settled now, others in a while."""
        due = [
            one
            for one in producers
            if one.saved is None or one.is_settled or now - one.saved_at >= SAVE_INTERVAL_S
        ]
        if not due:
            return
        rows = [_check_row(one) for one in due]
        self._current_session().insert("producer_checks", _CHECK_COLUMNS, rows)
        for one in due:
            one.saved, one.saved_at = (one.checked, one.known, one.is_settled), now

    def _forget_idle(self, now: float) -> None:
        for key, one in list(self._producers.items()):
            idle_s = now - one.touched_at
            if idle_s > LOST_S or (idle_s > IDLE_S and one.is_settled):
                del self._producers[key]

    def _query(self, name: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
        text = statement(name, self._store.database)
        return self._current_session().query(text, parameters).rows

    def _current_session(self) -> Session:
        if self._session is None:
            self._session = self._store.open_session()
        return self._session

    def _forget_session(self) -> None:
        if self._session is not None:
            session, self._session = self._session, None
            self._store.close_session(session)


def _changed(gap: Gap, left: Sequence[Range], reason: str) -> Gap:
    kept = {name: getattr(gap, name) for name in gap.__slots__}
    return Gap(**{**kept, "missing_ranges": tuple(left), "reason": reason})


def _read_gap(row: Sequence[Any]) -> tuple[str, int, Gap]:
    project, key, first, last, revision, ranges, reason, service, environment = row[:9]
    after_ms, before_ms, detected_ms = row[9:]
    gap = Gap(
        producer_id=Producer(project, key).uuid,
        first=first,
        last=last,
        missing_ranges=tuple(_pair(one) for one in ranges),
        reason=reason,
        service=service,
        environment=environment,
        started_after=after_ms or None,
        started_before=before_ms or None,
        detected_at=detected_ms,
    )
    return project, revision, gap


def _pair(one: Any) -> Range:
    """Return a tuple of the engine as a plain one, however the client gave it."""
    first, last = one.values() if isinstance(one, dict) else one
    return int(first), int(last)


def _gap_row(one: Producer, gap: Gap) -> tuple[Any, ...]:
    """Return the row of *gap*; the more of it is filled and explained, the higher its revision."""
    filled = gap.last - gap.first + 1 - gap.missing
    return (
        one.project,
        bytes.fromhex(one.key),
        gap.first,
        gap.last,
        2 * filled + 1 + (gap.reason != "unknown"),
        gap.state,
        gap.missing,
        list(gap.missing_ranges),
        gap.reason,
        gap.service,
        gap.environment,
        _time(gap.started_after),
        _time(gap.started_before),
        _time(gap.detected_at),
        datetime.now(UTC),
    )


def _check_row(one: Producer) -> tuple[Any, ...]:
    runs = list(one.runs)
    at_checked = next((run for run in reversed(runs) if run.first <= one.checked), None)
    return (
        one.project,
        bytes.fromhex(one.key),
        one.checked,
        one.known,
        one.is_settled,
        2 * (one.checked + one.known) + one.is_settled,
        _time(at_checked.last_ms if at_checked else None),
        _time(runs[-1].last_ms if runs else None),
        one.service,
        one.environment,
        datetime.now(UTC),
    )


def _time(unix_ms: int | None) -> datetime | None:
    return None if unix_ms is None else datetime.fromtimestamp(unix_ms / 1000, UTC)
