"""What the SQL gate costs, beside the query it lets through; printed, never asserted."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sql_rows import fill

from mvtrace.store import open_store
from mvtrace.store.migrations import migrate
from mvtrace_collector.sqlgate import Gate
from mvtrace_collector.sqlreaders import Limits, ReaderPool, reader_settings
from mvtrace_collector.sqltext import looked_over
from mvtrace_collector.sqltree import tree_of

SIMPLE = "SELECT count() FROM requests"
GROUPED = (
    "SELECT route, count() AS n, quantile(0.95)(duration_ns) AS p95 FROM requests "
    "WHERE started_at > '2026-01-01' GROUP BY route ORDER BY n DESC LIMIT 10"
)


def median_us(call: Callable[[], object], *, times: int = 200) -> float:
    """The median time of *call* in microseconds."""
    call()
    taken = []
    for _ in range(times):
        started = time.perf_counter_ns()
        call()
        taken.append(time.perf_counter_ns() - started)
    return statistics.median(taken) / 1000


@pytest.mark.benchmark
def test_cost_of_the_gate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    A first look costs two short calls of the engine; a statement that was seen costs a lookup.
    """
    with open_store(f"chdb://{tmp_path / 'store'}") as store:
        migrate(store)
        fill(store)
        readers = ReaderPool(store)
        gate = Gate(store, readers)
        settings = reader_settings(
            Limits(), database="mvtrace", tables=gate.catalog.tables, project="default"
        )

        def judge(sql: str) -> None:
            gate._verdicts.clear()
            gate.approve(sql)

        def run(sql: str) -> None:
            with readers.reader(settings) as session:
                session.raw(sql, None, "Native")

        def python_part(sql: str, printed: str) -> None:
            looked_over(sql)
            tree_of(printed)

        with capsys.disabled():
            print(f"\n{'µs (median)':12}{'first look':>12}{'seen':>8}{'in Python':>11}{'query':>9}")
            for name, sql in (("count", SIMPLE), ("group by", GROUPED)):
                printed = store.raw(f"EXPLAIN AST {sql}", None, "TSVRaw").decode()
                costs = (
                    median_us(lambda sql=sql: judge(sql)),
                    median_us(lambda sql=sql: gate.approve(sql)),
                    median_us(lambda sql=sql, printed=printed: python_part(sql, printed)),
                    median_us(lambda sql=sql: run(sql)),
                )
                first, seen, python, query = costs
                print(f"{name:12}{first:12.0f}{seen:8.1f}{python:11.0f}{query:9.0f}", end="")
                print(f"   first look / query = {first / query:.2f}")
            opening = median_us(
                lambda: store.close_session(store.open_session(dict(settings))), times=20
            )
            print(f"a new reader: {opening:.0f} µs")
        readers.close()
