"""One NamedTuple a table; the fields are its columns, in their order. A test holds them to the DDL.

ALIAS columns (ids as text) are left out: they are made on reading. Ids are raw bytes, times are
aware datetimes, and NULL is None: absent differs from 0 and from "".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple

JsonTexts = Mapping[str, str]
"""Attribute key -> JSON text that keeps the value's type."""


class RequestRow(NamedTuple):
    """One request at one revision: the record's bytes, and columns derived from them."""

    project: str
    request_id: bytes
    revision: int
    record: str
    record_digest: bytes
    producer_id: bytes
    sequence: int
    received_at: datetime
    state: str
    outcome: str | None
    started_at: datetime
    ended_at: datetime | None
    duration_ns: int | None
    first_byte_ns: int | None
    status_code: int | None
    error_type: str | None
    service: str
    environment: str
    protocol: str
    method: str | None
    route: str | None
    trace_id: bytes | None
    span_id: bytes | None
    parent_request_id: bytes | None
    conversation_id: str | None
    composite_version: str | None
    composite_name: str | None
    arm: str | None
    rollout: str
    unit: bytes
    planned_share: float | None
    models_requested: Sequence[str]
    models_served: Sequence[str]
    index_snapshots: Sequence[str]
    routes_chosen: Sequence[str]
    finish_reasons: Sequence[str]
    calls: int
    input_tokens: int | None
    output_tokens: int | None
    drift: int


class SpanRow(NamedTuple):
    """One span of a request."""

    project: str
    request_id: bytes
    span_id: bytes
    parent_span_id: bytes
    trace_id: bytes
    name: str
    kind: int
    start_time: datetime
    duration_ns: int
    status_code: int
    status_message: str
    trace_state: str
    trace_flags: int
    service: str
    environment: str
    scope_name: str
    scope_version: str
    schema_url: str
    composite_version: str | None
    arm: str | None
    operation: str | None
    provider: str | None
    model_requested: str | None
    model_served: str | None
    response_id: str | None
    input_tokens: int | None
    output_tokens: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    reasoning_tokens: int | None
    finish_reason: str | None
    conversation_id: str | None
    tool_name: str | None
    prompt_name: str | None
    prompt_version: str | None
    fingerprint: str | None
    seed: int | None
    sampling: Mapping[str, float]
    documents: Sequence[Mapping[str, Any]]
    error_type: str | None
    attributes_string: Mapping[str, str]
    attributes_int: Mapping[str, int]
    attributes_double: Mapping[str, float]
    attributes_bool: Mapping[str, bool]
    attributes_json: JsonTexts
    resource_attributes: JsonTexts
    scope_attributes: JsonTexts
    events: Sequence[Mapping[str, Any]]
    links: Sequence[Mapping[str, Any]]
    dropped_attributes: int
    dropped_events: int
    dropped_links: int
    content_removed: Sequence[str]
    flags: Sequence[str]
    received_at: datetime
    content_digests: Mapping[str, str]


class RequestAliasRow(NamedTuple):
    """Another id of a request: untrusted, not unique."""

    project: str
    alias_hash: int
    kind: str
    alias: str
    request_id: bytes
    received_at: datetime


class ComponentRow(NamedTuple):
    """One component by the digest of its body."""

    project: str
    digest: str
    kind: str
    body: str
    received_at: datetime


class CompositeRow(NamedTuple):
    """One composite version by the digest of its manifest."""

    project: str
    version: str
    name: str
    manifest: str
    labels: Mapping[str, str]
    provenance: str
    component_kinds: Sequence[str]
    component_names: Sequence[str]
    component_digests: Sequence[str]
    received_at: datetime


class ContentRow(NamedTuple):
    """One piece of registered content by its digest."""

    project: str
    digest: str
    content: str
    received_at: datetime


class RegistryEntryRow(NamedTuple):
    """One thing that the registry knows beside versions, by the digest of its body."""

    project: str
    kind: str
    digest: str
    name: str
    body: str
    actor: str
    actor_label: str
    received_at: datetime


class EvalResultRow(NamedTuple):
    """What a scorer gave one version's answer to one example of a suite, in one run."""

    project: str
    suite: str
    scorer: str
    composite: str
    run: str
    entry: str
    example: str
    repeat: int
    cluster: str
    value: float | None
    label: str
    request_id: bytes | None
    piece: int
    pieces: int
    recorded_at: datetime
    received_at: datetime


