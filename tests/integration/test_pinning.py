"""From a description to a lock, a version, a deployment, and back: with a real collector."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from processes import Running, collector

from mvtrace.cli.main import run

TOML = """
name = "bot"

[model.answer]
provider = "openai"
model_id = "gpt"

[model.rerank]
path = "weights"
uri = "s3://models/rerank"

[prompt.answer]
path = "prompt.txt"
label = "v1"

[code.chain]
object = "chain:answer"

[router.route]
policy = { threshold = 0.3 }
candidates = ["prompt/answer"]
"""
PLACE = ("--service", "bot", "--environment", "prod")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with collector(tmp_path_factory.mktemp("pinning")) as one:
        yield one


class Done(NamedTuple):
    """What a command did."""

    code: int
    stdout: str
    stderr: str


class Repository:
    """A folder with a description, and the commands run in it, all in this process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "mvtrace.toml").write_text(TOML)
        (folder / "prompt.txt").write_text("Answer shortly.\n")
        (folder / "chain.py").write_text("def answer(text):\n    return text\n")
        (folder / "weights").mkdir()
        (folder / "weights" / "a.bin").write_bytes(b"weights")

    def run(self, *arguments: str) -> Done:
        sys.modules.pop("chain", None)
        stdout, stderr = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
        with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
            code = run(arguments)
        stdout.seek(0)
        return Done(code, stdout.read(), stderr.getvalue())

    def output(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.code == 0, done.stderr
        return done.stdout

    def asked(self, *arguments: str) -> dict[str, Any]:
        return dict(json.loads(self.output(*arguments, "--json")))

    @property
    def lock(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / "mvtrace.lock").read_text()))

    @property
    def version(self) -> str:
        return str(self.lock["version"])


