"""Findings about the request itself: its record, its spans, its ids, the requests around it.

In: :class:`Evidence`. Out: findings; those about the composite version are in ``state_findings``.
What is absent is always a finding, never an exception.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from mvtrace.digest import RECORD_DOMAIN, digest_of
from mvtrace.explain.codes import counted, finding
from mvtrace.explain.evidence import Evidence, RequestHead, StoredRecord, time_text
from mvtrace.explain.explanation import Finding, short
from mvtrace.explain.gaps import ProducerEnd
from mvtrace.ids import UUID7_PATTERN
from mvtrace.records import SCHEMA_VERSION, CaptureReport, RequestRecord
from mvtrace.semconv import ALIAS_RESPONSE_ID


def request_findings(evidence: Evidence) -> Iterator[Finding]:
    """Yield what is to be said about the request, its record first."""
    if evidence.record is None:
        yield from _without_record(evidence)
    else:
        yield from _stored_record(evidence.record)
    record = evidence.own
    if record:
        yield from _outcome(record, evidence.producer_end)
        yield from _capture(record.capture)
    yield from _content(evidence)
    yield from _quarantine(evidence)
    yield from _cache(evidence)
    yield from _spans(evidence)
    yield from _ids(evidence)
    yield from _family(evidence, record)
    yield from _cycles(evidence, record)
    yield from _gaps(evidence)


def _without_record(evidence: Evidence) -> Iterator[Finding]:
    if evidence.composite_version:
        yield finding(
            "record_missing",
            "No record of this request is stored, only spans that were stamped with its id.",
        )
        return
    services = sorted({span.service for span in evidence.spans if span.service})
    yield finding(
        "foreign_trace",
        f"This trace has no request record: {', '.join(services) or 'its sender'} does not run "
        "mvtrace, so the state that answered is inferred from spans.",
        services=services,
    )


def _stored_record(stored: StoredRecord) -> Iterator[Finding]:
    if stored.digest not in (
        digest_of(RECORD_DOMAIN, stored.body),
        digest_of(b"", stored.body),
    ):
        yield finding(
            "record_damaged",
            f"The stored record does not hash to {short(stored.digest)}.",
            digest=stored.digest,
        )
    if stored.record is None:
        yield finding("record_unreadable", "The stored record is not one this version can read.")
        return
    if stored.record.schema_version > SCHEMA_VERSION:
        yield finding(
            "record_newer",
            f"The record has schema version {stored.record.schema_version}, this mvtrace knows "
            f"{SCHEMA_VERSION}: newer fields are not shown.",
            schema_version=stored.record.schema_version,
        )


def _gaps(evidence: Evidence) -> Iterator[Finding]:
    for gap in evidence.gaps:
        yield finding("records_lost", gap.sentence(), **gap.to_dict())


def _outcome(record: RequestRecord, end: ProducerEnd | None) -> Iterator[Finding]:
    if record.state == "started" and end is not None:
        yield finding(
            "request_cut_off",
            f"Only the start of this request is recorded. {end.sentence()}",
            producer_id=end.producer_id,
            state=end.state,
        )
    elif record.state == "started":
        yield finding(
            "request_unfinished",
            "Only the start of this request is recorded: it still runs, or its process died.",
        )
    elif record.outcome not in (None, "ok"):
        how = {
            "error": f"ended with {record.error_type or 'an error'}",
            "client_disconnected": "was left by its client before the answer was complete",
            "cancelled": "was cancelled",
        }.get(str(record.outcome), f"ended as {record.outcome}")
        yield finding(
            "request_failed",
            f"The request {how}.",
            outcome=record.outcome,
            error_type=record.error_type,
        )


def _capture(report: CaptureReport | None) -> Iterator[Finding]:
    if report is None:
        return
    if report.errors:
        yield finding(
            "capture_errors",
            f"{counted(report.errors, 'internal error')} while this request was traced: "
            "the record may be incomplete.",
            errors=report.errors,
        )
    lost = [
        counted(report.spans_dropped, "span") + " dropped" if report.spans_dropped else "",
        counted(report.calls_dropped, "call") + " dropped" if report.calls_dropped else "",
        counted(report.truncated, "value") + " cut to length" if report.truncated else "",
    ]
    if any(lost):
        yield finding(
            "capture_dropped",
            f"Capture kept its limits: {', '.join(filter(None, lost))}.",
            spans_dropped=report.spans_dropped,
            calls_dropped=report.calls_dropped,
            truncated=report.truncated,
        )


def _content(evidence: Evidence) -> Iterator[Finding]:
    """Yield what is kept of prompts and answers, and what was erased; never a word of them."""
    if evidence.payloads:
        modes = {"full": "encrypted", "redacted": "redacted"}
        how = " and ".join(sorted({modes.get(one.mode, one.mode) for one in evidence.payloads}))
        rules: Counter[str] = Counter()
        for one in evidence.payloads:
            rules.update(one.redactions)
        listed = ", ".join(f"{rule} {count}" for rule, count in sorted(rules.items()))
        yield finding(
            "content_kept",
            f"{counted(len(evidence.payloads), 'text')} of this request kept, {how}"
            + (f"; taken out: {listed}." if listed else "."),
            contents=[one.to_dict() for one in evidence.payloads],
            redactions=dict(rules),
        )
    if evidence.content_expired:
        yield finding(
            "content_expired",
            "Its texts have expired: they were kept for a time, and none is any more.",
        )
    for erasure in evidence.erasures:
        why = f" ({erasure.reason})" if erasure.reason else ""
        yield finding(
            "content_erased",
            f"Its content was erased on {time_text(erasure.erased_at)} by "
            f"{erasure.erased_by}{why}; what is shown here is what remains as evidence.",
            **erasure.to_dict(),
        )


def _quarantine(evidence: Evidence) -> Iterator[Finding]:
    """Yield what was turned away; the quarantine writes request ids without dashes."""
    own = evidence.request_id.replace("-", "")
    for note in evidence.quarantine:
        facts = {"reason": note.reason, "detail": note.detail, "subject": note.subject}
        why = ": ".join(filter(None, (note.reason, note.detail)))
        if note.subject == own:
            yield finding(
                "record_conflict",
                f"Another record for this request was received and not let in ({why}); "
                "what is shown came first.",
                **facts,
            )
        else:
            event, _, digest = note.subject.partition(" ")
            yield finding(
                "registration_refused",
                f"A {event} event for {short(digest)} was received and not let in ({why}).",
                **facts,
            )


def _cache(evidence: Evidence) -> Iterator[Finding]:
    if not evidence.origins:
        return
    last_id, origin = evidence.origins[-1]
    if origin is None:
        yield finding(
            "cache_origin_missing",
            f"The answer came from a cache; {_unfound(last_id)}.",
            request_id=last_id,
        )
        return
    version = origin.composite_version
    yield finding(
        "cache_origin",
        f"The answer came from a cache: it was made by request {last_id}"
        + (f" under version {short(version)}." if version else "."),
        request_id=last_id,
        version=version,
        chain=[request_id for request_id, _ in evidence.origins],
    )


def _unfound(origin: str) -> str:
    """Say of an origin that is not found what is known: a request, or what a cache kept of it."""
    kind, _, response = origin.partition(":")
    if response and kind == ALIAS_RESPONSE_ID:
        return f"of requests that got the response {response} none, or not just one, is stored"
    if UUID7_PATTERN.fullmatch(origin):
        return f"the request {origin} that made it is not stored"
    return "which request made it is not known"


def _spans(evidence: Evidence) -> Iterator[Finding]:
    if not evidence.spans:
        yield finding(
            "spans_none",
            "No span of this request is stored: sampled out, not recorded, or not arrived.",
        )
        return
    record = evidence.own
    stored = {span.span_id for span in evidence.spans}
    parents = {span.parent_span_id for span in evidence.spans if span.parent_span_id}
    remote = {span.parent_span_id for span in evidence.spans if span.kind == _SERVER}
    own = {record.span_id} if record and record.span_id else set()
    called = {call.span_id for call in record.calls if call.span_id} if record else set()
    absent = ((parents - remote) | called | own) - stored
    if absent and not evidence.spans_cut:
        yield finding(
            "spans_missing",
            f"{counted(len(absent), 'span')} of this request "
            f"{'is' if len(absent) == 1 else 'are'} not stored: sampled out, not recorded, "
            "or not arrived.",
            span_ids=sorted(filter(None, absent)),
        )
    if evidence.spans_cut:
        yield finding(
            "spans_cut",
            f"Only the first {counted(len(evidence.spans), 'span')} are shown; more are stored.",
        )
    if evidence.united_ids:
        yield finding(
            "spans_united",
            f"Spans of the same trace stored under {counted(len(evidence.united_ids), 'other id')} "
            "are shown too.",
            request_ids=list(evidence.united_ids),
        )


def _ids(evidence: Evidence) -> Iterator[Finding]:
    for shared in evidence.shared_ids:
        yield finding(
            "id_shared",
            f"{shared.kind} {shared.value!r} also belongs to "
            f"{counted(len(shared.request_ids), 'other request')}.",
            kind=shared.kind,
            value=shared.value,
            request_ids=list(shared.request_ids),
        )


def _family(evidence: Evidence, record: RequestRecord | None) -> Iterator[Finding]:
    if record and record.parent_request_id not in (None, evidence.request_id):
        if evidence.parent:
            yield finding(
                "parent_request",
                f"Called by {_head(evidence.parent)}.",
                request_id=record.parent_request_id,
            )
        else:
            yield finding(
                "parent_missing",
                f"Called by request {record.parent_request_id}, which is not stored"
                f"{_said_of_caller(record)}.",
                request_id=record.parent_request_id,
                composite_version=record.parent_composite_version,
                arm=record.parent_arm,
            )
    if evidence.children:
        listed = ", ".join(_head(child) for child in evidence.children)
        yield finding(
            "child_requests",
            f"Called {counted(len(evidence.children), 'other request')}: {listed}.",
            request_ids=[child.request_id for child in evidence.children],
        )


def _said_of_caller(record: RequestRecord) -> str:
    """Return what a caller that is not stored has said of itself."""
    said = [
        f"version {short(record.parent_composite_version)}"
        if record.parent_composite_version
        else "",
        f"arm {record.parent_arm}" if record.parent_arm else "",
    ]
    named = ", ".join(filter(None, said))
    return f" (by its own words: {named})" if named else ""


def _cycles(evidence: Evidence, record: RequestRecord | None) -> Iterator[Finding]:
    """Yield what cannot be: a request that called its caller, an answer that is its own origin."""
    own, parent = evidence.request_id, evidence.parent
    if record and record.parent_request_id == own:
        yield _cycle("parent", [own, own])
    elif parent and parent.parent_request_id == own:
        yield _cycle("parent", [own, parent.request_id, own])
    hops = [own, *(request_id for request_id, _ in evidence.origins)]
    last = evidence.origins[-1][1] if evidence.origins else evidence
    if last and last.named_origin in hops:
        yield _cycle("cache_origin", [*hops, str(last.named_origin)])


def _cycle(relation: str, chain: list[str]) -> Finding:
    what = {"parent": "called by", "cache_origin": "answered from"}[relation]
    return finding(
        "request_cycle",
        f"Records contradict each other: {f', {what} '.join(chain)}.",
        relation=relation,
        chain=chain,
    )


_SERVER = 2
"""OTLP's SpanKind of a server span: its parent lies in the calling process."""


def _head(head: RequestHead) -> str:
    what = " ".join(filter(None, (head.service, head.method, head.route)))
    return f"{head.request_id} ({what})" if what else head.request_id
