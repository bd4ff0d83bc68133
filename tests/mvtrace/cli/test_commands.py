"""The commands as people and scripts run them: real processes, a real collector, exit codes."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import Running, collector
from stored import Filler, new_store
from story import REINDEXED, SYSTEM, TRACE, record, request_id

from mvtrace.cli.main import cli
from mvtrace.resources import schema_root
from mvtrace.version import __version__

FIRST = request_id(0)
HEAVY = ("clickhouse_connect", "chdb", "rich", "starlette", "pandas", "numpy", "pyarrow", "httpx")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store that holds a few requests."""
    made = tmp_path_factory.mktemp("cli")
    with new_store(f"chdb://{made / 'store'}") as store:
        fill = Filler(store)
        fill.system()
        fill.request(record())
        fill.request(record(1, aliases=record().aliases))
        fill.request(record(2, index=REINDEXED.digest, outcome="error", status_code=500))
    return made


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[Running]:
    with collector(folder) as one:
        yield one


def run(
    *arguments: str, environ: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "mvtrace", *arguments]
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MVTRACE_")}
    return subprocess.run(
        command, capture_output=True, check=False, timeout=60, env=kept | (environ or {})
    )


def output(*arguments: str, environ: dict[str, str] | None = None) -> str:
    done = run(*arguments, environ=environ)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def failure(*arguments: str, environ: dict[str, str] | None = None) -> tuple[int, str]:
    done = run(*arguments, environ=environ)
    assert done.stdout == b""
    return done.returncode, done.stderr.decode().split("\n", 1)[0]


@pytest.mark.parametrize("text", [FIRST, TRACE, f"trace:{TRACE}", "resp-0", "response:resp-0"])
def test_explain_by_any_id(running: Running, text: str) -> None:
    """
    Each id leads to the request; the text starts with the line about it.
    """
    assert output("explain", text, "--url", running.url).startswith(f"request {FIRST}   POST /ask")


def test_explain_in_other_forms(running: Running) -> None:
    """
    JSON for programs, Markdown for tickets; a drift is told in each.
    """
    one = request_id(2)

    as_json = json.loads(output("explain", one, "--json", environ={"MVTRACE_URL": running.url}))

    assert as_json["findings"][0]["code"] == "drift"
    assert json.loads(output("explain", one, "--format", "json", "--url", running.url)) == as_json
    assert "index faq: queried as" in output(
        "explain", one, "--format", "markdown", "--url", running.url
    )


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (("explain", request_id(9)), 1, "error: request-not-found"),
        (("explain", "client-0"), 1, "error: ambiguous-id"),
        (("explain", "trace:zz"), 2, "error: malformed-id"),
        (("explain", ""), 2, "error: malformed-id"),
        (("explain",), 2, "error: usage"),
        (("explain", FIRST, "--wait", "9"), 2, "error: usage"),
        (("explain", FIRST, "--store", "chdb:///x"), 2, "error: usage"),
        (("find", "--since", "yesterday"), 2, "error: filter"),
        (("find", "--version", "00000000"), 1, "error: version-not-found"),
        (("find", "--version", "123"), 2, "error: filter"),
        (("sql", "SELEC 1"), 2, "error: statement-failed"),
        (("sql", "SELECT * FROM system.tables"), 2, "error: query-refused"),
        (("nonsense",), 2, "error: usage"),
    ],
)
def test_failures(running: Running, arguments: tuple[str, ...], code: int, line: str) -> None:
    """
    1: not found, 2: wrong use; stdout stays empty and stderr says which error it is.
    """
    url = () if arguments == ("nonsense",) else ("--url", running.url)

    assert failure(*arguments, *url) == (code, line)


def test_nobody_answers() -> None:
    """
    Without a collector the exit code is 3.
    """
    for command in (("explain", FIRST), ("find",), ("sql", "SELECT 1")):
        assert failure(*command, "--url", "http://127.0.0.1:9") == (
            3,
            "error: collector-unreachable",
        )
    assert failure("explain", FIRST, "--url", "127.0.0.1") == (2, "error: configuration")


def test_somebody_else_answers(running: Running) -> None:
    """
    A server that is no collector is told apart from one that is.
    """
    done = run("explain", FIRST, "--url", f"{running.url}/elsewhere")

    assert done.returncode == 1
    assert b"Not Found" in done.stderr


def test_find(running: Running) -> None:
    """
    Lists are tables for people and JSON for programs.
    """
    lines = output("find", "--url", running.url).splitlines()
    assert [line[:36] for line in lines[1:4]] == [request_id(number) for number in (2, 1, 0)]

    found = json.loads(output("find", "--error", "--route", "/ask", "--json", "--url", running.url))
    assert [one["request_id"] for one in found["requests"]] == [request_id(2)]


def test_sql_formats(running: Running) -> None:
    """
    A table for people, csv with a header line only on demand, JSON rows, and Parquet.
    """
    query = "SELECT toUInt32(1) AS n, 'a,b' AS t, NULL AS nothing"

    def sql(*more: str) -> str:
        return output("sql", query, "--url", running.url, *more)

    assert sql() == "n   t     nothing\n1   a,b   NULL\n"
    assert sql("--format", "csv") == '1,"a,b",\\N\n'
    header, row = csv.reader(io.StringIO(sql("--format", "csv", "--header")))
    assert (header, row[:2]) == (["n", "t", "nothing"], ["1", "a,b"])
    assert json.loads(sql("--format", "json")) == [{"n": 1, "t": "a,b", "nothing": None}]
    parquet = run("sql", "SELECT 1 AS n", "--url", running.url, "--format", "parquet").stdout
    assert parquet[:4] == parquet[-4:] == b"PAR1"