@pytest.fixture
def repository(
    running: Running,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> Repository:
    for name in os.environ:
        if name.startswith("MVTRACE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("MVTRACE_URL", running.url)
    monkeypatch.setenv("MVTRACE_PROJECT", f"p{zlib.crc32(request.node.name.encode())}")
    monkeypatch.chdir(tmp_path)
    return Repository(tmp_path)


def test_a_version_is_pinned_changed_deployed_shown_and_compared(repository: Repository) -> None:
    """
    The whole way: pin, check, change, pin again, deploy, then ask what served, and what changed.
    """
    first = repository.output("pin")
    before = repository.version
    assert first == (
        f"mvtrace.lock: {before[:12]} of bot, the first.\n"
        f"  code/chain      {_short(repository, 'code/chain')}\n"
        f"  model/answer    {_short(repository, 'model/answer')}        declared, not hashed\n"
        f"  model/rerank    {_short(repository, 'model/rerank')}\n"
        f"  prompt/answer   {_short(repository, 'prompt/answer')}   v1\n"
        f"  router/route    {_short(repository, 'router/route')}\n"
        "Registered and stored: 10 events.\n"
    )
    text = (repository.folder / "mvtrace.lock").read_text()
    assert str(repository.folder) not in text
    assert "as before." in repository.output("pin")
    assert (repository.folder / "mvtrace.lock").read_text() == text
    repository.output("deploy", before, *PLACE)

    (repository.folder / "prompt.txt").write_text("Answer at length.\n")
    (repository.folder / "mvtrace.toml").write_text(TOML.replace('"v1"', '"v2"'))
    failed = repository.run("pin", "--check")
    pinned = repository.asked("pin", "--reason", "longer answers")
    after = repository.version
    repository.output("deploy", after, *PLACE)

    assert failed.code == 1
    assert failed.stderr.startswith(
        f"error: lock-mismatch\n\nmvtrace.lock pins {before[:12]} of 'bot', but 3 things differ:\n"
    )
    assert "  prompt/answer  its label is 'v1', now 'v2'\n" in failed.stderr
    assert pinned["parents"] == [f"composite:{before}"] == repository.lock["parents"]
    assert [one["slot"] for one in pinned["changed"]] == ["prompt/answer", "router/route"]

    shown = repository.asked("show", "bot/prod@now", "--texts")
    assert shown["version"] == after
    assert shown["parents"] == [{"ref": f"composite:{before}", "role": "previous"}]
    assert [one["uris"] for one in shown["places"]] == [["s3://models/rerank"]]
    assert {one["key"]: one["text"] for one in shown["texts"]}["prompt/answer.template"] == (
        "Answer at length.\n"
    )
    assert shown["unregistered_texts"] == []
    deployed = shown["deployments"][0]["event_id"]

    for one, other in ((before, after), (before[:8], deployed), ("prod@1s", "mvtrace.lock")):
        if one == "prod@1s":
            one = f"prod@{shown['deployments'][0]['at'][:19]}"
        found = repository.asked("diff", before if "@" in one else one, other)
        assert [part["slot"] for part in found["components"]] == ["prompt/answer", "router/route"]
    assert found["components"][0]["texts"] == [
        {
            "key": "template",
            "diff": ["@@ -1 +1 @@", "-Answer shortly.", "+Answer at length."],
            "note": None,
        }
    ]

    logged = repository.asked("log")["versions"]
    assert [one["version"] for one in logged] == [after, before]
    assert logged[0]["against"] == before
    assert logged[0]["changes"]["changed"] == ["prompt/answer", "router/route"]
    served = repository.asked("log", "--environment", "prod")["versions"]
    assert [one["version"] for one in served] == [after, before]


def _short(repository: Repository, slot: str) -> str:
    return str(repository.lock["components"][slot]["digest"])[:19]


def test_a_version_that_comes_back_is_not_made_from_what_followed_it(
    repository: Repository,
) -> None:
    """
    Pinning an earlier state again makes no circle in the ancestry, and says so.
    """
    repository.output("pin")
    before = repository.version
    (repository.folder / "prompt.txt").write_text("Other.\n")
    repository.output("pin")
    between = repository.version
    (repository.folder / "prompt.txt").write_text("Answer shortly.\n")

    said = repository.output("pin")

    assert repository.version == before
    assert (
        f"Not recorded as its parent: composite:{between[:12]}, which was made from this version."
        in said
    )
    assert repository.asked("show", before)["parents"] == []
    assert repository.asked("show", before)["children"] == [
        {"ref": f"composite:{between}", "role": "previous"}
    ]


def test_parents_and_experiments_are_recorded(repository: Repository) -> None:
    """
    A version may be made from several others, and belong to an experiment by its name.
    """
    repository.output("pin")
    one = repository.version
    (repository.folder / "prompt.txt").write_text("Two.\n")
    repository.output("pin")
    two = repository.version
    repository.output("experiment", "start", "tone", "--base", one)
    (repository.folder / "prompt.txt").write_text("Three.\n")
    repository.output(
        "pin", "--parent", one, "--parent", f"composite:{two}", "--experiment", "tone"
    )

    [newest, *_] = repository.asked("log")["versions"]
    assert newest["version"] == repository.version
    assert newest["experiments"] == ["tone"]
    assert sorted(newest["parents"]) == sorted([f"composite:{one}", f"composite:{two}"])
    assert "experiment tone" in repository.output("log")


def test_texts_that_are_not_registered_are_told_as_such(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Where content is not registered, show and diff say so and show digests.
    """
    monkeypatch.setenv("MVTRACE_REGISTER_CONTENT", "false")
    repository.output("pin")
    before = repository.version
    (repository.folder / "prompt.txt").write_text("Other.\n")
    repository.output("pin")

    assert "its text is not registered" in repository.output("show", before)
    assert (
        "  template  neither text is registered, so only digests are known; 16 and 7 bytes\n"
        in repository.output("diff", before, repository.version)
    )


def test_locks_compare_without_a_collector(repository: Repository, tmp_path: Path) -> None:
    """
    Two locks are compared where no collector answers; that texts are not compared is said.
    """
    repository.output("pin", "--no-register")
    (repository.folder / "mvtrace.lock").rename(tmp_path / "old.lock")
    (repository.folder / "prompt.txt").write_text("Other.\n")
    repository.output("pin", "--no-register")
    nowhere = ("--url", "http://127.0.0.1:9")

    shown = repository.output("show", "old.lock", *nowhere)
    found = repository.output("diff", "old.lock", "mvtrace.lock", *nowhere)

    assert "No collector answers: this is what the lock says." in shown
    assert "prompt/answer  changed  sha256:" in found
    assert "Texts are not compared: No collector answers at http://127.0.0.1:9:" in found


REFUSED = {
    "unknown": (("show", "deadbeef"), 1, ("'deadbeef' names no version: "
                "no version, deployment or request is known by it.")),
    "time": (("show", "prod@yesterday"), 2, ("the time is 'yesterday'; it is 2026-08-01, "
             "2026-08-01T10:00 (UTC), now, or 6h, 7d back.")),
    "nothing then": (("show", "prod@2020-01-01"), 1, ("'prod@2020-01-01' names no version: "
                     "nothing was deployed there then.")),
    "component": (("show", "component:" + "1" * 64), 1, ("No version and no request holds "
                  f"the component 'sha256:{'1' * 64}'.")),
    "dataset": (("show", "dataset:" + "1" * 64), 1,
                f"No dataset 'dataset:{'1' * 64}' is registered."),
    "parent": (("pin", "--parent", "abc"), 2, ("--parent 'abc': 'composite:abc' is no ref: "
               "behind composite: stand 64 hex digits.")),
    "experiment": (("pin", "--experiment", "tone", "--no-register"), 2,
                   "--experiment is a name, which only a collector can look up."),
    "check": (("pin", "--check"), 2, ("mvtrace.lock: it cannot be read: "
              "No such file or directory.")),
    "file": (("pin", "--file", "no.toml"), 2, ("no.toml: it cannot be read: "
             "No such file or directory.")),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "code", "message"), REFUSED.values(), ids=list(REFUSED))
def test_refusals(
    repository: Repository, arguments: tuple[str, ...], code: int, message: str
) -> None:
    """
    What cannot be shown or pinned is refused with what was asked and what holds.
    """
    done = repository.run(*arguments)

    assert done.code == code
    assert done.stderr.split("\n")[2] == message
    assert not (repository.folder / "mvtrace.lock").exists()


def test_a_lock_that_a_merge_left_broken_is_not_overwritten(repository: Repository) -> None:
    """
    Where the lock before cannot be read, nothing is guessed about what the new one was made from.
    """
    (repository.folder / "mvtrace.lock").write_text("<<<<<<< ours\n")

    done = repository.run("pin", "--no-register")

    assert done.code == 2
    assert done.stderr == (
        "error: lock\n\n"
        "mvtrace.lock: it is no lock: Expecting value: line 1 column 1 (char 0).\n\n"
        "hint: Take one side of the merge, or delete it, and say with --parent "
        "what the version is made from.\n"
    )
    assert (repository.folder / "mvtrace.lock").read_text() == "<<<<<<< ours\n"
