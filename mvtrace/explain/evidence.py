"""Everything stored about one request, as frozen values: what a reader fetches, `explain` judges.

In: nothing (plain values). Out: :class:`Evidence` and its parts. Times are Unix nanoseconds, ids
lower-case text. Nothing here is judged; the only derived facts are what a reader needs in order to
know which further rows to fetch (:attr:`Evidence.changes`, :func:`content_digests`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final, NamedTuple

from mvtrace.explain.ancestry import Ancestry
from mvtrace.explain.gaps import Gap, ProducerEnd
from mvtrace.explain.states import (
    Change,
    Manifest,
    State,
    compare,
    latest_state,
    parse_manifest,
    plain_facts,
    state_of,
)
from mvtrace.records import RequestRecord
from mvtrace.registry.deployments import Deployment, serving_at

_ANSWERING: Final = frozenset({"generation", "postprocess"})
"""Kinds of calls whose result is the answer: one of these from a cache is an answer from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRecord:
    """A request record as it is stored: its bytes first, then what they mean."""

    body: bytes
    digest: str
    """``sha256:<hex>`` as the store computed it on arrival."""
    revision: int
    received_at: int
    record: RequestRecord | None
    """None where this version cannot read the bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSpan:
    """One span, with its attributes as plain JSON values."""

    request_id: str
    span_id: str
    parent_span_id: str | None
    trace_id: str
    name: str
    kind: int
    started_at: int
    duration_ns: int
    status_code: int = 0
    status_message: str = ""
    service: str = ""
    environment: str = ""
    scope: str = ""
    composite_version: str | None = None
    arm: str | None = None
    operation: str | None = None
    provider: str | None = None
    model_requested: str | None = None
    model_served: str | None = None
    response_id: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    finish_reason: str | None = None
    conversation_id: str | None = None
    tool_name: str | None = None
    prompt_name: str | None = None
    prompt_version: str | None = None
    fingerprint: str | None = None
    seed: int | None = None
    sampling: Mapping[str, float] = field(default_factory=dict)
    documents: tuple[Mapping[str, Any], ...] = ()
    """What a retrieval found: ``id`` and ``score``."""
    error_type: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    events: tuple[Mapping[str, Any], ...] = ()
    links: tuple[Mapping[str, Any], ...] = ()
    dropped: int = 0
    """Attributes, events and links its maker dropped."""
    content_removed: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """A log record of the ``gen_ai.*`` conventions that belongs to the request."""

    time: int
    name: str
    span_id: str | None
    attributes: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class StoredComposite:
    """A composite version's row."""

    version: str
    name: str
    body: bytes
    labels: Mapping[str, str] = field(default_factory=dict)
    """Labels by ``kind/name``."""
    provenance: str = ""
    """JSON text: notes of where parts come from, by ``kind/name``."""

    @cached_property
    def manifest(self) -> Manifest | None:
        """What the body declares, or None where it declares nothing readable."""
        return parse_manifest(self.body)


class ContentCheck(NamedTuple):
    """One stored piece of content, hashed again where it lies."""

    recomputed: str
    size: int


class ContentReference(NamedTuple):
    """Where a component's body refers to content kept apart."""

    digest: str
    pieces: tuple[str, ...]
    """Digests of its pieces in order; a content in one piece has itself as its only one."""
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestHead:
    """The first line about a request."""

    request_id: str
    started_at: int
    service: str = ""
    environment: str = ""
    method: str | None = None
    route: str | None = None
    status_code: int | None = None
    outcome: str | None = None
    composite_version: str | None = None
    arm: str | None = None
    parent_request_id: str | None = None


