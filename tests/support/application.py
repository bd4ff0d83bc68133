"""The application of the failure matrix, as a process to start, wait for, signal and kill."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

_TESTS: Final = Path(__file__).resolve().parent.parent
_ROOT: Final = _TESTS.parent
_PRODUCER: Final = _TESTS / "failure" / "producer.py"


class Application:
    """A running ``tests/failure/producer.py``."""

    def __init__(
        self,
        ledger: Path,
        *options: str,
        environ: Mapping[str, str],
        before: Sequence[str] = (),
    ) -> None:
        paths = [_ROOT, _ROOT / "collector", _TESTS / "support"]
        self._end = ledger.with_name(f"{ledger.name}.end")
        self.log = ledger.with_name(f"{ledger.name}.log")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*before, sys.executable, str(_PRODUCER), str(ledger), *options],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), **environ},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def expect(self, word: str) -> str:
        """Return the next line it prints, which begins with *word*."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline().rstrip()
        assert line.startswith(word), f"{line!r}; {self.log.read_text()}"
        return line

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def let_go(self) -> None:
        """Let it end: it has finished its work and lingers."""
        self._end.touch()

    def wait(self, timeout_s: float = 120.0) -> int:
        """Return its exit status."""
        return self.process.wait(timeout_s)

    def kill(self) -> None:
        """SIGKILL it, if it still lives, and wait until it is gone."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(30)
        if self.process.stdout is not None:
            self.process.stdout.close()


Produce = Callable[..., Application]
