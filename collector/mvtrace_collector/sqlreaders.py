"""Connections for queries of others: limits and the project's filter first, ``readonly=1`` last.

In: a project and the limits of a request. Out: a Session for the length of a ``with`` block.
Idle connections are kept, the longest unused ones closed. A connection on which anything failed is
closed: the embedded engine was measured to put the unread rest of a failed result before the next
one (``SELECT number FROM numbers(1e6)`` over a limit, then ``SELECT 'same'`` gives numbers).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Final

from mvtrace.errors import QueryRefusedError, UnavailableError
from mvtrace.store import Session, Store
from mvtrace.store.own_rows import FIRST, SETTING, filter_text

Settings = tuple[tuple[str, str], ...]

_CONSTANT: Final = (
    *FIRST,
    ("session_timezone", "UTC"),
    ("result_overflow_mode", "throw"),
    ("timeout_overflow_mode", "throw"),
    ("read_overflow_mode", "throw"),
)


class BusyReadersError(UnavailableError):
    """As many queries run as may run; the same one may be sent again."""

    code = "busy-readers"

    def __init__(self, limit: int, waited_s: float) -> None:
        super().__init__(
            f"{limit} queries are running and none ended within {waited_s:g} s",
            hint="Send the query again.",
        )


@dataclass(frozen=True)
class Limits:
    """What one query may use; the names are ClickHouse's settings, and 0 would mean no limit."""

    max_execution_time: float = 30.0
    max_memory_usage: int = 2 << 30
    max_result_rows: int = 1_000_000
    max_result_bytes: int = 64 << 20
    max_rows_to_read: int = 2_000_000_000
    max_threads: int = 4

    def lowered(self, wanted: Mapping[str, str]) -> Limits:
        """Return these limits with *wanted* ones put lower.

        Raises:
            QueryRefusedError: a wanted limit is no number, or higher.

        """
        changes: dict[str, float] = {}
        for name, text in wanted.items():
            highest = getattr(self, name)
            number = _number(text) if isinstance(highest, float) else _whole(text)
            if number is None or not 0 < number <= highest:
                raise QueryRefusedError(
                    f"{name}={text!r} does not lower the limit, which is {highest:g}",
                    hint="A limit in the URL is above 0 and at most what the collector allows.",
                )
            changes[name] = number
        return replace(self, **changes)  # type: ignore[arg-type]  # numbers by the fields' names


LIMIT_NAMES: Final = frozenset(field.name for field in fields(Limits))


def _whole(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 20 else None  # noqa: PLR2004 (64 bits)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def reader_settings(
    limits: Limits,
    *,
    database: str,
    tables: frozenset[str],
    project: str | None,
    hidden: frozenset[str] = frozenset(),
) -> Settings:
    """Return the settings of a reader in the order in which they have to be set.

    Of *hidden* tables it sees no row, should one be named in spite of the gate.
    """
    filters: tuple[tuple[str, str], ...] = ()
    if project is not None:
        text = filter_text(database, project, tables, hidden=hidden)
        filters = ((SETTING, text),)
    bounds = tuple((field.name, f"{getattr(limits, field.name):.15g}") for field in fields(limits))
    return (*_CONSTANT, *bounds, *filters, ("readonly", "1"))


class ReaderPool:
    """Readers by their settings: at most *running* at a time, at most *idle* kept open."""

    def __init__(
        self, store: Store, *, running: int = 4, idle: int = 8, wait_s: float = 10
    ) -> None:
        self._store = store
        self._running = running
        self._idle_limit = idle
        self._wait_s = wait_s
        self._places = threading.BoundedSemaphore(running)
        self._guard = threading.Lock()
        self._idle: OrderedDict[Session, Settings] = OrderedDict()
        self._closed = False

    @contextmanager
    def reader(self, settings: Settings) -> Iterator[Session]:
        """Give a connection with *settings*.

        Raises:
            BusyReadersError: none became free in time.

        """
        if not self._places.acquire(timeout=self._wait_s):
            raise BusyReadersError(self._running, self._wait_s)
        try:
            session = self._taken(settings) or self._store.open_session(dict(settings))
            try:
                yield session
            except BaseException:
                self._store.close_session(session)
                raise
            self._give_back(session, settings)
        finally:
            self._places.release()

    def close(self) -> None:
        """Close every idle connection; those in use close when they come back."""
        with self._guard:
            self._closed = True
            idle, self._idle = list(self._idle), OrderedDict()
        for session in idle:
            self._store.close_session(session)

    def _taken(self, settings: Settings) -> Session | None:
        with self._guard:
            for session, has in reversed(self._idle.items()):
                if has == settings:
                    del self._idle[session]
                    return session
        return None

    def _give_back(self, session: Session, settings: Settings) -> None:
        unused: list[Session] = []
        with self._guard:
            if self._closed:
                unused.append(session)
            else:
                self._idle[session] = settings
            while len(self._idle) > self._idle_limit:
                unused.append(self._idle.popitem(last=False)[0])
        for one in unused:
            self._store.close_session(one)
