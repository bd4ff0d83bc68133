"""The rows of a dataset, whatever its format: canonical bytes, streamed.

In: a path to a file or folder. Out: its rows, in the order of the files' names. A file that is
written to meanwhile is refused at its end, so what was read of it counts only after that.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Final

from mvtrace.registry.datasets.arrows import arrow_rows
from mvtrace.registry.datasets.columns import Columns
from mvtrace.registry.datasets.files import TEXTS, DataFile, find_files, unchanged
from mvtrace.registry.datasets.rows import Row, Rows
from mvtrace.registry.datasets.separated import separated
from mvtrace.registry.datasets.texts import Advance, json_lines, json_list

_NOTHING: Final[Mapping[str, str]] = {}


def read_rows(
    path: str | os.PathLike[str],
    *,
    format: str | None = None,  # noqa: A002 (what it is called everywhere)
    columns: Columns | None = None,
    split: str | None = None,
) -> Iterator[Row]:
    """Yield the canonical rows of the dataset at *path*; ``parse_row`` gives their columns.

    *format* is one of FORMATS where no suffix says it, *columns* are the types of columns of text,
    *split* is the part of a saved DatasetDict.

    Raises:
        DatasetError: it is no dataset, a row is none, or a file changed meanwhile.
        PartMissingError: its format needs a library that is not installed.
    """
    rows = Rows()
    for file in find_files(path, form=format, split=split).data:
        for batch in read_batches(file, rows, columns or _NOTHING, _silent):
            yield from batch


def read_batches(
    file: DataFile, rows: Rows, columns: Columns, advance: Advance
) -> Iterator[list[Row]]:
    """Yield the rows of one file in batches; *advance* is told how many of its bytes are read.

    Raises:
        DatasetError: as read_rows.
    """
    with unchanged(file):
        if file.form not in TEXTS:
            yield from arrow_rows(file, columns, advance)
        elif file.form == "jsonl":
            yield from json_lines(file, rows, columns, advance)
        elif file.form == "json":
            yield from json_list(file, rows, columns, advance)
        else:
            yield from separated(file, rows, columns, advance)


def _silent(count: int) -> None:
    """Tell nobody that *count* bytes are read."""