class SharedId(NamedTuple):
    """Another id of the request that further requests carry too."""

    kind: str
    value: str
    request_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantineNote:
    """Something received about this request that was not let in."""

    subject: str
    """The request id, component digest or version it was about."""
    reason: str
    detail: str
    received_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredScore:
    """What somebody or something thought of the answer: the latest of one name and scorer."""

    name: str
    scorer: str
    """A digest, or ``undeclared:<source>/<name>``."""
    source: str
    value: float | None
    label: str | None
    scored_at: int
    """Unix nanoseconds."""
    revisions: int = 1
    """How often it was given."""
    of_eval: Mapping[str, str] | None = None
    """Of a result of an eval: the digests of its *suite* and *run*, and its *example*."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadNote:
    """That content of the request is kept, and how; never the content."""

    kind: str
    digest: str
    mode: str
    subject: str
    bytes: int
    is_cut: bool
    redactions: Mapping[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {**asdict(self), "redactions": dict(self.redactions)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureNote:
    """That the request's content was erased."""

    subject: str
    erased_at: int
    """Unix nanoseconds."""
    erased_by: str
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {**asdict(self), "erased_at": time_text(self.erased_at)}


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All of it; absent things are None or empty."""

    request_id: str
    record: StoredRecord | None = None
    spans: tuple[StoredSpan, ...] = ()
    spans_cut: bool = False
    """Whether more spans are stored than were fetched."""
    events: tuple[StoredEvent, ...] = ()
    united_ids: tuple[str, ...] = ()
    """Ids minted for other parts of the same trace, whose spans are among *spans*."""
    composites: Mapping[str, StoredComposite] = field(default_factory=dict)
    """By version: the request's, and the one that serves now."""
    components: Mapping[str, bytes] = field(default_factory=dict)
    """Bodies of the request's components by digest."""
    contents: Mapping[str, ContentCheck] = field(default_factory=dict)
    payloads: tuple[PayloadNote, ...] = ()
    erasures: tuple[ErasureNote, ...] = ()
    content_expired: bool = False
    """Whether it had texts that are kept for a time, and none is any more."""
    quarantine: tuple[QuarantineNote, ...] = ()
    shared_ids: tuple[SharedId, ...] = ()
    parent: RequestHead | None = None
    children: tuple[RequestHead, ...] = ()
    family: Mapping[str, RequestHead] = field(default_factory=dict)
    """By id: who called it, up to the first, and what it called, in turn."""
    family_cut: bool = False
    """Whether there may be more of them than were fetched."""
    origins: tuple[tuple[str, Evidence | None], ...] = ()
    """Where a cached answer came from, nearest first; the last is what really spoke."""
    recent: tuple[RequestRecord, ...] = ()
    """Newest finished records of the same service and environment, newest first."""
    gaps: tuple[Gap, ...] = ()
    """Records of the same producer that are missing near this one."""
    deployments: tuple[Deployment, ...] = ()
    """All that was decided about its service in its environment, also since."""
    scores: tuple[StoredScore, ...] = ()
    ancestry: Ancestry | None = None
    """What its version was made from, where anybody recorded any of that."""
    producer_end: ProducerEnd | None = None
    """How the producer ended, where the request did not finish before."""
    first_seen: Mapping[str, int] = field(default_factory=dict)
    """When a request first ran with a digest (or served model name), after this one."""

    @property
    def own(self) -> RequestRecord | None:
        """The request's record, where one is stored that can be read."""
        return self.record.record if self.record else None

    @property
    def composite_version(self) -> str | None:
        """The version the record names, or its spans were stamped with; else the deployed one."""
        return self.named_version or (self.deployed.composite if self.deployed else None)

    @property
    def named_version(self) -> str | None:
        """The version the record names, else the one its spans were stamped with."""
        if self.own:
            return self.own.composite_version
        stamped = [span.composite_version for span in self.spans if span.composite_version]
        return stamped[0] if stamped else None

    @property
    def named_origin(self) -> str | None:
        """The request whose state made the answer, as the record names it, if a cache gave it."""
        if self.own is None:
            return None
        answering = [call for call in self.own.calls if call.kind in _ANSWERING]
        from_calls = [call.cache_origin for call in answering if call.cache_origin]
        return self.own.cache_origin or (from_calls[-1] if from_calls else None)

    @property
    def started_at(self) -> int | None:
        """When the request began, Unix nanoseconds."""
        if self.own:
            return self.own.started_at
        return min((span.started_at for span in self.spans), default=None)

    @property
    def arm(self) -> str | None:
        """The side of a rollout that served it, where something names one."""
        if self.own:
            return self.own.arm
        return next((span.arm for span in self.spans if span.arm), None)

    @cached_property
    def deployed(self) -> Deployment | None:
        """What had put a version there to serve, when the request began."""
        if self.started_at is None or not self.deployments:
            return None
        return serving_at(self.deployments, self.started_at).of_arm(self.arm)

    @cached_property
    def deployed_now(self) -> Deployment | None:
        """What put the version there that serves now, as far as anybody said."""
        return serving_at(self.deployments).of_arm(self.arm) if self.deployments else None

    @property
    def composite(self) -> StoredComposite | None:
        """The registered composite of this request."""
        return self.composites.get(self.composite_version or "")

    @cached_property
    def newest(self) -> RequestRecord | None:
        """The newest record to compare with: of the same arm where there is one.

        Where a version is deployed it is one of that version, or none.
        """
        deployed, arm = self.deployed_now, self.arm
        recent = [
            record
            for record in self.recent
            if deployed is None or record.composite_version == deployed.composite
        ]
        same = [record for record in recent if record.arm == arm]
        return next(iter(same or recent), None)

    @property
    def version_now(self) -> str | None:
        """The composite version that serves now: the deployed one, else the newest request's."""
        if self.deployed_now is not None:
            return self.deployed_now.composite
        return self.newest.composite_version if self.newest else None

    @cached_property
    def state_then(self) -> State:
        """The state this request shows."""
        manifest = self.composite.manifest if self.composite else None
        return state_of(self.own, manifest)

    @cached_property
    def state_now(self) -> State | None:
        """The state that serves this service and environment now, or None if nothing newer is."""
        newest = self.newest
        if newest is None and self.deployed_now is None:
            return None
        if newest is not None and newest.request_id == self.request_id:
            return None
        composite = self.composites.get(self.version_now or "")
        alike = [
            record
            for record in self.recent
            if newest is not None
            and record.composite_version == newest.composite_version
            and record.arm == newest.arm
        ]
        return latest_state(alike, composite.manifest if composite else None)

    @cached_property
    def changes(self) -> tuple[Change, ...]:
        """What differs between this request's state and what serves now."""
        return compare(self.state_then, self.state_now) if self.state_now else ()


