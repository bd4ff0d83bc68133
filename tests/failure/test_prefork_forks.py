"""Forks without a server: os.fork and multiprocessing after configure(), ended in every way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from captured import records_of
from sink import Sink

HERE = Path(__file__).parent


@pytest.mark.parametrize(
    ("how", "producers"),
    [("fork", 4), ("multiprocessing-fork", 4), ("multiprocessing-spawn", 4), ("in-request", 2)],
)
def test_children_are_producers(sink: Sink, tmp_path: Path, how: str, producers: int) -> None:
    """
    Parent and children each count for themselves from 1; all records arrive once, whether a child
    ends by return, sys.exit, os._exit or SIGTERM, and a request open at the fork is its parent's.
    """
    environ = {
        "MVTRACE_URL": sink.url,
        "MVTRACE_SPOOL_DIR": str(tmp_path / "spool"),
        "PYTHONPATH": str(HERE.parents[1]),
    }

    done = subprocess.run(
        [sys.executable, str(HERE / "fork_worker.py"), how],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    finished = [record for record in records_of(sink) if record.state == "finished"]
    said = done.stdout.split()
    assert sorted(record.request_id for record in finished) == sorted(said)
    numbers = {(record.producer_id, record.sequence) for record in finished}
    assert len(numbers) == len(finished)
    by_producer: dict[str, list[int]] = {}
    for record in finished:
        by_producer.setdefault(record.producer_id, []).append(record.sequence)
    assert len(by_producer) == producers
    assert all(sorted(taken) == list(range(1, len(taken) + 1)) for taken in by_producer.values())
