"""A TCP proxy that breaks connections on purpose, or answers in the collector's place.

In: HTTP/1.1 requests with Content-Length. Each takes the next fault of a script; an empty script
forwards. It knows just enough of HTTP to tell where a request ends.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, Self
from urllib.parse import urlsplit

Fault = Literal[
    "forward",  # nothing happens
    "cut-before-body",  # the client's connection ends after the headers
    "cut-after-body",  # the collector gets all, the client hears nothing
    "half-response",  # the client gets half of the answer's bytes
    "reset",  # RST after the collector got all
    "slow-response",  # the answer comes one byte at a time
    "slow-request",  # the body reaches the collector slowly, in small pieces
    "close-when-idle",  # the connection ends right after a whole answer that promised to keep it
    "refuse",  # RST before a byte is read
]
_LENGTH: Final = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_BATCH: Final = re.compile(rb"x-mvtrace-batch: *(\S+)", re.IGNORECASE)


@dataclass(frozen=True)
class Answer:
    """An answer to give in the collector's place."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def to_bytes(self) -> bytes:
        """Return the answer as it travels."""
        headers = {"content-length": str(len(self.body)), **self.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"HTTP/1.1 {self.status} Told\r\n{lines}\r\n".encode() + self.body


class _EndedError(Exception):
    """The connection is to be closed."""


class FaultProxy:
    """Stands between clients and *target*; a context manager with a thread of its own."""

    def __init__(self, target: str, *, byte_delay_s: float = 0.005) -> None:
        self.script: deque[Fault | Answer] = deque()
        self.always: Fault | Answer = "forward"
        """What happens once the script is at its end."""
        self.max_body: int | None = None
        """Bodies over so many bytes are answered with 413."""
        self.seen: list[tuple[str, str]] = []
        """The batch id of each request and what was done to it."""
        self.url = ""
        self._target = urlsplit(target)
        self._byte_delay_s = byte_delay_s
        self._loop = asyncio.new_event_loop()
        self._is_up = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def retarget(self, target: str) -> None:
        """Forward to another address from now on."""
        self._target = urlsplit(target)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._is_up.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._is_up.set()
        await self._stop.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._client(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                fault = self.script.popleft() if self.script else self.always
                batch = _BATCH.search(head)
                name = fault if isinstance(fault, str) else str(fault.status)
                self.seen.append((batch[1].decode() if batch else "", name))
                await self._exchange(head, reader, writer, fault)
        except (_EndedError, asyncio.IncompleteReadError, OSError):
            pass  # that a connection ends is what this is for
        finally:
            writer.close()

    async def _exchange(
        self,
        head: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        fault: Fault | Answer,
    ) -> None:
        if fault == "refuse":
            _reset(writer)
        if fault == "cut-before-body":
            raise _EndedError
        length = _LENGTH.search(head)
        body = await reader.readexactly(int(length[1]) if length else 0)
        if self.max_body is not None and len(body) > self.max_body:
            fault = Answer(413)
        if isinstance(fault, Answer):
            writer.write(fault.to_bytes())
            await writer.drain()
            if fault.headers.get("connection") == "close":
                raise _EndedError
            return
        answer = await self._ask(head, body, is_slow=fault == "slow-request")
        await _RESPONSES.get(fault, _whole)(self, writer, answer)

    async def _ask(self, head: bytes, body: bytes, *, is_slow: bool) -> bytes:
        """Return the target's whole answer to one request."""
        host, port = self._target.hostname, self._target.port
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(head)
            step = 64 if is_slow else max(1, len(body))
            for start in range(0, len(body), step):
                writer.write(body[start : start + step])
                await writer.drain()
                if is_slow:
                    await asyncio.sleep(self._byte_delay_s)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(answer)
            return answer + await reader.readexactly(int(length[1]) if length else 0)
        finally:
            writer.close()

    async def _slowly(self, writer: asyncio.StreamWriter, answer: bytes) -> None:
        for byte in answer:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(self._byte_delay_s)


async def _whole(_: FaultProxy, writer: asyncio.StreamWriter, answer: bytes) -> None:
    writer.write(answer)
    await writer.drain()


async def _nothing(_: FaultProxy, writer: asyncio.StreamWriter, answer: bytes) -> None:
    raise _EndedError


async def _half(_: FaultProxy, writer: asyncio.StreamWriter, answer: bytes) -> None:
    writer.write(answer[: len(answer) // 2])
    await writer.drain()
    raise _EndedError


async def _all_then_close(_: FaultProxy, writer: asyncio.StreamWriter, answer: bytes) -> None:
    writer.write(answer)
    await writer.drain()
    raise _EndedError


async def _rst(_: FaultProxy, writer: asyncio.StreamWriter, answer: bytes) -> None:
    _reset(writer)


def _reset(writer: asyncio.StreamWriter) -> None:
    """End the connection with RST instead of FIN."""
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    raise _EndedError


_RESPONSES: Final[
    Mapping[str, Callable[[FaultProxy, asyncio.StreamWriter, bytes], Awaitable[None]]]
] = {
    "cut-after-body": _nothing,
    "half-response": _half,
    "reset": _rst,
    "slow-response": FaultProxy._slowly,
    "close-when-idle": _all_then_close,
}
