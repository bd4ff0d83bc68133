"""A server that speaks ClickHouse's HTTP dialect over the embedded engine; for tests only.

``python http_dialect.py DIRECTORY [FAULTS]`` prints ``listens on http://127.0.0.1:PORT``. Unlike
``/sql`` it has no gate: DDL, inserts, sessions with temporary tables, settings and ``input(…) FORMAT
…`` all run. The engine leaves ``input()`` empty when it is embedded, so that one reads a file
instead. FAULTS is a folder: an insert into a table of the database takes the first file of it away,
and meets the fault it is named after: an error's code, or ``lost`` for an answer that never comes.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
import threading
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import chdb
import lz4.frame
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from mvtrace_collector.sql_dialect import empty_native

TRANSPORT = {
    *("query", "database", "session_id", "session_timeout", "session_check", "query_id", "user"),
    *("wait_end_of_query", "buffer_size", "client_protocol_version", "enable_http_compression"),
    *("send_progress_in_http_headers", "http_headers_progress_interval_ms", "password", "compress"),
    *("decompress", "quota_key", "default_format", "cancel_http_readonly_queries_on_client_close"),
}
INPUT = re.compile(r"\binput\(('(?:[^'\\]|\\.)*')\)")
FORMAT = re.compile(rb"\bFORMAT\s+(\w+)\s*;?\s*$", re.IGNORECASE)
WRITES = re.compile(
    rb"\s*(INSERT|CREATE|DROP|ALTER|OPTIMIZE|TRUNCATE|USE|SET|SYSTEM|RENAME)\b", re.IGNORECASE
)
INSERTS = re.compile(rb"\bINSERT INTO mvtrace\.", re.IGNORECASE)
SHAPE = "JSONCompactEachRowWithNamesAndTypes"


class Handle:
    """One session: an engine handle, the settings it has, and a lock."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._connection = chdb.connect(directory)
        self._settings: dict[str, str] = {}
        self._database: str | None = None

    def run(
        self, sql: bytes, output: str, request: Mapping[str, str], parameters: Mapping[str, str]
    ) -> bytes:
        """Run one statement under the settings of its request."""
        settings = {k: v for k, v in request.items() if k not in TRANSPORT and k[:6] != "param_"}
        with self._lock:
            self._configure(settings, request.get("database"))
            try:
                body = self._connection.query(sql, output, params=dict(parameters)).bytes()
                if not body and output == "Native" and not WRITES.match(sql):
                    body = self._shape(FORMAT.sub(b"", sql), parameters)
                return bytes(body)
            except RuntimeError:
                # What the failed statement left unread must not come before the next result.
                self._connection.query("SELECT 1", "TSV")
                raise

    def close(self) -> None:
        self._connection.close()

    def _shape(self, sql: bytes, parameters: Mapping[str, str]) -> bytes:
        lines = self._connection.query(sql, SHAPE, params=dict(parameters)).bytes().split(b"\n")
        return empty_native(zip(json.loads(lines[0]), json.loads(lines[1]), strict=True))

    def _configure(self, settings: dict[str, str], database: str | None) -> None:
        if settings == self._settings and database in (None, self._database):
            return
        if self._settings.get("readonly", "0") != "0":
            self._connection.close()
            self._connection = chdb.connect(self._directory)
            self._settings, self._database = {}, None
        if database is not None and database != self._database:
            self._connection.query(f"USE `{database}`")
            self._database = database
        for name in self._settings.keys() - settings.keys():
            self._connection.query(f"SET {name} = DEFAULT")
        for name, value in sorted(settings.items(), key=lambda item: item[0] == "readonly"):
            if self._settings.get(name) != value:
                quoted = value.replace("\\", "\\\\").replace("'", "\\'")
                self._connection.query(f"SET {name} = '{quoted}'")
        self._settings = settings


