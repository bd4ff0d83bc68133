"""What ``mvtrace verify`` recomputes: each kind of damage is found, derived rows are repaired."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from oracle import Batch, write_segment
from story import SYSTEM

from mvtrace import semconv
from mvtrace.digest import CONTENT_DOMAIN, digest_of
from mvtrace.ids import format_uuid7, new_request_id
from mvtrace.otlp import (
    FinishedSpan,
    LogEvent,
    Scope,
    encode_request,
    encode_resource,
    encode_scope_logs,
    encode_scope_spans,
)
from mvtrace.records import Alias, Call, RequestRecord, UnixNano, Usage
from mvtrace.store import Store
from mvtrace.wire import event_of
from mvtrace_collector.inbox import Inbox
from mvtrace_collector.loader import Loader, load_segment
from mvtrace_collector.verification import run as verification_run
from mvtrace_collector.verification.run import Verification

NOW_MS = time.time_ns() // 10**6
PRODUCER = "00000000-0000-4000-8000-00000000000a"
TEXT = "Answer in one sentence."
MONTH_MS = 31 * 24 * 3600 * 1000


def record(number: int = 1, *, months_back: int = 0, **fields: Any) -> RequestRecord:
    at_ms = NOW_MS - months_back * MONTH_MS
    given: dict[str, Any] = {
        "request_id": format_uuid7(at_ms, number),
        "revision": 2,
        "state": "finished",
        "producer_id": PRODUCER,
        "sequence": number,
        "started_at": UnixNano(at_ms * 10**6),
        "ended_at": UnixNano(at_ms * 10**6 + 5000),
        "service": "shop",
        "environment": "prod",
        "route": "/ask",
        "status_code": 200,
        "outcome": "ok",
        "composite_version": SYSTEM.version,
        "trace_id": f"{number:032x}",
        "span_id": f"{number:016x}",
        "aliases": (Alias(kind="x-request-id", value=f"client-{number}"),),
        "calls": (
            Call(
                kind="generation",
                name="answer",
                model_served="m-1",
                response_id=f"resp-{number}",
                usage=Usage(input_tokens=3),
            ),
        ),
        **fields,
    }
    return RequestRecord(**given)


def logs(*events: LogEvent) -> Batch:
    body = encode_request(encode_resource({}), [encode_scope_logs(Scope("mvtrace"), events)])
    return Batch(ExportLogsServiceRequest.FromString(body), NOW_MS)


def spans(*records: RequestRecord) -> Batch:
    made = [
        FinishedSpan(
            trace_id=bytes.fromhex(one.trace_id or ""),
            span_id=bytes.fromhex(one.span_id or ""),
            parent_span_id=b"",
            name="POST /ask",
            kind=2,
            start_time_unix_nano=one.started_at,
            end_time_unix_nano=one.started_at + 10,
            attributes={
                semconv.REQUEST_ID: one.request_id,
                semconv.GEN_AI_RESPONSE_ID: f"span-resp-{one.sequence}",
            },
        )
        for one in records
    ]
    body = encode_request(encode_resource({}), [encode_scope_spans(Scope("mvtrace"), made)])
    return Batch(ExportTraceServiceRequest.FromString(body), NOW_MS)


def registry() -> Batch:
    events = [
        LogEvent(
            semconv.EVENT_COMPONENT,
            NOW_MS * 10**6,
            part.body.decode(),
            {semconv.COMPONENT_DIGEST: part.digest},
        )
        for part in SYSTEM.parts
    ]
    digest = digest_of(CONTENT_DOMAIN, TEXT.encode())
    events += [
        LogEvent(semconv.EVENT_CONTENT, NOW_MS * 10**6, TEXT, {semconv.CONTENT_DIGEST: digest}),
        LogEvent(
            semconv.EVENT_COMPOSITE,
            NOW_MS * 10**6,
            SYSTEM.manifest.decode(),
            {
                semconv.COMPOSITE_VERSION: SYSTEM.version,
                semconv.COMPOSITE_NAME: SYSTEM.name,
                semconv.COMPOSITE_LABELS: "{}",
            },
        ),
    ]
    return logs(*events)


def filled(store: Store, folder: Path, count: int = 3, *, months: int = 1) -> list[RequestRecord]:
    """Load *count* requests of each of *months*, with spans and their system, as they come."""
    made = [
        record(100 * back + number + 1, months_back=back)
        for back in range(months)
        for number in range(count)
    ]
    batches = [registry(), logs(*map(event_of, made)), spans(*made)]
    load_segment(store, write_segment(folder / f"{time.time_ns()}.pb", batches))
    return made


def verified(store: Store, **options: Any) -> dict[str, dict[str, Any]]:
    """The checks of one verification, by name; `ok` says whether all hold."""
    *_, last = Verification(store, **options).run()
    checks = {check["check"]: check for check in last["result"]["checks"]}
    return {**checks, "ok": last["result"]["ok"]}


def wrong(checks: dict[str, Any]) -> dict[str, int]:
    return {name: one["wrong"] for name, one in checks.items() if name != "ok" and one["wrong"]}


def change(store: Store, statement: str) -> None:
    store.command(f"{statement} SETTINGS mutations_sync = 1")


def test_what_came_the_ordinary_way_holds(store: Store, tmp_path: Path) -> None:
    """
    After an ordinary load nothing is wrong, and each check says how much it looked at.
    """
    filled(store, tmp_path, 3)

    checks = verified(store)

    assert wrong(checks) == {}
    assert checks["ok"]
    assert {name: one["checked"] for name, one in checks.items() if name != "ok"} == {
        "record digests": 3,
        "record columns": 3,
        "aliases present": 12,
        "aliases derivable": 12,
        "alias hashes": 12,
        "requests without record": 3,
        "components": len(SYSTEM.parts),
        "composites": 1,
        "contents": 1,
        "references": 0,
        "registry entries": 0,
        "detached parts": 0,
        "gaps": 0,
        "quarantine": 0,
    }


def test_a_changed_byte_in_a_record(store: Store, tmp_path: Path) -> None:
    """
    A record whose bytes no longer hash to its digest is named; repairing takes nothing from it.
    """
    one, *_ = filled(store, tmp_path)
    change(
        store,
        "ALTER TABLE requests UPDATE record = replaceOne(record, 'client-1', 'client-X') "
        f"WHERE request_id_text = '{one.request_id}'",
    )

    checks = verified(store, repair=True)

    assert wrong(checks) == {"record digests": 1}
    assert checks["record digests"]["examples"] == [
        f"{one.request_id}: digest of its bytes is another"
    ]
    assert not checks["ok"]
    rows = store.query("SELECT alias FROM request_aliases WHERE kind = 'x-request-id'").rows
    assert sorted(rows) == [("client-1",), ("client-2",), ("client-3",)]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("composite_version", "repeat('0', 64)"),
        ("started_at", "started_at + INTERVAL 1 SECOND"),
        ("ended_at", "NULL"),
        ("state", "'started'"),
        ("route", "'/other'"),
        ("status_code", "NULL"),
        ("input_tokens", "0"),
        ("models_served", "['m-2']"),
        ("producer_id", "unhex(repeat('01', 16))"),
    ],
)
def test_a_column_that_its_record_contradicts(
    store: Store, tmp_path: Path, column: str, value: str
) -> None:
    """
    Each derived column is compared with what the loader would derive, absent told from zero.
    """
    one, *_ = filled(store, tmp_path)
    change(
        store,
        f"ALTER TABLE requests UPDATE {column} = {value} "
        f"WHERE request_id_text = '{one.request_id}'",
    )

    checks = verified(store)

    assert wrong(checks) == {"record columns": 1}
    assert checks["record columns"]["examples"] == [f"{one.request_id}: {column}"]


@pytest.mark.parametrize("kind", ["trace_id", "x-request-id", "response_id"])
def test_a_missing_alias_is_written_again(store: Store, tmp_path: Path, kind: str) -> None:
    """
    An alias row that a record or a span asks for is missed, and repaired from them.
    """
    filled(store, tmp_path)
    before = sorted(store.query("SELECT kind, alias, hex(request_id) FROM request_aliases").rows)
    change(store, f"ALTER TABLE request_aliases DELETE WHERE kind = '{kind}'")
    lost = len(before) - len(store.query("SELECT kind FROM request_aliases").rows)

    found = verified(store)
    repaired = verified(store, repair=True)
    after = verified(store)

    assert wrong(found) == {"aliases present": lost}
    assert not found["ok"]
    assert repaired["aliases present"]["repaired"] == lost
    assert repaired["ok"]
    assert wrong(after) == {}
    rows = store.query("SELECT kind, alias, hex(request_id) FROM request_aliases").rows
    assert sorted(rows) == before


def test_an_alias_that_nothing_gives_is_removed(store: Store, tmp_path: Path) -> None:
    """
    A row that leads to a request by a name it never had is found, and gone after a repair.
    """
    one, *_ = filled(store, tmp_path)
    store.command(
        "INSERT INTO request_aliases (project, alias_hash, kind, alias, request_id, received_at) "
        "SELECT 'default', sipHash64('it''s\\\\not'), 'x-request-id', 'it''s\\\\not', request_id, "
        f"toDateTime64('2026-01-01', 3) FROM requests WHERE request_id_text = '{one.request_id}'"
    )

    found = verified(store)
    repaired = verified(store, repair=True)

    assert wrong(found) == {"aliases derivable": 1}
    assert found["aliases derivable"]["examples"] == [f"x-request-id it's\\not -> {one.request_id}"]
    assert repaired["ok"]
    assert wrong(verified(store)) == {}


def test_what_has_just_come_is_not_called_a_stray(store: Store, tmp_path: Path) -> None:
    """
    Names are written before rows: an alias of a moment ago may be waiting for its record.
    """
    one, *_ = filled(store, tmp_path)
    change(store, f"ALTER TABLE requests DELETE WHERE request_id_text = '{one.request_id}'")

    late = verified(store)
    early = verified(store, settled_ms=NOW_MS - 60_000)

    assert late["aliases derivable"]["wrong"] == 2
    assert early["aliases derivable"]["wrong"] == 0
    assert early["requests without record"]["wrong"] == 1


def test_an_alias_under_a_wrong_hash(store: Store, tmp_path: Path) -> None:
    """
    A row that its hash does not find is put right.
    """
    filled(store, tmp_path)
    store.command(
        "INSERT INTO request_aliases (project, alias_hash, kind, alias, request_id, received_at) "
        "SELECT project, 5, kind, alias, request_id, received_at FROM request_aliases "
        "WHERE alias = 'client-2'"
    )
    change(
        store,
        "ALTER TABLE request_aliases DELETE WHERE alias = 'client-2' AND alias_hash != 5",
    )

    found = verified(store)
    repaired = verified(store, repair=True)

    assert wrong(found) == {"alias hashes": 1, "aliases present": 1}
    assert repaired["ok"]
    rows = store.query(
        "SELECT alias_hash = sipHash64(alias) FROM request_aliases WHERE alias = 'client-2'"
    ).rows
    assert rows == [(1,)]


@pytest.mark.parametrize(
    ("table", "column", "check"),
    [
        ("components", "body", "components"),
        ("composites", "manifest", "composites"),
        ("contents", "content", "contents"),
    ],
)
def test_a_registry_row_whose_bytes_changed(
    store: Store, tmp_path: Path, table: str, column: str, check: str
) -> None:
    """
    A component, manifest or text that no longer hashes to its digest is named.
    """
    filled(store, tmp_path)
    [(key,)] = store.query(
        f"SELECT {'version' if table == 'composites' else 'digest'} FROM {table} LIMIT 1"
    ).rows
    name = "version" if table == "composites" else "digest"
    change(
        store,
        f"ALTER TABLE {table} UPDATE {column} = concat({column}, ' ') WHERE {name} = '{key}'",
    )

    checks = verified(store, repair=True)

    assert wrong(checks) == {check: 1}
    assert key in checks[check]["examples"][0]
    assert not checks["ok"]


def test_a_composite_that_lists_other_parts(store: Store, tmp_path: Path) -> None:
    """
    The columns of a composite are what its manifest says.
    """
    filled(store, tmp_path)
    change(store, "ALTER TABLE composites UPDATE component_names = [] WHERE 1")

    assert wrong(verified(store)) == {"composites": 1}


def test_a_detached_part(store: Store, tmp_path: Path) -> None:
    """
    A part that was put aside fails the verification and is named with its table.
    """
    filled(store, tmp_path)
    [(part,)] = store.query(
        "SELECT name FROM system.parts WHERE database = 'mvtrace' AND table = 'spans' AND active"
    ).rows
    store.command(f"ALTER TABLE spans DETACH PART '{part}'")

    checks = verified(store)
    store.command(
        f"ALTER TABLE spans DROP DETACHED PART '{part}'", settings={"allow_drop_detached": "1"}
    )

    assert checks["detached parts"]["examples"] == [f"spans {part}: detached"]
    assert checks["aliases derivable"]["wrong"] == 3  # what the spans' response ids gave
    assert not checks["ok"]


def test_a_part_that_no_one_registered_and_the_quarantine_are_notes(
    store: Store, tmp_path: Path
) -> None:
    """
    What may still come, and what was turned away, is told and fails nothing.
    """
    filled(store, tmp_path)
    change(store, "ALTER TABLE components DELETE WHERE kind = 'index'")
    impostor = record(1, service="other", producer_id=PRODUCER.replace("a", "b"))
    load_segment(store, write_segment(tmp_path / "second.pb", [logs(event_of(impostor))]))

    checks = verified(store)

    assert checks["ok"]
    assert (checks["references"]["state"], checks["references"]["wrong"]) == ("note", 1)
    assert (checks["quarantine"]["state"], checks["quarantine"]["wrong"]) == ("note", 1)
    assert checks["quarantine"]["examples"][0].startswith("conflicting-record: 1,")


def test_since_leaves_the_older_alone(store: Store, tmp_path: Path) -> None:
    """
    With a time only newer requests are looked at.
    """
    filled(store, tmp_path, 2, months=3)

    everything = verified(store)
    recent = verified(store, since_ms=NOW_MS - MONTH_MS // 2)

    assert everything["record digests"]["checked"] == 6
    assert recent["record digests"]["checked"] == 2
    assert wrong(everything) == wrong(recent) == {}


def test_many_ranges_see_each_request_once(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    However small the ranges, each request is in exactly one of them, and progress is told.
    """
    monkeypatch.setattr(verification_run, "_TABLES", {"requests": 2, "spans": 3})
    filled(store, tmp_path, 7, months=2)

    lines = list(Verification(store).run())

    checks = {check["check"]: check for check in lines[-1]["result"]["checks"]}
    assert checks["record digests"]["checked"] == 14
    assert checks["aliases present"]["checked"] == 56
    assert lines[-1]["result"]["ok"]
    assert len([line for line in lines if "progress" in line]) >= 8


