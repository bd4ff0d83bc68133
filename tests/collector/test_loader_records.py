"""Records and registry events on their way into the store: what becomes evidence and what never."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from oracle import Batch, write_segment

from mvtrace.digest import (
    COMPONENT_DOMAIN,
    COMPOSITE_DOMAIN,
    CONTENT_DOMAIN,
    RECORD_DOMAIN,
    canonical_bytes,
    digest_of,
)
from mvtrace.ids import format_uuid7, new_request_id
from mvtrace.otlp import LogEvent, Scope, encode_request, encode_resource, encode_scope_logs
from mvtrace.records import (
    Alias,
    Assignment,
    Call,
    Drift,
    IndexSnapshot,
    RequestRecord,
    RouterDecision,
    UnixNano,
    Usage,
)
from mvtrace.store import Store
from mvtrace.wire import event_of
from mvtrace_collector.loader import load_segment

NOW_MS = time.time_ns() // 10**6
PRODUCER = "00000000-0000-4000-8000-00000000000a"
OTHER_PRODUCER = "00000000-0000-4000-8000-00000000000b"


def _batch(*events: LogEvent, project: str = "default") -> Batch:
    body = encode_request(encode_resource({}), [encode_scope_logs(Scope("mvtrace"), events)])
    return Batch(ExportLogsServiceRequest.FromString(body), NOW_MS, project)


def _record(**fields: Any) -> RequestRecord:
    given: dict[str, Any] = {
        "request_id": new_request_id(),
        "revision": 2,
        "state": "finished",
        "producer_id": PRODUCER,
        "sequence": 7,
        "started_at": UnixNano(NOW_MS * 10**6),
        **fields,
    }
    return RequestRecord(**given)


def _load(store: Store, tmp_path: Path, *batches: Batch) -> dict[str, int]:
    path = tmp_path / str(time.time_ns())
    return dict(load_segment(store, write_segment(path, batches)))


def _records(store: Store) -> list[str]:
    return [
        row[0] for row in store.query("SELECT record FROM requests FINAL ORDER BY request_id").rows
    ]


def _refusals(store: Store) -> list[tuple[str, str]]:
    return store.query("SELECT reason, detail FROM quarantine ORDER BY detail").rows


def test_record_is_stored_byte_for_byte_with_its_columns(store: Store, tmp_path: Path) -> None:
    """
    The bytes are untouched, present values are in the columns, and zero is not absent.
    """
    record = _record(
        service="shop",
        environment="prod",
        route="/ask",
        method="POST",
        protocol="http",
        trace_id="a" * 32,
        span_id="b" * 16,
        status_code=0,
        outcome="ok",
        ended_at=UnixNano(NOW_MS * 10**6 + 42),
        first_byte_at=UnixNano(NOW_MS * 10**6),
        composite_version="c" * 64,
        composite_name="",
        arm="canary",
        assignment=Assignment(rollout="r", unit="ab" * 15 + "00", unit_kind="user", share=0.05),
        conversation_id="é\x00",
        aliases=(Alias(kind="x-request-id", value="r-1"),),
        router_decisions=(RouterDecision(name="route", chosen="small"),),
        index_snapshots=(IndexSnapshot(name="faq", digest="sha256:1"),),
        calls=(
            Call(
                kind="generation",
                name="a",
                model_requested="m",
                model_served="m-1",
                response_id="resp-1",
                finish_reason="stop",
                usage=Usage(input_tokens=0, output_tokens=5),
            ),
            Call(kind="generation", name="b", model_requested="m", usage=Usage(input_tokens=3)),
            Call(kind="tool", name="c"),
        ),
        drift=(Drift(kind="index", name="faq", what="digest"),),
    )

    rows = _load(store, tmp_path, _batch(event_of(record)))

    assert rows == {"requests": 1}
    assert _records(store) == [record.to_bytes().decode()]
    row = next(
        store.query(
            "SELECT *, request_id_text, trace_id_hex, toUnixTimestamp64Nano(started_at) AS started "
            "FROM requests"
        ).dicts()
    )
    digest = hashlib.sha256(RECORD_DOMAIN + record.to_bytes()).digest()
    assert {
        key: row[key]
        for key in row
        if key
        not in (
            "record",
            "received_at",
            "ended_at",
            "started_at",
            "request_id",
            "producer_id",
            "span_id",
            "trace_id",
        )
    } == {
        "project": "default",
        "revision": 2,
        "record_digest": digest,
        "sequence": 7,
        "state": "finished",
        "outcome": "ok",
        "duration_ns": 42,
        "first_byte_ns": 0,
        "status_code": 0,
        "error_type": None,
        "service": "shop",
        "environment": "prod",
        "protocol": "http",
        "method": "POST",
        "route": "/ask",
        "parent_request_id": None,
        "conversation_id": "é\x00",
        "composite_version": "c" * 64,
        "composite_name": "",
        "arm": "canary",
        "rollout": "r",
        "unit": bytes.fromhex("ab" * 15 + "00"),
        "planned_share": 0.05,
        "models_requested": ["m"],
        "models_served": ["m-1"],
        "index_snapshots": ["sha256:1"],
        "routes_chosen": ["small"],
        "finish_reasons": ["stop"],
        "calls": 3,
        "input_tokens": 3,
        "output_tokens": 5,
        "drift": 1,
        "request_id_text": record.request_id,
        "trace_id_hex": "a" * 32,
        "started": NOW_MS * 10**6,
    }
    aliases = store.query("SELECT kind, alias FROM request_aliases ORDER BY kind").rows
    assert aliases == [("response_id", "resp-1"), ("trace_id", "a" * 32), ("x-request-id", "r-1")]


def test_what_a_record_lacks_is_null(store: Store, tmp_path: Path) -> None:
    """
    Absent facts are NULL, not zero and not empty.
    """
    _load(store, tmp_path, _batch(event_of(_record(state="started", revision=1))))

    rows = store.query(
        "SELECT outcome, ended_at, duration_ns, first_byte_ns, status_code, error_type, method, route, "
        "trace_id, span_id, parent_request_id, conversation_id, composite_version, composite_name, "
        "arm, input_tokens, output_tokens FROM requests"
    ).rows
    assert rows == [(None,) * 17]


def test_later_revision_replaces_and_same_bytes_change_nothing(
    store: Store, tmp_path: Path
) -> None:
    """
    Revisions of one producer follow one another; the same event twice is one row.
    """
    started = _record(revision=1, state="started")
    finished = _record(request_id=started.request_id, ended_at=UnixNano(NOW_MS * 10**6 + 1))

    _load(store, tmp_path, _batch(event_of(started)))
    _load(store, tmp_path, _batch(event_of(finished), event_of(finished)))
    _load(store, tmp_path, _batch(event_of(started)), _batch(event_of(finished)))

    assert _records(store) == [finished.to_bytes().decode()]
    assert _refusals(store) == []


@pytest.mark.parametrize("together", [True, False])
def test_forged_record_is_quarantined_and_evidence_stays(
    together: bool, store: Store, tmp_path: Path
) -> None:
    """
    Neither another producer nor other bytes of one revision replace what was there first.
    """
    first = _record(service="shop")
    by_other = _record(request_id=first.request_id, producer_id=OTHER_PRODUCER, revision=9)
    rewritten = _record(request_id=first.request_id, service="shop", status_code=500)
    batches = [_batch(event_of(record)) for record in (first, by_other, rewritten)]

    if together:
        _load(store, tmp_path, *batches)
    else:
        for batch in batches:
            _load(store, tmp_path, batch)

    assert _records(store) == [first.to_bytes().decode()]
    assert _refusals(store) == [
        (
            "conflicting-record",
            "producer 0000000000004000800000000000000b sent a record of a request of producer 0000000000004000800000000000000a",
        ),
        ("conflicting-record", "revision 2 is there with other bytes"),
    ]
    bodies = {row[0] for row in store.query("SELECT body FROM quarantine").rows}
    assert bodies == {by_other.to_bytes().decode(), rewritten.to_bytes().decode()}


def test_ids_and_digests_that_end_in_zero_bytes_are_compared_whole(
    store: Store, tmp_path: Path
) -> None:
    """
    The engine drops zero bytes at the end of some texts; no record is refused or let in by that.
    """
    own = {
        "request_id": new_request_id()[:-4] + "0000",
        "producer_id": "00000000-0000-4000-8000-00000000aa00",
    }
    tries = (_record(**own, sequence=number) for number in range(10_000))
    record = next(
        record
        for record in tries
        if not hashlib.sha256(RECORD_DOMAIN + record.to_bytes()).digest()[-1]
    )
    forged = _record(request_id=record.request_id, producer_id=own["producer_id"][:-2] + "01")

    for sent in (record, record, forged):
        _load(store, tmp_path, _batch(event_of(sent)))

    assert _records(store) == [record.to_bytes().decode()]
    assert [reason for reason, _ in _refusals(store)] == ["conflicting-record"]


def test_same_id_in_another_project_is_another_request(store: Store, tmp_path: Path) -> None:
    """
    One project cannot be kept from its record by another.
    """
    one = _record(service="one")
    two = _record(request_id=one.request_id, producer_id=OTHER_PRODUCER, service="two")

    _load(store, tmp_path, _batch(event_of(one)), _batch(event_of(two), project="other"))

    assert store.query("SELECT project, service FROM requests ORDER BY project").rows == [
        ("default", "one"),
        ("other", "two"),
    ]


_GOOD = json.loads(_record().to_bytes())


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ("{", "the body is no JSON object"),
        ("[]", "the body is no JSON object"),
        (json.dumps({**_GOOD, "schema_version": 0}), "schema_version is missing"),
        (json.dumps({**_GOOD, "request_id": 'x"y'}), 'request_id is "x\\"y", not a UUIDv7'),
        (
            json.dumps({**_GOOD, "request_id": format_uuid7(5, 6)}),
            f"the time in request_id {format_uuid7(5, 6)} cannot be",
        ),
        (json.dumps({**_GOOD, "revision": 0}), "revision is missing"),
        (json.dumps({**_GOOD, "producer_id": "me"}), 'producer_id is "me", not a UUID'),
        (json.dumps({k: v for k, v in _GOOD.items() if k != "sequence"}), "sequence is missing"),
        (json.dumps({**_GOOD, "state": "done"}), "state is neither started nor finished"),
        (json.dumps({**_GOOD, "started_at": "yesterday"}), "started_at is no time"),
    ],
)
def test_body_that_is_no_record_is_quarantined(
    body: str, detail: str, store: Store, tmp_path: Path
) -> None:
    """
    A request event without what identifies it never becomes a row of requests.
    """
    rows = _load(store, tmp_path, _batch(LogEvent("mvtrace.request", 1, body, {})))

    assert rows["quarantine"] == 1
    assert _records(store) == []
    assert _refusals(store) == [("not-a-record", detail)]
    assert store.query("SELECT body FROM quarantine").rows == [(body,)]


def _component(name: str = "m") -> LogEvent:
    body = canonical_bytes({"kind": "model", "facts": {"name": name}})
    attributes = {
        "mvtrace.component.digest": digest_of(COMPONENT_DOMAIN, body),
        "mvtrace.component.kind": "model",
        "mvtrace.component.name": name,
    }
    return LogEvent("mvtrace.component", 1, body.decode(), attributes)


def _composite(label: str) -> LogEvent:
    manifest = canonical_bytes(
        {"components": [{"kind": "model", "name": "m", "digest": "sha256:1"}], "edges": []}
    )
    attributes = {
        "mvtrace.composite.version": digest_of(COMPOSITE_DOMAIN, manifest).removeprefix("sha256:"),
        "mvtrace.composite.name": "shop",
        "mvtrace.composite.labels": json.dumps({"model/m": label}),
    }
    return LogEvent("mvtrace.composite", 1, manifest.decode(), attributes)


def test_registry_rows_are_stored_once(store: Store, tmp_path: Path) -> None:
    """
    Component, composite and content are found by their digests; the newest label is shown.
    """
    text = "Answer {question}\x00\n"
    content = LogEvent(
        "mvtrace.content",
        1,
        text,
        {"mvtrace.content.digest": digest_of(CONTENT_DOMAIN, text.encode())},
    )

    for label in ("old", "new", "new"):
        rows = _load(store, tmp_path, _batch(content, _component(), _composite(label)))
        assert rows == {"contents": 1, "components": 1, "composites": 1}

    assert store.query("SELECT kind, digest FROM components").rows == [
        ("model", _component().attributes["mvtrace.component.digest"])
    ]
    assert store.query("SELECT content FROM contents").rows == [(text,)]
    composites = store.query(
        "SELECT version, name, labels, component_kinds, component_names, component_digests "
        "FROM composites FINAL"
    ).rows
    version = _composite("new").attributes["mvtrace.composite.version"]
    assert composites == [(version, "shop", {"model/m": "new"}, ["model"], ["m"], ["sha256:1"])]


def test_registry_event_with_a_wrong_digest_is_quarantined(store: Store, tmp_path: Path) -> None:
    """
    A row enters the registry only if its digest recomputes from its bytes.
    """
    right = _component()
    forged = right._replace(body=right.body.replace('"m"', '"n"'))
    actual = digest_of(COMPONENT_DOMAIN, forged.body.encode())

    rows = _load(store, tmp_path, _batch(forged, _component()))

    assert rows == {"components": 1, "quarantine": 1}
    assert store.query("SELECT body FROM components").rows == [(right.body,)]
    claimed = right.attributes["mvtrace.component.digest"]
    assert _refusals(store) == [
        ("digest-mismatch", f"the event says {claimed}, its bytes give {actual}")
    ]


def test_span_of_a_recorded_trace_joins_its_request(store: Store, tmp_path: Path) -> None:
    """
    A foreign span goes to the request whose record names its trace, in one segment or a later one.
    """
    record = _record(trace_id="ab" * 16)
    foreign = ExportTraceServiceRequest()
    foreign.resource_spans.add().scope_spans.add().spans.add(
        trace_id=b"\xab" * 16, span_id=b"1" * 8, start_time_unix_nano=5
    )

    _load(store, tmp_path, Batch(foreign, NOW_MS), _batch(event_of(record)))

    assert store.query("SELECT request_id_text, flags FROM spans").rows == [
        (record.request_id, ["start-time-clamped", "no-end-time"])
    ]


def test_gen_ai_events_are_stored_without_content(store: Store, tmp_path: Path) -> None:
    """
    Facts of a gen_ai event keep their types; bodies and messages are named, not kept.
    """
    details = LogEvent(
        "gen_ai.client.inference.operation.details",
        NOW_MS * 10**6,
        "secret",
        {
            "gen_ai.request.model": "m",
            "gen_ai.usage.input_tokens": 0,
            "gen_ai.response.finish_reasons": ["stop"],
            "gen_ai.input.messages": "secret",
        },
        trace_id=b"t" * 16,
        span_id=b"s" * 8,
    )
    rows = _load(store, tmp_path, _batch(details, details), _batch(details._replace(trace_id=b"")))

    assert rows == {"events": 2}
    stored = store.query(
        "SELECT name, attributes, content_removed, request_id FROM events FINAL WHERE trace_id_hex = {t:String}",
        {"t": (b"t" * 16).hex()},
    ).rows
    ((name, attributes, removed, request_id),) = stored
    assert name == "gen_ai.client.inference.operation.details"
    assert attributes == {
        "gen_ai.request.model": '"m"',
        "gen_ai.usage.input_tokens": "0",
        "gen_ai.response.finish_reasons": '["stop"]',
    }
    assert removed == ["body", "gen_ai.input.messages"]
    aliases = store.query("SELECT alias, request_id FROM request_aliases FINAL").rows
    assert aliases == [((b"t" * 16).hex(), request_id)]
