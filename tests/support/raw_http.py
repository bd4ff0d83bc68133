"""HTTP as bytes over real sockets: a server whose every byte the test decides, and a client."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Self

import uvicorn

Message = tuple[bytes, list[tuple[bytes, bytes]], bytes]
"""First line, headers and body."""
PATIENCE_S = 20.0
CRLF = b"\r\n"


class Connection:
    """One side of a connection, read as HTTP/1.1."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        sock.settimeout(PATIENCE_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._held = b""

    @classmethod
    def to(cls, port: int) -> Self:
        return cls(socket.create_connection(("127.0.0.1", port)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.socket.sendall(piece)

    def receive(self) -> bytes:
        """Return what comes next; empty at the end."""
        held, self._held = self._held, b""
        return held or self.socket.recv(1 << 16)

    def until(self, end: bytes) -> bytes:
        found = b""
        while end not in found:
            piece = self.receive()
            if not piece:
                raise EOFError(found)
            found += piece
        before, self._held = found[: found.index(end)], found[found.index(end) + len(end) :]
        return before

    def exactly(self, size: int) -> bytes:
        found, self._held = bytearray(self._held), b""
        while len(found) < size:
            piece = self.socket.recv(1 << 18)
            if not piece:
                raise EOFError(bytes(found[-80:]))
            found += piece
        self._held = bytes(found[size:])
        return bytes(found[:size])

    def head(self) -> tuple[bytes, list[tuple[bytes, bytes]]]:
        """Return the first line and the headers of a message."""
        first, *lines = self.until(CRLF * 2).split(CRLF)
        pairs = [line.split(b":", 1) for line in lines]
        return first, [(name, value.strip()) for name, value in pairs]

    def chunk(self) -> bytes:
        """Return the next chunk of a chunked body; the last one is empty."""
        size = int(self.until(CRLF), 16)
        body = self.exactly(size)
        self.exactly(2)
        return body

    def body(self, headers: list[tuple[bytes, bytes]]) -> bytes:
        """Return the body that *headers* announce."""
        named = {name.lower(): value for name, value in headers}
        if named.get(b"transfer-encoding") == b"chunked":
            return b"".join(iter(self.chunk, b""))
        return self.exactly(int(named.get(b"content-length", b"0")))

    def message(self) -> Message:
        first, headers = self.head()
        return first, headers, self.body(headers)

    def is_ended(self) -> bool:
        """Whether the other side closes, within our patience."""
        try:
            return self.receive() == b""
        except ConnectionError:
            return True


def chunked(*pieces: bytes) -> list[bytes]:
    """Return *pieces* as chunks, with the last one."""
    return [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece] + [b"0\r\n\r\n"]


class RawServer:
    """Calls ``handle`` with every connection, each in a thread of its own."""

    def __init__(self) -> None:
        self.handle: Callable[[Connection], None] = self.reply
        self.answer: list[bytes] = []
        """What each request is answered with, if nothing else handles it."""
        self.seen: list[Message] = []
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def reply(self, connection: Connection) -> None:
        """Note each request of *connection* and give the answer."""
        while True:
            self.seen.append(connection.message())
            connection.send(*self.answer)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with Connection(sock) as connection, suppress(EOFError, OSError):
            self.handle(connection)


@contextmanager
def running(config: uvicorn.Config, listener: socket.socket) -> Iterator[int]:
    """Run uvicorn in a thread; yields the port."""
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


def named(headers: list[tuple[bytes, bytes]]) -> dict[bytes, Any]:
    return {name.lower(): value for name, value in headers}
