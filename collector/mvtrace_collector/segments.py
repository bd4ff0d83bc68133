"""Segment files of the inbox: ``varint length + Envelope`` frames, one after another.

Comes in: an export body and what the collector knows of it. Goes out: the bytes around the body,
or, from a file, its whole frames. The body itself is never copied or changed. The Envelope's fields
are project = 1, received_ms = 2, seq = 3, traces = 5, logs = 6, as the loader's schema reads them,
actor = 8, actor_label = 9 and grants = 10 where the body decides or scores something (by whose key
it came, and what that key might do then), ahead_ms = 11 where the sender's clock was off, and two
that it passes over: batch = 4 (the batch's key, so that the file alone tells what was accepted) and
crc = 7 (CRC-32 of body and header, so that a torn frame is told from a whole one).
"""

from __future__ import annotations

import mmap
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NamedTuple

from mvtrace.otlp import field, varint

Signal = Literal["traces", "logs"]
BATCH_KEY_BYTES: Final = 16

_SIGNAL_TAGS: Final = {"traces": varint(5 << 3 | 2), "logs": varint(6 << 3 | 2)}
_BODY_FIELDS: Final = (5, 6)
_BATCH_FIELD: Final = 4
_SENDER_FIELDS: Final = (8, 9, 10)
_AHEAD_TAG: Final = varint(11 << 3)
_LENGTH_DELIMITED: Final = 2
_MORE: Final = 0x80
_CRC_TAG: Final = varint(7 << 3 | 5)
_CRC: Final = struct.Struct("<I")


class Sender(NamedTuple):
    """Who sent a body, as his key proved it when it came."""

    actor: str
    """The key's id."""
    label: str = ""
    grants: str = ""
    """The key's scopes with a space between, as far as they matter for what is in the body."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What a frame tells of itself, without its body."""

    seq: int
    received_ms: int
    batch: bytes
    ahead_ms: int = 0
    """How far the sender's clock was ahead of the collector's; 0 also where that is not known."""


@dataclass(frozen=True, slots=True)
class Scan:
    """The whole frames at the start of a file, and where they end."""

    frames: tuple[Frame, ...]
    good_bytes: int
    file_bytes: int


class TornError(Exception):
    """The bytes are no whole frame."""


def frame_head(
    project: str,
    signal: Signal,
    body: bytes,
    *,
    frame: Frame,
    body_crc: int,
    sender: Sender | None = None,
) -> bytes:
    """Return all bytes of a frame that stand before its *body*; *body_crc* is the body's CRC-32."""
    head = b"".join(
        (
            field(1, project.encode()),
            b"\x10" + varint(frame.received_ms),
            b"\x18" + varint(frame.seq),
            field(4, frame.batch),
            *(() if sender is None else map(field, _SENDER_FIELDS, _encoded(sender))),
            _AHEAD_TAG + varint(_zigzag(frame.ahead_ms)) if frame.ahead_ms else b"",
        )
    )
    head += _SIGNAL_TAGS[signal] + varint(len(body))
    inner = _CRC_TAG + _CRC.pack(zlib.crc32(head, body_crc)) + head
    return varint(len(inner) + len(body)) + inner


def _zigzag(number: int) -> int:
    """Return *number* as protobuf writes a sint64."""
    return number << 1 if number >= 0 else (-number << 1) - 1


def _encoded(sender: Sender) -> list[bytes]:
    return [text.encode() for text in sender]


def scan_segment(path: Path) -> Scan:
    """Return the whole frames of a segment file, up to the first that is torn or damaged."""
    size = path.stat().st_size
    if not size:
        return Scan((), 0, 0)
    frames: list[Frame] = []
    position = 0
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        memoryview(data) as view,
    ):
        while position < size:
            try:
                frame, _, position = _read_frame(view, position)
            except TornError:
                break
            frames.append(frame)
    return Scan(tuple(frames), position, size)


def read_bodies(path: Path) -> Iterator[bytes]:
    """Yield the bodies of a segment file, up to the first that is torn or damaged."""
    with memoryview(path.read_bytes()) as view:
        position = 0
        while position < len(view):
            try:
                _, body, position = _read_frame(view, position)
            except TornError:
                return
            yield bytes(view[body:position])


def _read_frame(view: memoryview, position: int) -> tuple[Frame, int, int]:
    """Return a frame, where its body begins, and where both end."""
    length, start = read_varint(view, position)
    end = start + length
    if end > len(view) or bytes(view[start : start + 1]) != _CRC_TAG:
        raise TornError
    head = start + 1 + _CRC.size
    (crc,) = _CRC.unpack(bytes(view[start + 1 : head]).ljust(_CRC.size, b"\0"))
    values: dict[int, int] = {}
    batch = b""
    position = head
    while position < end:
        tag, after = read_varint(view, position)
        value, after = read_varint(view, after)
        number, is_bytes = tag >> 3, tag & 7 == _LENGTH_DELIMITED
        if number in _BODY_FIELDS:
            if after + value != end:
                raise TornError
            _check_body(view[head:after], view[after:end], crc)
            return Frame(values.get(3, 0), values.get(2, 0), batch), after, end
        if number == _BATCH_FIELD and is_bytes:
            batch = bytes(view[after : after + value])
        values[number] = value
        position = after + value if is_bytes else after
    raise TornError


def _check_body(head: memoryview, body: memoryview, crc: int) -> None:
    with head, body:
        if zlib.crc32(head, zlib.crc32(body)) != crc:
            raise TornError


def read_varint(view: bytes | memoryview, position: int) -> tuple[int, int]:
    """Return the varint of *view* at *position* and where it ends; TornError where none does."""
    number = 0
    for shift in range(0, 70, 7):
        if position >= len(view):
            break
        byte = view[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < _MORE:
            return number, position
    raise TornError
