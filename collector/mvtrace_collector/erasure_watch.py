"""What other collectors of the same store erase is erased here too, within seconds.

In: the store's table ``erasures``, looked at every few seconds. Out: destroyed keys in this
collector's key store. A thread of its own: an erasure waits for the loader, the keys of who may
enter must not. Where the store does not answer, it is asked again.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable
from typing import Final

from mvtrace.errors import MvtraceError
from mvtrace_collector.erasure import Eraser

LOOK_SECONDS: Final = 5.0
"""How long another collector's erasure takes to reach this one, but for the erasing itself."""

_LOGGER: Final = logging.getLogger(__name__)


class ErasureWatch:
    """Follows the erasures of other collectors; made once, runs in a thread of its own."""

    def __init__(self, eraser: Callable[[], Eraser]) -> None:
        self._eraser = eraser
        self._seen = -1

    def look(self) -> bool:
        """Erase here what others erased since the last look; return whether more is left to do.

        One count where nothing is new; a bounded number of erasures where something is.
        """
        eraser = self._eraser()
        rows = eraser.tombstone_rows()
        if rows == self._seen:
            return False
        left = eraser.follow()
        if not left:
            self._seen = rows
        return bool(left)

    def run(self, stop: threading.Event) -> None:
        """Look every few seconds until *stop*."""
        while not stop.wait(LOOK_SECONDS):
            try:
                while self.look() and not stop.is_set():
                    pass
            except (MvtraceError, sqlite3.Error) as error:
                _LOGGER.warning("Other collectors' erasures wait: %s", error)
