"""Whatever strangers send, what a command prints does nothing but show itself.

A real collector holds hostile texts in every field that others choose; each command of the command
line that shows stored data is run, in each of its forms, and every byte of its output is looked at.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import logging
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from certified import a_certificate
from compared import BASELINE, CANARY, Memory, store_rows
from isolation_commands import COMMANDS
from processes import Running, collector
from rollups import STARTED, rolled_up
from stored import Filler, drifted, new_store
from story import REINDEXED, SYSTEM, calls, decision, part, record, request_id, snapshot
from warm import Commands, warm_commands

from mvtrace.cli.inert import inert, inert_csv, inert_lines, json_text, markdown_text
from mvtrace.comparing.events import entry_of_plan
from mvtrace.comparing.looking import Asked, take
from mvtrace.digest import canonical_bytes
from mvtrace.errors import AmbiguousIdError
from mvtrace.quality.plan import Metric, Plan
from mvtrace.records import Alias, RetrievedDocument
from mvtrace.registry.entries import Entry
from mvtrace.registry.evals.results import Pinned, Result
from mvtrace.scores import Score
from mvtrace.store import Store
from mvtrace_collector.logs import JsonLines, TextLines

LIVE = {
    "colour": "a\x1b[31mred\x1b[0m",
    "clear": "a\x1b[2J\x1b[H\x1bc",
    "title": "a\x1b]0;owned\x07b",
    "link": "a\x1b]8;;http://e.vil\x1b\\click\x1b]8;;\x1b\\",
    "c1": "a\x9b31m\x9d8;;x\x9c",
    "bidi": "a\u202egpj.exe\u2066\u2069",
    "hidden": "a\u200b\u200d\u3164\u034f\ufeff\U000e0041",
    "lines": "a\nhint: run this\r\nerror: no\u2028x\u2029y\x85z",
    "markup": "[bold red]a[/] [link=http://e.vil]x[/link]",
    "markdown": "# a\n- [x](http://e.vil) ![i](http://e.vil/i.png) <img src=x onerror=y> @you www.e.vil",
    "table": "a | b || c \\| d ` e",
    "html": "</script><script>alert(1)</script><!-- &lt;",
    "formula": "=cmd|'/c calc'!A1",
    "plus": "+1+cmd",
    "minus": "-2+3+cmd",
    "at": "@SUM(1)",
    "tab": "\t=1+1",
    "return": "\r=1+1",
    "wide": "\uff1d1+1",
    "nul": "a\0b",
    "long": "x" * 100_000,
}
ALL = " ".join(text for name, text in LIVE.items() if name != "long")
OTHER = SYSTEM.with_part(
    part("prompt", "answer", {"template": ALL.encode(), ALL: ALL}, ALL)
).with_part(part("router", "route", {"policy": {ALL: [ALL]}, "candidates": [{ALL: ALL}]}))
"""A version whose texts and facts are hostile."""
FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")
SHOWING = (
    *("scores list", "scores pending"),
    *("explain", "find", "gaps", "sql", "status", "verify", "content", "keys list", "keys create"),
    *("keys revoke", "access", "deployments", "drift", "affected"),
    *("lineage show", "experiment list", "show", "log", "diff", "leakage show", "leakage list"),
    *("dataset add", "dataset list", "dataset show", "dataset verify", "dataset diff"),
    *("dataset transform", "eval list", "eval show", "eval compare", "eval rescore-plan"),
    *("eval record", "eval import", "retention plan"),
    *("compare", "plan new", "plan list", "verdicts", "canary status"),
)
WITHOUT_DATA = {
    "collector", "demo", "migrate", "proxy", "sbom", "version", "watch", "erase",
}  # fmt: skip
"""Commands that print nothing which others chose: their own words, and counts."""
DECIDING = {
    *("deploy", "promote", "revert", "rollback", "scores import", "keys rotate"),
    *("canary start", "canary promote", "canary revert"),
    *("lineage record", "experiment start", "experiment add", "pin", "leakage check"),
    *("eval suite", "eval scorer", "retention apply", "retention restore"),
    *("plan check", "plan register"),
}
"""Commands that change something, and print what they were given; they print through listing.write,
which is tested as such."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which each request has one hostile text in all its fields."""
    made = tmp_path_factory.mktemp("inert")
    with new_store(f"chdb://{made / 'store'}") as store:
        fill = Filler(store)
        labelled = tuple(replace(part, label=ALL) for part in SYSTEM.parts)
        fill.system(replace(SYSTEM, name=ALL, parts=labelled))
        fill.system(OTHER)
        place = {"artifact": "c" * 64, "uri": ALL[:200], "bytes": 1}
        place |= {"kind": "artifact", "schema_version": 1}
        fill.entry(Entry("artifact", "sha256:" + "c" * 64, canonical_bytes(place)))
        for number, text in enumerate(LIVE.values()):
            fill.request(hostile(number, text))
            fill.quarantine(request_id(number), text[:200], text)
            for scored in (request_id(number), request_id(900 + number)):
                fill.score(hostile_score(scored, text))
        fill.content_of(request_id(0), subject=ALL[:50])
        fill.gap(service=ALL)
        for kind in ("dataset", "experiment"):
            said = {"name": ALL, "branch": ALL, "root": "d" * 64, "kind": kind, "schema_version": 1}
            said |= {"uri": ALL, "format": ALL, "columns": {ALL: [{ALL: "int"}]}}
            fill.entry(Entry(kind, "sha256:" + "e" * 64, canonical_bytes(said)))
        fill.entry(a_certificate("qa", ALL))
        for parent in (f"experiment:{'e' * 64}", f"dataset:{'d' * 64}"):
            fill.edge(f"composite:{SYSTEM.version}", parent, ALL[:60], "sha256:" + "f" * 64)
        for number, kind in enumerate(("suite", "scorer")):
            said = {"name": ALL, "version": ALL, "kind": kind, "schema_version": 1, ALL: [ALL]}
            said |= {"examples": {"root": "d" * 64, "count": 9}} if kind == "suite" else {}
            fill.entry(Entry(kind, "sha256:" + str(number) * 64, canonical_bytes(said)))
        for number, scorer in enumerate(("1" * 64, "1" * 64, f"undeclared:{ALL}/x")):
            version = OTHER.version if number == 1 else SYSTEM.version
            pinned = Pinned(composite=version, suite="0" * 64, scorer=scorer)
            results = [Result(text[:99], value=0.5, cluster=text[:99]) for text in LIVE.values()]
            results += [Result(text[:99], repeat=1, label=text[:99], cluster=text[:99],
                               request_id=request_id(n))
                        for n, text in enumerate(LIVE.values())]  # fmt: skip
            fill.results(pinned, results, str(number) * 64)
        for text in (ALL, *LIVE.values()):
            fill.drift(service=text)
        fill_comparisons(store, fill)
    return made


