"""The loader's SQL: one statement a file, read once.

Values go as server-side parameters; only what no parameter can carry (the schema's text, types,
the database's name, settings) is put into the text, and none of it comes from a sender.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Final

from mvtrace_collector.engine_types import ATTRIBUTES, RECORD

_FOLDER: Final = files("mvtrace_collector") / "sql"


@cache
def statement(name: str, database: str) -> str:
    """Return the text of ``sql/<name>.sql`` for *database*."""
    text = (_FOLDER / f"{name}.sql").read_text("utf-8")
    for placeholder, value in (
        ("{schema}", quoted((_FOLDER / "envelope.proto").read_text("utf-8"))),
        ("{attributes}", ATTRIBUTES),
        ("{record}", RECORD),
        ("{record_text}", quoted(RECORD)),
        ("{database}", database),
    ):
        text = text.replace(placeholder, value)
    return text


def quoted(text: str) -> str:
    """Return *text* as a literal of ClickHouse."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def listed(texts: Iterable[str]) -> str:
    """Return *texts* as an array literal of ClickHouse."""
    return f"[{', '.join(map(quoted, texts))}]"
