"""Results of the LM Evaluation Harness: ``results_*.json`` and its ``samples_<task>_*.jsonl``.

In: the folder or the results file of one run, made with ``--log_samples``. Out: an Imported for
each task, metric and filter. A suite is a task: its documents, its version, and how they are asked.
What scores is the harness in its version, the metric and the filter as configured. The mean over
the samples has to be the one the results file claims.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from mvtrace.registry.evals.imported import (
    MAX_LINE_BYTES,
    UNKNOWN_LAYOUT,
    UNSCORED,
    Imported,
    LogError,
    RowsOfLog,
    single,
    unknown_layout,
)
from mvtrace.registry.evals.results import MAX_RESULTS, Result, finite
from mvtrace.registry.evals.scorers import Scorer, scorer_entry
from mvtrace.registry.evals.suites import key_text, suite_entry
from mvtrace.registry.evals.texts import Texts, pinned

TOOL: Final = "lm-eval"
MAX_RESULTS_BYTES: Final = 256 * 1024 * 1024
_ASKING: Final = (
    *("description", "doc_to_text", "doc_to_choice", "doc_to_target", "process_docs"),
    *("target_delimiter", "fewshot_delimiter", "fewshot_config", "num_fewshot", "output_type"),
    *("generation_kwargs", "gen_prefix", "use_prompt", "repeats"),
)
"""Of a task's configuration what decides how its documents are asked."""
_ADDRESS: Final = re.compile(r" at 0x[0-9a-f]+")
_OBJECT: Final = re.compile(r"^\s*(<|functools\.)")
"""A function of which the log has no source."""
_CLOSE: Final = 1e-6

Sample = Mapping[str, Any]


def is_results(path: Path) -> bool:
    """Whether *path* is such a results file, or a folder that holds one."""
    return any(_results_files(path))


def read(
    path: Path, *, cluster_key: str = "", task: str = "", metrics: Collection[str] = ()
) -> list[Imported]:
    """Return what the run at *path* scored; of *task* alone where it is named.

    What the results file claims is checked of *metrics*, by the scorer's name; of all, where there
    are none.

    Raises:
        LogError: it is no such run, its samples are missing, or do not give what it claims.
    """
    file = single(path, _results_files(path), "a results_*.json")
    if file.stat().st_size > MAX_RESULTS_BYTES:
        raise LogError(file, f"it has more than {MAX_RESULTS_BYTES:,} bytes.")
    try:
        results = _object(file, file.read_bytes())
        return _read_run(file, results, cluster_key, task, metrics)
    except UNKNOWN_LAYOUT as error:
        raise unknown_layout(file, TOOL, error) from error


def _read_run(
    file: Path,
    results: Mapping[str, Any],
    cluster_key: str,
    task: str,
    metrics: Collection[str],
) -> list[Imported]:
    stamp = file.stem.removeprefix("results_")
    tasks = [one for one in results.get("configs") or {} if not task or one == task]
    found: list[Imported] = []
    for name in tasks:
        if Path(name).name != name:
            raise LogError(file, f"the task {name[:80]!r} is no name.")
        samples = file.with_name(f"samples_{name}_{stamp}.jsonl")
        if samples.is_file():
            found += _task(_Task(name, results, samples), cluster_key, metrics)
    if not found:
        named = f" of the task {task!r}" if task else ""
        raise LogError(
            file, f"no samples{named} are beside it.", hint="Run lm-eval with --log_samples."
        )
    return found


class _Task:
    """One task of a run."""

    def __init__(self, name: str, results: Mapping[str, Any], samples: Path) -> None:
        self.name = name
        self.results = results
        self.samples = samples
        self.config: Mapping[str, Any] = results["configs"][name]
        self.documents = RowsOfLog()
        self.clusters: dict[str, str] = {}
        self.scores: dict[tuple[str, str], dict[str, float | None]] = {}
        """By metric and filter: the value of each document."""
        self.not_numbers: set[tuple[str, str]] = set()

    def said(self, name: str) -> Any:
        """Return what the results file says of this task under *name*."""
        return (self.results.get(name) or {}).get(self.name)


