"""Files that are damaged, made to hurt, or written to meanwhile: refused, with the place."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet
from tables import TYPES, WRITERS

from mvtrace.registry.datasets import files, texts
from mvtrace.registry.datasets.errors import DatasetError
from mvtrace.registry.datasets.hashing import hash_dataset
from mvtrace.registry.datasets.reading import read_rows

SUFFIXES = ".arrow, .csv, .feather, .ipc, .json, .jsonl, .ndjson, .parquet, .pq, .tsv"


def refusal(path: Path, content: bytes | None = None, **options: Any) -> str:
    """Return why the dataset at *path* is refused, the path left out."""
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DatasetError) as refused:
        hash_dataset(path, **options)
    return refused.value.message.replace(str(path), "PATH").replace(str(path.parent), "FOLDER")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b'{"a":1}\n\n{"a":\n', "line 3: Expecting value: line 1 column 6 (char 5)."),
        (b'{"a":1}\n[1]\n', "line 2: it is a list, and a row is an object."),
        (b'"a"\n', "line 1: it is a text, and a row is an object."),
        (b"null", "line 1: it is null, and a row is an object."),
        (b'{"a":"\xff"}', "line 1: it is no UTF-8: invalid start byte at byte 7."),
        (
            b'{"a":"\\ud800"}',
            "line 1: a text in it holds a lone surrogate, so it has no UTF-8 form.",
        ),
        (b'{"a":1e400}', "line 1: the number 1e400 is beyond every double."),
        (b'{"a":' + b"[" * 70 + b"]" * 70 + b"}", "line 1: it nests deeper than 64 levels."),
        (b'{"a":' + b"[" * 9**6 + b"]" * 9**6 + b"}", "line 1: it nests too deep."),
        (b'{"a":1}{"a":2}', "line 1: Extra data: line 1 column 8 (char 7)."),
    ],
)
def test_a_line_that_is_no_row_is_named(tmp_path: Path, content: bytes, why: str) -> None:
    """
    What is wrong is said with the line, whatever stood before it.
    """
    assert refusal(tmp_path / "x.jsonl", content) == f"Dataset 'PATH': {why}"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"a,b\n1,2\n3,4,5\n", "Row #3: Expected 2 columns, got 3: 3,4,5"),
        (b"a,a\n1,2\n", "row 1: the column 'a' stands there twice."),
        (b'a,b\n1,2\n3,"4\n', "row 3: the file ends within quotes."),
        (
            b"a,b\n1,\xff\n",
            "In CSV column #1: Row #2: CSV conversion error to string: invalid UTF8 data",
        ),
        (b"a,b\n1," + b"x" * 9_000_000, "a row has more than 4,194,304 bytes."),
    ],
)
def test_a_row_of_csv_that_is_none_is_named(tmp_path: Path, content: bytes, why: str) -> None:
    """
    Too many cells, a name twice, open quotes, no UTF-8, a row without end.
    """
    assert refusal(tmp_path / "x.csv", content) == f"Dataset 'PATH': {why}"


def test_a_value_that_is_not_of_the_declared_type_is_named(tmp_path: Path) -> None:
    """
    Row, column and value are said.
    """
    why = refusal(tmp_path / "x.csv", b"a,b\n1,2\nx,4\n", columns={"a": "int"})

    assert why == "Dataset 'PATH': row 3: column 'a': 'x' is no integer."


@pytest.mark.parametrize("form", ["parquet", "arrow", "feather"])
def test_damaged_tables_are_refused(tmp_path: Path, form: str) -> None:
    """
    A file that is cut short or is something else is no empty dataset.
    """
    table = pa.table({"a": list(range(1000))})
    whole = tmp_path / "whole"
    if form == "parquet":
        parquet.write_table(table, whole)
    else:
        with pa.ipc.new_file(whole, table.schema) as sink:
            sink.write_table(table)
    half = whole.read_bytes()[: whole.stat().st_size // 2]

    for content in (half, b"", b"no table at all" * 10):
        assert "it cannot be read: " in refusal(tmp_path / f"x.{form}", content)


@pytest.mark.parametrize(
    ("column", "why"),
    [
        (
            pa.array([None], pa.month_day_nano_interval()),
            "no row has a column of the type month_day_nano_interval.",
        ),
        (
            pa.array([2**30], pa.date32()),
            "days=1073741824; must have magnitude <= 999999999.",
        ),
        (pa.array([2**62], pa.timestamp("s")), "a timestamp outside the years 1 to 9999."),
        (
            pa.array([[(1, 2)]], pa.map_(pa.int32(), pa.int32())),
            "no row has a column of the type map<int32, int32>.",
        ),
    ],
)
def test_values_that_no_row_has_are_refused(tmp_path: Path, column: pa.Array, why: str) -> None:
    """
    They are named rather than written in some way that two readers might not share.
    """
    with pa.ipc.new_file(tmp_path / "x.arrow", pa.schema([("a", column.type)])) as sink:
        sink.write_table(pa.table({"a": column}))

    assert refusal(tmp_path / "x.arrow") == f"Dataset 'PATH': behind row 0: {why}"


def test_a_line_without_end_takes_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A line is read up to the bound and no further, also where it is packed small.
    """
    monkeypatch.setattr(texts, "MAX_ROW_BYTES", 4 * texts.CHUNK)
    line = b'{"a":"' + b"x" * 6 * texts.CHUNK
    why = "Dataset 'PATH': a line has more than 4,194,304 bytes."

    assert refusal(tmp_path / "x.jsonl", line) == why
    assert refusal(tmp_path / "x.jsonl.gz", gzip.compress(line)) == why


