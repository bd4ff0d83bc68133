"""ClickHouse's errors become ours, by their numeric code; the original stays as the cause.

In: what clickhouse-connect raises. Out: UnavailableError where the same call may work later,
QueryRefusedError where the account or the gate forbids it, StatementFailedError for the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import orjson
from clickhouse_connect.driver.exceptions import ClickHouseError, Error, ProgrammingError

from mvtrace.errors import (
    CollectorUnreachableError,
    MvtraceError,
    QueryRefusedError,
    StatementFailedError,
    StoreUnreachableError,
    UsageError,
)
from mvtrace.store.dsn import StoreDsn

UNREACHABLE_CODES: Final = frozenset(
    {
        202,  # TOO_MANY_SIMULTANEOUS_QUERIES
        203,  # NO_FREE_CONNECTION
        209,  # SOCKET_TIMEOUT
        210,  # NETWORK_ERROR
        225,  # NO_ZOOKEEPER
        242,  # TABLE_IS_READ_ONLY
        243,  # NOT_ENOUGH_SPACE
        279,  # ALL_CONNECTION_TRIES_FAILED
        285,  # TOO_FEW_LIVE_REPLICAS
        319,  # UNKNOWN_STATUS_OF_INSERT
        373,  # SESSION_IS_LOCKED
        516,  # AUTHENTICATION_FAILED
        999,  # KEEPER_EXCEPTION
    }
)
REFUSED_CODES: Final = frozenset({164, 452, 497})
"""READONLY, SETTING_CONSTRAINT_VIOLATION, ACCESS_DENIED."""

_MISSING_CODES: Final = frozenset({60, 81})
"""UNKNOWN_TABLE, UNKNOWN_DATABASE."""

_NOISE: Final = re.compile(
    r"^.*?Code:\s*\d+\.\s*|DB::Exception:\s*|^The query is refused:\s*"
    r"|\s*\(version [^()]*(?:\([^()]*\)[^()]*)*\)\s*$|\s*\([A-Z][A-Z0-9_]+\)\s*$"
    r"|\s*\(for url \S*\)\s*$|:?\s*\(in file/uri [^)]*\).*$",
    re.DOTALL,
)
_KEY_REFUSED: Final = re.compile(r'HTTP status 40[13]\b.*?"message":("(?:[^"\\]|\\.)*")')
_PROJECT_NEEDED: Final = re.compile(
    r'This key has the projects [^"]{1,65536}?, and the request names none'
)
"""As the collector says it, in JSON or in plain text."""
_REFUSED_CONNECTION: Final = re.compile(r"\[Errno -?\d+\] ([A-Za-z ]+)")


class ProjectNeededError(UsageError):
    """The key lists several projects, and none was named."""

    code = "project-needed"

    def __init__(self, message: str) -> None:
        super().__init__(message, hint="Set MVTRACE_PROJECT to one of them.")


@contextmanager
def translated(dsn: StoreDsn) -> Iterator[None]:
    """Raise clickhouse-connect's errors as ours, naming *dsn* without its password."""
    try:
        yield
    except ClickHouseError as error:
        raise _translation(error, dsn) from error


def _translation(error: ClickHouseError, dsn: StoreDsn) -> MvtraceError:
    code = error.code if isinstance(error, Error) else None
    reason = reason_of(error)
    if code in REFUSED_CODES:
        return QueryRefusedError(reason)
    if code in UNREACHABLE_CODES or (code is None and not isinstance(error, ProgrammingError)):
        return unreachable(dsn, reason)
    hint = f"'mvtrace migrate --store {dsn}' makes the tables." if code in _MISSING_CODES else None
    return StatementFailedError(reason, store_code=code, hint=hint)


def unreachable(dsn: StoreDsn, reason: str) -> MvtraceError:
    """Return the error that says that the store at *dsn* does not answer.

    A collector that answers that it does not let the key in does answer: asked again it would say
    the same.
    """
    if dsn.kind == "collector" and (refused := _KEY_REFUSED.search(reason)):
        message = " ".join(str(orjson.loads(refused[1])).split()).rstrip(".")
        return QueryRefusedError(message, hint="Its key is MVTRACE_API_KEY.")
    if dsn.kind == "collector" and (needed := _PROJECT_NEEDED.search(reason)):
        return ProjectNeededError(f"{needed[0]}.")
    if dsn.kind == "collector":
        return CollectorUnreachableError(str(dsn), reason)
    return StoreUnreachableError(str(dsn), reason)


def reason_of(error: BaseException) -> str:
    """Return the engine's own words without their wrapping, in one line and at most 1000 signs."""
    text = str(error)
    if "Max retries exceeded" in text and (cause := _REFUSED_CONNECTION.search(text)):
        return cause[1]
    while (shorter := _NOISE.sub("", text)) != text:
        text = shorter
    line = " ".join(text.partition(" In scope ")[0].split()).rstrip(".")
    return line if len(line) <= 1000 else line[:997] + "..."  # noqa: PLR2004 (documented above)
