"""Fuzz what reads files: the inbox's segments, the spool's, and the numbers in both."""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson
from fuzz_target import Cursor, Target

from mvtrace.capture.counts import Counts
from mvtrace.capture.spool import FRAME, HEADER, MAGIC, Payload, encode_frame, frame_crc
from mvtrace.capture.spool_frames import KINDS, is_cut_header, read_resource, scan_frames
from mvtrace.capture.spool_reader import SpoolReader
from mvtrace.otlp import varint
from mvtrace_collector.segments import (
    BATCH_KEY_BYTES,
    Frame,
    TornError,
    frame_head,
    read_varint,
    scan_segment,
)

# One folder for the life of the process: an input is written to the same file again and again.
_FOLDER = TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
SEGMENT = Path(_FOLDER.name, "segment")
SPOOL = Path(_FOLDER.name, "spool", "producer")
CRC_TAG = b"\x3d"
MOST_RANGES = 1000


def check_segment(data: bytes) -> None:
    """What is read of a segment ends at its first damage, and reads the same without the rest."""
    content = _segment_of(Cursor(data))
    SEGMENT.write_bytes(content)
    scan = scan_segment(SEGMENT)
    assert scan.file_bytes == len(content)
    assert 0 <= scan.good_bytes <= len(content)
    assert bool(scan.frames) == bool(scan.good_bytes)
    SEGMENT.write_bytes(content[: scan.good_bytes])
    again = scan_segment(SEGMENT)
    assert (again.frames, again.good_bytes) == (scan.frames, scan.good_bytes)
    frame = Frame(seq=7, received_ms=8, batch=bytes(BATCH_KEY_BYTES))
    SEGMENT.write_bytes(content[: scan.good_bytes] + _good_frame(frame, b"body"))
    longer = scan_segment(SEGMENT)
    assert longer.frames == (*scan.frames, frame)
    assert longer.good_bytes == longer.file_bytes


def _good_frame(frame: Frame, body: bytes) -> bytes:
    return frame_head("shop", "logs", body, frame=frame, body_crc=zlib.crc32(body)) + body


def _segment_of(cursor: Cursor) -> bytes:
    """Return frames and damage in turn: good ones, any bytes under a good checksum, any bytes."""
    parts: list[bytes] = []
    while cursor.rest and len(parts) < 20:
        kind, size = cursor.number() % 4, cursor.number()
        if kind == 0:
            batch, body = cursor.piece(BATCH_KEY_BYTES), cursor.piece(size)
            parts.append(_good_frame(Frame(cursor.number(8), cursor.number(8), batch), body))
        elif kind == 1:
            head, body = cursor.piece(size), cursor.piece(cursor.number())
            crc = zlib.crc32(head, zlib.crc32(body)).to_bytes(4, "little")
            length = 5 + len(head) + len(body)
            parts.append(varint(length) + CRC_TAG + crc + head + body)
        else:
            parts.append(cursor.piece(size))
    return b"".join(parts)


def check_spool(data: bytes) -> None:
    """Frames, damage and tail make up the whole; a reader delivers every whole frame, and ends."""
    cursor = Cursor(data)
    content, offset = _spool_of(cursor), 16
    scan = scan_frames(content, offset)
    for frame in scan.frames:
        start = frame.end - offset - FRAME.size - len(frame.body)
        assert content[start : frame.end - offset].endswith(frame.body)
        assert frame.kind in KINDS
        _, crc, _, _ = FRAME.unpack_from(content, start)
        assert frame_crc(frame.sequence, frame.kind, frame.body) == crc
    framed = sum(FRAME.size + len(frame.body) for frame in scan.frames)
    assert framed + sum(map(len, scan.corrupt)) == scan.end - offset
    assert scan.end - offset <= len(content)
    resource = cursor.piece(8)
    header = HEADER.pack(MAGIC, len(resource), zlib.crc32(resource)) + resource
    assert read_resource(header + content) == resource
    for one in (content, header[: cursor.number() % 30]):
        assert read_resource(one) is None or not is_cut_header(one)
    _check_reader(header + content, cursor.rest, wanted=[frame.sequence for frame in scan.frames])


