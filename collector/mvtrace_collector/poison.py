"""The frames of a segment as the loader needs them: what is in them, and those it has to cut out.

In: a segment's bytes. Out: its signals, its frames, and rows of ``quarantine`` for frames that the
engine refuses. The checksum of a frame is the inbox's business; here only the envelope's head is
read, as far as it can be.
"""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from mvtrace.content import carries_content
from mvtrace_collector.segments import TornError, read_varint

MAX_BODY_BYTES: Final = 16 * 1024 * 1024
"""More of one frame is not kept in a row; the segment's file stays in the inbox for a while."""

QUARANTINE_COLUMNS: Final = (
    "project",
    "received_at",
    "quarantine_id",
    "reason",
    "detail",
    "subject",
    "body",
)

_WIRE_VARINT: Final = 0
_WIRE_BYTES: Final = 2
_WIRE_FIXED32: Final = 5
_PROJECT, _RECEIVED_MS, _SEQ = 1, 2, 3
TRACES: Final = 5
LOGS: Final = 6
"""The envelope's fields with an export body."""

Raw = bytes | memoryview


class Frame(NamedTuple):
    """One envelope with its length before it, and what its head says."""

    raw: bytes
    project: str
    received_ms: int
    seq: int


def signals_in(segment: Path) -> frozenset[int]:
    """Return which bodies *segment* holds (TRACES, LOGS); both where its frames cannot be read."""
    if not segment.stat().st_size:
        return frozenset()
    found: set[int] = set()
    with (
        segment.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        memoryview(data) as view,
    ):
        position = 0
        try:
            while position < len(view):
                length, start = read_varint(view, position)
                position = start + length
                with view[start:position] as envelope:
                    found.update(number for number, _ in _head_fields(envelope, 0))
        except TornError:
            return frozenset({TRACES, LOGS})
    return frozenset(found & {TRACES, LOGS})


def split_frames(data: bytes) -> tuple[list[Frame], bytes]:
    """Return the whole frames of *data* and what is left behind them."""
    frames: list[Frame] = []
    position = 0
    while position < len(data):
        try:
            length, start = read_varint(data, position)
        except TornError:
            break
        if start + length > len(data):
            break
        frames.append(_frame(data[position : start + length], start - position))
        position = start + length
    return frames, data[position:]


def quarantine_row(frame: Frame, detail: str) -> tuple[Any, ...]:
    """Return the row that keeps *frame*, whose loading failed as *detail* says.

    Content is never kept in a table: of a frame that carries any, the row has all but its bytes.
    """
    digest = hashlib.sha256(frame.raw).digest()[:16]
    received_at = datetime.fromtimestamp(frame.received_ms / 1000, UTC)
    subject = f"batch {frame.seq} of {len(frame.raw)} bytes"
    body = b"" if carries_content(frame.raw) else frame.raw[:MAX_BODY_BYTES]
    return (frame.project, received_at, digest, "unloadable-batch", detail, subject, body)


def _frame(raw: bytes, head: int) -> Frame:
    project, received_ms, seq = "default", 0, 0
    for number, value in _head_fields(raw, head):
        if number == _PROJECT and isinstance(value, bytes):
            project = value.decode("utf-8", "replace")
        elif number == _RECEIVED_MS and isinstance(value, int):
            received_ms = value
        elif number == _SEQ and isinstance(value, int):
            seq = value
    return Frame(raw, project, min(received_ms, 4_000_000_000_000), seq)


def _head_fields(raw: Raw, position: int) -> Iterator[tuple[int, int | bytes]]:
    """Yield the fields of an envelope, up to the first that cannot be one."""
    try:
        while position < len(raw):
            tag, position = read_varint(raw, position)
            number, wire = tag >> 3, tag & 7
            if wire == _WIRE_FIXED32:
                position += 4
                continue
            if wire not in (_WIRE_VARINT, _WIRE_BYTES):
                return
            value, position = read_varint(raw, position)
            if wire == _WIRE_BYTES:
                is_body = number in (TRACES, LOGS)
                yield number, b"" if is_body else bytes(raw[position : position + value])
                position += value
            else:
                yield number, value
    except TornError:
        return
