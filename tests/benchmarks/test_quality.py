"""How long a comparison takes over a week of many spans, beside raw queries for the same, as ratios."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from exposed import BASELINE, CANARY, HOUR, Sweeping
from stored import new_store

from mvtrace.quality.deciding import compare
from mvtrace.quality.plan import Metric, Plan
from mvtrace.quality.sources import Asked as AskedMetrics
from mvtrace.quality.sufficient import Arms, reduce
from mvtrace.store import Store
from mvtrace.store.quality import Asked, StoredRollUp, read_rollup

SPANS = int(os.environ.get("MVTRACE_BENCH_SPANS", "50000000"))
SPANS_A_REQUEST = 10
REQUESTS = SPANS // SPANS_A_REQUEST
USERS = 500_000
DAYS = 7
HOURS = 24 * DAYS
READS = 25
REVISIONS = 6
KEPT = os.environ.get("MVTRACE_BENCH_QUALITY_STORE")
"""A folder in which the filled store is kept: it is made by the first run and used by the next."""

pytestmark = pytest.mark.benchmark

PLAN = Plan(
    name="a week",
    unit="user",
    metrics=(
        Metric(name="log_latency_ms", kind="log", direction="lower", margin=1.05),
        Metric(name="error", kind="event", direction="lower", margin=1.25),
        Metric(name="good", kind="rate", margin=0.02),
        Metric(name="good:given", kind="rate", role="gate", margin=0.02),
    ),
)
ARMS = Arms(baseline=BASELINE, canary=CANARY, started_at=HOUR * 3600, until=(HOUR + HOURS) * 3600)
ASKED = Asked(
    baseline=BASELINE, canary=CANARY, service="shop", environment="prod",
    metrics=tuple(PLAN.source_of(metric) for metric in PLAN.metrics),
    since=ARMS.started_at, until=ARMS.until,
)  # fmt: skip

_REQUESTS = """
    SELECT number AS n, toUInt64({from:UInt64}) + intDiv(number * {width:UInt64}, {count:UInt64}) AS ms,
        toFixedString(unhex(concat(leftPad(hex(ms), 12, '0'), '7000', leftPad(hex(number), 16, '0'))), 16) AS id,
        cityHash64(number, ms, 1) AS one, cityHash64(number, ms, 2) AS two, one % {users:UInt64} + 1 AS user,
        sipHash64(user, 'arm') % 20 = 0 AS is_canary
    FROM numbers({count:UInt64})
"""
_VERSION = "if(is_canary, {canary:String}, {baseline:String})"
_FILL = {
    "requests": f"""
        INSERT INTO requests (project, request_id, revision, record, state, outcome, service, environment, started_at,
            duration_ns, composite_version, arm, rollout, unit, planned_share, received_at)
        SELECT 'default', id, 2, '{{}}', 'finished', if(two % 100 = 0, 'error', 'ok'), 'shop', 'prod', fromUnixTimestamp64Milli(ms),
            toUInt64(exp(4 + (two % 1000) / 500) * 1e6), {_VERSION}, if(is_canary, 'canary', 'stable'), 'r1',
            unhex(leftPad(hex(user), 32, '0')), 0.05, fromUnixTimestamp64Milli(ms)
        FROM ({_REQUESTS})""",
    "spans": f"""
        INSERT INTO spans (project, request_id, span_id, trace_id, name, start_time, duration_ns, service, environment,
            composite_version, arm, operation, output_tokens, received_at)
        SELECT 'default', id, unhex(leftPad(hex(at), 16, '0')), id, 'generation', fromUnixTimestamp64Milli(ms),
            toUInt64(exp(2 + (two % 1000) / 500) * 1e6), 'shop', 'prod', {_VERSION}, if(is_canary, 'canary', 'stable'),
            'chat', one % 500, fromUnixTimestamp64Milli(ms)
        FROM ({_REQUESTS}) ARRAY JOIN range({SPANS_A_REQUEST}) AS at""",
    "scores": f"""
        INSERT INTO scores (project, request_id, name, scorer, event_id, source, value, scored_at, received_at)
        SELECT 'default', id, 'good', 'sha256:judge', id, 'judge', two % 10 != 0, fromUnixTimestamp64Milli(ms), fromUnixTimestamp64Milli(ms)
        FROM ({_REQUESTS}) WHERE one % 3 = 0""",
}

_OVER_REQUESTS = """
    SELECT composite_version, hour, count(), sum(total), sum(squares), sum(requests)
    FROM
    (
        SELECT composite_version, unit, intDiv(reinterpretAsUInt64(reverse(substring(request_id, 1, 6))), 3600000) AS hour,
            count() AS requests, sum(log(duration_ns / 1e6)) AS total, sum(pow(log(duration_ns / 1e6), 2)) AS squares
        FROM requests WHERE project = 'default' AND composite_version IN ({baseline:String}, {canary:String})
        GROUP BY composite_version, unit, hour
    )
    GROUP BY composite_version, hour"""
_OVER_SPANS = """
    SELECT composite_version, intDiv(reinterpretAsUInt64(reverse(substring(request_id, 1, 6))), 3600000) AS hour,
        sipHash64(request_id) % 256 AS bucket, count(), sum(log(duration_ns / 1e6)), sum(pow(log(duration_ns / 1e6), 2))
    FROM spans WHERE project = 'default' AND composite_version IN ({baseline:String}, {canary:String})
    GROUP BY composite_version, hour, bucket"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = Path(KEPT) if KEPT else tmp_path_factory.mktemp("quality")
    is_filled = (folder / "filled").exists()
    folder.mkdir(parents=True, exist_ok=True)
    with new_store(f"chdb://{folder / 'store'}") as made:
        if not is_filled:
            fill(made)
            (folder / "filled").touch()
        yield made


