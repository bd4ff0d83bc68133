"""A producer at the wire: whole records of known bytes, posted until the collector has them."""

from __future__ import annotations

import hashlib
import itertools
import secrets
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import httpx2
from obligations import Ledger, Obligation, payload_of
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from mvtrace.ids import format_uuid7
from mvtrace.records import RequestRecord, UnixNano
from mvtrace.wire import event_of

PROTOBUF = {"content-type": "application/x-protobuf"}


@dataclass(frozen=True)
class Batch:
    """Two bodies to post, logs before spans, and what is owed once both are accepted."""

    id: str
    logs: bytes
    traces: bytes
    obligations: tuple[Obligation, ...]


class WireProducer:
    """Makes and posts batches; a retry is the same bytes under the same id, for as long as it takes.

    *url* may be a function, for a collector that comes back under another address.
    """

    def __init__(
        self,
        url: str | Callable[[], str],
        ledger: Ledger,
        *,
        spans: int = 2,
        payload_bytes: int = 64,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._url = url if callable(url) else lambda: url
        self._ledger = ledger
        self._spans = spans
        self._payload_bytes = payload_bytes
        self._now_ns = now_ns
        self.producer_id = str(uuid.uuid4())
        self._numbers = itertools.count(1)
        self.answers: dict[int, int] = {}
        """How often each status was seen; 0 stands for no answer."""

    def batch(self, requests: int) -> Batch:
        """Make a batch of so many *requests*; from here on they may arrive."""
        logs, traces = ExportLogsServiceRequest(), ExportTraceServiceRequest()
        records = logs.resource_logs.add().scope_logs.add().log_records
        spans = traces.resource_spans.add().scope_spans.add().spans
        obligations = []
        for _ in range(requests):
            number = next(self._numbers)
            record = self._record(number)
            self._ledger.begin(record.request_id, number)
            event = event_of(record)
            entry = records.add(event_name=event.name, time_unix_nano=event.time_unix_nano)
            entry.body.string_value = event.body
            entry.trace_id = event.trace_id
            for position in range(self._spans):
                spans.add(
                    trace_id=event.trace_id,
                    span_id=(position + 1).to_bytes(8, "big"),
                    name=f"step {position}",
                    start_time_unix_nano=record.started_at,
                    end_time_unix_nano=record.started_at + 1_000_000,
                )
            digest = hashlib.sha256(record.to_bytes()).hexdigest()
            obligations.append(
                Obligation(record.request_id, number, record_sha256=digest, spans=self._spans)
            )
        return Batch(
            f"{self.producer_id}-{number}",
            logs.SerializeToString(),
            traces.SerializeToString(),
            tuple(obligations),
        )

    def _record(self, number: int) -> RequestRecord:
        now = UnixNano(self._now_ns())
        return RequestRecord(
            # Not new_request_id: a clock ahead would move every later id of this process.
            request_id=format_uuid7(now // 1_000_000, secrets.randbits(74)),
            revision=2,
            state="finished",
            producer_id=self.producer_id,
            sequence=number,
            trace_id=uuid.uuid4().hex,
            started_at=now,
            ended_at=UnixNano(now + 2_000_000),
            outcome="ok",
            service="failure-matrix",
            annotations={"number": number, "payload": payload_of(number, self._payload_bytes)},
        )

    def send(self, requests: int, *, patience_s: float = 60.0) -> bool:
        """Make a batch and post it until it is accepted; whether that came in *patience_s*."""
        return self.deliver(self.batch(requests), patience_s=patience_s)

    def deliver(self, batch: Batch, *, patience_s: float = 60.0) -> bool:
        """Post *batch* until it is accepted, then owe it."""
        deadline = time.monotonic() + patience_s
        for path, body in (("logs", batch.logs), ("traces", batch.traces)):
            while self.post(path, body, f"{batch.id}-{path}") != 200:
                if time.monotonic() > deadline:
                    return False
                time.sleep(0.05)
        self._ledger.owe(batch.obligations)
        return True

    def post(self, path: str, body: bytes, batch_id: str) -> int:
        """Post once; return the status, 0 where there was no answer."""
        headers = {**PROTOBUF, "x-mvtrace-batch": batch_id}
        try:
            answer = httpx2.post(
                f"{self._url()}/v1/{path}", content=body, headers=headers, timeout=20
            )
            status = answer.status_code
        except httpx2.HTTPError:
            status = 0
        self.answers[status] = self.answers.get(status, 0) + 1
        return status


class Load:
    """Producers that send without rest, in threads, until told to stop; a context manager."""

    def __init__(
        self,
        url: str | Callable[[], str],
        ledger: Ledger,
        *,
        senders: int = 3,
        requests: int = 20,
        rest_s: float = 0.0,
        **options: int,
    ) -> None:
        self.producers = [WireProducer(url, ledger, **options) for _ in range(senders)]
        self._requests = requests
        self._rest_s = rest_s
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(one,), daemon=True) for one in self.producers
        ]
        self._unsent: list[int] = []

    def _run(self, producer: WireProducer) -> None:
        while not self._stop.is_set():
            if not producer.send(self._requests, patience_s=120):
                self._unsent.append(self._requests)
            self._stop.wait(self._rest_s)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(150)
        assert not any(thread.is_alive() for thread in self._threads)
        assert not self._unsent, "a batch was not accepted within two minutes"

    @property
    def answers(self) -> dict[int, int]:
        """How often each status was seen by any producer."""
        total: dict[int, int] = {}
        for one in self.producers:
            for status, count in list(one.answers.items()):
                total[status] = total.get(status, 0) + count
        return total
