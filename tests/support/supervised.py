"""A collector that is killed and started again at the same address, as a supervisor would."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from processes import Running, collector_command, start


class Supervised:
    """A context manager; ``kill`` and ``start`` as often as a test wants."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        environ: Mapping[str, str] | None = None,
        store: Path | None = None,
    ) -> None:
        self.folder = folder
        self.store = store or folder / "store"
        self.inbox = folder / "store.inbox"
        self.log = folder / "collector.log"
        self.environ = dict(environ or {})
        self.url = f"http://127.0.0.1:{_free_port()}"
        self.options = options
        self._running: Running | None = None
        self.kills = 0

    def start(self, **environ: str) -> None:
        """Start it, with more *environ* for this one life."""
        command = collector_command(self.store, *self.options)
        place = command.index("--listen") + 1
        command[place] = self.url.removeprefix("http://")
        self._running = start(command, self.log, {**self.environ, **environ})

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process of this life."""
        assert self._running is not None
        return self._running.process

    def kill(self) -> None:
        """SIGKILL it and wait until it is gone."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(60)
        self.kills += 1

    def stop(self) -> int:
        """SIGTERM it and return its exit status."""
        self.process.terminate()
        return self.process.wait(120)

    def wait_dead(self, timeout_s: float = 120.0) -> int:
        """Return the exit status of a process that ends by itself."""
        return self.process.wait(timeout_s)

    def said(self) -> str:
        """Return everything it ever wrote."""
        return self.log.read_text(errors="replace")

    def memory_bytes(self) -> int:
        """Return the resident memory of the process."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGESIZE")

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._running is not None and self.process.poll() is None:
            self.kill()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
