"""Request ids: UUIDv7 (RFC 9562), monotonic in a process, minted by mvtrace and by nobody else.

The id is the time: its first 48 bits are Unix milliseconds, so one sort order serves look-up and
ranges, and the month a row belongs to is read from its id alone.
"""

from __future__ import annotations

import os
import re
import threading
import time
from typing import Final

UUID7_PATTERN: Final = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
)

_RANDOM_BITS: Final = 74
_POOL_BYTES: Final = 2560
_lock = threading.Lock()
_pool = b""
_taken = 0
_last_ms = 0
_last_random = 0


def new_request_id(now_ns: int | None = None) -> str:
    """Return a new UUIDv7 as lower-case text; later calls in one process sort later.

    *now_ns* is Unix time in nanoseconds. A clock that steps back does not step the ids back: the
    last millisecond is kept and the random part counts on.
    """
    global _last_ms, _last_random  # noqa: PLW0603 (monotonic within the process)
    now_ms = (time.time_ns() if now_ns is None else now_ns) // 1_000_000
    with _lock:
        fresh = int.from_bytes(_random_bytes(), "big")
        if now_ms > _last_ms:
            _last_ms, _last_random = now_ms, fresh >> 7
        else:
            # 73 random bits above leave room to count on for 2^73 ids.
            _last_random += 1 + (fresh & 0xFFFF)
        return format_uuid7(_last_ms, _last_random & ((1 << _RANDOM_BITS) - 1))


def _random_bytes() -> bytes:
    """Return ten bytes of the system's randomness; a call of its own costs more than the id."""
    global _pool, _taken  # noqa: PLW0603 (under the lock)
    if _taken >= len(_pool):
        _pool, _taken = os.urandom(_POOL_BYTES), 0
    _taken += 10
    return _pool[_taken - 10 : _taken]


def format_uuid7(unix_ms: int, random_bits: int) -> str:
    """Return the UUIDv7 of *unix_ms* (48 bits) and *random_bits* (74 bits) as text."""
    value = (
        (unix_ms & ((1 << 48) - 1)) << 80
        | 0x7 << 76
        | (random_bits >> 62 & 0xFFF) << 64
        | 0b10 << 62
        | random_bits & ((1 << 62) - 1)
    )
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def unix_ms_of(request_id: str) -> int:
    """Return the Unix milliseconds inside *request_id*, which is a UUIDv7 as text."""
    return int(request_id[:8] + request_id[9:13], 16)


def _reseed_after_fork() -> None:
    # A forked child must not count on from its parent's random part.
    global _last_ms, _lock, _pool, _taken
    _last_ms, _lock = 0, threading.Lock()
    _pool, _taken = b"", 0


os.register_at_fork(after_in_child=_reseed_after_fork)