def fill_comparisons(store: Store, fill: Filler) -> None:
    """Store a comparison whose names strangers chose, a look at it, and what calls itself one."""
    names = sorted({text[:100] for text in LIVE.values() if text[:100].isprintable()})
    found = rolled_up(dict.fromkeys(names, (0.9, 0.2)), requests=100, hours=2, share=0.5)
    scorers = dict.fromkeys(names, f"undeclared:user/{ALL}")
    hour = int(time.time()) // 3600 - 2
    store_rows(store, found, first_hour=hour, scorers=scorers)
    plan = Plan(name=names[0], metrics=tuple(Metric(name=name, kind="rate", margin=0.1)
                                             for name in names))  # fmt: skip
    fill.entry(entry_of_plan(plan))
    place = Memory(found)
    until = (STARTED + 2) * 3600
    take(place, Asked(baseline=BASELINE, canary=CANARY, until=until), plan, keep=place.keep)
    fill.verdict(place.kept[-1].body.encode())
    said = {"baseline": ALL, "candidate": ALL, "digest": ALL, "plan_digest": ALL, "before": [ALL]}
    said |= {"decision": ALL, "reason": ALL, "sentence": ALL, "service": ALL, "environment": ALL}
    said |= {"plan": {"name": ALL}, "sufficient": {"arms": ALL}, "schema_version": 1}
    fill.verdict(json.dumps(said).encode())


