"""Files and folders by content."""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path

import orjson
import pytest

import mvtrace
from mvtrace.components import hash_artifact
from mvtrace.components.artifact import _Entry, _hash_file
from mvtrace.components.progress import Progress
from mvtrace.digest import ARTIFACT_DOMAIN, digest_of
from mvtrace.errors import ComponentError


def folder_at(root: Path) -> Path:
    (root / "sub" / "deep").mkdir(parents=True)
    (root / "b.bin").write_bytes(b"bb")
    (root / "sub" / "a.bin").write_bytes(b"a")
    (root / "sub" / "deep" / "é.txt").write_text("e")
    return root


def test_folder_lists_its_files(tmp_path: Path) -> None:
    """
    Every file is listed by relative path, sorted, with size and plain SHA-256.
    """
    artifact = hash_artifact(folder_at(tmp_path / "model"))

    assert orjson.loads(artifact.listing) == {
        "files": [
            {"path": path, "bytes": size, "digest": f"sha256:{hashlib.sha256(raw).hexdigest()}"}
            for path, size, raw in (
                ("b.bin", 2, b"bb"),
                ("sub/a.bin", 1, b"a"),
                ("sub/deep/é.txt", 1, b"e"),
            )
        ]
    }
    assert artifact.digest == digest_of(ARTIFACT_DOMAIN, artifact.listing)
    assert (artifact.total_bytes, artifact.files, artifact.file_digest) == (4, 3, None)


def test_place_and_times_do_not_matter(tmp_path: Path) -> None:
    """
    The same files elsewhere, with other times and modes, are the same artifact.
    """
    first, second = folder_at(tmp_path / "one"), folder_at(tmp_path / "two")
    os.utime(second / "b.bin", (1, 1))
    (second / "b.bin").chmod(0o700)
    (second / "empty").mkdir()

    assert hash_artifact(second) == hash_artifact(first)


@pytest.mark.parametrize("change", ["content", "name", "more", "fewer"])
def test_each_change_of_a_folder(change: str, tmp_path: Path) -> None:
    """
    One byte, a file name, one file more or fewer: another digest.
    """
    root = folder_at(tmp_path / "model")
    before = hash_artifact(root).digest
    if change == "content":
        (root / "b.bin").write_bytes(b"bc")
    elif change == "name":
        (root / "b.bin").rename(root / "c.bin")
    elif change == "more":
        (root / "c.bin").touch()
    else:
        (root / "b.bin").unlink()

    assert hash_artifact(root).digest != before


def test_links_are_followed(tmp_path: Path) -> None:
    """
    A file or folder behind a link counts as if it were there.
    """
    first = folder_at(tmp_path / "one")
    second = tmp_path / "two"
    second.mkdir()
    (second / "b.bin").symlink_to(first / "b.bin")
    (second / "sub").symlink_to(first / "sub")

    assert hash_artifact(second) == hash_artifact(first)


def test_version_control_and_bytecode_are_left_out(tmp_path: Path) -> None:
    """
    Folders named .git and __pycache__ change nothing.
    """
    root = folder_at(tmp_path / "code")
    before = hash_artifact(root)
    for name in (".git", "sub/__pycache__"):
        (root / name).mkdir()
        (root / name / "file").write_text("changes")

    assert hash_artifact(root) == before


def test_single_file(tmp_path: Path) -> None:
    """
    A file has the path '.' in its listing, and its plain SHA-256 is told.
    """
    file = tmp_path / "weights.gguf"
    file.write_bytes(b"x" * 3_000_000)

    artifact = hash_artifact(file)

    assert artifact.file_digest == "sha256:" + hashlib.sha256(b"x" * 3_000_000).hexdigest()
    (entry,) = orjson.loads(artifact.listing)["files"]
    assert entry == {"path": ".", "bytes": 3_000_000, "digest": artifact.file_digest}


def pin(path: Path) -> str:
    with pytest.raises(ComponentError) as caught:
        mvtrace.model("m", path=path)
    return str(caught.value)


def test_empty_folder(tmp_path: Path) -> None:
    """
    A folder without files is no artifact.
    """
    assert pin(tmp_path) == f"Component model 'm': the folder {str(tmp_path)!r} holds no files."


def test_link_to_a_folder_around_it(tmp_path: Path) -> None:
    """
    A folder that holds itself is refused, not walked for ever.
    """
    (tmp_path / "self").symlink_to(tmp_path)

    assert pin(tmp_path) == (
        f"Component model 'm': {str(tmp_path / 'self')!r} is a link to a folder that holds it."
    )


def test_broken_link(tmp_path: Path) -> None:
    """
    A link to nothing is named.
    """
    (tmp_path / "gone").symlink_to(tmp_path / "nothing")

    assert pin(tmp_path) == (
        f"Component model 'm': there is no file or folder at {str(tmp_path / 'gone')!r}."
    )


def test_socket_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What is neither file nor folder is refused.
    """
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")

        assert pin(Path("socket")) == (
            "Component model 'm': 'socket' is neither a file nor a folder."
        )


def test_file_name_that_is_not_utf8(tmp_path: Path) -> None:
    """
    A file name without a UTF-8 form has no place in a listing.
    """
    raw = os.fsencode(tmp_path) + b"/\xff.bin"
    Path(os.fsdecode(raw)).write_bytes(b"x")

    assert pin(tmp_path) == f"Component model 'm': the file name {raw!r} is not UTF-8."


def test_path_below_a_file(tmp_path: Path) -> None:
    """
    The reason of the system is told.
    """
    (tmp_path / "file").touch()

    assert pin(tmp_path / "file" / "below") == (
        f"Component model 'm': {str(tmp_path / 'file' / 'below')!r} cannot be read: "
        "Not a directory."
    )


def test_file_that_changes_while_it_is_read(tmp_path: Path) -> None:
    """
    A digest of half one state and half another is never given.
    """
    file = tmp_path / "growing.bin"
    file.write_bytes(b"one")
    entry = _Entry(".", file, file.stat())
    file.write_bytes(b"one two")

    with pytest.raises(ValueError) as caught, Progress(3, "growing.bin") as progress:
        _hash_file(entry, progress)

    assert str(caught.value) == f"{str(file)!r} changed while it was read."
