"""Imports that a background thread makes late, never while the process forks.

In: the name of a module. Out: the module. A fork during an import leaves the module's lock taken in
the child, by a thread that is not there: whoever imports the module in the child, the application
too, would wait for ever. So a fork waits until an import under way is done: milliseconds, once.
"""

from __future__ import annotations

import importlib
import os
import threading
from types import ModuleType
from typing import Final

FORK_WAIT_S: Final = 5.0
"""An import that takes longer, since the forking thread holds what it needs, is not waited for."""


class _Gate:
    """Open for one at a time: imports of ours, or a fork."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_forking = False

    def imported(self, name: str) -> ModuleType:
        with self._lock:
            return importlib.import_module(name)

    def before_fork(self) -> None:
        self._is_forking = self._lock.acquire(timeout=FORK_WAIT_S)

    def after_fork_in_parent(self) -> None:
        if self._is_forking:
            self._lock.release()

    def after_fork_in_child(self) -> None:
        self.__init__()  # type: ignore[misc]


_gate: Final = _Gate()
os.register_at_fork(
    before=_gate.before_fork,
    after_in_parent=_gate.after_fork_in_parent,
    after_in_child=_gate.after_fork_in_child,
)


def late_import(name: str) -> ModuleType:
    """Return the module *name*, imported now if it was not yet.

    Raises:
        ImportError: there is none.
    """
    return _gate.imported(name)
