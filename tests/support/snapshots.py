"""Whole outputs kept as files under ``tests/snapshots``, written anew by ``--write-snapshots``."""

from __future__ import annotations

from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).resolve().parent.parent / "snapshots"


class Snapshots:
    """Compares texts with files, or writes them."""

    def __init__(self, *, writes: bool) -> None:
        self._writes = writes

    def check(self, name: str, text: str) -> None:
        """Assert that *text* is what the file *name* holds."""
        path = FOLDER / name
        if self._writes:
            path.write_text(text, "utf-8")
        assert text == path.read_text("utf-8")
