"""The numbers of a producer: kept through kills, told once it has ended, with what was lost."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from sink import Scripted, Sink

from mvtrace.capture import number_pages
from mvtrace.capture.numbers import NUMBERS_FILE, REASONS, Facts, Loss, Numbers
from mvtrace.capture.pipeline import Tracing
from mvtrace.config import TracingConfig
from mvtrace.explain.gaps import REASONS as EXPLAINED
from mvtrace.ids import new_request_id
from mvtrace.records import RequestRecord, UnixNano
from mvtrace.resources import schema_root

PRODUCER = "01989f3c-2a4b-7c3d-8e5f-6a7b8c9d0e1f"
FACTS = Facts(PRODUCER, "shop", "test")
SCHEMA = jsonschema.Draft202012Validator(
    json.loads((schema_root() / "events" / "producer.schema.json").read_text("utf-8"))
)


def fresh() -> Numbers:
    return Numbers(FACTS, lambda: b"resource")


def loaded(directory: Path) -> Numbers:
    found = Numbers.load(directory)
    assert found is not None
    return found


def said(of: Numbers, state: Any = None) -> dict[str, Any]:
    body = json.loads(of.event(state or of.end, now_ns=1).body)
    SCHEMA.validate(body)
    return dict(body)


def config_for(url: str, root: Path, **options: Any) -> TracingConfig:
    options = {"spool_min_free_bytes": 0, "service": "shop", **options}
    return TracingConfig.from_environ({"HOME": str(root)}, url=url, spool_dir=root, **options)


def a_record(tracing: Tracing, **facts: Any) -> RequestRecord:
    now = UnixNano(time.time_ns())
    return RequestRecord(
        request_id=new_request_id(),
        revision=2,
        state="finished",
        producer_id=tracing.producer_id,
        sequence=tracing.next_sequence(),
        started_at=now,
        ended_at=now,
        **facts,
    )


# The file


def test_numbers_survive_a_kill(tmp_path: Path) -> None:
    """
    Each number is kept the moment it is taken: SIGKILL right after loses none.
    """
    script = (
        "import os, sys; from pathlib import Path; "
        "from mvtrace.capture.numbers import Facts, Numbers; "
        f"taken = Numbers(Facts({PRODUCER!r}), lambda: b''); taken.take(); "
        "assert taken.keep(Path(sys.argv[1])); [taken.take() for _ in range(999)]; "
        "os.kill(os.getpid(), 9)"
    )

    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)

    assert done.returncode == -signal.SIGKILL
    assert loaded(tmp_path).last == 1000
    assert loaded(tmp_path).end == "orphaned"


def test_threads_take_each_number_once(tmp_path: Path) -> None:
    """
    Threads that take numbers while the file is made get each one once, and the last is kept.
    """
    taken = fresh()
    found: list[int] = []

    def take() -> None:
        found.extend([taken.take() for _ in range(2000)])

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert taken.keep(tmp_path)
    for thread in threads:
        thread.join()

    assert sorted(found) == list(range(1, 8001))
    assert loaded(tmp_path).last == 8000


def test_file_is_private_and_made_again(tmp_path: Path) -> None:
    """
    Nobody else may read the file; where it was deleted the next one goes on from the same number.
    """
    taken = fresh()
    taken.take()
    assert taken.keep(tmp_path)
    assert stat.S_IMODE((tmp_path / NUMBERS_FILE).stat().st_mode) == 0o600

    (tmp_path / NUMBERS_FILE).unlink()
    assert taken.take() == 2
    assert taken.keep(tmp_path)
    assert taken.take() == 3

    assert loaded(tmp_path).last == 3


def test_without_a_place_the_numbers_go_on(tmp_path: Path) -> None:
    """
    A file that cannot be made raises nothing and costs no number.
    """
    taken = fresh()

    assert not taken.keep(tmp_path / "nowhere")

    assert [taken.take(), taken.take()] == [1, 2]
    assert said(taken, "running")["last"] == 2


def test_without_shared_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where no memory can be shared, the file is written when the process shows life, and taking a
    number never touches it.
    """
    monkeypatch.setattr(number_pages, "_MEMORY", tmp_path / "nowhere")
    taken = fresh()
    assert taken.keep(tmp_path)
    before = (tmp_path / NUMBERS_FILE).read_bytes()

    taken.take()
    assert (tmp_path / NUMBERS_FILE).read_bytes() == before
    taken.show_life()

    assert loaded(tmp_path).last == 1


@pytest.mark.parametrize("damage", [b"", b"short", b"x" * 2000])
def test_file_of_something_else(tmp_path: Path, damage: bytes) -> None:
    """
    A file that is cut or foreign tells nothing, and stops nobody.
    """
    (tmp_path / NUMBERS_FILE).write_bytes(damage)

    assert Numbers.load(tmp_path) is None


def test_each_reason_is_explained() -> None:
    """
    What a producer can name as a reason is a reason that explanations know.
    """
    assert set(REASONS) < set(EXPLAINED)


def test_what_is_said(tmp_path: Path) -> None:
    """
    The event tells the last number, the end, and losses with their numbers; the same each time.
    """
    taken = fresh()
    assert taken.keep(tmp_path)
    for _ in range(9):
        taken.take()
    taken.lose("queue_full", (4,))
    taken.lose("queue_full", (3, 7))
    taken.lose("damaged", count=2)
    taken.close()

    found = loaded(tmp_path)
    body = said(found)

    assert found.losses == (Loss("queue_full", 3, 3, 7), Loss("damaged", 2, 0, 0))
    assert {key: body[key] for key in ("producer_id", "service", "state", "last")} == {
        "producer_id": PRODUCER,
        "service": "shop",
        "state": "closed",
        "last": 9,
    }
    assert body["losses"] == [
        {"reason": "queue_full", "count": 3, "first": 3, "last": 7},
        {"reason": "damaged", "count": 2},
    ]
    assert found.request("closed", now_ns=1) == taken.request("closed", now_ns=2)


