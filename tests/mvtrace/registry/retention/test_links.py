"""Places of one host that links make one: none is collected of what is reached by two names."""

from __future__ import annotations

from pathlib import Path

import pytest

from mvtrace.registry.retention.links import Reached
from mvtrace.registry.retention.uris import Where


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    (folder / "v7/x").mkdir(parents=True)
    (folder / "v7/x/a.bin").write_text("1")
    (folder / "v8").mkdir()
    return folder


def near(place: Path, *uris: str) -> str | None:
    return Reached(uris).near(Where.parse(str(place)))


def test_a_link_to_what_lies_around_is_found(models: Path) -> None:
    """
    What is kept as ``current`` is what lies in ``v7``, for all that lies around or within it.
    """
    (models / "current").symlink_to(models / "v7")
    kept = (models / "current").as_uri()

    for place in ("v7", "v7/x", "v7/x/a.bin"):
        assert near(models / place, kept) == kept
    assert near(models / "v7", f"{models}/current/x") == f"{models}/current/x"
    assert near(models / "v8", kept) is None


def test_a_link_within_what_is_kept_is_found(models: Path) -> None:
    """
    A kept folder of links, such as a cache has, holds what they lead to.
    """
    (models / "kept/inner").mkdir(parents=True)
    (models / "kept/inner/a.bin").symlink_to(models / "v7/x/a.bin")
    kept = str(models / "kept")

    assert near(models / "v7", kept) == kept
    assert near(models / "v7/x/a.bin", kept) == kept
    assert near(models / "v8", kept) is None


def test_a_spelling_that_no_place_is_read_from_is_found(models: Path) -> None:
    """
    ``..`` and double slashes are never collected, and what is kept under them is found.
    """
    for kept in (f"{models}/v8/../v7", f"file://{models}//v7/x", f"file:{models}/v7"):
        assert near(models / "v7", kept) == kept
        assert near(models / "v8", kept) is None


def test_what_is_read_as_overlapping_is_no_link(models: Path) -> None:
    """
    The same place, or one within it, is for the planner to judge; a root may lie behind a link.
    """
    (models.parent / "root").symlink_to(models)
    through = models.parent / "root/v7"

    assert near(models / "v7", str(models / "v7"), (models / "v7/x").as_uri()) is None
    assert near(through, str(through), str(models.parent / "root/v8")) is None
    assert near(through, str(models / "v7")) == str(models / "v7")
    assert Reached([str(models)]).near(Where.parse("s3://models/v7")) is None
