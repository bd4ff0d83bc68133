"""Data that is odd: clocks that jump, a poison row among good ones, schemas of another version."""

from __future__ import annotations

import itertools
import time

import httpx2
from obligations import Judge, Ledger
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from supervised import Supervised
from wire_producer import PROTOBUF, WireProducer

DAY_NS = 86_400 * 10**9
YEAR_NS = 365 * DAY_NS


def test_clock_jumps_by_days(collector: Supervised) -> None:
    """
    Producers whose clock is a day ahead or behind, or a leap second late, are stored like any, and
    leave every other producer's data as it is.
    """
    ledger = Ledger()
    for shift in (-DAY_NS, DAY_NS - 3600 * 10**9, 10**9, -3 * YEAR_NS):

        def shifted(shift: int = shift) -> int:
            return time.time_ns() + shift

        assert WireProducer(collector.url, ledger, now_ns=shifted).send(5)
    found = Judge(collector.url).verdict(ledger)
    found.show("clocks off by -1 day, +23 hours, +1 s and -3 years")
    found.hold()


IMPOSSIBLE = {
    "1970": 0,
    "1970 and a bit": 1,
    "2100": 4_102_444_800 * 10**9,
    "1600 (wrapped)": 2**64 - 11_676_096_000 * 10**9,
    "last nanosecond": 2**64 - 1,
    "2^63": 2**63,
}


def spans_at(times: list[tuple[int, int]]) -> bytes:
    """Return spans with these starts and ends, each of a trace of its own."""
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    for number, (start, end) in enumerate(times, 1):
        spans.add(
            trace_id=number.to_bytes(16, "big"),
            span_id=number.to_bytes(8, "big"),
            name="odd",
            start_time_unix_nano=start,
            end_time_unix_nano=end,
        )
    return request.SerializeToString()


def test_times_that_cannot_be(collector: Supervised) -> None:
    """
    Spans that start in 1600 or 2100, end before they start or overflow are stored with a time that
    can be, whatever their number, and do not hold up others.
    """
    ledger = Ledger()
    now = time.time_ns()
    pairs = list(itertools.product([*IMPOSSIBLE.values(), now], repeat=2))
    answer = httpx2.post(f"{collector.url}/v1/traces", content=spans_at(pairs), headers=PROTOBUF)
    assert answer.status_code == 200
    judge = Judge(collector.url)
    judge.wait_stored()
    assert judge.number("SELECT count() FROM spans FINAL") == len(pairs)
    (row,) = judge.rows(
        "SELECT toYear(min(start_time)) AS first, toYear(max(start_time)) AS last FROM spans"
    )
    print(f"\n{len(pairs)} spans at odd times; stored from {row['first']} to {row['last']}")
    assert 2020 <= row["first"] <= row["last"] <= time.gmtime().tm_year + 1
    odd = {entry["id"] for entry in judge.rows("SELECT DISTINCT request_id_text AS id FROM spans")}
    for request_id in odd:
        ledger.begin(request_id, 0)
    assert WireProducer(collector.url, ledger).send(5)
    found = judge.verdict(ledger)
    found.show("times that cannot be")
    found.hold()


def test_ids_of_impossible_times(collector: Supervised) -> None:
    """
    A record whose id says 1970 or the year 2100 would open a partition of its own: it goes to
    quarantine with the reason, a thousand of them open none, and others pass.
    """
    ledger, odd = Ledger(), Ledger()
    far = [YEAR_NS * year for year in range(60, 160)]
    for moment in far:
        producer = WireProducer(collector.url, odd, now_ns=lambda moment=moment: moment + DAY_NS)
        batch = producer.batch(1)
        assert producer.post("logs", batch.logs, batch.id) == 200
    assert WireProducer(collector.url, ledger).send(5)
    judge = Judge(collector.url)
    ledger.begun.update(odd.begun)
    found = judge.verdict(ledger)
    found.show("records whose ids are of 2030 to 2129")
    found.hold()
    assert found.quarantined == len(far)
    reasons = judge.rows("SELECT reason, any(detail) AS detail FROM quarantine GROUP BY reason")
    print(f"  {reasons[0]}")
    assert [row["reason"] for row in reasons] == ["not-a-record"]


def test_one_poison_row_in_ten_thousand(collector: Supervised) -> None:
    """
    Of ten thousand records one is no record: 9,999 are stored, one is in quarantine with the
    reason, and what follows is not held up.
    """
    ledger = Ledger()
    producer = WireProducer(collector.url, ledger, spans=0)
    batch = producer.batch(10_000)
    request = ExportLogsServiceRequest.FromString(batch.logs)
    record = request.resource_logs[0].scope_logs[0].log_records[5_000]
    record.body.string_value = '{"schema_version": 1, "request_id": "none of ours"}'
    assert producer.post("logs", request.SerializeToString(), batch.id) == 200
    ledger.owe(batch.obligations[:5_000] + batch.obligations[5_001:])
    assert WireProducer(collector.url, ledger).send(10)
    judge = Judge(collector.url)
    found = judge.verdict(ledger)
    found.show("one poison row in 10,000")
    found.hold()
    assert found.stored == 9_999 + 10
    assert found.quarantined == 1
    (row,) = judge.rows("SELECT reason, detail, subject FROM quarantine")
    print(f"  {row}")
    assert row["reason"] == "not-a-record"


def test_deep_batch_among_good_ones(collector: Supervised) -> None:
    """
    A batch nested as deep as parsers go is taken or refused as a whole, and holds up none of those
    around it.
    """
    ledger = Ledger()
    producer = WireProducer(collector.url, ledger)
    for number in range(5):
        assert producer.send(10)
        if number == 2:
            deep = deeply_nested()
            assert producer.post("traces", deep, "deep") in (200, 400)
    judge = Judge(collector.url)
    judge.wait_stored()
    for row in judge.rows("SELECT DISTINCT request_id_text AS id FROM spans WHERE name = 'deep'"):
        ledger.begin(row["id"], 0)
    found = judge.verdict(ledger)
    found.show(f"a batch nested 45 deep; answers {producer.answers}")
    found.hold()


def deeply_nested() -> bytes:
    """Return spans whose attribute is nested about as deep as parsers go."""
    request = ExportTraceServiceRequest()
    span = (
        request.resource_spans.add()
        .scope_spans.add()
        .spans.add(trace_id=bytes(15) + b"\x09", span_id=bytes(7) + b"\x09", name="deep")
    )
    value = span.attributes.add(key="deep").value
    for _ in range(45):
        value = value.array_value.values.add()
    value.string_value = "end"
    return request.SerializeToString()
