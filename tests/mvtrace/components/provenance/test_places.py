"""Where files, code and images come from: the hub's cache, Git, and the environment."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mvtrace
from mvtrace.components.provenance import git_state, image_digests
from mvtrace.components.provenance.note import (
    MAX_FACTS,
    MAX_NOTES_BYTES,
    MAX_TEXT,
    Note,
    notes_by_slot,
)
from mvtrace.digest import canonical_bytes

COMMIT = "0123456789abcdef0123456789abcdef01234567"
DIGEST = "sha256:" + "ab" * 32


def snapshot(cache: Path, files: dict[str, bytes], *, lie: bool = False) -> Path:
    """A repository as the hub's client caches it: links to blobs that are named by digest."""
    repository = cache / "models--google--gemma-3-270m"
    folder = repository / "snapshots" / COMMIT
    (repository / "blobs").mkdir(parents=True)
    (repository / "refs").mkdir()
    folder.mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    (repository / "refs" / "old").write_text("f" * 40)
    for number, (name, data) in enumerate(files.items()):
        if number % 2:
            blob = hashlib.sha256(data).hexdigest()
        else:
            blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        (repository / "blobs" / blob).write_bytes(data + (b"!" if lie else b""))
        (folder / name).symlink_to(Path("..", "..", "blobs", blob))
    return folder


FILES = {"config.json": b"{}", "weights.bin": b"\1" * 100}


def test_a_snapshot_of_the_hub(tmp_path: Path) -> None:
    """
    Repository, commit and branch are what the cache says; files named by their digest are verified.
    """
    component = mvtrace.model("m", path=snapshot(tmp_path, FILES))

    declared, verified = component.provenance
    assert declared == Note(
        "huggingface",
        "declared",
        {"repository": "google/gemma-3-270m", "commit": COMMIT, "refs": ["main"]},
    )
    assert verified == Note("huggingface", "verified", {"files_as_named_by_the_hub": 2})


def test_one_file_of_a_snapshot(tmp_path: Path) -> None:
    """
    A single file within a snapshot comes from its commit too.
    """
    folder = snapshot(tmp_path, FILES)

    declared, verified = mvtrace.model("m", path=folder / "weights.bin").provenance

    assert declared.facts["commit"] == COMMIT
    assert verified.basis == "verified"


def test_a_snapshot_that_was_edited(tmp_path: Path) -> None:
    """
    Files that are not what their names say are not verified.
    """
    [declared] = mvtrace.model("m", path=snapshot(tmp_path, FILES, lie=True)).provenance

    assert declared.basis == "declared"


def test_files_of_no_hub(tmp_path: Path) -> None:
    """
    Files that lie anywhere else come from nowhere that is known, and are the same component.
    """
    (tmp_path / "plain").mkdir()
    for name, data in FILES.items():
        (tmp_path / "plain" / name).write_bytes(data)

    plain = mvtrace.model("m", path=tmp_path / "plain")

    assert plain.provenance == ()
    assert plain == mvtrace.model("m", path=snapshot(tmp_path, FILES))


