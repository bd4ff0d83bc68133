"""One root for one multiset of rows: whatever order, format, files, machine."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import KINDS, WRITERS, Rows, expected_root, rows, shuffled, write_jsonl

from mvtrace.registry.datasets.hashing import hash_dataset, hash_rows
from mvtrace.registry.datasets.reading import read_rows
from mvtrace.registry.datasets.rows import row_bytes
from mvtrace.resources import schema_root

SAVED = Path(__file__).parent / "saved_folders"


@settings(max_examples=10, deadline=None)
@given(content=rows, order=st.randoms(use_true_random=False))
def test_the_root_is_the_same_in_every_format_and_order(content: Rows, order: Any) -> None:
    """
    JSON lines, JSON, CSV, Parquet, Arrow, Feather, packed and saved folders give one root, which
    a plain implementation gives too.
    """
    expected = expected_root(content)
    with tempfile.TemporaryDirectory() as folder:
        for name, write in WRITERS.items():
            mixed = shuffled(content, order.sample(range(len(content)), len(content)))
            write(mixed, Path(folder, name))
            found = hash_dataset(Path(folder, name), columns=KINDS)
            assert (name, found.root, found.rows) == (name, expected, len(content))


@settings(max_examples=10, deadline=None)
@given(content=rows, cut=st.integers(0, 12), data=st.data())
def test_files_and_their_names_are_no_part_of_it(content: Rows, cut: int, data: Any) -> None:
    """
    Cut into files of several formats, under any names and in any folders, rows have the same root.
    """
    names = data.draw(st.permutations(["a", "b/c", "z", "d/e/f"]))
    parts = [content[:cut], content[cut:], []]
    with tempfile.TemporaryDirectory() as folder:
        for name, part, (file, write) in zip(names, parts, WRITERS.items(), strict=False):
            path = Path(folder, "set", f"{name}{Path(file).suffix}")
            path.parent.mkdir(parents=True, exist_ok=True)
            write(part, path)
        found = hash_dataset(Path(folder, "set"), columns=KINDS)

    assert (found.root, found.rows) == (expected_root(content), len(content))


def test_a_row_counts_as_often_as_it_stands_there() -> None:
    """
    Rows are a multiset: twice a row is another dataset than once, and than another row twice.
    """
    a, b = row_bytes({"x": 1}), row_bytes({"x": 2})

    roots = {hash_rows(rows)[0] for rows in ([a, b], [a, a, b], [a, b, b], [a], [a, a], [])}

    assert len(roots) == 6
    assert hash_rows([b, a, a]) == hash_rows([a, b, a])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('{"x": 1}', '{"x": 1.0}'),
        ('{"x": 0}', '{"x": -0.0}'),
        ('{"x": 1, "y": null}', '{"x": 1}'),
        ('{"x": {"a": null}}', '{"x": {}}'),
        ('{"x": 1, "y": 2}', '{"y": 2, "x": 1}'),
        ('{"x": 100000}', '{"x": 1e5}'),
        ('{"x": "\\u00e9"}', '{"x": "é"}'),
    ],
)
def test_what_says_the_same_is_one_row(tmp_path: Path, one: str, other: str) -> None:
    """
    How a number, a missing member or a sign is written makes no difference.
    """
    assert roots_of(tmp_path, one, other) == [1]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('{"x": 1}', '{"x": "1"}'),
        ('{"x": 1}', '{"x": true}'),
        ('{"x": [null]}', '{"x": []}'),
        ('{"x": {}}', "{}"),
        ('{"x": ""}', "{}"),
        ('{"x": "é"}', '{"x": "e\\u0301"}'),
        ('{"x": 18446744073709551616}', '{"x": 18446744073709551617}'),
        ('{"x": [18446744073709551616]}', '{"x": [18446744073709551617]}'),
        ('{"x": 9007199254740993}', '{"x": 9007199254740992}'),
        ('{"x": {"$int": "18446744073709551616"}}', '{"x": 18446744073709551616}'),
        ('{"x": {"$double": "NaN"}}', '{"x": NaN}'),
        ('{"$bytes": "AA=="}', '{"$$bytes": "AA=="}'),
        ('{"x": 0.1}', '{"x": 0.10000000149011612}'),
        ('{"x": [1, 2]}', '{"x": [2, 1]}'),
    ],
)
def test_what_says_another_thing_is_another_row(tmp_path: Path, one: str, other: str) -> None:
    """
    Types, empty and missing, large integers, forms of a letter and look-alikes of tags differ.
    """
    assert roots_of(tmp_path, one, other) == [2]


def roots_of(folder: Path, *lines: str) -> list[int]:
    roots = set()
    for number, line in enumerate(lines):
        path = folder / f"{number}.jsonl"
        path.write_text(line + "\n", "utf-8")
        roots.add(hash_dataset(path).root)
    return [len(roots)]


def test_cells_are_texts_until_a_type_is_declared(tmp_path: Path) -> None:
    """
    No cell is guessed at: 1.10 and 1.1, 007 and 7 are different rows, and declared they are one.
    """
    for name, cell in (("a", "1.10"), ("b", "1.1")):
        (tmp_path / f"{name}.csv").write_text(f"version\n{cell}\n")
    one, other = tmp_path / "a.csv", tmp_path / "b.csv"

    assert list(read_rows(one)) == [b'{"version":"1.10"}']
    assert hash_dataset(one).root != hash_dataset(other).root
    declared = {"version": "float"}
    assert hash_dataset(one, columns=declared).root == hash_dataset(other, columns=declared).root


def test_an_empty_cell_is_null_and_a_quoted_one_is_a_text(tmp_path: Path) -> None:
    """
    ``a,`` and ``a,""`` are different rows; in a file of one column a blank line is a null.
    """
    (tmp_path / "two.csv").write_text('x,y\na,\na,""\n\n"a\nb","c""d"\n')
    (tmp_path / "one.csv").write_text("x\na\n\nb\n")

    assert list(read_rows(tmp_path / "two.csv")) == [
        b'{"x":"a"}',
        b'{"x":"a","y":""}',
        b'{"x":"a\\nb","y":"c\\"d"}',
    ]
    assert list(read_rows(tmp_path / "one.csv")) == [b'{"x":"a"}', b"{}", b'{"x":"b"}']


def test_what_the_datasets_library_saved(tmp_path: Path) -> None:
    """
    Folders that its release 5.2 wrote are read in all shards, and a split by its name.
    """
    content = [
        {"id": i, "text": f"row {i} é", "label": i % 2, "tags": ["a", "b"][: i % 3], "score": i / 8}
        | {"at": f"2026-08-22 11:00:0{i}"}
        for i in range(10)
    ]
    write_jsonl(content, tmp_path / "all.jsonl")
    write_jsonl(content[:8], tmp_path / "train.jsonl")
    kinds = {"at": "timestamp"}

    assert (
        hash_dataset(SAVED / "saved").root
        == hash_dataset(tmp_path / "all.jsonl", columns=kinds).root
    )
    assert (
        hash_dataset(SAVED / "dict", split="train").root
        == hash_dataset(SAVED / "dict" / "train").root
        == hash_dataset(tmp_path / "train.jsonl", columns=kinds).root
    )


@pytest.mark.parametrize(
    "environ",
    [
        {"PYTHONHASHSEED": "1", "TZ": "Asia/Kathmandu", "LC_ALL": "C"},
        {"PYTHONHASHSEED": "2", "TZ": "America/St_Johns", "LC_ALL": "C.UTF-8"},
    ],
)
def test_the_root_is_that_of_the_written_vector_on_every_machine(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    """
    Whatever zone, locale and hash seed a process has, the root is the one of the written vectors.
    """
    program = (
        "import json, sys\n"
        "from mvtrace.registry.datasets.hashing import hash_dataset\n"
        "print(json.dumps([hash_dataset(path).root for path in sys.argv[1:]]))\n"
    )
    vectors = json.loads((schema_root() / "canonical" / "dataset_vectors.json").read_text("utf-8"))
    paths = []
    for number, vector in enumerate(vectors):
        path = tmp_path / f"{number}.jsonl"
        path.write_text("".join(f"{line}\n" for line in vector["lines"]), "utf-8")
        paths.append(str(path))

    done = subprocess.run(
        [sys.executable, "-c", program, *paths],
        capture_output=True, text=True, check=True,
        env={**environ, "PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip

    assert json.loads(done.stdout) == [vector["root"] for vector in vectors]