def own_head(evidence: Evidence) -> RequestHead:
    """Return the first line about the request itself."""
    record = evidence.own
    if record is None:
        return RequestHead(request_id=evidence.request_id, started_at=0)
    return RequestHead(
        request_id=evidence.request_id,
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


def time_text(unix_nano: int | None) -> str | None:
    """Return Unix nanoseconds as ISO 8601 in UTC with microseconds."""
    if unix_nano is None:
        return None
    moment = datetime.fromtimestamp(unix_nano // 1_000_000_000, UTC)
    micros = unix_nano % 1_000_000_000 // 1000
    return f"{moment.replace(microsecond=micros, tzinfo=None).isoformat(timespec='microseconds')}Z"


def content_references(body: bytes) -> Iterator[ContentReference]:
    """Yield every content that a component's *body* refers to, in no particular order."""
    stack: list[Any] = [plain_facts(body)]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            reference = _reference(value)
            if reference:
                yield reference
            else:
                stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(value)


def content_digests(bodies: Mapping[str, bytes]) -> tuple[str, ...]:
    """Return the digests of all content pieces that *bodies* refer to, each once."""
    return tuple(
        dict.fromkeys(
            piece
            for body in bodies.values()
            for reference in content_references(body)
            for piece in reference.pieces
        )
    )


def _reference(value: Mapping[str, Any]) -> ContentReference | None:
    """Return *value* as a content reference: ``digest``, ``bytes``, maybe ``pieces``, no more."""
    if value.keys() not in ({"digest", "bytes"}, {"digest", "bytes", "pieces"}):
        return None
    digest, size, pieces = value["digest"], value["bytes"], value.get("pieces")
    if not isinstance(digest, str) or not isinstance(size, int):
        return None
    named = pieces if isinstance(pieces, list) and pieces else [digest]
    return ContentReference(digest, tuple(str(piece) for piece in named), size)
