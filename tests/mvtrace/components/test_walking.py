"""Folders that are made to hurt whoever walks through them: an end, or a refusal that says why."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mvtrace.components import walking
from mvtrace.components.artifact import hash_artifact
from mvtrace.registry.datasets.errors import DatasetError
from mvtrace.registry.datasets.hashing import hash_dataset
from mvtrace.registry.datasets.running import begin

DEPTH = 1_500


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    """A file below more folders than Python calls functions within functions."""
    bottom = tmp_path.joinpath(*"a" * DEPTH)
    os.makedirs(tmp_path.joinpath(*"a" * (DEPTH // 2)))  # noqa: PTH103 (as deep as one call goes)
    os.makedirs(bottom)  # noqa: PTH103
    file = bottom / "x.jsonl"
    file.write_text('{"a":1}\n')
    yield tmp_path / "a"
    file.unlink()
    os.removedirs(bottom)


def test_a_folder_is_as_deep_as_a_path_can_be(deep: Path) -> None:
    """
    Depth ends no walk: what lies at the bottom is hashed.
    """
    assert hash_dataset(deep).rows == 1
    assert hash_artifact(deep).files == 1
    begun = begin({"in": deep}, {"out": deep.parent / "out.jsonl"})
    assert len(begun.states["in"]) == 1


def test_links_that_double_with_each_level_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Thirty folders of two links each are a thousand million ways, and few of them are walked.
    """
    monkeypatch.setattr(walking, "MOST_MET", 1_000)
    for level in range(30):
        folder = tmp_path / str(level)
        folder.mkdir()
        for name in "ab":
            (folder / name).symlink_to(tmp_path / str(level + 1))
    (tmp_path / "30").mkdir()
    why = "holds more than 1,000 files, folders and links."

    with pytest.raises(DatasetError) as dataset:
        hash_dataset(tmp_path / "0")
    with pytest.raises(ValueError, match="holds more than 1,000") as artifact:
        hash_artifact(tmp_path / "0")

    assert dataset.value.message == f"Dataset {str(tmp_path / '0')!r}: it {why}"
    assert str(artifact.value) == f"{str(tmp_path / '0')!r} {why}"


def test_what_is_passed_over_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Files of no format are met as others are.
    """
    monkeypatch.setattr(walking, "MOST_MET", 10)
    for number in range(11):
        (tmp_path / f"{number}.txt").touch()

    with pytest.raises(DatasetError) as refused:
        hash_dataset(tmp_path)

    assert refused.value.problem == "it holds more than 10 files, folders and links."
