"""Logs of Inspect, in both of its forms: ``.eval`` (an archive) and ``.json``.

In: one log. Out: an Imported for each scorer (for each key of one that gives several values). A
suite is the task in its version: its samples (id, input, target, choices) and the steps they go
through. What scores is a scorer with its options: of a package in its version, or of a clean
commit; a model that grades is its judge. An epoch is a repeat; a score that is NaN is none, and
says why.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from mvtrace.registry.entries import Entry
from mvtrace.registry.evals.imported import (
    UNKNOWN_LAYOUT,
    UNSCORED,
    Imported,
    LogError,
    RowsOfLog,
    unknown_layout,
)
from mvtrace.registry.evals.inspect_zip import LogArchive
from mvtrace.registry.evals.results import MAX_LABEL, MAX_RESULTS, Result, finite
from mvtrace.registry.evals.scorers import Scorer, scorer_entry
from mvtrace.registry.evals.suites import key_text, line_of, suite_entry
from mvtrace.registry.evals.texts import Texts, pinned

TOOL: Final = "inspect"
PACKAGE: Final = "inspect_ai"
MAX_JSON_BYTES: Final = 512 * 1024 * 1024
VALUES: Final[Mapping[str, float]] = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
"""What Inspect's own metrics make of its grades."""
_WORDS: Final = {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
_OWN: Final = frozenset(
    {"match", "includes", "pattern", "answer", "exact", "f1", "choice", "math"}
    | {"model_graded_qa", "model_graded_fact", "perplexity"}
)
"""Inspect's own scorers, which a log names without their package."""
_GRADED: Final = "model_graded"
_LIMITS: Final = ("message_limit", "token_limit", "time_limit", "working_limit", "max_tokens")
_SUCCESS: Final = "success"
_DROPPED: Final = frozenset({"custom_outputs"})

Log = Mapping[str, Any]


def is_log(path: Path) -> bool:
    """Whether *path* looks like such a log."""
    if path.suffix == ".eval":
        return True
    if path.suffix != ".json" or not path.is_file():
        return False
    with path.open("rb") as stream:
        head = stream.read(4_096)
    return b'"version"' in head and b'"status"' in head and b'"eval"' in head


def read(path: Path, *, cluster_key: str = "", is_partial: bool = False) -> list[Imported]:
    """Return what the log at *path* scored; an unfinished run only where *is_partial*.

    Raises:
        LogError: it is no such log, or one of an unfinished run.
    """
    try:
        return _read_log(path, cluster_key, is_partial=is_partial)
    except UNKNOWN_LAYOUT as error:
        raise unknown_layout(path, TOOL, error) from error


def _read_log(path: Path, cluster_key: str, *, is_partial: bool) -> list[Imported]:
    with _opened(path) as (log, samples):
        _check_whole(path, log, is_partial=is_partial)
        gathered = _Gathered(cluster_key)
        for sample in samples:
            try:
                gathered.add(sample)
            except ValueError as error:
                raise LogError(path, f"sample {str(sample.get('id'))[:80]!r}: {error}.") from error
    _check_number(path, log, gathered, is_partial=is_partial)
    suite, texts = _suite(log, gathered, cluster_key)
    return [
        Imported(
            tool=TOOL,
            suite=suite,
            texts=texts,
            scorer=_scorer(log, name),
            scorer_name=name,
            results=tuple(gathered.results(name)),
            recorded_at=_unix_nano(path, log["eval"].get("created")),
        )
        for name in gathered.scorers
    ]


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Log, Iterator[Log]]]:
    if path.suffix == ".eval":
        with LogArchive(path) as archive:
            names = archive.names("samples/")
            yield (
                _log(path, archive.json("header.json")),
                (_sample(path, archive.json(name)) for name in names if name.endswith(".json")),
            )
        return
    if path.stat().st_size > MAX_JSON_BYTES:
        raise LogError(
            path,
            f"it has more than {MAX_JSON_BYTES:,} bytes.",
            hint="'inspect log convert LOG --to eval --output-dir DIR' makes one read by parts.",
        )
    try:
        log = _log(path, json.loads(path.read_bytes()))
    except (ValueError, RecursionError) as error:
        raise LogError(path, f"it is no JSON: {error}.") from error
    yield log, (_sample(path, one) for one in log.get("samples") or ())


