"""`explain`: everything stored about one request in, the answer to "why" out. Pure.

In: :class:`Evidence`. Out: :class:`Explanation`. Nothing is fetched, no clock is read; what is not
in the evidence is said to be missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mvtrace import semconv
from mvtrace.explain.ancestry import ancestry_findings
from mvtrace.explain.calls import SPAN_KINDS, calls_of, event_view, snapshots_of, span_view
from mvtrace.explain.composition import composite_view
from mvtrace.explain.evidence import Evidence, StoredScore, StoredSpan, time_text
from mvtrace.explain.explanation import (
    ChangeView,
    Explanation,
    Finding,
    plain,
)
from mvtrace.explain.findings import request_findings
from mvtrace.explain.state_findings import state_findings
from mvtrace.explain.tree import tree_of
from mvtrace.ids import unix_ms_of
from mvtrace.records import RequestRecord
from mvtrace.scores import UNDECLARED

_GRAVITY: Final = {"error": 0, "warning": 1, "info": 2}


def explain(evidence: Evidence) -> Explanation:
    """Return the explanation of *evidence*: the answer as far as it goes, and what is not known."""
    record = evidence.own
    composite = composite_view(evidence)
    found = [*state_findings(evidence, composite), *request_findings(evidence)]
    if evidence.ancestry is not None:
        found.extend(ancestry_findings(evidence.ancestry))
    return Explanation(
        request_id=evidence.request_id,
        request=_request(evidence, record),
        composite=composite,
        router_decisions=tuple(plain(one) for one in record.router_decisions) if record else (),
        index_snapshots=snapshots_of(evidence),
        calls=calls_of(evidence),
        now=_now(evidence),
        changes_since=_changes(evidence),
        findings=tuple(sorted(found, key=_gravity)),
        spans=tuple(
            span_view(span) for span in sorted(evidence.spans, key=lambda one: one.started_at)
        ),
        events=tuple(event_view(event) for event in evidence.events),
        cache_origin=_cache_origin(evidence),
        tree=tree_of(evidence),
        deployment=evidence.deployed.to_dict() if evidence.deployed else None,
        scores=tuple(_score(evidence, score) for score in evidence.scores),
    )


def _gravity(found: Finding) -> int:
    return _GRAVITY[found.severity]


def _request(evidence: Evidence, record: RequestRecord | None) -> Mapping[str, Any]:
    """Return the flat facts: those of the record, else those the spans show."""
    facts = _from_record(record) if record else _from_spans(evidence)
    stored = evidence.record
    return {
        **facts,
        "record": {
            "digest": stored.digest,
            "schema_version": record.schema_version if record else None,
            "revision": stored.revision,
            "bytes": len(stored.body),
            "received_at": time_text(stored.received_at),
            "producer_id": record.producer_id if record else None,
            "sequence": record.sequence if record else None,
        }
        if stored
        else None,
    }


def _from_record(record: RequestRecord) -> dict[str, Any]:
    started, ended = record.started_at, record.ended_at
    first = record.first_byte_at
    return {
        "parent_request_id": record.parent_request_id,
        "parent_composite_version": record.parent_composite_version,
        "parent_arm": record.parent_arm,
        "trace_id": record.trace_id,
        "span_id": record.span_id,
        "time": time_text(started),
        "ended_at": time_text(ended),
        "duration_ns": None if ended is None else ended - started,
        "first_byte_ns": None if first is None else first - started,
        "state": record.state,
        "outcome": record.outcome,
        "status_code": record.status_code,
        "error_type": record.error_type,
        "service": record.service,
        "service_version": record.service_version,
        "environment": record.environment,
        "protocol": record.protocol,
        "method": record.method,
        "route": record.route,
        "path": record.path,
        "arm": record.arm,
        "assignment": plain(record.assignment) if record.assignment else None,
        "conversation_id": record.conversation_id,
        "aliases": [plain(alias) for alias in record.aliases],
        "request_bytes": record.request_bytes,
        "response_bytes": record.response_bytes,
        "response_chunks": record.response_chunks,
        "annotations": record.annotations,
        "capture": plain(record.capture) if record.capture else None,
        "basis": "observed",
    }


def _from_spans(evidence: Evidence) -> dict[str, Any]:
    """Return the same facts where only spans are stored: inferred, and many absent."""
    nothing = RequestRecord(
        request_id=evidence.request_id,
        revision=0,
        state="finished",
        producer_id="",
        sequence=0,
        started_at=0,  # type: ignore[arg-type]
    )
    facts = {**_from_record(nothing), "time": None, "state": None, "basis": "inferred"}
    root = _root(evidence.spans)
    if root is None:
        return facts
    ended = max(span.started_at + span.duration_ns for span in evidence.spans)
    status = root.attributes.get(semconv.HTTP_STATUS)
    return {
        **facts,
        "trace_id": root.trace_id,
        "span_id": root.span_id,
        "time": time_text(root.started_at),
        "ended_at": time_text(ended),
        "duration_ns": ended - root.started_at,
        "outcome": "error" if root.status_code == _ERROR else None,
        "status_code": status if isinstance(status, int) else None,
        "error_type": root.error_type,
        "service": root.service or None,
        "environment": root.environment or None,
        "method": root.attributes.get(semconv.HTTP_METHOD),
        "route": root.attributes.get(semconv.HTTP_ROUTE),
        "path": root.attributes.get(semconv.URL_PATH),
        "arm": root.arm,
        "conversation_id": next(
            (span.conversation_id for span in evidence.spans if span.conversation_id), None
        ),
    }


_ERROR: Final = 2
"""OTLP's StatusCode of a span that failed."""


