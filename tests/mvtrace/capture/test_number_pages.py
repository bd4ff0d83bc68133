"""Pages of shared memory: given back with their spool, swept once nobody can need them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sink import Sink

from mvtrace.capture import number_pages
from mvtrace.capture.number_pages import SWEPT_AFTER_S, page_file, sweep_pages
from mvtrace.capture.numbers import Facts, Numbers
from mvtrace.capture.pipeline import Tracing
from mvtrace.config import TracingConfig
from mvtrace.ids import new_request_id
from mvtrace.records import RequestRecord, UnixNano

FACTS = Facts("01989f3c-2a4b-7c3d-8e5f-6a7b8c9d0e1f")
KILLED = """
import os, sys; from pathlib import Path
from mvtrace.capture import number_pages
from mvtrace.capture.numbers import Facts, Numbers
number_pages._MEMORY = Path(sys.argv[2])
taken = Numbers(Facts("gone"), lambda: b"")
assert taken.keep(Path(sys.argv[1]))
taken.take()
os.kill(os.getpid(), 9)
"""


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Shared memory of this test's own."""
    made = tmp_path / "memory"
    made.mkdir()
    monkeypatch.setattr(number_pages, "_MEMORY", made)
    return made


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    """The spool directory of one producer."""
    made = tmp_path / "spool"
    made.mkdir()
    return made


@pytest.fixture
def living(spool: Path, memory: Path) -> Iterator[Numbers]:
    """A producer that counts in *spool*."""
    made = Numbers(FACTS, lambda: b"")
    assert made.keep(spool)
    yield made
    made.release()


def killed(spool: Path, memory: Path) -> None:
    """Let a process count in *spool* and be killed."""
    done = subprocess.run([sys.executable, "-c", KILLED, str(spool), str(memory)], check=False)
    assert done.returncode == -signal.SIGKILL


def a_record(tracing: Tracing) -> RequestRecord:
    now = UnixNano(time.time_ns())
    return RequestRecord(
        request_id=new_request_id(),
        revision=2,
        state="finished",
        producer_id=tracing.producer_id,
        sequence=tracing.next_sequence(),
        started_at=now,
        ended_at=now,
    )


def tomorrow_ns() -> int:
    return time.time_ns() + int((SWEPT_AFTER_S + 60) * 1e9)


def test_page_of_a_deleted_spool_is_swept(spool: Path, memory: Path) -> None:
    """
    A process that was killed and whose spool was deleted leaves a page for a day, no longer.
    """
    killed(spool, memory)
    shutil.rmtree(spool)

    assert sweep_pages(now_ns=time.time_ns()) == 0
    assert sweep_pages(now_ns=tomorrow_ns()) == 1

    assert list(memory.iterdir()) == []


def test_page_of_a_spool_that_is_there_stays(spool: Path, memory: Path) -> None:
    """
    As long as there is a spool to adopt, its page tells the last number, however old it is.
    """
    killed(spool, memory)

    assert sweep_pages(now_ns=tomorrow_ns()) == 0

    found = Numbers.load(spool)
    assert found is not None
    assert found.last == 1
    found.release()


def test_page_in_use_stays(living: Numbers, spool: Path, memory: Path) -> None:
    """
    A living producer's page is never swept, not even if its spool was deleted long ago, and in no
    process; a child of a fork that lets go of it changes nothing.
    """
    shutil.rmtree(spool)
    child = os.fork()
    if child == 0:
        living.abandon()
        os._exit(sweep_pages(now_ns=tomorrow_ns()))

    assert os.waitpid(child, 0)[1] == 0
    assert sweep_pages(now_ns=tomorrow_ns()) == 0
    assert page_file(spool).exists()
    living.release()
    assert sweep_pages(now_ns=tomorrow_ns()) == 1


def test_page_made_again_stays(living: Numbers, spool: Path, memory: Path) -> None:
    """
    A page that was made anew, since the file beside it was lost, is held like the first.
    """
    assert living.keep(spool)
    shutil.rmtree(spool)

    assert sweep_pages(now_ns=tomorrow_ns()) == 0


def test_files_of_others_stay(memory: Path) -> None:
    """
    What does not bear the name of a page of this user, or is no plain file, is left alone.
    """
    name = page_file(Path("/somewhere")).name
    (memory / f"{name}x").touch()
    (memory / name.replace(f"-{os.geteuid()}-", "-4711-")).touch()
    (memory / name).symlink_to("/nowhere")
    os.mkfifo(page_file(Path("/elsewhere")))

    assert sweep_pages(now_ns=tomorrow_ns()) == 0

    assert len(list(memory.iterdir())) == 4


def test_a_process_that_delivers_sweeps(
    sink: Sink, tmp_path: Path, spool: Path, memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The next process of the host removes such pages with its first delivery, and its own at its end.
    """
    killed(spool, memory)
    shutil.rmtree(spool)
    monkeypatch.setattr(number_pages, "SWEPT_AFTER_S", -60.0)
    config = {"url": sink.url, "spool_dir": tmp_path / "other", "spool_min_free_bytes": 0}
    tracing = Tracing(TracingConfig.from_environ({"HOME": str(tmp_path)}, **config))

    tracing.emit_record(a_record(tracing))
    assert tracing.flush(10)
    assert [page.name for page in memory.iterdir()] == [
        page_file(tmp_path / "other" / tracing.producer_id).name
    ]
    tracing.shutdown()

    assert list(memory.iterdir()) == []


RECONFIGURED = """
import os, sys
import mvtrace

def once():
    config = {"url": sys.argv[1], "spool_dir": sys.argv[2], "spool_min_free_bytes": 0}
    tracing = mvtrace.configure(service="again", **config)
    with mvtrace.request(route="job"):
        pass
    tracing.shutdown()
    return len(os.listdir("/proc/self/fd"))

before = once()
print(before, max(once() for _ in range(5)))
"""


def test_reconfiguring_leaves_no_file_open(sink: Sink, tmp_path: Path) -> None:
    """
    However often tracing is set up and shut down, its process holds no more files than before.
    """
    command = [sys.executable, "-c", RECONFIGURED, sink.url, str(tmp_path / "spools")]

    done = subprocess.run(command, capture_output=True, check=True, text=True, timeout=60)

    before, most = map(int, done.stdout.split())
    assert most <= before
    assert len(sink.logs) >= 6
