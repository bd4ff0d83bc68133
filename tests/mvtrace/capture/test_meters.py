"""The capture's own numbers through the application's own meter provider."""

from __future__ import annotations

import re
from typing import Any

from captured import Captured
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from sink import Scripted, Sink

import mvtrace
from mvtrace.capture import meters
from mvtrace.capture.counts import COUNTERS
from mvtrace.capture.pipeline import Tracing


def collected(reader: InMemoryMetricReader) -> dict[tuple[str, str], float]:
    """Every point by instrument and attributes."""
    data: Any = reader.get_metrics_data()
    return {
        (metric.name, ",".join(map(str, point.attributes.values()))): point.value
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    }


def test_numbers_reach_the_provider(captured: Captured, tracing: Tracing, sink: Sink) -> None:
    """
    What was captured, spooled, shipped and refused is what the instruments show.
    """
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    mvtrace.export_metrics(provider)
    sink.script.append(Scripted(503))

    with mvtrace.request(route="/ask"):
        pass
    assert mvtrace.flush(20)
    stats = tracing.stats()
    found = collected(reader)
    provider.shutdown()

    assert found["mvtrace.capture.items", "records"] == stats["captured_records"] == 1
    assert found["mvtrace.spool.items", "records"] == 1
    assert found["mvtrace.shipping.batches", ""] == stats["shipped_batches"] > 0
    assert found["mvtrace.shipping.failures", "answers_busy"] == 1
    assert found["mvtrace.capture.dropped", "spans,dropped_queue_full"] == 0
    assert found["mvtrace.spool.undelivered", ""] == found["mvtrace.shipping.lag", ""] == 0
    assert found["mvtrace.capture.breaker", ""] == 0


def test_what_waits_ages(tracing: Tracing, sink: Sink) -> None:
    """
    While the collector refuses, undelivered bytes and lag grow, and both are gone afterwards.
    """
    sink.script.extend([Scripted(503)] * 2)
    with mvtrace.request(route="/ask"):
        pass

    assert not mvtrace.flush(0.3)
    waiting = tracing.stats()
    assert mvtrace.flush(30)
    done = tracing.stats()

    assert waiting["spool_undelivered_bytes"] > 0
    assert waiting["shipping_lag_ms"] > 100
    assert done["spool_undelivered_bytes"] == done["shipping_lag_ms"] == 0


def test_every_number_has_an_instrument(tracing: Tracing) -> None:
    """
    No number of Tracing.stats() is left out, and each is shown once.
    """
    stats = tracing.stats()

    shown = [point for rule in meters.RULES for point in meters.points(rule, stats)]

    assert stats.keys() >= set(COUNTERS)
    assert len(shown) == len(stats)
    assert all(re.fullmatch(r"mvtrace(\.[a-z]+){2}", rule.instrument) for rule in meters.RULES)
