"""``/sql``: queries of others in ClickHouse's HTTP dialect, behind the gate.

In: GET or POST as a ClickHouse server takes them. Out: the result in any listed format, or an error
as ``Code: N. DB::Exception: …``. clickhouse-connect works unchanged with ``proxy_path="/sql"``.
The one question of its handshake that the gate would refuse (which settings are there) has a
prepared answer: the limits, which a client can lower, and nothing else.
Left out: inserts, sessions, external data, progress headers, streaming.
"""

from __future__ import annotations

import gzip
import json
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Final, NamedTuple, Protocol

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from mvtrace.errors import MvtraceError
from mvtrace.store import Session, Store
from mvtrace_collector.access import identity_in
from mvtrace_collector.access_log_entry import Note, note_of
from mvtrace_collector.access_log_sql import kept_statement
from mvtrace_collector.sql_dialect import (
    CONTENT_TYPES,
    MAX_BODY,
    DialectError,
    SqlRequest,
    UrlValue,
    dialect_error,
    empty_native,
    sql_request,
)
from mvtrace_collector.sqlcatalog import ADMIN_TABLES
from mvtrace_collector.sqlgate import Approved, Gate
from mvtrace_collector.sqlreaders import Limits, ReaderPool, reader_settings

HANDSHAKE: Final = "SELECT name, value, readonly FROM system.settings LIMIT 10000"
"""What clickhouse-connect asks first, in its normal form."""

_COMPRESS_FROM: Final = 1024
_FIXED: Final = (("enable_http_compression", "0", 0), ("send_progress_in_http_headers", "0", 1))
_SHAPE: Final = "JSONCompactEachRowWithNamesAndTypes"


class State(Protocol):
    """What the endpoint needs of the collector."""

    @property
    def store(self) -> Store: ...

    def project_of(self, request: Request) -> str: ...


class Answer(NamedTuple):
    """A result and how it is written."""

    body: bytes
    format: str
    elapsed_ns: int


class Gates(NamedTuple):
    """The two gates of a store; the tables of admins are no tables to others."""

    admins: Gate
    others: Gate


class SqlEndpoint:
    """Answers queries over one store; its gate and readers are made at the first one."""

    def __init__(self, state: State, limits: Limits | None = None) -> None:
        self._state = state
        self._limits = limits or Limits()
        self._guard = threading.Lock()
        self._made: tuple[Store, Gates, ReaderPool] | None = None

    async def answer(self, request: Request) -> Response:
        """Answer one HTTP request."""
        query_id = str(uuid.uuid4())
        try:
            asked = sql_request(
                request.query_params.multi_items(),
                await _body(request),
                headers=request.headers,
            )
            query_id = asked.query_id or query_id
            project = self._state.project_of(request)
            # So that {project:String} need not be known to whoever asks under a key of one project.
            bound = {"project": UrlValue(project), **asked.parameters}
            asked = replace(asked, parameters=bound)
            is_admin = identity_in(request.scope).may("admin")
            note = note_of(request.scope)
            result = await run_in_threadpool(
                self._run, asked, project, is_admin=is_admin, note=note
            )
        except MvtraceError as error:
            return _refusal(self._hidden(dialect_error(error)), query_id)
        return _response(result, asked, query_id, request.headers.get("accept-encoding", ""))

    async def ping(self, _: Request) -> Response:
        """Answer clickhouse-connect's ping."""
        return PlainTextResponse("Ok.\n")

    def close(self) -> None:
        """Close the readers."""
        with self._guard:
            made, self._made = self._made, None
        if made is not None:
            made[2].close()

    def _run(self, asked: SqlRequest, project: str, *, is_admin: bool, note: Note) -> Answer:
        started = time.perf_counter_ns()
        store, gates, readers = self._parts()
        gate = gates.admins if is_admin else gates.others
        if asked.database not in (None, "", store.database):
            raise DialectError(
                81, f"There is no database {asked.database!r}, only {store.database}."
            )
        limits = self._limits.lowered(asked.limits)
        approved = self._approved(gate, asked, note)
        output = approved.format or asked.default_format or "TabSeparated"
        if output not in CONTENT_TYPES:
            raise DialectError(73, f"The format {output!r} is not let through.")
        settings = reader_settings(
            limits,
            database=store.database,
            tables=gate.catalog.tables,
            project=project,
            hidden=frozenset() if is_admin else ADMIN_TABLES,
        )
        with readers.reader(settings) as session:
            body = _result(session, approved, output)
        if len(body) > limits.max_result_bytes:
            raise DialectError(
                396,
                f"The result has {len(body):,} bytes as {output}; "
                f"the limit is {limits.max_result_bytes:,} (max_result_bytes). Add a LIMIT.",
            )
        return Answer(body, output, time.perf_counter_ns() - started)

    def _approved(self, gate: Gate, asked: SqlRequest, note: Note) -> Approved:
        """Return what may run, and note its words; those of what may not, where it is SQL."""
        try:
            approved = self._handshake(gate, asked) or gate.approve(asked.sql, asked.parameters)
        except MvtraceError:
            note.statement = _refused_statement(gate, asked.sql, note)
            raise
        note.statement = kept_statement(approved.sql, note.digest)
        return approved

    def _handshake(self, gate: Gate, asked: SqlRequest) -> Approved | None:
        if "system.settings" not in asked.sql or len(asked.sql) > 2 * len(HANDSHAKE):
            return None
        statement, _, output = gate.normal_form(asked.sql).partition(" FORMAT ")
        if statement != HANDSHAKE:
            return None
        rows = [
            *_FIXED,
            *((one.name, f"{getattr(self._limits, one.name):.15g}", 0) for one in fields(Limits)),
        ]
        listed = ", ".join(f"('{name}', '{value}', {readonly})" for name, value, readonly in rows)
        prepared = (
            "SELECT tupleElement(row, 1) AS name, tupleElement(row, 2) AS value, "
            f"toUInt8(tupleElement(row, 3)) AS readonly FROM (SELECT arrayJoin([{listed}]) AS row)"
        )
        return Approved(prepared, output or None, {})

    def _hidden(self, error: DialectError) -> DialectError:
        """Return *error* without the store's directory, which the engine likes to tell."""
        directory = str(self._made[0].dsn.directory or "") if self._made else ""
        if not directory or directory not in error.message:
            return error
        shown = error.message.replace(directory, "…")
        return DialectError(error.store_code, shown, name=error.name)

    def _parts(self) -> tuple[Store, Gates, ReaderPool]:
        store = self._state.store
        with self._guard:
            if self._made is None or self._made[0] is not store:
                readers = ReaderPool(store)
                gates = Gates(Gate(store, readers), Gate(store, readers, hidden=ADMIN_TABLES))
                self._made = (store, gates, readers)
            return self._made


