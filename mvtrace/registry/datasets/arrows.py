"""Rows of Arrow data: Parquet, Arrow IPC, Feather, and what Hugging Face's ``datasets`` saves.

In: a file. Out: canonical rows in batches, column by column, since a column has one type. Texts,
numbers, truth values, lists, structs and maps with names are as in JSON; timestamps, bytes and the
like are tagged (rows.py). Categories are their values, extension types their storage. Left out:
unions and intervals of months, which are refused; what the schema says beside names and types.
Bounded: batches are some MiB, and read through a file descriptor, never mapped, since a mapped file
that shrinks kills the process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, Final

from mvtrace.registry.datasets.columns import ANY, Columns, Kind
from mvtrace.registry.datasets.errors import DatasetError, PartMissingError
from mvtrace.registry.datasets.files import DataFile
from mvtrace.registry.datasets.rows import (
    Row,
    bytes_form,
    date_form,
    decimal_form,
    dump_form,
    duration_form,
    escaped_name,
    float_form,
    form_of,
    int_form,
    name_order,
    object_form,
    time_form,
    timestamp_form,
)
from mvtrace.registry.datasets.texts import Advance, cast_row

READ_BYTES: Final = 1024 * 1024
PARQUET_ROWS: Final = 1024
"""So few, since a value of a megabyte may stand in each row and take no room in the file."""
REPEATED_BYTES: Final = 16
MOST_BATCH_BYTES: Final = 1024 * 1024 * 1024
MOST_ROWS: Final = 8192
"""Rows that are Python objects at once."""
_MAGIC: Final = b"ARROW1"
_NANOS: Final = {"s": 10**9, "ms": 10**6, "us": 1000, "ns": 1}
_SMALL_BITS: Final = 32


def arrow_rows(file: DataFile, columns: Columns, advance: Advance) -> Iterator[list[Row]]:
    """Yield the rows of a Parquet or Arrow file.

    Raises:
        DatasetError: it is damaged, or holds a type that no row has.
        PartMissingError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 (an extra)
    except ImportError as error:
        raise PartMissingError("Parquet and Arrow", str(error)) from error
    kinds = {name: kind for name, kind in columns.items() if kind != ANY}
    number = 0
    try:
        for batch in _batches(file, advance):
            for start in range(0, batch.num_rows, MOST_ROWS):
                made = _forms(batch.slice(start, MOST_ROWS), kinds)
                number += len(made)
                yield made
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(file.path, f"it cannot be read: {_line(error)}") from error
    except (ValueError, OverflowError) as error:
        raise DatasetError(file.path, f"behind row {number:,}: {error}.") from error


def arrow_columns(file: DataFile) -> dict[str, Kind]:
    """Return the columns of a Parquet or Arrow file and their types, as they can be declared.

    Raises:
        DatasetError: it is damaged.
    """
    import pyarrow as pa  # noqa: PLC0415 (an extra)

    try:
        schema = _schema(file)
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(file.path, f"it cannot be read: {_line(error)}") from error
    return {field.name: kind_of(field.type) for field in schema}


def kind_of(of: Any) -> Kind:
    """Return the declared type that holds what the Arrow type *of* does."""
    import pyarrow as pa  # noqa: PLC0415 (an extra)

    types = pa.types
    if isinstance(of, pa.BaseExtensionType):
        return kind_of(of.storage_type)
    if types.is_dictionary(of):
        return kind_of(of.value_type)
    if _is_list(of):
        return [kind_of(of.value_type)]
    if types.is_struct(of):
        return {field.name: kind_of(field.type) for field in of}
    named: list[tuple[Callable[[Any], bool], str]] = [
        (types.is_integer, "int"),
        (types.is_float64, "float"),
        (types.is_floating, "float32"),
        (types.is_boolean, "bool"),
        (_is_text, "text"),
        (_is_binary, "bytes"),
        (types.is_timestamp, "timestamp"),
        (types.is_date, "date"),
        (types.is_time, "time"),
        (types.is_duration, "duration"),
        (types.is_decimal, "decimal"),
    ]
    return next((word for holds, word in named if holds(of)), ANY)


def _batches(file: DataFile, advance: Advance) -> Iterator[Any]:
    if file.form == "parquet":
        yield from _parquet_batches(file, advance)
        return
    import pyarrow as pa  # noqa: PLC0415 (an extra)

    with pa.OSFile(str(file.path)) as source:
        if source.read(len(_MAGIC)) == _MAGIC:
            reader = pa.ipc.open_file(source)
            batches = (reader.get_batch(index) for index in range(reader.num_record_batches))
        else:
            source.seek(0)
            batches = iter(pa.ipc.open_stream(source))
        left = file.size
        for batch in batches:
            yield _bounded(batch)
            done = min(left, batch.nbytes)
            left -= done
            advance(done)
        advance(left)