def fill(store: Store) -> None:
    """Store a week of requests, spans and scores, and sweep its hours."""
    started = time.perf_counter()
    for day in range(DAYS):
        given = {
            "from": (HOUR + 24 * day) * 3_600_000,
            "width": 86_400_000,
            "users": USERS,
            "count": REQUESTS // DAYS,
            "baseline": BASELINE,
            "canary": CANARY,
        }
        for statement in _FILL.values():
            store.command(statement, given)
    print(f"\n{REQUESTS} requests, {SPANS} spans: stored in {time.perf_counter() - started:.0f} s")
    started = time.perf_counter()
    Sweeping(store).sweep("default", range(HOUR, HOUR + HOURS), AskedMetrics(wanted=("good",)))
    taken = time.perf_counter() - started
    print(f"rolled up in {taken:.0f} s: {taken * 1e6 / REQUESTS:.1f} s a million requests")


def milliseconds(work: Callable[[], Any], times: int) -> tuple[float, float]:
    """Return how long *work* took, in the middle, and how much processor it needed, at least."""
    taken, needed = [], []
    work()
    for _ in range(times):
        began, spent = time.perf_counter(), time.process_time()
        work()
        taken.append((time.perf_counter() - began) * 1000)
        needed.append((time.process_time() - spent) * 1000)
    return statistics.median(taken), min(needed)


def sweep_again(store: Store, hours: int) -> None:
    """Leave several revisions of the last *hours*, in parts that no merge took yet."""
    store.command("SYSTEM STOP MERGES quality_hourly")
    for number in range(1, REVISIONS):
        store.command(
            "INSERT INTO quality_hourly SELECT * REPLACE (revision + {n:UInt64} AS revision) "
            "FROM quality_hourly FINAL WHERE hour >= toDateTime({since:UInt32}, 'UTC')",
            {"n": number, "since": (HOUR + HOURS - hours) * 3600},
        )


def merge(store: Store) -> None:
    store.command("SYSTEM START MERGES quality_hourly")
    store.command("OPTIMIZE TABLE quality_hourly FINAL")


def swept_again(store: Store, hours: int, merged: StoredRollUp) -> tuple[float, float]:
    """Return how long the comparison takes then; it is the same one."""
    sweep_again(store, hours)
    taken = milliseconds(lambda: compare(PLAN, read_rollup(store, ASKED), ARMS), READS)
    same = compare(PLAN, read_rollup(store, ASKED), ARMS) == compare(PLAN, merged, ARMS)
    merge(store)
    assert same
    return taken


def test_comparison(store: Store) -> None:
    """
    A comparison by four metrics, stratified by hour and clustered by bucket, beside a raw query for
    one metric, over requests by user and over spans.
    """
    merge(store)
    found = read_rollup(store, ASKED)
    cells = sum(one.sums.shape[1] for one in found.columns().values())
    versions = {"baseline": BASELINE, "canary": CANARY}
    read = milliseconds(lambda: read_rollup(store, ASKED), READS)
    sums = milliseconds(lambda: reduce(PLAN, found, ARMS), READS)
    whole = milliseconds(lambda: compare(PLAN, read_rollup(store, ASKED), ARMS), READS)
    single = replace(ASKED, metrics=("log_latency_ms",))
    alone = Plan(name="one metric", unit="user", metrics=PLAN.metrics[:1])
    one = milliseconds(lambda: compare(alone, read_rollup(store, single), ARMS), READS)
    live, unmerged = (swept_again(store, hours, found) for hours in (24, HOURS))
    by_user = milliseconds(lambda: store.query(_OVER_REQUESTS, versions), 3)
    by_span = milliseconds(lambda: store.raw(_OVER_SPANS, versions, "Native"), 3)

    verdict = compare(PLAN, found, ARMS)
    served = found.columns()["request", BASELINE].sums[0].sum()
    print(f"\n{SPANS} spans, {cells} cells of {len(PLAN.metrics)} metrics: {verdict.decision}")
    for name, (taken, needed) in {
        "comparison by four metrics": whole,
        "  of it reading": read,
        "  of it sums": sums,
        f"  {REVISIONS} revisions of a day unmerged": live,
        f"  {REVISIONS} of every hour unmerged": unmerged,
        "comparison by one metric": one,
        "one metric, raw requests by user": by_user,
        "one metric, raw spans by bucket": by_span,
    }.items():
        times = f"{taken / whole[0]:6.2f} and {needed / whole[1]:6.2f} x the comparison"
        print(f"  {name:34}{taken:7.0f} ms, {needed:7.0f} ms of CPU, {times}")
    assert served > 0.9 * REQUESTS
    assert verdict.decision in ("hold", "promote")
