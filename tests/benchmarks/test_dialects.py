"""What understanding a call costs the loader: CPU a span by dialect, beside spans that say nothing."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import Any

import pytest
from attribute_spans import exported
from dialect_spans import SPANS
from oracle import Batch, write_segment

from mvtrace.store import Store, migrate, open_store
from mvtrace_collector.loader import load_segment

SPANS_A_SEGMENT = int(os.environ.get("MVTRACE_BENCH_SPANS", "10240"))
ROUNDS = 7
DIALECTS = ("OpenTelemetry", "OpenInference", "Langfuse", "MLflow", "OpenLLMetry")

pytestmark = pytest.mark.benchmark


def neutral(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return as many attributes of the same values, of which none is understood."""
    return {f"x.{key}": value for key, value in attributes.items()}


def written(path: Path, attributes: dict[str, Any]) -> Path:
    """Return a segment of such spans."""
    batch = Batch(exported([attributes] * SPANS_A_SEGMENT), time.time_ns() // 10**6)
    return write_segment(path, [batch])


def cpu_us(store: Store, segment: Path) -> float:
    """Return what loading *segment* takes, in microseconds of CPU a span."""
    before = time.process_time()
    load_segment(store, segment, token=str(time.time_ns()))
    return (time.process_time() - before) / SPANS_A_SEGMENT * 1e6


def test_cost_of_a_dialect(tmp_path: Path) -> None:
    """
    Prints the least CPU a span of each dialect, and its ratio to spans whose keys mean nothing.
    """
    sent = {name: SPANS[name][0] for name in DIALECTS}
    sent |= {f"{name}, neutral": neutral(attributes) for name, attributes in sent.items()}
    segments = {name: written(tmp_path / name, one) for name, one in sent.items()}
    costs: dict[str, float] = {}
    with open_store(f"chdb://{tmp_path / 'db'}") as store:
        migrate(store)
        for _ in range(ROUNDS):
            for name, segment in segments.items():
                costs[name] = min(costs.get(name, math.inf), cpu_us(store, segment))

    for name in DIALECTS:
        plain = costs[f"{name}, neutral"]
        print(f"\n{name}: {costs[name]:.1f} us of CPU a span, {costs[name] / plain:.2f} x neutral")
    assert set(costs) == set(sent)
