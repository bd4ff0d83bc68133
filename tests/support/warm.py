"""Commands in processes of their own, forked from one that has the modules: most of a short
command's time is their import.

In: arguments and an environment. Out: exit code and what was written, as of ``python -m mvtrace``.
Only for tests that run hundreds of commands: what it takes to start one is tested elsewhere.
"""

from __future__ import annotations

import gc
import json
import os
import pkgutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import NamedTuple, NoReturn

TIMEOUT_S = 120.0
LEFT_OUT = frozenset({"mvtrace.cli.direct"})
"""Has the engine, whose threads no fork may copy."""


class Done(NamedTuple):
    """How a command ended, and what it wrote."""

    code: int
    output: str
    errors: str


class Commands:
    """Runs commands, one after another."""

    def __init__(self, server: subprocess.Popen[str], folder: Path) -> None:
        self._server = server
        self._folder = folder

    def run(self, arguments: Sequence[str], environ: Mapping[str, str]) -> Done:
        """Run ``mvtrace`` with *arguments*."""
        asked = {"arguments": list(arguments), "environ": dict(environ)}
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(asked) + "\n")
        self._server.stdin.flush()
        code = int(self._server.stdout.readline())
        texts = ((self._folder / name).read_bytes().decode() for name in ("out", "err"))
        return Done(code, *texts)


@contextmanager
def warm_commands() -> Iterator[Commands]:
    """Give what runs commands until the block ends."""
    with (
        tempfile.TemporaryDirectory(prefix="mvtrace-") as folder,
        subprocess.Popen(
            [sys.executable, __file__, folder],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        ) as server,
    ):  # fmt: skip
        yield Commands(server, Path(folder))
        assert server.stdin is not None
        server.stdin.close()


def serve(folder: Path) -> None:
    """Fork a process for each line of stdin, and say how it ended; in a forked one run it."""
    for package in ("mvtrace.cli", "mvtrace.registry", "mvtrace.explain", "mvtrace.comparing"):
        for module in pkgutil.walk_packages(import_module(package).__path__, f"{package}."):
            if module.name not in LEFT_OUT:
                import_module(module.name)
    from mvtrace.cli.main import main

    gc.freeze()  # nothing of this is looked at, and so copied, in a forked process
    # Read byte by byte: a fork must not find the next line in its copy of a buffer.
    for line in iter(lambda: _line(0), b""):
        asked = json.loads(line)
        pid = os.fork()
        if not pid:
            _redirect(folder)
            os.environ.clear()
            os.environ.update(asked["environ"])
            _run(main, asked["arguments"])
        os.write(1, f"{_ended(pid)}\n".encode())


def _run(main: Callable[[Sequence[str]], None], arguments: Sequence[str]) -> NoReturn:
    """End this process as the command does, without taking the modules apart one by one."""
    code: object = 0
    try:
        main(arguments)
    except SystemExit as error:
        code = error.code
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


def _line(descriptor: int) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(descriptor, 1)
        if not byte:
            return b""
        line += byte
    return line


def _redirect(folder: Path) -> None:
    """Read nothing, and write into *folder*."""
    anew = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    places = ((os.devnull, os.O_RDONLY), (folder / "out", anew), (folder / "err", anew))
    for number, (place, how) in enumerate(places):
        opened = os.open(place, how)
        os.dup2(opened, number)
        os.close(opened)


def _ended(pid: int) -> int:
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return -9


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
