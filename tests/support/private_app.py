"""An application that captures in this process, and a collector: for tests of what content becomes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace import TracerProvider
from processes import Running, collector_command, running

import mvtrace
from mvtrace.capture import pipeline

KEY = "00112233445566778899aabbccddeeff" * 2
DIGEST_KEY = "a digest key of the tests"


@contextmanager
def serving(folder: Path, **environ: str) -> Iterator[Running]:
    """Run a collector with its store, inbox and log in *folder*."""
    command = collector_command(folder / "store")
    with running(command, folder / "collector.log", environ) as one:
        yield one


@contextmanager
def application(url: str, folder: Path, **options: Any) -> Iterator[TracerProvider]:
    """Capture in this process, beside a library's own tracer provider."""
    tracing = mvtrace.configure(
        url=url, spool_dir=folder / "spool", digest_key=DIGEST_KEY, service="shop", **options
    )
    provider = TracerProvider(shutdown_on_exit=False)
    pipeline._join(provider, tracing._processor)
    try:
        yield provider
        assert mvtrace.flush(20)
    finally:
        mvtrace.shutdown()


def content(url: str, request_id: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mvtrace", "content", request_id, "--url", url, "--json"]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, env={**BARE, **environ}
    )


def until(holds: Callable[[], bool], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.1)
    return holds()


def cli(*arguments: str, stdin: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mvtrace", *arguments]
    return subprocess.run(
        command,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**BARE, **environ},
    )


BARE = {"PYTHONPATH": ":".join(sys.path), "HOME": "/nonexistent"}
