"""A collector process under attack: raw bytes to its port, its memory, and a good request after.

``attack`` measures by how much the process's peak of resident memory rose above where it was (the
kernel's own mark, set back through ``clear_refs``), and then sends an ordinary export.
"""

from __future__ import annotations

import contextlib
import gzip
import socket
import sys
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx2
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from processes import Running, running

PROTOBUF, JSON = "application/x-protobuf", "application/json"
MIB = 1 << 20
HERE = Path(__file__).resolve().parent


class Answer(NamedTuple):
    """What came back: 0 stands for a connection closed without an answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def told(self) -> str:
        """The message of a google.rpc.Status in the answer's own encoding."""
        if self.headers["content-type"] == PROTOBUF:
            return str(Status.FromString(self.body).message)
        return str(httpx2.Response(200, content=self.body).json()["message"])


@dataclass
class Attacked:
    """A running collector and what an attack on it cost."""

    running: Running
    grown: dict[str, float] = field(default_factory=dict)
    """MiB by the name of the attack."""
    _spans: int = 0

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.running.url)
        return str(parts.hostname), int(parts.port or 0)

    def send(self, *parts: bytes, timeout: float = 20.0) -> Answer:
        """Send *parts* on a connection of their own and return the first final answer."""
        with self.connection(timeout) as connection:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                for part in parts:
                    connection.sendall(part)
            return answer_on(connection)

    def connection(self, timeout: float = 20.0) -> socket.socket:
        """Return an open connection."""
        return socket.create_connection(self.address, timeout=timeout)

    def post(
        self, path: str, body: bytes, *, kind: str = PROTOBUF, headers: dict[str, str] | None = None
    ) -> Answer:
        """Post *body* as any client does."""
        given = {"content-type": kind, **(headers or {})}
        got = httpx2.post(f"{self.running.url}{path}", content=body, headers=given, timeout=60)
        return Answer(got.status_code, {k.lower(): v for k, v in got.headers.items()}, got.content)

    def get(self, path: str, **options: Any) -> httpx2.Response:
        """Get *path*."""
        return httpx2.get(f"{self.running.url}{path}", timeout=60, **options)

    @contextlib.contextmanager
    def attack(self, name: str, *, most_mib: float) -> Iterator[None]:
        """Hold the process to *most_mib* of new memory in the block, and to life after it."""
        proc = Path(f"/proc/{self.running.process.pid}")
        (proc / "clear_refs").write_text("5")
        before = _status(proc, "VmRSS")
        yield
        self.grown[name] = (_status(proc, "VmHWM") - before) / 1024
        assert self.grown[name] < most_mib, f"{name}: {self.grown[name]:.0f} MiB"
        self.check_alive()

    def check_alive(self) -> None:
        """Send a good export, which is taken whole."""
        self._spans += 1
        answer = self.post("/v1/traces", a_trace(self._spans))
        assert (answer.status, answer.body) == (200, b"")
        assert self.running.process.poll() is None


def _status(proc: Path, name: str) -> int:
    """Return a line of /proc/PID/status, in KiB."""
    lines = (proc / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


@contextlib.contextmanager
def attacked(folder: Path, *limits: str, **environ: str) -> Iterator[Attacked]:
    """Run a collector in *folder*; it has loaded something before it is handed out."""
    command = [sys.executable, str(HERE / "hasty_collector.py"), str(folder / "store"), *limits]
    with running(command, folder / "collector.log", environ) as one:
        target = Attacked(one)
        target.check_alive()
        yield target
        for name, grown in sorted(target.grown.items(), key=lambda pair: -pair[1]):
            print(f"{grown:7.1f} MiB more at the peak of: {name}")


def answer_on(connection: socket.socket) -> Answer:
    """Return the first final answer on *connection*, of which the head may be all there is."""
    heard = b""
    with contextlib.suppress(ConnectionResetError):
        while b"\r\n\r\n" not in heard or heard.startswith(b"HTTP/1.1 100"):
            if heard.startswith(b"HTTP/1.1 100") and b"\r\n\r\n" in heard:
                heard = heard.partition(b"\r\n\r\n")[2]
                continue
            part = connection.recv(65_536)
            if not part:
                return Answer(0, {}, heard)
            heard += part
        head, _, body = heard.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (one.partition(": ") for one in lines)}
        wanted = int(headers.get("content-length", 0))
        while len(body) < wanted and (part := connection.recv(65_536)):
            body += part
        return Answer(int(status.split()[1]), headers, body)
    return Answer(0, {}, heard)


def a_trace(number: int = 1) -> bytes:
    """Return an export of one span."""
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    spans.add(trace_id=number.to_bytes(16, "big"), span_id=b"\x01" * 8, name="good")
    return request.SerializeToString()


def message(number: int, payload: bytes) -> bytes:
    """Return a length-delimited field of protobuf."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def varint(number: int) -> bytes:
    """Return *number* as protobuf writes it."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*out, number))


def spans_of(spans: bytes) -> bytes:
    """Return an export of the encoded *spans* (each with its tag)."""
    return message(1, message(2, spans))


def bomb(size: int, *, wbits: int = 31, filling: bytes = b"\0") -> bytes:
    """Return *size* bytes of *filling*, compressed as well as can be."""
    squeezer = zlib.compressobj(9, wbits=wbits)
    block = filling * (MIB // len(filling))
    parts = [squeezer.compress(block) for _ in range(size // MIB)]
    return b"".join(parts) + squeezer.flush()


def head(
    method: str = "POST", path: str = "/v1/traces", *lines: str, host: str = "localhost"
) -> bytes:
    """Return the head of a request."""
    text = "\r\n".join((f"{method} {path} HTTP/1.1", f"host: {host}", *lines, "", ""))
    return text.encode("latin-1")


def chunked(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Yield *parts* in the chunked encoding, without its end."""
    for part in parts:
        yield f"{len(part):x}\r\n".encode() + part + b"\r\n"


GZIPPED = gzip.compress(a_trace())