def _log(path: Path, log: object) -> Log:
    if not isinstance(log, dict) or not isinstance(log.get("eval"), dict):
        raise LogError(path, "it is no log of Inspect.")
    return log


def _sample(path: Path, sample: object) -> Log:
    if not isinstance(sample, dict) or not {"id", "input", "target"} <= sample.keys():
        raise LogError(path, "one of its samples is none.")
    return sample


class _Gathered:
    """The samples of a log: their rows, and by scorer what each was given."""

    def __init__(self, cluster_key: str) -> None:
        self.rows = RowsOfLog()
        self.scorers: dict[str, None] = {}
        self._cluster_key = cluster_key
        self._samples: list[tuple[str, int, str, dict[str, Result]]] = []

    @property
    def number(self) -> int:
        return len(self._samples)

    def add(self, sample: Log) -> None:
        """Take a sample; raises ValueError."""
        example = line_of(sample["id"], "its id")
        epoch = sample.get("epoch", 1)
        if type(epoch) is not int or epoch < 1:
            raise ValueError("its epoch is no whole number from 1")
        if len(self._samples) >= MAX_RESULTS:
            raise ValueError(f"there are more than {MAX_RESULTS:,} samples")
        row = {
            "id": sample["id"],
            "input": _asked(sample["input"]),
            "target": sample["target"],
            "choices": sample.get("choices"),
        }
        self.rows.add(example, row)
        cluster = key_text(sample, self._cluster_key) if self._cluster_key else ""
        found = dict(_scores(sample, Result(example, repeat=epoch - 1, cluster=cluster)))
        self.scorers |= dict.fromkeys(found)
        self._samples.append((example, epoch - 1, cluster, found))

    def results(self, scorer: str) -> Iterator[Result]:
        """Yield what *scorer* gave each sample; one it gave nothing is not scored."""
        for example, repeat, cluster, found in self._samples:
            missing = Result(example, repeat, label="not scored", cluster=cluster)
            yield found.get(scorer, missing)


def _asked(said: Any) -> Any:
    """Return a sample's input without the ids that Inspect makes anew for its messages."""
    if not isinstance(said, list):
        return said
    return [
        {key: value for key, value in one.items() if key in ("role", "content", "tool_calls")}
        if isinstance(one, dict)
        else one
        for one in said
    ]


def _scores(sample: Log, empty: Result) -> Iterator[tuple[str, Result]]:
    for name, score in (sample.get("scores") or {}).items():
        if not isinstance(score, dict):
            raise ValueError(f"its score {name!r} is none")  # noqa: TRY004 (of the input)
        value, reason = score.get("value"), score.get("reason")
        parts = (
            {f"{name}/{key}": one for key, one in value.items()} if isinstance(value, dict) else {}
        )
        for part, one in (parts or {name: value}).items():
            number, label = _read(one, reason)
            yield part, empty._replace(value=number, label=label)


def _read(value: Any, reason: object) -> tuple[float | None, str | None]:
    """Return a score's number and label."""
    if type(value) in (int, float, bool):
        number = finite(value)
        return number, None if number is not None else _label(reason) or UNSCORED
    if not isinstance(value, str) or not value:
        return None, _label(reason) or UNSCORED
    number = VALUES.get(value, _WORDS.get(value.lower()))
    if number is None:
        try:
            number = float(value)
        except ValueError:
            return None, _label(value) or UNSCORED
    return finite(number), _label(value) or UNSCORED


def _label(text: object) -> str | None:
    if not isinstance(text, str) or not text:
        return None
    shown = "".join(sign if sign.isprintable() else " " for sign in text)
    return shown if len(shown) <= MAX_LABEL else shown[:MAX_LABEL]


