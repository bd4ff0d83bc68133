"""What pinning costs: hashing beside sha256sum, a lock compared, a long history; printed only."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from stored import Filler, new_store

import mvtrace
from mvtrace.components import hash_artifact
from mvtrace.components.artifact_cache import ArtifactCache
from mvtrace.registry.pin.history import history
from mvtrace.registry.pin.naming import named

MIB = 1 << 20
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "pinned_app" / "mvtrace.lock"
VERSIONS, REQUESTS = 100_000, 1_000_000
FILL = (
    f"""INSERT INTO composites (project, version, name, manifest, labels, component_kinds,
        component_names, component_digests, received_at)
    SELECT 'default', lower(hex(SHA256(toString(number)))), 'bot', manifest, labels,
        component_kinds, component_names, component_digests, now64(3) - number
    FROM numbers({VERSIONS}) AS n CROSS JOIN (SELECT * FROM composites LIMIT 1) AS c""",
    f"""INSERT INTO lineage_edges (project, direction, node, other, role, source, received_at)
    SELECT 'default', 'up', concat('composite:', lower(hex(SHA256(toString(number))))),
        concat('composite:', lower(hex(SHA256(toString(number + 1))))), 'previous', 'sha256:1',
        now64(3) - number
    FROM numbers({VERSIONS})""",
    f"""INSERT INTO requests (project, request_id, revision, record, composite_version, started_at)
    SELECT 'default', unhex(concat(leftPad(lower(hex(toUInt64(1787396527123 + number))), 12, '0'),
            '70008', substring(lower(hex(SHA256(toString(number)))), 1, 15))), 1, '',
        lower(hex(SHA256(toString(number % 1000)))), now64(9) - number / 1000
    FROM numbers({REQUESTS})""",
)


def least(run: Callable[[], object], clock: Callable[[], float] = time.process_time) -> float:
    """Return the least of five measurements, in seconds."""
    taken = []
    for _ in range(5):
        start = clock()
        run()
        taken.append(clock() - start)
    return min(taken)


def children_s() -> float:
    times = os.times()
    return times.children_user + times.children_system


@pytest.mark.benchmark
def test_hashing_beside_sha256sum(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Files are hashed at the speed of the hash, which depends on the library that computes it.
    """
    path = tmp_path / "weights.bin"
    with path.open("wb") as file:
        for _ in range(512):
            file.write(os.urandom(MIB))
    forgetful = ArtifactCache(tmp_path / "cache.json", clock_ns=lambda: 0)

    own = least(lambda: hash_artifact(path, cache=forgetful))
    other = least(
        lambda: subprocess.run(["sha256sum", str(path)], capture_output=True, check=True),
        children_s,
    )

    size = path.stat().st_size / 1e6
    with capsys.disabled():
        print(f"\nhash_artifact {size / own:,.0f} MB/s   sha256sum {size / other:,.0f} MB/s (CPU)")


@pytest.mark.benchmark
def test_a_lock_compared(capsys: pytest.CaptureFixture[str]) -> None:
    """
    An application that loads a lock of a few texts waits for milliseconds.
    """
    taken = least(lambda: mvtrace.locked(EXAMPLE))

    with capsys.disabled():
        print(f"\nmvtrace.locked() of examples/pinned_app {taken * 1e3:.1f} ms (CPU)")


@pytest.mark.benchmark
def test_a_long_history(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    The newest of many versions are listed, and one is named, without reading them all in Python.
    """
    with new_store(f"chdb://{tmp_path / 'store'}") as store:
        Filler(store).system()
        with store.unrestricted_session() as session:
            for statement in FILL:
                session.command(statement)

        def ask(sql: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
            body = store.raw(sql, {"project": "default", **parameters}, "JSONEachRow")
            return [json.loads(line) for line in body.splitlines()]

        logged = least(lambda: history(ask, limit=20), time.perf_counter)
        found = least(lambda: named(ask, "5feceb66", now_ms=0), time.perf_counter)

    with capsys.disabled():
        print(
            f"\n{VERSIONS:,} versions, {REQUESTS:,} requests: "
            f"log {logged * 1e3:.0f} ms   a version by 8 digits {found * 1e3:.0f} ms (wall)"
        )
