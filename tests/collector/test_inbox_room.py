"""The inbox on a disk that is nearly full: what it took can always be stored, and leaves room."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from obligations import Ledger
from small_disk import SmallDisk, small_disk
from wire_producer import WireProducer

from mvtrace_collector.errors import InboxFullError, InboxWriteError
from mvtrace_collector.inbox import Inbox, InboxSettings, Intent

KIB = 1024
SETTINGS = InboxSettings(disk_floor_bytes=KIB)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """Four MiB, a real file system."""
    with small_disk(tmp_path / "disk", "4m") as made:
        yield made


def body(size: int = 100 * KIB) -> bytes:
    return os.urandom(size)


def take_now(inbox: Inbox) -> Intent | None:
    return inbox.take(1, 0.0)


def store_all(inbox: Inbox) -> int:
    """Mark everything stored; return how many segments that were."""
    count = 0
    while (intent := take_now(inbox)) is not None:
        assert intent.path.exists()
        inbox.mark_stored(intent, {"spans": 1})
        count += 1
    return count


def fill_up(inbox: Inbox, size: int = 100 * KIB) -> int:
    """Append until the inbox refuses; return how many batches it took."""
    for number in range(1000):
        try:
            inbox.append("default", "traces", body(size), f"{os.urandom(8).hex()}")
        except (InboxFullError, InboxWriteError):
            return number
    raise AssertionError("the disk is never full")


def test_what_was_taken_can_be_stored_on_a_full_disk(
    disk: SmallDisk, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Also where others have taken the last block, everything accepted is entered and marked stored,
    and nothing new is accepted until there is room again.
    """
    inbox = Inbox(disk.path / "inbox", SETTINGS)
    for number in range(5):
        inbox.append("default", "traces", body(10 * KIB), str(number))
        if number < 3:
            inbox._log.seal()
    ballast = disk.fill()

    with caplog.at_level(logging.WARNING):
        assert store_all(inbox) == 4
    disk.fill()
    with pytest.raises((InboxFullError, InboxWriteError)):
        inbox.append("default", "traces", body(), "more")
    ballast.unlink()
    inbox._expire()
    inbox.append("default", "traces", body(), "more")

    lag = inbox.lag()
    assert (lag.accepted_seq, lag.stored_seq) == (6, 5)
    assert "reserve is used" in caplog.text
    assert store_all(inbox) == 1
    inbox.close()


def test_a_start_on_a_full_disk_goes_on(disk: SmallDisk) -> None:
    """
    An inbox that is opened on a disk without a free block stores what it had accepted.
    """
    inbox = Inbox(disk.path / "inbox", SETTINGS)
    inbox.append("default", "traces", body(), "1")
    inbox.append("default", "traces", body(), "2")
    inbox.close()
    disk.fill()

    again = Inbox(disk.path / "inbox", SETTINGS)

    assert store_all(again) == 1
    again.close()


def test_stored_copies_make_room(disk: SmallDisk) -> None:
    """
    A disk that is full of what is stored already takes more: the oldest copies go, and what waits
    for the store stays.
    """
    inbox = Inbox(disk.path / "inbox", SETTINGS)
    taken = 0
    for _ in range(5):
        taken += fill_up(inbox)
        assert store_all(inbox)
    waiting = fill_up(inbox)
    kept = take_now(inbox)

    assert taken > 5 * 20
    assert waiting > 10
    assert kept is not None
    assert kept.path.exists()
    assert store_all(inbox)
    inbox.close()


def test_own_bytes_count_between_two_looks(disk: SmallDisk) -> None:
    """
    However fast batches come, they leave the floor free.
    """
    floor = 2 * KIB * KIB
    inbox = Inbox(disk.path / "inbox", InboxSettings(disk_floor_bytes=floor))
    fill_up(inbox, 50 * KIB)

    space = os.statvfs(disk.path)
    assert space.f_bavail * space.f_frsize > floor - 100 * KIB
    store_all(inbox)
    inbox.close()


def test_a_large_batch_finds_room_too(disk: SmallDisk) -> None:
    """
    A batch larger than what is left is taken once stored copies have made room for it.
    """
    inbox = Inbox(disk.path / "inbox", SETTINGS)
    fill_up(inbox)
    store_all(inbox)
    large = body(2 * KIB * KIB)
    for _ in range(3):
        try:
            inbox.append("default", "traces", large, "large")
            break
        except InboxFullError:
            inbox._expire()

    assert inbox.append("default", "traces", large, "large").duplicate
    store_all(inbox)
    inbox.close()


def test_refused_writes_leave_no_files(disk: SmallDisk) -> None:
    """
    Tries that the disk refused leave nothing behind, however many they were.
    """
    inbox = Inbox(disk.path / "inbox", InboxSettings(disk_floor_bytes=1))
    inbox._room.give_up_reserve()
    inbox._room.allows = lambda size: True  # type: ignore[method-assign]
    disk.fill()
    for number in range(20):
        with pytest.raises(InboxWriteError):
            inbox.append("default", "traces", body(), str(number))
    take_now(inbox)

    assert list(inbox.directory.glob("segment-*")) == []
    inbox.close()


WITH_FULL_DISK = """
import os, sys, threading
from pathlib import Path
from obligations import wait_for
from small_disk import SmallDisk
from mvtrace.store import migrate, open_store
from mvtrace_collector.inbox import Inbox, InboxSettings
from mvtrace_collector.loader import Loader
disk = SmallDisk(Path(sys.argv[1]))
inbox = Inbox(disk.path / "inbox", InboxSettings(disk_floor_bytes=1024))
os.chdir(inbox.directory)
assert inbox.take(1, 0.0) is not None
with open_store(f"chdb://{sys.argv[2]}") as store:
    migrate(store)
    loader, stop = Loader(store, inbox), threading.Event()
    ballast = disk.fill()
    thread = threading.Thread(target=loader.run, args=(stop,))
    thread.start()
    wait_for(lambda: loader.stats.errors > 0, 20, "the disk is not full")
    ballast.unlink()
    is_stored = inbox.wait_stored(1, 120)
    stop.set()
    thread.join(60)
    print(is_stored, store.query("SELECT count() FROM requests").rows[0][0])
inbox.close()
"""


def test_schema_written_on_a_full_disk(disk: SmallDisk, tmp_path: Path) -> None:
    """
    The engine keeps the loader's schema in the working directory: where the disk had no room for it
    at the first load, the same process loads all the same once there is room.
    """
    inbox = Inbox(disk.path / "inbox", SETTINGS)
    inbox.append("default", "logs", WireProducer("", Ledger()).batch(3).logs, "1")
    inbox.close()

    # The engine stays in the directory in which its process first opened it.
    done = subprocess.run(
        [sys.executable, "-c", WITH_FULL_DISK, str(disk.path), str(tmp_path / "store")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout.split() == ["True", "3"], done.stderr
