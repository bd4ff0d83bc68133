"""Where the rows of a dataset are read, by what somebody registered."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from mvtrace.registry.leakage.places import Registered, examples_root, path_of


def told(*bodies: dict[str, Any]) -> tuple[Path | None, str]:
    place = Registered("a" * 64, "x", bodies).place()
    return place.path, place.why


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("/data/x.jsonl", "/data/x.jsonl"),
        ("file:///data/with%20space.csv", "/data/with space.csv"),
        ("file://localhost/data/x", "/data/x"),
        ("file://elsewhere/data/x", None),
        ("s3://bucket/x", None),
    ],
)
def test_what_is_of_this_machine(uri: str, path: str | None) -> None:
    """
    Paths and file URIs of this machine have a path, all else has none.
    """
    assert path_of(uri) == (None if path is None else Path(path))


def test_the_first_place_that_is_there(tmp_path: Path) -> None:
    """
    Of several entries of one root the first whose files are there is read.
    """
    there = tmp_path / "x.jsonl"
    there.write_text("{}\n")

    assert told({"uri": "s3://b/x"}, {"uri": str(there)}, {"uri": str(tmp_path)}) == (there, "")


def test_what_somebody_wrote_by_hand(tmp_path: Path) -> None:
    """
    Nothing that an entry may say of a place raises, or waits for a pipe.
    """
    pipe = tmp_path / "x.jsonl"
    os.mkfifo(pipe)

    assert told({"uri": str(pipe)}) == (None, f"there is no file or folder at {pipe}")
    assert told({"uri": "a\0b"})[0] is None
    assert told({"uri": 7}, {}) == (None, "no entry says where its files are")
    place = Registered("a" * 64, "", [{"uri": ".", "format": "csv", "columns": {"a": ["?"]}}])
    assert place.place().columns == {}
    assert (examples_root({"examples": 3}), examples_root({})) == ("", "")
