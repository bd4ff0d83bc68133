"""The harnesses themselves, as they are installed: what they write is what the import reads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mvtrace.registry.evals import inspect_logs, lm_eval

pytestmark = pytest.mark.integrations

INSPECT = """
import sys, tiktoken

class Bytes:  # the encoding it counts mock tokens with is a download
    def encode(self, text, **_):
        return list(text.encode())

tiktoken.get_encoding = lambda name: Bytes()
from inspect_ai import Task, eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ModelOutput, get_model
from inspect_ai.scorer import match

samples = [Sample(id=f"q{n}", input=f"{n}?", target=str(n), metadata={"page": n // 2}) for n in range(6)]

def answer(input, tools, tool_choice, config):
    text = input[-1].text.rstrip("?")
    return ModelOutput.from_content("mockllm/model", text if int(text) % 2 else "?")

for form in ("eval", "json"):
    task = Task(dataset=MemoryDataset(samples), scorer=match(), name="odd")
    [log] = eval(task, model=get_model("mockllm/model", custom_outputs=answer), epochs=2,
                 log_dir=sys.argv[1], log_format=form, display="none")
    assert log.status == "success", log.error
"""
TASK = """
task: words
dataset_path: json
dataset_kwargs: {data_files: {test: words.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: choices
doc_to_target: gold
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
metadata: {version: 2.0}
"""


def run(folder: Path, *command: str) -> None:
    environ = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=300, env=environ
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_what_inspect_writes_is_read(tmp_path: Path) -> None:
    """
    Both forms of a log of a run just made have every sample, epoch and grade.
    """
    pytest.importorskip("inspect_ai")
    run(tmp_path, sys.executable, "-c", INSPECT, str(tmp_path / "logs"))
    found = [
        inspect_logs.read(path, cluster_key="metadata.page") for path in tmp_path.glob("logs/*")
    ]

    assert len(found) == 2
    assert {one.suite for [one] in found} == {found[0][0].suite}
    assert {one.scorer for [one] in found} == {found[0][0].scorer}
    assert found[0][0].scorer is not None
    for [one] in found:
        assert {(row.example, row.repeat, row.value, row.cluster) for row in one.results} == {
            (f"q{n}", epoch, float(n % 2), str(n // 2)) for n in range(6) for epoch in (0, 1)
        }


def test_what_the_harness_writes_is_read(tmp_path: Path) -> None:
    """
    A run just made with --log_samples has every document, and the mean that it printed.
    """
    pytest.importorskip("lm_eval")
    (tmp_path / "words.yaml").write_text(TASK)
    (tmp_path / "words.jsonl").write_text(
        "".join(
            f'{{"question": "{n}?", "choices": ["a", "b"], "gold": {n % 2}}}\n' for n in range(8)
        )
    )
    arguments = ("--tasks", "words", "--include_path", ".", "--output_path", "out", "--log_samples")
    run(tmp_path, sys.executable, "-m", "lm_eval", "--model", "dummy", *arguments)
    [found] = lm_eval.read(tmp_path / "out")

    assert found.suite.name == "words"
    assert (len(found.results), found.unscored) == (8, 0)
    assert found.scorer is not None
