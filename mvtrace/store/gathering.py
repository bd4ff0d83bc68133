"""Gather the evidence of one request: its record and spans, then what these name.

In: a request id. Out: :class:`Evidence`, or None where nothing is stored under it. Each step is one
point query; what a step needs decides the order. Which request is meant is the reader's to find.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from mvtrace.errors import StatementFailedError
from mvtrace.explain.evidence import (
    ErasureNote,
    Evidence,
    PayloadNote,
    QuarantineNote,
    RequestHead,
    SharedId,
    StoredEvent,
    StoredScore,
    StoredSpan,
    content_digests,
    own_head,
)
from mvtrace.explain.gaps import Gap, ProducerEnd
from mvtrace.ids import unix_ms_of
from mvtrace.records import RequestRecord
from mvtrace.registry.deployments import Deployment
from mvtrace.semconv import (
    ALIAS_RESPONSE_ID,
    ALIAS_SUBJECT,
    ALIAS_TRACE_ID,
    EVENT_COMPONENT,
    EVENT_COMPOSITE,
    EVENT_CONTENT,
)
from mvtrace.store import rows
from mvtrace.store.ancestors import Ancestors
from mvtrace.store.called import Called
from mvtrace.store.deployments import UNKNOWN_TABLE, Deployments
from mvtrace.store.family import Families
from mvtrace.store.gaps import Gaps
from mvtrace.store.kept_texts import had_texts
from mvtrace.store.memory import Memory
from mvtrace.store.registry import Registry
from mvtrace.store.request_ids import Alias, as_request_id, hexadecimal, sought
from mvtrace.store.siphash import siphash64
from mvtrace.store.span_rows import stored_spans
from mvtrace.store.statements import Statements

MAX_SPANS: Final = 2_000
MAX_HOPS: Final = 8
"""How far an answer made from a cached answer made from a cached answer is followed."""

MAX_RELATED: Final = 200
"""Requests of one trace that are looked at."""
SHARED_DAYS: Final = 7
"""How far from a request others that share an id with it are looked for."""
MAX_SHARED: Final = 400
"""Rows that share an id with a request; the ids of its trace are looked at apart beyond that."""


_WORKERS: Final = ThreadPoolExecutor(4, thread_name_prefix="mvtrace-read")
"""Runs queries beside one another; tasks are single look-ups and never wait for each other."""


class _Spans(NamedTuple):
    """The spans under one id, and whether more are stored than were fetched."""

    spans: tuple[StoredSpan, ...]
    is_cut: bool


class Gathering:
    """Fetches evidence, one request at a time; safe for several threads."""

    def __init__(self, statements: Statements, gaps: Gaps, memory: Memory) -> None:
        self._run = statements.run
        self._gaps = gaps
        self._memory = memory
        self._called = Called(statements)
        self._registry = Registry(statements)
        self._families = Families(statements)
        self._deployments = Deployments(statements)
        self._ancestors = Ancestors(statements, memory)

    def evidence(self, request_id: str) -> Evidence | None:
        """Return everything stored about *request_id*, or None where nothing is."""
        spans_later = _WORKERS.submit(self._spans, request_id)
        events_later = _WORKERS.submit(self._events, request_id)
        evals_later = _WORKERS.submit(self._evals, request_id)
        record, children = self._called.with_record(request_id)
        core = Evidence(request_id=request_id, record=record)
        if core.own is None:  # its spans have to tell what else to look for
            core = _with_spans(core, spans_later.result())
        if core.record is None and not core.spans:
            return None
        shared_later = _WORKERS.submit(self._shared, core)
        deployments_later = _WORKERS.submit(self._deployments_of, core)
        recent_later = _WORKERS.submit(self._recent, core)
        gaps_later = _WORKERS.submit(self._gaps_near, core)
        if core.own is not None:
            children += self._called.later(request_id, core.own.ended_at)
        core = _with_spans(core, spans_later.result())
        core = dataclasses.replace(core, deployments=deployments_later.result())
        ancestry_later = _WORKERS.submit(self._ancestors.of, core.composite_version)
        found = dataclasses.replace(
            self._with_registry(core),
            events=events_later.result(),
            **self._content(core),
            children=children,
            recent=recent_later.result(),
        )
        found = self._with_now(dataclasses.replace(found, quarantine=self._quarantined(found)))
        shared = shared_later.result()
        found, heads = self._united(found, shared)
        found = self._with_family(found, heads)
        found = dataclasses.replace(
            found,
            shared_ids=_unrelated(shared, found, heads),
            origins=self._origins(found),
            gaps=gaps_later.result(),
            ancestry=ancestry_later.result(),
            producer_end=self._producer_end(core),
            scores=self._scores([found.request_id, *found.united_ids]) + evals_later.result(),
        )
        if found.changes:
            found = dataclasses.replace(found, first_seen=self._first_seen(found))
        return found

    def heads(self, ids: Iterable[str]) -> dict[str, RequestHead]:
        """Return the first lines about those of *ids* that have a record, newest first."""
        wanted = [hexadecimal(one) for one in ids]
        if not wanted:
            return {}
        return rows.request_heads(self._run("request_heads", request_ids=wanted).rows)

    def aliased(self, aliases: Iterable[Alias]) -> dict[Alias, list[str]]:
        """Return the requests that carry each of *aliases*, newest first; no kind means any."""
        found: dict[Alias, list[str]] = {}
        for alias in aliases:
            carried = self._run("aliased_requests", hash=siphash64(alias.value)).rows
            ids = {
                rows.id_text(raw)
                for kind, value, raw in carried
                if value == alias.value and alias.kind in ("", kind)
            }
            if ids:
                found[alias] = sorted(ids, reverse=True)
        return found

    def _core(self, request_id: str) -> Evidence | None:
        """Return record and spans alone."""
        record_later = _WORKERS.submit(self._called.record, request_id)
        spans = self._spans(request_id)
        record = record_later.result()
        if record is None and not spans.spans:
            return None
        return _with_spans(Evidence(request_id=request_id, record=record), spans)

    def _spans(self, request_id: str) -> _Spans:
        limit = 2 * MAX_SPANS  # until they are merged, spans sent twice have two rows
        found = self._run("request_spans", request_id=hexadecimal(request_id), limit=limit)
        spans = stored_spans(found.rows, request_id)
        is_cut = len(spans) > MAX_SPANS or len(found.rows) == limit
        return _Spans(tuple(spans[:MAX_SPANS]), is_cut)

    def _shared(self, found: Evidence) -> dict[Alias, list[str]]:
        """Return requests of about its time that carry the request's other ids, newest first."""
        own = _other_ids(found)
        if not own:
            return {}
        asked = {"months": months_around(found.request_id), "limit": MAX_SHARED}
        hashes = [siphash64(alias.value) for alias in own]
        carried = self._run("shared_aliases", hashes=hashes, **asked).rows
        if len(carried) == MAX_SHARED:  # an id that very many carry may have crowded out the trace
            traces = [siphash64(alias.value) for alias in own if alias.kind == ALIAS_TRACE_ID]
            first = self._run("shared_aliases", hashes=traces, **asked).rows
            carried = [*first, *carried]
        shared: dict[Alias, set[str]] = {}
        for kind, value, raw in carried:
            if Alias(kind, value) in own:
                shared.setdefault(Alias(kind, value), set()).add(rows.id_text(raw))
        return {
            alias: sorted(others, reverse=True)
            for alias, ids in shared.items()
            if (others := ids - {found.request_id})
        }

    def _recent(self, found: Evidence) -> tuple[RequestRecord, ...]:
        """Return the newest records of the same service and environment, from this request on."""
        record = found.own
        if record is None:
            return ()
        return rows.telling_records(
            self._memory.newest_records(
                record.service or "", record.environment or "", found.request_id
            )
        )

    def _deployments_of(self, found: Evidence) -> tuple[Deployment, ...]:
        """Return all decisions about the request's service in its environment."""
        if not self._memory.may_hold("deployments"):
            return ()
        record = found.own
        named = (record.service, record.environment) if record else _place_of(found.spans)
        service, environment = named
        if not service or not environment:
            return ()  # nobody can have decided about it
        return self._deployments.of(service, environment)

    def _scores(self, ids: list[str]) -> tuple[StoredScore, ...]:
        if not self._memory.may_hold("scores"):
            return ()
        try:
            found = self._run("request_scores", request_ids=[hexadecimal(one) for one in ids])
        except StatementFailedError as error:
            if error.store_code == UNKNOWN_TABLE:
                return ()
            raise
        return rows.stored_scores(found.rows)

    def _evals(self, request_id: str) -> tuple[StoredScore, ...]:
        """Return the results of evals that name the request."""
        if not self._memory.may_hold("eval_results"):
            return ()
        try:
            found = self._run("request_evals", request_ids=[hexadecimal(request_id)])
        except StatementFailedError as error:
            if error.store_code == UNKNOWN_TABLE:
                return ()
            raise
        return rows.eval_scores(found.rows)

    def _gaps_near(self, found: Evidence) -> tuple[Gap, ...]:
        record = found.own
        if record is None:
            return ()
        return self._gaps.near(record.producer_id, unix_ms_of(found.request_id))

    def _producer_end(self, found: Evidence) -> ProducerEnd | None:
        """Return how the producer of a request ended that has not finished."""
        record = found.own
        if record is None or record.state != "started":
            return None
        return self._gaps.end_of(record.producer_id)

    def _with_registry(self, found: Evidence) -> Evidence:
        """Return *found* with its composite and components, content hashed again."""
        observed = found.state_then.observed.values()
        parts = self._registry.parts(found.composite_version, observed)
        return dataclasses.replace(
            found,
            composites=parts.composites,
            components=parts.components,
            contents=parts.contents,
        )

    def _with_now(self, found: Evidence) -> Evidence:
        """Return *found* with the composite that serves now, if that is another one."""
        version = found.version_now
        if version is None or version in found.composites:
            return found
        now = self._registry.parts(version)
        return dataclasses.replace(found, composites={**now.composites, **found.composites})

    def _united(
        self, found: Evidence, shared: Mapping[Alias, list[str]]
    ) -> tuple[Evidence, dict[str, RequestHead]]:
        """Return *found* with the spans of ids that were minted for parts of its trace.

        Also the first lines about the requests of its trace, and about the one that called it.
        """
        in_trace = [one for key in shared if key.kind == ALIAS_TRACE_ID for one in shared[key]]
        record = found.own
        parent = as_request_id((record.parent_request_id or "") if record else "")
        heads = self.heads([*in_trace[:MAX_RELATED], *([parent] if parent else [])])
        united = tuple(one for one in dict.fromkeys(in_trace[:MAX_RELATED]) if one not in heads)
        more = [self._spans(one) for one in united]
        return (
            dataclasses.replace(
                found,
                united_ids=united,
                spans=(*found.spans, *(span for one in more for span in one.spans)),
                spans_cut=found.spans_cut or any(one.is_cut for one in more),
            ),
            heads,
        )

    def _with_family(self, found: Evidence, heads: Mapping[str, RequestHead]) -> Evidence:
        """Return *found* with its tree: *heads* are what is known of its trace and its parent."""
        own = own_head(found)
        parent = own.parent_request_id or ""
        known = {child.request_id: child for child in found.children} | dict(heads)
        ended_at = found.own.ended_at if found.own else None
        family = self._families.of(own, ended_at, known.values(), [parent])
        return dataclasses.replace(
            found, parent=heads.get(parent), family=family.members, family_cut=family.is_cut
        )

    def _events(self, request_id: str) -> tuple[StoredEvent, ...]:
        if not self._memory.may_hold("events"):
            return ()
        found = self._run("request_events", request_id=hexadecimal(request_id))
        events = [rows.stored_event(row) for row in found.rows]
        return tuple(sorted(events, key=lambda event: event.time))

    def _content(self, found: Evidence) -> dict[str, Any]:
        """Return what content is kept or was erased; most requests' mode says that none can be."""
        record = found.own
        mode = record.capture.content_mode if record and record.capture else None
        is_named = record is not None and any(a.kind == ALIAS_SUBJECT for a in record.aliases)
        if mode == "digest" and not is_named:
            return {}
        asked = {"request_id": hexadecimal(found.request_id)}
        payloads = self._run("request_payloads", **asked).dicts() if mode != "digest" else ()
        kept = tuple(PayloadNote(**row) for row in payloads)
        erased = tuple(ErasureNote(**row) for row in self._run("request_erasures", **asked).dicts())
        return {
            "payloads": kept,
            "erasures": erased,
            "content_expired": not (kept or erased) and had_texts(record),
        }

    def _quarantined(self, found: Evidence) -> tuple[QuarantineNote, ...]:
        """Return what was turned away about the request, its version and what these name."""
        if not self._memory.may_hold("quarantine"):
            return ()
        result = self._run("quarantined", subjects=_quarantine_subjects(found))
        return tuple(rows.quarantine_note(row) for row in result.rows)

    def _origins(self, found: Evidence) -> tuple[tuple[str, Evidence | None], ...]:
        """Follow where a cached answer came from, up to the request that really spoke."""
        hops: list[tuple[str, Evidence | None]] = []
        seen = {found.request_id}
        origin = found.named_origin
        while origin and origin not in seen and len(hops) < MAX_HOPS:
            seen.add(origin)
            named = as_request_id(origin) or self._who_got(origin, seen)
            core = self._core(named) if named else None
            hops.append((named or origin, self._with_registry(core) if core else None))
            origin = core.named_origin if core else None
        return tuple(hops)

    def _who_got(self, origin: str, apart_from: set[str]) -> str | None:
        """Return the one request that got the response *origin* names; None where that is unclear.

        A cache of a library keeps a provider's response, and with it the provider's id alone.
        """
        if not origin.startswith(f"{ALIAS_RESPONSE_ID}:"):
            return None  # what names no request is not looked for
        carried = self.aliased(sought(origin).aliases).values()
        got = {one for ids in carried for one in ids} - apart_from
        return got.pop() if len(got) == 1 else None

    def _first_seen(self, found: Evidence) -> dict[str, int]:
        """Return when a later request first ran with each digest or name that is new."""
        record = found.own
        values = sorted({change.now for change in found.changes if change.now})
        if record is None or not values:
            return {}
        versions: dict[str, list[str]] = dict(self._run("versions_with", digests=values).rows)
        result = self._run(
            "first_seen",
            request_id=hexadecimal(found.request_id),
            service=record.service or "",
            environment=record.environment or "",
            versions=list(versions),
            values=values,
        )
        first: dict[str, int] = {}
        for version, snapshots, served, seen in result.rows:  # the earliest first
            for value in (*versions.get(version or "", ()), *snapshots, *served):
                first.setdefault(value, seen)
        return {value: first[value] for value in values if value in first}


