"""What the collector counts, in Prometheus' text form.

Comes in: calls of the receiver; at each scrape the lag of the inbox and the numbers of the loader.
Goes out: the body of ``/metrics``. A registry of its own: nothing of the process is shown unasked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mvtrace_collector.inbox import Lag

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """The counters of one collector."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._exports = self._counter(
            "exports", "Export requests by answer.", ("signal", "encoding", "status")
        )
        self._bytes = self._counter("export_bytes", "Bytes of export bodies.", ("signal", "stage"))
        self._accepted = self._counter(
            "accepted", "Spans and log records that are durable.", ("signal",)
        )
        self._rejected = self._counter(
            "rejected", "Spans and log records that were refused.", ("signal", "reason")
        )
        self._duplicates = self._counter(
            "duplicate_batches", "Batches that had been accepted before.", ("signal",)
        )
        self._errors = self._counter(
            "internal_errors", "Errors nobody foresaw, answered with 503.", ("where",)
        )

    def _counter(self, name: str, text: str, labels: tuple[str, ...]) -> Counter:
        return Counter(f"mvtrace_{name}", text, labels, registry=self.registry)

    def answered(self, signal: str, encoding: str, status: int) -> None:
        """Count one export request."""
        self._exports.labels(signal, encoding, str(status)).inc()

    def received(self, signal: str, *, compressed: int, inflated: int) -> None:
        """Count the bytes of a body before and after decompression."""
        self._bytes.labels(signal, "received").inc(compressed)
        self._bytes.labels(signal, "inflated").inc(inflated)

    def accepted(self, signal: str, count: int, rejected: Mapping[str, int]) -> None:
        """Count spans or log records after the acknowledgement."""
        self._accepted.labels(signal).inc(count)
        for reason, number in rejected.items():
            self._rejected.labels(signal, reason).inc(number)

    def duplicate(self, signal: str) -> None:
        """Count a batch that was accepted before."""
        self._duplicates.labels(signal).inc()

    def internal_error(self, where: str) -> None:
        """Count an error nobody foresaw."""
        self._errors.labels(where).inc()

    def watch(self, lag: Callable[[], Lag], loader: Callable[[], LoaderNumbers]) -> None:
        """Show, at each scrape, what *lag* and *loader* say then."""
        self.registry.register(_Scrape(lag, loader))

    def render(self) -> bytes:
        """Return everything as text."""
        return generate_latest(self.registry)


@dataclass(frozen=True, slots=True)
class LoaderNumbers:
    """What the loader has done since the start."""

    rows: Mapping[str, int]
    """By table."""
    segments: int
    errors: int
    unloadable: int


class _Scrape(Collector):
    def __init__(self, lag: Callable[[], Lag], loader: Callable[[], LoaderNumbers]) -> None:
        self._lag = lag
        self._loader = loader

    def collect(self) -> Iterable[Metric]:
        lag = self._lag()
        age = 0.0 if lag.oldest_ms is None else max(0.0, time.time() - lag.oldest_ms / 1000)
        for name, text, value in (
            ("inbox_segments", "Segments that are not stored.", lag.segments),
            ("inbox_bytes", "Bytes that are not stored.", lag.bytes),
            ("inbox_oldest_seconds", "Age of the oldest batch that is not stored.", age),
            (
                "inbox_accepted_seq",
                "Sequence number of the newest accepted batch.",
                lag.accepted_seq,
            ),
            ("inbox_stored_seq", "Sequence number up to which all is stored.", lag.stored_seq),
        ):
            yield GaugeMetricFamily(f"mvtrace_{name}", text, value)
        numbers = self._loader()
        rows = CounterMetricFamily("mvtrace_stored_rows", "Rows by table.", labels=("table",))
        for table, count in sorted(dict(numbers.rows).items()):
            rows.add_metric((table,), count)
        yield rows
        for name, text, value in (
            ("stored_segments", "Segments that were loaded.", numbers.segments),
            ("loader_errors", "Loads that failed; each is tried again.", numbers.errors),
            ("unloadable_batches", "Batches in quarantine as they came.", numbers.unloadable),
        ):
            yield CounterMetricFamily(f"mvtrace_{name}", text, value)
