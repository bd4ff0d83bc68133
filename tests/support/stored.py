"""Rows of the story put into a store by plain inserts, also such as a loader would refuse."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from story import REINDEXED, SYSTEM, System, reference, request_id, spans_of

from mvtrace.digest import RECORD_DOMAIN, digest_of
from mvtrace.explain.drift import Episode, Key
from mvtrace.explain.evidence import StoredSpan
from mvtrace.records import Assignment, RequestRecord
from mvtrace.registry.entries import Entry
from mvtrace.registry.evals.results import Pinned, Result
from mvtrace.scores import Score, undeclared
from mvtrace.store import Store, migrate, open_store
from mvtrace.store.siphash import siphash64

MOMENT = datetime(2026, 8, 22, 11, 5, tzinfo=UTC)


def new_store(dsn: str) -> Store:
    """Return an embedded store with its tables."""
    store = open_store(dsn)
    migrate(store)
    return store


class Filler:
    """Puts rows into a store, in one project."""

    def __init__(self, store: Store, project: str = "default") -> None:
        self._session = store.open_session()
        self._project = project

    def request(self, one: RequestRecord, *, with_spans: bool = True) -> None:
        """Store a record with its aliases, and the spans that belong to it."""
        self.record(one)
        pairs = [(alias.kind, alias.value) for alias in one.aliases]
        pairs += [("trace_id", one.trace_id)] if one.trace_id else []
        pairs += [("response_id", call.response_id) for call in one.calls if call.response_id]
        for kind, value in pairs:
            self.alias(kind, value, one.request_id)
        if with_spans:
            self.spans(spans_of(one))

    def record(self, one: RequestRecord, body: bytes | None = None) -> None:
        """Store a record alone; *body* is other bytes in its place."""
        body = one.to_bytes() if body is None else body
        served = [call.model_served for call in one.calls if call.model_served]
        self._insert(
            "requests",
            request_id=_id(one.request_id),
            revision=one.revision,
            record=body.decode(),
            record_digest=bytes.fromhex(digest_of(RECORD_DOMAIN, body).removeprefix("sha256:")),
            producer_id=_id(one.producer_id),
            sequence=one.sequence,
            received_at=MOMENT,
            state=one.state,
            outcome=one.outcome,
            started_at=_time(one.started_at),
            ended_at=_time(one.ended_at) if one.ended_at else None,
            duration_ns=one.ended_at - one.started_at if one.ended_at else None,
            status_code=one.status_code,
            service=one.service or "",
            environment=one.environment or "",
            protocol=one.protocol or "",
            method=one.method,
            route=one.route,
            parent_request_id=_id(one.parent_request_id) if one.parent_request_id else None,
            conversation_id=one.conversation_id,
            composite_version=one.composite_version,
            composite_name=one.composite_name,
            arm=one.arm,
            **_assigned(one.assignment),
            models_served=served,
            index_snapshots=[shot.digest for shot in one.index_snapshots if shot.digest],
            calls=len(one.calls),
            drift=len(one.drift),
        )

    def alias(self, kind: str, value: str, request_id: str) -> None:
        """Store another id of a request."""
        self._insert(
            "request_aliases",
            alias_hash=siphash64(value),
            kind=kind,
            alias=value,
            request_id=_id(request_id),
            received_at=MOMENT,
        )

    def spans(self, spans: Iterable[StoredSpan]) -> None:
        """Store spans; of their attributes those that are text or whole numbers."""
        for span in spans:
            self._insert(
                "spans",
                request_id=_id(span.request_id),
                span_id=bytes.fromhex(span.span_id),
                parent_span_id=bytes.fromhex(span.parent_span_id or "0" * 16),
                trace_id=bytes.fromhex(span.trace_id),
                name=span.name,
                kind=span.kind,
                start_time=_time(span.started_at),
                duration_ns=span.duration_ns,
                service=span.service,
                environment=span.environment,
                composite_version=span.composite_version,
                attributes_string={k: v for k, v in span.attributes.items() if type(v) is str},
                attributes_int={k: v for k, v in span.attributes.items() if type(v) is int},
                attributes_json={"list": "[1, 2.5]"},
                attributes_double={"nan": float("nan"), "zero": 0.0},
                attributes_bool={"no": False},
                events=[(_time(span.started_at), "first token", {"n": "1"})],
                links=[(bytes(16), bytes(8), "", {})],
                received_at=MOMENT,
            )

    def system(self, system: System = SYSTEM, *, with_content: bool = True) -> None:
        """Store a composite version with its components and their content."""
        ordered = sorted(system.parts, key=lambda one: (one.kind, one.name))
        self._insert(
            "composites",
            version=system.version,
            name=system.name,
            manifest=system.manifest.decode(),
            labels=system.labels,
            component_kinds=[one.kind for one in ordered],
            component_names=[one.name for one in ordered],
            component_digests=[one.digest for one in ordered],
            received_at=MOMENT,
        )
        for one in ordered:
            self.component(one.digest, one.kind, one.body)
            for text in one.texts if with_content else ():
                self.content(reference(text)["digest"], text)

    def component(self, digest: str, kind: str, body: bytes) -> None:
        """Store a component's body, whether or not it hashes to its digest."""
        self._insert("components", digest=digest, kind=kind, body=body.decode(), received_at=MOMENT)

    def content(self, digest: str, text: str) -> None:
        """Store a piece of content, whether or not it hashes to its digest."""
        self._insert("contents", digest=digest, content=text, received_at=MOMENT)

    def quarantine(self, subject: str, reason: str, detail: str) -> None:
        """Store something that was turned away."""
        self._insert(
            "quarantine",
            received_at=MOMENT,
            quarantine_id=bytes(16),
            reason=reason,
            detail=detail,
            subject=subject,
            body="",
        )

    def event(self, request_id: str, name: str, attributes: dict[str, str]) -> None:
        """Store a log record of a request; *attributes* are JSON text."""
        self._insert(
            "events",
            request_id=_id(request_id),
            event_id=bytes(16),
            time=MOMENT,
            name=name,
            attributes=attributes,
            received_at=MOMENT,
        )

    def content_of(self, request_id: str, *, subject: str) -> None:
        """Store a text of a request that is about *subject*, as the mode redacted leaves it."""
        self.alias("subject", subject, request_id)
        self._insert(
            "payloads",
            request_id=_id(request_id),
            kind="prompt",
            digest=subject,
            pieces=1,
            subject=subject,
            mode="redacted",
            body=b"b-secret text" if self._project == "b" else b"a text",
            bytes=8,
            retention_days=3_650,
            received_at=MOMENT,
        )

    def numbers(self, digest: str) -> None:
        """Store a component whose kind and body are a number, as no real one's are."""
        self._insert("components", digest=digest, kind="7", body="7", received_at=MOMENT)

    def entry(self, entry: Entry, received_at: datetime = MOMENT) -> None:
        """Store an entry of the registry."""
        self._insert(
            "registry_entries",
            kind=entry.kind,
            digest=entry.digest,
            name=entry.name,
            body=entry.body.decode(),
            actor="open",
            actor_label="",
            received_at=received_at,
        )

    def results(self, pinned: Pinned, results: Iterable[Result], run: str) -> None:
        """Store the results of a run of an eval, in one piece."""
        for one in results:
            self._insert(
                "eval_results",
                suite=pinned.suite,
                scorer=pinned.scorer,
                composite=pinned.composite,
                run=run,
                entry="sha256:" + run,
                example=one.example,
                repeat=one.repeat,
                cluster=one.cluster,
                value=one.value,
                label=one.label or "",
                request_id=_id(one.request_id) if one.request_id else None,
                piece=1,
                pieces=1,
                recorded_at=MOMENT,
                received_at=MOMENT,
            )

    def score(self, one: Score, at: datetime = MOMENT) -> None:
        """Store a score, given at *at* where it does not say when."""
        said = one.to_bytes()
        self._insert(
            "scores",
            request_id=_id(one.request_id),
            name=one.name,
            scorer=one.scorer or undeclared(one.source, one.name),
            event_id=hashlib.sha256(said).digest()[:16],
            source=one.source,
            voter="",
            value=one.value,
            label=one.label,
            scored_at=at if one.at is None else _time(one.at),
            actor="open",
            received_at=at,
        )

    def edge(self, child: str, parent: str, role: str, source: str = "") -> None:
        """Store both ends of an edge of the ancestry graph."""
        for direction, node, other in (("up", child, parent), ("down", parent, child)):
            self._insert(
                "lineage_edges",
                direction=direction,
                node=node,
                other=other,
                role=role,
                source=source,
                received_at=MOMENT,
            )

    def gap(self, *, service: str) -> None:
        """Store an open gap of three records around the story's time."""
        self._insert(
            "ingest_gaps",
            producer_id=_id("01989f3c-2a4b-7c3d-8e5f-6a7b8c9d0e1f"),
            first=5,
            last=7,
            revision=1,
            state="open",
            missing=3,
            missing_ranges=[(5, 7)],
            reason="in-flight",
            service=service,
            environment="production",
            started_after=MOMENT - timedelta(minutes=10),
            started_before=MOMENT,
            detected_at=MOMENT,
            changed_at=MOMENT,
        )

    def drift(self, *, service: str) -> None:
        """Store an open drift of the index at the story's first request."""
        one = drifted(self._project, service)
        self._insert(
            "drift_episodes",
            episode_id=_id(one.id),
            revision=1,
            state=one.state,
            basis=one.key.basis,
            **one.key._asdict(),
            first_request=_id(one.first),
            last_request=_id(one.last),
            started_at=MOMENT,
            last_at=MOMENT,
            requests=one.requests,
            changed_at=MOMENT,
        )

    def verdict(self, body: bytes) -> None:
        """Store a verdict as it was said."""
        self._insert(
            "governance_events",
            name="mvtrace.verdict",
            at=MOMENT,
            seq=1,
            event_id=sha256(body).digest()[:16],
            actor="open",
            actor_label="",
            body=body.decode("utf-8", "surrogatepass"),
            received_at=MOMENT,
        )

    def _insert(self, table: str, **values: Any) -> None:
        row = {"project": self._project, **values}
        self._session.insert(table, list(row), [list(row.values())])


def drifted(project: str, service: str) -> Episode:
    """Return the drift that ``Filler.drift`` stores."""
    slot = {"kind": "index", "name": service, "what": "digest"}
    expected, observed = SYSTEM.part("index/faq").digest, REINDEXED.digest
    key = Key(
        service=service, environment="production", expected=expected, observed=observed, **slot
    )
    first = request_id(0).replace("-", "")
    return Episode(project=project, key=key, first=first, last=first, requests=1)


def _id(request_id: str) -> bytes:
    return bytes.fromhex(request_id.replace("-", ""))


def _assigned(said: Assignment | None) -> dict[str, Any]:
    if said is None:
        return {}
    unit = bytes.fromhex(said.unit) if said.unit else bytes(16)
    return {"rollout": said.rollout, "unit": unit, "planned_share": said.share}


def _time(unix_nano: int) -> datetime:
    return datetime.fromtimestamp(unix_nano / 1e9, UTC)