def hostile_score(request: str, text: str) -> Score:
    """Return a score whose texts a stranger chose; the store holds what no sender may send."""
    score = Score(request_id=request, name="n", label="l", source="s")
    for name in ("name", "label", "source"):
        object.__setattr__(score, name, text[:200])
    return score


def hostile(number: int, text: str) -> object:
    shot = snapshot(
        REINDEXED.digest, text, documents=(RetrievedDocument(id=text, score=1.0),), metric=text
    )
    return record(
        number,
        service=text,
        environment=text,
        route=f"/{text}",
        method=text[:40],
        arm=text,
        conversation_id=text,
        error_type=text,
        outcome="error",
        aliases=(
            Alias(kind="x-request-id", value="shared"),
            Alias(kind="x-request-id", value=text),
        ),
        calls=calls(number, model_served=text, finish_reason=text, response_id=text, provider=text),
        router_decisions=(decision(chosen=text, reason=text, fallbacks=(text,)),),
        index_snapshots=(shot,),
    )


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[Running]:
    with collector(folder) as one:
        yield one


def spool_in(folder: Path) -> Path:
    """Return a spool folder with names and an answer that a stranger chose."""
    spool = folder / "spool\x1b[2J\u202e"
    for name in ("00000000-0000-7000-8000-000000000001", "\x1b]0;x\x07", "=1+1"):
        (spool / name).mkdir(parents=True, exist_ok=True)
        (spool / name / "answer").write_text(json.dumps({"verdict": ALL, "at": 1, "text": ALL}))
        (spool / name / "00000001.seg").write_bytes(ALL.encode())
    return spool