def test_a_row_that_was_accepted_and_is_gone(store: Store, tmp_path: Path) -> None:
    """
    Batches the inbox still has are counted again: a lost row is missed, whatever its table.
    """
    inbox = Inbox(tmp_path / "inbox")
    loader = Loader(store, inbox)
    made = [record(number) for number in range(1, 4)]
    for number, batch in enumerate([registry(), logs(*map(event_of, made)), spans(*made)]):
        signal: Any = "traces" if hasattr(batch.request, "resource_spans") else "logs"
        inbox.append("default", signal, batch.request.SerializeToString(), f"batch-{number}")
    try:
        while loader.load_next() or inbox.lag().accepted_seq > inbox.lag().stored_seq:
            time.sleep(0.05)
        before = verified(store, inbox=tmp_path / "inbox")
        change(store, f"ALTER TABLE requests DELETE WHERE request_id_text = '{made[0].request_id}'")
        change(store, "ALTER TABLE components DELETE WHERE kind = 'index'")
        change(store, "ALTER TABLE spans DELETE WHERE span_id = unhex('0000000000000002')")

        after = verified(store, inbox=tmp_path / "inbox")
    finally:
        loader.close()
        inbox.close()

    edges = 2 * len(SYSTEM.parts)  # a row for each end
    rows = 3 + 3 + len(SYSTEM.parts) + 2 + edges
    assert before["accepted batches"]["checked"] == rows
    assert before["accepted batches"]["wrong"] == 0
    assert after["accepted batches"]["wrong"] == 3
    tables = {line.split(": ")[1].split()[0] for line in after["accepted batches"]["examples"]}
    assert tables == {"requests", "components", "spans"}


def test_each_line_is_json_and_ids_are_not_executed(store: Store, tmp_path: Path) -> None:
    """
    Hostile aliases come out as data, whatever signs they hold.
    """
    hostile = "a'); DROP TABLE requests; --\x1b[2J"
    one = record(1, aliases=(Alias(kind="x-request-id", value=hostile),))
    load_segment(store, write_segment(tmp_path / "one.pb", [logs(event_of(one)), spans(one)]))
    change(store, "ALTER TABLE request_aliases DELETE WHERE kind = 'x-request-id'")

    lines = [json.dumps(line) for line in Verification(store, repair=True).run()]

    assert json.loads(lines[-1])["result"]["checks"][2]["examples"] == [
        f"x-request-id {hostile} -> {one.request_id}"
    ]
    assert store.query("SELECT count() FROM requests").rows == [(1,)]
    assert new_request_id() > one.request_id
