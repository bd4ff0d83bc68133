"""The inbox: what is acknowledged is on the disk, in order, and given out until it is stored."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from inboxes import bodies_of, copy_of, drain, take_now

from mvtrace_collector.errors import InboxFullError, InboxInUseError, InboxWriteError
from mvtrace_collector.inbox import Accepted, Inbox, InboxSettings
from mvtrace_collector.segment_writer import SegmentWriter
from mvtrace_collector.segments import Frame, frame_head, scan_segment


def test_appended_bodies_come_out_in_order_unchanged(tmp_path: Path) -> None:
    """
    A segment holds the bodies byte for byte, in the order of their acknowledgements.
    """
    inbox = Inbox(tmp_path / "inbox")
    bodies = [b"\x0a\x00" * size for size in (0, 1, 700, 40_000)]

    accepted = [inbox.append("default", "traces", body, str(n)) for n, body in enumerate(bodies)]
    intent = take_now(inbox)

    assert accepted == [Accepted(seq, duplicate=False) for seq in (1, 2, 3, 4)]
    assert intent is not None
    assert (intent.first_seq, intent.last_seq) == (1, 4)
    content = intent.path.read_bytes()
    assert intent.bytes == len(content)
    positions = [content.find(body, 1) for body in bodies[2:]]
    assert positions == sorted(positions)
    assert -1 not in positions
    inbox.close()


def test_same_batch_id_is_appended_once(tmp_path: Path) -> None:
    """
    A batch id is known while its segment is written, after it is sealed, and after a restart;
    the same id of another project or signal is another batch.
    """
    inbox = Inbox(tmp_path / "inbox")
    first = inbox.append("default", "traces", b"a", "batch")
    while_active = inbox.append("default", "traces", b"a", "batch")
    take_now(inbox)
    once_sealed = inbox.append("default", "traces", b"a", "batch")
    others = [
        inbox.append("p2", "traces", b"a", "batch"),
        inbox.append("default", "logs", b"a", "batch"),
    ]
    inbox.close()
    inbox = Inbox(tmp_path / "inbox")
    after_restart = inbox.append("default", "traces", b"a", "batch")

    assert first == Accepted(1, duplicate=False)
    assert while_active == once_sealed == after_restart == Accepted(1, duplicate=True)
    assert others == [Accepted(2, duplicate=False), Accepted(3, duplicate=False)]
    inbox.close()


def test_concurrent_retries_share_one_append(tmp_path: Path) -> None:
    """
    Many threads that send one batch at once get one sequence number, and one of them is first.
    """
    inbox = Inbox(tmp_path / "inbox")
    with ThreadPoolExecutor(16) as pool:
        accepted = list(
            pool.map(lambda _: inbox.append("default", "traces", b"x" * 999, "one"), range(64))
        )

    assert {one.seq for one in accepted} == {1}
    assert [one.duplicate for one in accepted].count(False) == 1
    assert bodies_of(drain(inbox)) == [1]
    inbox.close()


def test_many_waiters_share_a_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    While one sync runs, all who come wait for the next one together.
    """
    inbox = Inbox(tmp_path / "inbox")
    real = os.fdatasync
    gate = threading.Event()
    syncs: list[int] = []

    def slow(handle: int) -> None:
        syncs.append(handle)
        gate.wait(5)
        real(handle)

    monkeypatch.setattr(os, "fdatasync", slow)
    futures = [inbox.submit("default", "traces", b"x", str(n)) for n in range(200)]
    gate.set()

    assert [future.result(5).seq for future in futures] == list(range(1, 201))
    assert len(syncs) <= 3
    inbox.close()


