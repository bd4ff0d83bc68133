"""Rows of CSV and TSV, whose first line names the columns; streamed by pyarrow.

In: a file, perhaps packed, and declared columns. Out: canonical rows in batches. A cell is text
unless its column is declared; one that is empty without quotes is null, ``""`` is an empty text.
A cell may hold line ends within quotes. A blank line is no row, but in a file of one column, where
it is null. Bounded: a row has at most BLOCK bytes,
or a little more where it is the last of a block.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, Final

from mvtrace.registry.datasets.columns import Columns
from mvtrace.registry.datasets.errors import DatasetError, PartMissingError
from mvtrace.registry.datasets.files import DataFile, open_text
from mvtrace.registry.datasets.rows import Row, Rows
from mvtrace.registry.datasets.texts import Advance, declared

BLOCK: Final = 4 * 1024 * 1024
SLICE: Final = 8192
"""Rows that are Python objects at once."""
_TOO_LONG: Final = "straddling object"
_EMPTY: Final = "Empty CSV file"


def separated(
    file: DataFile, rows: Rows, columns: Columns, advance: Advance
) -> Iterator[list[Row]]:
    """Yield the rows of *file*.

    Raises:
        DatasetError: a row has more or fewer cells, is no UTF-8, or is too long; names it.
        PartMissingError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 (an extra)
    except ImportError as error:
        raise PartMissingError("CSV", str(error)) from error
    row_of = declared(rows, columns)
    done = 1
    last: tuple[str | None, ...] = ()
    try:
        with open_text(file) as raw:
            stream = _Watched(raw, file, advance)
            for names, cells in _slices(file, stream):
                made: list[Row] = []
                for last in zip(*cells, strict=True):
                    done += 1
                    pairs = zip(names, last, strict=True)
                    made.append(row_of({name: cell for name, cell in pairs if cell is not None}))
                yield made
            stream.check_closed(last)
    except pa.ArrowInvalid as error:
        raise DatasetError(file.path, _said(str(error))) from error
    except ValueError as error:
        raise DatasetError(file.path, f"row {done:,}: {error}.") from error


def _slices(file: DataFile, stream: BinaryIO) -> Iterator[tuple[list[str], list[list[str | None]]]]:
    """Yield the names and some rows' cells, a list a column."""
    import pyarrow as pa  # noqa: PLC0415 (an extra)
    from pyarrow import csv  # noqa: PLC0415

    names = header(file)
    if not names:
        return
    found = csv.open_csv(
        pa.PythonFile(stream, "r"),
        read_options=csv.ReadOptions(use_threads=False, block_size=BLOCK),
        parse_options=_parsing(file, is_single=len(names) == 1),
        convert_options=csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
    for batch in found:
        for start in range(0, batch.num_rows, SLICE):
            part = batch.slice(start, SLICE)
            yield names, [column.to_pylist() for column in part.columns]


def header(file: DataFile) -> list[str]:
    """Return the columns' names, in their order.

    Raises:
        ValueError: one stands twice.
    """
    import pyarrow as pa  # noqa: PLC0415 (an extra)
    from pyarrow import csv  # noqa: PLC0415

    reading = csv.ReadOptions(use_threads=False, block_size=BLOCK)
    with open_text(file) as raw:
        try:
            found = csv.open_csv(
                pa.PythonFile(raw, "r"),
                read_options=reading,
                parse_options=_parsing(file, is_single=False),
            )
        except pa.ArrowInvalid as error:
            if str(error).startswith(_EMPTY):
                return []
            raise
        names: list[str] = found.schema.names
        found.close()
    for name, count in Counter(names).items():
        if count > 1:
            raise ValueError(f"the column {name!r} stands there twice")
    return names


def _parsing(file: DataFile, *, is_single: bool) -> Any:
    from pyarrow import csv  # noqa: PLC0415 (an extra)

    return csv.ParseOptions(
        delimiter="\t" if file.form == "tsv" else ",",
        newlines_in_values=True,
        ignore_empty_lines=not is_single,
    )


def _said(error: str) -> str:
    """Return what pyarrow says in a line, with the row."""
    if error.startswith(_TOO_LONG):
        return f"a row has more than {BLOCK:,} bytes."
    return error.split("\n", 1)[0].removeprefix("CSV parse error: ")


class _Watched(io.RawIOBase, BinaryIO):
    """A stream that tells how far it is, and whether its quotes come in pairs."""

    def __init__(self, inner: BinaryIO, file: DataFile, advance: Advance) -> None:
        self._inner = inner
        self._left = file.size
        self._advance = advance
        self._quotes = 0
        self._last = b"\n"

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        """Return some bytes, none at the end."""
        piece = self._inner.read(size)
        done = min(self._left, len(piece))
        self._left -= done
        self._advance(done)
        self._quotes += piece.count(b'"')
        self._last = piece[-1:] or self._last
        return piece

    def check_closed(self, last: Sequence[str | None]) -> None:
        """Refuse a file that ends within quotes, which pyarrow takes for an end of the cell.

        Raises:
            ValueError: it does.
        """
        swallowed = self._last != b"\n" or any((cell or "").endswith("\n") for cell in last)
        if self._quotes % 2 and swallowed:
            raise ValueError("the file ends within quotes")
