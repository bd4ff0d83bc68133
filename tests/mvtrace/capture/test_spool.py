"""The disk spool: what is written, what a next process reads, what damage costs."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mvtrace.capture import spool as spool_module
from mvtrace.capture.counts import Counts
from mvtrace.capture.orphans import Orphans
from mvtrace.capture.spool import (
    FRAME,
    LOGS,
    QUARANTINE_BYTES,
    SEGMENT_BYTES,
    SPANS,
    Payload,
    Spool,
    lock_directory,
    quarantine,
    segment_numbers,
)
from mvtrace.capture.spool_reader import MAX_RANGE_BYTES, Range, SpoolReader

RESOURCE = b"resource"


def new_spool(root: Path) -> Spool:
    return Spool(root, str(uuid.uuid4()), lambda: RESOURCE)


def read_all(reader: SpoolReader, spool: Spool | None = None) -> list[Payload]:
    """Deliver everything and return it."""
    found = []
    while (part := reader.next_range(spool.tail if spool else None)) is not None:
        found += [Payload(frame.kind, frame.body) for frame in part.frames]
        reader.mark_delivered(part)
    return found


def newest_segment(spool: Spool) -> Path:
    return spool.directory / spool_module.segment_name(segment_numbers(spool.directory)[-1])


def losses(counts: Counts) -> dict[str, int]:
    return {name: number for name, number in counts.values().items() if number}


payload_lists = st.lists(
    st.lists(
        st.builds(Payload, st.sampled_from([LOGS, SPANS]), st.binary(max_size=40)), max_size=4
    ),
    max_size=6,
)


@given(payload_lists)
@settings(max_examples=50, deadline=None)
def test_what_was_appended_is_read(
    tmp_path_factory: pytest.TempPathFactory, appended: list[list[Payload]]
) -> None:
    """
    A next process reads every payload, in order, and leaves an empty directory that goes.
    """
    spool = new_spool(tmp_path_factory.mktemp("spool"))
    for payloads in appended:
        if payloads:
            spool.append(payloads)
    spool.close()
    counts = Counts()

    reader = SpoolReader(spool.directory, counts)
    found = read_all(reader)

    assert found == [payload for payloads in appended for payload in payloads]
    assert reader.remove_if_delivered()
    assert not spool.directory.exists()
    assert losses(counts) == {}


def test_nothing_is_made_before_the_first_append(tmp_path: Path) -> None:
    """
    A process that traces nothing leaves no file and no directory.
    """
    spool = new_spool(tmp_path / "root")

    spool.close()

    assert SpoolReader(spool.directory, Counts()).next_range(None) is None
    assert not (tmp_path / "root").exists()


def test_nobody_else_may_read(tmp_path: Path) -> None:
    """
    Directories are for their owner only, and so are files, whatever the umask.
    """
    spool = new_spool(tmp_path / "root")
    before = os.umask(0)
    try:
        spool.append([Payload(LOGS, b"x")])
        read_all(SpoolReader(spool.directory, Counts()), spool)
    finally:
        os.umask(before)

    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode)
        for path in (tmp_path / "root", spool.directory, *spool.directory.iterdir())
    }
    assert modes == {
        "root": 0o700,
        spool.directory.name: 0o700,
        "00000001.seg": 0o600,
        "lock": 0o600,
        "position": 0o600,
    }


def test_directory_that_is_a_link_is_refused(tmp_path: Path) -> None:
    """
    A link in the spool's place is not followed.
    """
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "root").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OSError, match="is not a directory of user"):
        new_spool(tmp_path / "root").append([Payload(LOGS, b"x")])

    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_segments_end_at_their_size(tmp_path: Path) -> None:
    """
    A segment holds 8 MiB at most, and a delivered one is deleted while the process goes on.
    """
    spool = new_spool(tmp_path)
    payloads = [Payload(SPANS, bytes([i]) * (1 << 20)) for i in range(20)]
    for payload in payloads:
        spool.append([payload])
    sizes = [path.stat().st_size for path in spool.directory.glob("*.seg")]
    reader = SpoolReader(spool.directory, Counts())

    found = read_all(reader, spool)

    assert len(sizes) == 3
    assert max(sizes) <= SEGMENT_BYTES
    assert found == payloads
    assert segment_numbers(spool.directory) == [3]


def test_ranges_have_a_size(tmp_path: Path) -> None:
    """
    A range is whole frames and at most 4 MiB of its segment.
    """
    spool = new_spool(tmp_path)
    for _ in range(5):
        spool.append([Payload(SPANS, b"x" * (1 << 20))])
    reader = SpoolReader(spool.directory, Counts())

    part = reader.next_range(spool.tail)

    assert part is not None
    assert len(part.frames) == 3
    assert part.position.end - part.position.offset <= MAX_RANGE_BYTES


def test_range_in_delivery_is_the_same_after_a_restart(tmp_path: Path) -> None:
    """
    What a process was delivering when it died is delivered again under the same id, whatever has
    been appended since.
    """
    spool = new_spool(tmp_path)
    spool.append([Payload(LOGS, b"a"), Payload(SPANS, b"b")])
    before = SpoolReader(spool.directory, Counts()).next_range(spool.tail)
    spool.append([Payload(SPANS, b"c")])
    spool.close()

    reader = SpoolReader(spool.directory, Counts())
    again = reader.next_range(None)
    assert again is not None
    reader.mark_delivered(again)
    after = reader.next_range(None)

    assert again == before
    assert again.batch_id(LOGS) == f"{spool.directory.name}-1-0-1-logs"
    assert again.batch_id(SPANS) == f"{spool.directory.name}-1-0-1-traces"
    assert after is not None
    assert after.batch_id(SPANS) == f"{spool.directory.name}-1-2-2-traces"
    assert after.resource == RESOURCE


@pytest.mark.parametrize("size", [0, 4000, 5000, 1 << 19])
def test_resource_of_any_size(tmp_path: Path, size: int) -> None:
    """
    A resource comes back whole, also where it is larger than what is read of a segment first.
    """
    resource = b"r" * size
    spool = Spool(tmp_path, str(uuid.uuid4()), lambda: resource)
    spool.append([Payload(SPANS, b"a")])

    found = SpoolReader(spool.directory, Counts()).next_range(spool.tail)
    spool.close()

    assert found is not None
    assert found.resource == resource
    assert found.payloads(SPANS) == [b"a"]


def test_logs_of_a_range_are_not_repeated(tmp_path: Path) -> None:
    """
    Once the logs of a range are delivered only its spans remain, also after a split and a restart.
    """
    spool = new_spool(tmp_path)
    for i in range(4):
        spool.append([Payload(LOGS, b"l%d" % i), Payload(SPANS, b"s%d" % i)])
    first = SpoolReader(spool.directory, Counts())
    whole = first.next_range(spool.tail)
    assert whole is not None
    first.mark_logs_delivered(whole)
    assert first.split(whole)
    spool.append([Payload(LOGS, b"l4")])
    spool.close()

    reader = SpoolReader(spool.directory, Counts())
    ranges = []
    while (part := reader.next_range(None)) is not None:
        ranges.append((part.payloads(LOGS), part.payloads(SPANS)))
        reader.mark_delivered(part)

    assert ranges == [([], [b"s0", b"s1"]), ([b"l4"], [b"s2", b"s3"])]


def test_split_ends_at_one_frame(tmp_path: Path) -> None:
    """
    A range is halved until it is one frame, which cannot be split.
    """
    spool = new_spool(tmp_path)
    spool.append([Payload(SPANS, b"%d" % i) for i in range(5)])
    reader = SpoolReader(spool.directory, Counts())

    sizes = []
    part = reader.next_range(spool.tail)
    while part is not None:
        sizes.append(len(part.frames))
        part = reader.next_range(spool.tail) if reader.split(part) else None

    assert sizes == [5, 3, 2, 1]


@pytest.mark.parametrize("cut", [1, FRAME.size, FRAME.size + 2])
def test_torn_tail_is_cut(tmp_path: Path, cut: int) -> None:
    """
    A frame that a kill left unfinished is cut and counted; all before it is delivered.
    """
    spool = new_spool(tmp_path)
    spool.append([Payload(LOGS, b"whole")])
    spool.append([Payload(LOGS, b"torn")])
    spool.close()
    segment = newest_segment(spool)
    os.truncate(segment, segment.stat().st_size - cut)
    counts = Counts()

    found = read_all(SpoolReader(spool.directory, counts))

    assert found == [Payload(LOGS, b"whole")]
    torn = FRAME.size + 4 - cut
    assert losses(counts) == {"spool_torn_tails": 1, "spool_torn_bytes": torn}


def test_flipped_bit_costs_one_frame(tmp_path: Path) -> None:
    """
    A frame with a wrong checksum is put aside and counted; those after it are delivered.
    """
    spool = new_spool(tmp_path)
    for body in (b"first", b"second", b"third"):
        spool.append([Payload(LOGS, body)])
    spool.close()
    segment = newest_segment(spool)
    data = bytearray(segment.read_bytes())
    data[data.index(b"second")] ^= 1
    segment.write_bytes(data)
    counts = Counts()

    found = read_all(SpoolReader(spool.directory, counts))

    (aside,) = (tmp_path / "quarantine").iterdir()
    assert found == [Payload(LOGS, b"first"), Payload(LOGS, b"third")]
    assert b"recond" in aside.read_bytes()
    assert losses(counts) == {"spool_frames_corrupt": 1}


def test_only_frame_is_corrupt(tmp_path: Path) -> None:
    """
    A segment whose only frame is damaged does not hold up the next segment.
    """
    spool = new_spool(tmp_path)
    spool.append([Payload(LOGS, b"first")])
    segment = newest_segment(spool)
    segment.write_bytes(segment.read_bytes()[:-1] + b"?")
    spool._close_segment()
    spool.append([Payload(LOGS, b"second")])
    counts = Counts()

    found = read_all(SpoolReader(spool.directory, counts), spool)

    assert found == [Payload(LOGS, b"second")]
    assert losses(counts) == {"spool_frames_corrupt": 1}


@given(st.integers(0, 200), st.integers(0, 7))
@settings(max_examples=150, deadline=None)
def test_any_flipped_bit_is_survived(
    tmp_path_factory: pytest.TempPathFactory, at: int, bit: int
) -> None:
    """
    Whatever single bit of a segment flips, only true payloads come out, and the loss is counted.
    """
    spool = new_spool(tmp_path_factory.mktemp("spool"))
    payloads = [Payload(LOGS, b"payload %d" % i) for i in range(5)]
    spool.append(payloads)
    spool.close()
    segment = newest_segment(spool)
    data = bytearray(segment.read_bytes())
    at %= len(data)
    data[at] ^= 1 << bit
    segment.write_bytes(data)
    counts = Counts()

    found = read_all(SpoolReader(spool.directory, counts))

    assert set(found) <= set(payloads)
    assert len(found) < len(payloads)
    assert losses(counts) != {}


@pytest.mark.parametrize("content", [b"", b"mvsp", b"\0" * 100, b"GIF89a" + b"x" * 300])
def test_foreign_or_empty_segment(tmp_path: Path, content: bytes) -> None:
    """
    A file that is no segment is dropped, counted if it held anything, and holds up nothing.
    """
    spool = new_spool(tmp_path)
    spool.append([Payload(LOGS, b"good")])
    spool.close()
    (spool.directory / "00000000.seg").write_bytes(content)
    (spool.directory / "notes.txt").write_bytes(b"not ours")
    counts = Counts()

    found = read_all(SpoolReader(spool.directory, counts))

    assert found == [Payload(LOGS, b"good")]
    assert counts.values()["spool_torn_bytes"] == len(content)


def test_fifo_and_link_among_the_segments(tmp_path: Path) -> None:
    """
    A pipe or a link with a segment's name neither blocks the reader nor is followed.
    """
    spool = new_spool(tmp_path)
    spool.append([Payload(LOGS, b"good")])
    spool.close()
    os.mkfifo(spool.directory / "00000000.seg")
    (tmp_path / "secret").write_bytes(b"secret")
    (spool.directory / "00000002.seg").symlink_to(tmp_path / "secret")
    counts = Counts()

    found = read_all(SpoolReader(spool.directory, counts))

    assert found == [Payload(LOGS, b"good")]
    assert (tmp_path / "secret").read_bytes() == b"secret"


@pytest.mark.parametrize("stored", [b"", b"[]", b'{"segment": -1}', b'{"segment": "1"}', b"\xff"])
def test_unreadable_position_starts_over(tmp_path: Path, stored: bytes) -> None:
    """
    Without a usable position everything is delivered again rather than nothing.
    """
    spool = new_spool(tmp_path)
    spool.append([Payload(LOGS, b"x")])
    spool.close()
    (spool.directory / "position").write_bytes(stored)

    assert read_all(SpoolReader(spool.directory, Counts())) == [Payload(LOGS, b"x")]


def test_deleted_directory_is_made_again(tmp_path: Path) -> None:
    """
    After somebody deleted the spool the next append makes it again, with its lock.
    """
    spool = new_spool(tmp_path / "root")
    spool.append([Payload(LOGS, b"lost")])
    for path in spool.directory.iterdir():
        path.unlink()
    spool.directory.rmdir()

    spool.append([Payload(LOGS, b"kept")])

    assert read_all(SpoolReader(spool.directory, Counts()), spool) == [Payload(LOGS, b"kept")]
    assert lock_directory(spool.directory) is None


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from mvtrace.capture.counts import Counts
from mvtrace.capture.spool import LOGS, Payload, Spool
from mvtrace.capture.spool_reader import SpoolReader
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
spool = Spool(Path(sys.argv[1]), "6ba7b810-9dad-41d1-80b4-00c04fd430c8", lambda: b"resource")
spool.append([Payload(LOGS, b"before")])
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))
try:
    spool.append([Payload(LOGS, b"x" * 1000)])
except OSError as error:
    print(error.strerror)
spool.append([Payload(LOGS, b"small")])
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
counts = Counts()
reader = SpoolReader(spool.directory, counts)
while (part := reader.next_range(spool.tail)):
    print([frame.body for frame in part.frames])
    reader.mark_delivered(part)
print({name: number for name, number in counts.values().items() if number})
"""


