"""Questions of an analyst from Python: SQL in, rows or a data frame out.

In: a statement and where to ask it: a running collector (its ``/sql``, under its limits), a store
that nobody else has open, or a ClickHouse server. Out: a Result, for which nothing is asked until
its rows are wanted; data frames come over Arrow, in the library that is installed::

    daily = mvtrace.query("SELECT * FROM version_latency_daily WHERE day >= {since:Date}",
                          {"since": "2026-11-01"})
    frame = daily.to_pandas()

Only rows of one project are seen: the *project* given, else ``MVTRACE_PROJECT``, else the only one
of the key or ``default``. A result is held in memory, and is one of at most a gigabyte; a collector
has lower limits of its own. The tables and views are described in ``schemas/``; the database's
client and the libraries of frames are imported when they are used.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from importlib import import_module
from numbers import Number
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from mvtrace.config import DEFAULT_URL
from mvtrace.errors import (
    ConfigurationError,
    StatementFailedError,
    UnavailableError,
    UsageError,
)

_SHOWN: Final = 60
_FORMAT: Final = "ArrowStream"
_PROJECT: Final = "default"
_PROJECTS: Final = re.compile(r"[a-z0-9_-]{1,63}")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ENDS_WITH_FORMAT: Final = re.compile(r"\bFORMAT\s+\w+\s*;?\s*\Z", re.IGNORECASE)
_SIMPLE: Final = (str, Number, date, UUID, type(None))
_MOST: Final = {"max_result_bytes": str(1 << 30), "result_overflow_mode": "throw"}
_TOO_LARGE: Final = frozenset({241, 396})
"""MEMORY_LIMIT_EXCEEDED, TOO_MANY_ROWS_OR_BYTES."""


class LibraryMissingError(UnavailableError):
    """A result is wanted in a form whose library is not installed."""

    code = "library-missing"

    def __init__(self, wanted: str, missing: str, *, install: str) -> None:
        super().__init__(
            f"{wanted} needs a library that is not installed ({missing}).",
            hint=f"pip install '{install}'",
        )


class NotTextError(UsageError):
    """A frame is wanted of a column whose texts are none: its readers would trust that they are."""

    code = "not-text"

    def __init__(self, column: str) -> None:
        super().__init__(
            f"The column {column!r} holds bytes that are no text.",
            hint=f"Select hex({column}), or read .rows.",
        )
        self.column = column


class ResultTooLargeError(UsageError):
    """A result is more than whoever is asked gives, or than fits into its memory."""

    code = "result-too-large"

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The result is too large: {reason}.",
            hint="Name the columns that are wanted, add a condition or LIMIT, or group in SQL.",
        )


def query(
    sql: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    dsn: str | None = None,
    project: str | None = None,
) -> Result:
    """Return the result of *sql*, which runs when it is first looked at.

    ``{name:Type}`` in *sql* takes its value from *parameters*, and ``{project:String}`` is the
    project where they do not say another. *dsn* is ``http://HOST:PORT`` (a collector; else
    ``MVTRACE_URL``, else the one of this host; its key is ``MVTRACE_API_KEY``), ``chdb:///DIR`` or
    ``clickhouse://USER:PASSWORD@HOST:PORT/DATABASE``. *sql* is a statement as it is, never put
    together with values: those are *parameters*, which go apart from it and are not read as SQL.

    Raises:
        UsageError: *sql* is no statement, or a parameter cannot be passed.
        ConfigurationError: the project is none.
    """
    address = dsn or os.environ.get("MVTRACE_URL") or DEFAULT_URL
    chosen = project or os.environ.get("MVTRACE_PROJECT") or None
    if chosen is not None and not _PROJECTS.fullmatch(chosen):
        expected = "a project is a-z, 0-9, _ and -, at most 63 characters"
        raise ConfigurationError("project", chosen[:80], expected)
    _check_statement(sql)
    for name, value in (parameters or {}).items():
        _check_parameter(name, value)
    return Result(sql, parameters, dsn=address, project=chosen)


class Result:
    """What a statement gives; asked once for rows and once for Arrow, at most."""

    def __init__(
        self, sql: str, parameters: Mapping[str, Any] | None, *, dsn: str, project: str | None
    ) -> None:
        self.sql = sql
        self.parameters: Mapping[str, Any] = MappingProxyType(dict(parameters or {}))
        self._dsn = dsn
        self._project = project
        self._rows: tuple[tuple[str, ...], list[tuple[Any, ...]]] | None = None
        self._table: Any = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns."""
        return self._told()[0]

    @property
    def rows(self) -> list[tuple[Any, ...]]:
        """The rows, with Python's own types; ids that are no text come as bytes."""
        return self._told()[1]

    def dicts(self) -> Iterator[dict[str, Any]]:
        """Yield each row by the names of its columns."""
        columns, rows = self._told()
        for row in rows:
            yield dict(zip(columns, row, strict=True))

    def to_arrow(self) -> Any:
        """Return a ``pyarrow.Table``; times have their zone, ids that are no text are binary.

        Raises:
            LibraryMissingError: pyarrow is not installed.
            NotTextError: a column of text holds what is none.
        """
        if self._table is None:
            arrow = _library("to_arrow()", "pyarrow.ipc")
            with self._session() as session:
                body = session.raw(self.sql, self._bound(), _FORMAT)
            table = arrow.open_stream(io.BytesIO(body)).read_all()
            _check_texts(table)
            self._table = table
        return self._table

    def to_pandas(self) -> Any:
        """Return a ``pandas.DataFrame``.

        Raises:
            LibraryMissingError: pandas or pyarrow is not installed.
        """
        _library("to_pandas()", "pandas")
        return self.to_arrow().to_pandas()

    def to_polars(self) -> Any:
        """Return a ``polars.DataFrame``.

        Raises:
            LibraryMissingError: polars or pyarrow is not installed.
        """
        polars = _library("to_polars()", "polars")
        return polars.from_arrow(self.to_arrow())

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        words = " ".join(self.sql.split())
        shown = words if len(words) <= _SHOWN else words[: _SHOWN - 3] + "..."
        known = "not asked yet" if self._rows is None else f"{len(self._rows[1])} rows"
        return f"<Result of {shown!r}: {known}>"

    def _told(self) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        if self._rows is None:
            with self._session() as session:
                found = session.query(self.sql, self._bound())
            self._rows = found.columns, found.rows
        return self._rows

    def _bound(self) -> dict[str, Any]:
        if self._dsn.startswith(("http://", "https://")):
            return dict(self.parameters)  # the collector knows the project of the key
        return {"project": self._project or _PROJECT, **self.parameters}

    @contextmanager
    def _session(self) -> Iterator[Any]:
        """Give a connection that sees the rows of one project."""
        try:
            opening = import_module("mvtrace.store.opening")
            own = import_module("mvtrace.store.own_rows")
        except ImportError as error:
            raise LibraryMissingError(
                "query()", str(error), install="mvtrace[analytics]"
            ) from error
        key = os.environ.get("MVTRACE_API_KEY") or None
        with opening.open_store(
            self._dsn, read_only=True, api_key=key, project=self._project
        ) as store:
            if store.kind == "collector":
                with _bounded():
                    yield store
                return
            filters = own.filters(store.database, self._project or _PROJECT)
            with store.session({**filters, **_MOST}) as session, _bounded():
                yield session


