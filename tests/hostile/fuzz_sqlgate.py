"""Fuzz the gate before SQL of others, on the real engine, against a judgement that is not its own.

The gate looks at what the parser makes of a statement. The judge lets the engine's analyzer resolve
what was let through (``EXPLAIN QUERY TREE``) and looks at which tables and functions it really
calls; then it runs the statement as the endpoint would and searches the result, or the error, for
what another project stored and for what lies in a file. Neither uses a line of the gate's code.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from fuzz_target import Target
from sql_rows import fill
from sql_statements import LEGAL_ODDITIES, REFUSED

from mvtrace.errors import MvtraceError, QueryRefusedError, StatementFailedError
from mvtrace.store import open_store
from mvtrace.store.migrations import migrate
from mvtrace_collector.sqlgate import Gate
from mvtrace_collector.sqlreaders import Limits, ReaderPool, Settings, reader_settings

OWN, OTHER = "default", "other"
IN_FILE: Final = "the-text-in-a-file-f3c9"
OF_OTHER: Final = "the-word-of-another-project-a7d1"
DATABASE: Final = "mvtrace"
IMPLIED: Final = "system.one"
"""The table of a SELECT without FROM: one row with a zero."""
FORBIDDEN: Final = re.compile(
    r"(?i)file.*|filesystem.*|url|s3.*|remote.*|dict.*|joinGet.*|sleep.*|throwIf|aggThrow|getSetting.*"
    r"|getServerSetting|getMacro|globalVariable|hostName|FQDN|fullHostName|currentUser|user|currentDatabase"
    r"|serverUUID|tcpPort|uptime|version|hasColumnInTable|evalMLMethod|catboostEvaluate|addressTo.*"
    r"|demangle|logTrace|showCertificate|reverseDNSQuery|initializeAggregation|finalizeAggregation"
    r"|runningAccumulate|formatRow.*|groupFormat|ai[A-Z].*|encrypt|decrypt.*|tryDecrypt|shell|executable"
    r"|currentProfiles|currentRoles|enabledRoles|defaultRoles|getSubcolumn|connectionId|queryID"
    r"|initialQueryID|partitionId|buildId|getOSKernelVersion|mortonEncode|displayName|query_id"
)
PARAMETERS: Final = {"p": "1", "t": "requests", "z": "1"}
_TABLE: Final = re.compile(r" *TABLE id: \d+(?:, alias: [^,]*)?, table_name: ([^,\n]+)")
_OWN_STEP: Final = re.compile(r"_temporary_and_external_tables\._tmp_[0-9a-f-]{36}")
"""What WITH RECURSIVE keeps of its steps: the engine chooses the name at random."""
_TABLE_FUNCTION: Final = re.compile(r" *TABLE_FUNCTION id: .*table_function_name: ([^,\n]+)")
_FUNCTION: Final = re.compile(r" *FUNCTION id: \d+, function_name: ([^,\n]+)")
_BOUNDS: Final = Limits(
    max_execution_time=2.0,
    max_memory_usage=256 << 20,
    max_result_rows=2000,
    max_result_bytes=4 << 20,
    max_rows_to_read=100_000,
    max_threads=1,
)


class Place(NamedTuple):
    """What the target works on."""

    gate: Gate
    readers: ReaderPool
    as_own: Settings
    folder: Path


@cache
def place() -> Place:
    """Return a store of two projects in a folder of its own, its gate and its readers."""
    opened = ExitStack()
    atexit.register(opened.close)
    folder = Path(opened.enter_context(TemporaryDirectory()))
    (folder / "work").mkdir()
    (folder / "work" / "secret.txt").write_text(IN_FILE)
    opened.callback(os.chdir, Path.cwd())
    store = opened.enter_context(open_store(f"chdb://{folder / 'store'}"))
    migrate(store)
    fill(store)
    for table in ("components", "composites"):
        name = "'digest'" if table == "components" else "repeat('c', 64)"
        first = f"SELECT * REPLACE ({name} AS {'digest' if table == 'components' else 'version'}"
        body = "body" if table == "components" else "name"
        store.command(
            f"INSERT INTO {DATABASE}.{table} {first}, '{OF_OTHER}' AS {body}) "
            f"FROM {DATABASE}.{table} WHERE project = '{OTHER}' LIMIT 1"
        )
    store.command(
        f"INSERT INTO {DATABASE}.requests SELECT * REPLACE ('{OF_OTHER}' AS route, "
        f"'{OF_OTHER}' AS record) FROM {DATABASE}.requests WHERE project = '{OTHER}' LIMIT 3"
    )
    readers = ReaderPool(store, idle=4)
    opened.callback(readers.close)
    gate = Gate(store, readers)
    settings = reader_settings(_BOUNDS, database=DATABASE, tables=gate.catalog.tables, project=OWN)
    os.chdir(folder / "work")
    return Place(gate, readers, settings, folder)


def check_gate(data: bytes) -> None:
    """What the gate lets through reads tables of mvtrace only, one project, and calls no function
    that reaches outside.
    """
    sql = (
        data.decode("utf-8", "surrogatepass" if b"\xed" in data else "replace")
        if _is_text(data)
        else ""
    )
    here = place()
    try:
        approved = here.gate.approve(sql, PARAMETERS)
    except QueryRefusedError as error:
        assert IN_FILE not in error.message  # noqa: PT017
        assert OF_OTHER not in error.message  # noqa: PT017
        return
    except StatementFailedError as error:
        _check_told(error, sql)
        return
    assert approved.sql.lstrip("( ").startswith(("SELECT", "WITH"))
    assert "\n" not in approved.sql
    _check_resolved(here, approved.sql, dict(approved.parameters))
    _check_run(here, approved.sql, dict(approved.parameters))
    assert {one.name for one in (here.folder / "work").iterdir()} == {"secret.txt"}


def _is_text(data: bytes) -> bool:
    with contextlib.suppress(UnicodeDecodeError):
        data.decode("utf-8", "surrogatepass")
        return True
    return False


def _check_told(error: MvtraceError, sql: str) -> None:
    told = f"{error.message} {error.__cause__}"
    for secret in (IN_FILE, OF_OTHER):
        assert secret not in told or secret in sql


def _check_resolved(here: Place, sql: str, parameters: dict[str, str]) -> None:
    """Let the analyzer say what is called."""
    try:
        with here.readers.reader(here.as_own) as session:
            printed = session.raw(f"EXPLAIN QUERY TREE {sql}", parameters or None, "TSVRaw")
    except MvtraceError as error:
        _check_told(error, sql)
        return
    names_shown = True
    for line in printed.decode("utf-8", "replace").split("\n"):
        section = line.strip()
        if section.isupper() and section.replace(" ", "").isalpha():
            names_shown = section == "PROJECTION COLUMNS"  # raw names of columns, of any content
        elif not names_shown:
            _check_line(line)
    assert IN_FILE not in printed.decode("utf-8", "replace")


def _check_line(line: str) -> None:
    if table := _TABLE.match(line):
        name = table[1]
        assert name == IMPLIED or name.startswith(f"{DATABASE}.") or _OWN_STEP.fullmatch(name), (
            f"reads {name}"
        )
    if called := _TABLE_FUNCTION.match(line):
        assert called[1] in ("numbers", "system.numbers"), f"calls the table function {called[1]}"
    if called := _FUNCTION.match(line):
        assert not FORBIDDEN.fullmatch(called[1]), f"calls {called[1]}"


def _check_run(here: Place, sql: str, parameters: dict[str, str]) -> None:
    """Run the statement as the endpoint does and search what comes back."""
    try:
        with here.readers.reader(here.as_own) as session:
            result = session.raw(sql, parameters or None, "TSVRaw")
    except MvtraceError as error:
        _check_told(error, sql)
        return
    for secret in (IN_FILE, OF_OTHER):
        assert secret.encode() not in result or secret in sql


STATEMENTS: Final = [
    sql
    for sql in (
        *LEGAL_ODDITIES,
        *REFUSED,
        "SELECT {p:UInt8}, {z:String} FROM requests WHERE 1 = {p:Int8}",
    )
    if len(sql) < 3000 and not any("\ud800" <= sign <= "\udfff" for sign in sql)
]
_SPLIT: Final = re.compile(
    r"('(?:[^'\\]|\\.)*'|`[^`]*`|[A-Za-z_][A-Za-z0-9_.]*|\d+|\s+|.)", re.DOTALL
)
WORDS: Final = (
    *(
        "SELECT ",
        " FROM ",
        " WHERE ",
        " UNION ALL ",
        " IN ",
        " AS ",
        "WITH ",
        " JOIN ",
        " ON ",
        "(",
        ")",
    ),
    *(
        "file('secret.txt')",
        "file",
        "url('x')",
        "system.one",
        "mvtrace.requests",
        "requests",
        "spans",
    ),
    *(
        "components",
        "composites",
        "payloads",
        "api_keys",
        "system.tables",
        "numbers(3)",
        "merge('.*')",
    ),
    *(
        " SETTINGS additional_table_filters={}",
        " FORMAT CSV",
        " INTO OUTFILE 'x'",
        " PREWHERE ",
        " FINAL",
    ),
    *(
        "project",
        "record",
        "body",
        "route",
        "*",
        " APPLY ",
        " REPLACE ",
        "COLUMNS('.*')",
        " EXCEPT ",
    ),
    *(
        "arrayMap(",
        "arrayReduce('",
        "CAST(",
        "::",
        "throwIf(",
        "toUInt64(",
        "{p:String}",
        "{t:Identifier}",
    ),
    *(
        "dictGet(",
        "joinGet(",
        "sleep(1)",
        "materialize(",
        "__table1",
        "`",
        "$$",
        "--",
        "/*",
        "*/",
        ";",
    ),
    *(
        " OVER (",
        " QUALIFY ",
        " LIMIT 1 BY ",
        " GROUP BY ALL",
        " ORDER BY ",
        " WITH FILL",
        " ARRAY JOIN ",
    ),
    *(
        " GLOBAL IN ",
        " EXISTS (",
        " ANY LEFT JOIN ",
        " USING (",
        " PASTE JOIN ",
        " SAMPLE 1/2",
        " -> ",
    ),
    *(
        "{p:UInt8 /*}'*/}",
        "{p:UInt8 /* '{z:A*/}",
        "{p:Enum8('}' = 1)}",
        "{z:DateTime64(3, 'UTC')}",
        "'`'",
    ),
)


def spliced(data: bytes, random: Random) -> bytes:
    """Return a statement made of *data*'s parts and another's."""
    parts = _SPLIT.findall(data.decode("utf-8", "replace")) or [""]
    other = _SPLIT.findall(random.choice(STATEMENTS)) or [""]
    for _ in range(random.choice((1, 1, 2, 4))):
        at, deed = random.randrange(len(parts)), random.randrange(5)
        start = random.randrange(len(other))
        piece = other[start : start + random.randrange(1, 12)]
        if deed == 0:
            parts[at] = random.choice(other)
        elif deed == 1:
            parts[at:at] = piece
        elif deed == 2:
            parts[at] = random.choice(WORDS)
        elif deed == 3:
            del parts[at : at + random.randrange(1, 4)]
            parts = parts or [""]
        else:
            parts[at : at + 1] = (
                ["(", *other, ")"] if random.random() < 0.7 else [" UNION ALL ", *other]
            )
    return "".join(parts).encode("utf-8", "ignore")


def seeds() -> Iterator[bytes]:
    """Yield everything that is known to pass and to be refused, the file's name put in."""
    for sql in STATEMENTS:
        yield sql.replace("/etc/passwd", "secret.txt").encode()


TARGETS = {
    "sql-gate": Target(
        check_gate, seeds, [word.encode() for word in WORDS], spliced, 2048, is_native=True
    ),
}