def test_what_is_parsed_at_once_has_few_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A short text of very many values is refused before it fills the memory; commas of texts are none.
    """
    monkeypatch.setattr(texts, "MOST_VALUES", 1_000)
    many = b"[" + b"{}," * 999 + b"{}]"
    why = "it has more than 1,000 values, too many to be read at once."

    assert refusal(tmp_path / "x.json", many) == f"Dataset 'PATH': {why}"
    assert refusal(tmp_path / "x.jsonl", b'{"a":' + many + b"}") == f"Dataset 'PATH': line 1: {why}"
    nan = b'{"a":' + many + b',"n":NaN,"i":' + b"1" * 20 + b"}"
    assert refusal(tmp_path / "y.jsonl", nan) == f"Dataset 'PATH': line 1: {why}"
    (tmp_path / "z.json").write_bytes(b'[{"a":"' + b',[{\\"' * 2_000 + b'"},{}]')
    assert hash_dataset(tmp_path / "z.json").rows == 2


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What unpacks to far more than packing explains is refused; ordinary repetition is not.
    """
    monkeypatch.setattr(files, "SMALL", 1_000_000)
    rows = (b'{"a":"' + b"x" * 10_000 + b'"}\n') * 1000
    path = tmp_path / "x.jsonl.zst"
    with pa.CompressedOutputStream(str(path), "zstd") as sink:
        sink.write(rows)

    assert refusal(path) == (
        f"Dataset 'PATH': its {path.stat().st_size:,} bytes unpack to more than 1,100 times as "
        "many, so it is not unpacked further."
    )
    (tmp_path / "y.jsonl.gz").write_bytes(gzip.compress(b"{}\n" * 100_000))
    assert hash_dataset(tmp_path / "y.jsonl.gz").rows == 100_000


@pytest.mark.parametrize("name", ["x.jsonl.gz", "x.csv.gz", "x.jsonl.zst", "x.csv.zst"])
def test_a_packed_file_that_is_cut_short_is_refused(tmp_path: Path, name: str) -> None:
    """
    Its rows so far are not taken for the dataset.
    """
    rows = b"a,b\n" + b"1,2\n" * 1000 if "csv" in name else b'{"a":1}\n' * 1000
    if name.endswith("gz"):
        packed = gzip.compress(rows)
    else:
        with pa.CompressedOutputStream(str(tmp_path / name), "zstd") as sink:
            sink.write(rows)
        packed = (tmp_path / name).read_bytes()

    assert "cannot be unpacked: " in refusal(tmp_path / name, packed[:-9])
    assert "cannot be unpacked: " in refusal(tmp_path / name, b"never packed at all")


