"""What a producer's deliveries were answered last, kept beside its spool for whoever looks.

In: a status and what was said with it, from the shipper's thread, when it differs from the last
one. Out: the same, read by ``mvtrace status --spool`` without the process. A loss of this file
loses nothing: it is never read by the pipeline.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any, Final

import orjson

from mvtrace.capture.spool import ANSWER_FILE, open_private

_MAX_TEXT: Final = 200


class LastAnswer:
    """The newest answer of one spool's deliveries; used by one thread."""

    def __init__(self) -> None:
        self._noted: tuple[str, str] | None = None

    def note(self, directory: Path, verdict: str, text: str) -> None:
        """Keep *verdict* (``accepted``, ``busy``, …) and *text*, unless they were the last ones."""
        said = (verdict, text[:_MAX_TEXT])
        if said == self._noted or not directory.is_dir():
            return
        self._noted = said
        plain = {"at": time.time_ns() // 1_000_000, "verdict": said[0], "text": said[1]}
        with contextlib.suppress(OSError):  # on a full disk nobody is told
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            with os.fdopen(open_private(directory / ANSWER_FILE, flags), "wb") as file:
                file.write(orjson.dumps(plain))


def last_answer(directory: Path) -> dict[str, Any] | None:
    """Return what *directory*'s deliveries were answered last: ``at``, ``verdict``, ``text``."""
    try:
        with os.fdopen(open_private(directory / ANSWER_FILE, os.O_RDONLY), "rb") as file:
            plain = orjson.loads(file.read())
        return {
            "at": int(plain["at"]),
            "verdict": str(plain["verdict"]),
            "text": str(plain["text"]),
        }
    except (OSError, ValueError, KeyError, TypeError):
        return None
