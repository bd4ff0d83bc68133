"""What a fuzzer needs to know of one target: the check, what to begin with, the words to build from.

A check is a function of bytes that raises where something that must hold does not; what the code
under test is allowed to raise it catches itself. Targets make what they need at their first input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import NamedTuple

Check = Callable[[bytes], None]


class Target(NamedTuple):
    """One thing to fuzz."""

    check: Check
    seeds: Callable[[], Iterable[bytes]]
    words: Sequence[bytes] = ()
    """What the mutator may put in as a whole."""
    splice: Callable[[bytes, Random], bytes] | None = None
    """A mutation of the target's own, used for every second input."""
    max_length: int = 4096
    is_native: bool = False
    """Whether it may end the process in foreign code: each input is written down before it runs."""


class Cursor:
    """Takes numbers and pieces off the front of an input; short inputs give zeroes and nothing."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def rest(self) -> bytes:
        """All that was not taken yet."""
        return self._data[self._at :]

    def number(self, size: int = 1) -> int:
        """Return *size* bytes as an unsigned number."""
        return int.from_bytes(self.piece(size), "little")

    def piece(self, size: int) -> bytes:
        """Return up to *size* bytes."""
        taken = self._data[self._at : self._at + size]
        self._at += len(taken)
        return taken