def months_around(request_id: str) -> list[str]:
    """Return the partitions of the months within SHARED_DAYS of a request: ``["202608"]``."""
    at = datetime.fromtimestamp(unix_ms_of(request_id) / 1000, UTC)
    days = timedelta(days=SHARED_DAYS)
    return sorted({f"{one:%Y%m}" for one in (at - days, at, at + days)})


def _place_of(spans: Iterable[StoredSpan]) -> tuple[str, str]:
    """Return the service and environment that the spans of a request without a record name."""
    named = [(span.service, span.environment) for span in spans if span.service]
    return named[0] if named else ("", "")


def _with_spans(found: Evidence, fetched: _Spans) -> Evidence:
    return dataclasses.replace(found, spans=fetched.spans, spans_cut=fetched.is_cut)


def _other_ids(found: Evidence) -> list[Alias]:
    """Return the request's other ids: those of its record, else the traces of its spans."""
    record = found.own
    if record is None:
        traces = dict.fromkeys(span.trace_id for span in found.spans)
        return [Alias(ALIAS_TRACE_ID, trace_id) for trace_id in traces]
    own = [Alias(ALIAS_TRACE_ID, record.trace_id)] if record.trace_id else []
    responses = {call.response_id for call in record.calls if call.response_id}
    return [
        *own,
        *(Alias(alias.kind, alias.value) for alias in record.aliases),
        *(Alias(ALIAS_RESPONSE_ID, one) for one in sorted(responses)),
    ]


def _unrelated(
    shared: Mapping[Alias, list[str]], found: Evidence, heads: Mapping[str, RequestHead]
) -> tuple[SharedId, ...]:
    """Return the ids this request shares with requests that it neither called nor was called by."""
    record = found.own
    family = {child.request_id for child in found.children} | set(found.united_ids)
    family |= {one for one, head in heads.items() if head.parent_request_id == found.request_id}
    if record and record.parent_request_id:
        family.add(record.parent_request_id)
    others = {key: [one for one in ids if one not in family] for key, ids in shared.items()}
    return tuple(SharedId(*key, tuple(ids)) for key, ids in others.items() if ids)


def _quarantine_subjects(found: Evidence) -> list[str]:
    """Return what the quarantine calls this request, its version and what these name."""
    declared = (found.state_then.declared or {}).values()
    return [
        hexadecimal(found.request_id),
        *(f"{EVENT_COMPOSITE} {version}" for version in (found.composite_version,) if version),
        *(f"{EVENT_COMPONENT} {digest}" for digest in declared),
        *(f"{EVENT_CONTENT} {digest}" for digest in content_digests(found.components)),
    ]
