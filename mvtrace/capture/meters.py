"""The capture's own numbers as OpenTelemetry metrics, for an application that asks for them.

In: ``Tracing.stats()`` of the process's tracing, at each collection. Out: observable instruments of
the application's own meter provider; nothing is exported here and no provider is ever set. What was
captured, dropped and shipped, what waits in the spool and for how long, whether tracing is off.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from mvtrace import semconv
from mvtrace.capture.guard import fail_open
from mvtrace.capture.pipeline import current_tracing

FRESH_S: Final = 1.0
"""All instruments of one collection see the same numbers."""

Point = tuple[float, dict[str, str]]


class Rule(NamedTuple):
    """Which numbers make one instrument; the groups of *pattern* are its attributes."""

    instrument: str
    unit: str
    pattern: re.Pattern[str]
    text: str
    is_gauge: bool = False
    scale: float = 1.0


_KIND: Final = "(?P<kind>records|spans|events)"
RULES: Final = (
    Rule("mvtrace.capture.items", "{item}", re.compile(f"captured_{_KIND}"), "Captured."),
    Rule(
        "mvtrace.capture.dropped",
        "{item}",
        re.compile(f"{_KIND}_(?P<reason>dropped_[a-z_]+|not_spooled|forgotten)"),
        "Captured and lost, by reason.",
    ),
    Rule("mvtrace.capture.errors", "{error}", re.compile("capture_errors"), "Internal errors."),
    Rule(
        "mvtrace.capture.skipped",
        "{request}",
        re.compile("requests_not_captured"),
        "Requests answered while tracing was off.",
    ),
    Rule(
        "mvtrace.capture.queue",
        "{item}",
        re.compile("queue_length"),
        "Waiting to be encoded.",
        is_gauge=True,
    ),
    Rule(
        "mvtrace.capture.breaker",
        "1",
        re.compile("breaker_is_open"),
        "1 while tracing is off after too many errors.",
        is_gauge=True,
    ),
    Rule("mvtrace.spool.items", "{item}", re.compile(f"spooled_{_KIND}"), "Written to the spool."),
    Rule("mvtrace.spool.written", "By", re.compile("spooled_bytes"), "Written to the spool."),
    Rule(
        "mvtrace.spool.undelivered",
        "By",
        re.compile("spool_undelivered_bytes"),
        "In the spool and not delivered.",
        is_gauge=True,
    ),
    Rule("mvtrace.shipping.batches", "{batch}", re.compile("shipped_batches"), "Accepted."),
    Rule("mvtrace.shipping.bytes", "By", re.compile("shipped_bytes"), "Accepted, as sent."),
    Rule(
        "mvtrace.shipping.failures",
        "{answer}",
        re.compile("ship_(?P<reason>connection_errors|answers_[a-z]+|batches_[a-z]+)"),
        "Deliveries that were not accepted, by answer.",
    ),
    Rule(
        "mvtrace.shipping.lag",
        "s",
        re.compile("shipping_lag_ms"),
        "For how long something spooled has been waiting.",
        is_gauge=True,
        scale=0.001,
    ),
    Rule(
        "mvtrace.capture.events",
        "{event}",
        re.compile("(?P<what>[a-z_]+)"),
        "Everything else that is counted, by its name in Tracing.stats().",
    ),
)
"""The first rule that fits a number has it; the last fits all, so that none is left out."""


@fail_open
def export_metrics(meter_provider: MeterProvider | None = None) -> None:
    """Give the capture's own numbers to *meter_provider*, else to the application's global one.

    To be called once, after the provider is set; without a provider it does nothing.
    """
    meter = metrics.get_meter(semconv.SCOPE_NAME, meter_provider=meter_provider)
    read = _Reading(lambda: current_tracing().stats())
    for rule in RULES:
        make = meter.create_observable_gauge if rule.is_gauge else meter.create_observable_counter
        make(rule.instrument, [_callback(rule, read)], unit=rule.unit, description=rule.text)


def points(rule: Rule, stats: Mapping[str, int]) -> list[Point]:
    """Return what *rule* takes of *stats*: values with their attributes."""
    return [
        (value * rule.scale if rule.scale != 1.0 else value, found.groupdict())
        for key, value in stats.items()
        if (found := _owner(key)[1]) is not None and _owner(key)[0] is rule
    ]


def _owner(key: str) -> tuple[Rule | None, re.Match[str] | None]:
    for rule in RULES:
        found = rule.pattern.fullmatch(key)
        if found is not None:
            return rule, found
    return None, None


class _Reading:
    """The numbers, read at most once a second."""

    def __init__(self, read: Callable[[], Mapping[str, int]]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._at = float("-inf")
        self._stats: Mapping[str, int] = {}

    def __call__(self) -> Mapping[str, int]:
        with self._lock:
            if time.monotonic() - self._at > FRESH_S:
                self._stats = self._read()
                self._at = time.monotonic()
            return self._stats


def _callback(rule: Rule, read: _Reading) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def observe(_: Any) -> Iterable[Observation]:
        return [Observation(value, attributes) for value, attributes in points(rule, read())]

    return observe
