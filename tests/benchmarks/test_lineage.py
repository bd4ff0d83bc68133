"""How fast the ancestry graph is walked, beside the floor of one look-up over the same way."""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from processes import collector

from mvtrace.cli.registering import asker
from mvtrace.registry.lineage.answered import answered
from mvtrace.registry.lineage.derivations import HISTORY_ROLES
from mvtrace.registry.lineage.walking import Graph, walk
from mvtrace.registry.reading import Ask, statement
from mvtrace.registry.refs import Ref
from mvtrace.store import Store, migrate, open_store

VERSIONS = 100_000
MODELS = 20_000
DATASETS = 5_000
GENERATIONS = 10
"""Fine-tunes from one base, one upon the other."""
REQUESTS = 1_000_000
WALKS = 40

pytestmark = pytest.mark.benchmark

_DIGEST = "lower(hex(SHA256(concat('{kind}', toString({number})))))"
EDGES = (
    # Each version: eight parts, of which it shares most with its neighbours, and the one before it.
    (
        "composite", "n", "component", "if(k = 0, intDiv(n, 5), 1000000 * k + intDiv(n, 50 * k))",
        "concat('model/part', toString(k))", "''",
        f"(SELECT number AS n FROM numbers({VERSIONS})) ARRAY JOIN range(8) AS k",
    ),
    (
        "composite", "n + 1", "composite", "n", "'previous'", "'sha256:1'",
        f"(SELECT number AS n FROM numbers({VERSIONS - 1}))",
    ),
    # Each model: its file, which was tuned from the one before on two datasets.
    (
        "component", "n", "artifact", "n", "'artifact'", "''",
        f"(SELECT number AS n FROM numbers({MODELS}))",
    ),
    (
        "artifact", "n + 1", "artifact", "n", "'base'", "'sha256:2'",
        f"(SELECT number AS n FROM numbers({MODELS - 1}) WHERE (number + 1) % {GENERATIONS} != 0)",
    ),
    (
        "artifact", "n", "dataset", f"cityHash64(n, k) % {DATASETS}", "'dataset'", "'sha256:3'",
        f"(SELECT number AS n FROM numbers({MODELS})) ARRAY JOIN range(2) AS k",
    ),
    # Each dataset: three steps from raw data.
    (
        "dataset", "n", "dataset", f"n + {DATASETS}", "'dataset'", "'sha256:4'",
        f"(SELECT number AS n FROM numbers({3 * DATASETS}))",
    ),
    (
        "dataset", "n", "transformation", "n % 100", "'how'", "'sha256:4'",
        f"(SELECT number AS n FROM numbers({3 * DATASETS}))",
    ),
)  # fmt: skip
_FILL = """
INSERT INTO lineage_edges
WITH concat('{child}:', {child_digest}) AS made, concat('{parent}:', {parent_digest}) AS source
SELECT 'default', d, if(d = 'up', made, source), if(d = 'up', source, made), {role}, {said}, now64(3)
FROM {rows} ARRAY JOIN ['up', 'down'] AS d
"""
_REQUESTS = f"""
INSERT INTO requests (project, request_id, revision, composite_version, state, started_at, received_at)
SELECT 'default', toFixedString(unhex(concat('019f3c2a4b7c70008', leftPad(hex(number), 15, '0'))), 16),
    2, lower(hex(SHA256(concat('composite', toString(cityHash64(number) % {VERSIONS}))))), 'finished', now64(9), now64(3)
FROM numbers({REQUESTS})
"""


def ref(kind: str, number: int, store: Store) -> Ref:
    sql = f"SELECT {_DIGEST.format(kind=kind, number=number)}"
    return Ref(kind, str(store.query(sql).rows[0][0]))


def fill(folder: Path) -> tuple[list[Ref], list[Ref]]:
    """Fill a store; return some versions and some datasets of it."""
    with open_store(f"chdb://{folder / 'store'}") as store:
        migrate(store)
        for child, number, parent, other, role, said, rows in EDGES:
            digests = {
                "child_digest": _DIGEST.format(kind=child, number=number),
                "parent_digest": _DIGEST.format(kind=parent, number=other),
            }
            store.command(
                _FILL.format(child=child, parent=parent, role=role, said=said, rows=rows, **digests)
            )
        store.command("OPTIMIZE TABLE lineage_edges FINAL")
        store.command(_REQUESTS)
        ((edges, size),) = store.query(
            "SELECT count() / 2, (SELECT sum(bytes_on_disk) FROM system.parts "
            "WHERE table = 'lineage_edges' AND active) FROM lineage_edges"
        ).rows
        print(f"\n{VERSIONS:,} versions, {edges:,.0f} edges, {size / edges:.0f} bytes an edge")
        source = random.Random(7)
        versions = [ref("composite", source.randrange(VERSIONS), store) for _ in range(WALKS)]
        return versions, [ref("dataset", source.randrange(DATASETS), store) for _ in range(WALKS)]


def milliseconds(work: Callable[[Ref], Any], starts: list[Ref]) -> list[float]:
    taken = []
    for start in starts:
        began = time.perf_counter()
        work(start)
        taken.append((time.perf_counter() - began) * 1000)
    return taken


def shown(name: str, taken: list[float], floor: float) -> None:
    ordered = sorted(taken)
    p50, p95 = statistics.median(ordered), ordered[int(len(ordered) * 0.95)]
    print(f"  {name:44} p50 {p50:6.1f} ms, p95 {p95:6.1f} ms, {p50 / floor:5.1f} x one look-up")


def size_of(graphs: list[Graph]) -> str:
    nodes = statistics.median(len(one.nodes) for one in graphs)
    return f"{nodes:.0f} nodes in {statistics.median(max(one.depths.values()) for one in graphs)} steps"


def test_walks_over_many_versions(tmp_path: Path) -> None:
    """
    Prints the time of a walk from a version up to raw data, from a dataset down to versions, and of
    the question which requests these answered, all through a collector; then a whole command.
    """
    versions, datasets = fill(tmp_path)
    with collector(tmp_path) as one:
        ask = asker(one.url, None)

        def look_up(start: Ref) -> None:
            asked = {"nodes": [str(start)], "direction": "up", "limit": 100}
            ask(statement("lineage_level"), asked)

        def up(start: Ref) -> Graph:
            return walk(ask, start, direction="up", leaves=HISTORY_ROLES)

        def down(start: Ref) -> Graph:
            return walk(ask, start, direction="down", max_nodes=20_000, without=HISTORY_ROLES)

        milliseconds(look_up, versions[:20])  # warm
        floor = statistics.median(milliseconds(look_up, versions))
        print(f"  one look-up through /sql   p50 {floor:6.1f} ms")
        ups, downs = (
            [walk_(start) for start in starts[:20]]
            for walk_, starts in ((up, versions), (down, datasets))
        )
        shown(f"version to raw data ({size_of(ups)})", milliseconds(up, versions), floor)
        shown(f"dataset to versions ({size_of(downs)})", milliseconds(down, datasets), floor)
        shown(
            "  and the requests these answered",
            milliseconds(lambda start: _requests(ask, down(start)), datasets),
            floor,
        )

        command = [sys.executable, "-m", "mvtrace", "lineage", str(datasets[0]), "--url", one.url]
        whole = []
        for _ in range(9):
            began = time.perf_counter()
            subprocess.run([*command, "--down"], check=True, capture_output=True)
            whole.append((time.perf_counter() - began) * 1000)
        print(f"  mvtrace lineage DATASET --down, whole: {statistics.median(whole):.0f} ms")


def _requests(ask: Ask, graph: Graph) -> int:
    return answered(ask, graph).requests
