"""Progress: one line, on a terminal, for what takes long."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator

import pytest

from mvtrace.components.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def clock_of(*times: float) -> Iterator[float]:
    return iter(times)


def test_long_work_on_a_terminal() -> None:
    """
    After a second a line shows what is done; it is wiped at the end.
    """
    terminal, times = Terminal(), clock_of(0.0, 0.5, 1.1, 1.15, 1.5)
    with Progress(4 * 2**20, "w.gguf", stream=terminal, clock=times.__next__) as progress:
        for _ in range(4):
            progress.advance(2**20)

    first = "hashing w.gguf [############............]  50%  2 of 4 MiB"
    last = "hashing w.gguf [########################] 100%  4 of 4 MiB"
    assert terminal.getvalue() == f"\r{first}\r{last}\r{' ' * len(last)}\r"


def test_short_work_and_pipes_are_silent() -> None:
    """
    Nothing is written within a second, nor to what is no terminal, nor to a closed stream.
    """
    short, pipe, closed = Terminal(), io.StringIO(), Terminal()
    closed.close()
    for stream, times in (
        (short, clock_of(0.0, 0.9)),
        (pipe, clock_of(0.0, 5.0)),
        (closed, clock_of(0.0, 5.0)),
    ):
        with Progress(10, "w", stream=stream, clock=times.__next__) as progress:
            progress.advance(10)

    assert short.getvalue() == pipe.getvalue() == ""


def test_process_without_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A service may have no standard error at all.
    """
    monkeypatch.setattr(sys, "stderr", None)
    times = clock_of(0.0, 5.0)
    with Progress(10, "w", clock=times.__next__) as progress:
        progress.advance(10)


def test_terminal_that_goes_away() -> None:
    """
    A terminal that cannot be written to any more stops no work.
    """

    class Gone(Terminal):
        def write(self, text: str) -> int:
            raise OSError(5, f"gone: {text}")

    times = clock_of(0.0, 5.0, 9.0)
    with Progress(0, "n" * 60, stream=Gone(), clock=times.__next__) as progress:
        progress.advance(1)
        progress.advance(1)
