"""The calls and spans of a request in their plain form, from the record and from what was traced.

In: :class:`Evidence`. Out: dicts for the explanation. A call in the record was observed by
mvtrace's own wrappers; one that only a span of another instrumentation shows is added, with
``source: span``.
"""

from __future__ import annotations

from typing import Any, Final

from mvtrace import semconv
from mvtrace.explain.evidence import Evidence, StoredEvent, StoredSpan, time_text
from mvtrace.explain.explanation import plain
from mvtrace.records import Call, IndexSnapshot, PromptUse, RetrievedDocument, Usage

SPAN_KINDS: Final = ("unspecified", "internal", "server", "client", "producer", "consumer")
SPAN_STATUSES: Final = ("unset", "ok", "error")

CALL_KIND_OF_OPERATION: Final = {
    "chat": "generation",
    "text_completion": "generation",
    "generate_content": "generation",
    "embeddings": "embedding",
    "execute_tool": "tool",
    "retrieval": "retrieval",
}
"""The kind of call a ``gen_ai.operation.name`` stands for; other operations are no calls."""

_NOT_SAMPLING: Final = frozenset({"model", "seed", "encoding_formats", "stream"})


def calls_of(evidence: Evidence) -> tuple[dict[str, Any], ...]:
    """Return the request's calls, those of the record first, then by start time."""
    record = evidence.own
    recorded = record.calls if record else ()
    known = {call.span_id for call in recorded}
    traced = sorted(
        (
            span
            for span in evidence.spans
            if span.operation in CALL_KIND_OF_OPERATION and span.span_id not in known
        ),
        key=lambda span: span.started_at,
    )
    basis = "observed" if record else "inferred"
    return (
        *(_recorded(call) for call in recorded),
        *(_traced(span, basis) for span in traced),
    )


def snapshots_of(evidence: Evidence) -> tuple[dict[str, Any], ...]:
    """Return what was queried: of the record, then the retrievals that only spans show.

    These name documents and scores; which index it was, and in what state, no dialect says.
    """
    recorded = evidence.own.index_snapshots if evidence.own else ()
    known = {shot.span_id for shot in recorded}
    traced = (
        IndexSnapshot(
            name=str(span.attributes.get(semconv.GEN_AI_DATA_SOURCE_ID) or span.name),
            documents=tuple(RetrievedDocument(**one) for one in span.documents),
            span_id=span.span_id,
        )
        for span in sorted(evidence.spans, key=lambda span: span.started_at)
        if span.documents and span.span_id not in known
    )
    return tuple(plain(shot) for shot in (*recorded, *traced))


def span_view(span: StoredSpan) -> dict[str, Any]:
    """Return one span with its attributes, times as text."""
    return {
        "span_id": span.span_id,
        "parent_span_id": span.parent_span_id,
        "trace_id": span.trace_id,
        "request_id": span.request_id,
        "name": span.name,
        "kind": SPAN_KINDS[span.kind] if 0 <= span.kind < len(SPAN_KINDS) else str(span.kind),
        "start": time_text(span.started_at),
        "duration_ns": span.duration_ns,
        "status": SPAN_STATUSES[span.status_code]
        if 0 <= span.status_code < len(SPAN_STATUSES)
        else str(span.status_code),
        "status_message": span.status_message,
        "service": span.service,
        "scope": span.scope,
        "attributes": dict(span.attributes),
        "events": [dict(event) for event in span.events],
        "links": [dict(link) for link in span.links],
        "dropped": span.dropped,
        "content_removed": list(span.content_removed),
        "flags": list(span.flags),
    }


def event_view(event: StoredEvent) -> dict[str, Any]:
    """Return one event with its attributes."""
    return {
        "time": time_text(event.time),
        "name": event.name,
        "span_id": event.span_id,
        "attributes": dict(event.attributes),
    }


def _recorded(call: Call) -> dict[str, Any]:
    view = plain(call)
    view["started_at"] = time_text(call.started_at)
    return {**view, "basis": "observed", "source": "record"}


def _traced(span: StoredSpan, basis: str) -> dict[str, Any]:
    """Return the call a span of some other instrumentation shows, whatever its dialect.

    A span stored before the store had columns for all of it has OpenTelemetry's own attributes.
    """
    attributes = span.attributes
    reasons = attributes.get(semconv.GEN_AI_FINISH_REASONS)
    reason = ", ".join(map(str, reasons)) if isinstance(reasons, list) else None
    seed = attributes.get(f"{semconv.GEN_AI_REQUEST_PREFIX}seed")
    call = Call(
        kind=CALL_KIND_OF_OPERATION[span.operation or ""],  # type: ignore[arg-type]
        name=str(span.tool_name or attributes.get(semconv.GEN_AI_TOOL_NAME) or span.name),
        span_id=span.span_id,
        provider=span.provider,
        model_requested=span.model_requested,
        model_served=span.model_served,
        prompt=_prompt(span),
        sampling=_sampling(span) or None,
        seed=seed if span.seed is None and isinstance(seed, int) else span.seed,
        usage=_usage(span),
        finish_reason=span.finish_reason or reason,
        response_id=span.response_id,
        fingerprint=span.fingerprint,
        duration_ns=span.duration_ns,
        outcome="error" if span.status_code == SPAN_STATUSES.index("error") else None,
        error_type=span.error_type,
    )
    return {
        **plain(call),
        "started_at": time_text(span.started_at),
        "basis": basis,
        "source": "span",
    }


def _sampling(span: StoredSpan) -> dict[str, Any]:
    """Return the numbers that were understood, and all that OpenTelemetry's own keys say."""
    prefix = semconv.GEN_AI_REQUEST_PREFIX
    said = {
        key.removeprefix(prefix): value
        for key, value in span.attributes.items()
        if key.startswith(prefix) and key.removeprefix(prefix) not in _NOT_SAMPLING
    }
    return {**span.sampling, **said}


def _usage(span: StoredSpan) -> Usage | None:
    usage = Usage(
        input_tokens=span.input_tokens,
        output_tokens=span.output_tokens,
        cache_read_input_tokens=span.cache_read_tokens,
        cache_write_input_tokens=span.cache_write_tokens,
        reasoning_output_tokens=span.reasoning_tokens,
    )
    return usage if usage != Usage() else None


def _prompt(span: StoredSpan) -> PromptUse | None:
    if span.prompt_name is None and span.prompt_version is None:
        return None
    return PromptUse(name=span.prompt_name, version=span.prompt_version)