def _task(task: _Task, cluster_key: str, metrics: Collection[str]) -> Iterator[Imported]:
    for number, sample in _samples(task.samples):
        try:
            _gather(task, sample, cluster_key)
        except ValueError as error:
            raise LogError(task.samples, f"line {number:,}: {error}.") from error
    settings = {
        key: _settled(task.config[key]) for key in _ASKING if task.config.get(key) is not None
    }
    settings["tool"] = TOOL
    if task.results.get("system_instruction_sha"):
        settings["system_instruction"] = task.results["system_instruction_sha"]
    settings, texts = pinned(settings)
    suite = suite_entry(
        task.name,
        task.documents.examples(),
        version=str(task.said("versions") or ""),
        cluster_key=cluster_key,
        settings=settings,
    )
    names = task.documents.names()
    for (metric, chosen), values in task.scores.items():
        if (metric, chosen) in task.not_numbers:
            continue
        name = metric if chosen == "none" else f"{metric},{chosen}"
        if not metrics or name in metrics:
            _check_claim(task, metric, chosen, values)
        yield Imported(
            tool=TOOL,
            suite=suite,
            texts=Texts(texts),
            scorer=_scorer(task, metric, chosen, name),
            scorer_name=name,
            results=tuple(
                Result(
                    names[document],
                    value=value,
                    label=UNSCORED if value is None else None,
                    cluster=task.clusters.get(document, ""),
                )
                for document, value in values.items()
            ),
            recorded_at=str(int(float(task.results.get("date") or 0) * 1e6) * 1000),
        )


def _gather(task: _Task, sample: Sample, cluster_key: str) -> None:
    document = str(sample.get("doc_id"))
    row = sample.get("doc")
    if "doc_id" not in sample or not isinstance(row, dict):
        raise ValueError("it has no doc_id and no doc")
    task.documents.add(document, row)
    if len(task.documents.rows) > MAX_RESULTS:
        raise ValueError(f"there are more than {MAX_RESULTS:,} documents")
    if cluster_key:
        task.clusters[document] = key_text(row, cluster_key)
    chosen = str(sample.get("filter", "none"))
    for metric in sample.get("metrics") or ():
        values = task.scores.setdefault((str(metric), chosen), {})
        if document in values:
            raise ValueError(f"the document {document} is there twice for the filter {chosen!r}")
        value = sample.get(metric)
        if type(value) not in (int, float, bool):
            task.not_numbers.add((str(metric), chosen))
        values[document] = finite(value)


def _scorer(task: _Task, metric: str, chosen: str, name: str) -> Scorer | None:
    """Return what scored; None where the log has not the source of code of the task's own."""
    listed = task.config.get("metric_list") or []
    configured = next((one for one in listed if one.get("metric") == metric), {"metric": metric})
    filters = task.config.get("filter_list") or []
    parameters = {
        "metric": _settled(configured),
        "filter": _settled(
            next((one for one in filters if one.get("name") == chosen), {"name": chosen})
        ),
        "output_type": task.config.get("output_type"),
    }
    if task.config.get("process_results") is not None:
        parameters["process_results"] = _settled(task.config["process_results"])
    if any(_OBJECT.match(text) for text in _texts(parameters)):
        return None
    is_higher = (task.said("higher_is_better") or {}).get(metric, True)
    version = task.results.get("lm_eval_version")
    if not isinstance(version, str):
        return None
    return scorer_entry(
        name,
        code={"package": TOOL, "version": version},
        parameters=parameters,
        better="lower" if is_higher is False else "higher",
    )


def _check_claim(task: _Task, metric: str, chosen: str, values: Mapping[str, float | None]) -> None:
    claimed = (task.said("results") or {}).get(f"{metric},{chosen}")
    listed = task.config.get("metric_list") or []
    configured: Mapping[str, Any] = next((one for one in listed if one.get("metric") == metric), {})
    if configured.get("aggregation", "mean") != "mean" or not isinstance(claimed, (int, float)):
        return
    numbers = [value for value in values.values() if value is not None]
    mean = math.fsum(numbers) / len(numbers) if numbers else math.nan
    if len(numbers) == len(values) and abs(mean - claimed) > _CLOSE:
        raise LogError(
            task.samples,
            f"the mean of {metric} over its {len(values):,} samples is {mean:.6g}, "
            f"but the results file says {claimed:.6g}: they are not of one run.",
            hint="Import the samples and the results as lm-eval wrote them.",
        )


def _samples(path: Path) -> Iterator[tuple[int, Sample]]:
    with path.open("rb") as lines:
        number = 0
        while line := lines.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(line) > MAX_LINE_BYTES:
                raise LogError(path, f"line {number:,} has more than {MAX_LINE_BYTES:,} bytes.")
            if line.strip():
                yield number, _object(f"{path}, line {number:,}", line)


def _object(place: object, text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LogError(place, f"it is no JSON: {error}.") from error
    if not isinstance(found, dict):
        raise LogError(place, "it is no JSON object.")
    return found


def _results_files(path: Path) -> Iterator[Path]:
    if path.is_file():
        if path.name.startswith("results_") and path.suffix == ".json":
            yield path
        return
    for depth in ("", "*/", "*/*/"):
        yield from path.glob(f"{depth}results_*.json")


def _settled(value: Any) -> Any:
    """Return *value* as it is in every process: without addresses, without what is null."""
    if isinstance(value, dict):
        return {str(key): _settled(one) for key, one in value.items() if one is not None}
    if isinstance(value, list):
        return [_settled(one) for one in value]
    return _ADDRESS.sub("", value) if isinstance(value, str) else value


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)
