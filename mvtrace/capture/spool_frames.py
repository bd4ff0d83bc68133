"""What a spool's segment holds: its resource and its frames, also where bytes are damaged.

In: bytes of a segment. Out: the frames whose checksums hold, and the pieces between them that are
damaged. After damage the next frame is found by its checksum, so that a wrong length costs no more
than a wrong body. Pure.
"""

from __future__ import annotations

import itertools
import re
import zlib
from typing import Final, NamedTuple

from mvtrace.capture.spool import (
    FRAME,
    HEADER,
    LOGS,
    MAGIC,
    MAX_FRAME_BYTES,
    SPANS,
    frame_crc,
)

KINDS: Final = frozenset({LOGS, SPANS})
_SEARCH_TRIES: Final = 1000
"""How many places that look like a frame are tried after damage."""
_FRAME_LOOK: Final = re.compile(rb"(?=...[\x00].{4}.{5}\x00\x00\x00[\x01\x02])", re.DOTALL)
"""A length below 2^24, any checksum, a sequence below 2^40, a kind."""


class Frame(NamedTuple):
    """One frame of a segment."""

    sequence: int
    kind: int
    body: bytes
    end: int
    """Offset behind it."""


class Scan(NamedTuple):
    """What a piece of a segment holds."""

    frames: tuple[Frame, ...]
    corrupt: tuple[bytes, ...]
    end: int
    """Offset behind the last whole frame, corrupt or not."""


def is_cut_header(data: bytes) -> bool:
    """Tell whether *data*, a whole segment, ends within its header, as a kill may leave it."""
    return len(data) < HEADER.size or len(data) < HEADER.size + HEADER.unpack_from(data)[1]


def read_resource(data: bytes) -> bytes | None:
    """Return the resource's bytes of a segment that starts with *data*; None if it is damaged."""
    if len(data) < HEADER.size:
        return None
    magic, length, crc = HEADER.unpack_from(data)
    resource = data[HEADER.size : HEADER.size + length]
    if magic != MAGIC or len(resource) != length or zlib.crc32(resource) != crc:
        return None
    return resource


def scan_frames(data: bytes, offset: int) -> Scan:
    """Return the whole frames in *data*, which starts at *offset* of its segment."""
    frames: list[Frame] = []
    corrupt: list[bytes] = []
    at = 0
    while at + FRAME.size <= len(data):
        length, crc, sequence, kind = FRAME.unpack_from(data, at)
        stop = at + FRAME.size + length
        is_possible = length <= MAX_FRAME_BYTES and stop <= len(data)
        if not is_possible and at:
            break  # it may go on behind *data*: the next scan begins with it
        body = data[at + FRAME.size : stop]
        if is_possible and kind in KINDS and frame_crc(sequence, kind, body) == crc:
            frames.append(Frame(sequence, kind, body, offset + stop))
        else:
            stop = _end_of_damage(data, at, stop if is_possible else None)
            if stop is None:
                break
            corrupt.append(data[at:stop])
        at = stop
    return Scan(tuple(frames), tuple(corrupt), offset + at)


def _end_of_damage(data: bytes, at: int, stop: int | None) -> int | None:
    """Return where the damage at *at* ends; *stop* is what its own length says, None if absurd."""
    places = (match.start() for match in _FRAME_LOOK.finditer(data, at + 1))
    tried = itertools.islice(places, _SEARCH_TRIES)
    if stop is not None and (stop == len(data) or _is_frame(data, stop)):
        # Its length may be wrong all the same, and lead over whole frames to the end of the last.
        return next((place for place in tried if _leads_to(data, place, stop)), stop)
    return next((place for place in tried if _is_frame(data, place)), stop)


def _leads_to(data: bytes, at: int, stop: int) -> bool:
    """Whether whole frames lie from *at* on, without a gap, that end at *stop*."""
    while at < stop and _is_frame(data, at):
        at += FRAME.size + FRAME.unpack_from(data, at)[0]
        if at == stop:
            return True
    return False


def _is_frame(data: bytes, at: int) -> bool:
    if at + FRAME.size > len(data):
        return False
    length, crc, sequence, kind = FRAME.unpack_from(data, at)
    stop = at + FRAME.size + length
    if kind not in KINDS or length > MAX_FRAME_BYTES or stop > len(data):
        return False
    return frame_crc(sequence, kind, memoryview(data)[at + FRAME.size : stop]) == int(crc)