def test_sql_of_ids_and_escapes(running: Running) -> None:
    """
    Bytes that are no text and signs that steer a terminal are shown as escapes, in a table and in
    JSON.
    """
    query = "SELECT unhex('ff41') AS id, char(27, 0xc2, 0x9b, 0xe2, 0x80, 0xa8, 0xc2, 0x85) AS t"

    def sql(*more: str) -> str:
        return output("sql", query, "--url", running.url, *more)

    assert sql() == "id      t\n\\xffA   \\x1b\\x9b\\u2028\\x85\n"
    assert sql("--format", "json").removesuffix("\n").isprintable()
    assert json.loads(sql("--format", "json")) == [{"id": "\ufffdA", "t": "\x1b\x9b\u2028\x85"}]


@pytest.mark.parametrize("more", [("--format", "csv"), ("--format", "json")])
def test_sql_on_a_terminal(running: Running, more: tuple[str, ...]) -> None:
    """
    No format lets a stored value steer the terminal it is written to.
    """
    query = "SELECT char(27, 0xc2, 0x9b) AS t, unhex('ff') AS b"
    master, terminal = os.openpty()
    command = [sys.executable, "-m", "mvtrace", "sql", query, "--url", running.url, *more]

    subprocess.run(command, stdout=terminal, check=True, timeout=60)
    os.close(terminal)
    shown = os.read(master, 4096).decode()
    os.close(master)

    assert shown.endswith("\r\n")
    assert shown.removesuffix("\r\n").isprintable()


def test_sql_of_no_rows(running: Running) -> None:
    """
    No rows are an empty table, an empty csv and an empty list.
    """
    query = "SELECT 1 AS n WHERE 0"

    assert output("sql", query, "--url", running.url) == "n\n"
    assert output("sql", query, "--url", running.url, "--format", "csv") == ""
    assert output("sql", query, "--url", running.url, "--format", "json") == "[]\n"


def test_sql_that_names_its_format(running: Running) -> None:
    """
    A statement's own FORMAT is kept, and its bytes come out as they are.
    """
    query = "SELECT 1 AS n FORMAT JSONEachRow"

    assert output("sql", query, "--url", running.url) == '{"n":1}\n'


def test_store_in_use(running: Running, folder: Path) -> None:
    """
    Beside a running collector its embedded store is not opened: the owner and the way are named.
    """
    done = run("explain", FIRST, "--store", f"chdb://{folder / 'store'}")

    assert done.returncode == 3
    assert f"process {running.process.pid} that listens on {running.url}".encode() in done.stderr
    assert f"--url {running.url}".encode() in done.stderr


def test_store_directly(tmp_path: Path) -> None:
    """
    Without a collector the same commands read a store; migrate makes its tables.
    """
    dsn = f"chdb://{tmp_path / 'store'}"
    tables = sorted(path.stem for path in (schema_root() / "clickhouse").glob("*.sql"))

    first = output("migrate", "--store", dsn)
    assert [line for line in first.splitlines() if line.startswith("applied")] == [
        f"applied {name}" for name in tables
    ]
    assert output("migrate", environ={"MVTRACE_STORE": dsn}) == "The tables are up to date.\n"
    with new_store(dsn) as store:
        Filler(store, "shop").request(record())
    project = {"MVTRACE_PROJECT": "shop"}
    assert output("explain", "client-0", "--store", dsn, environ=project).startswith("request ")
    assert FIRST in output("find", "--store", dsn, environ=project)
    assert failure("explain", FIRST, "--store", dsn) == (1, "error: request-not-found")
    count = output("sql", "SELECT count() AS n FROM requests", "--store", dsn, "--format", "csv")
    assert count == "1\n"


def test_collector_without_a_store() -> None:
    """
    A collector that is not told where to store says so.
    """
    assert failure("collector") == (2, "error: configuration")


def test_version() -> None:
    """
    The version is that of the distribution.
    """
    assert output("version") == f"mvtrace {__version__}\n"


def test_explain_starts_light(running: Running) -> None:
    """
    Asking a collector imports no database client, no engine and no web framework.
    """
    check = (
        "import sys\nfrom mvtrace.cli.main import run\n"
        f"code = run(['explain', {FIRST!r}, '--url', {running.url!r}])\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules], code, file=sys.stderr)"
    )

    done = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, check=True, text=True, timeout=60
    )

    assert done.stderr == "[] 0\n"


def test_no_colour_in_a_pipe(running: Running) -> None:
    """
    What is piped has no colour codes.
    """
    assert "\x1b" not in output("explain", request_id(2), "--url", running.url)


def test_reader_that_has_enough(running: Running) -> None:
    """
    A pipe that is closed early is no error.
    """
    command = f"{sys.executable} -m mvtrace explain {FIRST} --url {running.url} | head -c 1"

    done = subprocess.run(command, shell=True, capture_output=True, check=True, timeout=60)

    assert done.stdout == b"r"
    assert done.stderr == b""


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_every_command_has_help(name: str) -> None:
    """
    Each command says what it is for; all but the plainest give an example.
    """
    command = cli.commands[name]

    assert command.help
    assert name == "version" or f"mvtrace {name}" in (command.epilog or "")


def test_system_is_registered(running: Running) -> None:
    """
    A version is found by its first digits.
    """
    found = json.loads(
        output("find", "--version", SYSTEM.version[:8], "--json", "--url", running.url)
    )

    assert len(found["requests"]) == 3