def _root(spans: tuple[StoredSpan, ...]) -> StoredSpan | None:
    """Return the span that stands for the request: without a parent here, a server's first."""
    known = {span.span_id for span in spans}
    server = SPAN_KINDS.index("server")
    return min(
        spans,
        key=lambda span: (span.parent_span_id in known, span.kind != server, span.started_at),
        default=None,
    )


def _now(evidence: Evidence) -> Mapping[str, Any] | None:
    """Return what "now" means here: what is deployed, else what the newest request shows."""
    newest, deployed = evidence.newest, evidence.deployed_now
    if newest is None and deployed is None:
        return None
    registered = evidence.composites.get(evidence.version_now or "")
    return {
        "request_id": newest.request_id if newest else None,
        "time": time_text(newest.started_at if newest else deployed.at if deployed else None),
        "composite_version": evidence.version_now,
        "composite_name": newest.composite_name if newest else registered and registered.name,
        "arm": newest.arm if newest else None,
        "is_this_request": newest is not None and newest.request_id == evidence.request_id,
        "deployment": deployed.to_dict() if deployed else None,
    }


def _score(evidence: Evidence, score: StoredScore) -> Mapping[str, Any]:
    began_ms = unix_ms_of(evidence.request_id)
    return {
        "name": score.name,
        "value": score.value,
        "label": score.label,
        "source": score.source,
        "scorer": score.scorer,
        "is_declared": not score.scorer.startswith(UNDECLARED),
        "scored_at": time_text(score.scored_at),
        "delay_ms": score.scored_at // 1_000_000 - began_ms,
        "revisions": score.revisions,
        **(score.of_eval or {}),
    }


def _changes(evidence: Evidence) -> tuple[ChangeView, ...]:
    return tuple(
        ChangeView(
            **change._asdict(),
            first_seen=time_text(evidence.first_seen.get(change.now or "")),
        )
        for change in evidence.changes
    )


def _cache_origin(evidence: Evidence) -> Mapping[str, Any] | None:
    """Return the request that really spoke, explained in turn."""
    if not evidence.origins:
        return None
    request_id, origin = evidence.origins[-1]
    return {
        "request_id": request_id,
        "chain": [hop for hop, _ in evidence.origins],
        "explanation": explain(origin).to_dict() if origin else None,
    }