@contextmanager
def _bounded() -> Iterator[None]:
    """Say of a result that is too large that it is."""
    try:
        yield
    except StatementFailedError as error:
        if error.store_code not in _TOO_LARGE:
            raise
        raise ResultTooLargeError(error.message.rpartition("statement: ")[2].rstrip(".")) from error


def _check_statement(sql: object) -> None:
    """Refuse what is no one statement whose result has a form of its own already."""
    if not isinstance(sql, str) or not sql.strip():
        raise UsageError(f"The statement is {sql!r:.60}; it is a text with one SELECT.")
    if _ENDS_WITH_FORMAT.search(sql):
        raise UsageError(
            "The statement ends with FORMAT, and its result has a form already.",
            hint="Leave it out: .rows, .to_arrow(), .to_pandas() and .to_polars() are forms.",
        )


def _check_parameter(name: object, value: Any) -> None:
    """Refuse what would not arrive as what it is."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UsageError(f"The parameter {name!r:.60} has no name that SQL could use.")
    if isinstance(value, (list, tuple)):
        for one in value:
            _check_parameter(name, one)
        return
    if isinstance(value, (bytes, bytearray)):
        raise UsageError(
            f"The parameter {name!r} is bytes, which cannot be passed.",
            hint=f"Pass its hex digits, and write unhex({{{name}:String}}).",
        )
    if not isinstance(value, _SIMPLE):
        raise UsageError(
            f"The parameter {name!r} is of type {type(value).__name__}, which cannot be passed.",
            hint="Pass text, a number, a date or time, a UUID, None, or a list of those.",
        )


def _library(wanted: str, name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        top = name.partition(".")[0]
        install = "mvtrace[analytics]" if top == "pyarrow" else top
        raise LibraryMissingError(wanted, str(error), install=install) from error


def _check_texts(table: Any) -> None:
    """Refuse a *table* that says of bytes that they are text; a sound one costs little."""
    for name, column in zip(table.column_names, table.columns, strict=True):
        try:
            column.validate(full=True)
        except ValueError as error:
            raise NotTextError(name) from error