def test_what_is_repeated_a_million_times_is_held_once(tmp_path: Path) -> None:
    """
    A Parquet file of some kilobytes whose every row is a long text takes no gigabytes.
    """
    text = pa.array(["x" * 100_000])
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 20_000, pa.int32()), text)
    parquet.write_table(pa.table({"a": column}), tmp_path / "x.parquet")
    assert (tmp_path / "x.parquet").stat().st_size < 20_000

    before = pa.total_allocated_bytes()
    count = sum(1 for _ in read_rows(tmp_path / "x.parquet"))

    assert count == 20_000
    assert pa.total_allocated_bytes() - before < 10_000_000


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    """
    Appended to, replaced, or gone: what was read is no dataset that ever lay there.
    """

    def appended(path: Path) -> None:
        with path.open("ab") as file:
            file.write(b'{"a":2}\n')

    def replaced(path: Path) -> None:
        status = path.stat()
        path.with_suffix(".new").write_bytes(path.read_bytes())
        path.with_suffix(".new").replace(path)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    reasons = []
    for change in (appended, replaced, Path.unlink):
        path = tmp_path / "x.jsonl"
        path.write_bytes(b'{"a":1}\n' * 3)
        rows = read_rows(path)
        next(rows)
        change(path)
        with pytest.raises(DatasetError) as refused:
            list(rows)
        reasons.append(refused.value.problem)

    changed = "it changed while it was read."
    assert reasons == [changed, changed, "it went away while it was read."]


def test_links_are_followed_and_loops_are_not(tmp_path: Path) -> None:
    """
    A folder of links to files, as caches have them, is read; one that leads back is refused.
    """
    (tmp_path / "blob.jsonl").write_text('{"a":1}\n')
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "a.jsonl").symlink_to(tmp_path / "blob.jsonl")
    assert hash_dataset(folder).root == hash_dataset(tmp_path / "blob.jsonl").root

    (folder / "again").symlink_to(folder)
    assert refusal(folder) == "Dataset 'PATH': 'again' is a link to a folder that holds it."


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """
    A pipe, a file of no format, an empty folder, nothing at all.
    """
    os.mkfifo(tmp_path / "x.jsonl")
    assert refusal(tmp_path / "x.jsonl", format="jsonl") == (
        "Dataset 'PATH': it is neither a file nor a folder."
    )
    assert refusal(tmp_path / "x.txt", b"a") == (
        f"Dataset 'PATH': its name does not say its format; known are {SUFFIXES}, those of text "
        "also with .gz or .zst."
    )
    (tmp_path / "none").mkdir()
    assert refusal(tmp_path / "none") == (
        f"Dataset 'PATH': the folder holds no file of a known format ({SUFFIXES})."
    )
    assert refusal(tmp_path / "gone.jsonl") == (
        "Dataset 'PATH': it cannot be read: No such file or directory."
    )
    assert refusal(tmp_path / "x.parquet.gz", b"a") == (
        "Dataset 'PATH': parquet is not read from a packed file."
    )


@pytest.mark.parametrize("name", ["../../x.arrow", "/etc/x.arrow", "..", "a/b.arrow", ""])
def test_a_saved_folder_names_its_own_files_only(tmp_path: Path, name: str) -> None:
    """
    A listing that leads out of the folder is refused before anything is opened.
    """
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name}]}))

    assert refusal(folder) == (
        f"Dataset 'PATH': it lists {name!r}, which is no file of the folder."
    )


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ("[]", "it is no JSON object."),
        ("{", "it is no JSON: "),
        ("{}", "its state.json lists no data files."),
        ('{"_data_files": [{"filename": 1}]}', "its state.json lists no data files."),
        ('{"_data_files": [], "_indices_files": [1]}', "it selects rows by an indices file"),
        ('{"_data_files": [{"filename": "a"}, {"filename": "a"}]}', "lists a file twice."),
    ],
)
def test_a_saved_folder_that_is_none(tmp_path: Path, state: str, why: str) -> None:
    """
    A listing of another form says so.
    """
    (tmp_path / "state.json").write_text(state)

    assert why in refusal(tmp_path)


