"""What is registered of datasets and transformations: their schemas, and entries of others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tables import SCHEMA, write_parquet

from mvtrace.errors import CheckFailedError
from mvtrace.registry.datasets import hashing
from mvtrace.registry.datasets.claims import claim_of
from mvtrace.registry.datasets.hashing import hash_dataset
from mvtrace.registry.datasets.steps import file_code, function_code, step
from mvtrace.registry.entries import Entry, entry_of
from mvtrace.resources import schema_root

ROOT = "d" * 64


def check(entry: Entry) -> None:
    text = (schema_root() / "events" / f"{entry.kind}.schema.json").read_text("utf-8")
    jsonschema.validate(entry.said, json.loads(text))


def test_entries_are_as_their_schemas_say(tmp_path: Path) -> None:
    """
    Of every type of column, of a function and of files with a command.
    """
    write_parquet([dict.fromkeys(SCHEMA.names)], tmp_path / "x.parquet")
    (tmp_path / "clean.py").write_text("print(1)\n")
    code = file_code([tmp_path / "clean.py"])

    check(hash_dataset(tmp_path / "x.parquet").entry("x", uri="s3://bucket/x"))
    check(step("clean", code, parameters={"a": [1]}, seed=1, command=["clean.py", "{in}"]).entry)
    check(step("check", function_code(check), parameters={}).entry)


def test_an_entry_says_what_was_hashed(tmp_path: Path) -> None:
    """
    Read back, it claims root, counts and columns; with too many files it does not list them.
    """
    write_parquet([{**dict.fromkeys(SCHEMA.names), "id": 1}] * 3, tmp_path / "x.parquet")
    found = hash_dataset(tmp_path)

    claim = claim_of(found.entry("x"))

    assert (claim.ref, claim.rows, claim.distinct, claim.files) == (found.ref, 3, 1, 1)
    assert claim.columns == found.columns
    assert "text" not in claim.typed
    said = found.entry("x").said
    assert said["sources"] == [dict(one) for one in found.sources]


def test_many_files_and_columns_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    An entry has to fit one event, so what could be of any length is told by its number.
    """
    monkeypatch.setattr(hashing, "MOST_SOURCES", 1)
    for number in range(2):
        (tmp_path / f"{number}.csv").write_text(
            ",".join(f"{n:040}" for n in range(2000)) + "\n" + "1," * 1999 + "1\n"
        )

    said = hash_dataset(tmp_path).entry("x").said

    assert (said["files"], "sources" in said, "columns" in said) == (2, False, False)


@pytest.mark.parametrize(
    "said",
    [
        {"rows": "3", "columns": 5, "format": 1, "uri": []},
        {"rows": -1, "columns": {"a": "number"}},
        {"rows": True, "columns": {"a": []}},
    ],
)
def test_an_entry_that_others_wrote_is_read_as_far_as_it_goes(said: dict[str, Any]) -> None:
    """
    What is of another type is not known; nothing but the root is needed.
    """
    claim = claim_of(entry_of("dataset", {**said, "root": ROOT}))

    assert (claim.root, claim.rows, dict(claim.columns), claim.format) == (ROOT, None, {}, None)


@pytest.mark.parametrize("root", [None, 5, "", "d" * 63, "D" * 64, "sha256:"])
def test_an_entry_without_a_root_is_no_dataset(root: object) -> None:
    """
    It says so rather than comparing with nothing.
    """
    entry = entry_of("dataset", {"root": root})

    with pytest.raises(CheckFailedError) as refused:
        claim_of(entry)

    assert refused.value.message == f"The entry {entry.digest} is no dataset: it has no root."
