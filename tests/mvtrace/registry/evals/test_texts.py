"""Texts of a test: prompts, templates and few-shot examples are in no entry, only their digests."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from mvtrace.components.content import pin_content
from mvtrace.registry.evals import inspect_logs, lm_eval
from mvtrace.registry.evals.imported import Imported
from mvtrace.registry.evals.texts import Texts, pinned

LOGS = Path(__file__).parent / "logs"
SECRET = "You are the secret assistant of ACME."


def test_names_stay_and_texts_are_references() -> None:
    """
    A name, a version and a delimiter are told; whatever else is text goes by its digest.
    """
    said = {
        "solver": "inspect_ai/generate",
        "delimiter": "\n\n",
        "shots": 5,
        "items": [SECRET, {"x": "{question}"}, "秘密", "a" * 65],
    }
    found, contents = pinned(said)
    texts = [SECRET, "{question}", "秘密", "a" * 65]
    one, two, three, four = (pin_content(text).reference for text in texts)

    assert found == {**said, "items": [one, {"x": two}, three, four]}
    assert [piece.text for piece in contents] == texts
    assert [event.body for event in Texts(contents).events()] == texts
    assert list(Texts(contents).events(register_content=False)) == []


def of_inspect(folder: Path) -> list[Imported]:
    log: dict[str, Any] = json.loads((LOGS / "inspect_second.json").read_text())
    log["plan"]["steps"].insert(0, {"solver": "system_message", "params": {"template": SECRET}})
    log["eval"]["scorers"][0]["options"]["instructions"] = SECRET
    judge = log["eval"]["scorers"][1]["options"]["model"]
    judge["config"] = {"system_message": SECRET}
    path = folder / "log.json"
    path.write_text(json.dumps(log))
    return inspect_logs.read(path)


def of_lm_eval(folder: Path) -> list[Imported]:
    made = Path(shutil.copytree(LOGS / "lm_eval_first", folder / "out"))
    for path in made.glob("results*"):
        text = path.read_text().replace('"description": ""', f'"description": "{SECRET}"')
        path.write_text(text.replace('"metric": "acc",', f'"metric": "acc", "ask": "{SECRET}",'))
    return lm_eval.read(made, task="arith_mc")


@pytest.mark.parametrize("read", [of_inspect, of_lm_eval])
def test_the_texts_of_a_log_are_in_no_entry(tmp_path: Path, read: Any) -> None:
    """
    Neither the suite nor a scorer holds the text that the log does; it is registered beside them,
    or not at all where content stays.
    """
    found = read(tmp_path)
    for one in found:
        assert one.scorer is not None
        assert SECRET not in f"{one.suite.body!r}{one.scorer.entry.body!r}"
        for thing in (one.suite, one.texts, one.scorer):
            assert all(SECRET not in event.body for event in thing.events(register_content=False))

    digest = pin_content(SECRET).reference["content"]["digest"]
    assert digest in str(found[0].suite.said["settings"])
    assert digest in str(found[0].scorer.entry.said["parameters"])
    for thing in (found[0].texts, found[0].scorer):
        assert SECRET in [event.body for event in thing.events()]
