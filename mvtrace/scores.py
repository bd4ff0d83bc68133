"""Scores of requests: what somebody thought of an answer, and what he judged it with. Pure.

In: a request id, a name, a value or a label, perhaps a scorer. Out: the event ``mvtrace.feedback``
that carries it. A scorer is a digest: of the code, the prompt or the judge that scores. Without one
it is ``undeclared:<source>/<name>``: such scores compare between arms that serve side by side, and
never across time. Law: ``Score.from_bytes(score.to_bytes()) == score``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Self

import orjson

from mvtrace.digest import canonical_bytes
from mvtrace.ids import UUID7_PATTERN
from mvtrace.otlp import LogEvent, Scope, encode_request, encode_resource, encode_scope_logs
from mvtrace.semconv import EVENT_FEEDBACK, PROJECT, REQUEST_ID, SCOPE_NAME

SCHEMA_VERSION: Final = 1
USER: Final = "user"
"""Source of a vote."""
UNDECLARED: Final = "undeclared:"
MAX_NAME: Final = 128
MAX_SOURCE: Final = 64
MAX_LABEL: Final = 256
MAX_VOTER: Final = 256
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_TIME: Final = re.compile(r"[0-9]{1,19}")
_LINE_KEYS: Final = frozenset(
    {"request_id", "name", "value", "label", "source", "scorer", "voter", "at"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One score; *at* is Unix time in nanoseconds.

    Raises:
        ValueError: it is none; the text says what is wrong with which field.
    """

    request_id: str
    name: str
    value: float | None = None
    label: str | None = None
    source: str = USER
    scorer: str | None = None
    """The digest of what scored; None: undeclared."""
    voter: str | None = None
    """Who votes, as the page that asks him calls him; only a digest of it is stored."""
    at: int | None = None
    """When it was given; None: when it was received."""

    def __post_init__(self) -> None:
        """Check every field, whoever set it."""
        _require(bool(UUID7_PATTERN.fullmatch(self.request_id)), "request_id is no request id")
        _require(_is_line(self.name, MAX_NAME), f"name is 1 to {MAX_NAME} printable characters")
        _require(
            _is_line(self.source, MAX_SOURCE), f"source is 1 to {MAX_SOURCE} printable characters"
        )
        _require(self.value is not None or self.label is not None, "value and label are missing")
        _require(self.value is None or math.isfinite(self.value), "value is not finite")
        _require(
            self.label is None or _is_line(self.label, MAX_LABEL),
            f"label is 1 to {MAX_LABEL} printable characters",
        )
        _require(
            self.scorer is None or bool(_DIGEST.fullmatch(self.scorer)),
            "scorer is no digest (sha256: and 64 hex digits)",
        )
        _require(
            self.voter is None or 0 < len(self.voter) <= MAX_VOTER,
            f"voter is 1 to {MAX_VOTER} characters",
        )
        _require(self.at is None or 0 <= self.at < 1 << 63, "at is no time")

    def to_bytes(self) -> bytes:
        """Return the canonical form: the body of the event."""
        said: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "request_id": self.request_id,
            "name": self.name,
            "source": self.source,
        }
        for name in ("value", "label", "scorer", "voter"):
            if (value := getattr(self, name)) is not None:
                said[name] = value
        if self.at is not None:
            said["at"] = str(self.at)
        return canonical_bytes(said)

    @classmethod
    def from_bytes(cls, body: bytes | str) -> Self:
        """Return the score of an event's *body*; properties nobody knows are passed over.

        Raises:
            ValueError: it is none.
        """
        said = orjson.loads(body)
        _require(isinstance(said, dict), "it is no JSON object")
        _require(type(said.get("schema_version")) is int, "schema_version is missing")
        return cls(**_fields(said))

    @classmethod
    def from_line(cls, line: bytes | str) -> Self:
        """Return the score of a line of a file, or of a browser's JSON.

        Raises:
            ValueError: it is none, or says something that means nothing.
        """
        try:
            said = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise ValueError(f"it is no JSON: {error}") from error
        _require(isinstance(said, dict), "it is no JSON object")
        strange = sorted(said.keys() - _LINE_KEYS)
        _require(not strange, f"{', '.join(map(repr, strange[:3]))} means nothing here")
        if isinstance(at := said.get("at"), str) and not _TIME.fullmatch(at):
            said["at"] = str(_unix_nano(at))
        return cls(**_fields(said))


def undeclared(source: str, name: str) -> str:
    """Return what stands for the scorer of a score that names none."""
    return f"{UNDECLARED}{source}/{name}"


def event_of(score: Score, *, now_ns: int) -> LogEvent:
    """Return the event that carries *score*."""
    return LogEvent(
        name=EVENT_FEEDBACK,
        time_unix_nano=now_ns if score.at is None else score.at,
        body=score.to_bytes().decode(),
        attributes={REQUEST_ID: score.request_id},
    )


def export_of(events: Iterable[LogEvent], *, project: str | None = None) -> bytes:
    """Return an ExportLogsServiceRequest with *events*, of one project."""
    resource = encode_resource({PROJECT: project} if project else {})
    return encode_request(resource, [encode_scope_logs(Scope(SCOPE_NAME), events)])


def read_lines(lines: Sequence[bytes]) -> tuple[list[Score], list[tuple[int, str]]]:
    """Return the scores of a file's *lines*, and the number and problem of each that is none."""
    scores: list[Score] = []
    problems: list[tuple[int, str]] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            scores.append(Score.from_line(line))
        except ValueError as error:
            problems.append((number, str(error)))
    return scores, problems


def _fields(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a score as they were said, of the right types."""
    found: dict[str, Any] = {"source": USER}
    for name in ("request_id", "name", "label", "source", "scorer", "voter"):
        value = said.get(name)
        _require(value is None or isinstance(value, str), f"{name} is no text")
        if value is not None or name in ("request_id", "name"):
            found[name] = value or ""
    value = said.get("value")
    _require(value is None or type(value) in (int, float, bool), "value is no number")
    found["value"] = None if value is None else float(value)
    at = said.get("at")
    if at is not None:
        _require(isinstance(at, str) and bool(_TIME.fullmatch(at)), "at is no time")
        found["at"] = int(at)
    return found


def _unix_nano(text: str) -> int:
    """Return the Unix nanoseconds of an ISO 8601 time; UTC where it names no zone."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError("at is no time such as 2026-08-22T11:00:00Z") from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1_000_000) * 1000


def _require(holds: bool, otherwise: str) -> None:  # noqa: FBT001 (reads as a sentence)
    if not holds:
        raise ValueError(otherwise)


def _is_line(text: object, most: int) -> bool:
    return isinstance(text, str) and 0 < len(text) <= most and text.isprintable()
