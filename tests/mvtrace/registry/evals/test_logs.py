"""Logs of other tools, as they wrote them: what is read, what is refused, and hostile ones."""

from __future__ import annotations

import json
import math
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mvtrace.registry.evals import inspect_logs, lm_eval
from mvtrace.registry.evals.imported import Imported, LogError
from mvtrace.registry.evals.inspect_zip import MAX_MEMBER_BYTES, LogArchive

LOGS = Path(__file__).parent / "logs"
"""Written by inspect_ai 0.3.285 (mockllm) and lm-eval 0.4.13 (dummy); transcripts left out."""
FIRST = LOGS / "inspect_first.eval"
SECOND = LOGS / "inspect_second.json"


def by_name(found: list[Imported]) -> dict[str, Imported]:
    return {one.scorer_name: one for one in found}


def scores(one: Imported) -> dict[tuple[str, int], Any]:
    return {
        (result.example, result.repeat): result.label if result.value is None else result.value
        for result in one.results
    }


def test_both_forms_of_an_inspect_log_are_read() -> None:
    """
    Each scorer's results are there by sample and epoch; grades are numbers, and where the judge
    gave none the log's NaN is no score but a reason.
    """
    first, second = by_name(inspect_logs.read(FIRST)), by_name(inspect_logs.read(SECOND))

    assert list(first) == list(second) == ["match", "model_graded_qa"]
    grades = dict(zip([f"q{n}" for n in range(6)], (1, 1, 1, 0, 1, 1), strict=True))
    assert scores(first["match"]) == {(q, e): g for q, g in grades.items() for e in (0, 1)}
    assert {q: scores(second["match"])[q, 0] for q in grades} == {**grades, "q0": 0, "q4": 0}
    judged = scores(first["model_graded_qa"])
    assert [judged["q5", epoch] for epoch in (0, 1)] == ["grader_failed"] * 2
    assert first["model_graded_qa"].unscored == 2
    assert first["match"].results[0].cluster == ""
    assert inspect_logs.read(FIRST, cluster_key="metadata.region")[0].results[0].cluster == "europe"


def test_two_logs_of_one_task_are_on_one_test() -> None:
    """
    Suite and scorer of both logs have the same digests, whatever their form; the judge, its model
    and the release that scores are in the scorer.
    """
    first, second = by_name(inspect_logs.read(FIRST)), by_name(inspect_logs.read(SECOND))

    for name in first:
        one, other = first[name], second[name]
        assert one.suite == other.suite
        assert one.scorer is not None
        assert one.scorer == other.scorer
    assert first["match"].suite.said["examples"]["count"] == 6
    scorer = first["model_graded_qa"].scorer
    assert scorer is not None
    assert scorer.entry.said["judge"] == {"model": "mockllm/judge"}
    assert scorer.entry.said["code"] == {
        "package": "inspect_ai",
        "version": "0.3.285",
        "name": "model_graded_qa",
    }


