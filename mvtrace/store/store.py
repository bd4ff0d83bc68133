"""The store: a narrow class over clickhouse-connect, the same for all three kinds of DSN.

In: SQL with server-side parameters. Out: rows as tuples, or bytes in a format of ClickHouse.
Each connection serializes its calls, so reads run on a pool of them, beside the loader's own.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Final, Self

from mvtrace.errors import StoreForkedError, StoreUnreachableError
from mvtrace.store.dsn import StoreDsn, StoreKind
from mvtrace.store.lock import DirectoryLock
from mvtrace.store.session import Parameters, Rows, Session, Settings

POOL_SIZE: Final = 4
"""Reads at the same time; more wait for one another."""


class Store:
    """An open store; made by ``open_store``, safe for several threads, closed once."""

    def __init__(
        self,
        dsn: StoreDsn,
        connect: Callable[[], Session],
        *,
        settings: Settings | None = None,
        lock: DirectoryLock | None = None,
    ) -> None:
        self.dsn = dsn
        self._connect = connect
        self._settings = dict(settings or {})
        self._lock = lock
        self._pid = os.getpid()
        self._idle: list[Session] = []
        self._open: set[Session] = set()
        self._guard = threading.Lock()
        self._places = threading.BoundedSemaphore(POOL_SIZE)
        self._closed = False

    @property
    def kind(self) -> StoreKind:
        """``embedded``, ``collector`` or ``server``."""
        return self.dsn.kind

    @property
    def database(self) -> str:
        """The database of every connection."""
        return self.dsn.database

    def query(
        self,
        sql: str,
        parameters: Parameters | None = None,
        *,
        settings: Settings | None = None,
    ) -> Rows:
        """Return the rows of *sql*; see ``Session.query``."""
        with self._pooled() as session:
            return session.query(sql, parameters, settings=settings)

    def raw(
        self,
        sql: str,
        parameters: Parameters | None = None,
        format: str = "JSONEachRow",  # noqa: A002 (ClickHouse's word)
        *,
        settings: Settings | None = None,
    ) -> bytes:
        """Return the result of *sql* as bytes in a *format* of ClickHouse."""
        with self._pooled() as session:
            return session.raw(sql, parameters, format, settings=settings)

    def command(
        self,
        sql: str,
        parameters: Parameters | None = None,
        *,
        settings: Settings | None = None,
        use_database: bool = True,
    ) -> None:
        """Run *sql* for its effect, outside of any session."""
        with self._pooled() as session:
            session.command(sql, parameters, settings=settings, use_database=use_database)

    def open_session(self, settings: Settings | None = None) -> Session:
        """Return a connection of its own, with *settings* applied in their order.

        Its temporary tables are seen by nobody else. The caller closes it; else the store does.
        """
        self._refuse_unusable()
        session = self._connect()
        with self._guard:
            self._open.add(session)
        session.set({**self._settings, **(settings or {})})
        return session

    def bounded(self, settings: Settings) -> Store:
        """Return the same store for reads under *settings* of their own; closed before this one.

        It has connections of its own, so that its slow reads keep no others waiting.
        """
        self._refuse_unusable()
        return Store(self.dsn, self._connect, settings={**self._settings, **settings})

    @contextmanager
    def unrestricted_session(self) -> Iterator[Session]:
        """Give a connection without the store's own settings, for its set-up."""
        session = self._connect()
        try:
            yield session
        finally:
            session.close()

    def close_session(self, session: Session) -> None:
        """Close a connection of ``open_session``."""
        with self._guard:
            self._open.discard(session)
        session.close()

    @contextmanager
    def session(self, settings: Settings | None = None) -> Iterator[Session]:
        """Give a connection of its own for the length of a ``with`` block."""
        session = self.open_session(settings)
        try:
            yield session
        finally:
            self.close_session(session)

    def ping(self) -> bool:
        """Whether the store answers; raises UnavailableError where it does not."""
        return self.query("SELECT 1").rows == [(1,)]

    def close(self) -> None:
        """Close every connection and give an embedded directory back; again does nothing."""
        with self._guard:
            self._closed = True
            sessions, self._open, self._idle = self._open, set(), []
        for session in sessions:
            session.close()
        if self._lock is not None and os.getpid() == self._pid:
            self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def _pooled(self) -> Iterator[Session]:
        self._refuse_unusable()
        with self._places:
            with self._guard:
                session = self._idle.pop() if self._idle else None
            if session is None:
                session = self.open_session()
            try:
                yield session
            except BaseException:
                # The embedded engine puts what a failed query left unread before the next result.
                self.close_session(session)
                raise
            self._give_back(session)

    def _give_back(self, session: Session) -> None:
        with self._guard:
            if not self._closed:
                self._idle.append(session)
                return
        session.close()

    def _refuse_unusable(self) -> None:
        # A fork copies the pool's locks in whatever state they are: look before taking them.
        if self.kind == "embedded" and os.getpid() != self._pid:
            raise StoreForkedError(
                str(self.dsn.directory), opened_by=self._pid, used_by=os.getpid()
            )
        if self._closed:
            raise StoreUnreachableError(str(self.dsn), "it was closed")
