"""The cache of hashes: a saving where it works, never an error and never a wrong digest."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import pytest

from mvtrace.components import hash_artifact
from mvtrace.components.artifact_cache import MAX_ENTRIES, MIN_BYTES, ArtifactCache, cache_folder

SIZE = MIN_BYTES + 1
LATER_NS = 10**19
"""So late that every file has settled."""


def weights_at(path: Path, byte: bytes = b"x") -> Path:
    path.write_bytes(byte * SIZE)
    return path


def cache_at(path: Path, now_ns: int = LATER_NS) -> ArtifactCache:
    return ArtifactCache(path, clock_ns=lambda: now_ns)


def sha256(byte: bytes) -> str:
    return hashlib.sha256(byte * SIZE).hexdigest()


def test_unchanged_file_is_hashed_once(tmp_path: Path) -> None:
    """
    A file in the state that was hashed is not read again.
    """
    file, store = weights_at(tmp_path / "w"), tmp_path / "cache" / "artifacts.json"
    first = hash_artifact(file, cache=cache_at(store))
    raw = store.read_bytes()
    assert sha256(b"x").encode() in raw

    # Whoever reads the cached value sees the one put there, so the file was not read.
    store.write_bytes(raw.replace(sha256(b"x").encode(), b"0" * 64))
    second = hash_artifact(file, cache=cache_at(store))

    assert first.file_digest == f"sha256:{sha256(b'x')}"
    assert second.file_digest == "sha256:" + "0" * 64


def test_changed_file_is_hashed_again(tmp_path: Path) -> None:
    """
    Another content is seen even where size and modification time were set back.
    """
    file, store = weights_at(tmp_path / "w"), tmp_path / "artifacts.json"
    hash_artifact(file, cache=cache_at(store))
    before = file.stat()
    with file.open("r+b") as handle:
        handle.write(b"y" * SIZE)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))

    artifact = hash_artifact(file, cache=cache_at(store))

    assert artifact.file_digest == f"sha256:{sha256(b'y')}"


def test_replaced_file_is_hashed_again(tmp_path: Path) -> None:
    """
    Another file under the same path is another inode.
    """
    file, store = weights_at(tmp_path / "w"), tmp_path / "artifacts.json"
    hash_artifact(file, cache=cache_at(store))
    weights_at(tmp_path / "v", b"y").replace(file)

    artifact = hash_artifact(file, cache=cache_at(store))

    assert artifact.file_digest == f"sha256:{sha256(b'y')}"


def test_fresh_file_is_not_remembered(tmp_path: Path) -> None:
    """
    A file that changed just now may change again within a tick of its clock.
    """
    file, store = weights_at(tmp_path / "w"), tmp_path / "artifacts.json"

    hash_artifact(file, cache=cache_at(store, file.stat().st_mtime_ns + 1_000_000))

    assert not store.exists()


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"\xff\x00", b"[]", b'{"format":99,"files":{}}', b'{"format":1,"files":[]}'],
)
def test_damaged_cache_is_no_cache(damage: bytes, tmp_path: Path) -> None:
    """
    A damaged cache costs one hash, and is whole afterwards.
    """
    file, store = weights_at(tmp_path / "w"), tmp_path / "artifacts.json"
    store.write_bytes(damage)

    artifact = hash_artifact(file, cache=cache_at(store))

    assert artifact.file_digest == f"sha256:{sha256(b'x')}"
    assert cache_at(store).find(file, file.stat()) == sha256(b"x")


@pytest.mark.parametrize("entry", ["null", "[]", '["x"]', '{"a":1}', "5"])
def test_damaged_entry_is_no_entry(entry: str, tmp_path: Path) -> None:
    """
    An entry that is none is not believed.
    """
    file, store = weights_at(tmp_path / "w"), tmp_path / "artifacts.json"
    store.write_text(f'{{"format":1,"files":{{"{file}":{entry}}}}}')

    assert cache_at(store).find(file, file.stat()) is None


def test_entry_whose_digest_is_none(tmp_path: Path) -> None:
    """
    A digest that is no SHA-256 is not believed.
    """
    file, store = weights_at(tmp_path / "w"), tmp_path / "artifacts.json"
    hash_artifact(file, cache=cache_at(store))
    store.write_bytes(store.read_bytes().replace(sha256(b"x").encode(), b"short"))

    assert hash_artifact(file, cache=cache_at(store)).file_digest == f"sha256:{sha256(b'x')}"


@pytest.mark.parametrize("place", ["file/artifacts.json", "/proc/nowhere/artifacts.json"])
def test_cache_that_cannot_be_written(place: str, tmp_path: Path) -> None:
    """
    Where no cache can be, hashing works without.
    """
    (tmp_path / "file").touch()
    file = weights_at(tmp_path / "w")

    artifact = hash_artifact(file, cache=cache_at(tmp_path / place))

    assert artifact.file_digest == f"sha256:{sha256(b'x')}"


def test_writers_keep_what_others_wrote(tmp_path: Path) -> None:
    """
    Two caches over one file keep both their entries, and leave no partial file.
    """
    files = [weights_at(tmp_path / name) for name in ("a", "b")]
    store = tmp_path / "cache" / "artifacts.json"
    caches = [cache_at(store), cache_at(store)]
    for cache, file in zip(caches, files, strict=True):
        assert cache.find(file, file.stat()) is None
        cache.remember(file, file.stat(), sha256(b"x"))
    for cache in caches:
        cache.save()

    assert [cache_at(store).find(file, file.stat()) for file in files] == [sha256(b"x")] * 2
    assert [path.name for path in store.parent.iterdir()] == ["artifacts.json"]
    assert stat.S_IMODE(store.stat().st_mode) == 0o600


def test_cache_stays_small(tmp_path: Path) -> None:
    """
    The oldest entries go first.
    """
    file, store = weights_at(tmp_path / "w"), tmp_path / "artifacts.json"
    old = ",".join(f'"/{number}":[]' for number in range(MAX_ENTRIES))
    store.write_text(f'{{"format":1,"files":{{{old}}}}}')

    hash_artifact(file, cache=cache_at(store))

    text = store.read_text()
    assert '"/0":' not in text
    assert '"/1":' in text
    assert str(file) in text


def test_folder_of_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The cache lies under XDG_CACHE_HOME if that is absolute, else under ~/.cache.
    """
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "mvtrace"

    monkeypatch.setenv("HOME", str(tmp_path))
    for value in ("relative", ""):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert cache_folder() == tmp_path / ".cache" / "mvtrace"
