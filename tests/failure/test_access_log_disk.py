"""The access log's disk is full, or does not answer: nothing is answered unlogged, all else lives."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
from processes import Running, collector_command, running
from small_disk import SmallDisk, disk_that_stalls, small_disk
from story import request_id


@contextmanager
def collecting(folder: Path, disk: SmallDisk) -> Iterator[Running]:
    """A collector whose store is on the ordinary disk, inbox and access log on *disk*."""
    command = collector_command(folder / "store", "--data", str(disk.path / "inbox"))
    with running(command, folder / "collector.log", {"MVTRACE_INBOX_FLOOR_MIB": "1"}) as one:
        yield one


def asked(url: str, number: int) -> httpx2.Response:
    query = {"id": request_id(number), "wait": "0"}
    return httpx2.get(f"{url}/api/v1/explanation", params=query, timeout=30)


def logged(url: str) -> list[str]:
    found = httpx2.get(f"{url}/api/v1/access", params={"action": "explain"}, timeout=30)
    return [one["asked"] for one in reversed(found.json()["entries"])]


def wait_answered(url: str, number: int) -> None:
    deadline = time.monotonic() + 20
    while asked(url, number).status_code != 404:
        assert time.monotonic() < deadline, "the log does not take entries again"
        time.sleep(0.2)


def test_disk_full(tmp_path: Path) -> None:
    """
    On a full disk answers are withheld with 503, and with room again they are given and logged.
    """
    with small_disk(tmp_path / "disk", "48m") as disk, collecting(tmp_path, disk) as one:
        assert asked(one.url, 1).status_code == 404
        ballast = disk.fill()
        time.sleep(1.5)  # the room is looked at once a second
        refused = asked(one.url, 2)
        alive = httpx2.get(f"{one.url}/healthz").status_code
        ballast.unlink()
        wait_answered(one.url, 3)
        entries = logged(one.url)

    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "not-logged")
    assert alive == 200
    assert entries[0] == request_id(1)
    assert entries[-1] == request_id(3)


def test_disk_that_does_not_answer(tmp_path: Path) -> None:
    """
    While the disk stalls an answer is withheld and refused in the end, and the collector lives on;
    afterwards it answers as before.
    """
    with disk_that_stalls(tmp_path / "disk") as disk, collecting(tmp_path, disk) as one:
        assert asked(one.url, 1).status_code == 404
        with disk.stalled():
            began = time.monotonic()
            refused = asked(one.url, 2)
            took_s = time.monotonic() - began
            began = time.monotonic()
            alive = httpx2.get(f"{one.url}/healthz").status_code
            answered_s = time.monotonic() - began
        wait_answered(one.url, 3)
        entries = logged(one.url)

    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "not-logged")
    assert took_s < 15
    assert (alive, answered_s < 2) == (200, True)
    assert entries[0] == request_id(1)
    assert entries[-1] == request_id(3)