def test_nothing_is_acknowledged_before_the_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    An append is done only after fdatasync returned.
    """
    inbox = Inbox(tmp_path / "inbox")
    gate = threading.Event()
    monkeypatch.setattr(os, "fdatasync", lambda _handle: gate.wait(5))

    future = inbox.submit("default", "traces", b"x", "1")

    with pytest.raises(TimeoutError):
        future.result(0.1)
    gate.set()
    assert future.result(5).seq == 1
    inbox.close()


def test_after_a_kill_all_acknowledged_is_there_and_the_torn_tail_is_cut(tmp_path: Path) -> None:
    """
    At every length a kill may leave the last frame in, the frames before it survive, it does not,
    and numbering goes on after the last whole one.
    """
    inbox = Inbox(tmp_path / "inbox")
    for n in range(3):
        inbox.append("default", "traces", b"body" * (n + 1), str(n))
    (segment,) = inbox.directory.glob("segment-*")
    whole = segment.read_bytes()
    last = scan_of_prefixes(whole, tmp_path)
    for length in range(last, len(whole)):
        copy = copy_of(inbox, tmp_path / f"killed-{length}")
        with (copy / segment.name).open("r+b") as file:
            file.truncate(length)

        again = Inbox(copy)

        assert bodies_of(drain(again)) == [1, 2]
        assert again.append("default", "traces", b"body", "0") == Accepted(1, duplicate=True)
        assert again.append("default", "traces", b"body" * 3, "2") == Accepted(3, duplicate=False)
        again.close()
    inbox.close()


def scan_of_prefixes(whole: bytes, tmp_path: Path) -> int:
    """Return where the last frame starts."""
    probe = tmp_path / "probe.pb"
    starts = []
    for length in range(len(whole)):
        probe.write_bytes(whole[:length])
        starts.append(scan_segment(probe).good_bytes)
    return max(starts)


@given(st.integers(0, 400), st.integers(1, 255))
@example(position=389, flip=1)  # in the tag of the body, between what two checks covered
@settings(max_examples=200, deadline=None)
def test_a_damaged_frame_is_never_taken_for_a_whole_one(
    tmp_path_factory: pytest.TempPathFactory, position: int, flip: int
) -> None:
    """
    Pages may reach the disk in any order: one wrong byte in the last frame cuts it off.
    """
    path = tmp_path_factory.getbasetemp() / "damaged.pb"
    frames = [Frame(n, 1_790_000_000_000 + n, bytes([n]) * 16) for n in (1, 2)]
    crc = zlib.crc32(b"B" * 300)
    parts = [
        frame_head("default", "traces", b"B" * 300, frame=frame, body_crc=crc) + b"B" * 300
        for frame in frames
    ]
    second = bytearray(parts[1])
    second[position % len(second)] ^= flip
    path.write_bytes(parts[0] + bytes(second))

    scan = scan_segment(path)

    assert scan.frames == (frames[0],)
    assert scan.good_bytes == len(parts[0])


def test_zeroes_after_the_last_frame_are_cut(tmp_path: Path) -> None:
    """
    A file system may leave a file longer than what was written: zeroes are no frames.
    """
    inbox = Inbox(tmp_path / "inbox")
    inbox.append("default", "traces", b"body", "1")
    copy = copy_of(inbox, tmp_path / "killed")
    (segment,) = copy.glob("segment-*")
    with segment.open("ab") as file:
        file.write(bytes(4096))

    again = Inbox(copy)

    assert bodies_of(drain(again)) == [1]
    again.close()
    inbox.close()


def test_bytes_after_a_sealed_segment_are_cut(tmp_path: Path) -> None:
    """
    What the index says of a sealed segment's size holds: nothing behind it is given out.
    """
    inbox = Inbox(tmp_path / "inbox")
    inbox.append("default", "traces", b"body", "1")
    intent = take_now(inbox)
    inbox.close()
    assert intent is not None
    with intent.path.open("ab") as file:
        file.write(b"rubbish")

    inbox = Inbox(tmp_path / "inbox")

    assert intent.path.stat().st_size == intent.bytes
    assert bodies_of(drain(inbox)) == [1]
    inbox.close()


def test_an_intent_comes_again_until_it_is_marked(tmp_path: Path) -> None:
    """
    Taking twice, also over a kill and a restart, gives the same intent with the same epoch.
    """
    inbox = Inbox(tmp_path / "inbox")
    inbox.append("default", "traces", b"body", "1")
    first = take_now(inbox)
    second = take_now(inbox)
    copy = copy_of(inbox, tmp_path / "killed")
    again = Inbox(copy)
    third = take_now(again)

    assert first == second
    assert first is not None
    assert third is not None
    assert (third.id, third.epoch, third.first_seq) == (first.id, first.epoch, first.first_seq)
    again.mark_stored(third, {"spans": 1})
    assert take_now(again) is None
    again.close()
    again = Inbox(copy)
    assert take_now(again) is None
    again.close()
    inbox.close()


def test_lost_or_damaged_index_is_built_anew_from_the_segments(tmp_path: Path) -> None:
    """
    The segments are the truth: without an index they are all given out again under a new epoch,
    and their batch ids are known.
    """
    inbox = Inbox(tmp_path / "inbox")
    inbox.append("default", "traces", b"body", "1")
    first = take_now(inbox)
    inbox.close()
    assert first is not None
    index = tmp_path / "inbox" / "index.sqlite"
    index.write_bytes(b"this is no database" * 100)

    inbox = Inbox(tmp_path / "inbox")
    again = take_now(inbox)

    assert again is not None
    assert (again.id, again.first_seq) == (first.id, first.first_seq)
    assert again.epoch != first.epoch
    assert inbox.append("default", "traces", b"body", "1").duplicate
    assert list(index.parent.glob("index.sqlite.damaged-*")) != []
    inbox.close()


def test_a_lost_segment_does_not_stop_the_rest(tmp_path: Path) -> None:
    """
    A segment somebody deleted is noted and passed over.
    """
    inbox = Inbox(tmp_path / "inbox")
    inbox.append("default", "traces", b"one", "1")
    first = take_now(inbox)
    inbox.append("default", "traces", b"two", "2")
    inbox.close()
    assert first is not None
    first.path.unlink()

    inbox = Inbox(tmp_path / "inbox")

    assert bodies_of(drain(inbox)) == [2]
    inbox.close()


def test_one_process_owns_the_directory(tmp_path: Path) -> None:
    """
    A second inbox on the same directory is refused, and the first goes on.
    """
    inbox = Inbox(tmp_path / "inbox")

    with pytest.raises(InboxInUseError) as caught:
        Inbox(tmp_path / "inbox")

    assert caught.value.message == (
        f"The inbox {tmp_path / 'inbox'} is in use by another process; it belongs to one collector."
    )
    assert inbox.append("default", "traces", b"x", "1").seq == 1
    inbox.close()
    Inbox(tmp_path / "inbox").close()


def test_limits_refuse_and_lose_nothing(tmp_path: Path) -> None:
    """
    Too much unstored, or too little space, refuses an append; once there is room it goes on.
    """
    inbox = Inbox(tmp_path / "inbox", InboxSettings(unstored_bytes=1500))
    inbox.append("default", "traces", bytes(1000), "1")
    with pytest.raises(InboxFullError) as caught:
        inbox.append("default", "traces", bytes(1000), "2")
    drain(inbox)
    inbox.append("default", "traces", bytes(1000), "2")
    inbox.close()

    full = Inbox(tmp_path / "full", InboxSettings(disk_floor_bytes=2**62))
    with pytest.raises(InboxFullError) as floor:
        full.append("default", "traces", b"x", "1")
    with pytest.raises(InboxFullError):
        full.check_room()
    full.close()

    assert caught.value.message == (
        "The inbox takes nothing more: too much waits for the loader (limit 1,500 bytes)"
    )
    assert floor.value.message == (
        "The inbox takes nothing more: the disk is nearly full "
        "(limit 4,611,686,018,427,387,904 bytes)"
    )


def test_a_refusing_disk_fails_the_waiters_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    When the sync fails, those who waited hear it, what was durable stays, the next append works,
    and what was refused may come again.
    """
    inbox = Inbox(tmp_path / "inbox")
    inbox.append("default", "traces", b"good", "1")

    def refuse(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", refuse)
        with pytest.raises(InboxWriteError) as caught:
            inbox.append("default", "traces", b"lost", "2")
    again = inbox.append("default", "traces", b"lost", "2")

    assert caught.value.message == "The inbox cannot be written: No space left on device."
    assert not again.duplicate
    assert bodies_of(drain(inbox)) == [1, again.seq]
    inbox.close()


def test_closed_inbox_refuses(tmp_path: Path) -> None:
    """
    After close an append is refused, and closing again does nothing.
    """
    inbox = Inbox(tmp_path / "inbox")
    inbox.close()
    inbox.close()

    with pytest.raises(InboxWriteError) as caught:
        inbox.append("default", "traces", b"x", "1")

    assert caught.value.message == "The inbox cannot be written: it is closed."


def test_closing_commits_what_waits(tmp_path: Path) -> None:
    """
    Whatever was submitted before close is durable after it.
    """
    inbox = Inbox(tmp_path / "inbox")
    futures = [inbox.submit("default", "traces", bytes(1000), str(n)) for n in range(100)]
    inbox.close()

    assert [future.result(0).seq for future in futures] == list(range(1, 101))
    again = Inbox(tmp_path / "inbox")
    assert bodies_of(drain(again)) == list(range(1, 101))
    again.close()


def test_a_busy_index_does_not_lose_a_segment(tmp_path: Path) -> None:
    """
    A sealed segment that cannot be entered in the index is entered with a later take.
    """
    inbox = Inbox(tmp_path / "inbox")
    inbox.append("default", "traces", b"x", "1")
    other = sqlite3.connect(tmp_path / "inbox" / "index.sqlite")
    other.execute("BEGIN IMMEDIATE")

    assert take_now(inbox) is None
    other.close()
    assert inbox.lag().segments == 1
    assert inbox.append("default", "traces", b"x", "1").duplicate
    assert bodies_of(drain(inbox)) == [1]
    inbox.close()


def test_a_new_segment_never_overwrites(tmp_path: Path) -> None:
    """
    A segment file that exists is not opened for writing.
    """
    SegmentWriter(tmp_path, 1).close()

    with pytest.raises(FileExistsError):
        SegmentWriter(tmp_path, 1)
