"""What the collector counts, in Prometheus' text form.

Comes in: calls of the receiver and of the endpoints that read; at each scrape what inbox, loader
and observer say then. Goes out: the body of ``/metrics``. A registry of its own: nothing of the
process is shown unasked. Every name is in a table of ``deploy/operations.md``, which a test holds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mvtrace.version import __version__
from mvtrace_collector.inbox import Lag

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
READ_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds; the middle is where a point read lies."""


class Metrics:
    """The counters of one collector."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._exports = self._counter(
            "exports", "Export requests by answer.", ("signal", "encoding", "status")
        )
        self._refused = self._counter(
            "refused_exports", "Export requests refused, by why.", ("signal", "status", "reason")
        )
        self._bytes = self._counter("export_bytes", "Bytes of export bodies.", ("signal", "stage"))
        self._accepted = self._counter(
            "accepted", "Spans and log records that are durable.", ("signal",)
        )
        self._accepted_batches = self._counter(
            "accepted_batches", "Export bodies that are durable.", ("signal",)
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
        self._reads = self._counter(
            "reads", "Questions answered, by endpoint and outcome.", ("endpoint", "outcome")
        )
        self._read_seconds = Histogram(
            "mvtrace_read_seconds",
            "Time to an answer; an explanation's includes its wait for accepted data.",
            ("endpoint",),
            registry=self.registry,
            buckets=READ_BUCKETS,
        )
        self._accesses = self._counter(
            "access_entries", "Entries of the access log.", ("action", "outcome")
        )
        self._withheld = self._counter(
            "access_withheld", "Answers not given, as the access log was not writable.", ("action",)
        )
        self._not_logged = self._counter(
            "access_not_logged", "Requests without a good key, over the limit of entries.", ()
        )
        self._totals = dict.fromkeys(("spans", "log_records", "batches", "bytes"), 0.0)

    def _counter(self, name: str, text: str, labels: tuple[str, ...]) -> Counter:
        return Counter(f"mvtrace_{name}", text, labels, registry=self.registry)

    def answered(self, signal: str, encoding: str, status: int) -> None:
        """Count one export request."""
        self._exports.labels(signal, encoding, str(status)).inc()

    def refused(self, signal: str, status: int, reason: str) -> None:
        """Count one export request that was refused; *reason* is the error's code."""
        self._refused.labels(signal, str(status), reason).inc()

    def received(self, signal: str, *, compressed: int, inflated: int) -> None:
        """Count the bytes of a body before and after decompression."""
        self._bytes.labels(signal, "received").inc(compressed)
        self._bytes.labels(signal, "inflated").inc(inflated)
        self._totals["bytes"] += inflated

    def accepted(self, signal: str, count: int, rejected: Mapping[str, int]) -> None:
        """Count spans or log records after the acknowledgement."""
        self._accepted.labels(signal).inc(count)
        if count:
            self._accepted_batches.labels(signal).inc()
            self._totals["batches"] += 1
        self._totals["spans" if signal == "traces" else "log_records"] += count
        for reason, number in rejected.items():
            self._rejected.labels(signal, reason).inc(number)

    def duplicate(self, signal: str) -> None:
        """Count a batch that was accepted before."""
        self._duplicates.labels(signal).inc()

    def internal_error(self, where: str) -> None:
        """Count an error nobody foresaw."""
        self._errors.labels(where).inc()

    def read(self, endpoint: str, outcome: str, seconds: float) -> None:
        """Count a question and the time its answer took."""
        self._reads.labels(endpoint, outcome).inc()
        self._read_seconds.labels(endpoint).observe(seconds)

    def access_logged(self, action: str, outcome: str) -> None:
        """Count an entry of the access log."""
        self._accesses.labels(action, outcome).inc()

    def access_withheld(self, action: str) -> None:
        """Count an answer that was not given, since its entry could not be written."""
        self._withheld.labels(action).inc()

    def access_not_logged(self) -> None:
        """Count a stranger's request that has no entry."""
        self._not_logged.inc()

    def totals(self) -> dict[str, float]:
        """Return how much was accepted since the start, for rates."""
        return dict(self._totals)

    def watch(self, lag: Callable[[], Lag], numbers: Callable[[], Numbers]) -> None:
        """Show, at each scrape, what *lag* and *numbers* say then."""
        self.registry.register(_Scrape(lag, numbers))

    def show(self, families: Callable[[], Iterable[Metric]]) -> None:
        """Show, at each scrape, the *families* there are then."""
        self.registry.register(_Families(families))

    def render(self) -> bytes:
        """Return everything as text."""
        return generate_latest(self.registry)


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """What loader, inbox and observer say at one moment."""

    rows: Mapping[str, int]
    """Stored since the start, by table."""
    segments: int
    load_seconds: float = 0.0
    errors: int = 0
    replays: int = 0
    unloadable: int = 0
    is_ready: bool = True
    started_at: float = 0.0
    """Unix time in seconds."""
    in_flight_bytes: int = 0
    free_bytes: Mapping[str, int] = field(default_factory=dict)
    """By the place it is free at."""
    quarantine: Mapping[str, int] = field(default_factory=dict)
    """Rows in the store, by reason."""
    open_gaps: Mapping[str, int] = field(default_factory=dict)
    """Of them those that miss records still, by reason."""
    missing: Mapping[str, int] = field(default_factory=dict)
    """Records they miss, by reason."""
    detached: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Parts by table and reason."""
    open_drift: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Open episodes of drift, by kind and basis."""
    drift_requests: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Requests they affected, likewise."""
    drift_swept_at: float = 0.0
    """Unix time in seconds of the last sweep for drift; 0 before the first."""
    drift_failed: int = 0
    """Minutes that could not be swept."""
    quality_swept_at: float = 0.0
    """Unix time in seconds since when the roll-up is up to date; 0 before it first was."""
    quality_behind_s: float = 0.0
    """How long ago the oldest was received that may not be in the roll-up, in seconds."""
    quality_failed: int = 0
    """Times that an hour could not be rolled up."""
    unstored_accesses: int = 0
    """Entries of the access log that are durable and not yet rows."""


class _Families(Collector):
    def __init__(self, families: Callable[[], Iterable[Metric]]) -> None:
        self._families = families

    def describe(self) -> Iterable[Metric]:
        """Say nothing beforehand, as below."""
        return ()

    def collect(self) -> Iterable[Metric]:
        yield from self._families()


class _Scrape(Collector):
    def __init__(self, lag: Callable[[], Lag], numbers: Callable[[], Numbers]) -> None:
        self._lag = lag
        self._numbers = numbers

    def describe(self) -> Iterable[Metric]:
        """Say nothing beforehand: registering must not ask for numbers."""
        return ()

    def collect(self) -> Iterable[Metric]:
        yield from _inbox_metrics(self._lag())
        numbers = self._numbers()
        yield from _loader_metrics(numbers)
        yield from _store_metrics(numbers)


def _inbox_metrics(lag: Lag) -> Iterator[Metric]:
    age = 0.0 if lag.oldest_ms is None else max(0.0, time.time() - lag.oldest_ms / 1000)
    for name, text, value in (
        ("inbox_segments", "Segments that are not stored.", lag.segments),
        ("inbox_bytes", "Bytes that are not stored.", lag.bytes),
        ("inbox_batches", "Batches that are not stored.", lag.accepted_seq - lag.stored_seq),
        ("inbox_oldest_seconds", "Age of the oldest batch that is not stored.", age),
        ("inbox_accepted_seq", "Sequence number of the newest accepted batch.", lag.accepted_seq),
        ("inbox_stored_seq", "Sequence number up to which all is stored.", lag.stored_seq),
    ):
        yield GaugeMetricFamily(f"mvtrace_{name}", text, value)


def _loader_metrics(numbers: Numbers) -> Iterator[Metric]:
    yield _by("stored_rows", "Rows by table.", ("table",), numbers.rows, is_counter=True)
    for name, text, value in (
        ("stored_segments", "Segments that were loaded.", numbers.segments),
        ("load_seconds", "Time spent loading segments.", numbers.load_seconds),
        ("loader_errors", "Loads that failed; each is tried again.", numbers.errors),
        ("load_replays", "Loads repeated since rows were missing.", numbers.replays),
        ("unloadable_batches", "Batches in quarantine as they came.", numbers.unloadable),
    ):
        yield CounterMetricFamily(f"mvtrace_{name}", text, value)


def _store_metrics(numbers: Numbers) -> Iterator[Metric]:
    yield _by("quarantine_rows", "Rows in quarantine.", ("reason",), numbers.quarantine)
    yield _by("detached_parts", "Parts put aside.", ("table", "reason"), numbers.detached)
    yield _by("open_gaps", "Gaps with missing records.", ("reason",), numbers.open_gaps)
    yield _by("missing_records", "Records that never came.", ("reason",), numbers.missing)
    yield _by("disk_free_bytes", "Free space.", ("place",), numbers.free_bytes)
    drift = ("kind", "basis")
    yield _by("open_drift", "Slots that are not what they should be.", drift, numbers.open_drift)
    yield _by("open_drift_requests", "Requests these affected.", drift, numbers.drift_requests)
    swept_at, failed = numbers.drift_swept_at, numbers.drift_failed
    yield CounterMetricFamily("mvtrace_drift_unswept_minutes", "Minutes not swept.", failed)
    unmade = numbers.quality_failed
    yield CounterMetricFamily("mvtrace_quality_unswept_hours", "Hours that failed.", unmade)
    rolled_up_at = numbers.quality_swept_at
    for name, text, value in (
        ("drift_swept_time_seconds", "Unix time of the last sweep for drift.", swept_at),
        ("quality_swept_time_seconds", "Unix time of the last whole roll-up.", rolled_up_at),
        ("quality_behind_seconds", "How far the roll-up is behind.", numbers.quality_behind_s),
        ("in_flight_bytes", "Bytes of bodies being read or written.", numbers.in_flight_bytes),
        ("access_unstored", "Entries that are durable, not yet rows.", numbers.unstored_accesses),
        ("ready", "1 while every check of /readyz holds.", float(numbers.is_ready)),
        ("start_time_seconds", "Unix time of the start.", numbers.started_at),
    ):
        yield GaugeMetricFamily(f"mvtrace_{name}", text, value)
    build = GaugeMetricFamily("mvtrace_build_info", "Always 1.", labels=("version",))
    build.add_metric((__version__,), 1)
    yield build


def _by(
    name: str,
    text: str,
    labels: tuple[str, ...],
    values: Mapping[str, int] | Mapping[tuple[str, str], int],
    *,
    is_counter: bool = False,
) -> Metric:
    kind = CounterMetricFamily if is_counter else GaugeMetricFamily
    family = kind(f"mvtrace_{name}", text, labels=labels)
    for key, value in sorted(dict(values).items()):
        family.add_metric((key,) if isinstance(key, str) else key, value)
    return family
