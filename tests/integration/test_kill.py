"""A collector killed between accept and load: after its restart nothing is missing or twice."""

from __future__ import annotations

import itertools
import signal
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from processes import Running, start

PROTOBUF = {"content-type": "application/x-protobuf"}
SPANS = 50


def begin(folder: Path) -> Running:
    command = [
        *(sys.executable, "-m", "mvtrace_collector"),
        *("--store", f"chdb://{folder / 'store'}", "--listen", "127.0.0.1:0"),
    ]
    return start(command, folder / "collector.log")


def kill(one: Running) -> None:
    one.process.send_signal(signal.SIGKILL)
    one.process.wait(10)


def batch(number: int) -> bytes:
    """Return a request whose spans tell their batch, with ids nobody else has."""
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    for position in range(SPANS):
        spans.add(
            trace_id=(number + 1).to_bytes(16, "big"),
            span_id=(position + 1).to_bytes(8, "big"),
            name=f"batch {number}",
            start_time_unix_nano=time.time_ns(),
            end_time_unix_nano=time.time_ns(),
        )
    return request.SerializeToString()


def send(url: str, body: bytes, batch_id: str, client: httpx2.Client | None = None) -> bool:
    """Return whether *body* was acknowledged."""
    headers = {**PROTOBUF, "x-mvtrace-batch": batch_id}
    post = httpx2.post if client is None else client.post
    try:
        answer = post(f"{url}/v1/traces", content=body, headers=headers, timeout=10)
    except httpx2.HTTPError:
        return False
    return answer.status_code == 200


def sql(url: str, query: str) -> list[list[str]]:
    answer = httpx2.get(f"{url}/sql", params={"query": f"{query} FORMAT TSV"}, timeout=30)
    assert answer.status_code == 200, answer.text
    return [line.split("\t") for line in answer.text.splitlines()]


def wait_stored(url: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        lines = httpx2.get(f"{url}/metrics").text.splitlines()
        values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        if values["mvtrace_inbox_stored_seq"] == values["mvtrace_inbox_accepted_seq"]:
            return
        time.sleep(0.05)
    pytest.fail("not stored after 60 s")


def counted(url: str) -> Counter[str]:
    """Return the number of rows a batch, duplicates included."""
    rows = sql(url, "SELECT name, count() FROM spans GROUP BY name")
    return Counter({name: int(count) for name, count in rows})


def test_killed_right_after_an_acknowledgement(tmp_path: Path) -> None:
    """
    What was acknowledged before a SIGKILL is stored after the restart, once; a retry of it is
    recognized.
    """
    body = batch(0)
    first = begin(tmp_path)
    assert send(first.url, body, "b0")
    kill(first)
    second = begin(tmp_path)
    try:
        assert send(second.url, body, "b0")
        wait_stored(second.url)
        assert counted(second.url) == {"batch 0": SPANS}
    finally:
        kill(second)


def test_killed_again_and_again_under_load(tmp_path: Path) -> None:
    """
    Senders that retry until they are answered, as OTLP demands, and a collector that is killed at
    any moment of accepting, sealing and loading: each batch is stored, and once.
    """
    current = begin(tmp_path)
    numbers = itertools.count()
    sent: list[int] = []
    stop = threading.Event()

    def sender() -> None:
        with httpx2.Client() as client:
            while not stop.is_set():
                number = next(numbers)
                body = batch(number)
                sent.append(number)
                while not send(current.url, body, f"b{number}", client):
                    time.sleep(0.05)

    with ThreadPoolExecutor(4) as pool:
        senders = [pool.submit(sender) for _ in range(4)]
        for pause in (0.15, 0.4, 0.7, 1.1, 0.3):
            time.sleep(pause)
            kill(current)
            current = begin(tmp_path)
        stop.set()
        for one in senders:
            one.result(60)
    try:
        wait_stored(current.url)
        assert counted(current.url) == {f"batch {number}": SPANS for number in sent}
    finally:
        kill(current)
    assert len(sent) > 20


def test_torn_tail_of_a_segment(tmp_path: Path) -> None:
    """
    Bytes of a batch that was never acknowledged, cut by the kill, do not stop what is before them.
    """
    first = begin(tmp_path)
    assert send(first.url, batch(1), "b1")
    kill(first)
    (segment,) = (tmp_path / "store.inbox").glob("segment-*")
    with segment.open("ab") as file:
        file.write(segment.read_bytes()[:100])

    second = begin(tmp_path)
    try:
        wait_stored(second.url)
        assert counted(second.url) == {"batch 1": SPANS}
        assert sql(second.url, "SELECT count() FROM quarantine") == [["0"]]
    finally:
        kill(second)


def test_log_records_with_bad_ids_do_not_stop_the_loader(tmp_path: Path) -> None:
    """
    A log record may carry ids of any length: it belongs to no span then, and is stored.
    """
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    for size in (0, 5, 8, 9, 16, 17):
        record = records.add(
            event_name="gen_ai.client.inference.operation.details",
            trace_id=b"\x01" * size,
            span_id=b"\x02" * size,
            time_unix_nano=time.time_ns(),
        )
        record.attributes.add(key="size").value.int_value = size
    one = begin(tmp_path)
    try:
        answer = httpx2.post(
            f"{one.url}/v1/logs", content=request.SerializeToString(), headers=PROTOBUF
        )
        assert (answer.status_code, answer.content) == (200, b"")
        wait_stored(one.url)
        assert sql(one.url, "SELECT count() FROM events") == [["6"]]
        assert sql(one.url, "SELECT count() FROM quarantine") == [["0"]]
    finally:
        kill(one)
