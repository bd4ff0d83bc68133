"""One line on a terminal while something takes long; silent in services, pipes and short runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self, TextIO

DELAY_S: Final = 1.0
"""Nothing is shown before."""
INTERVAL_S: Final = 0.2
_WIDTH = 24
_NAME = 40


class Progress:
    """Bytes done of *total*, shown on *stream* if that is a terminal; removed at the end."""

    def __init__(
        self,
        total: int,
        name: str,
        *,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total = total
        name = name if name.isprintable() else ascii(name)[1:-1]
        self._name = name if len(name) <= _NAME else name[: _NAME - 3] + "..."
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._done = 0
        self._shown = 0
        self._next_at = clock() + DELAY_S

    def __enter__(self) -> Self:
        """Start; the delay counts from construction."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wipe the line."""
        if self._shown:
            self._write("\r" + " " * self._shown + "\r")

    def advance(self, count: int) -> None:
        """Note that *count* more bytes are done."""
        self._done += count
        now = self._clock()
        if now < self._next_at:
            return
        self._next_at = now + INTERVAL_S
        if self._is_terminal():
            line = self._line()
            self._write("\r" + line.ljust(self._shown))
            self._shown = max(self._shown, len(line))

    def _line(self) -> str:
        share = min(self._done / self._total, 1.0) if self._total else 1.0
        bar = ("#" * round(share * _WIDTH)).ljust(_WIDTH, ".")
        mib = f"{self._done / 2**20:,.0f} of {self._total / 2**20:,.0f} MiB"
        return f"hashing {self._name} [{bar}] {share:4.0%}  {mib}"

    def _is_terminal(self) -> bool:
        try:
            return self._stream.isatty()
        except (AttributeError, ValueError):  # no stream at all, or a closed one
            return False

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # the terminal is gone
            self._next_at = float("inf")