def changed(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    log = json.loads(SECOND.read_text())
    change(log)
    made = folder / "changed.json"
    made.write_text(json.dumps(log))
    return made


@pytest.mark.parametrize(
    ("change", "is_suite", "is_scorer"),
    [
        (lambda log: log["samples"][0].update(output={}), True, True),
        (lambda log: log["eval"].update(task_version=3), False, True),
        (lambda log: [one.update(target="x") for one in log["samples"][::6]], False, True),
        (lambda log: log["plan"]["steps"][0]["params"].update(tool_calls="none"), False, True),
        (lambda log: log["eval"]["packages"].update(inspect_ai="0.4"), True, False),
        (
            lambda log: log["eval"]["scorers"][1]["options"].update(template="Is it? {answer}"),
            True,
            False,
        ),
        (lambda log: log["eval"]["scorers"][1]["options"].update(model="other/judge"), True, False),
    ],
    ids=["answer", "version", "target", "step", "release", "template", "judge"],
)
def test_what_makes_another_test(
    tmp_path: Path, change: Callable[[Any], object], is_suite: bool, is_scorer: bool
) -> None:
    """
    An answer changes nothing; what is asked makes another suite, what scores another scorer.
    """
    one = inspect_logs.read(SECOND)[1]
    other = inspect_logs.read(changed(tmp_path, change))[1]

    assert (other.suite == one.suite) == is_suite
    assert (other.scorer == one.scorer) == is_scorer


def test_a_scorer_whose_code_the_log_does_not_know_is_not_declared(tmp_path: Path) -> None:
    """
    A task's own scorer is declared by a clean commit; without one, or with changes in the working
    tree, it is not.
    """

    def own(revision: dict[str, Any] | None) -> Any:
        def change(log: dict[str, Any]) -> None:
            log["eval"]["scorers"][0]["name"] = "mine"
            for sample in log["samples"]:
                sample["scores"] = {"mine": {"value": 0.5}}
            log["eval"]["revision"] = revision

        [found] = inspect_logs.read(changed(tmp_path, change))
        return found.scorer

    assert own(None) is None
    assert own({"type": "git", "commit": "abc", "dirty": True}) is None
    assert own({"type": "git", "commit": "abc"}) is None
    assert own({"type": "git", "commit": "abc", "dirty": False}).entry.said["code"] == {
        "commit": "abc",
        "name": "mine",
    }


def test_scores_of_every_kind(tmp_path: Path) -> None:
    """
    Numbers, truth values, grades, words and numbers as text count; a dict is one score a key; what
    is none of these, and what a sample lacks, is not scored and says so.
    """
    values: list[Any] = [
        0.25, True, "P", "yes", "0.5", {"a": 1, "b": "I"}, [1], "cat\x1b[2J", math.inf, None,
    ]  # fmt: skip

    def change(log: dict[str, Any]) -> None:
        for sample, value in zip(log["samples"], values, strict=False):
            sample["scores"] = {"match": {"value": value}}
        log["samples"][10]["scores"] = None
        log["samples"][11]["scores"] = {}

    found = by_name(inspect_logs.read(changed(tmp_path, change)))
    order = [(one.example, one.repeat) for one in found["match"].results]
    told = scores(found["match"])

    assert [told[place] for place in order] == [
        *(0.25, 1.0, 0.5, 1.0, 0.5, "not scored", "unscored", "cat [2J", "unscored", "unscored"),
        *("not scored", "not scored"),
    ]  # fmt: skip
    assert [scores(found[f"match/{key}"])[order[5]] for key in "ab"] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda log: log["samples"][0].pop("id"), "one of its samples is none."),
        (lambda log: log["samples"][0].update(id=None), "sample 'None': its id is no line"),
        (lambda log: log["samples"][0].update(epoch=0), "its epoch is no whole number from 1."),
        (lambda log: log["samples"][6].update(input="x"), "the example 'q0' is there with two"),
        (lambda log: log["samples"][0].update(scores={"match": 1}), "its score 'match' is none."),
        (lambda log: log["samples"].pop(), "it has 11 of 12 samples."),
        (lambda log: log.update(samples=None), "it has no samples."),
        (lambda log: log["eval"].update(created="then"), "its time is 'then', which is none."),
        (lambda log: log.update(eval=[]), "it is no log of Inspect."),
        (lambda log: log.update(plan=[1]), "it is not laid out as inspect writes logs"),
        (lambda log: log["samples"][0].update(scores=[1]), "it is not laid out as inspect"),
        (lambda log: log["eval"].update(packages=7), "it is not laid out as inspect writes logs"),
        (lambda log: log.update(status="error"), "its status is 'error'; what is missing"),
    ],
)
def test_an_inspect_log_that_is_none_is_refused(
    tmp_path: Path, change: Callable[[Any], object], problem: str
) -> None:
    """
    Each flaw has its sentence, and nothing is read.
    """
    with pytest.raises(LogError) as caught:
        inspect_logs.read(changed(tmp_path, change))

    assert problem in caught.value.message


def test_an_unfinished_run_is_imported_only_on_purpose() -> None:
    """
    A cancelled run is refused; said to be partial, its suite is what was asked, hence another one.
    """
    path = LOGS / "inspect_cancelled.json"
    with pytest.raises(LogError) as caught:
        inspect_logs.read(path)

    assert caught.value.message == (
        f"{path}: its status is 'cancelled'; what is missing would not be seen."
    )
    found = inspect_logs.read(path, is_partial=True)[0]
    assert found.suite.said["examples"]["count"] == 3
    assert found.suite != inspect_logs.read(SECOND)[0].suite


def test_a_log_that_is_no_json(tmp_path: Path) -> None:
    """
    Half a log, and one nested beyond reason, are refused as such.
    """
    for text in (SECOND.read_text()[:-99], "[" * 100_000):
        path = tmp_path / "log.json"
        path.write_text(text)
        with pytest.raises(LogError, match="it is no JSON"):
            inspect_logs.read(path)