def _suite(log: Log, gathered: _Gathered, cluster_key: str) -> tuple[Entry, Texts]:
    said = log["eval"]
    config = said.get("config") or {}
    settings: dict[str, Any] = {
        "tool": TOOL,
        "steps": [
            {"solver": one.get("solver"), "params": _plain(one.get("params") or {})}
            for one in (log.get("plan") or {}).get("steps") or ()
        ],
        "limits": {key: config[key] for key in _LIMITS if config.get(key) is not None},
    }
    if said.get("task_args"):
        settings["args"] = _plain(said["task_args"])
    settings, texts = pinned(settings)
    suite = suite_entry(
        str(said.get("task") or "task"),
        gathered.rows.examples(),
        version=str(said.get("task_version", "")),
        id_key="id",
        cluster_key=cluster_key,
        settings=settings,
    )
    return suite, Texts(texts)


def _scorer(log: Log, name: str) -> Scorer | None:
    """Return the scorer *name* as declared; None where its code is not known."""
    said = log["eval"]
    base = name.partition("/")[0]
    configured = [one for one in said.get("scorers") or () if one.get("name") in (name, base)]
    found = configured[0] if configured else {"name": name}
    options = _plain(found.get("options") or {})
    code = _code(said, str(found.get("name")))
    if code is None:
        return None
    judge: dict[str, Any] | None = None
    if base.startswith(_GRADED):
        judge = {"model": _judge(said, options.pop("model", None))}
        judge |= {"prompt": options.pop("template")} if options.get("template") else {}
    return scorer_entry(
        name, code=code, judge=judge, parameters={"options": options}, values=VALUES
    )


def _code(said: Log, name: str) -> dict[str, str] | None:
    packages = said.get("packages") or {}
    package = name.partition("/")[0] if "/" in name else PACKAGE if name in _OWN else ""
    if package in packages:
        return {"package": package, "version": str(packages[package]), "name": name}
    revision = said.get("revision") or {}
    if revision.get("commit") and revision.get("dirty") is False:
        return {"commit": str(revision["commit"]), "name": name}
    return None


def _judge(said: Log, model: Any) -> str:
    """Return the model that grades: the option, the role of a grader, or the model under test."""
    for one in (model, (said.get("model_roles") or {}).get("grader"), said.get("model")):
        if isinstance(one, str) and one:
            return one
        if isinstance(one, dict) and one.get("model"):
            config = one.get("config") or {}
            # Texts in it by their digest alone: a judge's model is one line, not content.
            settled = json.dumps(pinned(_plain(config))[0], sort_keys=True) if config else ""
            return f"{one['model']}{settled}"
        if isinstance(one, list) and one:
            return ", ".join(_judge(said, each) for each in one)
    return "unknown"


def _plain(value: Any) -> Any:
    """Return *value* without what is null or a stand-in for objects of the process."""
    if isinstance(value, dict):
        return {
            str(key): _plain(one)
            for key, one in value.items()
            if one is not None and key not in _DROPPED
        }
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _check_whole(path: Path, log: Log, *, is_partial: bool) -> None:
    if log.get("status") == _SUCCESS or is_partial:
        return
    error = (log.get("error") or {}).get("message", "")
    why = f": {error[:200]}" if error else ""
    raise LogError(
        path,
        f"its status is {str(log.get('status'))[:40]!r}{why}; what is missing would not be seen.",
        hint="Import a finished run, or say --partial: its suite is then what was asked.",
    )


def _check_number(path: Path, log: Log, gathered: _Gathered, *, is_partial: bool) -> None:
    dataset, config = log["eval"].get("dataset") or {}, log["eval"].get("config") or {}
    number = len(dataset.get("sample_ids") or ()) * int(config.get("epochs") or 1)
    if not gathered.number:
        raise LogError(path, "it has no samples.", hint="Run Inspect with --log-samples.")
    if number and number != gathered.number and not is_partial:
        raise LogError(
            path,
            f"it has {gathered.number:,} of {number:,} samples.",
            hint="Import a finished run, or say --partial: its suite is then what was asked.",
        )


def _unix_nano(path: Path, text: object) -> str:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError as error:
        raise LogError(path, f"its time is {str(text)[:40]!r}, which is none.") from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return str(max(0, round(moment.timestamp() * 1_000_000)) * 1000)
