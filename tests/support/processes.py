"""Real processes for tests: a collector, or any command that says which address it listens on."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

LISTENS = re.compile(r"listens on (https?://[0-9.:]+)[^0-9.:]")
START_TIMEOUT_S = 60


@dataclass
class Running:
    """A started process and the address it answers at."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path


def start(command: list[str], log: Path, environ: Mapping[str, str] | None = None) -> Running:
    """Start *command* and return once it says where it listens."""
    with log.open("ab") as sink:
        offset = sink.tell()
        process = subprocess.Popen(
            command, stdout=sink, stderr=sink, env={**os.environ, **(environ or {})}
        )
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        found = LISTENS.search(log.read_bytes()[offset:].decode(errors="replace"))
        if found:
            return Running(process, found.group(1), log)
        if process.poll() is not None:
            break
        time.sleep(0.02)
    process.kill()
    process.wait()
    raise AssertionError(f"{command} did not start:\n{log.read_text(errors='replace')}")


@contextlib.contextmanager
def running(
    command: list[str], log: Path, environ: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """Run *command* until the block ends, then stop it by its own process id."""
    one = start(command, log, environ)
    try:
        yield one
    finally:
        one.process.terminate()
        try:
            one.process.wait(30)
        except subprocess.TimeoutExpired:
            one.process.kill()
            one.process.wait()


def collector_command(store: Path, *options: str) -> list[str]:
    """Return the command line of a collector over an embedded store, on a free port."""
    return [
        *(sys.executable, "-m", "mvtrace", "collector", "--store", f"chdb://{store}"),
        *("--listen", "127.0.0.1:0", *options),
    ]


@contextlib.contextmanager
def collector(folder: Path, *options: str) -> Iterator[Running]:
    """Run a real collector with its store in *folder*."""
    with running(collector_command(folder / "store", *options), folder / "collector.log") as one:
        yield one
