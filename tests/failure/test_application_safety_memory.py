"""Memory while nothing can leave: bounded by the configured queue, and what is lost is counted."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest
from captured import records_of
from faulty_disks import Disk, disk
from servers import Server, serving
from sink import Sink

HERE = Path(__file__).parent
QUEUE_BYTES = 8 << 20
OVERHEAD = 1.6
"""Resident bytes for each byte the queue thinks it holds, and what the allocator keeps, at most."""
REST_BYTES = 24 << 20
"""What a busy server grows by without any queue."""

pytestmark = pytest.mark.failure


@pytest.fixture
def spool_disk(tmp_path: Path) -> Iterator[Disk]:
    try:
        with disk(tmp_path, "64M") as made:
            yield made
    except OSError as error:
        pytest.skip(f"no disk of its own: {error}")


def stats(server: Server) -> dict[str, float]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("GET", "/stats")
    found: dict[str, float] = json.loads(connection.getresponse().read())
    connection.close()
    return found


def flood(server: Server, requests: int) -> None:
    """Ask over one connection, each answer with some 3 KiB to be recorded."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    for number in range(requests):
        connection.request("GET", f"/echo/{number}?size=3000")
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())["number"]) == (200, number)
    connection.close()


@pytest.mark.parametrize("trouble", ["disk stalled", "collector down"])
def test_memory_is_bounded(tmp_path: Path, sink: Sink, spool_disk: Disk, trouble: str) -> None:
    """
    Ten times what the queue holds is asked meanwhile: memory stays within it, what did not fit is
    counted by reason, and the numbers of the records that arrive show the hole.
    """
    environ = {
        "MVTRACE_URL": "http://127.0.0.1:9" if trouble == "collector down" else sink.url,
        "MVTRACE_SPOOL_DIR": str(spool_disk.path / "spool"),
        "MVTRACE_SPOOL_MIN_FREE_BYTES": "0",
        "MVTRACE_SPOOL_MAX_BYTES": str((2 if trouble == "collector down" else 64) << 20),
        "MVTRACE_QUEUE_MAX_BYTES": str(QUEUE_BYTES),
        "PYTHONPATH": str(HERE.parents[1]),
    }
    command = (str(HERE / "safety_app.py"), "{fd}")
    with serving(command, tmp_path / "server.log", tmp_path, environ) as server:
        flood(server, 500)
        before = stats(server)
        fault: AbstractContextManager[None] = nullcontext()
        if trouble == "disk stalled":
            fault = spool_disk.stalled()
        with fault:
            flood(server, 10 * QUEUE_BYTES // 9000)
            meanwhile = stats(server)
        flood(server, 50)
        after = stats(server)

    grown = meanwhile["resident"] - before["resident"]
    print(
        f"\n{trouble}: resident {before['resident'] / 2**20:.0f} MiB, grown by"
        f" {grown / 2**20:.1f} MiB for a queue of {QUEUE_BYTES / 2**20:.0f} MiB;"
        f" queue full {after['records_dropped_queue_full']:.0f},"
        f" spool full {after['records_dropped_spool_full']:.0f}"
    )
    assert grown < OVERHEAD * QUEUE_BYTES + REST_BYTES
    if trouble == "disk stalled":
        assert meanwhile["records_dropped_queue_full"] > 1000
        numbers = [record.sequence for record in records_of(sink)]
        assert max(numbers) - len(set(numbers)) > 1000
    else:
        assert after["records_dropped_spool_full"] > 1000
