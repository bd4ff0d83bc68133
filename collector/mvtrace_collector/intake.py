"""What of an export may be stored: decode, check, and split by project.

Comes in: the bytes of an export request. Goes out: one body a project, with what was rejected and
why. The bytes stay as they came when nothing is rejected and all resources are of one project, the
ordinary case; else the rest is encoded anew without what was rejected. Reading is protobuf's C
parser; values are not looked at beyond ids, event names and sizes.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from mvtrace import semconv
from mvtrace_collector.errors import UndecodableError
from mvtrace_collector.keys import ANYBODY, Identity
from mvtrace_collector.payload_keys import PayloadKey
from mvtrace_collector.projects import PROJECT

REGISTRY_EVENT_BYTES: Final = 256 * 1024
"""Relays cap bodies, so larger content comes in pieces."""
SMALL_EVENT_BYTES: Final = 16 * 1024
"""Decisions and scores are no place for anything else."""
REGISTRY_EVENTS: Final = frozenset(
    {semconv.EVENT_COMPONENT, semconv.EVENT_COMPOSITE, semconv.EVENT_CONTENT, semconv.EVENT_ENTRY}
)
DECISIONS: Final = frozenset(
    {semconv.EVENT_DEPLOYMENT, semconv.EVENT_RETENTION, semconv.EVENT_VERDICT}
)
"""Events that need a key with the scope ``govern``."""
SCORES: Final = frozenset({semconv.EVENT_FEEDBACK, semconv.EVENT_EVALUATION})
"""Events that a key with the scope ``score`` may send, and no other one."""
_SMALL_EVENTS: Final = (DECISIONS - {semconv.EVENT_VERDICT}) | {semconv.EVENT_FEEDBACK}
"""A verdict is none of them: it carries what it was computed from."""
_SIZED_EVENTS: Final = (
    REGISTRY_EVENTS | DECISIONS | _SMALL_EVENTS | {semconv.EVENT_PAYLOAD, semconv.EVENT_PAYLOAD_KEY}
)
OWN_EVENTS: Final = _SIZED_EVENTS | {semconv.EVENT_REQUEST, semconv.EVENT_PRODUCER}
GEN_AI_PREFIX: Final = "gen_ai."
EVENT_NAME_ATTRIBUTE: Final = "event.name"
"""Where the event's name stood before the field event_name."""

REASONS: Final = {
    "trace-id": "the trace id is not 16 bytes, or zero",
    "span-id": "the span id is not 8 bytes, or zero",
    "project": f"the resource's {semconv.PROJECT} is no project name",
    "project-key": f"the key does not list the resource's {semconv.PROJECT}, or lists several",
    "scope": "the key has not the scope that they need",
    "govern": "the key has not the scope govern",
    "event-name": "no event of that name means anything to the store",
    "event-body": "the event's body is not text",
    "payload-key": "the wrapped key, its id or its subject is none",
    "event-size": f"a registry event or a verdict is over {REGISTRY_EVENT_BYTES:,} bytes, "
    f"another decision or a score over {SMALL_EVENT_BYTES:,}",
}
"""The key is the metric's label, the text is for the sender."""

_TRACE_ID_BYTES: Final = 16
_SPAN_ID_BYTES: Final = 8
_NO_TRACE: Final = bytes(_TRACE_ID_BYTES)
_NO_SPAN: Final = bytes(_SPAN_ID_BYTES)
_MAX_EXAMPLES: Final = 3
_FEW: Final = 64
_MAX_KEY_ID: Final = 64
_MAX_SUBJECT: Final = 256
_MAX_WRAPPED: Final = 1024
_MAX_NAME: Final = 60


@dataclass(frozen=True, slots=True)
class Piece:
    """What one project gets of an export."""

    project: str
    body: bytes
    is_attested: bool = False
    """Whether it decides or scores something, so that it matters by whose key it came."""


