"""Rows of the reader's queries as values: one function a kind of row, and nothing is fetched.

In: tuples in the order of the columns in ``sql/*.sql``. Out: the parts of :class:`Evidence`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from mvtrace.explain.evidence import (
    ContentCheck,
    QuarantineNote,
    RequestHead,
    StoredComposite,
    StoredEvent,
    StoredRecord,
    StoredScore,
    time_text,
)
from mvtrace.ids import unix_ms_of
from mvtrace.records import RequestRecord
from mvtrace.store.request_ids import dashed

Row = Sequence[Any]

EVAL_SOURCE: Final = "eval"
"""The source of a score that is a result of an eval."""

LISTED: Final = (
    "service",
    "environment",
    "protocol",
    "method",
    "route",
    "state",
    "outcome",
    "status_code",
    "error_type",
    "duration_ns",
    "arm",
    "composite_version",
    "composite_name",
    "conversation_id",
    "calls",
    "input_tokens",
    "output_tokens",
    "drift",
)
"""Columns of a listed request that are shown as they are."""


def record_of(body: str | bytes) -> RequestRecord | None:
    """Return the record of *body*, or None where this version cannot read it."""
    try:
        return RequestRecord.from_bytes(body)
    except ValueError:
        return None


def stored_record(found: Iterable[Row]) -> StoredRecord | None:
    """Return the newest revision among the rows of ``request_record.sql``."""
    newest = max(found, key=lambda row: (row[2], row[3]), default=None)
    if newest is None:
        return None
    body, digest, revision, received_ms = newest
    raw = raw_bytes(body)
    return StoredRecord(
        body=raw,
        digest=f"sha256:{raw_bytes(digest).hex()}",
        revision=revision,
        received_at=received_ms * 1_000_000,
        record=record_of(raw),
    )


def newest_records(found: Iterable[Row]) -> list[tuple[str, bytes]]:
    """Return the rows of ``recent_records.sql`` as id and body: one a request, newest first."""
    bodies: dict[bytes, tuple[int, bytes]] = {}
    for raw_id, revision, body in found:
        key = raw_bytes(raw_id)
        if key not in bodies or bodies[key][0] < revision:
            bodies[key] = (revision, raw_bytes(body))
    return [(dashed(key.hex()), bodies[key][1]) for key in sorted(bodies, reverse=True)]


def telling_records(bodies: Iterable[bytes]) -> tuple[RequestRecord, ...]:
    """Return the records among *bodies*, newest first, that show what no newer one shows.

    Requests of one version mostly call and ask the same: parsing each of them whole is not needed
    to know the state they show.
    """
    shown: set[tuple[Any, ...]] = set()
    records = []
    for body in bodies:
        try:
            facts = _shown_by(orjson.loads(body))
        except (ValueError, TypeError, AttributeError):
            continue  # no record: whoever sent it, its neighbours are explained without it
        if not facts <= shown and (record := record_of(body)):
            shown |= facts
            records.append(record)
    return tuple(records)


def _shown_by(plain: Mapping[str, Any]) -> set[tuple[Any, ...]]:
    """Return which slots and calls a record shows the state of, under which arm and version.

    Raises:
        TypeError, AttributeError: it is no record.
    """
    state = (plain.get("arm"), plain.get("composite_version"))
    parts = [
        (state, key, item.get("kind"), item.get("name"), item.get("component"))
        for key in ("index_snapshots", "router_decisions", "calls", "observed", "drift")
        for item in plain.get(key, ())
    ]
    return {(state,), *parts}


def request_heads(found: Iterable[Row]) -> dict[str, RequestHead]:
    """Return the rows of ``request_heads.sql`` by request id, newest first."""
    newest: dict[bytes, Row] = {}
    for row in found:
        key = raw_bytes(row[0])
        if key not in newest or newest[key][1] <= row[1]:
            newest[key] = row
    heads = [_request_head(newest[key]) for key in sorted(newest, reverse=True)]
    return {head.request_id: head for head in heads}


def id_text(raw: str | bytes) -> str:
    """Return a request id as it is stored, 16 bytes, as text."""
    return dashed(raw_bytes(raw).hex())


def raw_bytes(value: str | bytes) -> bytes:
    """Return a String or FixedString as bytes, however the client gave it."""
    return value.encode() if isinstance(value, str) else bytes(value)


def stored_event(row: Row) -> StoredEvent:
    """Return a row of ``request_events.sql``."""
    span_id, at, name, attributes = row
    return StoredEvent(
        time=at,
        name=name,
        span_id=span_id.lower() if span_id.strip("0") else None,
        attributes=json_values(orjson.loads(attributes)),
    )


def stored_scores(found: Iterable[Row]) -> tuple[StoredScore, ...]:
    """Return the rows of ``request_scores.sql``: the latest of each name and scorer, by name."""
    latest: dict[tuple[str, str], tuple[Row, int]] = {}
    for row in found:
        before, revisions = latest.get((row[0], row[1]), (row, 0))
        newest = max(before, row, key=lambda one: (one[5], one[6]))
        latest[row[0], row[1]] = (newest, revisions + 1)
    return tuple(
        StoredScore(
            name=row[0],
            scorer=row[1],
            source=row[2],
            value=row[3],
            label=row[4],
            scored_at=row[5],
            revisions=revisions,
        )
        for row, revisions in (latest[key] for key in sorted(latest))
    )


def eval_scores(found: Iterable[Row]) -> tuple[StoredScore, ...]:
    """Return the rows of ``request_evals.sql`` as scores."""
    return tuple(
        StoredScore(
            name=name,
            scorer=scorer,
            source=EVAL_SOURCE,
            value=value,
            label=label or None,
            scored_at=at,
            of_eval={"suite": suite, "example": example, "run": run},
        )
        for name, scorer, value, label, at, suite, example, run in found
    )


def recorded_head(request_id: str, body: str | bytes) -> RequestHead:
    """Return the first line about a request from its record; by its id alone where that cannot."""
    record = record_of(raw_bytes(body))
    if record is None:
        return RequestHead(request_id=request_id, started_at=unix_ms_of(request_id) * 1_000_000)
    return RequestHead(
        request_id=request_id,
        started_at=record.started_at,
        service=record.service or "",
        environment=record.environment or "",
        method=record.method,
        route=record.route,
        status_code=record.status_code,
        outcome=record.outcome,
        composite_version=record.composite_version,
        arm=record.arm,
        parent_request_id=record.parent_request_id,
    )


def quarantine_note(row: Row) -> QuarantineNote:
    """Return a row of ``quarantined.sql``."""
    subject, at, reason, detail = row
    return QuarantineNote(subject=subject, reason=reason, detail=detail, received_at=at)


def content_checks(found: Iterable[Row]) -> dict[str, ContentCheck]:
    """Return the rows of ``contents.sql`` by digest; a row that does not hash wins, to be seen."""
    checks: dict[str, ContentCheck] = {}
    for digest, recomputed, size in found:
        check = ContentCheck(f"sha256:{raw_bytes(recomputed).hex()}", size)
        if digest not in checks or check.recomputed != digest:
            checks[digest] = check
    return checks


def registry(found: Iterable[Row]) -> tuple[dict[str, StoredComposite], dict[str, bytes]]:
    """Return the rows of ``registry.sql``: composites by version, component bodies by digest."""
    composites: dict[str, StoredComposite] = {}
    components: dict[str, bytes] = {}
    for what, key, title, body, labels, provenance, _ in sorted(found, key=lambda row: row[6]):
        if what == "composite":
            composites[key] = StoredComposite(
                version=key,
                name=title,
                body=raw_bytes(body),
                labels=dict(labels),
                provenance=provenance,
            )
        else:
            components[key] = raw_bytes(body)
    return composites, components


def listed_request(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of ``find_requests.sql`` as plain JSON values."""
    return {
        "request_id": row["request"],
        "time": time_text(row["started"]),
        **{key: row[key] for key in LISTED},
        "models_served": list(row["models_served"]),
    }


def head_text(head: RequestHead) -> str:
    """Return one line about a request for a list in an error message."""
    parts = (
        head.request_id,
        second_text(head.started_at),
        head.service,
        head.method,
        head.route,
        str(head.status_code or head.outcome or ""),
    )
    return "  ".join(part for part in parts if part)


def second_text(unix_nano: int) -> str:
    """Return a time to the second, for a sentence."""
    return f"{datetime.fromtimestamp(unix_nano // 10**9, UTC):%Y-%m-%d %H:%M:%S} UTC"


def json_values(texts: Mapping[str, str]) -> dict[str, Any]:
    """Return a Map whose values are JSON text as plain values; what is no JSON stays text."""
    return {key: _json_value(text) for key, text in texts.items()}


def _json_value(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _request_head(row: Row) -> RequestHead:
    request, _, started, service, environment, method, route, status, outcome, version, arm, up = (
        row
    )
    return RequestHead(
        request_id=id_text(request),
        started_at=started,
        service=service,
        environment=environment,
        method=method,
        route=route,
        status_code=status,
        outcome=outcome,
        composite_version=version,
        arm=arm,
        parent_request_id=id_text(up) if up else None,
    )