def _check_reader(segment: bytes, position: bytes, *, wanted: list[int]) -> None:
    SPOOL.mkdir(parents=True, exist_ok=True)
    (SPOOL / "00000001.seg").write_bytes(segment)
    (SPOOL / "position").write_bytes(position)
    reader = SpoolReader(SPOOL, Counts())
    starts_anew = reader.position == (0, 0, 0, 0)
    found: list[int] = []
    for _ in range(MOST_RANGES):
        delivery = reader.next_range(None)
        if delivery is None:
            break
        found += [frame.sequence for frame in delivery.frames]
        reader.mark_delivered(delivery)
    else:
        raise AssertionError("the reader does not come to an end")
    # One scan stops before a length that may go on behind it; the reader's next begins there.
    assert not starts_anew or found[: len(wanted)] == wanted
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(SPOOL.parent / "quarantine"):
            Path(entry.path).unlink()


def _spool_of(cursor: Cursor) -> bytes:
    parts: list[bytes] = []
    while cursor.rest and len(parts) < 20:
        kind, size = cursor.number() % 5, cursor.number()
        if kind in KINDS:
            parts.append(encode_frame(cursor.number(8), Payload(kind, cursor.piece(size))))
        elif kind == 3:
            whole = encode_frame(size, Payload(1, cursor.piece(size)))
            at = cursor.number() % len(whole)
            parts.append(whole[:at] + cursor.piece(1) + whole[at + 1 :])
        elif kind == 4:
            break
        else:
            parts.append(cursor.piece(size))
    return b"".join(parts)


def check_varint(data: bytes) -> None:
    """A number that is read is the one that stands there, and what is written is read again."""
    cursor = Cursor(data)
    start, number = cursor.number(), cursor.number(8)
    assert read_varint(varint(number) + data, 0) == (number, len(varint(number)))
    for view in (data, memoryview(data)):
        try:
            found, end = read_varint(view, start)
        except TornError:
            last = data[start : start + 10]
            assert len(last) < 10 or all(one & 0x80 for one in last)
            assert all(one & 0x80 for one in last)
            continue
        raw = data[start:end]
        assert 1 <= len(raw) <= 10
        assert all(one & 0x80 for one in raw[:-1])
        assert raw[-1] < 0x80
        assert found == sum((one & 0x7F) << 7 * at for at, one in enumerate(raw))


def segment_seeds() -> Iterator[bytes]:
    """Yield good frames, frames of any content under a good checksum, and noise."""
    good = bytes([0, 4]) + bytes(range(16)) + b"body" + bytes(16)
    head = b"\x0a\x04shop\x10\x01\x18\x02\x22\x02ab\x32"
    yield good
    yield good * 3
    yield bytes([1, len(head) + 1]) + head + b"\x04" + b"\x04body"
    yield bytes([1, len(head) + 1]) + head + b"\x05" + b"\x04body" + good
    yield good + bytes([2, 10]) + bytes(10) + good
    yield b""
    yield bytes([2, 10]) + b"\xff" * 10


def spool_seeds() -> Iterator[bytes]:
    """Yield frames of both kinds, damage among them, and positions."""
    logs, spans = bytes([1, 4]) + bytes(8) + b"body", bytes([2, 4]) + bytes(8) + b"span"
    position = orjson.dumps({"segment": 1, "offset": 24, "end": 0, "logs_end": 0})
    yield logs + spans
    yield logs + bytes([3, 4]) + b"body\x06x" + spans
    yield (
        logs + bytes([0, 30]) + bytes(30) + spans + bytes([4, 0]) + b"resource" + b"\x05" + position
    )
    yield bytes([4, 0]) + b"resource" + b"\x05" + position.replace(b"24", b"999999")
    yield bytes([0, 17]) + FRAME.pack((1 << 32) - 1, 0, 1, 1) + logs


TARGETS = {
    "segment-frames": Target(check_segment, segment_seeds, max_length=1024),
    "spool-frames": Target(check_spool, spool_seeds, max_length=1024),
    "varint": Target(check_varint, lambda: (b"\0\x01", b"\x01\xff" + b"\xff" * 9 + b"\x01")),
}
