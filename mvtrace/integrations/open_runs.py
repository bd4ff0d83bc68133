"""What is known of runs that a library has begun and not ended, by the ids it gives them."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, Generic, TypeVar

MAX_RUNS: Final = 10_000
"""Runs that are open at once; of more, those begun longest ago are forgotten."""

_T = TypeVar("_T")


class OpenRuns(Generic[_T]):
    """Runs by id; for any thread."""

    def __init__(self) -> None:
        self._found: OrderedDict[object, _T] = OrderedDict()

    def put(self, run_id: object, one: _T) -> None:
        """Keep *one* until it is taken."""
        self._found[run_id] = one
        if len(self._found) > MAX_RUNS:
            self._found.popitem(last=False)

    def get(self, run_id: object) -> _T | None:
        """Return what is known of *run_id*."""
        return self._found.get(run_id)

    def take(self, run_id: object) -> _T | None:
        """Return it for the last time."""
        return self._found.pop(run_id, None)
