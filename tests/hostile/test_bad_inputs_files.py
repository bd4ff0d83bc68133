"""Folders that somebody else wrote into: spools and inboxes with links, pipes, and very many files."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from processes import collector_command, running

from mvtrace.capture.connection import CollectorConnection
from mvtrace.capture.counts import Counts
from mvtrace.capture.keys import load_digest_key
from mvtrace.capture.orphans import MAX_ADOPTED, Orphans
from mvtrace.capture.spool import LOGS, Payload, Spool
from mvtrace.capture.spool_reader import SpoolReader
from mvtrace.cli.spools import spools
from mvtrace.config import TracingConfig
from mvtrace_collector.inbox import Inbox, InboxSettings, batch_key
from mvtrace_collector.segment_writer import segment_path
from mvtrace_collector.segments import Frame, frame_head

NOBODY = 65_534
ROOMY = InboxSettings(disk_floor_bytes=1)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def producer(number: int) -> str:
    return str(UUID(int=(0x01900000 << 96) + number))


def left_spool(root: Path, number: int, text: bytes = b"x") -> Path:
    """The spool of a producer that has ended, with one payload in it."""
    spool = Spool(root, producer(number), lambda: b"resource")
    spool.append([Payload(LOGS, text)])
    spool.close()
    return spool.directory


def delivered(reader: SpoolReader) -> list[bytes]:
    """What a shipper would send of an ended producer's spool, marked as delivered."""
    found = []
    while (one := reader.next_range(None)) is not None:
        found += [frame.body for frame in one.frames]
        reader.mark_delivered(one)
    return found


def in_time(work: Callable[[], object], seconds: float = 10.0) -> None:
    """Do *work*, which a pipe must not be able to hold up."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive()


def open_files(folder: Path) -> int:
    """How many files below *folder* this process has open; the engine's threads have their own."""
    found = 0
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found += link.readlink().is_relative_to(folder)
    return found


@needs_root
def test_spool_of_another_user_is_not_adopted(tmp_path: Path) -> None:
    """
    What another user put beside our spools is not delivered with our key; it stays, and is counted.
    """
    ours, planted = left_spool(tmp_path, 1), left_spool(tmp_path, 2, b"forged")
    for path in (planted, *planted.iterdir()):
        os.chown(path, NOBODY, NOBODY)
    counts = Counts()
    orphans = Orphans(tmp_path / producer(9), counts)

    orphans.adopt()
    orphans.adopt()

    assert [reader.directory for reader in orphans.readers()] == [ours]
    assert counts.values()["spools_of_others"] == 1
    assert planted.is_dir()
    orphans.close()


@needs_root
def test_segment_of_another_user_is_not_delivered(tmp_path: Path) -> None:
    """
    A segment that somebody put into a spool while it was open to all is not read.
    """
    directory = left_spool(tmp_path, 1, b"ours")
    planted = left_spool(tmp_path / "elsewhere", 1, b"forged") / "00000001.seg"
    planted.rename(directory / "00000002.seg")
    os.chown(directory / "00000002.seg", NOBODY, NOBODY)

    assert delivered(SpoolReader(directory, Counts())) == [b"ours"]


@pytest.mark.parametrize("name", ["lock", "position", "numbers", "answer", "00000001.seg"])
def test_pipe_in_a_spool_holds_up_nobody(tmp_path: Path, name: str) -> None:
    """
    A pipe, or a link to one, in the place of any file: adoption and `mvtrace status` go on.
    """
    good = left_spool(tmp_path, 1)
    for number, is_link in ((2, False), (3, True)):
        directory = left_spool(tmp_path, number)
        (directory / name).unlink(missing_ok=True)
        os.mkfifo(tmp_path / f"pipe{number}" if is_link else directory / name)
        if is_link:
            (directory / name).symlink_to(tmp_path / f"pipe{number}")
    told: list[dict[str, object]] = []
    orphans = Orphans(tmp_path / producer(9), Counts())

    in_time(lambda: told.append(spools(tmp_path)))
    in_time(orphans.adopt)

    assert good.name in str(told)
    assert good in [reader.directory for reader in orphans.readers()]
    orphans.close()


def test_many_spools_are_adopted_a_few_at_a_time(tmp_path: Path) -> None:
    """
    However many ended producers left something, few files are open at once, and all is delivered.
    """
    for number in range(200):
        left_spool(tmp_path, number)
    orphans = Orphans(tmp_path / producer(999), Counts())
    before, most, found = open_files(tmp_path), 0, 0

    orphans.adopt()
    while orphans.readers():
        most = max(most, open_files(tmp_path) - before)
        for reader in orphans.readers():
            found += len(delivered(reader))
            orphans.release(reader)
        orphans.adopt_waiting()

    assert found == 200
    assert most <= 2 * MAX_ADOPTED
    assert not list(tmp_path.iterdir())


def seconds_for(segments: int, folder: Path) -> float:
    """How long it takes to deliver a spool of that many tiny segments."""
    spool = Spool(folder, producer(1), lambda: b"resource")
    for _ in range(segments):
        spool.append([Payload(LOGS, b"x")])
        spool._close_segment()
    spool.close()
    started = time.process_time()
    assert len(delivered(SpoolReader(spool.directory, Counts()))) == segments
    return time.process_time() - started


def test_tiny_segments_cost_no_more_the_more_there_are(tmp_path: Path) -> None:
    """
    Eight times the segments take about eight times the work, not sixty-four.
    """
    few = seconds_for(400, tmp_path / "few")
    many = seconds_for(3200, tmp_path / "many")

    assert many / few < 24