def git(folder: Path, *words: str) -> str:
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "GIT_CONFIG_NOSYSTEM": "1",
        **{
            f"GIT_{who}_{what}": "x"
            for who in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        },
    }
    done = subprocess.run(["git", *words], cwd=folder, env=environ, check=True, capture_output=True)
    return done.stdout.decode().strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one commit of one file."""
    if shutil.which("git") is None:
        pytest.skip("needs git")
    folder = tmp_path / "code"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    (folder / "app.py").write_text("x = 1\n")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "first")
    git_state._difference.cache_clear()
    return folder


def test_code_as_it_was_committed(repository: Path) -> None:
    """
    The commit and the branch of pinned code are told, and that nothing was changed since.
    """
    [note] = mvtrace.code("app", repository / "app.py").provenance

    assert note == Note(
        "git",
        "observed",
        {
            "commit": git(repository, "rev-parse", "HEAD"),
            "branch": "main",
            "changed": False,
            "difference": None,
        },
    )


def test_code_that_was_edited(repository: Path) -> None:
    """
    Code that was changed since its commit has a digest of the change, another for another change.
    """
    seen = []
    for text in ("x = 2\n", "x = 3\n", "x = 2\n"):
        (repository / "app.py").write_text(text)
        git_state._difference.cache_clear()
        [note] = mvtrace.code("app", repository / "app.py").provenance
        assert note.facts["changed"] is True
        seen.append(note.facts["difference"])

    assert seen[0] == seen[2] != seen[1]


def test_code_that_no_commit_has(repository: Path) -> None:
    """
    Code beside a repository's own, such as installed packages, is not told to be of its commit.
    """
    (repository / "installed").mkdir()
    (repository / "installed" / "library.py").write_text("y = 1\n")

    for path in (repository / "installed", repository / "installed" / "library.py"):
        [note] = mvtrace.code("library", path).provenance
        assert note.facts["changed"] == "in no commit"


@pytest.mark.parametrize("way", ["packed", "detached", "worktree"])
def test_where_the_commit_stands(repository: Path, tmp_path: Path, way: str) -> None:
    """
    The commit is found where refs are packed, without a branch, and in another worktree.
    """
    place = repository
    if way == "packed":
        git(repository, "pack-refs", "--all")
    elif way == "detached":
        git(repository, "checkout", "--quiet", "--detach")
    else:
        place = tmp_path / "other"
        git(repository, "worktree", "add", "--quiet", "-b", "other", str(place))

    note = git_state.note_of(place / "app.py", {})

    assert note is not None
    assert note.facts["commit"] == git(repository, "rev-parse", "HEAD")
    assert note.facts["branch"] == {"packed": "main", "worktree": "other"}.get(way)
    assert note.facts["changed"] is False


def test_programs_of_a_repository_are_not_run(repository: Path) -> None:
    """
    What a repository would have run to show a difference is not run.
    """
    ran = repository / "ran"
    program = repository / "run.sh"
    program.write_text(f"#!/bin/sh\ntouch {ran}\n")
    program.chmod(0o755)
    for key in ("diff.external", "core.fsmonitor", "diff.x.textconv", "diff.x.command"):
        git(repository, "config", key, str(program))
    (repository / ".gitattributes").write_text("* diff=x\n")
    (repository / "app.py").write_text("x = 2\n")

    note = git_state.note_of(repository / "app.py", {})

    assert note is not None
    assert note.facts["changed"] is True
    assert not ran.exists()


@pytest.mark.parametrize(
    "head", ["", "ref: ../../../etc/passwd", "ref: refs/heads/none", "x" * 10_000, "\0\xff"]
)
def test_a_repository_that_is_none(tmp_path: Path, head: str) -> None:
    """
    A folder that only looks like a repository tells nothing, and code is pinned all the same.
    """
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text(head)
    (tmp_path / "app.py").write_text("x = 1\n")

    assert mvtrace.code("app", tmp_path / "app.py").provenance == ()


def test_a_commit_by_the_environment(tmp_path: Path) -> None:
    """
    Where there is no repository, the commit that the environment declares is taken as declared.
    """
    environ = {"OTEL_RESOURCE_ATTRIBUTES": f"a=b,vcs.ref.head.revision={COMMIT}"}

    assert git_state.note_of(tmp_path, environ) == Note("git", "declared", {"commit": COMMIT})
    assert git_state.note_of(tmp_path, {}) is None


@pytest.mark.parametrize(
    ("value", "digests"),
    [
        (f"registry.example/app@{DIGEST}", [f"registry.example/app@{DIGEST}"]),
        (DIGEST, [DIGEST]),
        (f'["a@{DIGEST}"%2C "b@{DIGEST}"]', [f"a@{DIGEST}", f"b@{DIGEST}"]),
        (f"a@{DIGEST},b@{DIGEST}", [f"a@{DIGEST}", f"b@{DIGEST}"]),
        ("app:latest", None),
        ("sha256:abc", None),
        ("", None),
    ],
)
def test_the_image(value: str, digests: list[str] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The digests of the image that the environment declares stand beside the stack, in no digest.
    """
    without = mvtrace.stack(accelerator="none")
    said = f"service.name=x,container.image.repo_digests={value},container.image.name=app"
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", said)

    component = mvtrace.stack(accelerator="none")

    assert component.digest == without.digest
    expected = () if digests is None else (
        Note("oci", "declared", {"repo_digests": digests, "name": "app"}),
    )  # fmt: skip
    assert component.provenance == expected


@given(st.text())
def test_any_environment(text: str) -> None:
    """
    No value of the environment makes looking fail.
    """
    environ = {"OTEL_RESOURCE_ATTRIBUTES": f"container.image.repo_digests={text}"}

    note = image_digests.note_of(environ)

    assert note is None or note.basis == "declared"


VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(max_size=400), VALUES, max_size=40))
def test_notes_are_bounded_and_canonical(facts: dict[str, Any]) -> None:
    """
    Whatever a stranger's file says, a note is plain, short, and has a canonical form.
    """
    plain = Note("gguf", "declared", facts).to_dict()

    assert canonical_bytes(plain)
    assert len(plain["facts"]) <= MAX_FACTS
    assert all(len(one) <= MAX_TEXT for one in plain["facts"].values() if isinstance(one, str))


def test_notes_of_very_many_parts_are_bounded() -> None:
    """
    Of very many parts as many have notes as may travel with their version.
    """
    long = Note("gguf", "declared", {str(number): "x" * MAX_TEXT for number in range(MAX_FACTS)})

    found = notes_by_slot((f"model/{number}", (long, long)) for number in range(100))

    assert 0 < len(found) < 100
    assert len(canonical_bytes(found)) <= MAX_NOTES_BYTES
