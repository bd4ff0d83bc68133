"""Two projects in one collector: whatever is asked, nothing of the other one is told.

The routes come from the application and the commands from the command line's own tree, so that a
new one fails here until tests/support/isolation.py says how it is asked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from string import Template

import click
import pytest
from isolation import (
    NOBODYS,
    OF_ALL,
    OPEN,
    ROUTES,
    SECRET,
    THEIRS,
    Ask,
    World,
    sql,
    two_projects,
)
from isolation_commands import COMMANDS, LOCAL
from sql_statements import LEGAL_ODDITIES, REFUSED, SHAPES
from starlette.routing import Route

from mvtrace.cli.main import cli
from mvtrace.resources import schema_root
from mvtrace_collector.app import build_app
from mvtrace_collector.config import CollectorConfig

ASKS = [(name, ask) for name, asks in ROUTES.items() if not isinstance(asks, str) for ask in asks]
ASKED = [
    (name, arguments)
    for name, cases in COMMANDS.items()
    if not isinstance(cases, str)
    for arguments in cases
]
_CHANGING = re.compile(
    r'"(?:id|time_ms|erased_ms|duration_ms|time)": ?[^,}]+|\d+(?:\.\d+)? m?s\b|missing [0-9a-f-]{36}|plan sha256:[0-9a-f]{64}|an answer \d+'
)
"""What differs between two answers to one question: when it was asked, and how long it took."""

LEGAL_HERE = {"WITH keys AS (SELECT 1) SELECT * FROM keys"}
"""Refused where a table has that name, which the database of this collector has not."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with two_projects(tmp_path_factory.mktemp("world")) as one:
        yield one


def commands(group: click.Group, before: str = "") -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{before}{name} ")
        else:
            yield before + name


def test_every_route_has_its_case() -> None:
    """
    The routes of the application are those of the table, each with its method.
    """
    config = CollectorConfig.from_environ(environ={}, store="chdb:///nowhere")
    routes = {
        f"{method} {route.path}"
        for route in build_app(config).routes
        if isinstance(route, Route)
        for method in (route.methods or {"POST"}) - {"HEAD"}
    }

    assert routes - ROUTES.keys() == set(), "say in tests/support/isolation.py how it is asked"
    assert ROUTES.keys() - routes == set()


def test_every_command_has_its_case() -> None:
    """
    The commands of the command line are those of the table.
    """
    known = set(commands(cli))

    assert known - COMMANDS.keys() == set(), "say in tests/support/isolation.py how it is asked"
    assert COMMANDS.keys() - known == set()


def test_no_name_is_left_in_the_tables() -> None:
    """
    Every ``$name`` in a case is an id that both projects' worlds have.
    """
    used = {
        name
        for _, ask in ASKS
        for text in (ask.target, ask.body or "")
        for name in Template(text).get_identifiers()
    }

    assert used <= {*NOBODYS}
    assert {*THEIRS, "key"} == {*NOBODYS}


@pytest.mark.parametrize(("name", "ask"), ASKS, ids=[f"{n} {i}" for i, (n, _) in enumerate(ASKS)])
def test_anothers_is_answered_like_nobodys(world: World, name: str, ask: Ask) -> None:
    """
    Asked by a key of a with every scope, a thing of b is answered as one that never was: the same
    status, and the same body up to the id itself; and nothing of b stands in it.
    """
    theirs, nobodys = (
        (status, _CHANGING.sub("…", text))
        for status, text in (world.told(ask, ids, world.mine) for ids in (world.theirs, NOBODYS))
    )

    assert theirs == nobodys
    assert SECRET not in theirs[1]
    assert theirs[0] != 401


@pytest.mark.parametrize(
    ("ask", "status"),
    [
        (Ask("/api/v1/explanation?id=$request&wait=0"), 200),
        (Ask("/api/v1/explanation?id=trace:$trace&wait=0"), 200),
        (Ask("/api/v1/explanation?id=x-request-id:$alias&wait=0"), 200),
        (Ask("/api/v1/explanation?id=response:$response&wait=0"), 200),
        (Ask("/api/v1/requests?version=$short"), 200),
        (Ask("/api/v1/requests?conversation=$conversation"), 200),
        (Ask("/api/v1/gaps?service=$service"), 200),
        (Ask("/api/v1/drift?service=$service"), 200),
        (Ask("/api/v1/affected?id=$request"), 200),
        (Ask("/api/v1/affected?id=$template"), 200),
        (Ask("/api/v1/affected?id=$drift"), 200),
        (Ask("/api/v1/content?id=$request"), 200),
        (sql("SELECT service FROM requests WHERE request_id_text = '$request'"), 200),
        (sql("SELECT body FROM components WHERE digest = '$template'"), 200),
    ],
)
def test_its_own_key_is_told(world: World, ask: Ask, status: int) -> None:
    """
    The ids are real: to b's own key the same questions are answered with what b has.
    """
    told = world.ask(ask, world.theirs, world.their_key)

    assert told[0] == status
    assert len(told[1]) > 40 or SECRET in told[1]


@pytest.mark.parametrize("name", [name for name, case in ROUTES.items() if case == OF_ALL])
def test_what_tells_of_all_is_for_an_admin_of_all(world: World, name: str) -> None:
    """
    Metrics, status and verification are refused to an admin of one project, whatever is stored.
    """
    method, path = name.split()
    body = "{}" if method == "POST" else None

    status, text = world.ask(Ask(path, body), {}, world.mine, method)

    assert status == 403
    assert "admin in every project" in text


