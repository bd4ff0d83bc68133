"""One sweep over some minutes of one project: from records to rows of drift and its episodes.

In: the project and the minutes in which something new is stored. Out: rows of ``drift_minutes`` and
``drift_episodes``, and what changed. A minute is always made anew from all its records, an episode
from its minutes; so whatever is swept twice, late, or in another order comes out the same. What one
statement reads and returns is bounded.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, Final, NamedTuple

from mvtrace.errors import StatementFailedError
from mvtrace.explain.drift import (
    CALM_MS,
    CHANGED,
    MANY,
    MET,
    PINNED,
    VOLATILE,
    Episode,
    Island,
    Key,
    Note,
    followed,
    joined,
    ms_of,
)
from mvtrace.store.session import Session
from mvtrace_collector.statements import statement

_LOGGER: Final = logging.getLogger(__name__)

MINUTE_MS: Final = 60_000
MAX_VALUES: Final = 5
"""Values of a slot within a minute that are told apart; more are one episode of many."""
MAX_ROWS: Final = 5_000
"""Slots and values of one statement; of minutes with more each is swept alone."""
BEFORE_NOTE: Final = 10
"""Minutes before a note in which the new value may have been met: by requests that took long."""
QUIET_MS: Final = 86_400_000
"""An open episode without a request for so long is no more looked at, nor counted as open."""

_NOTES: Final = frozenset({CHANGED, PINNED, VOLATILE})
_UNIT: Final = "\x1f"
_FAR: Final = "f" * 32
_EVER: Final = (0, (1 << 31) // 60)
_MINUTE_COLUMNS: Final = (
    *("project", "service", "environment", "kind", "name", "what", "expected", "observed"),
    *("minute", "revision", "first_request", "last_request", "requests", "changed_at"),
)
_EPISODE_COLUMNS: Final = (
    *("project", "episode_id", "revision", "state", "basis", "service", "environment", "kind"),
    *("name", "what", "expected", "observed", "first_request", "last_request", "started_at"),
    *("last_at", "requests", "ended_by", "superseded_by", "changed_at"),
)

Minutes = tuple[int, int]
"""First and last minute, each the number of minutes since 1970."""


class Tally(NamedTuple):
    """The affected requests of one key in one minute."""

    key: Key
    minute: int
    first: str
    last: str
    requests: int


class Swept(NamedTuple):
    """What a sweep found."""

    episodes: tuple[Episode, ...]
    """New ones, and those that ended or began again."""
    again: tuple[Minutes, ...]
    """Minutes to be swept once more, since a value is followed now that was met there."""


class DriftSweep:
    """Sweeps one *project*; remembers only what it follows there."""

    def __init__(self, session: Session, database: str, project: str) -> None:
        self._session = session
        self._database = database
        self._project = project
        self._notes: set[Note] | None = None
        self._revision = 0

    def sweep(self, minutes: Minutes) -> Swept:
        """Look at *minutes*, all of whose records count.

        Raises:
            StatementFailedError: the store refuses, for example since a statement took too long.
            UnavailableError: it does not answer.

        """
        before = self._followed()
        tallies = self._seen(minutes, before)
        self._notes = {*self._known_notes(), *_notes(tallies)}
        now = self._followed()
        again = tuple(
            _since(request, (0, time.time_ns() // 60_000_000_000))
            for key, request in now.items()
            if key not in before
        )
        changed = self._write_minutes(minutes, tallies)
        whole = {key: _since(request, minutes) for key, request in now.items() if key not in before}
        whole |= {key: _EVER for key in before if key not in now}
        keys = {one for key in changed if (one := _episode_key(key, now)) is not None}
        found: list[Episode] = []
        for key in sorted({*keys, *self._touched(minutes), *whole}):
            is_one = key.what != CHANGED or key in now
            found += self._make_episodes(key, whole.get(key, minutes), is_followed=is_one)
        return Swept(tuple(found), again)

    # What records say

    def _seen(self, minutes: Minutes, values: Collection[Key]) -> list[Tally]:
        rows = self._query(
            "drift_seen",
            **_ids(minutes),
            followed=[_UNIT.join((*key[:4], key.observed)) for key in values],
            places=sorted({_UNIT.join(key[:2]) for key in values}),
            limit=MAX_ROWS,
        )
        if len(rows) == MAX_ROWS and minutes[0] < minutes[1]:
            raise StatementFailedError("too many values of slots in one statement", store_code=None)
        return list(_folded(Tally(Key(*row[:7]), *row[7:]) for row in rows))

    def _known_notes(self) -> set[Note]:
        if self._notes is None:
            self._notes = {Note(Key(*row[:7]), row[7]) for row in self._query("drift_notes")}
        return self._notes

    def _followed(self) -> dict[Key, str]:
        return followed(self._known_notes())

    # Minutes

    def _write_minutes(self, minutes: Minutes, tallies: Sequence[Tally]) -> set[Key]:
        """Store what is different from what is stored; return the keys it is about."""
        stored = {
            (one.key, one.minute): one
            for row in self._query("drift_minutes", first_minute=minutes[0], last_minute=minutes[1])
            for one in (Tally(Key(*row[:7]), *row[7:]),)
        }
        fresh = {(one.key, one.minute): one for one in tallies}
        gone = [one._replace(requests=0) for at, one in stored.items() if at not in fresh]
        different = [one for at, one in fresh.items() if stored.get(at) != one] + gone
        if different:
            revision, now = self._next_revision(), datetime.now(UTC)
            rows = [_minute_row(self._project, one, revision, now) for one in different]
            self._session.insert("drift_minutes", _MINUTE_COLUMNS, rows)
        return {one.key for one in different}

    def _next_revision(self) -> int:
        self._revision = max(self._revision + 1, time.time_ns())
        return self._revision

    # Episodes

    def _touched(self, minutes: Minutes) -> list[Key]:
        quiet = max(0, (minutes[1] + 1) * MINUTE_MS - QUIET_MS)
        rows = self._query("drift_touched", **_ids(minutes), quiet=_lowest(quiet))
        return [Key(*row) for row in rows]

    def _make_episodes(self, key: Key, minutes: Minutes, *, is_followed: bool) -> list[Episode]:
        """Make the episodes of *key* around *minutes* anew; return those to tell of."""
        known = [
            Episode(project=self._project, key=key, **dict(zip(_FACTS, row, strict=True)))
            for row in self._query("drift_episodes", **key._asdict())
        ]
        around = _around(known, minutes)
        near = [one for one in known if around[0] <= one.first <= around[1]]
        islands = self._islands(key, around) if is_followed else []
        look = _Looker(self, key, near, minutes)
        made = joined(self._project, key, islands, look.between)
        if made:
            made[-1] = look.settled(made[-1])
        return self._write_episodes(near, made)

    def _islands(self, key: Key, around: tuple[str, str]) -> list[Island]:
        met = key._replace(what=MET, expected="") if key.what == CHANGED else key
        rows = self._query(
            "drift_islands",
            **met._asdict(),
            calm_ms=CALM_MS,
            first_minute=ms_of(around[0]) // MINUTE_MS,
            last_minute=ms_of(around[1]) // MINUTE_MS,
        )
        return [Island(*row) for row in rows]

    def contrary(self, key: Key, after: str, before: str) -> str | None:
        """Return the first request between two others that met the slot of *key* otherwise."""
        rows = self._query("drift_contrary", **key._asdict(), after=after, before=before)
        return str(rows[0][0]) if rows else None

    def _write_episodes(self, known: Sequence[Episode], made: Sequence[Episode]) -> list[Episode]:
        before = {one.id: one for one in known}
        after = {one.id: one for one in made}
        rows = [self._row(one) for at, one in after.items() if before.get(at) != one]
        for at, one in before.items():
            if at not in after:
                heir = next((new for new in made if new.first <= one.first <= new.last), None)
                rows.append(self._row(one, withdrawn=True, heir=heir))
        if rows:
            self._session.insert("drift_episodes", _EPISODE_COLUMNS, rows)
        told = {one.first: one.state for one in known}
        return [one for one in made if told.get(one.first) != one.state]

    def _row(
        self, one: Episode, *, withdrawn: bool = False, heir: Episode | None = None
    ) -> tuple[Any, ...]:
        return (
            self._project,
            bytes.fromhex(one.id),
            self._next_revision(),
            "withdrawn" if withdrawn else one.state,
            one.key.basis,
            *one.key,
            bytes.fromhex(one.first),
            bytes.fromhex(one.last),
            _time(one.first),
            _time(one.last),
            one.requests,
            None if one.ended_by is None else bytes.fromhex(one.ended_by),
            None if heir is None else bytes.fromhex(heir.id),
            datetime.now(UTC),
        )

    def _query(self, file: str, /, **parameters: Any) -> list[tuple[Any, ...]]:
        text = statement(file, self._database)
        return self._session.query(text, {"project": self._project, **parameters}).rows


_FACTS: Final = ("first", "last", "requests", "ended_by")


class _Looker:
    """Asks whether a slot was met otherwise, where that is not known and may be different now."""

    def __init__(
        self, sweep: DriftSweep, key: Key, known: Sequence[Episode], minutes: Minutes
    ) -> None:
        self._sweep = sweep
        self._key = key
        self._known = known
        self._new = _bounds(minutes)

    def between(self, after: str, before: str) -> str | None:
        """Return the first contrary request between two affected ones."""
        if not self._is_new(after, before):
            for one in self._known:
                if one.first <= after and before <= one.last:
                    return None
                if one.last == after and one.ended_by is not None:
                    return one.ended_by
        return self._sweep.contrary(self._key, after, before)

    def settled(self, one: Episode) -> Episode:
        """Return the last episode with what ended it, if anything did."""
        same = next((old for old in self._known if old.last == one.last), None)
        first, last = self._new
        if same is None:
            after, before, ended_by = one.last, _FAR, None
        elif same.ended_by is None:
            after, before, ended_by = max(one.last, first), last, None
        else:
            after, before = max(one.last, first), min(same.ended_by, last)
            ended_by = same.ended_by
        if after < before:
            ended_by = self._sweep.contrary(self._key, after, before) or ended_by
        return Episode(
            project=one.project,
            key=one.key,
            first=one.first,
            last=one.last,
            requests=one.requests,
            ended_by=ended_by,
        )

    def _is_new(self, after: str, before: str) -> bool:
        return after < self._new[1] and self._new[0] < before


def _around(known: Sequence[Episode], minutes: Minutes) -> tuple[str, str]:
    """Return the ids between which episodes may change: the minutes, and what lies next to them."""
    first, last = _bounds(minutes)
    earlier = [one for one in known if one.first <= last]
    later = [one for one in known if one.first > last]
    overlapping = [one for one in earlier if one.last >= first]
    left = [one for one in earlier if one.last < first][-1:] + overlapping
    right = overlapping + later[:1]
    return min([first, *(one.first for one in left)]), max([last, *(one.last for one in right)])


def _folded(tallies: Iterable[Tally]) -> Iterable[Tally]:
    """Yield *tallies*, those of a slot that showed many values within a minute as one."""
    listed = sorted(tallies, key=lambda one: (one.minute, one.key))
    for (_, slot), group in groupby(listed, key=lambda one: (one.minute, one.key[:6])):
        same = list(group)
        if len(same) <= MAX_VALUES or slot[4] in {*_NOTES, MET}:
            yield from same
            continue
        yield Tally(
            same[0].key._replace(observed=MANY),
            same[0].minute,
            min(one.first for one in same),
            max(one.last for one in same),
            sum(one.requests for one in same),
        )


def _notes(tallies: Iterable[Tally]) -> Iterable[Note]:
    for one in tallies:
        if one.key.what in _NOTES:
            yield Note(one.key, one.first)


def _episode_key(key: Key, values: Collection[Key]) -> Key | None:
    """Return the key of the episodes that a row of *key* belongs to, if it belongs to any."""
    if key.what in _NOTES:
        return None
    if key.what != MET:
        return key
    same = (one for one in values if one[:4] == key[:4] and one.observed == key.observed)
    return next(same, None)


def _since(request: str, minutes: Minutes) -> Minutes:
    """Return the minutes in which the value that *request* told of may have been met."""
    first = ms_of(request) // MINUTE_MS - BEFORE_NOTE
    return first, max(first, minutes[1])


def _bounds(minutes: Minutes) -> tuple[str, str]:
    return _lowest(minutes[0] * MINUTE_MS), f"{(minutes[1] + 1) * MINUTE_MS - 1:012x}{'f' * 20}"


def _lowest(unix_ms: int) -> str:
    return f"{unix_ms:012x}{'0' * 20}"


def _ids(minutes: Minutes) -> dict[str, str]:
    first, last = _bounds(minutes)
    return {"first": first, "last": last}


def _time(request: str) -> datetime:
    return datetime.fromtimestamp(ms_of(request) / 1000, UTC)


def _minute_row(project: str, one: Tally, revision: int, now: datetime) -> tuple[Any, ...]:
    return (
        project,
        *one.key,
        datetime.fromtimestamp(one.minute * 60, UTC),
        revision,
        bytes.fromhex(one.first),
        bytes.fromhex(one.last),
        one.requests,
        now,
    )
