"""The collector's log: one JSON object a line for programs, plain lines for a terminal.

Comes in: log records of this package and of its libraries. Goes out: ``time``, ``level``,
``event``, ``message`` and the event's data, on stderr. An alarm is an event of ALARMS. Nothing that
was sent to the collector is written, and no key: of an error only what says its kind
(``described``), since the engine likes to quote the data it stumbled over.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, TextIO

from mvtrace.errors import MvtraceError

Form = Literal["json", "text"]
FORMS: Final[tuple[Form, ...]] = ("json", "text")
LEVELS: Final = ("debug", "info", "warning", "error")

ALARMS: Final = {
    "quarantine": "rows that may not become evidence went to `quarantine`; `reasons` counts them",
    "conflict": "another record for a known request id was turned away; the first one stays",
    "not-permitted": "a key without the scope govern decided something; it is in `quarantine`",
    "poison": "a batch that the engine cannot load is in `quarantine` as it came",
    "gap": "numbers of a producer are missing: records were lost before they came here",
    "detached-part": "the engine put a damaged part of a table aside; `mvtrace verify` tells more",
    "lost-part": "a part of a table is gone; it is loaded again, as far as the inbox has it",
    "disk-floor": "free space is below the floor; nothing is accepted until there is more",
    "inbox-unwritable": "the inbox cannot take anything; senders keep their data",
    "access-log": "the access log cannot be written; what would be logged is not answered",
    "store-unavailable": "the store does not answer; what is accepted waits in the inbox",
    "store-unwritable": "the store's directory cannot be written",
    "lag": "what is accepted waits longer for the store than MVTRACE_MAX_LAG_SECONDS",
    "load-failing": "the last load failed; it is tried again for ever",
    "loader-stopped": "the loader's thread has ended",
    "schema": "the tables are not those that this version knows",
    "internal-error": "an error nobody foresaw; it was answered with 503, so senders try again",
    "inbox-damaged": "the inbox's index is put aside and built anew, or a segment's file is gone",
}
"""Event name -> what it says; each is written when it begins or grows, not again and again."""

_EVENTS: Final = {
    "Loading failed: %s": "load-failed",
    "Loading again: %s": "load-healed",
    "A segment of %d batches cannot be loaded: %s": "segment-halved",
    "The inbox cannot be written": "inbox-unwritable",
    "Segment %s of the inbox is gone and was not stored": "inbox-damaged",
    "The inbox's index is damaged; put aside as %s, built anew": "inbox-damaged",
    "An export was answered with 503": "internal-error",
    "Migrations applied: %s": "migrated",
    "The loader did not stop; what it was at is loaded again at the start": "loader-stopped",
}
"""Events of messages that are written without a name."""

_CODES: Final = ("store_code", "code")
"""Where our errors and those of the database's client have the engine's number."""
_QUIET: Final = ("uvicorn.access", "clickhouse_connect")
_WORDS: Final = re.compile(r"[a-z0-9]+")
_MAX_WORDS: Final = 5
_MAX_FRAMES: Final = 12


def configure(form: Form | None, level: str, stream: TextIO | None = None) -> None:
    """Write this process's log to *stream* (stderr); without a *form* a terminal gets text."""
    target = stream or sys.stderr
    chosen = form or ("text" if target.isatty() else "json")
    handler = logging.StreamHandler(target)
    handler.setFormatter(JsonLines() if chosen == "json" else TextLines())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name in _QUIET:
        logging.getLogger(name).propagate = False


def event(logger: logging.Logger, level: int, name: str, message: str, **data: object) -> None:
    """Write the event *name* with its *data*, which is of our own making."""
    logger.log(level, message, extra={"mvtrace_event": name, "mvtrace_data": data})


def alarm(logger: logging.Logger, name: str, message: str, **data: object) -> None:
    """Write an alarm, one of ALARMS."""
    if name not in ALARMS:
        raise KeyError(name)
    event(logger, logging.WARNING, name, message, **data)


def described(error: BaseException) -> str:
    """Return what kind of error this is, without a word that may come from somebody's data."""
    codes = (getattr(one, key, None) for one in (error, error.__cause__) for key in _CODES)
    code = next((one for one in codes if isinstance(one, int)), None)
    if code is not None:
        return f"{type(error).__name__}: the store's error {code}"
    if isinstance(error, OSError):
        return f"{type(error).__name__}: {error.strerror or error.errno}"
    if isinstance(error, MvtraceError):
        return f"{type(error).__name__}: {error.code}"
    return type(error).__name__


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of *record*."""
        fields = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "event": event_name(record),
            "message": _message(record),
            **_data(record),
        }
        return json.dumps(fields, default=str)


class TextLines(logging.Formatter):
    """The same for a person."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of *record*."""
        data = " ".join(
            f"{key}={json.dumps(value, default=str)}" for key, value in _data(record).items()
        )
        head = f"{_time(record)} {record.levelname.lower():7} {event_name(record)}"
        line = "   ".join(part for part in (head, _message(record), data) if part)
        return line if line.isprintable() else "".join(map(_printable, line))


def _printable(sign: str) -> str:
    """Return *sign*, or its escape where it could move a terminal's cursor or begin a line."""
    return sign if sign.isprintable() else sign.encode("unicode_escape", "surrogatepass").decode()


def event_name(record: logging.LogRecord) -> str:
    """Return the name of a record's event: its own, a known message's, or one from its words."""
    named = getattr(record, "mvtrace_event", None)
    if named is not None:
        return str(named)
    known = _EVENTS.get(str(record.msg))
    return known or "-".join(_WORDS.findall(str(record.msg).lower())[:_MAX_WORDS]) or "log"


def _message(record: logging.LogRecord) -> str:
    if not record.args:
        return str(record.msg)
    if isinstance(record.args, Mapping):
        return str(record.msg) % {key: _shown(value) for key, value in record.args.items()}
    return str(record.msg) % tuple(_shown(value) for value in record.args)


def _shown(value: object) -> Any:
    return described(value) if isinstance(value, BaseException) else value


def _data(record: logging.LogRecord) -> dict[str, Any]:
    data = dict(getattr(record, "mvtrace_data", {}))
    if record.exc_info and record.exc_info[1] is not None:
        error = record.exc_info[1]
        frames = traceback.extract_tb(error.__traceback__)[-_MAX_FRAMES:]
        data["error"] = described(error)
        data["at"] = [f"{one.filename}:{one.lineno} {one.name}" for one in frames]
    return data


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
