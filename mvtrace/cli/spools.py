"""The spool folders of this host, read without their processes.

In: a spool's root (``MVTRACE_SPOOL_DIR``). Out: for each producer whether it lives, what it has not
delivered and since when. Nothing is written, and no lock is kept: a producer's lock is tried for a
moment, shared, which tells whether somebody holds it.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import orjson

from mvtrace.capture.numbers import Numbers
from mvtrace.capture.spool import (
    FRAME,
    HEADER,
    LOCK_FILE,
    LOGS,
    MAX_FRAME_BYTES,
    POSITION_FILE,
    PRODUCER_NAME,
    QUARANTINE,
    SPANS,
    directory_bytes,
    segment_name,
    segment_numbers,
)
from mvtrace.capture.spool_answers import last_answer

LATE_S: Final = 300.0
"""What is undelivered for longer is something to look at."""
_TIME_FIELDS: Final = {LOGS: 1, SPANS: 7}
"""Fields with the time of a LogRecord, and with the start of a Span."""
_MESSAGES: Final = 2
"""Field of the scope in its resource, and of the messages in it."""
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_POSITION_BYTES: Final = 4096
_VARINT: Final = 0
_FIXED64_BYTES: Final = 8
_SIZES: Final = {1: _FIXED64_BYTES, 5: 4}
"""Wire types with a size of their own."""


class _Reached(NamedTuple):
    """How far a spool is delivered."""

    segment: int = 0
    offset: int = 0


def _opened(path: Path) -> BinaryIO:
    """Open a file to read; a link is not followed, and a pipe does not hold up."""
    return os.fdopen(os.open(path, _READ), "rb")


def spools(root: Path) -> dict[str, Any]:
    """Return what lies below *root*, oldest undelivered first."""
    producers = [_producer(entry) for entry in _folders(root)]
    producers.sort(key=lambda one: -(one["oldest_s"] or 0.0))
    aside = root / QUARANTINE
    return {
        "folder": str(root),
        "healthy": all((one["oldest_s"] or 0.0) <= LATE_S for one in producers),
        "producers": producers,
        "undelivered_bytes": sum(one["undelivered_bytes"] for one in producers),
        "refused_bytes": directory_bytes(aside) if aside.is_dir() else 0,
    }


def _folders(root: Path) -> list[Path]:
    try:
        entries = list(os.scandir(root))
    except OSError:
        return []
    return [
        Path(one.path)
        for one in entries
        if PRODUCER_NAME.fullmatch(one.name) and one.is_dir(follow_symlinks=False)
    ]


def _producer(folder: Path) -> dict[str, Any]:
    reached = _reached(folder)
    waiting = _undelivered(folder, reached)
    oldest = _oldest(folder, reached, list(waiting))
    return {
        "producer": folder.name,
        **_facts(folder),
        "alive": _is_held(folder / LOCK_FILE),
        "undelivered_bytes": sum(waiting.values()),
        "oldest_s": None if oldest is None else round(max(0.0, time.time() - oldest), 1),
        "delivered_s": _age(folder / POSITION_FILE),
        "last_answer": last_answer(folder),
    }


def _facts(folder: Path) -> dict[str, Any]:
    numbers = Numbers.load(folder)
    if numbers is None:
        return {"service": None, "environment": None, "last_number": None}
    try:
        facts = numbers.facts
        return {
            "service": facts.service,
            "environment": facts.environment,
            "last_number": numbers.last,
        }
    finally:
        numbers.release()


def _is_held(lock: Path) -> bool:
    """Whether a process holds *lock*: its producer, or one that has adopted what it left."""
    try:
        descriptor = os.open(lock, _READ)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _reached(folder: Path) -> _Reached:
    try:
        with _opened(folder / POSITION_FILE) as file:
            plain = orjson.loads(file.read(_POSITION_BYTES))
        return _Reached(int(plain["segment"]), int(plain["offset"]))
    except (OSError, ValueError, KeyError, TypeError):
        return _Reached()


def _undelivered(folder: Path, reached: _Reached) -> dict[int, int]:
    """Return the bytes of frames that are not delivered, by segment."""
    found = {}
    for number in _numbers(folder):
        if number < reached.segment:
            continue
        try:
            size = (folder / segment_name(number)).stat().st_size
        except OSError:
            continue  # delivered and deleted meanwhile
        start = reached.offset if number == reached.segment and reached.offset else None
        left = size - (_first_frame(folder, number) if start is None else start)
        if left > 0:
            found[number] = left
    return found


def _numbers(folder: Path) -> list[int]:
    try:
        return segment_numbers(folder)
    except OSError:
        return []


def _first_frame(folder: Path, number: int) -> int:
    """Return the offset of a segment's first frame; 0 where its head cannot be read."""
    try:
        with _opened(folder / segment_name(number)) as file:
            _magic, length, _crc = HEADER.unpack(file.read(HEADER.size))
    except (OSError, struct.error):
        return 0
    return HEADER.size + int(length)


def _oldest(folder: Path, reached: _Reached, waiting: list[int]) -> float | None:
    """Return the time in the oldest undelivered frame, in Unix seconds."""
    if not waiting:
        return None
    number = waiting[0]
    path = folder / segment_name(number)
    is_begun = number == reached.segment and reached.offset
    try:
        with _opened(path) as file:
            file.seek(reached.offset if is_begun else _first_frame(folder, number))
            length, _crc, _sequence, kind = FRAME.unpack(file.read(FRAME.size))
            nanoseconds = _time_in(file.read(min(length, MAX_FRAME_BYTES)), kind)
        return nanoseconds / 1e9 if nanoseconds else path.stat().st_mtime
    except (OSError, struct.error):
        return None


def _time_in(body: bytes, kind: int) -> int:
    """Return the time of the first message in a frame's *body*, in nanoseconds; 0 without one."""
    scope = _field(body, _MESSAGES)
    message = _field(scope, _MESSAGES)
    found = _field(message, _TIME_FIELDS.get(kind, 0))
    return int.from_bytes(found, "little") if len(found) == _FIXED64_BYTES else 0


def _field(data: bytes, wanted: int) -> bytes:
    """Return the first field *wanted* of a protobuf message, without its tag and length."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        wire = tag & 7
        if wire == _VARINT:
            _, at = _varint(data, at)
            continue
        size = _SIZES.get(wire)
        if size is None:
            size, at = _varint(data, at)
        if tag >> 3 == wanted:
            return data[at : at + size]
        at += size
    return b""


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while at < len(data):
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:  # noqa: PLR2004 (the last byte)
            break
    return number, at


def _age(path: Path) -> float | None:
    try:
        return round(max(0.0, time.time() - path.stat().st_mtime), 1)
    except OSError:
        return None
