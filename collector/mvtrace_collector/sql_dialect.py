"""ClickHouse's HTTP dialect: what a request to ``/sql`` says, and how answers and errors look.

In: an HTTP request's query string, headers and body. Out: a SqlRequest; or a DialectError, which
knows ClickHouse's error code, its name and the HTTP status. Nothing is run here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from mvtrace.errors import MvtraceError, QueryRefusedError, StatementFailedError, UnavailableError
from mvtrace_collector.errors import ForbiddenProjectError
from mvtrace_collector.sqlreaders import LIMIT_NAMES

MAX_BODY: Final = 1 << 20
"""Bytes of a request: a statement of 128 KiB and its parameters."""

_TEXT: Final = "text/plain; charset=UTF-8"
_BYTES: Final = "application/octet-stream"
_TSV: Final = "text/tab-separated-values; charset=UTF-8"
_CSV: Final = "text/csv; charset=UTF-8"
_JSON: Final = "application/json; charset=UTF-8"
_LINES: Final = "application/x-ndjson; charset=UTF-8"
_HEADERS: Final = ("", "WithNames", "WithNamesAndTypes")

CONTENT_TYPES: Final[Mapping[str, str]] = {
    "Native": _BYTES,
    "Parquet": _BYTES,
    "Arrow": _BYTES,
    "ArrowStream": _BYTES,
    "ORC": _BYTES,
    "Avro": _BYTES,
    "MsgPack": _BYTES,
    "BSONEachRow": _BYTES,
    "Npy": _BYTES,
    "RawBLOB": _BYTES,
    "Null": _TEXT,
    "TSKV": _TSV,
    "Values": _TEXT,
    "Vertical": _TEXT,
    "Markdown": "text/markdown; charset=UTF-8",
    "XML": "application/xml; charset=UTF-8",
    **{f"RowBinary{header}": _BYTES for header in _HEADERS},
    **{f"{name}{header}": _TSV for name in ("TabSeparated", "TSV") for header in _HEADERS},
    **{f"{name}Raw{header}": _TSV for name in ("TabSeparated", "TSV") for header in _HEADERS},
    **{f"CSV{header}": _CSV for header in _HEADERS},
    **dict.fromkeys(("JSON", "JSONStrings", "JSONCompact", "JSONCompactStrings"), _JSON),
    **dict.fromkeys(("JSONColumns", "JSONCompactColumns", "JSONColumnsWithMetadata"), _JSON),
    **dict.fromkeys(("JSONObjectEachRow",), _JSON),
    **dict.fromkeys(("JSONEachRow", "JSONLines", "NDJSON", "JSONStringsEachRow"), _LINES),
    **dict.fromkeys(("PrettyJSONEachRow", "PrettyJSONLines", "PrettyNDJSON"), _LINES),
    **{f"JSONCompactEachRow{header}": _LINES for header in _HEADERS},
    **{f"JSONCompactStringsEachRow{header}": _LINES for header in _HEADERS},
    **{
        f"Pretty{shape}{escapes}": _TEXT
        for shape in ("", "Compact", "Space", "MonoBlock", "CompactMonoBlock", "SpaceMonoBlock")
        for escapes in ("", "NoEscapes")
        if not (escapes and "Mono" in shape)
    },
}
"""The formats of answers. Absent are those that read schema files or templates."""

TRANSPORT: Final = frozenset(
    {
        *("query_id", "session_id", "session_timeout", "session_check", "quota_key", "stacktrace"),
        *("wait_end_of_query", "buffer_size", "client_protocol_version", "http_response_headers"),
        *("send_progress_in_http_headers", "http_headers_progress_interval_ms", "close_session"),
        *("cancel_http_readonly_queries_on_client_close", "user", "password", "project"),
    }
)
"""What a request says about itself: no settings. Most of it changes nothing of the answer."""

_STATUS: Final[Mapping[int, int]] = {
    60: 404,
    81: 404,
    158: 400,
    159: 408,
    164: 403,
    202: 503,
    241: 500,
    396: 413,
    452: 403,
    497: 403,
}
_NAMES: Final[Mapping[int, str]] = {
    62: "SYNTAX_ERROR",
    73: "UNKNOWN_FORMAT",
    81: "UNKNOWN_DATABASE",
    115: "UNKNOWN_SETTING",
    202: "TOO_MANY_SIMULTANEOUS_QUERIES",
    210: "NETWORK_ERROR",
    396: "TOO_MANY_ROWS_OR_BYTES",
    452: "SETTING_CONSTRAINT_VIOLATION",
    497: "ACCESS_DENIED",
}
_ENGINE_NAME: Final = re.compile(r"\(([A-Z][A-Z0-9_]{3,})\)(?:\s*\(version [^()]*\))?\s*$")
_BOUNDARY: Final = re.compile(r"(?ai);\s*boundary=\"?([\w'()+,./:=?-]{1,70})\"?\s*(?:;|$)")
_FIELD_NAME: Final = re.compile(
    rb'(?i)\r\nContent-Disposition: *form-data; *name="([^"\r\n]*)" *(?:\r\n|$)'
)
"""A part with a file's name after its own is no field."""
_GATE_SCOPE: Final = re.compile(r"(?:: )?In scope SELECT formatQuerySingleLine\(.*$", re.DOTALL)


