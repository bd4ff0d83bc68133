"""The evidence of one request as frozen values, without I/O: what capture makes and readers get.

A value that is None was not seen and is absent from the canonical form; 0, 0.0 and "" were seen and
are present. Times are Unix nanoseconds and travel as decimal strings (they exceed 2^53), durations
are nanoseconds. Digests are text: ``sha256:<hex>`` or ``hmac-sha256:<key id>:<hex>``.

Law: ``RequestRecord.from_bytes(record.to_bytes()) == record``.

What was measured: to make a small request's record and its bytes took 20 µs, of which orjson needed
one. The rest was writing and reading the fields that nobody has seen, and walking the plain form
again to learn whether orjson may write it. Hence parts have a ``__dict__`` that need hold only what
was seen (``seen``), and the walk that makes the plain form looks at the types as well: 11 µs.
What parts have in common stands in ``record_values``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

from mvtrace import plain_values
from mvtrace.digest import (
    NeedsFullForm,
    canonical_bytes,
    dump_plain,
    orjson_form,
    parse_canonical,
)
from mvtrace.record_values import UnixNano as UnixNano  # noqa: PLC0414 (a name of this module, too)
from mvtrace.record_values import Value as Value  # noqa: PLC0414 (a name of this module, too)
from mvtrace.record_values import converted

SCHEMA_VERSION: Final = 1

Basis = Literal["declared", "observed", "verified", "inferred", "missing"]
Outcome = Literal["ok", "error", "client_disconnected", "cancelled"]
CallKind = Literal[
    "generation", "retrieval", "embedding", "routing", "tool", "postprocess", "guardrail"
]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Alias(Value):
    """Another id of the request: untrusted, possibly shared by several requests."""

    kind: str
    """``x-request-id``, ``response_id`` or a caller's own kind; the trace id is a field."""
    value: str


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Candidate(Value):
    """One option a router weighed."""

    name: str
    score: float | None = None
    threshold: float | None = None
    """The threshold in force for this candidate when it was weighed."""
    chosen: bool = False
    reason: str | None = None
    """Why it was chosen or not."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class RouterDecision(Value):
    """How one router chose, with the policy in force then."""

    name: str
    policy_digest: str | None = None
    """Digest of the router component in force; differs from the declared one on drift."""
    policy: Mapping[str, Any] | None = None
    features: Mapping[str, Any] | None = None
    candidates: tuple[Candidate, ...] = ()
    chosen: str | None = None
    reason: str | None = None
    fallbacks: tuple[str, ...] = ()
    """Names tried before the chosen one answered, in order."""
    span_id: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class RetrievedDocument(Value):
    """One hit: its id in the index and its score, never its text."""

    id: str
    score: float | None = None


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class IndexSnapshot(Value):
    """What identified an index *as queried*, and what came back."""

    name: str
    digest: str | None = None
    """Digest of the index component as it was when queried; equal to the declared one, or drift."""
    expected: str | None = None
    """The declared component's digest, where one is declared for this slot."""
    native_version: str | None = None
    fingerprint: str | None = None
    size: int | None = None
    dimension: int | None = None
    metric: str | None = None
    embedding_model: str | None = None
    """Digest of the embedding model component, where known."""
    method: str | None = None
    """How the fingerprint was made: ``native``, ``full``, ``sampled`` …"""
    top_k: int | None = None
    documents: tuple[RetrievedDocument, ...] = ()
    query_digest: str | None = None
    span_id: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class PromptUse(Value):
    """Which template was rendered, and to what."""

    name: str | None = None
    template_digest: str | None = None
    """Digest of the prompt component whose template was used."""
    rendered_digest: str | None = None
    """Keyed digest of the rendered text."""
    version: str | None = None
    """A registry's own version of it, where it has one."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Usage(Value):
    """Tokens, as the provider counted them."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_write_input_tokens: int | None = None
    reasoning_output_tokens: int | None = None


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Call(Value):
    """One step of the answer: a model asked, an index searched, a tool run."""

    kind: CallKind
    name: str
    span_id: str | None = None
    component: str | None = None
    """``kind/name`` of the declared component this call used."""
    provider: str | None = None
    model_requested: str | None = None
    model_served: str | None = None
    prompt: PromptUse | None = None
    sampling: Mapping[str, Any] | None = None
    seed: int | None = None
    usage: Usage | None = None
    finish_reason: str | None = None
    response_id: str | None = None
    fingerprint: str | None = None  # the provider's ``system_fingerprint``
    vectors: int | None = None
    dimension: int | None = None  # of each of the vectors that an embedding made
    input_digest: str | None = None
    output_digest: str | None = None
    verdict: str | None = None  # what a guardrail said
    started_at: UnixNano | None = None
    duration_ns: int | None = None
    time_to_first_chunk_ns: int | None = None
    outcome: Outcome | None = None
    error_type: str | None = None
    cache_origin: str | None = None
    """Request id whose state made an answer of a cache; else ``response_id:…`` or ``unknown``."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ObservedComponent(Value):
    """A part seen at request time: in a slot, with the digest it had then."""

    kind: str
    name: str
    digest: str
    facts: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Drift(Value):
    """Observed differs from declared, in one slot."""

    kind: str
    name: str
    what: str
    """``digest``, ``model_served``, ``release`` (*expected* first answered for a declared alias),
    ``policy`` …; undeclared ``changed`` (*expected* is what the slot held before), ``volatile``."""
    expected: str | None = None
    observed: str | None = None
    span_id: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Assignment(Value):
    """Why a request is on its side of a rollout: what was drawn for whom, with which share."""

    rollout: str
    """Which rollout: the salt of the hash, so that each rollout draws anew."""
    unit: str | None = None
    """Keyed digest of what was drawn for, 32 hex digits: equal for all requests of one unit."""
    unit_kind: str | None = None
    """What a unit is: ``user``, ``session``, ``request`` …"""
    share: float | None = None
    """The share of units that was planned for the canary when this was drawn."""
    basis: Literal["assigned", "named"] = "assigned"
    """``named`` where somebody else splits the traffic, and only said which side this is."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class CaptureReport(Value):
    """What the capture itself knows to be incomplete."""

    spans_dropped: int = 0
    calls_dropped: int = 0
    truncated: int = 0
    """Values cut to their limit."""
    errors: int = 0
    """Internal errors of the tracing of this request; the application never saw them."""
    digest_key_id: str | None = None
    content_mode: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class RequestRecord(Value):
    """One request's evidence, whole."""

    request_id: str
    """UUIDv7 as text, minted by the middleware."""
    revision: int
    """1 for the record of a start, 2 for that of an end; a later one replaces an earlier."""
    state: Literal["started", "finished"]
    producer_id: str
    """UUID of the process that made the record."""
    sequence: int
    """The producer's running number, taken at the start: holes are losses."""
    schema_version: int = SCHEMA_VERSION
    parent_request_id: str | None = None
    parent_composite_version: str | None = None
    """What the caller said of itself, as did its *parent_arm*."""
    parent_arm: str | None = None
    service: str | None = None
    service_version: str | None = None
    environment: str | None = None
    protocol: str | None = None
    """``http``, ``websocket`` or ``task``."""
    method: str | None = None
    route: str | None = None
    path: str | None = None
    """Path without query; only where no route is known."""
    trace_id: str | None = None  # 32 hex digits
    span_id: str | None = None
    """16 hex digits: the server span."""
    aliases: tuple[Alias, ...] = ()
    conversation_id: str | None = None
    started_at: UnixNano
    ended_at: UnixNano | None = None
    first_byte_at: UnixNano | None = None
    last_byte_at: UnixNano | None = None
    outcome: Outcome | None = None
    status_code: int | None = None
    """HTTP status, or the close code of a websocket."""
    error_type: str | None = None
    request_bytes: int | None = None
    response_bytes: int | None = None
    response_chunks: int | None = None
    messages_received: int | None = None  # of a websocket, from the client
    composite_version: str | None = None  # 64 hex digits
    composite_name: str | None = None
    composite_basis: Literal["observed"] | None = None
    """``observed`` where the version was made of what requests met; absent: it was declared."""
    arm: str | None = None
    assignment: Assignment | None = None
    """How *arm* came about, where mvtrace knows it."""
    router_decisions: tuple[RouterDecision, ...] = ()
    index_snapshots: tuple[IndexSnapshot, ...] = ()
    calls: tuple[Call, ...] = ()
    observed: tuple[ObservedComponent, ...] = ()
    drift: tuple[Drift, ...] = ()
    cache_origin: str | None = None
    annotations: Mapping[str, Any] | None = None
    """The application's own facts (``mvtrace.annotate``)."""
    capture: CaptureReport | None = None

    def to_bytes(self) -> bytes:
        """Return the canonical bytes, over which equality and the record's digest are defined."""
        try:
            return dump_plain(converted(self, _orjson_part))
        except NeedsFullForm:
            return canonical_bytes(self.to_dict())

    @classmethod
    def from_bytes(cls, body: bytes | str) -> Self:
        """Return the record of canonical bytes.

        Raises:
            ValueError: *body* is not JSON, or a field has another type than it must have.
        """
        plain = parse_canonical(body)
        try:
            return cls.from_dict(plain_values.mapping(plain))
        except (TypeError, ValueError) as error:
            raise ValueError(f"not a request record: {error}") from error


_PART_DEPTH: Final = 6
"""A field of a record's part lies no deeper; what nests to the limit below takes the full form."""


def _orjson_part(value: Any) -> Any:
    return orjson_form(value, _PART_DEPTH)