@dataclass(slots=True)
class Intake:
    """An export after checking."""

    pieces: list[Piece] = field(default_factory=list)
    accepted: int = 0
    decisions: int = 0
    """Decisions in the pieces, also those that go to quarantine: they count as rejected."""
    scores: int = 0
    """Scores in the pieces."""
    entries: int = 0
    """Entries of the registry in the pieces."""
    rejected: Counter[str] = field(default_factory=Counter)
    """By key of REASONS."""
    keys: list[PayloadKey] = field(default_factory=list)
    """Wrapped data keys: they go to the key store, and no further."""
    examples: dict[str, None] = field(default_factory=dict)
    """Some event names that mean nothing, in order of appearance."""

    def message(self, noun: str) -> str:
        """Say what was rejected, for the sender; empty when nothing was."""
        total = self.rejected.total()
        if not total:
            return ""
        parts = [f"{count} because {REASONS[reason]}" for reason, count in self.rejected.items()]
        names = f" ({', '.join(map(repr, self.examples))})" if self.examples else ""
        return f"{total} of {total + self.accepted} {noun} rejected: {'; '.join(parts)}{names}."


def read_traces(body: bytes, identity: Identity = ANYBODY) -> Intake:
    """Check an ExportTraceServiceRequest of *identity*; raises UndecodableError when it is none."""
    request = ExportTraceServiceRequest()
    _parse(request, body)
    intake = Intake()
    projects: list[str | None] = []
    is_changed = False
    for resource_spans in request.resource_spans:
        project, reason = _project_of(resource_spans.resource, identity)
        if not identity.may("ingest"):
            project, reason = None, "scope"
        projects.append(project)
        for scope_spans in resource_spans.scope_spans:
            spans = scope_spans.spans
            if project is None:
                intake.rejected[reason] += len(spans)
                continue
            bad = _bad_spans(spans, intake)
            is_changed = is_changed or bool(bad)
            _drop(spans, bad)
            intake.accepted += len(spans)
    _split(intake, request, body, projects=projects, is_changed=is_changed)
    return intake


def read_logs(body: bytes, identity: Identity = ANYBODY) -> Intake:
    """Check an ExportLogsServiceRequest of *identity*; raises UndecodableError when it is none.

    What a key decided that may decide nothing is rejected, and kept all the same: the loader puts
    it into quarantine.
    """
    request = ExportLogsServiceRequest()
    _parse(request, body)
    intake = Intake()
    projects: list[str | None] = []
    is_changed = False
    for resource_logs in request.resource_logs:
        project, reason = _project_of(resource_logs.resource, identity)
        projects.append(project)
        for scope_logs in resource_logs.scope_logs:
            records = scope_logs.log_records
            if project is None:
                intake.rejected[reason] += len(records)
                continue
            before = intake.rejected["govern"]
            bad = _bad_records(records, intake, project, identity)
            is_changed = is_changed or bool(bad)
            _drop(records, bad)
            intake.accepted += len(records) - (intake.rejected["govern"] - before)
    intake.rejected = +intake.rejected
    _split(intake, request, body, projects=projects, is_changed=is_changed)
    return intake


def _parse(request: ExportTraceServiceRequest | ExportLogsServiceRequest, body: bytes) -> None:
    try:
        request.ParseFromString(body)
    except DecodeError as error:
        raise UndecodableError(f"The body is no {type(request).__name__}: {error}.") from error


def _project_of(resource: Resource, identity: Identity) -> tuple[str | None, str]:
    """Return the project of a resource; None and the reason where *identity* has none for it.

    What names no project belongs to the only one of the key.
    """
    for attribute in resource.attributes:
        if attribute.key == semconv.PROJECT:
            name = attribute.value.string_value
            if not PROJECT.fullmatch(name):
                return None, "project"
            return (name, "") if identity.sees(name) else (None, "project-key")
    return identity.only_project, "project-key"


def _drop(items: Any, bad: list[int]) -> None:
    """Take what stands at *bad* out of the repeated field *items*.

    One by one is quicker for a few, and takes the square of the time for many.
    """
    if len(bad) <= _FEW:
        for position in reversed(bad):
            del items[position]
        return
    left_out = frozenset(bad)
    kept = [item for position, item in enumerate(items) if position not in left_out]
    del items[:]
    items.extend(kept)


def _bad_spans(spans: Iterable[Span], intake: Intake) -> list[int]:
    """Return where spans are that cannot be stored: nothing could ever find or tell them apart."""
    bad: list[int] = []
    for position, span in enumerate(spans):
        if len(span.trace_id) != _TRACE_ID_BYTES or span.trace_id == _NO_TRACE:
            intake.rejected["trace-id"] += 1
            bad.append(position)
        elif len(span.span_id) != _SPAN_ID_BYTES or span.span_id == _NO_SPAN:
            intake.rejected["span-id"] += 1
            bad.append(position)
    return bad


