"""What ``mvtrace watch`` sends and how it knows it again: records made for the purpose.

In: a collector's address. Out: probes that went the ordinary way (spool, OTLP over HTTP), each with
the digest of its bytes; a list of them in a file, so that a later run checks them too. Service
``mvtrace.watch``, project ``mvtrace-watch`` unless another is named: no real request is among them.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mvtrace import semconv
from mvtrace.capture.pipeline import Tracing
from mvtrace.components import composite, custom
from mvtrace.config import TracingConfig, default_spool_dir
from mvtrace.digest import RECORD_DOMAIN, digest_of
from mvtrace.ids import new_request_id
from mvtrace.otlp import FinishedSpan
from mvtrace.records import Alias, Call, RequestRecord, UnixNano, Usage

SERVICE: Final = "mvtrace.watch"
PROJECT: Final = "mvtrace-watch"
ROUTE: Final = "watch"
KEPT: Final = 10_000
"""Probes that the file remembers; the oldest go first."""
_FLUSH_S: Final = 1.0
_FROM_ENVIRON: Final = (
    "MVTRACE_API_KEY",
    "MVTRACE_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
)
"""How to reach the collector; nothing else of an application's settings is the watch's."""
_SENT_FILE: Final = "sent.jsonl"


@dataclass(frozen=True, slots=True)
class Probe:
    """One record that was sent."""

    request_id: str
    digest: str
    """``sha256:…`` over the record's bytes."""
    sent_at: float
    """Unix time in seconds."""


class Sender:
    """Sends probes through a pipeline of its own; closed once."""

    def __init__(self, url: str, folder: Path, *, project: str) -> None:
        config = TracingConfig.from_environ(
            {key: os.environ[key] for key in _FROM_ENVIRON if key in os.environ},
            url=url,
            service=SERVICE,
            project=project,
            spool_dir=folder / "spool",
        )
        self._tracing = Tracing(config)
        part = custom("probe", purpose="the continuous self-check of mvtrace")
        self._system = composite("mvtrace.watch", part)

    @property
    def version(self) -> str:
        """The composite version that the probes name."""
        return self._system.version

    def send(self) -> tuple[Probe, RequestRecord]:
        """Send one probe; it is in the spool on return, and mostly accepted."""
        record = self._record()
        span = FinishedSpan(
            trace_id=bytes.fromhex(record.trace_id or ""),
            span_id=bytes.fromhex(record.span_id or ""),
            parent_span_id=b"",
            name=ROUTE,
            kind=1,
            start_time_unix_nano=record.started_at,
            end_time_unix_nano=record.ended_at or record.started_at,
            attributes={
                semconv.REQUEST_ID: record.request_id,
                semconv.COMPOSITE_VERSION: self.version,
            },
        )
        probe = Probe(record.request_id, digest_of(RECORD_DOMAIN, record.to_bytes()), time.time())
        self._tracing.register(self._system)
        self._tracing.emit_request(record, [span])
        self._tracing.flush(_FLUSH_S)
        return probe, record

    def close(self) -> None:
        """Deliver what can be delivered and stop."""
        self._tracing.shutdown()

    def _record(self) -> RequestRecord:
        started = time.time_ns()
        token = secrets.token_hex(8)
        # Signs that a careless way would change: zero bytes aside, which text cannot hold.
        payload = hashlib.sha256(token.encode()).hexdigest() + " äß €\u2028\U0001f50e \\ \" ' \t"
        return RequestRecord(
            request_id=new_request_id(started),
            revision=2,
            state="finished",
            producer_id=self._tracing.producer_id,
            sequence=self._tracing.next_sequence(),
            service=SERVICE,
            protocol="task",
            route=ROUTE,
            trace_id=secrets.token_hex(16),
            span_id=secrets.token_hex(8),
            aliases=(Alias(kind="watch", value=token),),
            started_at=UnixNano(started),
            ended_at=UnixNano(started + 1_000_000),
            outcome="ok",
            status_code=200,
            composite_version=self.version,
            composite_name="mvtrace.watch",
            calls=(
                Call(
                    kind="tool",
                    name="probe",
                    outcome="ok",
                    seed=started % 2**53,
                    usage=Usage(input_tokens=0),
                ),
            ),
            annotations={"payload": payload, "number": 2**60 + 1, "ratio": 0.1, "nothing": None},
        )


def folder_for(url: str, project: str) -> Path:
    """Return where a watch remembers what it sent, unless told otherwise.

    One a collector and project: what one collector was sent is not missing at another.
    """
    name = hashlib.sha256(f"{url}\n{project}".encode()).hexdigest()[:16]
    return default_spool_dir(os.environ).with_name("watch") / name


class SentProbes:
    """The file of what was sent, newest last; the least recently checked come first again."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _SENT_FILE
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._queue: deque[Probe] = deque(self._read(), maxlen=KEPT)
        self._lines = len(self._queue)

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, probe: Probe) -> None:
        """Remember *probe*; the file is written anew once it holds twice what is kept."""
        self._queue.append(probe)
        line = json.dumps([probe.request_id, probe.digest, round(probe.sent_at, 3)]) + "\n"
        with self._path.open("a") as file:
            file.write(line)
        self._lines += 1
        if self._lines > 2 * KEPT:
            self._write()

    def due(self, count: int, *, before: float) -> list[Probe]:
        """Return up to *count* probes sent *before* a Unix time, and put them at the end."""
        found: list[Probe] = []
        for _ in range(len(self._queue)):
            if len(found) == count:
                break
            probe = self._queue.popleft()
            self._queue.append(probe)
            if probe.sent_at < before:
                found.append(probe)
        return found

    def _read(self) -> list[Probe]:
        try:
            lines = self._path.read_text().splitlines()
        except FileNotFoundError:
            return []
        return [probe for line in lines if (probe := _probe(line)) is not None]

    def _write(self) -> None:
        fresh = self._path.with_suffix(".new")
        kept = sorted(self._queue, key=lambda probe: probe.sent_at)
        fresh.write_text(
            "".join(json.dumps([p.request_id, p.digest, round(p.sent_at, 3)]) + "\n" for p in kept)
        )
        fresh.replace(self._path)
        self._lines = len(kept)


def _probe(line: str) -> Probe | None:
    """Return the probe of a line; None where a kill left half of one."""
    try:
        request_id, digest, sent_at = json.loads(line)
        return Probe(str(request_id), str(digest), float(sent_at))
    except (ValueError, TypeError):
        return None


def differences(record: RequestRecord, told: Mapping[str, Any]) -> list[str]:
    """Return in what the explanation *told* is not what *record* says."""
    expected = {
        "request_id": record.request_id,
        "service": record.service,
        "route": record.route,
        "status_code": record.status_code,
        "outcome": record.outcome,
        "state": record.state,
        "trace_id": record.trace_id,
        "annotations": record.annotations,
    }
    found = [name for name, value in expected.items() if told.get(name) != value]
    composite = told.get("composite") or {}
    found += [] if composite.get("version") == record.composite_version else ["composite"]
    seeds = [call.get("seed") for call in told.get("calls") or ()]
    found += [] if seeds == [call.seed for call in record.calls] else ["calls"]
    return found