def _parquet_batches(file: DataFile, advance: Advance) -> Iterator[Any]:
    import pyarrow as pa  # noqa: PLC0415 (an extra)
    from pyarrow import parquet  # noqa: PLC0415

    with pa.OSFile(str(file.path)) as source:
        metadata = parquet.read_metadata(source)
        reader = parquet.ParquetFile(
            source,
            metadata=metadata,
            read_dictionary=_repeated(metadata, parquet.read_schema(source)),
            buffer_size=READ_BYTES,
            pre_buffer=False,
        )
        total = reader.metadata.num_rows
        left, seen = file.size, 0
        for batch in reader.iter_batches(batch_size=PARQUET_ROWS):
            yield _bounded(batch)
            seen += batch.num_rows
            done = min(left, file.size * seen // max(total, 1) - (file.size - left))
            left -= done
            advance(done)
        advance(left)


def _repeated(metadata: Any, schema: Any) -> list[str]:
    """Return the columns of text where rows take next to no room: each text is to be held once.

    Nothing is asked of single columns, since pyarrow ends the process where their metadata lie.
    """
    groups = range(metadata.num_row_groups)
    size = sum(metadata.row_group(index).total_byte_size for index in groups)
    if size >= REPEATED_BYTES * metadata.num_rows * metadata.num_columns:
        return []
    return [field.name for field in schema if _is_text(field.type) or _is_binary(field.type)]


def _bounded(batch: Any) -> Any:
    """Return *batch*, of a size that can be read, whose offsets and indices are within its data.

    Others would end the process rather than the reading.
    """
    batch.validate(full=True)
    if batch.nbytes > MOST_BATCH_BYTES:
        raise ValueError(
            f"{batch.num_rows:,} rows take {batch.nbytes:,} bytes; "
            f"{MOST_BATCH_BYTES:,} are read at once"
        )
    return batch


def _schema(file: DataFile) -> Any:
    import pyarrow as pa  # noqa: PLC0415 (an extra)

    with pa.OSFile(str(file.path)) as source:
        if file.form == "parquet":
            from pyarrow import parquet  # noqa: PLC0415 (an extra)

            return parquet.read_schema(source)
        if source.read(len(_MAGIC)) == _MAGIC:
            return pa.ipc.open_file(source).schema
        source.seek(0)
        return pa.ipc.open_stream(source).schema


def _forms(batch: Any, kinds: Columns) -> list[Row]:
    """Return the canonical rows of *batch*; texts of declared columns are of their types."""
    names = batch.schema.names
    columns = []
    for name, column in zip(names, batch.columns, strict=True):
        forms = column_forms(column)
        kind = kinds.get(name, ANY)
        if kind not in (ANY, "text") and kind_of(column.type) == "text":
            forms = [form_of(cast_row({name: text}, kinds)[name]) for text in forms]
        columns.append(forms)
    return [dump_form(row) for row in _members(names, columns, batch.num_rows)]


def column_forms(array: Any) -> list[Any]:
    """Return the form of each value of an Arrow array, None for null.

    Raises:
        ValueError: its type is none that a row has.
    """
    import pyarrow as pa  # noqa: PLC0415 (an extra)

    of, types = array.type, pa.types
    if types.is_null(of) or types.is_boolean(of) or _is_text(of):
        return list(array.to_pylist())
    nested: list[tuple[Callable[[Any], bool], Callable[[Any], list[Any]]]] = [
        (
            lambda of: isinstance(of, pa.BaseExtensionType),
            lambda array: column_forms(array.storage),
        ),
        (types.is_dictionary, _category_forms),
        (types.is_struct, _struct_forms),
        (types.is_map, _map_forms),
        (_is_list, _list_forms),
    ]
    for holds, forms in nested:
        if holds(of):
            return forms(array)
    form = _scalar_form(of)
    return [None if value is None else form(value) for value in _plain(array).to_pylist()]


def _category_forms(array: Any) -> list[Any]:
    if len(array.dictionary) > len(array):
        return column_forms(array.dictionary.take(array.indices))
    values = column_forms(array.dictionary)
    return [None if index is None else values[index] for index in array.indices.to_pylist()]


def _scalar_form(of: Any) -> Callable[[Any], Any]:
    """Return what gives a value of the type *of*, plain as _plain has it, its form."""
    import pyarrow as pa  # noqa: PLC0415 (an extra)

    types = pa.types
    if types.is_timestamp(of):
        nanos, is_utc = _NANOS[of.unit], of.tz is not None
        return lambda value: timestamp_form(value * nanos, is_utc=is_utc)
    if types.is_time(of) or types.is_duration(of):
        nanos = _NANOS[of.unit]
        counted = time_form if types.is_time(of) else duration_form
        return lambda value: counted(value * nanos)
    named: list[tuple[Callable[[Any], bool], Callable[[Any], Any]]] = [
        (types.is_integer, int_form),
        (types.is_floating, float_form),
        (types.is_date, date_form),
        (types.is_decimal, decimal_form),
        (_is_binary, bytes_form),
    ]
    for holds, form in named:
        if holds(of):
            return form
    raise ValueError(f"no row has a column of the type {of}")


def _plain(array: Any) -> Any:
    """Return *array* so that nothing is lost when it becomes Python's: times as their counts."""
    import pyarrow as pa  # noqa: PLC0415 (an extra)

    of, types = array.type, pa.types
    if types.is_time(of) or types.is_timestamp(of) or types.is_duration(of):
        return array.view(pa.int32() if of.bit_width == _SMALL_BITS else pa.int64())
    return array.cast(pa.float64()) if types.is_floating(of) else array


def _struct_forms(array: Any) -> list[Any]:
    names = [field.name for field in array.type]
    forms = _members(names, [column_forms(child) for child in array.flatten()], len(array))
    if not array.null_count:
        return forms
    there = array.is_valid().to_pylist()
    return [form if is_there else None for form, is_there in zip(forms, there, strict=True)]


def _list_forms(array: Any) -> list[Any]:
    items = column_forms(array.flatten())
    forms: list[Any] = []
    start = 0
    for length in array.value_lengths().to_pylist():
        if length is None:
            forms.append(None)
            continue
        forms.append(items[start : start + length])
        start += length
    return forms


def _map_forms(array: Any) -> list[Any]:
    """Return maps with texts for names as objects, as JSON has them."""
    if not _is_text(array.type.key_type):
        raise ValueError(f"no row has a column of the type {array.type}")
    offsets = array.offsets.to_pylist()
    first, size = offsets[0], offsets[-1] - offsets[0]
    names = array.keys.slice(first, size).to_pylist()
    values = column_forms(array.items.slice(first, size))
    forms: list[Any] = []
    for is_there, (start, end) in zip(array.is_valid().to_pylist(), pairwise(offsets), strict=True):
        within = slice(start - first, end - first)
        members = dict(zip(names[within], values[within], strict=True))
        if len(members) < end - start:
            raise ValueError("a map in it has a name twice")
        there = {name: form for name, form in members.items() if form is not None}
        forms.append(object_form(there) if is_there else None)
    return forms


def _members(names: list[str], columns: list[list[Any]], count: int) -> list[dict[str, Any]]:
    """Return *count* objects of *columns*, without their nulls, names in RFC 8785's order.

    Raises:
        ValueError: two columns have one name.
    """
    if len(set(names)) != len(names):
        raise ValueError("two columns have one name")
    if not names:
        return [{} for _ in range(count)]
    order = sorted(range(len(names)), key=lambda index: name_order(names[index]))
    keys = [escaped_name(names[index]) for index in order]
    rows = zip(*(columns[index] for index in order), strict=True)
    if not any(None in column for column in columns):
        return [dict(zip(keys, row, strict=True)) for row in rows]
    return [
        {key: form for key, form in zip(keys, row, strict=True) if form is not None} for row in rows
    ]


def _is_list(of: Any) -> bool:
    import pyarrow as pa  # noqa: PLC0415 (an extra)

    types = pa.types
    return bool(types.is_list(of) or types.is_large_list(of) or types.is_fixed_size_list(of))


def _is_text(of: Any) -> bool:
    import pyarrow as pa  # noqa: PLC0415 (an extra)

    types = pa.types
    return bool(types.is_string(of) or types.is_large_string(of) or types.is_string_view(of))


def _is_binary(of: Any) -> bool:
    import pyarrow as pa  # noqa: PLC0415 (an extra)

    types = pa.types
    return bool(
        types.is_binary(of)
        or types.is_large_binary(of)
        or types.is_binary_view(of)
        or types.is_fixed_size_binary(of)
    )


def _line(error: Exception) -> str:
    text = str(error).split("\n", 1)[0]
    return text if text.endswith(".") else f"{text}."
