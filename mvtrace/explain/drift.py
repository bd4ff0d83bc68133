"""Episodes of drift: a slot met with one wrong value, from the first request to the last.

In: the requests that met it, as islands (no more than ``CALM_MS`` apart), and a way to ask whether
the slot was met otherwise between two of them. Out: :class:`Episode`, and the sentence about it.
Nothing here depends on the order in which records came: the same ones give the same episodes.

Two neighbours are of one episode if nothing contrary was seen between them, or if they are at most
``CALM_MS`` apart: one wrong replica of ten is one episode, not one an answer. A slot that nobody
declared drifts when it changes: *expected* is what it held before, and its return there is the end
of the episode and no other one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from mvtrace.digest import canonical_bytes

CALM_MS: Final = 600_000
"""So long must a slot be right before it was right again."""
MANY: Final = "*"
"""The value observed where a slot showed many within a minute."""
CHANGED: Final = "changed"
VOLATILE: Final = "volatile"
PINNED: Final = "pinned"
"""A change that is drift from a pinned component too: that drift tells it."""
MET: Final = "met"
"""What a slot that nobody declared was met with, once it had changed to that."""
HOUR_MS: Final = 3_600_000

_ID_DOMAIN: Final = b"mvtrace.drift/1\n"
_SHOWN: Final = 12


class Key(NamedTuple):
    """A slot with what was wrong about it; all episodes of one key are about the same."""

    service: str
    environment: str
    kind: str
    name: str
    what: str
    """``digest``, ``model_served``, ``fingerprint``, ``template``, ``policy``, ``size`` …, or
    ``changed`` where nothing is declared."""
    expected: str
    observed: str

    @property
    def basis(self) -> str:
        """``declared`` where a composite says what is right, else ``observed``."""
        return "observed" if self.what == CHANGED else "declared"


class Island(NamedTuple):
    """Affected requests of which no two neighbours are more than ``CALM_MS`` apart."""

    first: str
    """Request id as 32 hex digits."""
    last: str
    requests: int


class Note(NamedTuple):
    """A record's word that a slot nobody declared changed, or turned out to be volatile."""

    key: Key
    request: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """Requests that met a slot with one wrong value."""

    project: str
    key: Key
    first: str
    last: str
    requests: int
    ended_by: str | None = None
    """The first request after the last one that met the slot otherwise."""

    @property
    def id(self) -> str:
        """32 hex digits: the digest of slot, values and first request."""
        body = canonical_bytes([self.project, *self.key, self.first])
        return hashlib.sha256(_ID_DOMAIN + body).hexdigest()[:32]

    @property
    def state(self) -> str:
        """``ended`` once the slot was met otherwise, else ``open``."""
        return "open" if self.ended_by is None else "ended"

    def to_dict(self) -> dict[str, Any]:
        """Return the episode as plain JSON values."""
        return {
            "id": self.id,
            "state": self.state,
            "basis": self.key.basis,
            **self.key._asdict(),
            "first_request": dashed(self.first),
            "last_request": dashed(self.last),
            "started_at": moment(self.first),
            "last_at": moment(self.last),
            "requests": self.requests,
            "ended_by": None if self.ended_by is None else dashed(self.ended_by),
            "text": self.sentence(),
        }

    def sentence(self) -> str:
        """Say what drifted, from what to what, since when, and how many requests it affected."""
        key = self.key
        count = f"{self.requests:,} {'request' if self.requests == 1 else 'requests'}"
        now, before = short_value(key.observed), short_value(key.expected)
        if key.what == CHANGED:
            text = f"{key.kind} {key.name}: it became {now}, was {before} before"
        elif key.observed == MANY:
            text = f"{key.kind} {key.name}: many values of {key.what}, declared is {before}"
        else:
            text = f"{key.kind} {key.name}: {key.what} {now}, declared is {before}"
        span = f"{_shown(self.first)} to {_shown(self.last)} UTC"
        end = "" if self.ended_by is None else "; met otherwise since"
        return f"{text}; {count} from {span}{end}."


Contrary = Callable[[str, str], str | None]
"""Returns the first request between two others that met the slot otherwise, if there is one."""


def joined(project: str, key: Key, islands: Sequence[Island], contrary: Contrary) -> list[Episode]:
    """Return the episodes that *islands*, in their order, make; of the last no end is told."""
    found: list[Episode] = []
    for island in islands:
        last = found[-1] if found else None
        if last is not None:
            is_calm = ms_of(island.first) - ms_of(last.last) > CALM_MS
            other = contrary(last.last, island.first) if is_calm else None
            if other is None:
                found[-1] = _grown(last, island)
                continue
            found[-1] = _ended(last, other)
        found.append(Episode(project=project, key=key, **island._asdict()))
    return found


def followed(notes: Iterable[Note]) -> dict[Key, str]:
    """Return the changes that *notes* make episodes of, each with the request that told it first.

    The key's *expected* is what the first note of a value says. A return to what a slot was
    expected to hold is none, neither is what a drift tells already, nor a value of a slot that
    turned out to be volatile.
    """
    ordered = sorted(set(notes), key=lambda note: (note.request, note.key))
    gone_volatile: dict[tuple[str, ...], int] = {}
    for note in ordered:
        if note.key.what == VOLATILE:
            gone_volatile.setdefault(note.key[:4], ms_of(note.request) - HOUR_MS)
    former: set[tuple[tuple[str, ...], str]] = set()
    values: set[tuple[tuple[str, ...], str]] = set()
    found: dict[Key, str] = {}
    for note in ordered:
        slot, key = note.key[:4], note.key
        if key.what == VOLATILE or ms_of(note.request) >= gone_volatile.get(slot, 1 << 62):
            continue
        former.add((slot, key.expected))
        if (slot, key.observed) not in former | values:
            values.add((slot, key.observed))
            if key.what == CHANGED:
                found[key] = note.request
    return found


def ms_of(request: str) -> int:
    """Return when a request began, Unix milliseconds, by its id."""
    return int(request[:12], 16)


def dashed(request: str) -> str:
    """Return 32 hex digits as the text of a request id."""
    parts = (request[:8], request[8:12], request[12:16], request[16:20], request[20:])
    return "-".join(parts)


def moment(request: str) -> str:
    """Return when a request began as ISO 8601 in UTC, to the millisecond."""
    return f"{_shown(request).replace(' ', 'T')}Z"


def short_value(value: str) -> str:
    """Return a digest's beginning, or a name as it is."""
    if value.startswith("sha256:"):
        return value[: len("sha256:") + _SHOWN]
    return value or "nothing"


def plain_episode(row: Mapping[str, Any], project: str) -> Episode:
    """Return the episode of a stored *row*, whose fields are named as ours."""
    facts = {name: row[name] for name in ("first", "last", "requests", "ended_by")}
    key = Key(**{name: row[name] for name in Key._fields})
    return Episode(project=project, key=key, **facts)


def _shown(request: str) -> str:
    unix_ms = ms_of(request)
    time = datetime.fromtimestamp(unix_ms // 1000, UTC)
    return f"{time:%Y-%m-%d %H:%M:%S}.{unix_ms % 1000:03d}"


def _grown(one: Episode, by: Island) -> Episode:
    return Episode(
        project=one.project,
        key=one.key,
        first=one.first,
        last=by.last,
        requests=one.requests + by.requests,
    )


def _ended(one: Episode, by: str) -> Episode:
    return Episode(
        project=one.project,
        key=one.key,
        first=one.first,
        last=one.last,
        requests=one.requests,
        ended_by=by,
    )
