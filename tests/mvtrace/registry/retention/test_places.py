"""What lies at a place: told apart from everything else, and removed only if it is what was meant."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvtrace.components.artifact import hash_artifact
from mvtrace.components.artifact_cache import ArtifactCache
from mvtrace.registry.retention.places import ForeignError, Storage, proves
from mvtrace.registry.retention.uris import SCHEMES, Where


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "models"
    made.mkdir()
    return made


def storage(*roots: Path) -> Storage:
    return Storage(tuple(Where.parse(str(one)) for one in roots))


def folder(path: Path) -> Path:
    for name, text in (("a.bin", "1"), ("b/c.bin", "22"), ("b/__pycache__/x", "no part of it")):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    return path


def test_what_is_found_is_the_artifact(root: Path) -> None:
    """
    A folder and a file have the digest that pinning them gave.
    """
    file = root / "single file%20.bin"
    file.write_text("weights")
    for path in (folder(root / "x"), file):
        artifact = hash_artifact(path, cache=ArtifactCache()).digest.removeprefix("sha256:")
        found = storage(root).find(Where.parse(path.as_uri()))

        assert found is not None
        assert proves(found.listing, artifact)
        assert not proves(found.listing, "0" * 64)


def test_only_listed_files_are_removed(root: Path) -> None:
    """
    What the artifact does not list stays, and the folders that hold it; the root always does.
    """
    path = folder(root / "x")
    where = Where.parse(str(path))
    store = storage(root)
    found = store.find(where)
    assert found is not None

    assert [one.path for one in store.remove(where, found, found.files)] == ["a.bin", "b/c.bin"]

    assert [str(one.relative_to(root)) for one in sorted(root.rglob("*")) if one.is_file()] == [
        "x/b/__pycache__/x"
    ]
    (path / "b/__pycache__/x").unlink()
    (path / "b/__pycache__").rmdir()
    assert [one.path for one in store.remove(where, found, found.files)] == ["a.bin", "b/c.bin"]
    assert list(root.iterdir()) == []


def test_no_link_is_followed(root: Path, tmp_path: Path) -> None:
    """
    A place that is a link, lies behind one, or holds one is not touched; a root may be behind one.
    """
    elsewhere = folder(tmp_path / "elsewhere")
    (root / "link").symlink_to(elsewhere)
    folder(root / "holds")
    (root / "holds/b/c.bin").unlink()
    (root / "holds/b/c.bin").symlink_to(elsewhere / "a.bin")
    for name in ("link", "link/b", "link/a.bin", "holds"):
        with pytest.raises(ForeignError, match="its path has a link"):
            storage(root).find(Where.parse(str(root / name)))
    (tmp_path / "alias").symlink_to(root)
    path = folder(root / "plain")

    found = storage(tmp_path / "alias").find(Where.parse(str(tmp_path / "alias/plain")))

    assert found is not None
    assert len(found.files) == 2
    assert path.exists()
    with pytest.raises(ForeignError, match="lies under no root"):
        storage(root).find(Where.parse(str(elsewhere)))


def test_a_link_put_there_meanwhile_is_not_followed(root: Path, tmp_path: Path) -> None:
    """
    Between hash and removal a folder becomes a link to another: nothing of that goes.
    """
    elsewhere = folder(tmp_path / "elsewhere")
    path = folder(root / "x")
    where = Where.parse(str(path))
    store = storage(root)
    found = store.find(where)
    assert found is not None
    path.rename(root / "moved")
    path.symlink_to(elsewhere)

    with pytest.raises(ForeignError, match="its path has a link"):
        list(store.remove(where, found, found.files))

    assert (elsewhere / "a.bin").exists()


def test_neither_file_nor_folder_is_read(root: Path) -> None:
    """
    A pipe would be waited for until somebody writes; it is left alone.
    """
    os.mkfifo(root / "pipe")

    with pytest.raises(ForeignError, match="neither a file nor a folder"):
        storage(root).find(Where.parse(str(root / "pipe")))


def test_a_name_that_is_no_text_is_left_alone(root: Path) -> None:
    """
    No artifact can list it.
    """
    (root / "x").mkdir()
    Path(os.fsdecode(os.fsencode(root / "x") + b"/\xff")).write_text("1")

    with pytest.raises(ForeignError, match="is not UTF-8"):
        storage(root).find(Where.parse(str(root / "x")))


def test_nothing_there_is_nothing(root: Path) -> None:
    """
    An absent place, one behind a file, an empty folder: nothing is found.
    """
    (root / "empty").mkdir()
    (root / "file").write_text("x")

    for name in ("absent", "empty", "file/behind"):
        assert storage(root).find(Where.parse(str(root / name))) is None


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("", "it is no printable text"),
        ("models/x", "it is neither a URI nor a path from / on"),
        ("/", "its path has an empty step, or none"),
        ("file:///", "its path has an empty step, or none"),
        ("/a//b", "its path has an empty step, or none"),
        ("/a/../b", r"its path has a step \. or \.\."),
        ("file:///a/%2e%2e/b", r"its path has a step \. or \.\."),
        ("file:///a%2f..%2fb", r"its path has a step \. or \.\."),
        ("file:///a/%00b", "its path is no printable text"),
        ("file://server/a", "it is a file of another host"),
        ("s3://bucket/*", "its path has a sign of patterns"),
        ("s3://", "its path has an empty step, or none"),
        ("simplecache::s3://b/k", "it is neither a URI nor a path from / on"),
        ("s3://b/x::file:///etc", "its path has an empty step"),
        ("s3://b/x::y", "its path has :: or a backslash"),
        ("http://x/y", "nothing is collected from http://"),
        ("github://x:y@main/z", "nothing is collected from github://"),
        ("/a\nb", "it is no printable text"),
        ("C:\\models\\x", "it is neither a URI nor a path from / on"),
    ],
)
def test_a_uri_that_could_mean_another_place_is_refused(uri: str, problem: str) -> None:
    """
    Relative, stepping up, chained, of another host, of a pattern, of an unknown scheme.
    """
    with pytest.raises(ValueError, match=problem):
        Where.parse(uri)


@given(st.text(max_size=40) | st.from_regex(r"(file|s3|memory)://[a/.%2e]{0,12}", fullmatch=True))
def test_whatever_is_read_has_one_plain_path(uri: str) -> None:
    """
    Any text is refused, or a place whose path has only plain steps and which is below its ancestors.
    """
    try:
        where = Where.parse(uri)
    except ValueError:
        return
    steps = where.path.removeprefix("/").split("/")
    assert where.scheme in SCHEMES
    assert not {"", ".", ".."} & set(steps)
    assert all(where.is_below(one) for one in where.ancestors())
    assert not where.is_below(where)
