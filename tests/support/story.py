"""A small system and its requests as fixed values, for tests of reading and explaining.

Digests, ids and times never change, so that whole outputs can be kept as files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from mvtrace.digest import (
    COMPONENT_DOMAIN,
    COMPOSITE_DOMAIN,
    CONTENT_DOMAIN,
    RECORD_DOMAIN,
    canonical_bytes,
    digest_of,
)
from mvtrace.explain.evidence import (
    ContentCheck,
    Evidence,
    StoredComposite,
    StoredRecord,
    StoredSpan,
)
from mvtrace.ids import format_uuid7
from mvtrace.records import (
    Alias,
    Call,
    Candidate,
    IndexSnapshot,
    PromptUse,
    RequestRecord,
    RetrievedDocument,
    RouterDecision,
    UnixNano,
    Usage,
)

START_MS: Final = 1_787_396_527_123
"""2026-08-22 11:02:07.123 UTC."""
PRODUCER: Final = format_uuid7(START_MS - 60_000, 1)
TRACE: Final = "4bf92f3577b34da6a3ce929d0e0e4736"
SERVER_SPAN: Final = "00f067aa0ba902b7"


@dataclass(frozen=True)
class Part:
    """A component as it is stored."""

    kind: str
    name: str
    body: bytes
    texts: tuple[str, ...] = ()
    label: str | None = None

    @property
    def digest(self) -> str:
        return digest_of(COMPONENT_DOMAIN, self.body)

    @property
    def slot(self) -> str:
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True)
class System:
    """A composite version as it is stored."""

    name: str
    parts: tuple[Part, ...]

    @property
    def manifest(self) -> bytes:
        ordered = sorted(self.parts, key=lambda one: (one.kind, one.name))
        return canonical_bytes(
            {
                "components": [
                    {"kind": one.kind, "name": one.name, "digest": one.digest} for one in ordered
                ],
                "edges": [{"from": "router/route", "to": "model/writer", "role": "candidate"}],
            }
        )

    @property
    def version(self) -> str:
        return digest_of(COMPOSITE_DOMAIN, self.manifest).removeprefix("sha256:")

    @property
    def labels(self) -> dict[str, str]:
        return {one.slot: one.label for one in self.parts if one.label}

    def part(self, slot: str) -> Part:
        return next(one for one in self.parts if one.slot == slot)

    def with_part(self, part: Part) -> System:
        """Return the system with *part* in its slot, in place of whatever is there."""
        kept = tuple(one for one in self.parts if one.slot != part.slot)
        return replace(self, parts=(*kept, part))


def part(kind: str, name: str, facts: Mapping[str, Any], label: str | None = None) -> Part:
    """Return a component; texts among *facts*, given as bytes, are pinned as content."""
    texts = tuple(value.decode() for value in facts.values() if isinstance(value, bytes))
    pinned = {
        key: {"content": reference(value.decode())} if isinstance(value, bytes) else value
        for key, value in facts.items()
    }
    return Part(kind, name, canonical_bytes({"kind": kind, "facts": pinned}), texts, label)


def reference(text: str) -> dict[str, Any]:
    """Return how a component refers to *text*."""
    return {"digest": digest_of(CONTENT_DOMAIN, text.encode()), "bytes": len(text.encode())}


SYSTEM: Final = System(
    "support-bot",
    (
        part("model", "writer", {"model_id": "writer-8b", "provider": "house"}, "v3"),
        part("embedding_model", "encoder", {"model_id": "encoder-s"}),
        part("index", "faq", {"size": 612, "metric": "cos", "fingerprint": "a1"}),
        part("prompt", "answer", {"template": b"Answer {question} from {passages}."}, "2026-08"),
        part("router", "route", {"policy": {"threshold": 0.35}, "candidates": ["extract"]}),
        part("postprocess", "tidy", {"source": b"def tidy(text): return text.strip()"}),
    ),
)
REINDEXED: Final = part("index", "faq", {"size": 240, "metric": "cos", "fingerprint": "b2"})
"""What the index became, without anybody saying so."""
SECOND: Final = SYSTEM.with_part(part("prompt", "answer", {"template": b"Answer shortly."}))
"""A later version: another prompt."""


def request_id(number: int) -> str:
    """Return the id of the request *number* seconds after the first."""
    return format_uuid7(START_MS + number * 1000, number + 1)


def record(number: int = 0, *, index: str | None = None, **changes: Any) -> RequestRecord:
    """Return the record of one request; *index* is the digest of the index as it was queried."""
    start = (START_MS + number * 1000) * 1_000_000
    pinned = SYSTEM.part("index/faq").digest
    facts: dict[str, Any] = {
        "request_id": request_id(number),
        "revision": 2,
        "state": "finished",
        "producer_id": PRODUCER,
        "sequence": number,
        "service": "support",
        "environment": "production",
        "protocol": "http",
        "method": "POST",
        "route": "/ask",
        "trace_id": TRACE if number == 0 else f"{number:032x}",
        "span_id": SERVER_SPAN,
        "aliases": (Alias(kind="x-request-id", value=f"client-{number}"),),
        "started_at": UnixNano(start),
        "ended_at": UnixNano(start + 184_000_000),
        "outcome": "ok",
        "status_code": 200,
        "composite_version": SYSTEM.version,
        "composite_name": SYSTEM.name,
        "arm": "stable",
        "router_decisions": (decision(),),
        "index_snapshots": (snapshot(index or pinned, pinned),),
        "calls": calls(number),
    }
    return RequestRecord(**(facts | changes))


def decision(**changes: Any) -> RouterDecision:
    facts: dict[str, Any] = {
        "name": "route",
        "policy_digest": SYSTEM.part("router/route").digest,
        "features": {"top_score": 0.21},
        "candidates": (
            Candidate(name="extract", score=0.21, threshold=0.35, reason="below the threshold"),
            Candidate(name="writer", score=0.79, threshold=0.65, chosen=True),
        ),
        "chosen": "writer",
        "reason": "no passage is close enough",
        "span_id": "00f067aa0ba90201",
    }
    return RouterDecision(**(facts | changes))


def snapshot(digest: str | None, expected: str | None, **changes: Any) -> IndexSnapshot:
    facts: dict[str, Any] = {
        "name": "faq",
        "digest": digest,
        "expected": expected,
        "size": 612,
        "dimension": 96,
        "metric": "cos",
        "top_k": 2,
        "documents": (
            RetrievedDocument(id="faq/lambda#3", score=0.8123),
            RetrievedDocument(id="faq/closures#1", score=0.7),
        ),
        "span_id": "00f067aa0ba90202",
    }
    return IndexSnapshot(**(facts | changes))


def calls(number: int = 0, **changes: Any) -> tuple[Call, ...]:
    """Return the request's calls; *changes* are of the generation."""
    generation: dict[str, Any] = {
        "kind": "generation",
        "name": "write",
        "span_id": "00f067aa0ba90203",
        "component": "model/writer",
        "provider": "house",
        "model_requested": "writer-8b",
        "model_served": "writer-8b",
        "prompt": PromptUse(name="answer", template_digest=SYSTEM.part("prompt/answer").digest),
        "sampling": {"temperature": 0.8, "max_tokens": 60},
        "seed": 7,
        "usage": Usage(input_tokens=120, output_tokens=45),
        "finish_reason": "stop",
        "response_id": f"resp-{number}",
        "duration_ns": 150_000_000,
    }
    return (
        Call(kind="retrieval", name="faq", span_id="00f067aa0ba90202", duration_ns=1_400_000),
        Call(kind="routing", name="route", span_id="00f067aa0ba90201", component="router/route"),
        Call(**(generation | changes)),
    )


