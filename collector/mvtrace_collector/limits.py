"""How much of a request is read: sizes before and after inflating, time, memory in flight.

Comes in: the chunks of a body and what the headers say of it. Goes out: the inflated bytes, or an
IngestError. Memory stays bounded whatever the body claims. Decoding is not done here.
"""

from __future__ import annotations

import asyncio
import threading
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final, Self

from mvtrace_collector.errors import (
    BusyError,
    SlowBodyError,
    TooLargeError,
    UndecodableError,
    UnsupportedError,
)

MIB: Final = 1024 * 1024
_FED_STEP: Final = 32 * 1024
_INFLATED_STEP: Final = 256 * 1024
ENCODINGS: Final = {"": 0, "identity": 0, "gzip": 31, "x-gzip": 31, "deflate": 15}
"""Content-Encoding to zlib's *wbits*; 0 means as it is."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request, and all requests together, may cost."""

    compressed_bytes: int = 16 * MIB
    """Of the body as it travels."""
    inflated_bytes: int = 64 * MIB
    """Of the body after decompression; 64 MiB is what OTLP recommends."""
    ratio: int = 250
    """Inflated to compressed so far, from *ratio_floor_bytes* on. OTLP reaches 20 to 50."""
    ratio_floor_bytes: int = 8 * MIB
    read_seconds: float = 30.0
    """From the end of the headers to the end of the body."""
    header_seconds: float = 10.0
    """From the first byte of a request to the end of its headers."""
    in_flight_bytes: int = 512 * MIB
    """Of all bodies being read, inflated or waiting for the disk."""
    json_containers: int = 1_000_000
    """Objects and arrays in one JSON body: each costs some hundred bytes of memory."""
    messages: int = 1 << 20
    """Spans, attributes, values and so on in one protobuf body: each costs up to 200 bytes."""
    content_bytes: int = 64 * MIB
    """Of the content of one request, as it is given out."""
    connections: int = 512


class MemoryBudget:
    """Counts the bytes of all requests in flight; thread-safe."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._used = 0
        self._lock = threading.Lock()

    @property
    def used_bytes(self) -> int:
        """What is held now."""
        return self._used

    def hold(self) -> Holding:
        """Return an empty holding of one request; it is a context manager."""
        return Holding(self)

    def _change(self, count: int) -> bool:
        with self._lock:
            if count > 0 and self._used + count > self.limit_bytes:
                return False
            self._used += count
            return True


class Holding:
    """The bytes one request holds; given back at the end of the ``with``."""

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self._held = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._budget._change(-self._held)  # noqa: SLF001 - the two classes are one thing
        self._held = 0

    def take(self, count: int) -> None:
        """Hold *count* more bytes, or raise BusyError."""
        if not self._budget._change(count):  # noqa: SLF001 - the two classes are one thing
            raise BusyError("Too many bytes are in flight", retry_after_s=1)
        self._held += count


def parse_encoding(value: str) -> int:
    """Return zlib's *wbits* for a Content-Encoding header, 0 for identity."""
    wbits = ENCODINGS.get(value.strip().lower())
    if wbits is None:
        raise UnsupportedError("Content-Encoding", value, "gzip, deflate or identity")
    return wbits


def check_length(declared: str | None, limits: Limits) -> None:
    """Refuse a body by its Content-Length, before a byte of it is read."""
    if declared is None:
        return
    if not (declared.isascii() and declared.isdecimal()):
        raise UndecodableError(f"Content-Length is {declared!r}; expected is a number.")
    if int(declared) > limits.compressed_bytes:
        raise TooLargeError("body", limits.compressed_bytes, is_unread=True)


async def read_body(chunks: AsyncIterator[bytes], limits: Limits, holding: Holding) -> bytes:
    """Read a body within the limits of size and time."""
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(limits.read_seconds):
            async for chunk in chunks:
                size += len(chunk)
                if size > limits.compressed_bytes:
                    raise TooLargeError("body", limits.compressed_bytes, is_unread=True)
                holding.take(len(chunk))
                parts.append(chunk)
    except TimeoutError as error:
        raise SlowBodyError(limits.read_seconds) from error
    return parts[0] if len(parts) == 1 else b"".join(parts)


def inflate(body: bytes, wbits: int, limits: Limits, holding: Holding) -> bytes:
    """Return *body* decompressed, one step at a time, so that a bomb costs no memory."""
    if not wbits or not body:
        return body
    inflater = zlib.decompressobj(wbits=wbits)
    parts: list[bytes] = []
    size = fed = 0
    while not inflater.eof:
        rest = body[fed : fed + _FED_STEP]
        fed += len(rest)
        if not rest:
            raise UndecodableError("The compressed body ends too early.")
        is_pending = True
        while is_pending and not inflater.eof:
            part = _inflate_step(inflater, rest)
            rest = inflater.unconsumed_tail
            is_pending = bool(rest) or len(part) == _INFLATED_STEP
            size += len(part)
            _check_inflated(size, fed, limits)
            holding.take(len(part))
            parts.append(part)
    if inflater.unused_data or fed < len(body):
        raise UndecodableError("Bytes follow the end of the compressed body.")
    return b"".join(parts)


def _inflate_step(inflater: zlib._Decompress, data: bytes) -> bytes:
    try:
        return inflater.decompress(data, _INFLATED_STEP)
    except zlib.error as error:
        raise UndecodableError(f"The compressed body is damaged: {error}.") from error


def _check_inflated(size: int, compressed: int, limits: Limits) -> None:
    if size > limits.inflated_bytes:
        raise TooLargeError("decompressed body", limits.inflated_bytes)
    if size > limits.ratio_floor_bytes and size > compressed * limits.ratio:
        raise TooLargeError("compression ratio", limits.ratio, "to 1")