def _refused_statement(gate: Gate, sql: str, note: Note) -> str:
    """Return what the access log keeps of *sql*: its words, if it is SQL, else a digest."""
    try:
        return kept_statement(gate.normal_form(sql), note.digest)
    except MvtraceError:
        return note.digest(sql)


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise DialectError(62, f"The request is longer than {MAX_BODY >> 10} KiB.")
    return bytes(body)


def _result(session: Session, approved: Approved, output: str) -> bytes:
    parameters = approved.parameters or None
    body = session.raw(approved.sql, parameters, output)
    if body or output != "Native":
        return body
    # The embedded engine writes nothing for no rows, where a server writes the columns.
    shape = session.raw(approved.sql, parameters, _SHAPE).split(b"\n", 2)
    return empty_native(zip(json.loads(shape[0]), json.loads(shape[1]), strict=True))


def _response(result: Answer, asked: SqlRequest, query_id: str, accepted: str) -> Response:
    headers = {
        **_common(query_id),
        "X-ClickHouse-Format": result.format,
        "X-ClickHouse-Summary": json.dumps(
            {"result_bytes": str(len(result.body)), "elapsed_ns": str(result.elapsed_ns)}
        ),
    }
    body = result.body
    if asked.wants_compression and "gzip" in accepted and len(body) >= _COMPRESS_FROM:
        body = gzip.compress(body, compresslevel=1)
        headers["Content-Encoding"] = "gzip"
    return Response(body, media_type=CONTENT_TYPES[result.format], headers=headers)


def _refusal(error: DialectError, query_id: str) -> Response:
    headers = {**_common(query_id), "X-ClickHouse-Exception-Code": str(error.store_code)}
    return Response(error.body, error.status, headers, "text/plain; charset=UTF-8")


def _common(query_id: str) -> dict[str, str]:
    shown = query_id if query_id.isascii() and query_id.isprintable() else "unprintable"
    return {
        "X-ClickHouse-Query-Id": shown[:200],
        "X-ClickHouse-Server-Display-Name": "mvtrace",
        "X-ClickHouse-Timezone": "UTC",
        "Vary": "Accept-Encoding",
    }


def routes(state: State) -> Sequence[Route]:
    """Return the routes of the endpoint, to be mounted by the collector."""
    endpoint = SqlEndpoint(state)
    return [
        Route("/sql", endpoint.answer, methods=["GET", "POST"]),
        Route("/sql/ping", endpoint.ping, methods=["GET"]),
        Route("/sql/", endpoint.answer, methods=["GET", "POST"]),
    ]