def spans_of(one: RequestRecord) -> tuple[StoredSpan, ...]:
    """Return the spans that belong to a record: the server's, and one for each call."""
    start = int(one.started_at)
    trace_id = one.trace_id or TRACE
    server = StoredSpan(
        request_id=one.request_id,
        span_id=SERVER_SPAN,
        parent_span_id=None,
        trace_id=trace_id,
        name="POST /ask",
        kind=2,
        started_at=start,
        duration_ns=184_000_000,
        service="support",
        environment="production",
        composite_version=one.composite_version,
        attributes={"http.response.status_code": 200},
    )
    inner = (
        replace(
            server,
            span_id=call.span_id,
            parent_span_id=SERVER_SPAN,
            name=f"{call.kind} {call.name}",
            kind=1,
            started_at=start + 1_000_000 * rank,
            duration_ns=call.duration_ns or 200_000,
            attributes={},
        )
        for rank, call in enumerate(one.calls, 1)
        if call.span_id
    )
    return (server, *inner)


def stored(one: RequestRecord) -> StoredRecord:
    """Return a record as it comes out of the store."""
    body = one.to_bytes()
    return StoredRecord(
        body=body,
        digest=digest_of(RECORD_DOMAIN, body),
        revision=one.revision,
        received_at=int(one.ended_at or one.started_at) + 400_000_000,
        record=one,
    )


def composite(system: System = SYSTEM) -> StoredComposite:
    return StoredComposite(
        version=system.version, name=system.name, body=system.manifest, labels=system.labels
    )


def bodies(parts: Iterable[Part] = SYSTEM.parts) -> dict[str, bytes]:
    return {one.digest: one.body for one in parts}


def checks(parts: Iterable[Part] = SYSTEM.parts) -> dict[str, ContentCheck]:
    references = [reference(text) for one in parts for text in one.texts]
    return {one["digest"]: ContentCheck(one["digest"], one["bytes"]) for one in references}


def evidence(one: RequestRecord | None = None, **changes: Any) -> Evidence:
    """Return everything stored about a request, whole and without a flaw."""
    one = one or record()
    facts: dict[str, Any] = {
        "request_id": one.request_id,
        "record": stored(one),
        "spans": spans_of(one),
        "composites": {SYSTEM.version: composite()},
        "components": bodies(),
        "contents": checks(),
        "recent": (one,),
    }
    return Evidence(**(facts | changes))
