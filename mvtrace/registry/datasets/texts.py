"""Rows of JSON files, one object a line or one list; streamed, with the line of what is wrong.

In: a file, perhaps packed, and declared columns. Out: canonical rows in batches, in the file's
order. Blank lines are no rows. Of a name that an object has twice the last value counts, as every
common reader has it; NaN and Infinity are taken, as Python writes them. Bounded: a line, and so the
memory, has at most MAX_ROW_BYTES; a list has at most MOST_LIST_BYTES; either MOST_VALUES values.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, BinaryIO, Final, TypeAlias

import orjson

from mvtrace.registry.datasets.columns import ANY, Columns, cast
from mvtrace.registry.datasets.errors import DatasetError
from mvtrace.registry.datasets.exact import decoded
from mvtrace.registry.datasets.files import DataFile, open_text
from mvtrace.registry.datasets.rows import MAX_ROW_BYTES, Row, Rows

Advance: TypeAlias = Callable[[int], None]
"""Told how many bytes of the file more are read."""
RowOf: TypeAlias = Callable[[dict[str, Any]], Row]

CHUNK: Final = 1024 * 1024
MOST_LIST_BYTES: Final = 128 * 1024 * 1024
MOST_VALUES: Final = 4_000_000
"""What is parsed at once: an empty list is three bytes of text and sixty of memory."""
_TEXT: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_BOM: Final = b"\xef\xbb\xbf"
_DIGITS: Final = bytes.maketrans(b"123456789", b"000000000")
_LONG_NUMBER: Final = b"0" * 19
"""orjson reads integers beyond 64 bits as floats: text with so many digits goes another way."""


def json_lines(
    file: DataFile, rows: Rows, columns: Columns, advance: Advance
) -> Iterator[list[Row]]:
    """Yield the rows of a file with one JSON object a line.

    Raises:
        DatasetError: a line is none, or too long; names it.
    """
    row_of = declared(rows, columns)
    first = 1
    for text in _chunks(file, advance):
        lines = text.split(b"\n")
        parsed = _parsed_with_care if _has_long_number(text) else _parsed
        number = first - 1
        batch: list[Row] = []
        try:
            for line in lines:
                number += 1
                if line and not line.isspace():
                    batch.append(row_of(parsed(line)))
        except ValueError as error:
            raise DatasetError(file.path, f"line {number:,}: {error}.") from error
        first = number + 1
        yield batch


def json_list(
    file: DataFile, rows: Rows, columns: Columns, advance: Advance
) -> Iterator[list[Row]]:
    """Yield the rows of a file that is one JSON list of objects, or has one object a line.

    Raises:
        DatasetError: it is neither, or a list too large to be read at once.
    """
    with open_text(file) as stream:
        head = stream.read(CHUNK).removeprefix(_BOM).lstrip()
    if head[:1] != b"[":
        yield from json_lines(file, rows, columns, advance)
        return
    row_of = declared(rows, columns)
    number = 0
    try:
        for row in _listed(file):
            number += 1
            yield [row_of(_object(row))]
    except ValueError as error:
        place = f"row {number:,}: " if number else ""
        raise DatasetError(file.path, f"{place}{error}.") from error
    advance(file.size)


def declared(rows: Rows, columns: Columns) -> RowOf:
    """Return what makes a row of an object, the declared columns being of their types."""
    kinds = {name: kind for name, kind in columns.items() if kind != ANY}
    if not kinds:
        return rows.row

    def row_of(values: dict[str, Any]) -> Row:
        return rows.row(cast_row(values, kinds))

    return row_of


def cast_row(values: dict[str, Any], kinds: Columns) -> dict[str, Any]:
    """Return *values*, those of declared columns of their types.

    Raises:
        ValueError: a value is none of its column's type.
    """
    try:
        for name in values.keys() & kinds.keys():
            values[name] = cast(values[name], kinds[name])
    except ValueError as error:
        raise ValueError(f"column {name!r}: {error}") from error
    return values


def exactly(text: bytes) -> dict[str, Any]:
    """Return the object that *text* is; integers of any size, NaN and Infinity as they stand.

    Raises:
        ValueError: it is none; says why.
    """
    _require_few(text)
    try:
        return _object(decoded(text.decode()))
    except UnicodeDecodeError as error:
        raise ValueError(f"it is no UTF-8: {error.reason} at byte {error.start + 1:,}") from error


def _require_few(text: bytes) -> None:
    """Refuse a row or list of over MOST_VALUES values; each but the first follows one of three."""
    if (
        len(text) > MOST_VALUES
        and _marks(text) > MOST_VALUES
        and _marks(_TEXT.sub(b"", text)) > (MOST_VALUES)
    ):
        raise ValueError(f"it has more than {MOST_VALUES:,} values, too many to be read at once")


def _marks(text: bytes) -> int:
    return sum(map(text.count, (b",", b"[", b"{")))


def _has_long_number(text: bytes) -> bool:
    return _LONG_NUMBER in text.translate(_DIGITS)


def _parsed_with_care(text: bytes) -> dict[str, Any]:
    return exactly(text) if _has_long_number(text) else _parsed(text)


def _parsed(text: bytes) -> dict[str, Any]:
    _require_few(text)
    try:
        row = orjson.loads(text)
    except ValueError:  # NaN, or no JSON: the other parser says what is wrong with it
        return exactly(text)
    return row if type(row) is dict else _object(row)


def _object(row: object) -> dict[str, Any]:
    if isinstance(row, dict):
        return row
    names: Mapping[type, str] = {list: "a list", str: "a text", bool: "a truth value"}
    said = "null" if row is None else names.get(type(row), "a number")
    raise ValueError(f"it is {said}, and a row is an object")


def _chunks(file: DataFile, advance: Advance) -> Iterator[bytes]:
    """Yield the text of *file* in pieces of whole lines, without the last one's end."""
    rest: list[bytes] = []
    waiting = 0
    is_start = True
    with open_text(file) as stream:
        for piece in _told(stream, file, advance):
            text = piece.removeprefix(_BOM) if is_start else piece
            is_start = False
            end = text.rfind(b"\n")
            if end < 0:
                rest.append(text)
                waiting += len(text)
                if waiting > MAX_ROW_BYTES:
                    raise DatasetError(file.path, f"a line has more than {MAX_ROW_BYTES:,} bytes.")
                continue
            yield b"".join((*rest, text[:end])) if rest else text[:end]
            rest = [text[end + 1 :]]
            waiting = len(rest[0])
    if waiting:
        yield b"".join(rest)


def _told(stream: BinaryIO, file: DataFile, advance: Advance) -> Iterable[bytes]:
    """Yield what is read; *advance* is told of unpacked bytes as far as the file is packed."""
    left = file.size
    while piece := stream.read(CHUNK):
        done = min(left, len(piece))
        left -= done
        advance(done)
        yield piece
    advance(left)


def _listed(file: DataFile) -> list[Any]:
    parts: list[bytes] = []
    size = 0
    with open_text(file) as stream:
        while piece := stream.read(CHUNK):
            parts.append(piece)
            size += len(piece)
            if size > MOST_LIST_BYTES:
                raise ValueError(
                    f"a JSON list is read at once, so it has at most {MOST_LIST_BYTES:,} bytes; "
                    "write one object a line instead"
                )
    text = b"".join(parts).removeprefix(_BOM)
    _require_few(text)
    listed = decoded(text.decode())
    if not isinstance(listed, list):
        raise ValueError("it is no list of objects")  # noqa: TRY004 (of the input)
    return listed