def frame(number: int, body: bytes = b"") -> bytes:
    """A whole frame of the inbox."""
    one = Frame(number, time.time_ns() // 1_000_000, batch_key("default", "logs", str(number)))
    crc = zlib.crc32(body)
    return frame_head("default", "logs", body, frame=one, body_crc=crc) + body


@pytest.mark.parametrize("kind", ["link", "dead link", "pipe", "folder", "socket"])
def test_inbox_with_what_is_no_file(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What is no file is no segment: nothing behind it is read or cut, and the inbox opens and takes
    the next batch.
    """
    monkeypatch.chdir(tmp_path)
    inbox = tmp_path / "inbox"
    inbox.mkdir(mode=0o700)
    secret = tmp_path / "secret"
    secret.write_bytes(b"not to be cut")
    path = segment_path(inbox, 7)
    if kind in ("link", "dead link"):
        path.symlink_to(secret if kind == "link" else tmp_path / "nothing")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(os.path.relpath(path))
    opened: list[Inbox] = []

    in_time(lambda: opened.append(Inbox(inbox, ROOMY)))
    [one] = opened
    accepted = one.append("default", "logs", b"", "batch")
    intent = one.take(max_age_s=0)

    assert secret.read_bytes() == b"not to be cut"
    assert accepted.seq == 1
    assert intent is not None
    assert intent.id == 8
    one.close()


@needs_root
def test_segment_of_another_user_is_not_stored(tmp_path: Path) -> None:
    """
    A segment that another user put there stands for nobody: it is left where it is.
    """
    inbox = tmp_path / "inbox"
    inbox.mkdir(mode=0o700)
    for number in (1, 2):
        segment_path(inbox, number).write_bytes(frame(number))
    os.chown(segment_path(inbox, 2), NOBODY, NOBODY)

    one = Inbox(inbox, ROOMY)
    taken = one.take()
    one.close()

    assert taken is not None
    assert taken.last_seq == 1
    assert one.lag().segments == 1
    assert segment_path(inbox, 2).exists()


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o703])
def test_inbox_that_everybody_may_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    """
    Whoever may write into the inbox may forge what was accepted: the collector says so and does
    not start, until the folder is closed.
    """
    inbox = tmp_path / "store.inbox"
    inbox.mkdir()
    inbox.chmod(mode)
    command = collector_command(tmp_path / "store")

    with (
        pytest.raises(AssertionError, match=r"everybody may write(?s:.*)chmod"),
        running(command, tmp_path / "refused.log"),
    ):
        pass
    inbox.chmod(0o700)
    with running(command, tmp_path / "collector.log") as one:
        assert one.process.poll() is None


def start_and_store(folder: Path, segments: int) -> tuple[float, float]:
    """Seconds to open an inbox with that many unknown tiny segments, and to take all of them."""
    folder.mkdir(mode=0o700)
    for number in range(1, segments + 1):
        segment_path(folder, number).write_bytes(frame(number))
    started = time.process_time()
    inbox = Inbox(folder, ROOMY)
    opened = time.process_time()
    taken = 0
    while (intent := inbox.take()) is not None:
        inbox.mark_stored(intent, {})
        taken += 1
    stored = time.process_time()
    inbox.close()
    assert taken == segments
    return opened - started, stored - opened


def test_tiny_inbox_segments_cost_no_more_the_more_there_are(tmp_path: Path) -> None:
    """
    Eight times the segments take about eight times as long to enter at the start, and to store.
    """
    few = start_and_store(tmp_path / "few", 300)
    many = start_and_store(tmp_path / "many", 2400)

    assert many[0] / few[0] < 24
    assert many[1] / few[1] < 24


def test_digest_key_that_others_could_read_is_closed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A digest key that was open to others is used on, for its digests are stored; it is closed, and
    that is said.
    """
    config = TracingConfig(spool_dir=tmp_path)
    before = load_digest_key(config)
    path = tmp_path / "digest.key"
    path.chmod(0o644)

    after = load_digest_key(config)

    assert after == before
    assert path.stat().st_mode & 0o777 == 0o600
    assert "open to other users" in caplog.text


def test_exporter_does_not_go_where_it_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A redirect is no acceptance and is not followed, also not by a proxy of the environment: no
    other host hears the key.
    """
    with (
        socket.create_server(("127.0.0.1", 0)) as asked,
        socket.create_server(("127.0.0.1", 0)) as other,
    ):
        where = f"http://127.0.0.1:{other.getsockname()[1]}"
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, where)
        heard: list[bytes] = []

        def answer() -> None:
            connection, _ = asked.accept()
            with connection:
                heard.append(connection.recv(65_536))
                head = f"HTTP/1.1 307 Temporary Redirect\r\nlocation: {where}/v1/logs\r\n"
                connection.sendall(f"{head}content-length: 0\r\n\r\n".encode())

        thread = threading.Thread(target=answer)
        thread.start()
        config = TracingConfig(
            url=f"http://127.0.0.1:{asked.getsockname()[1]}",
            api_key="a-key-for-one-host",
            spool_dir=tmp_path,
        )
        connection = CollectorConnection(config)
        found = connection.post("/v1/logs", b"", {})
        connection.close()
        thread.join()
        other.settimeout(0.3)
        with pytest.raises(TimeoutError):
            other.accept()

    assert found.status == 307
    assert found.verdict.name not in ("ACCEPTED", "REFUSED")
    assert b"a-key-for-one-host" in heard[0]
