"""Where a test may end the collector dead: named places on the way from an export to its rows.

Comes in: MVTRACE_FAILPOINTS, such as ``loader.before-mark@2`` (SIGKILL at the second pass) or
``loader.during-insert@1+15`` (15 ms after the first, while the engine works). Goes out: nothing.
Without the variable ``reach`` is an empty function; no operator has a reason to set it.
"""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from mvtrace.errors import ConfigurationError

VARIABLE: Final = "MVTRACE_FAILPOINTS"
PLACES: Final = frozenset(
    {
        "inbox.before-commit",
        "inbox.after-commit",
        "inbox.before-index",
        "receiver.after-answer",
        "loader.during-insert",
        "loader.between-tables",
        "loader.before-mark",
        "loader.after-mark",
        "access.begun",
        "access.after-answer",
        "access.before-insert",
        "access.before-mark",
    }
)
_SPECIFICATION: Final = re.compile(r"([a-z.-]+)@([1-9][0-9]*)(?:\+([0-9]+))?")


@dataclass(slots=True)
class _Trap:
    """Ends the process at the *passes*-th pass, *delay_s* seconds after it."""

    passes: int
    delay_s: float
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def step(self) -> None:
        with self._lock:
            self.passes -= 1
            is_due = self.passes == 0
        if is_due and self.delay_s:
            threading.Thread(target=self._end, daemon=True).start()
        elif is_due:
            self._end()

    def _end(self) -> None:
        time.sleep(self.delay_s)
        os.kill(os.getpid(), signal.SIGKILL)


def armed(environ: Mapping[str, str]) -> Callable[[str], None]:
    """Return the function that each place calls with its name.

    Raises:
        ConfigurationError: the variable names no place, or says it wrongly.

    """
    text = environ.get(VARIABLE, "").strip()
    if not text:
        return _pass_by
    traps = dict(map(_parsed, text.split(",")))

    def reach(place: str) -> None:
        trap = traps.get(place)
        if trap is not None:
            trap.step()

    return reach


def _parsed(text: str) -> tuple[str, _Trap]:
    found = _SPECIFICATION.fullmatch(text.strip())
    if found is None or found[1] not in PLACES:
        raise ConfigurationError(
            VARIABLE, text, f"an entry is PLACE@PASS[+MILLISECONDS], of {', '.join(sorted(PLACES))}"
        )
    return found[1], _Trap(int(found[2]), int(found[3] or 0) / 1000)


def _pass_by(_place: str) -> None:
    """Do nothing: the ordinary case."""


reach: Final = armed(os.environ)
