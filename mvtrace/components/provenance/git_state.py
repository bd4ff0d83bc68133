"""Which commit code is of, and whether it was changed since: read from its Git repository.

In: a file or folder. Out: a note, ``observed``: the commit, the branch, and where tracked files
differ from the commit a digest of the difference, so that two edited states can be told apart; its
text is kept nowhere. The commit is read from the repository's own files; the difference
needs the program ``git``, which is given two seconds, no pager, no hooks and no drivers. Without a
repository the environment may declare the commit (``vcs.ref.head.revision``).
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

from mvtrace.components.provenance.note import Note

SOURCE: Final = "git"
TIMEOUT_S: Final = 2.0
MAX_BYTES: Final = 4_096
"""Of a file that names a ref; a longer one is none."""
MAX_PACKED: Final = 8 << 20
_PIECE: Final = 1 << 20
REVISION: Final = "vcs.ref.head.revision"
VARIABLE: Final = "OTEL_RESOURCE_ATTRIBUTES"
_COMMIT: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_REF: Final = re.compile(r"refs/[\w./@+-]{1,200}")
_SAFE: Final = (
    *("-c", "core.fsmonitor=false", "-c", "diff.external=", "-c", "core.hooksPath=/dev/null"),
    *("--no-pager", "--no-optional-locks"),
)
"""A repository may name programs; none of them is run."""
_DIFF: Final = (
    *(*_SAFE, "diff", "HEAD", "--binary", "--full-index"),
    *("--no-ext-diff", "--no-textconv", "--no-color", "--no-renames", "--ignore-submodules"),
)


class _Printed(NamedTuple):
    """What a program has printed, which is not kept: a difference may be large."""

    digest: str
    size: int


class _Head(NamedTuple):
    """What a repository has checked out."""

    commit: str
    branch: str | None


def note_of(path: Path, environ: Mapping[str, str] = os.environ) -> Note | None:
    """Return the state of the code at *path*; None where nothing tells it."""
    root = next((one for one in (path, *path.parents) if (one / ".git").exists()), None)
    head = None if root is None else _head(root)
    if root is None or head is None:
        return _declared(environ)
    facts = {"commit": head.commit, "branch": head.branch}
    if _is_tracked(root, path) is False:
        return Note(SOURCE, "observed", {**facts, "changed": "in no commit"})
    difference = _difference(root, head.commit)
    if difference is None:
        return Note(SOURCE, "observed", {**facts, "changed": "not known"})
    changed = bool(difference)
    digest = f"sha256:{difference}" if changed else None
    return Note(SOURCE, "observed", {**facts, "changed": changed, "difference": digest})


def _declared(environ: Mapping[str, str]) -> Note | None:
    found = re.search(
        rf"(?:^|,)\s*{re.escape(REVISION)}=\s*([0-9a-f]{{40,64}})\s*(?:,|$)",
        environ.get(VARIABLE, ""),
    )
    return Note(SOURCE, "declared", {"commit": found.group(1)}) if found else None


def _head(root: Path) -> _Head | None:
    """Return what is checked out, from files alone."""
    try:
        folder = _git_folder(root)
        text = _small(folder / "HEAD")
        if _COMMIT.fullmatch(text):
            return _Head(text, None)
        ref = text.removeprefix("ref:").strip()
        if not _REF.fullmatch(ref) or ".." in ref:
            return None
        common = (
            folder / _small(folder / "commondir") if (folder / "commondir").exists() else folder
        )
        commit = _commit_of(common, folder, ref)
    except (OSError, ValueError):
        return None
    return _Head(commit, ref.removeprefix("refs/heads/")) if commit else None


def _git_folder(root: Path) -> Path:
    """Return where the repository lies: in worktrees and submodules a file says it."""
    place = root / ".git"
    if place.is_file():
        return root / _small(place).removeprefix("gitdir:").strip()
    return place


def _commit_of(common: Path, folder: Path, ref: str) -> str | None:
    for place in (folder / ref, common / ref):
        if place.is_file():
            text = _small(place)
            return text if _COMMIT.fullmatch(text) else None
    with (common / "packed-refs").open("rb") as file:
        for line in file.read(MAX_PACKED).decode("utf-8", "replace").splitlines():
            commit, _, name = line.partition(" ")
            if name == ref and _COMMIT.fullmatch(commit):
                return commit
    return None


def _small(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(MAX_BYTES).decode("utf-8").strip()


@lru_cache(maxsize=64)
def _difference(root: Path, commit: str) -> str | None:  # noqa: ARG001 (part of what is remembered)
    """Return the hex digest of what differs from the commit, "" where nothing does, None unknown.

    Once a process and commit: what an application runs was read when it started.
    """
    found = _git(root, *_DIFF)
    if found is None:
        return None
    return found.digest if found.size else ""


def _is_tracked(root: Path, path: Path) -> bool | None:
    """Whether the repository knows *path* at all; None where that cannot be told."""
    found = _git(root, *_SAFE, "ls-files", "--cached", "-z", "--", str(path))
    return None if found is None else found.size > 0


def _git(root: Path, *words: str) -> _Printed | None:
    """Return what ``git`` prints; None where it is not there, fails or takes too long."""
    program = shutil.which("git")
    if program is None:
        return None
    environ = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": os.environ.get("HOME", "/"),
        "LC_ALL": "C",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_NOSYSTEM": "1",
    }
    state, size = hashlib.sha256(), 0
    try:
        with subprocess.Popen(  # noqa: S603 (no shell; the program, and words of our own)
            [program, *words],
            cwd=root,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as process:
            limit = threading.Timer(TIMEOUT_S, process.kill)
            limit.start()
            try:
                while process.stdout and (piece := process.stdout.read(_PIECE)):
                    state.update(piece)
                    size += len(piece)
            finally:
                limit.cancel()
    except OSError:
        return None
    return _Printed(state.hexdigest(), size) if process.returncode == 0 else None
