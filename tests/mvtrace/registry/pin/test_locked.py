"""An application loads its lock: the same state, or a refusal that says what differs."""

from __future__ import annotations

import logging
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

import mvtrace
from mvtrace.errors import CompositeError, ConfigurationError
from mvtrace.registry.errors import LockError, LockMismatchError, SystemFileError
from mvtrace.registry.pin.description import read_description
from mvtrace.registry.pin.lockfile import Lock, lock_text, read_lock
from mvtrace.registry.pin.resolving import composite_of

TOML = """
name = "bot"

[model.answer]
provider = "openai"
model_id = "gpt"

[model.rerank]
path = "weights.bin"
uri = "s3://bucket/weights.bin"

[prompt.answer]
path = "prompt.txt"

[code.chain]
object = "locked_module:answer"

[code.decorated]
object = "locked_module:decorated"

[router.route]
policy = { threshold = 0.35 }
candidates = ["prompt/answer", "code/decorated"]

[[edges]]
from = "code/chain"
to = "model/answer"
"""
CODE = """
import functools

def answer(question):
    return question

def twice(function):
    @functools.wraps(function)
    def both(question):
        return function(function(question))
    return both

@twice
def decorated(question):
    return question
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A repository with its lock, in a process that has imported nothing of it."""
    monkeypatch.delenv("MVTRACE_LOCK", raising=False)
    (tmp_path / "mvtrace.toml").write_text(TOML)
    (tmp_path / "locked_module.py").write_text(CODE)
    (tmp_path / "prompt.txt").write_text("Answer {question}")
    (tmp_path / "weights.bin").write_bytes(b"weights")
    pinned(tmp_path)
    yield tmp_path
    sys.modules.pop("locked_module", None)


def pinned(folder: Path) -> mvtrace.CompositeVersion:
    """Write the lock of what is there, as the command does."""
    made = composite_of(read_description(folder / "mvtrace.toml"))
    (folder / "mvtrace.lock").write_text(lock_text(Lock(made)))
    sys.modules.pop("locked_module", None)
    return made


