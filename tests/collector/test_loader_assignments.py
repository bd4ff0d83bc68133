"""How a record's assignment becomes columns: what a hostile sender says of it ends in none."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import orjson
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from oracle import Batch, write_segment

from mvtrace.ids import new_request_id
from mvtrace.otlp import LogEvent, Scope, encode_request, encode_resource, encode_scope_logs
from mvtrace.records import RequestRecord, UnixNano
from mvtrace.store import Store
from mvtrace.wire import event_of
from mvtrace_collector.loader import load_segment

NOW_MS = time.time_ns() // 10**6
NONE = ("", bytes(16), None)
UNIT = "0f" * 16


CASES: list[tuple[Any, tuple[Any, ...]]] = [
    ({"rollout": "r", "unit": UNIT, "share": 0.05}, ("r", bytes.fromhex(UNIT), 0.05)),
    ({"rollout": "é 'x'", "unit": "00" * 16, "share": 1}, ("é 'x'", bytes(16), 1.0)),
    ({"rollout": "r", "share": 0, "basis": "named"}, ("r", bytes(16), 0.0)),
    ({"rollout": "r", "unit": "ff" * 17, "share": -0.1}, ("r", bytes(16), None)),
    ({"rollout": "r", "unit": "G" * 32, "share": 1.01}, ("r", bytes(16), None)),
    ({"rollout": "r", "unit": UNIT.upper(), "share": 1e300}, ("r", bytes(16), None)),
    ({"rollout": "r" * 129, "unit": UNIT, "share": "0.5"}, ("", bytes.fromhex(UNIT), 0.5)),
    ({"rollout": ["r"], "unit": 7, "share": None}, ('["r"]', bytes(16), None)),
    ({"rollout": "r", "share": 0.1234567}, ("r", bytes(16), 0.123457)),
    ({"rollout": "r", "share": 0.3000000004}, ("r", bytes(16), 0.3)),
    ({}, NONE),
    (None, NONE),
    ("canary", NONE),
    ([1, 2, 3], ("1", bytes(16), None)),
]


def event(assignment: Any) -> tuple[str, LogEvent]:
    """A record that says *assignment*, whatever that is, with its id."""
    record = RequestRecord(
        request_id=new_request_id(),
        revision=2,
        state="finished",
        producer_id="00000000-0000-4000-8000-00000000000a",
        sequence=1,
        started_at=UnixNano(NOW_MS * 10**6),
        arm="canary",
    )
    said = {**orjson.loads(record.to_bytes()), "assignment": assignment}
    return record.request_id, event_of(record)._replace(body=orjson.dumps(said).decode())


def test_columns_of_assignments(store: Store, tmp_path: Path) -> None:
    """
    What an assignment says is in the columns where it can be one, and absent where it cannot.
    """
    events = [event(assignment) for assignment, _ in CASES]
    scope = encode_scope_logs(Scope("mvtrace"), [one for _, one in events])
    body = encode_request(encode_resource({}), [scope])
    batch = Batch(ExportLogsServiceRequest.FromString(body), NOW_MS, "default")

    load_segment(store, write_segment(tmp_path / "segment", [batch]))

    rows = store.query(
        "SELECT request_id_text, arm, rollout, unit, planned_share FROM requests"
    ).rows
    found = {row[0]: (row[1], tuple(row[2:])) for row in rows}
    assert [found[identity] for identity, _ in events] == [
        ("canary", columns) for _, columns in CASES
    ]
