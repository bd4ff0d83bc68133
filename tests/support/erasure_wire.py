"""Records, content and data keys at the wire, from a sender whose clock may be off or who may lie."""

from __future__ import annotations

import base64
import json
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import httpx2
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from private_app import DIGEST_KEY
from processes import Running

from mvtrace import semconv
from mvtrace.capture.keys import digest_key
from mvtrace.capture.privacy import subject_digest
from mvtrace.capture.privacy_keys import DataKey, new_key
from mvtrace.digest import keyed_digest
from mvtrace.ids import format_uuid7
from mvtrace.records import Alias, Call, CaptureReport, RequestRecord, UnixNano
from mvtrace.wire import event_of
from mvtrace_collector.payload_keys import KEYS_FILE

PROTOBUF = {"content-type": "application/x-protobuf"}
HOUR_MS = 3_600_000
PIECE = 96 * 1024
MASTER = bytes(32)
PRODUCER = "0198a000-0000-7000-8000-000000000001"
TEXT = "marmalade-zebra-seventy-seven"


def digest(text: str) -> str:
    key = digest_key(DIGEST_KEY.encode())
    return keyed_digest(key.key, key.key_id, text)


def subject(name: str) -> str:
    return subject_digest(digest, name)


class Wire:
    """Sends records and content of requests that began *ahead_ms* after the collector's clock."""

    def __init__(
        self, one: Running, *, ahead_ms: int = 0, says_time: bool = True, project: str = ""
    ) -> None:
        self._url = one.url
        self._ahead_ms = ahead_ms
        self._says_time = says_time
        self._project = project
        self._sequence = 0

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self._ahead_ms

    def new_id(self) -> str:
        self._sequence += 1
        return format_uuid7(self.now_ms(), self._sequence)

    def record(
        self, request_id: str, name: str = "", *, mode: str | None = None, revision: int = 2
    ) -> None:
        """Send a record that has every kind of name; its subject is *name*."""
        started = UnixNano(int(request_id.replace("-", "")[:12], 16) * 1_000_000)
        called = {"x-request-id": f"anna-{request_id}", "order": f"bob-{request_id}"}
        called |= {"subject": subject(name)} if name else {}
        record = RequestRecord(
            request_id=request_id,
            revision=revision,
            state="finished" if revision > 1 else "started",
            producer_id=PRODUCER,
            sequence=self._sequence,
            trace_id=request_id.replace("-", ""),
            started_at=started,
            ended_at=started,
            aliases=tuple(Alias(kind=kind, value=value) for kind, value in called.items()),
            calls=(
                Call(
                    kind="generation",
                    name="a",
                    started_at=started,
                    response_id=f"r-{request_id}",
                    output_digest=digest(TEXT),
                ),
            ),
            capture=CaptureReport(content_mode=mode) if mode else None,
        )
        logs, entry = self._entry()
        event = event_of(record)
        entry.event_name, entry.body.string_value = event.name, event.body
        entry.trace_id = event.trace_id
        self._post(logs)

    def content(self, request_id: str, subject: str, *, key_id: str = "", kind: str = "a") -> None:
        """Send one text about *subject*; with *key_id* as if it were encrypted under it."""
        logs, entry = self._entry()
        entry.event_name = semconv.EVENT_PAYLOAD
        entry.body.string_value = json.dumps(
            {
                **_said(request_id, subject, kind, TEXT.encode()),
                "mode": "full" if key_id else "redacted",
                "key_id": key_id,
                "nonce": base64.b64encode(bytes(12)).decode() if key_id else "",
            }
        )
        self._post(logs)

    def pieces(self, request_id: str, subject: str, kind: str, size: int) -> None:
        """Send one text of *size* random bytes, in pieces."""
        logs, entry = self._entry()
        count = -(-size // PIECE)
        for piece in range(count):
            body = os.urandom(min(PIECE, size - piece * PIECE))
            said = _said(request_id, subject, kind, body)
            entry.event_name = semconv.EVENT_PAYLOAD
            entry.body.string_value = json.dumps({**said, "piece": piece, "pieces": count})
            if piece + 1 < count:
                entry = logs.resource_logs[0].scope_logs[0].log_records.add()
        self._post(logs)

    def key(self, subject: str, made: DataKey | None = None) -> str:
        """Send a data key of *subject*, a new one if none is given; return its id."""
        made = made or new_key(MASTER, subject)
        logs, entry = self._entry()
        entry.event_name = semconv.EVENT_PAYLOAD_KEY
        entry.body.string_value = base64.b64encode(made.wrapped).decode()
        for name, value in ((semconv.PAYLOAD_KEY_ID, made.id), (semconv.PAYLOAD_SUBJECT, subject)):
            entry.attributes.add(key=name).value.string_value = value
        entry.attributes.add(key=semconv.PAYLOAD_KEY_MADE).value.int_value = self.now_ms()
        self._post(logs)
        return made.id

    def _entry(self) -> tuple[ExportLogsServiceRequest, LogRecord]:
        logs = ExportLogsServiceRequest()
        resource = logs.resource_logs.add()
        if self._project:
            named = resource.resource.attributes.add(key=semconv.PROJECT)
            named.value.string_value = self._project
        return logs, resource.scope_logs.add().log_records.add()

    def _post(self, logs: ExportLogsServiceRequest) -> None:
        headers = {**PROTOBUF, semconv.SENT_HEADER: str(self.now_ms())}
        if not self._says_time:
            del headers[semconv.SENT_HEADER]
        reply = httpx2.post(
            f"{self._url}/v1/logs", content=logs.SerializeToString(), headers=headers
        )
        assert reply.status_code == 200, reply.text


def _said(request_id: str, subject: str, kind: str, body: bytes) -> dict[str, object]:
    return {
        "request_id": request_id,
        "kind": kind,
        "subject": subject,
        "mode": "redacted",
        "digest": digest(kind),
        "bytes": len(body),
        "piece": 0,
        "pieces": 1,
        "body": base64.b64encode(body).decode(),
    }


def erase(one: Running, digest: str, project: str = "default") -> dict[str, int]:
    asked = {"subject": digest, "reason": "asked for it"}
    reply = httpx2.post(
        f"{one.url}/api/v1/erasures", json=asked, params={"project": project}, timeout=60
    )
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


def settled(one: Running) -> str:
    """Return the collector's address once everything that was sent is stored."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if not httpx2.get(f"{one.url}/api/v1/status", timeout=20).json()["lag"]["batches"]:
            break
        time.sleep(0.05)
    return one.url


def key_ids(folder: Path, project: str = "default") -> set[str]:
    with closing(sqlite3.connect(folder / "store.keys" / KEYS_FILE)) as connection:
        rows = connection.execute("SELECT key_id FROM data_keys WHERE project = ?", (project,))
        return {row[0] for row in rows}


def names(one: Running, request_id: str) -> list[str]:
    """Return by what kinds of names a request is found."""
    asked = f"SELECT DISTINCT kind FROM request_aliases WHERE request_id_text = '{request_id}'"
    reply = httpx2.post(f"{settled(one)}/sql", content=f"{asked} FORMAT CSV", timeout=20)
    assert reply.status_code == 200, reply.text
    return sorted(word.strip('"') for word in reply.text.split())


def texts(one: Running, request_id: str) -> int:
    """Return how many texts of a stored request there are."""
    reply = httpx2.get(f"{settled(one)}/api/v1/content", params={"id": request_id}, timeout=20)
    assert reply.status_code == 200, reply.text
    return len(reply.json()["contents"])