class LineageEdgeRow(NamedTuple):
    """One end of an edge of the ancestry graph."""

    project: str
    direction: str
    node: str
    other: str
    role: str
    source: str
    received_at: datetime


class EventRow(NamedTuple):
    """One log record of the ``gen_ai.*`` conventions, without content."""

    project: str
    request_id: bytes
    event_id: bytes
    time: datetime
    name: str
    trace_id: bytes
    span_id: bytes
    service: str
    environment: str
    scope_name: str
    severity_number: int
    severity_text: str
    attributes: JsonTexts
    resource_attributes: JsonTexts
    content_removed: Sequence[str]
    received_at: datetime


class QuarantineRow(NamedTuple):
    """What was received and may not become evidence."""

    project: str
    received_at: datetime
    quarantine_id: bytes
    reason: str
    detail: str
    subject: str
    body: str


class ProducerRow(NamedTuple):
    """What a producer said last: how far it counted, how it ended, what it lost."""

    project: str
    producer_id: bytes
    revision: int
    state: str
    last: int
    started_at: datetime | None
    last_at: datetime | None
    ended_at: datetime | None
    service: str
    environment: str
    losses: Sequence[Mapping[str, Any]]
    received_at: datetime


class IngestGapRow(NamedTuple):
    """Numbers of a producer whose records are not stored."""

    project: str
    producer_id: bytes
    first: int
    last: int
    revision: int
    state: str
    missing: int
    missing_ranges: Sequence[Mapping[str, int]]
    reason: str
    service: str
    environment: str
    started_after: datetime | None
    started_before: datetime | None
    detected_at: datetime
    changed_at: datetime


class ProducerCheckRow(NamedTuple):
    """How far a producer's numbers were checked."""

    project: str
    producer_id: bytes
    checked: int
    known: int
    is_settled: bool
    revision: int
    checked_to: datetime | None
    known_to: datetime | None
    service: str
    environment: str
    changed_at: datetime


class PayloadRow(NamedTuple):
    """A piece of content, where the application lets any leave."""

    project: str
    request_id: bytes
    kind: str
    digest: str
    piece: int
    pieces: int
    subject: str
    mode: str
    key_id: str
    nonce: bytes
    body: bytes
    bytes: int
    is_cut: bool
    redactions: Mapping[str, int]
    retention_days: int
    received_at: datetime


class DeploymentRow(NamedTuple):
    """One decision about what serves one service in one environment."""

    project: str
    service: str
    environment: str
    at: datetime
    seq: int
    event_id: bytes
    action: str
    composite: str
    share: float
    actor: str
    actor_label: str
    claimed_actor: str
    reason: str
    body: str
    received_at: datetime


class GovernanceEventRow(NamedTuple):
    """A retention or a verdict, as it was said."""

    project: str
    name: str
    at: datetime
    seq: int
    event_id: bytes
    actor: str
    actor_label: str
    body: str
    received_at: datetime


class ScoreRow(NamedTuple):
    """One revision of one score of a request."""

    project: str
    request_id: bytes
    name: str
    scorer: str
    event_id: bytes
    source: str
    voter: str
    value: float | None
    label: str | None
    scored_at: datetime
    actor: str
    received_at: datetime


class EvaluatedTraceRow(NamedTuple):
    """An id that evaluations of a trace were ever put under."""

    project: str
    trace_id: bytes
    request_id: bytes
    received_at: datetime


class ModelPriceRow(NamedTuple):
    """What a model costs, by one price list."""

    project: str
    list: str
    provider: str
    model: str
    rank: int
    valid_from: date
    second_from: int
    second_until: int
    unit: str
    above: int
    usd: Decimal
    per: int
    priced_as: str
    received_at: datetime


class DriftMinuteRow(NamedTuple):
    """How many requests of one minute met a slot with one value it should not have had."""

    project: str
    service: str
    environment: str
    kind: str
    name: str
    what: str
    expected: str
    observed: str
    minute: datetime
    revision: int
    first_request: bytes
    last_request: bytes
    requests: int
    changed_at: datetime


class DriftEpisodeRow(NamedTuple):
    """One state of an episode of drift; the highest revision of an id holds."""

    project: str
    episode_id: bytes
    revision: int
    state: str
    basis: str
    service: str
    environment: str
    kind: str
    name: str
    what: str
    expected: str
    observed: str
    first_request: bytes
    last_request: bytes
    started_at: datetime
    last_at: datetime
    requests: int
    ended_by: bytes | None
    superseded_by: bytes | None
    changed_at: datetime