def hostile_lines(folder: Path) -> Path:
    """Return a file of results whose names a stranger chose."""
    path = folder / "results\x1b[2J.jsonl"
    lines = ({"example": text, "value": 1, text: text} for text in LIVE.values())
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def commands(folder: Path) -> dict[str, list[list[str]]]:
    """Return, for each command that shows stored data, how it is asked."""
    texts = [["--json"], []]
    sql = "SELECT service, route, arm, record, -1 AS n FROM requests"
    return {
        "explain": [
            [request_id(number), "--wait", "0", "--format", form]
            for number in range(len(LIVE))
            for form in ("text", "markdown", "json")
        ]
        + [["shared", "--wait", "0"], ["\x1b[2J", "--wait", "0"]],
        "find": [*texts, ["--service", ALL.replace("\0", "")], ["--route", "\x1b[2J"]],
        "gaps": texts,
        "sql": [
            *([sql, "--format", form] for form in ("table", "csv", "json")),
            ["SELECT labels, name FROM composites", "--format", "csv", "--header"],
            ["SELECT service AS `=1+1` FROM requests", "--format", "csv", "--header"],
            ["SELECT * FROM quarantine FORMAT CSVWithNames"],
            ["SELECT \x1b[2J"],
        ],
        "status": [
            ["--spool", str(spool_in(folder))],
            ["--spool", str(spool_in(folder)), "--json"],
        ],
        "verify": texts,
        "content": [[request_id(0)], [request_id(0), "--json"], [ALL.replace("\0", "")]],
        "keys list": texts,
        "keys create": [
            ["--scope", "read", "--project", "\x1b[2J", "--label", ALL.replace("\0", "")]
        ],
        "keys revoke": [["\x1b[2J"]],
        "access": texts,
        "deployments": texts,
        "canary status": [*texts, ["--all"], ["--service", ALL.replace("\0", ""), "--all"]],
        "drift": [*texts, ["--service", ALL.replace("\0", "")]],
        "retention plan": [
            *(["--out", str(folder / "plan.json"), "--root", "/models", *form] for form in texts),
            ["--policy", str(folder / "\x1b[2J")],
            ["--root", ALL.replace("\0", "")],
        ],
        "show": [
            *([SYSTEM.version, *form] for form in ([], ["--texts"], ["--json"])),
            [request_id(5)],
            ["component:" + SYSTEM.part("prompt/answer").digest, "--json"],
            ["component:" + SYSTEM.part("prompt/answer").digest],
            ["experiment:" + "e" * 64],
            ["artifact:" + "c" * 64],
            [OTHER.version, "--texts"],
            [ALL.replace("\0", "")],
            ["\x1b[2J@now"],
        ],
        "log": [*texts, ["--environment", "production"]],
        "diff": [
            [SYSTEM.version, OTHER.version],
            [SYSTEM.version, OTHER.version, "--json"],
            [request_id(5), "\x1b[2J"],
        ],
        "compare": [
            [BASELINE, CANARY, "--no-keep", "--plot", "all"],
            [BASELINE, CANARY, "--no-keep", "--json"],
            ["stable", "canary", "--arms", "--no-keep"],
            [ALL.replace("\0", ""), "x"],
            [ALL.replace("\0", ""), "\x1b[2J", "--arms"],
            [BASELINE, CANARY, "--plan", "\x1b[2J"],
        ],
        "plan new": [
            [BASELINE],
            [BASELINE, "--json"],
            [BASELINE, "--name", "\x1b[2J"],
            ["\x1b[2J", "--arms"],
        ],
        "plan list": texts,
        "verdicts": [*texts, ["--check"], ["--version", "\x1b[2J"], ["--service", "\x1b[2J"]],
        "lineage show": [
            *([request_id(5), "--requests", *form] for form in ([], ["--json"])),
            *([f"dataset:{'d' * 64}", *form] for form in ([], ["--json"], ["--format", "dot"])),
            [ALL.replace("\0", "")],
            ["\x1b[2J"],
        ],
        **dataset_commands(folder),
        "leakage show": [[ALL.replace("\0", "")], ["qa", "--json"], ["qa"], ["\x1b[2J"]],
        "leakage list": texts,
        "scores list": [
            *([*form, "--since", "9999d"] for form in texts),
            ["--request", "\x1b[2J"],
            ["--since", "\x1b[2J"],
            ["--name", ALL.replace("\0", ""), "--since", "9999d"],
        ],
        "scores pending": [[*form, "--since", "9999d"] for form in texts],
        "eval list": [*texts, ["--suite", "\x1b[2J"]],
        "eval show": [
            *(
                [f"{kind}:{digit * 64}", *form]
                for kind, digit in (("suite", "0"), ("scorer", "1"))
                for form in texts
            ),
            [ALL.replace("\0", "")],
        ],
        "eval compare": [
            [SYSTEM.version, OTHER.version],
            [SYSTEM.version, OTHER.version, "--json"],
            [SYSTEM.version, "9" * 64],
            [SYSTEM.version, "9" * 64, "--suite", "0" * 64, "--scorer", "1" * 64],
            ["\x1b[2J", "x"],
        ],
        "eval rescore-plan": [["--suite", "0" * 64, *form] for form in texts],
        "eval record": [
            [
                *(str(hostile_lines(folder)), "--version", "9" * 64, "--suite", "0" * 64),
                *("--scorer", scorer),
            ]
            for scorer in ("1" * 64, "undeclared:\x1b[2J/x")
        ],
        "eval import": [[str(hostile_lines(folder)), "--version", "9" * 64]],
        "experiment list": [*texts, [ALL.replace("\0", "")]],
        "affected": [
            *([request_id(5), *form] for form in ([], ["--list"], ["--json"])),
            [drifted("default", ALL).id, "--sql"],
            [f"index/{ALL}".replace("\0", "")],
            ["\x1b[2J"],
        ],
    }


