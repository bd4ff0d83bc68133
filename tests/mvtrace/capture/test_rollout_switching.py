"""What a rollout goes by while that changes: the older never follows the newer, nobody is early."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from followed import ID, NEW, OLD, USERS, Process, all_of, following, kept_in, split, traced
from rollout_server import RolloutServer

from mvtrace.capture import rollout_following
from mvtrace.capture.rollout_told import RolloutFile


class SlowDisk:
    """A disk that gives the file of the last answer when it is released."""

    def __init__(self, read: Callable[[RolloutFile], bytes]) -> None:
        self._read = read
        self.begun, self._released = threading.Event(), threading.Event()
        self.readers: list[threading.Thread] = []

    def read(self, file: RolloutFile) -> bytes:
        """Return what the file held when it was asked for, later."""
        found = self._read(file)
        self.readers.append(threading.current_thread())
        self.begun.set()
        self._released.wait(30)
        return found

    def release(self) -> None:
        """Give what was asked for."""
        self._released.set()


def test_a_file_that_comes_late_is_older_than_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Where the disk tells the last answer after the collector told the next, the next holds.
    """
    with RolloutServer() as server:
        tracing = traced(server.url, tmp_path)
        server.runs(ID, OLD.version, NEW.version, 0.2)
        Process(following())
        kept_in(tmp_path)
        disk = SlowDisk(RolloutFile.read)
        monkeypatch.setattr(RolloutFile, "read", lambda file: disk.read(file))
        monkeypatch.setattr(rollout_following, "READ_S", 0.05)
        server.runs(ID, OLD.version, NEW.version, 0.8)

        process = Process(following())
        process.until(split(0.8))
        disk.release()
        for reader in disk.readers:
            reader.join(30)

        assert process.sides() == split(0.8)
        tracing.shutdown()


def test_an_answer_about_another_place_comes_too_late(tmp_path: Path) -> None:
    """
    Tracing is set up anew for another environment while an answer about the first one is under way:
    nobody goes by that one any more.
    """
    with RolloutServer() as first, RolloutServer() as second:
        first.runs(ID, OLD.version, NEW.version, 0.4)
        second.serves(OLD.version)
        traced(first.url, tmp_path)
        rollout = following()
        process = Process(rollout)
        assert process.sides() == split(0.4)
        before = rollout._follower
        assert before is not None
        assert before._thread is not None
        first.runs(ID, OLD.version, NEW.version, 0.9)
        first.asked.acquire()  # its next answer waits
        try:
            time.sleep(0.2)
            tracing = traced(second.url, tmp_path, "stage")
            process.until(all_of(OLD.version))
        finally:
            first.asked.release()
        before._thread.join(30)

        assert not before._thread.is_alive()
        assert process.sides() == all_of(OLD.version)
        tracing.shutdown()


def test_another_place_begins_without_the_decisions_of_the_first(tmp_path: Path) -> None:
    """
    Until the other environment's decisions are known nobody is drawn for by those of the first.
    """
    with RolloutServer() as server:
        server.runs(ID, OLD.version, NEW.version, 0.9)
        traced(server.url, tmp_path)
        process = Process(following())
        assert process.sides() == split(0.9)

        tracing = traced("http://127.0.0.1:9", tmp_path, "stage")

        assert process.sides() == all_of(OLD.version)
        tracing.shutdown()


def test_the_first_requests_of_all_threads_go_by_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    While one thread's first request waits for the disk, those of others do not go by nothing.
    """
    with RolloutServer() as server:
        server.runs(ID, OLD.version, NEW.version, 1.0)
        tracing = traced(server.url, tmp_path)
        Process(following())
        kept_in(tmp_path)
    disk = SlowDisk(RolloutFile.read)
    monkeypatch.setattr(RolloutFile, "read", lambda file: disk.read(file))
    rollout = following()
    processes = [Process(rollout, begins=False) for _ in range(2)]
    told: list[str] = []
    threads = [
        threading.Thread(target=lambda one=one: told.append(one.ask(1).name)) for one in processes
    ]

    threads[0].start()
    assert disk.begun.wait(30)
    threads[1].start()
    threads[1].join(0.2)
    disk.release()
    for thread in threads:
        thread.join(30)

    assert told == ["canary", "canary"]
    tracing.shutdown()


@pytest.mark.parametrize("options", [{}, {"canary": "bot-next", "share": 0.4}])
def test_without_an_environment_nothing_is_asked(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    options: dict[str, object],
) -> None:
    """
    Decisions are about an environment: without one stable serves, which is said, and nobody is asked.
    """
    monkeypatch.delenv("MVTRACE_ENVIRONMENT", raising=False)
    with RolloutServer() as server:
        tracing = traced(server.url, tmp_path, None)
        with caplog.at_level(logging.WARNING, logger="mvtrace"):
            process = Process(following(**options))
            assert process.sides() == all_of(OLD.version)
        time.sleep(0.15)  # three questions' time

        assert server.questions == []
        said = [one for one in caplog.messages if one.startswith("No decision")]
        assert said == ["No decision about bot is followed: set MVTRACE_ENVIRONMENT"]
        tracing.shutdown()


def test_what_to_run_follows_a_promotion(tmp_path: Path) -> None:
    """
    ``rollout.arm`` is the version in force: the promoted one, although its side is called stable.
    """
    with RolloutServer() as server:
        tracing = traced(server.url, tmp_path)
        server.runs(ID, OLD.version, NEW.version, 0.4)
        rollout = following()
        process = Process(rollout)
        assert (rollout.arm.name, rollout.arm.composite) == ("stable", OLD)

        server.serves(NEW.version)
        process.until(all_of(NEW.version))

        assert (rollout.arm.name, rollout.arm.composite) == ("stable", NEW)
        assert not process.ask(1).is_canary
        tracing.shutdown()


def test_users_stay_over_a_restart_and_a_change_of_share(tmp_path: Path) -> None:
    """
    Another process draws as the one before; a larger share takes from stable only, a smaller one
    gives back only.
    """
    seen: list[list[tuple[str, str | None]]] = []
    for number, share in enumerate((0.2, 0.2, 0.6, 0.2)):
        with RolloutServer() as server:
            server.runs(ID, OLD.version, NEW.version, share)
            tracing = traced(server.url, tmp_path / str(number))
            seen.append(Process(following()).sides())
            tracing.shutdown()

    first, restarted, larger, smaller = seen
    assert first == restarted == smaller == split(0.2)
    moved = {user for user in range(USERS) if first[user] != larger[user]}
    assert {first[user][0] for user in moved} == {"stable"}
    assert moved