class Dialect:
    """The HTTP side: statements from URL and body, errors with ClickHouse's headers."""

    def __init__(self, directory: str, faults: Path | None = None) -> None:
        self._directory = directory
        self._faults = faults
        self._guard = threading.Lock()
        self._handles: dict[str, Handle] = {}

    async def answer(self, request: Request) -> Response:
        fields = dict(request.query_params)
        body = await request.body()
        if request.headers.get("content-encoding") == "lz4":
            body = lz4.frame.decompress(body)
        if request.headers.get("content-type", "").startswith("multipart/form-data"):
            return PlainTextResponse("no forms here", 500)
        return await run_in_threadpool(self._answer, fields, body)

    async def ping(self, _: Request) -> Response:
        return PlainTextResponse("Ok.\n")

    def _answer(self, fields: dict[str, str], body: bytes) -> Response:
        headers = {
            "X-ClickHouse-Query-Id": fields.get("query_id") or str(uuid.uuid4()),
            "X-ClickHouse-Timezone": "UTC",
        }
        parameters = {k[6:]: v for k, v in fields.items() if k.startswith("param_")}
        statement = fields.get("query", "").encode()
        fault = self._next_fault(statement or body)
        if fault.isdecimal():
            return _refusal(f"Code: {fault}. DB::Exception: a fault of the test", headers)
        handle, is_lasting = self._handle(fields.get("session_id"))
        try:
            with tempfile.NamedTemporaryFile() as data:
                sql = _with_data(statement, body, data)
                named = FORMAT.search(statement or body)
                output = named[1].decode() if named and not WRITES.match(sql) else "TabSeparated"
                result = handle.run(sql, output, fields, parameters)
        except RuntimeError as error:
            return _refusal(str(error), headers)
        finally:
            if not is_lasting:
                handle.close()
        if fault == "lost":  # fewer bytes than promised: the connection is cut
            return Response(b"", headers={**headers, "content-length": "100"})
        if not WRITES.match(sql):
            headers["X-ClickHouse-Format"] = output
        return Response(result, headers={**headers, "X-ClickHouse-Summary": "{}"})

    def _next_fault(self, statement: bytes) -> str:
        """Return the fault that *statement* meets; empty for none."""
        if self._faults is None or not INSERTS.search(statement):
            return ""
        with self._guard:
            waiting = sorted(self._faults.iterdir())
            if not waiting:
                return ""
            waiting[0].unlink()
            return waiting[0].suffix.removeprefix(".")

    def _handle(self, session: str | None) -> tuple[Handle, bool]:
        if session is None:
            return Handle(self._directory), False
        with self._guard:
            if session not in self._handles:
                self._handles[session] = Handle(self._directory)
            return self._handles[session], True


def _with_data(statement: bytes, body: bytes, data: Any) -> bytes:
    """Put the statement of the URL and the data of the body together."""
    found = INPUT.search(statement.decode())
    if found is None:
        return b"\n".join(part for part in (statement, body) if part)
    data.write(body)
    data.flush()
    named = FORMAT.search(statement)
    name = named[1].decode() if named else "Protobuf"
    source = f"file('{data.name}', {name}, {found[1]})".encode()
    text = FORMAT.sub(b"", statement)
    return text.replace(found[0].encode(), source)


def _refusal(text: str, headers: dict[str, str]) -> Response:
    message = text[text.find("Code: ") :] if "Code: " in text else f"Code: 1001. {text}"
    code = re.match(r"Code: (\d+)", message)
    status = {"60": 404, "81": 404, "62": 400, "47": 404}.get(code[1] if code else "", 500)
    headers["X-ClickHouse-Exception-Code"] = code[1] if code else "1001"
    return PlainTextResponse(message, status, headers)


class _Server(uvicorn.Server):
    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        port = self.servers[0].sockets[0].getsockname()[1]
        print(f"listens on http://127.0.0.1:{port}", flush=True)


def main(directory: str, faults: str | None = None) -> None:
    """Serve the engine in *directory* until stopped; *faults* is a folder."""
    Path(directory).mkdir(parents=True, exist_ok=True)
    dialect = Dialect(directory, None if faults is None else Path(faults))
    keeper = Handle(directory)  # keeps the engine open between requests
    app = Starlette(
        routes=[
            Route("/", dialect.answer, methods=["GET", "POST"]),
            Route("/ping", dialect.ping),
        ]
    )
    _Server(
        uvicorn.Config(
            app,
            host="127.0.0.1",
            port=0,
            log_level="warning",
            h11_max_incomplete_event_size=1 << 20,
        )
    ).run()
    keeper.close()


if __name__ == "__main__":
    main(*sys.argv[1:3])
