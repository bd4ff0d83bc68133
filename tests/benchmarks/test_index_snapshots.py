"""What an index snapshot costs: once for the first fingerprint, then with every query; printed.

``MVTRACE_TEST_STORES`` names the stores (those of the first tier, where their packages are
installed), ``MVTRACE_BENCH_SIZES`` how many vectors they hold.
"""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

import index_stores_more  # noqa: F401 (adds its stores)
import pytest
from index_stores import FIRST_TIER, STORES, vectors_of

from mvtrace.components import ObservedIndex

NAMES = os.environ.get("MVTRACE_TEST_STORES", ",".join(FIRST_TIER)).split(",")
SIZES = [int(size) for size in os.environ.get("MVTRACE_BENCH_SIZES", "10000,100000").split(",")]
DIMENSION = 64
LONGEST_FILL_S = 60.0
"""A store that would take longer to fill is left out at that size, and the table says so."""
QUERIES = 300

pytestmark = [pytest.mark.benchmark, pytest.mark.stores]


def current_us(source: ObservedIndex) -> float:
    """The median time in which *source* tells its state, in microseconds."""
    taken = []
    for _ in range(QUERIES):
        started = time.perf_counter_ns()
        source.current()
        taken.append(time.perf_counter_ns() - started)
    return statistics.median(taken) / 1000


@pytest.mark.parametrize("name", NAMES)
def test_cost_of_a_snapshot(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    The first fingerprint costs by size up to the limit of what is hashed whole, a query little.
    """
    store = STORES[name](tmp_path, dimension=DIMENSION)
    took_s = 0.0
    with capsys.disabled():
        if name == NAMES[0]:
            print(f"\n{'store':16}{'vectors':>9}{'method':>11}{'first ms':>10}{'a query µs':>12}")
        for before, size in zip((0, *SIZES), SIZES, strict=False):
            if before and took_s * size / before > LONGEST_FILL_S:
                print(f"{name:16}{size:9}   (takes too long to fill)")
                continue
            vectors = vectors_of(size, dimension=DIMENSION)
            started = time.perf_counter()
            store.fill(vectors)
            took_s = time.perf_counter() - started
            started = time.perf_counter()
            component = store.pin()
            first_ms = (time.perf_counter() - started) * 1000
            assert isinstance(component.source, ObservedIndex)
            method = component.facts["snapshot"]["method"]
            query_us = current_us(component.source)
            print(f"{name:16}{size:9}{method:>11}{first_ms:10.0f}{query_us:12.1f}")
    store.close()
