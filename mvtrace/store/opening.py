"""Open a store from its DSN: the only place that makes clickhouse-connect clients.

In: a DSN. Out: a ``Store`` whose connections have the database as default and times in UTC.
chDB is imported only for an embedded store; no table is made here (see ``migrations``).
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import clickhouse_connect
from clickhouse_connect.driver.exceptions import ClickHouseError
from clickhouse_connect.driver.httputil import check_env_proxy, get_pool_manager

from mvtrace.errors import ConfigurationError, StatementFailedError, StoreUnreachableError
from mvtrace.store.dsn import StoreDsn, parse_dsn
from mvtrace.store.failures import reason_of, unreachable
from mvtrace.store.lock import DirectoryLock
from mvtrace.store.session import Session
from mvtrace.store.store import Store

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

# What it logs it also raises; without a handler Python would print it.
logging.getLogger("clickhouse_connect").addHandler(logging.NullHandler())

_UNKNOWN_DATABASE: Final = 81
_ENGINE_FOLDER: Final = "metadata"
"""The engine makes it first of all in a directory of its own."""

SQL_PATH: Final = "/sql"
"""Where a collector answers in ClickHouse's HTTP dialect."""
PROJECT_HEADER: Final = "x-mvtrace-project"
"""Which of a key's projects a collector is asked about."""


def open_store(
    dsn: str,
    *,
    owner_url: str | None = None,
    read_only: bool = False,
    api_key: str | None = None,
    project: str | None = None,
) -> Store:
    """Return the store at *dsn*, its connection proven.

    *owner_url* is told to whoever finds an embedded store in use; *read_only* makes the engine
    refuse writes, and makes no store where there is none; *api_key* is the bearer token for a
    collector, and *project* the one of the key's projects that it is asked about.

    Raises:
        ConfigurationError: *dsn* is no address of a store.
        StoreInUseError: another process owns the embedded store.
        UnavailableError: the store does not answer.

    """
    parsed = parse_dsn(dsn)
    settings = {"readonly": "2"} if read_only and parsed.kind != "collector" else {}
    if parsed.kind == "embedded":
        if read_only:
            _check_presence(parsed)
        return _open_embedded(parsed, owner_url=owner_url, settings=settings)
    options = _collector_options(parsed, api_key, project) if parsed.kind == "collector" else {}
    store = Store(parsed, _over_http(parsed, options), settings=settings)
    _prove(store)
    return store


def _check_presence(dsn: StoreDsn) -> None:
    """The engine would make a store of any folder, also of one that was named by mistake."""
    directory = (dsn.directory or Path()).resolve()
    if not (directory / _ENGINE_FOLDER).is_dir():
        raise StoreUnreachableError(str(dsn), f"the folder {directory} holds none")


def _open_embedded(dsn: StoreDsn, *, owner_url: str | None, settings: dict[str, str]) -> Store:
    directory = (dsn.directory or Path()).resolve()
    lock = DirectoryLock(directory, owner_url=owner_url)
    store = Store(dsn, _in_process(dsn, directory), settings=settings, lock=lock)
    try:
        with store.unrestricted_session() as session:
            session.command(f"CREATE DATABASE IF NOT EXISTS {dsn.database}", use_database=False)
            _prove(store)
    except BaseException:
        store.close()
        raise
    return store


def _prove(store: Store) -> None:
    try:
        _answers(store)
    except BaseException:
        store.close()
        raise


def _answers(store: Store) -> None:
    """Ask once; a server without the database gets it, since it refuses even ``SELECT 1``."""
    try:
        store.ping()
    except StatementFailedError as error:
        if store.kind != "server" or error.store_code != _UNKNOWN_DATABASE:
            raise
        with store.unrestricted_session() as session:
            session.command(f"CREATE DATABASE IF NOT EXISTS {store.database}", use_database=False)
        store.ping()


def _in_process(dsn: StoreDsn, directory: Path) -> Callable[[], Session]:
    def connect() -> Session:
        return _connected(dsn, {"interface": "chdb", "path": str(directory)})

    return connect


def _over_http(dsn: StoreDsn, options: dict[str, Any]) -> Callable[[], Session]:
    def connect() -> Session:
        address = {"interface": dsn.interface, "host": dsn.host, "port": dsn.port}
        login = {"username": dsn.username, "password": dsn.password} if dsn.username else {}
        pool = _straight_pool(dsn.interface, dsn.host, dsn.port)
        given = {**address, **login, **options, "query_retries": 0, "pool_mgr": pool}
        return _connected(dsn, given)

    return connect


@functools.cache
def _straight_pool(interface: str, host: str, port: int) -> PoolManager:
    """Return connections that follow no redirect; proxies are those of the environment.

    Whoever answers could otherwise have the password, and what is asked, sent to any other host.
    """
    proxy = check_env_proxy(interface, host, port)
    options: dict[str, Any] = {f"{interface}_proxy": proxy} if proxy else {}
    pool: Any = get_pool_manager(**options)
    pool.urlopen = functools.partial(_without_redirect, pool.urlopen)
    made: PoolManager = pool
    return made


def _without_redirect(
    urlopen: Callable[..., BaseHTTPResponse], method: str, url: str, **options: Any
) -> BaseHTTPResponse:
    return urlopen(method, url, **{**options, "redirect": False})


os.register_at_fork(after_in_child=_straight_pool.cache_clear)


def _collector_options(dsn: StoreDsn, api_key: str | None, project: str | None) -> dict[str, Any]:
    if dsn.username:
        raise ConfigurationError(
            "The store DSN", str(dsn), "a collector takes an API key, not a user"
        )
    named = {"headers": {PROJECT_HEADER: project}} if project else {}
    return {"proxy_path": SQL_PATH, "access_token": api_key, **named}


def _connected(dsn: StoreDsn, options: dict[str, Any]) -> Session:
    with _opening(dsn):
        client = clickhouse_connect.get_client(**options, tz_mode="aware")
        # Named only now: before the first migration the database does not exist.
        client.database = dsn.database
        return Session(client, dsn)


@contextmanager
def _opening(dsn: StoreDsn) -> Iterator[None]:
    """Whatever keeps a connection from opening means that the store does not answer."""
    try:
        yield
    except ClickHouseError as error:
        raise unreachable(dsn, reason_of(error)) from error
    except ImportError as error:
        raise StoreUnreachableError(
            str(dsn),
            f"the embedded engine is not installed ({error}); pip install 'mvtrace[embedded]'",
        ) from error