def test_what_was_pinned_is_served(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """
    Where nothing differs the version is the lock's, prompts render, and the log says what nobody
    looked at.
    """
    caplog.set_level(logging.INFO, "mvtrace")

    found = mvtrace.locked(folder / "mvtrace.lock")

    assert found.version == pinned(folder).version
    prompt = found.component("prompt", "answer")
    assert prompt is not None
    assert prompt.render(question="x") == "Answer x"
    assert caplog.messages == [
        (
            f"mvtrace.lock pins {found.short} of 'bot', and that is what is here.\n"
            "Not checked:\n"
            "  code/decorated  locked_module is not imported, and its file does not say beyond doubt "
            "what decorated is\n"
            "  model/answer  declared: only its provider has it"
        )
    ]


def test_nothing_is_imported(folder: Path) -> None:
    """
    Loading a lock runs none of the code that it names, whether it is imported already or not.
    """
    (folder / "locked_module.py").write_text("raise SystemExit('imported')\n" + CODE)
    program = (
        "import sys, mvtrace\n"
        "found = mvtrace.locked(mode='warn')\n"
        "print('locked_module' in sys.modules)"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=True
    )

    assert done.stdout == "False\n"


def test_a_lock_that_does_not_match_is_refused(folder: Path) -> None:
    """
    The whole text of a refusal: each part that differs with both digests, and what was not checked.
    """
    before = mvtrace.locked(folder / "mvtrace.lock")
    (folder / "prompt.txt").write_text("Answer {question} at length")
    (folder / "weights.bin").unlink()
    (folder / "mvtrace.toml").write_text(
        TOML.replace('[[edges]]\nfrom = "code/chain"\nto = "model/answer"', "").replace(
            "[code.chain]", "[code.other]"
        )
    )

    with pytest.raises(LockMismatchError) as refused:
        mvtrace.locked(folder / "mvtrace.lock")

    digests = {part.slot: part.digest for part in before.components}
    prompt = mvtrace.prompt("answer", "Answer {question} at length").digest
    assert refused.value.message == (
        f"mvtrace.lock pins {before.short} of 'bot', but 6 things differ:\n"
        f"  code/chain  expected {digests['code/chain']}, found nothing (nothing describes it)\n"
        f"  code/other  not in the lock, found {digests['code/chain']} (locked_module:answer)\n"
        f"  prompt/answer  expected {digests['prompt/answer']}, found {prompt} (prompt.txt)\n"
        f"  router/route  expected {digests['router/route']}, found {{router}}\n"
        f"  model/rerank  expected {digests['model/rerank']}, found nothing "
        "(there is no file or folder at 'weights.bin')\n"
        "  code/chain -> model/answer (uses)  only in the lock\n"
        "Not checked:\n"
        "  code/decorated  locked_module is not imported, and its file does not say beyond doubt "
        "what decorated is\n"
        "  model/answer  declared: only its provider has it"
    ).replace("{router}", _found(refused.value.message, "router/route"))
    assert refused.value.hint == (
        "Bring back what was pinned, or run 'mvtrace pin' and commit the lock; "
        "MVTRACE_LOCK=warn serves what is here, under its own version."
    )
    assert refused.value.exit_code == 1


def _found(message: str, slot: str) -> str:
    line = next(line for line in message.split("\n") if line.startswith(f"  {slot}"))
    return line.partition("found ")[2]


def test_with_warn_the_version_is_that_of_what_is_here(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Where a difference only warns, answers are put down to the state that gives them.
    """
    monkeypatch.setenv("MVTRACE_LOCK", "warn")
    (folder / "prompt.txt").write_text("Other")
    before = (folder / "mvtrace.lock").read_bytes()

    found = mvtrace.locked(folder / "mvtrace.lock")

    assert found.version == pinned(folder).version
    assert found.version not in before.decode()
    [message] = caplog.messages
    assert "2 things differ" in message
    assert message.endswith(f"\nServing is version {found.short}.")


UNREADABLE = "mvtrace.toml: it is no TOML: Invalid value (at end of document)."
TAKEN = "Composite 'bot': two components take the slot prompt/answer: "


@pytest.mark.parametrize(("text", "message"), [("name =", UNREADABLE), (TOML, TAKEN)])
def test_what_makes_no_version_stops_nothing_that_only_warns(
    folder: Path, caplog: pytest.LogCaptureFixture, text: str, message: str
) -> None:
    """
    A description that cannot be read, or parts that make no version, refuse or warn as any
    difference does.
    """
    (folder / "mvtrace.toml").write_text(text)
    other = mvtrace.prompt("answer", "Other")
    given = [mvtrace.router("more", policy={"threshold": 1}, candidates=[other])]
    lock = folder / "mvtrace.lock"

    with pytest.raises((SystemFileError, CompositeError)) as refused:
        mvtrace.locked(lock, components=given)
    found = mvtrace.locked(lock, mode="warn", components=given)

    assert refused.value.message.startswith(message)
    assert found == read_lock(lock).composite
    assert caplog.messages == [
        (
            f"mvtrace.lock was compared with nothing: {refused.value.message}\n"
            f"Serving is taken for version {found.short}, which it pins."
        )
    ]


def test_off_looks_at_nothing(folder: Path) -> None:
    """
    With the mode off the lock's version is taken at its word, also where nothing else is there.
    """
    pinned_before = mvtrace.locked(folder / "mvtrace.lock")
    for name in ("mvtrace.toml", "prompt.txt", "weights.bin"):
        (folder / name).unlink()

    assert mvtrace.locked(folder / "mvtrace.lock", mode="off").version == pinned_before.version


def test_without_a_description_nothing_can_be_checked(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A lock alone is refused, or served with a warning, since nothing tells where to look.
    """
    (folder / "mvtrace.toml").unlink()

    with pytest.raises(LockError) as refused:
        mvtrace.locked(folder / "mvtrace.lock")
    found = mvtrace.locked(folder / "mvtrace.lock", mode="warn")

    message = "mvtrace.lock: mvtrace.toml is not beside it, so nothing can be checked."
    assert refused.value.message == message
    assert refused.value.hint == (
        "Ship both files with what they describe, or set MVTRACE_LOCK=off."
    )
    assert caplog.messages == [message]
    assert found.version in (folder / "mvtrace.lock").read_text()


@pytest.mark.parametrize("way", ["argument", "environment"])
def test_an_unknown_mode_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """
    A mode that there is not is refused, and not taken for the strictest or the mildest.
    """
    monkeypatch.setenv("MVTRACE_LOCK", "strict")
    mode = "strict" if way == "argument" else None

    with pytest.raises(ConfigurationError) as refused:
        mvtrace.locked(folder / "mvtrace.lock", mode=mode)

    key = "mode" if way == "argument" else "MVTRACE_LOCK"
    assert refused.value.message == f"{key} is 'strict'; it is one of refuse, warn, off."


def test_imported_modules_are_taken_as_they_are(folder: Path) -> None:
    """
    What the process has imported counts, not what its file says by now.
    """
    module = types.ModuleType("locked_module")
    other = folder / "elsewhere.py"
    other.write_text("def answer(question):\n    return 'other'\n")
    exec(compile(other.read_text(), str(other), "exec"), module.__dict__)
    sys.modules["locked_module"] = module

    with pytest.raises(LockMismatchError, match="code/chain  expected") as refused:
        mvtrace.locked(folder / "mvtrace.lock")

    assert "one thing differs" in refused.value.message


def test_given_and_skipped_slots(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """
    A component of the application's own is compared in its slot; a skipped one is not looked at.
    """
    caplog.set_level(logging.INFO, "mvtrace")
    (folder / "weights.bin").write_bytes(b"other weights")
    (folder / "prompt.txt").unlink()
    prompt = mvtrace.prompt("answer", "Answer {question}")

    found = mvtrace.locked(folder / "mvtrace.lock", components=[prompt], skip=["model/rerank"])

    assert found.component("prompt", "answer") == prompt
    assert "  model/rerank  as the application asked" in caplog.text


def test_what_lies_elsewhere_is_not_fetched(folder: Path) -> None:
    """
    Bytes at a URI are not fetched when an application starts; that nobody looked is said.
    """
    fsspec = pytest.importorskip("fsspec")
    fsspec.filesystem("memory").pipe("/locked/weights", b"weights")
    text = TOML.replace(
        'path = "weights.bin"\nuri = "s3://bucket/weights.bin"', 'uri = "memory://locked/weights"'
    )
    (folder / "mvtrace.toml").write_text(text)
    made = pinned(folder)
    fsspec.filesystem("memory").rm("/locked", recursive=True)

    assert mvtrace.locked(folder / "mvtrace.lock").version == made.version


def test_a_description_with_more_than_the_lock(folder: Path) -> None:
    """
    A part that is described and not pinned is a difference, also where nobody can look at it.
    """
    with (folder / "mvtrace.toml").open("a") as file:
        file.write(
            "\n[code.late]\nobject = 'no_module_at_all:x'\n[prompt.gone]\npath = 'gone.txt'\n"
        )

    with pytest.raises(LockMismatchError) as refused:
        mvtrace.locked(folder / "mvtrace.lock")

    lines = refused.value.message.split("\n")[1:3]
    assert lines == [
        "  code/late  not in the lock, found nothing (it is described, and nobody looked)",
        "  prompt/gone  not in the lock, found nothing (there is no file or folder at 'gone.txt')",
    ]


INDEX = """
from mvtrace import embedding_model

VECTORS = {"a": [1.0, 2.0]}

def live():
    raise SystemExit("asked")
"""


def test_a_live_index_is_not_asked(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """
    An index is compared where the application gives it, else nobody looks; no function is called.
    """
    caplog.set_level(logging.INFO, "mvtrace")
    (folder / "locked_module.py").write_text(INDEX.replace("raise SystemExit", "return VECTORS #"))
    (folder / "mvtrace.toml").write_text(
        'name = "bot"\n[index.topics]\nobject = "locked_module:live"\n'
    )
    made = pinned(folder)
    (folder / "locked_module.py").write_text(INDEX)
    lock = folder / "mvtrace.lock"

    unlooked = mvtrace.locked(lock)
    given = mvtrace.locked(lock, components=[mvtrace.index("topics", {"a": [1.0, 2.0]})])
    with pytest.raises(LockMismatchError):
        mvtrace.locked(lock, components=[mvtrace.index("topics", {"a": [1.0, 3.0]})])
    with pytest.raises(LockMismatchError, match="custom/more  not in the lock"):
        mvtrace.locked(lock, components=[mvtrace.custom("more", a=1)])

    assert unlooked.version == given.version == made.version
    assert "  index/topics  locked_module:live is not imported" in caplog.messages[0]
    assert "Not checked" not in caplog.messages[1]