class DialectError(MvtraceError):
    """A request is answered with one of ClickHouse's errors."""

    code = "sql"

    def __init__(self, store_code: int, problem: str, *, name: str | None = None) -> None:
        super().__init__(problem)
        self.store_code = store_code
        self.name = name or _NAMES.get(store_code, "UNKNOWN_EXCEPTION")

    @property
    def status(self) -> int:
        """The HTTP status that fits."""
        return _STATUS.get(self.store_code, 400)

    @property
    def body(self) -> bytes:
        """The answer's body, in the engine's own words."""
        text = f"Code: {self.store_code}. DB::Exception: {self.message} ({self.name})\n"
        return text.encode("utf-8", "replace")


def dialect_error(error: MvtraceError) -> DialectError:
    """Return *error* as ClickHouse would say it."""
    if isinstance(error, DialectError):
        return error
    problem = error.message if error.hint is None else f"{error.message} {error.hint}"
    if isinstance(error, StatementFailedError):
        named = _ENGINE_NAME.search(str(error.__cause__ or ""))
        return DialectError(
            error.store_code or 62,
            _GATE_SCOPE.sub(".", problem.removeprefix("The store refuses the statement: ")),
            name=named.group(1) if named else None,
        )
    if isinstance(error, UnavailableError):
        return DialectError(202, problem)
    is_denied = isinstance(error, QueryRefusedError | ForbiddenProjectError)
    return DialectError(497 if is_denied else 62, problem)


@dataclass(frozen=True)
class UrlValue:
    """A parameter's value as the HTTP interface takes it: escaped already, hence not text.

    clickhouse-connect escapes text once more, and sends ``str()`` of what it does not know.
    """

    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class SqlRequest:
    """One request: the statement and what was said about how to answer it."""

    sql: str
    parameters: Mapping[str, UrlValue]
    limits: Mapping[str, str]
    database: str | None
    default_format: str | None
    query_id: str | None
    wants_compression: bool


def sql_request(
    query_string: Iterable[tuple[str, str]], body: bytes, *, headers: Mapping[str, str]
) -> SqlRequest:
    """Return what a request says; *query_string* and a form in *body* count alike.

    Raises:
        DialectError: a setting is unknown, or a part is not what it should be.

    """
    fields = dict(query_string)
    if headers.get("content-encoding", "identity") != "identity":
        raise DialectError(62, "The body of a query is not compressed.")
    if headers.get("content-type", "").startswith("multipart/form-data"):
        fields.update(_form(body, headers["content-type"]))
        body = b""
    sql = "\n".join(part for part in (fields.pop("query", ""), _decoded(body)) if part)
    if not sql.strip():
        raise DialectError(62, "The query is empty.")
    parameters = {
        name.removeprefix("param_"): UrlValue(fields.pop(name))
        for name in list(fields)
        if name.startswith("param_")
    }
    limits = {name: fields.pop(name) for name in LIMIT_NAMES & fields.keys()}
    request = SqlRequest(
        sql,
        parameters,
        limits,
        database=headers.get("x-clickhouse-database") or fields.pop("database", None),
        default_format=headers.get("x-clickhouse-format") or fields.pop("default_format", None),
        query_id=fields.get("query_id") or None,
        wants_compression=fields.pop("enable_http_compression", "0") in ("1", "true"),
    )
    _refuse_settings(fields)
    return request


def _refuse_settings(fields: Mapping[str, str]) -> None:
    harmless = {"readonly": ("1", "2"), "compress": ("0", "false"), "decompress": ("0", "false")}
    for name, value in fields.items():
        if name in TRANSPORT or name in ("database", "default_format"):
            continue
        if value in harmless.get(name, ()):
            continue
        limits = ", ".join(sorted(LIMIT_NAMES))
        raise DialectError(
            452,
            f"The setting {name!r} is not let through; a request can only lower {limits}.",
        )


def _form(body: bytes, content_type: str) -> dict[str, str]:
    """Return the fields of a form as HTTP clients write it.

    Read by hand: the standard library's parser of mails does far more, and fails on odd headers.
    """
    boundary = _BOUNDARY.search(content_type)
    if boundary is None:
        raise DialectError(62, "The form has no boundary.")
    first, *parts = (b"\r\n" + body).split(b"\r\n--" + boundary[1].encode("ascii"))
    if first or not parts or not parts[-1].startswith(b"--"):
        raise DialectError(62, "The form is not whole.")
    return dict(map(_form_field, parts[:-1]))


def _form_field(part: bytes) -> tuple[str, str]:
    head, blank, content = part.partition(b"\r\n\r\n")
    name = _FIELD_NAME.search(head)
    if not blank or name is None:
        raise DialectError(62, "A form holds a query and its parameters, and no files.")
    return _decoded(name[1]), _decoded(content)


def _decoded(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise DialectError(62, f"The query is not UTF-8 ({error.reason}).") from error


def empty_native(names_and_types: Iterable[tuple[str, str]]) -> bytes:
    """Return a Native block of these columns and no rows, as a server sends for an empty result."""
    columns = list(names_and_types)
    parts = [_varint(len(columns)), _varint(0)]
    for column in columns:
        for text in column:
            parts += [_varint(len(text.encode())), text.encode()]
    return b"".join(parts)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:  # noqa: PLR2004 (seven bits a byte)
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
