"""One connection with its own temporary tables and settings; calls on it run one after the other.

In: SQL. Out: rows, bytes, or nothing. The embedded engine and the server over HTTP differ in one
place only: where the bytes of a raw OTLP segment come from (``insert_otlp``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from clickhouse_connect.datatypes.base import ClickHouseType
from clickhouse_connect.driver.client import Client

from mvtrace.errors import StoreForkedError
from mvtrace.store.dsn import StoreDsn
from mvtrace.store.failures import translated

Parameters = Mapping[str, Any]
Settings = Mapping[str, Any]


class Rows(NamedTuple):
    """A result: the names of the columns, and the rows as tuples in the same order."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]

    def dicts(self) -> Iterator[dict[str, Any]]:
        """Yield each row as a dict by column name."""
        for row in self.rows:
            yield dict(zip(self.columns, row, strict=True))


class Session:
    """One connection. Not for several threads at once; made by ``Store.open_session``."""

    def __init__(self, client: Client, dsn: StoreDsn) -> None:
        self._client = client
        self._dsn = dsn
        self._pid = os.getpid()
        self._types: dict[tuple[str, ...], Sequence[ClickHouseType]] = {}

    def query(
        self,
        sql: str,
        parameters: Parameters | None = None,
        *,
        settings: Settings | None = None,
    ) -> Rows:
        """Return the rows of *sql*; ``{name:Type}`` in it takes its value from *parameters*.

        FixedStrings come back as bytes. Python's datetime holds microseconds only: select
        ``toUnixTimestamp64Nano(column)`` where nanoseconds matter.
        """
        self._refuse_fork()
        with translated(self._dsn):
            result = self._client.query(sql, _bound(parameters), settings=_plain(settings))
            return Rows(tuple(result.column_names), [tuple(row) for row in result.result_rows])

    def raw(
        self,
        sql: str,
        parameters: Parameters | None = None,
        format: str = "JSONEachRow",  # noqa: A002 (ClickHouse's word)
        *,
        settings: Settings | None = None,
    ) -> bytes:
        """Return the result of *sql* as bytes in a *format* of ClickHouse (CSV, Parquet, …)."""
        self._refuse_fork()
        with translated(self._dsn):
            return self._client.raw_query(
                sql, _bound(parameters), settings=_plain(settings), fmt=format
            )

    def command(
        self,
        sql: str,
        parameters: Parameters | None = None,
        *,
        settings: Settings | None = None,
        use_database: bool = True,
    ) -> None:
        """Run *sql* for its effect."""
        self._refuse_fork()
        with translated(self._dsn):
            self._client.command(
                sql, _bound(parameters), settings=_plain(settings), use_database=use_database
            )

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Insert a few *rows*; what comes in bulk goes through ``insert_otlp``."""
        self._refuse_fork()
        key = (table, *columns)
        with translated(self._dsn):
            if key not in self._types:
                # Asked once: it costs more than the insert, and no column ever changes its type.
                self._types[key] = self._client.create_insert_context(table, columns).column_types
            self._client.insert(
                table,
                rows,
                column_names=columns,
                column_types=self._types[key],
                settings={"async_insert": "0"},
            )

    def insert_otlp(self, statement: str, segment: Path, *, structure: str) -> None:
        """Run an ``INSERT INTO … SELECT … FROM {source} SETTINGS …`` over a raw OTLP *segment*.

        ``{source}`` becomes the engine's own reading of the file (embedded) or the body of the
        HTTP request (server); *structure* names the columns of the Protobuf messages in it.
        """
        self._refuse_fork()
        structure_text = _quoted(structure)
        if self._dsn.kind == "embedded":
            source = f"file({_quoted(str(segment))}, Protobuf, {structure_text})"
            with translated(self._dsn):
                self._client.command(statement.replace("{source}", source))
            return
        sql = statement.replace("{source}", f"input({structure_text})") + "\nFORMAT Protobuf"
        with translated(self._dsn):
            self._client.command(sql, data=segment.read_bytes())

    def set(self, settings: Settings) -> None:
        """Apply *settings* to every later call, in their order."""
        self._refuse_fork()
        with translated(self._dsn):
            for key, value in settings.items():
                self._client.set_client_setting(key, value)

    def close(self) -> None:
        """Close the connection; its temporary tables are gone."""
        if os.getpid() == self._pid:
            self._client.close()

    @property
    def server_version(self) -> str:
        """The engine's version, for example ``26.9.2.1``."""
        return self._client.server_version or ""

    def knows_setting(self, name: str) -> bool:
        """Whether the engine has the setting *name*."""
        return name in self._client.server_settings

    def _refuse_fork(self) -> None:
        if self._dsn.kind == "embedded" and os.getpid() != self._pid:
            raise StoreForkedError(
                str(self._dsn.directory), opened_by=self._pid, used_by=os.getpid()
            )


def _bound(parameters: Parameters | None) -> dict[str, Any] | None:
    return dict(parameters) if parameters else None


def _plain(settings: Settings | None) -> dict[str, Any] | None:
    return dict(settings) if settings else None


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
