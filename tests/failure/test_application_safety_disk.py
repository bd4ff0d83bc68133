"""The spool's disk breaks under a serving application: nobody but the counters notices."""

from __future__ import annotations

import http.client
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from captured import records_of
from faulty_disks import Disk, disk
from servers import Reply, Server, serving
from sink import Sink

HERE = Path(__file__).parent
FAULTS = ("full", "read_only", "immutable", "deleted", "failing", "stalled")

pytestmark = pytest.mark.failure


@pytest.fixture
def spool_disk(tmp_path: Path) -> Iterator[Disk]:
    """A small real disk."""
    try:
        with disk(tmp_path) as made:
            yield made
    except OSError as error:
        pytest.skip(f"no disk of its own: {error}")


@pytest.fixture
def server(tmp_path: Path, spool_disk: Disk, sink: Sink) -> Iterator[Server]:
    """A uvicorn server with its spool on that disk."""
    environ = {
        "MVTRACE_URL": sink.url,
        "MVTRACE_SERVICE": "safe",
        "MVTRACE_SPOOL_DIR": str(spool_disk.path / "spool"),
        "MVTRACE_SPOOL_MIN_FREE_BYTES": "0",
        "PYTHONPATH": str(HERE.parents[1]),
    }
    command = (str(HERE / "safety_app.py"), "{fd}")
    with serving(command, tmp_path / "server.log", tmp_path, environ) as one:
        yield one


def stats(server: Server) -> dict[str, float]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("GET", "/stats")
    found: dict[str, float] = json.loads(connection.getresponse().read())
    connection.close()
    return found


def asked(server: Server, numbers: Sequence[int]) -> tuple[list[Reply], list[float]]:
    """Return the answers to *numbers*, one after the other, and the seconds each took."""
    replies, took = [], []
    for number in numbers:
        begun = time.perf_counter()
        replies.append(server.ask(number))
        took.append(time.perf_counter() - begun)
    return replies, took


@pytest.mark.parametrize("fault", FAULTS)
def test_disk_that_breaks(server: Server, spool_disk: Disk, sink: Sink, fault: str) -> None:
    """
    Answers and the event loop are as before while the disk is broken; when it is mended, records
    arrive again without a restart, and what was lost between is counted.
    """
    server.ask_all(range(50))
    sink.wait_for(lambda found: len(records_of(found)) >= 50, 60)
    stats(server)
    before, took_before = asked(server, range(50, 150))
    calm = stats(server)

    with getattr(spool_disk, fault)():
        during, took_during = asked(server, range(150, 450))
        time.sleep(1.5)
        late, took_late = asked(server, range(450, 500))
        troubled = stats(server)
    after, _ = asked(server, range(500, 550))

    ok = [(200, number) for number in range(50, 550)]
    replies = [*before, *during, *late, *after]
    assert [(reply.status, reply.body["number"]) for reply in replies] == ok
    assert all(reply.request_id for reply in replies)
    sink.wait_for(
        lambda found: {r.request_id for r in after} <= {r.request_id for r in records_of(found)}, 60
    )
    mended = stats(server)
    report(fault, took_before, [*took_during, *took_late], calm, troubled)
    arrived = {record.request_id for record in records_of(sink)}
    missing = [reply for reply in replies if reply.request_id not in arrived]
    lost = sum(mended[key] for key in mended if key.startswith("records_dropped"))
    print(f"  {len(missing)} of {len(replies)} records missing, {lost:.0f} counted as dropped")
    # A loop that waits for the disk stands still until it is mended, and nobody is answered.
    assert troubled["delay_s"] < 5.0
    assert troubled["pid"] == mended["pid"]
    assert mended["spool_write_errors"] > 0 or fault in {"deleted", "stalled", "full"}
    if fault in {"full", "immutable", "stalled"}:
        assert len(missing) == lost


def report(
    fault: str,
    before: list[float],
    during: list[float],
    calm: dict[str, float],
    troubled: dict[str, float],
) -> None:
    def line(took: list[float], found: dict[str, float]) -> str:
        p99 = statistics.quantiles(took, n=100)[98]
        p50 = statistics.median(took)
        return f"p50 {p50 * 1e3:.1f} p99 {p99 * 1e3:.1f} loop {found['delay_s'] * 1e3:.1f} ms"

    print(f"\n{fault}: before {line(before, calm)}; meanwhile {line(during, troubled)}")
