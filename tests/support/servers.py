"""Real servers of an ASGI application as processes, asked by many clients at once.

The listening socket is made here and handed over, so that no port is guessed; connections are made
anew for each question, as a balancer would.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HEADER = "x-mvtrace-request-id"


@dataclass(frozen=True)
class Reply:
    """One answer as a client sees it."""

    number: int
    status: int
    body: dict[str, Any]
    request_id: str | None


@dataclass
class Server:
    """A running server: its first process, and its address."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def ask(self, number: int) -> Reply:
        """Return the answer to a question; asked again where the server closed instead."""
        for _ in range(200):
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
            try:
                connection.request("GET", f"/echo/{number}", headers={"connection": "close"})
                answer = connection.getresponse()
                text = answer.read()
                return Reply(number, answer.status, json.loads(text), answer.getheader(HEADER))
            except (ConnectionError, http.client.HTTPException):
                time.sleep(0.02)
            finally:
                connection.close()
        raise AssertionError(f"no answer:\n{self.log.read_text(errors='replace')}")

    def ask_all(self, numbers: Sequence[int], clients: int = 8) -> list[Reply]:
        """Return the answers to all *numbers*, asked by several clients at once."""
        with ThreadPoolExecutor(clients) as pool:
            return list(pool.map(self.ask, numbers))

    def family(self) -> list[int]:
        """Return the process and all its descendants."""
        found = [self.process.pid]
        for pid in found:
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                with contextlib.suppress(OSError):
                    found.extend(map(int, children.read_text().split()))
        return found

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self, timeout_s: float = 30.0) -> float:
        """Ask the server to end; return the seconds it took."""
        begun = time.monotonic()
        self.process.terminate()
        self.process.wait(timeout_s)
        return time.monotonic() - begun


def files_held(pids: Sequence[int], folder: Path) -> dict[str, set[int]]:
    """Return which processes hold each file below *folder*: opened, or mapped into memory."""
    held: dict[str, set[int]] = {}
    for pid in pids:
        names = []
        with contextlib.suppress(OSError):
            names = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
            maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
            names += [line.split(maxsplit=5)[5] for line in maps if line.count(" /")]
        for name in names:
            if name.startswith(str(folder)):
                held.setdefault(name, set()).add(pid)
    return held


@contextlib.contextmanager
def serving(
    command: Sequence[str], log: Path, cwd: Path, environ: Mapping[str, str]
) -> Iterator[Server]:
    """Run *command*, in which ``{fd}`` stands for the listening socket, until the block ends."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener, log.open("ab") as sink:
        descriptor = listener.fileno()
        process = subprocess.Popen(
            [sys.executable, *(part.format(fd=descriptor) for part in command)],
            cwd=cwd,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environ},
            stdout=sink,
            stderr=sink,
            pass_fds=[descriptor],
        )
        server = Server(process, listener.getsockname()[1], log)
        try:
            yield server
        finally:
            end(server)


def end(server: Server) -> None:
    """End every process of *server* that is left."""
    family = server.family()
    server.process.terminate()
    try:
        server.process.wait(15)
    except subprocess.TimeoutExpired:
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        server.process.wait()