def dataset_commands(folder: Path) -> dict[str, list[list[str]]]:
    """Return how the commands of datasets are asked: names, paths and cells are a stranger's."""
    hostile = folder / "\x1b[31m\u202e.csv"
    hostile.write_text(f"a\n{LIVE['html']}\n", "utf-8")
    torn = folder / "\x1b[2J.jsonl"
    torn.write_text('{"a": \x1b[2J}', "utf-8")
    (folder / "program.sh").write_text("true")
    unread = ["--columns", "a:int", "--dry-run"]
    step = ["--in", str(hostile), "--out", str(torn), "--code", str(folder / "program.sh")]
    return {
        "dataset list": [["--json"], []],
        "dataset show": [["d" * 64], ["d" * 64, "--json"], [ALL.replace("\0", "")], ["\x1b[2J"]],
        "dataset add": [[str(hostile), *unread], [str(torn), *unread], [str(hostile), "--dry-run"]],
        "dataset verify": [[str(hostile), "d" * 64], [str(torn), "d" * 64]],
        "dataset diff": [[str(hostile), "d" * 64], [str(torn), str(hostile)]],
        "dataset transform": [[*step, "--", "\x1b[2J"]],
    }


@pytest.fixture(scope="module")
def warm() -> Iterator[Commands]:
    with warm_commands() as one:
        yield one


def written(running: Running, warm: Commands, name: str, arguments: list[str]) -> tuple[str, str]:
    environ = {key: value for key, value in os.environ.items() if not key.startswith("MVTRACE_")}
    done = warm.run([*name.split(), *arguments, "--url", running.url], environ)
    assert "Traceback" not in done.errors, done.errors[-2000:]
    return done.output, done.errors


def check_shows_only(text: str) -> None:
    """Assert that no sign of *text* does anything, and no line of it is a stranger's."""
    for line in text.split("\n"):
        assert line.isprintable(), ascii(line[:300])
        assert not line.startswith(("hint: run", "error: no", "- [x]")), line
    assert not re.search("[\u3164\u034f]", text)


def test_every_command_is_looked_at(tmp_path: Path) -> None:
    """
    Each command is run below, or is listed as one that shows nothing which others chose.
    """
    looked_at = set(commands(tmp_path))

    assert looked_at == {*SHOWING}
    assert COMMANDS.keys() - looked_at - WITHOUT_DATA - DECIDING == set()
    assert not looked_at & (WITHOUT_DATA | DECIDING)


@pytest.mark.parametrize("name", SHOWING)
def test_output_shows_and_does_nothing(
    running: Running, warm: Commands, folder: Path, name: str
) -> None:
    """
    No control, no bidirectional or hidden sign and no forged line is in what a command writes.
    """
    for arguments in commands(folder)[name]:
        output, errors = written(running, warm, name, arguments)
        assert output or errors
        is_csv = "csv" in arguments or "CSVWithNames" in " ".join(arguments)
        check_shows_only(errors)
        if is_csv:
            check_csv(output)
            continue
        check_shows_only(output)
        if "markdown" in arguments:
            check_markdown(output)
        if "--json" in arguments or "json" in arguments:
            assert json.loads(output) is not None
            assert "<" not in output


def check_csv(text: str) -> None:
    csv.field_size_limit(1 << 24)  # a record with a long text in each of its fields is one cell
    rows = list(csv.reader(io.StringIO(text)))
    cells = [cell for row in rows for cell in row]
    assert len(cells) > 1
    assert [cell for cell in cells if cell.startswith(FORMULAS) and not is_number(cell)] == []


