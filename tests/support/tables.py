"""One table in every format: rows by hypothesis, written as files, and a plain oracle of the root.

The oracle follows schemas/canonical/README.md with the standard library and rfc8785 alone.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import rfc8785
from hypothesis import strategies as st
from pyarrow import csv, feather, parquet

Rows = list[dict[str, Any]]
TYPES: Final[dict[str, pa.DataType]] = {
    "id": pa.int64(),
    "text": pa.string(),
    "ok": pa.bool_(),
    "score": pa.float64(),
    "small": pa.float32(),
    "at": pa.timestamp("us", tz="UTC"),
    "day": pa.date32(),
    "raw": pa.binary(),
    "tags": pa.list_(pa.string()),
    "meta": pa.struct([("a", pa.int64()), ("b", pa.list_(pa.float64()))]),
}
KINDS: Final[dict[str, Any]] = {
    "id": "int",
    "ok": "bool",
    "score": "float",
    "small": "float32",
    "at": "timestamp",
    "day": "date",
    "raw": "bytes",
    "tags": ["text"],
    "meta": {"a": "int", "b": ["float"]},
}
"""What a file without types needs to be told."""
SCHEMA: Final = pa.schema(TYPES.items())

_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
_values: Final[dict[str, st.SearchStrategy[Any]]] = {
    "id": st.integers(-(2**63), 2**63 - 1),
    "text": _texts,
    "ok": st.booleans(),
    "score": st.floats(allow_nan=True),
    "small": st.floats(width=32),
    "at": st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    "day": st.dates(date(1900, 1, 1), date(2200, 1, 1)),
    "raw": st.binary(max_size=8),
    "tags": st.lists(st.none() | _texts, max_size=3),
    "meta": st.fixed_dictionaries(
        {"a": st.none() | st.integers(0, 9), "b": st.none() | st.lists(st.floats(), max_size=2)}
    ),
}
rows: st.SearchStrategy[Rows] = st.lists(
    st.fixed_dictionaries({name: st.none() | value for name, value in _values.items()}),
    min_size=1,
    max_size=12,
)


def table(content: Rows) -> pa.Table:
    return pa.Table.from_pylist(content, schema=SCHEMA)


def plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return *row* as JSON can say it, texts for what it cannot."""
    return {name: _json_value(value) for name, value in row.items()}


def write_jsonl(content: Rows, path: Path) -> None:
    """Write rows as JSON lines, missing members left out every other time."""
    with path.open("w", encoding="utf-8") as file:
        for number, row in enumerate(content):
            said = plain(row)
            if number % 2:
                said = {name: said[name] for name in reversed(said) if said[name] is not None}
            file.write(json.dumps(said, ensure_ascii=bool(number % 3)) + "\n")


def write_json(content: Rows, path: Path) -> None:
    path.write_text(json.dumps([plain(row) for row in content]))


def write_csv(content: Rows, path: Path) -> None:
    """Write rows as CSV; nested values are JSON in their cell."""
    cells = [{name: _cell(value) for name, value in plain(row).items()} for row in content]
    schema = pa.schema([(name, pa.string()) for name in TYPES])
    csv.write_csv(pa.Table.from_pylist(cells, schema=schema), path)


def write_parquet(content: Rows, path: Path) -> None:
    parquet.write_table(table(content), path, row_group_size=3)


def write_arrow(content: Rows, path: Path) -> None:
    with pa.ipc.new_stream(path, SCHEMA) as sink:
        sink.write_table(table(content), max_chunksize=2)


def write_feather(content: Rows, path: Path) -> None:
    feather.write_feather(table(content), path)


def write_packed(content: Rows, path: Path) -> None:
    write_jsonl(content, path)
    path.write_bytes(gzip.compress(path.read_bytes()))


def write_zstd(content: Rows, path: Path) -> None:
    write_csv(content, path)
    whole = path.read_bytes()
    with pa.CompressedOutputStream(str(path), "zstd") as sink:
        sink.write(whole)


def write_saved(content: Rows, folder: Path) -> None:
    """Write rows as ``Dataset.save_to_disk`` does."""
    folder.mkdir()
    names = ["data-00000-of-00002.arrow", "data-00001-of-00002.arrow"]
    for name, part in zip(names, (content[::2], content[1::2]), strict=True):
        write_arrow(part, folder / name)
    state = {"_data_files": [{"filename": name} for name in names]}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text("{}")


WRITERS: Final[Mapping[str, Callable[[Rows, Path], None]]] = {
    "rows.jsonl": write_jsonl,
    "rows.json": write_json,
    "rows.csv": write_csv,
    "rows.parquet": write_parquet,
    "rows.arrow": write_arrow,
    "rows.feather": write_feather,
    "rows.jsonl.gz": write_packed,
    "rows.csv.zst": write_zstd,
    "saved": write_saved,
}
"""A file's name -> what writes rows into it."""


def expected_root(content: Iterable[Mapping[str, Any]]) -> str:
    """Return the root of rows, computed the plain way."""
    digests = Counter(
        hashlib.sha256(b"mvtrace.row/1\n" + rfc8785.dumps(_form(row))).digest() for row in content
    )
    state = hashlib.sha256(b"mvtrace.dataset/1\n")
    for digest in sorted(digests):
        state.update(digest + digests[digest].to_bytes(8, "big"))
    return state.hexdigest()


def _form(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            "$" + name if name.startswith("$") else name: _form(item)
            for name, item in value.items()
            if item is not None
        }
    if isinstance(value, list):
        return [_form(item) for item in value]
    return _scalar(value)


def _scalar(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2**53 - 1:
        return {"$int": str(value)}
    if isinstance(value, float) and value != value:  # noqa: PLR0124
        return {"$double": "NaN"}
    if value in (float("inf"), float("-inf")):
        return {"$double": "Infinity" if value > 0 else "-Infinity"}
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, datetime):
        return {"$timestamp": _instant(value)}
    return {"$date": value.isoformat()} if isinstance(value, date) else value


def _instant(value: datetime) -> str:
    micros = (value - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    text = (datetime(1970, 1, 1) + timedelta(seconds=micros // 10**6)).isoformat()  # noqa: DTZ001
    rest = f"{micros % 10**6:06}".rstrip("0")
    return text + (f".{rest}" if rest else "") + "Z"


def _json_value(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value.isoformat() if isinstance(value, date) else value


def _cell(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value)


def shuffled(content: Rows, order: Sequence[int]) -> Rows:
    return [content[index] for index in order]