def _bad_records(
    records: Iterable[LogRecord], intake: Intake, project: str, identity: Identity
) -> list[int]:
    """Return where log records are that mean nothing to the store, or belong to the key store."""
    bad: list[int] = []
    for position, record in enumerate(records):
        name = record.event_name or _name_in_attributes(record)
        reason = _record_problem(name, record) or _scope_problem(name, identity)
        intake.entries += reason is None and name == semconv.EVENT_ENTRY
        if reason is None and name in SCORES:
            intake.scores += 1
        if name in DECISIONS and reason in (None, "govern"):
            intake.decisions += 1
            intake.rejected["govern"] += reason is not None
            continue
        if name == semconv.EVENT_PAYLOAD_KEY and reason is None:
            key = _payload_key(record, project)
            if key is not None:
                bad.append(position)
                intake.keys.append(key)
                continue
            reason = "payload-key"
        if reason is None:
            continue
        bad.append(position)
        intake.rejected[reason] += 1
        if reason == "event-name" and name and len(intake.examples) < _MAX_EXAMPLES:
            intake.examples[name[:_MAX_NAME]] = None
    return bad


def _payload_key(record: LogRecord, project: str) -> PayloadKey | None:
    """Return the key of *record*, None where it is none: key store and memory hold short ones."""
    said = {attribute.key: attribute.value for attribute in record.attributes}
    none = AnyValue()
    try:
        wrapped = base64.b64decode(record.body.string_value, validate=True)
    except ValueError:
        return None
    key_id = said.get(semconv.PAYLOAD_KEY_ID, none).string_value
    subject = said.get(semconv.PAYLOAD_SUBJECT, none).string_value
    lengths = ((key_id, _MAX_KEY_ID), (subject, _MAX_SUBJECT), (wrapped, _MAX_WRAPPED))
    if not all(0 < len(part) <= most for part, most in lengths):
        return None
    made_ms = said.get(semconv.PAYLOAD_KEY_MADE, none).int_value
    return PayloadKey(project, key_id, subject, wrapped, made_ms)


def _name_in_attributes(record: LogRecord) -> str:
    for attribute in record.attributes:
        if attribute.key == EVENT_NAME_ATTRIBUTE:
            return attribute.value.string_value
    return ""


def _record_problem(name: str, record: LogRecord) -> str | None:
    if name.startswith(GEN_AI_PREFIX):
        return None
    if name not in OWN_EVENTS:
        return "event-name"
    if record.body.WhichOneof("value") != "string_value":
        return "event-body"
    # A character is one to four bytes; only near the limit is it worth counting them.
    text = record.body.string_value
    most = SMALL_EVENT_BYTES if name in _SMALL_EVENTS else REGISTRY_EVENT_BYTES
    is_large = len(text) * 4 > most and len(text.encode()) > most
    return "event-size" if is_large and name in _SIZED_EVENTS else None


def _scope_problem(name: str, identity: Identity) -> str | None:
    """Return why a key may not send such an event."""
    if name in DECISIONS:
        return None if identity.may("govern") else "govern"
    if identity.may("ingest") or (name in SCORES and identity.may("score")):
        return None
    return "scope"


def _split(
    intake: Intake,
    request: ExportTraceServiceRequest | ExportLogsServiceRequest,
    body: bytes,
    *,
    projects: list[str | None],
    is_changed: bool,
) -> None:
    """Give each project its part of *request*."""
    if not intake.accepted and not intake.decisions:
        return
    names = dict.fromkeys(projects)
    is_attested = bool(intake.decisions or intake.scores or intake.entries)
    if len(names) == 1 and not is_changed:
        intake.pieces.append(Piece(str(projects[0]), body, is_attested))
        return
    request.DiscardUnknownFields()
    for name in names:
        if name is not None:
            wanted = [position for position, one in enumerate(projects) if one == name]
            intake.pieces.append(Piece(name, _part(request, wanted), is_attested))


def _part(
    request: ExportTraceServiceRequest | ExportLogsServiceRequest, wanted: list[int]
) -> bytes:
    if isinstance(request, ExportTraceServiceRequest):
        traces = ExportTraceServiceRequest()
        traces.resource_spans.extend(request.resource_spans[position] for position in wanted)
        return traces.SerializeToString()
    logs = ExportLogsServiceRequest()
    logs.resource_logs.extend(request.resource_logs[position] for position in wanted)
    return logs.SerializeToString()
