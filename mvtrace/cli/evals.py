"""``mvtrace eval``: suites and scorers by digest, and results pinned to them and to a version.

In: a file of examples, code or a judge, a file of results or another tool's log. Out: entries, and
the command returns when they are stored; what is recorded twice is there once. What does not fit
its suite is refused before anything is sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from mvtrace.cli import listing
from mvtrace.cli.errors import CommandLineError
from mvtrace.cli.eval_compare import compare, rescore_plan_
from mvtrace.cli.eval_files import read_results
from mvtrace.cli.eval_show import list_, show
from mvtrace.cli.inert import inert, json_text
from mvtrace.cli.registering import Registrable, asker, register
from mvtrace.cli.words import plural, version_words
from mvtrace.errors import CheckFailedError
from mvtrace.registry.entries import Entry
from mvtrace.registry.evals import inspect_logs, lm_eval
from mvtrace.registry.evals.examples import check_fits, examples_of, suite_of
from mvtrace.registry.evals.imported import Imported
from mvtrace.registry.evals.refusing import NotComparableError, differences
from mvtrace.registry.evals.results import Pinned, Result, pieces_of
from mvtrace.registry.evals.runs import (
    registered,
    scorer_named,
    suite_named,
    version_named,
)
from mvtrace.registry.evals.scorers import (
    UNDECLARED,
    code_digest,
    scorer_entry,
    undeclared,
    values_said,
)
from mvtrace.registry.reading import Ask

URL = click.option("--url", metavar="URL", help="A collector (MVTRACE_URL, else 127.0.0.1:4318).")
JSON = click.option("--json", "as_json", is_flag=True)
DRY = click.option("--dry-run", is_flag=True, help="Read and check everything, send nothing.")
VERSION = click.option(
    "--version", "version", required=True, metavar="HEX", help="The version that answered."
)
FILE = click.Path(path_type=Path)
_MAX_CODE_BYTES: Final = 16 * 1024 * 1024


@click.group("eval", epilog="Example: mvtrace eval compare 3f2a9c01 8d1e77aa --suite capitals")
def evals() -> None:
    """Register suites and scorers, record what versions scored, compare them."""


@evals.command(epilog="Example: mvtrace eval suite capitals.jsonl --name capitals --id id")
@click.argument("file", type=FILE)
@click.option("--name", required=True)
@click.option("--version", default="", metavar="TEXT", help="What people call this state: 'v2'.")
@click.option("--id", "id_key", default="", metavar="KEY", help="What a row calls its example.")
@click.option("--cluster", "cluster_key", default="", metavar="KEY", help="What groups examples.")
@click.option("--format", "form", metavar="FORMAT", help="Where no suffix says it: jsonl, csv …")
@DRY
@JSON
@URL
def suite(*, file: Path, dry_run: bool, as_json: bool, url: str | None, **said: Any) -> None:
    """Register the examples in FILE (JSONL, CSV, Parquet, Arrow, a folder) as a suite.

    Without --id an example is called by the digest of its row. Errors of examples that share a
    --cluster (a document, an author) are taken to depend on one another.
    """
    made = suite_of(file, **said)
    if not dry_run:
        register(made.entries, url=url)
    _tell_entry(made.suite, f"{plural(made.count, 'example')}", as_json=as_json, dry_run=dry_run)


@evals.command(epilog="Example: mvtrace eval scorer --name tone --judge gpt-5 --prompt tone.txt")
@click.option("--name", required=True)
@click.option("--code", "code", type=FILE, metavar="FILE", help="The code that scores.")
@click.option("--judge", metavar="MODEL", help="The model that judges.")
@click.option("--prompt", type=FILE, metavar="FILE", help="What the judge is asked with.")
@click.option("--parameter", multiple=True, metavar="KEY=VALUE", help="May be repeated.")
@click.option("--value", multiple=True, metavar="LABEL=NUMBER", help="What a label counts.")
@click.option("--better", type=click.Choice(["higher", "lower"]), default="higher")
@DRY
@JSON
@URL
def scorer(*, name: str, dry_run: bool, as_json: bool, url: str | None, **said: Any) -> None:
    """Register what scores: its code, or a judge with its model and prompt, and parameters."""
    judge: dict[str, Any] = {"model": said["judge"]} if said["judge"] else {}
    if said["prompt"] is not None:
        judge["prompt"] = _text(said["prompt"])
    made = scorer_entry(
        name,
        code=code_digest(_file(said["code"])) if said["code"] else None,
        judge=judge or None,
        parameters=dict(_pairs(said["parameter"])),
        values={label: _number(value) for label, value in _pairs(said["value"])},
        better=said["better"],
    )
    if not dry_run:
        register([made], url=url)
    _tell_entry(made.entry, "declared", as_json=as_json, dry_run=dry_run)


@evals.command(epilog="Example: mvtrace eval record out.jsonl --version 3f2a9c01 --suite capitals "
               "--scorer tone")  # fmt: skip
@click.argument("file", type=FILE)
@VERSION
@click.option("--suite", "suite_text", required=True, metavar="SUITE")
@click.option("--scorer", "scorer_text", required=True, metavar="SCORER")
@click.option("--examples", type=FILE, metavar="FILE", help="The suite's examples: checked, and "
              "clusters taken from them.")  # fmt: skip
@DRY
@JSON
@URL
def record(*, file: Path, version: str, as_json: bool, url: str | None, **said: Any) -> None:
    """Record the results in FILE, one JSON object a line, of one run of a suite.

    A line has example, value (a number) or label (text), and may have cluster, request_id and
    repeat. A label without a value says why there is no score. Exit codes: 0 stored, 1 refused.
    """
    ask = asker(url, None)
    suite = suite_named(ask, said["suite_text"])
    scorer, values = _scorer(ask, said["scorer_text"])
    found = read_results(file, values)
    results = found.results
    if said["examples"] is not None:
        results = examples_of(said["examples"], suite).checked(results)
    check_fits(suite, results)
    pinned = Pinned(composite=version_named(ask, version), suite=_digits(suite), scorer=scorer)
    entries = pieces_of(pinned, results, recorded_at=found.written_ns)
    _record(ask, [(pinned, entries, results)], [], url=url, as_json=as_json, dry=said["dry_run"])


@evals.command("import", epilog="Example: mvtrace eval import logs/2026-11-23_capitals.eval "
               "--version 3f2a9c01")  # fmt: skip
@click.argument("path", type=FILE)
@VERSION
@click.option("--task", default="", metavar="NAME", help="Only this task of lm-eval.")
@click.option("--metric", multiple=True, metavar="NAME", help="Only this; may be repeated.")
@click.option("--cluster", "cluster_key", default="", metavar="KEY", help="What groups examples.")
@click.option("--suite", "suite_text", metavar="SUITE", help="Refuse a log of another suite.")
@click.option("--scorer", "scorer_text", metavar="SCORER", help="What scored, where the log does "
              "not say; with one --metric.")  # fmt: skip
@click.option("--partial", "is_partial", is_flag=True, help="Also of an unfinished run of Inspect.")
@DRY
@JSON
@URL
def import_(*, path: Path, version: str, as_json: bool, url: str | None, **said: Any) -> None:
    """Record what another tool scored: a folder of lm-eval, or a log of Inspect.

    lm-eval: run it with --log_samples. Inspect: .eval or .json. Suites and scorers are registered
    from the log. Plain lines of results are recorded with 'mvtrace eval record'.
    """
    ask = asker(url, None)
    found = _logged(path, said)
    composite = version_named(ask, version)
    wanted = suite_named(ask, said["suite_text"]) if said["suite_text"] else None
    declared = _scorer(ask, said["scorer_text"])[0] if said["scorer_text"] else ""
    if declared and len(found) != 1:
        names = ", ".join(one.scorer_name for one in found)
        raise CommandLineError(
            f"--scorer names one scorer, and the log has results of {len(found)}: {names}.",
            hint="Say with --metric which of them it is.",
        )
    runs: list[tuple[Pinned, list[Entry], Sequence[Result]]] = []
    others: list[Registrable] = []
    for one in found:
        _check_suite(one, wanted)
        scored_by = declared or (
            _digits(one.scorer.entry) if one.scorer else undeclared(one.tool, one.scorer_name)
        )
        pinned = Pinned(composite=composite, suite=_digits(one.suite), scorer=scored_by)
        entries = pieces_of(pinned, one.results, recorded_at=one.recorded_at)
        runs.append((pinned, entries, one.results))
        others += [one.suite, one.texts, *([one.scorer] if one.scorer and not declared else [])]
    _record(ask, runs, others, url=url, as_json=as_json, dry=said["dry_run"])


def _logged(path: Path, said: Mapping[str, Any]) -> list[Imported]:
    if not path.exists():
        raise CommandLineError(f"{path} is not there.", hint="It is a log of lm-eval or Inspect.")
    try:
        found = _read(path, said)
    except OSError as error:
        raise CommandLineError(f"{path} cannot be read: {error.strerror or error}.") from error
    chosen = [one for one in found if not said["metric"] or one.scorer_name in said["metric"]]
    if not chosen:
        names = ", ".join(dict.fromkeys(one.scorer_name for one in found)) or "none"
        raise CheckFailedError(f"{path} has no results of that kind; those it has: {names}.")
    return chosen


def _read(path: Path, said: Mapping[str, Any]) -> list[Imported]:
    key = said["cluster_key"]
    if lm_eval.is_results(path):
        return lm_eval.read(path, cluster_key=key, task=said["task"], metrics=said["metric"])
    if inspect_logs.is_log(path):
        return inspect_logs.read(path, cluster_key=key, is_partial=said["is_partial"])
    raise CommandLineError(
        f"{path} is no log of lm-eval (results_*.json) and none of Inspect (.eval, .json).",
        hint="Lines of results are recorded with 'mvtrace eval record'.",
    )


def _record(
    ask: Ask,
    runs: Sequence[tuple[Pinned, Sequence[Entry], Sequence[Result]]],
    others: Sequence[Registrable],
    *,
    url: str | None,
    as_json: bool,
    dry: bool,
) -> None:
    """Store runs with what they are pinned to, and say what was stored."""
    if not dry:
        register([*others, *(entry for _, entries, _ in runs for entry in entries)], url=url)
    [version] = {pinned.composite for pinned, _, _ in runs}
    is_known = bool(registered(ask, [version]))
    said = [
        {
            "version": pinned.composite,
            "suite": pinned.suite,
            "scorer": pinned.scorer,
            "run": entries[0].said["run"],
            "results": len(results),
            "unscored": sum(one.value is None for one in results),
        }
        for pinned, entries, results in runs
    ]
    if as_json:
        listing.write(json_text({"runs": said, "pending": not is_known, "stored": not dry}))
        return
    for one in said:
        listing.write(
            f"{plural(int(str(one['results'])), 'result')} of {version_words(version)} on suite "
            f"{version_words(str(one['suite']))} by {_scorer_words(str(one['scorer']))} "
            f"{'would be' if dry else 'are'} stored: run {version_words(str(one['run']))}"
            f"{_unscored(int(str(one['unscored'])))}.\n"
        )
    if not is_known:
        listing.write(f"{version_words(version)} is not registered yet: its results wait for it.\n")


def _unscored(number: int) -> str:
    return f"; {number:,} of them have no score" if number else ""


def _scorer_words(scorer: str) -> str:
    if scorer.startswith(UNDECLARED):
        return f"{inert(scorer)}, which nobody declared: they will not compare"
    return f"scorer {version_words(scorer)}"


def _tell_entry(entry: Entry, what: str, *, as_json: bool, dry_run: bool) -> None:
    if as_json:
        said = {"digest": entry.digest, "stored": not dry_run, **entry.said}
        listing.write(json_text(said))
        return
    listing.write(
        f"{entry.kind} {inert(entry.name)} ({version_words(_digits(entry))}, {what}) "
        f"{'would be' if dry_run else 'is'} stored.\n{entry.ref}\n"
    )


def _scorer(ask: Ask, text: str) -> tuple[str, Mapping[str, float]]:
    """Return the scorer that *text* names as results name it, and what its labels count."""
    if text.startswith(UNDECLARED):
        return text, {}
    entry = scorer_named(ask, text)
    return _digits(entry), values_said(entry.said)


def _check_suite(one: Imported, wanted: Entry | None) -> None:
    if wanted is None or one.suite.digest == wanted.digest:
        return
    lines = [
        f"\n  {path}: {ours}, not {theirs}"
        for path, ours, theirs in differences(one.suite.said, wanted.said)
    ]
    raise NotComparableError(
        f"The log is of another suite than {wanted.name!r} "
        f"({version_words(_digits(wanted))}):{''.join(lines[:20])}",
        hint="Import it without --suite: its suite is registered as it is.",
    )


def _pairs(texts: Iterable[str]) -> list[tuple[str, str]]:
    for text in texts:
        if "=" not in text:
            raise CommandLineError(f"{text!r} is no KEY=VALUE.", hint="For example --value C=1.")
    return [(text.partition("=")[0], text.partition("=")[2]) for text in texts]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise CommandLineError(f"{text!r} is no number.", hint="For example C=1.") from error


def _file(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            content = stream.read(_MAX_CODE_BYTES + 1)
    except OSError as error:
        raise CommandLineError(f"{path} cannot be read: {error.strerror or error}.") from error
    if len(content) > _MAX_CODE_BYTES:
        raise CommandLineError(f"{path} has more than {_MAX_CODE_BYTES:,} bytes.")
    return content


def _text(path: Path) -> str:
    try:
        return _file(path).decode()
    except UnicodeDecodeError as error:
        raise CommandLineError(f"{path} is no text in UTF-8: {error.reason}.") from error


def _digits(entry: Entry) -> str:
    return entry.digest.removeprefix("sha256:")


for _command in (compare, rescore_plan_, list_, show):
    evals.add_command(_command)