def test_metrics_name_no_project(world: World) -> None:
    """
    Even to who may read them, the metrics tell of the collector: no project, service or key.
    """
    status, text = world.ask(Ask("/metrics"), {}, world.admin)

    assert status == 200
    assert SECRET not in text
    assert "project=" not in text
    assert not any(value in text for value in world.theirs.values() if len(value) > 1)


@pytest.mark.parametrize("name", [name for name, case in ROUTES.items() if case == OPEN])
def test_open_routes_tell_nothing_that_is_stored(world: World, name: str) -> None:
    """
    What needs no key says whether the collector works.
    """
    status, text = world.ask(Ask(name.split()[1]), {}, None)

    assert status == 200
    assert SECRET not in text
    assert "project" not in text


def test_lists_hold_ones_own(world: World) -> None:
    """
    A list without any filter shows what a has, and of b nothing.
    """
    for path, own in (
        ("/api/v1/requests", '"support"'),
        ("/api/v1/gaps", '"support"'),
        ("/api/v1/drift", '"support"'),
        ("/api/v1/keys", '"mine"'),
    ):
        status, text = world.ask(Ask(path), {}, world.mine)
        assert (status, own in text, SECRET in text) == (200, True, False), path


def test_an_erasure_stays_in_its_project(world: World) -> None:
    """
    A subject of b that a erases keeps everything in b.
    """
    erase = Ask("/api/v1/erasures", '{"subject": "$subject", "reason": "x"}')
    read = Ask("/api/v1/content?id=$request")
    before = world.ask(read, world.theirs, world.their_key)

    status, text = world.ask(erase, world.theirs, world.mine)

    assert (status, json.loads(text)["payloads"], json.loads(text)["requests"]) == (200, 0, 0)
    assert world.ask(read, world.theirs, world.their_key) == before
    assert len(json.loads(before[1])["contents"]) == 2


def test_a_key_of_another_goes_on_opening(world: World) -> None:
    """
    After a tried to rotate and to revoke b's key, it works.
    """
    for verb in ("rotate", "revoke"):
        ask = Ask(f"/api/v1/keys/$key/{verb}", "{}")
        assert world.ask(ask, world.theirs, world.mine)[0] == 404

    assert world.ask(Ask("/api/v1/requests"), {}, world.their_key)[0] == 200


@pytest.mark.parametrize(
    ("name", "arguments"), ASKED, ids=[f"{n} {i}" for i, (n, _) in enumerate(ASKED)]
)
def test_commands_tell_the_same(world: World, name: str, arguments: tuple[str, ...]) -> None:
    """
    A command asked with a's key about a thing of b ends and says as with one that never was.
    """
    theirs, nobodys = (
        (code, _CHANGING.sub("…", text))
        for code, text in (
            world.command(name, arguments, ids, world.mine) for ids in (world.theirs, NOBODYS)
        )
    )

    assert theirs == nobodys
    assert SECRET not in theirs[1]
    assert "Traceback" not in theirs[1]


@pytest.mark.parametrize("name", [name for name, case in COMMANDS.items() if case == LOCAL])
def test_local_commands_take_no_collector(name: str) -> None:
    """
    What the table calls local has no --url to ask.
    """
    command: click.Command = cli
    for word in name.split():
        assert isinstance(command, click.Group)
        command = command.commands[word]

    assert "url" not in {parameter.name for parameter in command.params}


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_refused_statements_tell_nothing(world: World, number: int) -> None:
    """
    Every statement of the gate's escape list, sent with a key of a, is refused without a word of b.
    """
    status, text = world.query(REFUSED[number], world.mine)

    assert status >= 400 or REFUSED[number] in LEGAL_HERE
    assert SECRET not in text
    assert not any(value in text for value in world.theirs.values() if len(value) > 12)


@pytest.mark.parametrize("number", range(len(LEGAL_ODDITIES)))
def test_odd_statements_see_one_project(world: World, number: int) -> None:
    """
    What only looks like an escape is answered, and without a word of b.
    """
    status, text = world.query(LEGAL_ODDITIES[number], world.mine)

    assert status == 200
    assert SECRET not in text


@pytest.mark.parametrize("column", ["kind", "body"])
@pytest.mark.parametrize("shape", SHAPES)
def test_no_condition_fails_on_rows_of_another(world: World, shape: str, column: str) -> None:
    """
    A project whose components are numbers asks what fails on every component of a and b: the answer
    is a result, so no row of theirs was looked at.
    """
    status, text = world.query(shape.replace("{c}", column), world.numeric)

    assert (status, bool(text.strip())) == (200, True), text


def test_every_table_shows_one_project(world: World) -> None:
    """
    Each table that may be queried holds rows of one project for a key of one, by any way of reading.
    """
    tables = [
        path.stem.partition("_create_")[2] for path in (schema_root() / "clickhouse").glob("*.sql")
    ]
    seen = {}
    for table in sorted(filter(None, tables)):
        for clause in ("", " FINAL", " AS x WHERE 1 OR project = 'b'"):
            status, text = world.query(f"SELECT DISTINCT project FROM {table}{clause}", world.mine)
            assert status >= 400 or set(text.split()) <= {"a"}, (table, clause, text)
            seen[table] = status

    assert {table for table, status in seen.items() if status == 200} >= {
        *("requests", "spans", "components", "composites", "contents", "request_aliases"),
    }
    assert seen["api_keys"] == 403
