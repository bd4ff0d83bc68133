"""The door of a collector: open to its host until there is a key, and never again by itself.

Comes in: the directory beside the data where keys lie, which no backup of the data has. Goes out: a
note there that this collector had keys, and a refusal to start without any where it had. An old
copy of the store, from before the first key, would otherwise open what was closed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from mvtrace.errors import ConfigurationError
from mvtrace_collector.segment_writer import sync_directory

NOTE_FILE: Final = "had-keys"


class Door:
    """Whether there ever were keys; in *directory*, which exists."""

    def __init__(self, directory: Path) -> None:
        self._note = directory / NOTE_FILE

    def note(self) -> None:
        """Write down, durably, that there are keys; again does nothing.

        Raises:
            OSError: the disk refuses.
        """
        if not self._note.exists():
            os.close(os.open(self._note, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
            sync_directory(self._note.parent)

    def refuse_open(self, store: str) -> None:
        """Refuse to be open to whoever asks, where there were keys.

        Raises:
            ConfigurationError: there were.
        """
        if self._note.exists():
            raise ConfigurationError(
                "--store",
                store,
                "this collector had keys, and now there is none: it would be open to its host",
                hint="Put back a copy that has them; or make an admin's key: mvtrace keys create "
                "--scope admin --project '*' --label admin --store DSN; or start it with --open.",
            )
