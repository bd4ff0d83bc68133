"""Transformations: what names one, what a run is, and what is refused to be claimed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import mvtrace
from mvtrace.capture.pipeline import Tracing
from mvtrace.registry.datasets.errors import DatasetError
from mvtrace.registry.datasets.hashing import hash_dataset
from mvtrace.registry.datasets.running import ROLE, Run, begin, end
from mvtrace.registry.datasets.steps import Step, file_code, function_code, step
from mvtrace.registry.errors import RegistryError
from mvtrace.registry.lineage.derivations import Made, edges_of


@mvtrace.transformation(inputs=["raw"], outputs=["clean"])
def keep(raw: Path, clean: Path, *, above: int = 1, seed: int = 7) -> int:
    """Keep the rows whose n is above something."""
    rows = [line for line in raw.read_text().splitlines() if json.loads(line)["n"] > above]
    clean.write_text("".join(f"{line}\n" for line in rows))
    return len(rows)


@pytest.fixture
def folder(tracing: Tracing, tmp_path: Path) -> Path:
    (tmp_path / "raw.jsonl").write_text('{"n":1}\n{"n":2}\n{"n":3}\n')
    return tmp_path


def kept(folder: Path, **options: int) -> Run:
    return keep.run(folder / "raw.jsonl", folder / "clean.jsonl", **options)


def test_a_decorated_function_is_called_as_before(folder: Path) -> None:
    """
    It returns what it returns, keeps its name, and did its work.
    """
    assert keep(folder / "raw.jsonl", folder / "clean.jsonl", above=2) == 1
    assert (keep.__name__, (folder / "clean.jsonl").read_text()) == ("keep", '{"n":3}\n')


def test_a_run_says_what_was_made_from_what(folder: Path) -> None:
    """
    Code, parameters, seed and roots are recorded; each output derives from the inputs.
    """
    run = kept(folder)

    said = run.step.entry.said
    assert (said["parameters"], said["seed"], said["name"]) == ({"above": 1}, 7, "keep")
    assert said["code"] == function_code(keep.__wrapped__).digest
    (entry,) = run.derivations()
    child, parent = (hash_dataset(folder / name).ref for name in ("clean.jsonl", "raw.jsonl"))
    assert edges_of(entry) == [Made(child, parent, ROLE), Made(child, run.step.ref, "how")]
    kinds = [one.entry.kind if isinstance(one, Step) else one.kind for one in run.entries()]
    assert kinds == ["transformation", "dataset", "dataset", "derivation"]


def test_a_transformation_is_its_code_and_parameters(folder: Path) -> None:
    """
    Other paths and times are the same transformation; another parameter, seed or code another.
    """
    first, again = kept(folder), kept(folder)
    (folder / "moved").mkdir()
    (folder / "raw.jsonl").rename(folder / "moved" / "raw.jsonl")

    assert first.step == again.step == kept(folder / "moved").step
    others = [kept(folder / "moved", above=0), kept(folder / "moved", seed=8)]
    other = step("keep", function_code(end), parameters={"above": 1}, seed=7)
    assert len({first.step.ref, other.ref, *(one.step.ref for one in others)}) == 4


def test_the_code_of_files_is_their_names_and_contents(tmp_path: Path) -> None:
    """
    Folders and interpreters' leavings are no part of it; the text of a single file is kept.
    """
    for place in ("here", "there"):
        (tmp_path / place / "lib" / "__pycache__").mkdir(parents=True)
        (tmp_path / place / "clean.py").write_text("print(1)\n")
        (tmp_path / place / "lib" / "a.py").write_text("x = 1\n")
        (tmp_path / place / "lib" / "__pycache__" / "a.pyc").write_text(place)
    here, there = (
        file_code([tmp_path / place / "clean.py", tmp_path / place / "lib"])
        for place in ("here", "there")
    )

    assert here.digest == there.digest
    assert file_code([tmp_path / "here" / "clean.py"]).pieces[0].text == "print(1)\n"
    (tmp_path / "there" / "lib" / "a.py").write_text("x = 2\n")
    changed = file_code([tmp_path / "there" / "clean.py", tmp_path / "there" / "lib"])
    assert changed.digest != here.digest


def test_what_leaves_the_rows_as_they_are_derived_nothing(folder: Path) -> None:
    """
    An output with the rows of an input is that dataset, which is no child of itself.
    """
    run = kept(folder, above=0)

    assert (run.unchanged, run.derivations()) == (["clean"], [])


def begun_and_changed(folder: Path, change: Callable[[], object]) -> str:
    begun = begin({"in": folder / "raw.jsonl"}, {"out": folder / "clean.jsonl"})
    change()
    with pytest.raises(DatasetError) as refused:
        end(begun, step("x", function_code(end), parameters={}))
    return refused.value.problem


def test_an_input_that_changes_meanwhile_is_no_parent(folder: Path) -> None:
    """
    What the work was really done on is not known then.
    """

    def change() -> None:
        (folder / "clean.jsonl").write_text('{"n":1}\n')
        (folder / "raw.jsonl").write_text('{"n":1}\n{"n":2}\n{"n":4}\n')

    assert begun_and_changed(folder, change) == (
        "it changed while it was an input, so what was made from it cannot be said."
    )


def test_an_output_that_lay_there_before_is_not_claimed(folder: Path) -> None:
    """
    A step that writes nothing made nothing, although its output's path holds a dataset.
    """
    (folder / "clean.jsonl").write_text('{"n":1}\n')

    problem = begun_and_changed(folder, lambda: None)

    assert problem == "the step did not write it, so nothing was made."


def test_a_link_that_leads_nowhere_is_seen(folder: Path) -> None:
    """
    An output folder that holds one was written to, and cannot be read.
    """
    begun = begin({"in": folder / "raw.jsonl"}, {"out": folder / "out"})
    (folder / "out").mkdir()
    (folder / "out" / "a.jsonl").symlink_to(folder / "gone")

    with pytest.raises(DatasetError) as refused:
        end(begun, step("x", function_code(end), parameters={}))

    assert refused.value.problem == "it cannot be read: No such file or directory."


def refused(act: Callable[[], object]) -> str:
    with pytest.raises(RegistryError) as caught:
        act()
    return caught.value.message


def test_what_cannot_be_a_step_is_refused(folder: Path) -> None:
    """
    One path for both, an argument that is none, code without a source, unfinished work.
    """
    raw = folder / "raw.jsonl"
    wanted = mvtrace.transformation(inputs=["raw"], outputs=["out"])
    head = "A transformation cannot be registered: "

    assert refused(lambda: keep(raw, raw)) == (
        f"{head}{str(raw)!r} is input and output: what went in would be lost."
    )
    assert refused(lambda: begin({}, {"out": raw})) == (
        f"{head}it has at least one input and one output."
    )
    assert refused(lambda: wanted(kept)) == f"{head}kept has no argument 'out'."
    assert refused(lambda: wanted(lambda raw, out: None)) == (
        f"{head}test_what_cannot_be_a_step_is_refused.<locals>.<lambda>.<locals>.<lambda> is a "
        "lambda, whose source is the line around it."
    )
    assert refused(lambda: file_code([])) == (
        f"{head}no argument of the command is a file that does the work."
    )

    async def later(raw: str, out: str) -> None: ...

    assert refused(lambda: wanted(later)) == f"{head}later returns before its work is done."


def test_secrets_are_no_part_of_a_step() -> None:
    """
    Values are left out that are secret by their names; another one is the same step.
    """

    def recorded(secret: str) -> Step:
        command = ["curl", f"--token={secret}", "--api-key", secret, f"DB_PASSWORD={secret}"]
        return step(
            "fetch",
            function_code(end),
            parameters={
                "hf_token": secret,
                "pad_token": "<pad>",
                "source": {"url": f"https://me:{secret}@host/x", "secret": [secret]},
            },
            command=[*command, "--max-tokens=9", "--password", "--all", "--key-column", "id"],
        )

    said = recorded("s3cr3t").entry.said

    assert recorded("other").ref == recorded("s3cr3t").ref
    assert "s3cr3t" not in str(said)
    assert said["command"][5:] == ["--max-tokens=9", "--password", "--all", "--key-column", "id"]
    assert said["parameters"]["pad_token"] == "<pad>"
    assert said["parameters"]["source"]["url"] == "https://[secret]@host/x"