class ErasureRow(NamedTuple):
    """That a subject, or a request of one, was erased."""

    project: str
    request_id: bytes
    subject: str
    erased_at: datetime
    erased_by: str
    reason: str
    reach: str


class ApiKeyRow(NamedTuple):
    """One state of an API key; the highest revision of an id holds."""

    key_id: str
    revision: int
    secret_digest: bytes
    scopes: Sequence[str]
    projects: Sequence[str]
    label: str
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None
    replaces: str


class AccessRow(NamedTuple):
    """One access to what is stored: who, to what, and what became of it."""

    project: str
    access_id: bytes
    revision: int
    time: datetime
    actor: str
    label: str
    action: str
    asked: str
    request_id: bytes
    statement: str
    status: int
    outcome: str
    rows: int | None
    bytes: int
    duration_us: int
    client: str


class QualityHourlyRow(NamedTuple):
    """What the requests of one hour came to: sums by version, arm, metric, and of each bucket."""

    project: str
    environment: str
    service: str
    composite_version: str
    metric: str
    rollout: str
    arm: str
    hour: datetime
    phase: str
    scorer: str
    revision: int
    requests: int
    total: float
    squares: float
    base: float
    base_squares: float
    cross: float
    buckets: Sequence[int]
    bucket_requests: Sequence[int]
    bucket_total: Sequence[float]
    bucket_squares: Sequence[float]
    bucket_base: Sequence[float]
    bucket_base_squares: Sequence[float]
    bucket_cross: Sequence[float]


class QualityUnitRow(NamedTuple):
    """In which hour a unit of a rollout was met, or had a bad event, and by which request first."""

    project: str
    rollout: str
    environment: str
    service: str
    metric: str
    hour: datetime
    unit: bytes
    revision: int
    request_id: bytes


class QualitySweptRow(NamedTuple):
    """How far the roll-up of a project is, or of one hour that lacks something."""

    project: str
    hour: datetime
    lacks: bool
    swept_to: datetime
    revision: int


class MigrationRow(NamedTuple):
    """One applied migration."""

    name: str
    checksum: str
    applied_at: datetime


TABLES: Final[Mapping[str, type[Any]]] = {
    "access_log": AccessRow,
    "api_keys": ApiKeyRow,
    "components": ComponentRow,
    "composites": CompositeRow,
    "contents": ContentRow,
    "deployments": DeploymentRow,
    "drift_episodes": DriftEpisodeRow,
    "drift_minutes": DriftMinuteRow,
    "erasures": ErasureRow,
    "eval_results": EvalResultRow,
    "evaluated_traces": EvaluatedTraceRow,
    "events": EventRow,
    "governance_events": GovernanceEventRow,
    "ingest_gaps": IngestGapRow,
    "lineage_edges": LineageEdgeRow,
    "model_prices": ModelPriceRow,
    "payloads": PayloadRow,
    "producer_checks": ProducerCheckRow,
    "producers": ProducerRow,
    "quality_hourly": QualityHourlyRow,
    "quality_swept": QualitySweptRow,
    "quality_units": QualityUnitRow,
    "quarantine": QuarantineRow,
    "registry_entries": RegistryEntryRow,
    "request_aliases": RequestAliasRow,
    "requests": RequestRow,
    "schema_migrations": MigrationRow,
    "scores": ScoreRow,
    "spans": SpanRow,
}

_REQUESTS: Final = frozenset({"requests"})

VIEWS: Final[Mapping[str, frozenset[str]]] = {
    "change_log": frozenset({"deployments", "drift_episodes", "requests", "scores"}),
    "deployment_log": frozenset({"deployments"}),
    "drift_log": frozenset({"drift_episodes"}),
    "eval_latest": frozenset({"eval_results"}),
    "index_usage": _REQUESTS,
    "request_calls": _REQUESTS,
    "requests_latest": _REQUESTS,
    "router_choices": _REQUESTS,
    "score_latest": frozenset({"scores"}),
    "scored_requests": frozenset({"requests", "scores"}),
    "verdict_log": frozenset({"governance_events"}),
    "version_cost_daily": frozenset({"quality_hourly"}),
    "version_latency_daily": _REQUESTS,
    "version_parts": frozenset({"composites"}),
    "version_quality_hourly": frozenset({"quality_hourly"}),
    "version_share": frozenset({"quality_hourly"}),
}
"""View -> the tables whose rows it shows, also through other views; each has a column ``project``.
Whoever may read all of these may read the view. ``schemas/views.md`` tells what they hold."""
