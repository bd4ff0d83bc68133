"""The reader's statements: files in ``sql/``, run with server-side parameters for one project.

In: the name of a file and its parameters. Out: rows. Every statement has the project in its WHERE;
a test holds that.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from mvtrace.store.session import Rows
from mvtrace.store.store import Store

FOLDER: Final = Path(__file__).parent / "sql"

_FAST: Final = {"max_threads": 1}
"""One thread is the fastest for reads of a few granules."""
_WITHOUT_STATISTICS: Final = {"use_statistics": 0, "use_statistics_for_part_pruning": 0}
"""Else the engine opens a part's file of statistics once for every column.
Only our own engine is known to have these settings."""


@cache
def statement(name: str) -> str:
    """Return the text of ``sql/<name>.sql``."""
    return (FOLDER / f"{name}.sql").read_text("utf-8")


class Statements:
    """Runs statements for one *project*; safe for several threads, as the store is."""

    def __init__(self, store: Store, project: str) -> None:
        self._store = store
        self._settings = _FAST | (_WITHOUT_STATISTICS if store.kind == "embedded" else {})
        self.project = project

    def run(self, file: str, /, **parameters: Any) -> Rows:
        """Return the rows of ``sql/<file>.sql``."""
        return self.run_text(statement(file), parameters)

    def run_text(
        self, text: str, parameters: Mapping[str, Any], settings: Mapping[str, Any] | None = None
    ) -> Rows:
        """Return the rows of *text*, made of such files; *settings* are added."""
        bound = {"project": self.project, **parameters}
        return self._store.query(text, bound, settings={**self._settings, **(settings or {})})