def archive(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as made:
        for name, body in members.items():
            made.writestr(name, body)
    return path


def test_an_older_archive_is_read_too(tmp_path: Path) -> None:
    """
    Archives of deflated members, as Inspect wrote them before, give the same results.
    """
    with LogArchive(FIRST) as log:
        names = ["header.json", *log.names("samples/")]
        members = {name: json.dumps(log.json(name)).encode() for name in names}

    for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED):
        older = archive(tmp_path / f"{method}.eval", members, method)
        assert inspect_logs.read(older) == inspect_logs.read(FIRST)


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    """
    A member that says it is huge, or is packed into more than it says it holds, is refused unread;
    one that lies otherwise after as many bytes as it says.
    """
    huge = b"\0" * (MAX_MEMBER_BYTES // 8)
    packed = archive(tmp_path / "lies.eval", {"header.json": huge}).read_bytes()
    size = struct.pack("<I", len(huge))
    lying = tmp_path / "lying.eval"
    lying.write_bytes(packed.replace(size, struct.pack("<I", 100_000)))
    padded = tmp_path / "padded.eval"
    padded.write_bytes(packed.replace(size, struct.pack("<I", 100)))
    stored = archive(tmp_path / "one.eval", {"header.json": b"{}     "}, zipfile.ZIP_STORED)
    longer = tmp_path / "longer.eval"
    longer.write_bytes(
        stored.read_bytes().replace(struct.pack("<II", 7, 7), struct.pack("<II", 7, 2))
    )
    claiming = tmp_path / "claiming.eval"
    claiming.write_bytes(packed.replace(size, struct.pack("<I", MAX_MEMBER_BYTES + 1)))

    for path, problem in (
        (lying, "it does not unpack to what it says it is"),
        (padded, "packed bytes, and 100 unpacked"),
        (longer, "it has 7 packed bytes, and 2 unpacked"),
        (claiming, f"it has {MAX_MEMBER_BYTES + 1:,} bytes, of {MAX_MEMBER_BYTES:,} at most"),
    ):
        with pytest.raises(LogError, match=problem):
            inspect_logs.read(path)


def test_members_that_overlap_are_not_unpacked(tmp_path: Path) -> None:
    """
    An archive whose directory names the same bytes many times is refused before any is unpacked.
    """
    path = archive(tmp_path / "one.eval", {"header.json": b"{}", "samples/a.json": b"{}"})
    with zipfile.ZipFile(path) as made:
        [first, second] = made.infolist()
    raw = path.read_bytes()
    place = raw.rindex(struct.pack("<I", second.header_offset) + b"samples/a.json")
    overlapping = raw[:place] + struct.pack("<I", first.header_offset) + raw[place + 4 :]
    (tmp_path / "two.eval").write_bytes(overlapping)

    with pytest.raises(LogError, match="its members overlap: it is not unpacked"):
        inspect_logs.read(tmp_path / "two.eval")


@pytest.mark.parametrize("cut", [0, 4, 200, -1, -30])
def test_a_damaged_archive_is_refused(tmp_path: Path, cut: int) -> None:
    """
    Cut short, or with a byte of a member changed, it is no log.
    """
    path = tmp_path / "cut.eval"
    path.write_bytes(FIRST.read_bytes()[:cut])

    with pytest.raises(LogError):
        inspect_logs.read(path)


def test_every_changed_byte_is_a_refusal_or_the_same(tmp_path: Path) -> None:
    """
    Whatever byte of an archive is changed: its results are the same, or it is refused.
    """
    whole, raw = inspect_logs.read(FIRST), FIRST.read_bytes()
    path = tmp_path / "changed.eval"
    for place in range(0, len(raw), 397):
        path.write_bytes(raw[:place] + bytes([raw[place] ^ 0x55]) + raw[place + 1 :])
        try:
            found = inspect_logs.read(path)
        except LogError:
            continue
        assert found == whole, place


def harness(folder: Path, name: str = "lm_eval_first") -> Path:
    return Path(shutil.copytree(LOGS / name, folder / name))


def test_a_folder_of_the_harness_is_read() -> None:
    """
    Each task, metric and filter is a run; their means are those the harness printed.
    """
    found = by_name(lm_eval.read(LOGS / "lm_eval_first", cluster_key="page"))

    assert sorted(found) == ["acc", "acc_norm", "exact_match,loose", "exact_match,strict"]
    means = {
        name: sum(result.value or 0 for result in one.results) / len(one.results)
        for name, one in found.items()
    }
    assert means == pytest.approx(
        {"acc": 0.5, "acc_norm": 2 / 3, "exact_match,loose": 0, "exact_match,strict": 0}
    )
    assert {result.cluster for result in found["acc"].results} == {"p1", "p2", "p3"}
    assert found["acc"].suite.name == "arith_mc"
    assert found["acc"].suite.said["version"] == "1.0"
    again = by_name(lm_eval.read(LOGS / "lm_eval_second", cluster_key="page"))
    for name, one in found.items():
        assert one.suite == again[name].suite
        assert one.scorer is not None
        assert one.scorer == again[name].scorer
        assert {result.example for result in one.results} == {
            result.example for result in again[name].results
        }
    assert list(by_name(lm_eval.read(LOGS / "lm_eval_first", task="arith_mc"))) == [
        "acc",
        "acc_norm",
    ]


def edited(folder: Path, pattern: str, change: Callable[[str], str]) -> Path:
    made = harness(folder)
    for path in made.glob(pattern):
        path.write_text(change(path.read_text()))
    return made


@pytest.mark.parametrize(
    ("pattern", "change", "problem"),
    [
        ("results*", lambda text: text[:-9], "it is no JSON"),
        ("results*", lambda _: "[]", "it is no JSON object."),
        ("results*", lambda _: '{"configs": {"arith_mc": 7}}', "it is not laid out as lm-eval"),
        (
            "results*",
            lambda text: text.replace('"acc,none": 0.5', '"acc,none": 0.9'),
            "the mean of acc over its 6 samples is 0.5, but the results file says 0.9: they are not",
        ),
        ("results*", lambda text: text.replace("arith_mc", "../x"), "the task '../x' is no name."),
        ("samples_arith_mc*", lambda text: text + text, "the document 0 is there twice"),
        ("samples_arith_mc*", lambda text: text.replace('"doc_id": 1', '"doc_id": 0'), "two contents"),
        ("samples_arith_mc*", lambda text: text.replace('"doc"', '"dok"'), "it has no doc_id and"),
        ("samples_arith_mc*", lambda text: "{" + text, "it is no JSON"),
    ],
)  # fmt: skip
def test_a_run_of_the_harness_that_is_none_is_refused(
    tmp_path: Path, pattern: str, change: Callable[[str], str], problem: str
) -> None:
    """
    What does not hold together is refused: also samples that do not give the results claimed.
    """
    with pytest.raises(LogError) as caught:
        lm_eval.read(edited(tmp_path, pattern, change))

    assert problem in caught.value.message


def test_samples_have_to_be_there(tmp_path: Path) -> None:
    """
    Without samples nothing is known by example; of two runs in a folder one has to be named.
    """
    made = harness(tmp_path)
    with pytest.raises(LogError, match="no samples of the task 'x' are beside it"):
        lm_eval.read(made, task="x")
    for path in made.glob("samples*"):
        path.unlink()
    with pytest.raises(LogError) as caught:
        lm_eval.read(made)
    assert caught.value.hint == "Run lm-eval with --log_samples."

    harness(tmp_path, "lm_eval_second")
    with pytest.raises(LogError, match="it holds 2 of a results"):
        lm_eval.read(tmp_path)
    assert not lm_eval.is_results(LOGS / "nothing")


def test_equal_documents_are_told_apart(tmp_path: Path) -> None:
    """
    A document that is in a task twice is two examples, and its second has a name of its own.
    """
    second = '"question": "2+2", "answer": "4", "choices": ["4", "5"], "gold": 0'
    first = '"question": "1+1", "answer": "2", "choices": ["1", "2"], "gold": 1'
    made = edited(tmp_path, "samples_arith_gen*", lambda text: text.replace(second, first))
    found = by_name(lm_eval.read(made, task="arith_gen"))["exact_match,strict"]
    names = [result.example for result in found.results]

    assert len(set(names)) == 6
    assert names[1] == f"{names[0]}#2"
    assert found.suite.said["examples"]["count"] == 6


def test_a_function_without_source_declares_nothing(tmp_path: Path) -> None:
    """
    A metric that the log knows only as an object at an address has no scorer; with its source it
    has, and addresses are in no digest.
    """

    def process(text: str, source: str) -> str:
        return text.replace(
            '"output_type"', f'"process_results": {json.dumps(source)}, "output_type"'
        )

    for number, (source, is_declared) in enumerate(
        (("<function score at 0x7f00>", False), ("def score(doc): ...", True))
    ):
        made = edited(tmp_path / str(number), "results*", lambda text, s=source: process(text, s))
        assert all((one.scorer is not None) == is_declared for one in lm_eval.read(made))