def test_splits_are_datasets_of_their_own(tmp_path: Path) -> None:
    """
    A DatasetDict is refused without the name of one, since moving rows between them would not show.
    """
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    (tmp_path / "x.jsonl").write_text("{}\n")
    held = "Dataset 'PATH': the folder holds the splits 'test', 'train'; "

    assert refusal(tmp_path) == f"{held}a dataset is one of them."
    assert refusal(tmp_path, split="dev") == f"{held}there is no 'dev'."
    assert refusal(tmp_path / "x.jsonl", split="dev") == (
        "Dataset 'PATH': it is a file, so it has no split 'dev'."
    )


MUTATE = """
import random, sys
from pathlib import Path
from mvtrace.registry.datasets.errors import DatasetError
from mvtrace.registry.datasets.hashing import hash_dataset
chance = random.Random(7)
for path in map(Path, sys.argv[1:]):
    whole = path.read_bytes()
    for _ in range(40):
        torn = bytearray(whole)
        for _ in range(chance.randint(1, 6)):
            at = chance.randrange(len(torn))
            cut = chance.choice([0, 0, 1, 9])
            torn[at : at + cut] = chance.randbytes(chance.randint(1, 8)) if cut != 9 else b""
        path.write_bytes(torn)
        try:
            hash_dataset(path)
        except DatasetError as error:
            assert str(path) in error.message, error.message
print("done")
"""


def test_torn_files_are_read_or_refused(tmp_path: Path) -> None:
    """
    Bytes that are changed, lost or too many end no process and raise nothing else.
    """
    content = [{"id": n, "text": f"é{n}", "tags": ["a"], "meta": {"a": 1}} for n in range(9)]
    content = [{**dict.fromkeys(TYPES), **row} for row in content]
    paths = [tmp_path / name for name in WRITERS if name != "saved"]
    for path in paths:
        WRITERS[path.name](content, path)

    done = subprocess.run(
        [sys.executable, "-c", MUTATE, *map(str, paths)],
        capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip

    assert done.stdout == "done\n", done.stderr[-2000:]


def test_a_format_whose_library_is_missing_says_so(tmp_path: Path) -> None:
    """
    JSON lines need nothing more; of the others it is said what to install.
    """
    (tmp_path / "x.jsonl").write_text("{}\n")
    program = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from mvtrace.cli.main import run\n"
        "for path in sys.argv[1:]: run(['dataset', 'add', path, '--dry-run'])\n"
    )
    for name in ("x.parquet", "x.csv", "x.jsonl.zst"):
        (tmp_path / name).write_bytes(b"x")
    names = ("x.jsonl", "x.parquet", "x.csv", "x.jsonl.zst")

    done = subprocess.run(
        [sys.executable, "-c", program, *(str(tmp_path / name) for name in names)],
        capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip

    needs = [line for line in done.stderr.splitlines() if line.startswith("Reading")]
    assert needs == [
        f"Reading {form} needs a part of mvtrace that is not installed (import of pyarrow halted; "
        "None in sys.modules)."
        for form in ("Parquet and Arrow", "CSV", "zstd")
    ]
    assert "pip install 'mvtrace[datasets]'" in done.stderr
    assert "would be registered: 1 row (1 distinct) in 1 file." in done.stdout


def test_files_of_different_columns_are_one_dataset(tmp_path: Path) -> None:
    """
    Rows are what they are: a column that a file lacks is missing there; of two types it is any.
    """
    parquet.write_table(pa.table({"a": [1], "b": ["x"]}), tmp_path / "1.parquet")
    parquet.write_table(pa.table({"a": ["1"]}), tmp_path / "2.parquet")
    (tmp_path / "README.md").write_text("about")
    (tmp_path / ".hidden.jsonl").write_text("no row")
    (tmp_path / "_SUCCESS").write_text("")

    found = hash_dataset(tmp_path)

    assert [*read_rows(tmp_path)] == [b'{"a":1,"b":"x"}', b'{"a":"1"}']
    assert (found.columns, found.passed_over) == ({"a": "any", "b": "text"}, ("README.md",))