# In a process that captures


def test_clean_end_says_so(sink: Sink, tmp_path: Path) -> None:
    """
    A process that ends in good order says last how far it counted, and leaves nothing behind.
    """
    tracing = Tracing(config_for(sink.url, tmp_path))
    for _ in range(3):
        tracing.emit_record(a_record(tracing))

    tracing.shutdown()

    (told,) = sink.producers
    SCHEMA.validate(told)
    assert (told["state"], told["last"], told["losses"]) == ("closed", 3, [])
    assert sink.accepted[-1].batch_id == f"{tracing.producer_id}-end-logs"
    assert not (tmp_path / tracing.producer_id).exists()


def test_process_without_requests_says_nothing(sink: Sink, tmp_path: Path) -> None:
    """
    Who took no number has nothing to account for.
    """
    tracing = Tracing(config_for(sink.url, tmp_path))

    tracing.shutdown()

    assert sink.deliveries == []
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, sys, time
from pathlib import Path
from mvtrace.capture.pipeline import Tracing
from mvtrace.config import TracingConfig
from mvtrace.ids import new_request_id
from mvtrace.records import RequestRecord, UnixNano

root, url = Path(sys.argv[1]), sys.argv[2]
tracing = Tracing(TracingConfig.from_environ(
    {}, url=url, spool_dir=root, spool_min_free_bytes=0, service="shop"))
now = UnixNano(time.time_ns())
for _ in range(int(sys.argv[3])):
    tracing.emit_record(RequestRecord(
        request_id=new_request_id(), revision=2, state="finished", producer_id=tracing.producer_id,
        sequence=tracing.next_sequence(), started_at=now, ended_at=now))
if int(sys.argv[3]):
    tracing._writer.drain(5)
tracing.next_sequence()
tracing.next_sequence()
kept = root / tracing.producer_id / "numbers"
while not kept.exists():
    time.sleep(0.001)
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("finished", [0, 5])
def test_killed_in_flight_is_told_by_the_adopter(sink: Sink, tmp_path: Path, finished: int) -> None:
    """
    Of a killed process the next one tells how far it counted, requests in flight included, after
    all it had spooled; as often as it takes, byte for byte the same.
    """
    command = [sys.executable, "-c", KILLED, str(tmp_path), "http://127.0.0.1:9", str(finished)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    (orphan,) = tmp_path.iterdir()
    if not finished:
        sink.script.extend([Scripted(503), Scripted(503)])

    tracing = Tracing(config_for(sink.url, tmp_path))
    tracing.emit_record(a_record(tracing))
    sink.wait_for(lambda one: any(told["state"] == "orphaned" for told in one.producers))
    tracing.shutdown()

    told = [one for one in sink.producers if one["producer_id"] == orphan.name]
    assert [(one["state"], one["last"]) for one in told] == [("orphaned", finished + 2)]
    bodies = {one.body for one in sink.deliveries if one.batch_id == f"{orphan.name}-end-logs"}
    assert len(bodies) == 1
    assert len(sink.logs) == finished + 1
    assert not orphan.exists()


def test_fork_counts_for_itself(sink: Sink, tmp_path: Path) -> None:
    """
    The child of a fork is a producer of its own, and never counts in its parent's file.
    """
    tracing = Tracing(config_for(sink.url, tmp_path))
    tracing.emit_record(a_record(tracing))
    assert tracing.flush(10)
    parent = tracing.producer_id
    child = os.fork()
    if child == 0:
        tracing.emit_record(a_record(tracing))
        tracing.emit_record(a_record(tracing))
        tracing.shutdown()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    tracing.emit_record(a_record(tracing))

    tracing.shutdown()

    ends = {told["producer_id"]: (told["state"], told["last"]) for told in sink.producers}
    assert ends.pop(parent) == ("closed", 2)
    assert list(ends.values()) == [("closed", 2)]


def test_knowing_losses_are_told(sink: Sink, tmp_path: Path) -> None:
    """
    Records that the spool's budget did not take are told with their reason and numbers.
    """
    tracing = Tracing(config_for("http://127.0.0.1:9", tmp_path, spool_max_bytes=1 << 20))
    for _ in range(600):
        tracing.emit_record(a_record(tracing, annotations={"note": "x" * 4000}))
    assert tracing._writer.drain(10)

    dropped = tracing.stats()["records_dropped_spool_full"]
    (loss,) = tracing._numbers.losses

    assert dropped > 0
    assert (loss.reason, loss.number) == ("spool_full", dropped)
    assert dropped <= loss.last <= 600  # a short batch at the end may still have found room
    tracing.shutdown()


def test_running_producer_says_how_far_it_is(
    sink: Sink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Now and then, if it took numbers since, a running process says how far it counted.
    """
    monkeypatch.setattr("mvtrace.capture.exporter.SAY_INTERVAL_S", 0.1)
    tracing = Tracing(config_for(sink.url, tmp_path))
    tracing.emit_record(a_record(tracing))

    sink.wait_for(lambda one: one.producers)
    time.sleep(0.4)

    assert [(told["state"], told["last"]) for told in sink.producers] == [("running", 1)]
    tracing.shutdown()