def test_write_that_fails_half_way(tmp_path: Path) -> None:
    """
    What a failed write left is cut; everything before and after it is read, nothing half.
    """
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )

    assert done.stdout.splitlines() == ["File too large", "[b'before']", "[b'small']", "{}"]


def test_living_producer_is_not_adopted(tmp_path: Path) -> None:
    """
    A directory is adopted once its producer has given it up, and by one process only.
    """
    living, dead = new_spool(tmp_path), new_spool(tmp_path)
    for spool in (living, dead):
        spool.append([Payload(LOGS, b"x")])
    dead.close()
    (tmp_path / "not-a-spool").mkdir()
    counts = Counts()
    adopter = Orphans(new_spool(tmp_path).directory, counts)
    other = Orphans(new_spool(tmp_path).directory, counts)

    adopter.adopt()
    other.adopt()
    adopter.adopt()

    (reader,) = adopter.readers()
    assert reader.directory == dead.directory
    assert other.readers() == []
    assert read_all(reader) == [Payload(LOGS, b"x")]
    adopter.release(reader)
    assert not dead.directory.exists()
    adopter.close()


def test_quarantine_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Bad data is kept for a look, but never without a bound.
    """
    monkeypatch.setattr(spool_module, "QUARANTINE_BYTES", 100)
    assert QUARANTINE_BYTES == 64 << 20

    quarantine(tmp_path, "a", b"x" * 80)
    quarantine(tmp_path, "b", b"x" * 80)

    assert [path.name for path in (tmp_path / "quarantine").iterdir()] == ["a"]


def test_frames_of_a_range_are_immutable(tmp_path: Path) -> None:
    """
    A range keeps its bytes whatever happens to the file behind it.
    """
    spool = new_spool(tmp_path)
    spool.append([Payload(LOGS, b"x")])
    part = SpoolReader(spool.directory, Counts()).next_range(spool.tail)

    newest_segment(spool).unlink()

    assert isinstance(part, Range)
    assert part.payloads(LOGS) == [b"x"]