def is_number(text: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?", text) is not None


def check_markdown(text: str) -> None:
    assert not re.search(r"(?<!\\)[<`]|\]\(|(?<!\\)\]\(|@\w|[^\\]:/|www\.", text)
    assert not re.search(r"^(#|[-+*] [-+*#]|\d+\.)\s", text.replace("### ", "", 1), re.MULTILINE)


def test_exact_csv_is_the_engines(running: Running, warm: Commands) -> None:
    """
    With --exact the texts of a CSV are those that are stored.
    """
    asked = ["SELECT service FROM requests WHERE service LIKE '=cmd%'", "--format", "csv"]

    assert written(running, warm, "sql", asked)[0] == "\"'=cmd|'/c calc'!A1\"\n"
    assert written(running, warm, "sql", [*asked, "--exact"])[0] == "\"=cmd|'/c calc'!A1\"\n"


def test_a_terminal_gets_bytes_of_any_format_inert(running: Running) -> None:
    """
    Also a result in a format that the statement names is shown line by line, where it is a terminal.
    """
    parent, child = pty.openpty()
    sql = "SELECT service FROM requests WHERE service != '' AND length(service) < 1000 FORMAT TSV"
    done = subprocess.Popen(
        [sys.executable, "-m", "mvtrace", "sql", sql, "--url", running.url],
        stdout=child, stderr=child,
    )  # fmt: skip
    os.close(child)
    shown = b""
    with contextlib.suppress(OSError):  # how a terminal says that nobody writes any more
        while part := os.read(parent, 65536):
            shown += part
    os.close(parent)
    done.wait(60)

    check_shows_only(shown.decode().replace("\r\n", "\n"))
    assert b"\\x1b" in shown


@pytest.mark.parametrize("text", LIVE.values(), ids=list(LIVE))
def test_each_text_by_each_way(text: str) -> None:
    """
    One text after another: as a cell, in Markdown, in JSON, in CSV, in a log line, in an error.
    """
    check_shows_only(inert(text))
    assert "\n" not in inert(text)
    check_markdown(f"- {markdown_text(text)}")
    assert json.loads(json_text(text)) == text
    assert "<" not in json_text(text)
    check_shows_only(json_text([text], indent=None))
    cell = '"' + text.replace('"', '""') + '"'
    check_shows_only(inert(inert_csv(cell.encode()).decode()))
    [[shown]] = csv.reader(io.StringIO(inert_csv(cell.encode()).decode(), newline=""))
    assert not shown.startswith(FORMULAS)
    assert shown.removeprefix("'") == text
    listed = AmbiguousIdError("x", [text], total=1).message.split("\n")
    assert len(listed) == 2


@pytest.mark.parametrize("form", [JsonLines, TextLines])
@pytest.mark.parametrize("text", LIVE.values(), ids=list(LIVE))
def test_logs_are_lines(form: type[logging.Formatter], text: str) -> None:
    """
    A log line with a hostile text as message, argument and data is one line of printable signs.
    """
    one = logging.LogRecord("x", logging.WARNING, "f", 1, "Said %s", (text,), None)
    other = logging.LogRecord("x", logging.WARNING, "f", 1, text.replace("%", ""), (), None)
    one.mvtrace_data = {"service": text}

    for entry in (one, other):
        line = form().format(entry)
        assert line.isprintable()
        if form is JsonLines:
            assert json.loads(line)["level"] == "warning"


def test_what_a_command_forgets_is_caught_at_the_end() -> None:
    """
    What reaches stdout without having been made inert is made so there; our own colours stay.
    """
    assert inert_lines("a\x1b[2J\nb\u202e") == "a\\x1b[2J\nb\\u202e"
    assert inert_lines("\x1b[1mhead\x1b[0m\na\x9b1m") == "\x1b[1mhead\x1b[0m\na\\x9b1m"
    assert inert_lines("plain\ntext\n") == "plain\ntext\n"


def test_numbers_of_a_csv_stay_numbers() -> None:
    """
    What is no text is left alone: a negative number is no formula.
    """
    assert inert_csv(b'-1,"-1","a ""=b""",""\n') == b'-1,"\'-1","a ""=b""",""\n'
