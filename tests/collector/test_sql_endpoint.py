"""``/sql`` over real HTTP, mostly through clickhouse-connect as it is."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import clickhouse_connect
import httpx2
import pyarrow.parquet
import pytest
import uvicorn
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, ProgrammingError
from sql_rows import fill
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from mvtrace.errors import QueryRefusedError, StatementFailedError
from mvtrace.store import Store, open_store
from mvtrace.store.migrations import migrate
from mvtrace_collector.sql_endpoint import SqlEndpoint, routes
from mvtrace_collector.sqlreaders import Limits


@dataclass
class State:
    """What the collector would give: the store, and the project from a header."""

    store: Store

    def project_of(self, request: Request) -> str:
        return request.headers.get("x-project", "default")


class Server(uvicorn.Server):
    """A server in a thread, on a free port."""

    @property
    def port(self) -> int:
        return int(self.servers[0].sockets[0].getsockname()[1])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """An embedded store with two projects."""
    with open_store(f"chdb://{tmp_path_factory.mktemp('sql') / 'store'}") as one:
        migrate(one)
        fill(one)
        yield one


@pytest.fixture(scope="module")
def port(store: Store) -> Iterator[int]:
    """The port of a server with the endpoint, and one with small limits at ``/small``."""
    small = SqlEndpoint(
        State(store), replace(Limits(), max_result_bytes=2000, max_execution_time=1)
    )
    app = Starlette(
        routes=[*routes(State(store)), Route("/small", small.answer, methods=["GET", "POST"])]
    )
    server = Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield server.port
    server.should_exit = True
    thread.join()
    small.close()


def connected(port: int, **options: Any) -> Client:
    return clickhouse_connect.get_client(host="127.0.0.1", port=port, proxy_path="/sql", **options)


@pytest.fixture(scope="module")
def client(port: int) -> Iterator[Client]:
    """clickhouse-connect, unmodified."""
    one = connected(port)
    yield one
    one.close()


def url(port: int, **query: str) -> str:
    return f"http://127.0.0.1:{port}/sql?{urlencode(query)}"


def test_the_client_connects_and_learns_the_limits(client: Client) -> None:
    """
    The handshake of clickhouse-connect is answered: version, time zone and the limits as settings.
    """
    assert client.server_version
    assert str(client.server_tz) in ("UTC", "datetime.timezone.utc")
    assert client.server_settings["max_result_rows"].value == "1000000"
    assert "additional_table_filters" not in client.server_settings


def test_rows_come_back_with_their_types(client: Client) -> None:
    """
    A query over the default database gives typed columns.
    """
    result = client.query(
        "SELECT route, count() AS n, max(started_at) AS last FROM requests GROUP BY route ORDER BY route"
    )

    assert result.column_names == ("route", "n", "last")
    assert [row[:2] for row in result.result_rows] == [("/chat", 100), ("/search", 100)]
    assert result.result_rows[0][2] == datetime.fromtimestamp(1790000000 + 198 * 60, UTC).replace(
        tzinfo=None
    )


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("String", "a'b\\c\nd\te`\0f ü 😀 {x:UInt8} %s %(a)s"),
        ("UInt64", 2**64 - 1),
        ("Float64", 0.1),
        ("Bool", True),
        ("Nullable(String)", None),
        ("Array(String)", ["a'b", "c\\d", "e\nf"]),
        ("Array(UInt8)", [1, 2]),
        ("Date", datetime(2026, 1, 2, tzinfo=UTC).date()),
        ("DateTime64(3, 'UTC')", "2026-01-02 03:04:05.678"),
    ],
)
def test_parameters_arrive_unharmed(client: Client, kind: str, value: object) -> None:
    """
    Whatever a parameter holds is what the engine sees; long ones, which travel as a form, too.
    """
    found = client.query(f"SELECT {{v:{kind}}} AS v", parameters={"v": value}).result_rows[0][0]

    assert found == (datetime(2026, 1, 2, 3, 4, 5, 678000) if "64(3" in kind else value)  # noqa: DTZ001


def test_a_long_parameter_travels_as_a_form(client: Client) -> None:
    """
    clickhouse-connect moves the query and its parameters into a form where the URL gets too long.
    """
    text = "x'\n\\" * 5000

    assert client.query("SELECT {v:String}", parameters={"v": text}).result_rows == [(text,)]


def test_values_put_in_by_the_client(client: Client) -> None:
    """
    The client's own ``%(name)s`` binding makes a literal, which passes as any other.
    """
    result = client.query("SELECT %(a)s, %(b)s", parameters={"a": "it's; --", "b": [1, 2]})

    assert result.result_rows == [("it's; --", [1, 2])]


def test_no_rows_still_have_columns(client: Client) -> None:
    """
    An empty result names and types its columns, as a server does.
    """
    result = client.query("SELECT route, toUInt8(1) AS `a b` FROM requests WHERE route = 'none'")

    assert (result.column_names, result.result_rows) == (("route", "a b"), [])
    assert [str(kind.name) for kind in result.column_types][1] == "UInt8"
    assert client.query("SELECT route FROM requests LIMIT 0").column_names == ("route",)


def test_data_frames_and_arrow(client: Client) -> None:
    """
    The client's other shapes of a result work.
    """
    frame = client.query_df(
        "SELECT route, count() AS n FROM requests GROUP BY route ORDER BY route"
    )
    table = client.query_arrow("SELECT route, status_code FROM requests LIMIT 3")
    columns = client.query_np("SELECT number FROM numbers(3)")

    assert list(frame["n"]) == [100, 100]
    assert table.num_rows == 3
    assert columns.shape == (3, 1)


def test_streams_raw_queries_and_commands(client: Client) -> None:
    """
    Row streams, raw bytes in a format, and commands that select work.
    """
    with client.query_rows_stream("SELECT number FROM numbers(100000)") as stream:
        assert sum(row[0] for row in stream) == 4999950000
    assert (
        client.raw_query("SELECT 1 AS a, 'x,y' AS b", fmt="CSVWithNames") == b'"a","b"\n1,"x,y"\n'
    )
    assert client.command("SELECT count() FROM requests") == 200
    assert client.ping()


def test_a_session_and_its_own_settings(port: int) -> None:
    """
    Session ids, query ids and lowered limits are taken; a limit that is passed ends the query.
    """
    one = connected(port, session_id="s1", database="mvtrace", settings={"max_result_rows": 10})
    try:
        assert one.query("SELECT number FROM numbers(10)").row_count == 10
        with pytest.raises(DatabaseError, match="TOO_MANY_ROWS_OR_BYTES") as error:
            one.query("SELECT number FROM numbers(200000)")
        assert error.value.code == 396
    finally:
        one.close()


def test_settings_that_do_more_are_refused(port: int, client: Client) -> None:
    """
    A setting that is no limit, or a higher limit, is refused by its name.
    """
    for name, value in (
        ("additional_table_filters", "{}"),
        ("format_schema", "x"),
        ("max_result_rows", "1000001"),
        ("max_result_rows", "0"),
        ("readonly", "0"),
        ("dialect", "prql"),
        ("allow_introspection_functions", "1"),
        ("role", "admin"),
        ("compress", "1"),
    ):
        answer = httpx2.get(url(port, query="SELECT 1", **{name: value}))

        assert answer.status_code == 403, name
        assert name in answer.text
    with pytest.raises((DatabaseError, ProgrammingError)):
        client.query("SELECT 1", settings={"max_threads": 64})


def test_two_projects_see_their_own(port: int) -> None:
    """
    The project of a request decides which rows exist for it.
    """
    sql = "SELECT DISTINCT JSONExtractString(record, 'owner') FROM requests"

    for project in ("default", "other"):
        one = connected(port, headers={"x-project": project})
        assert one.query(sql).result_rows == [(project,)]
        one.close()


def test_the_project_of_the_key_is_a_parameter(port: int) -> None:
    """
    A statement may name the project without whoever asks knowing it; one that is given counts.
    """
    one = connected(port, headers={"x-project": "other"})

    assert one.query("SELECT {project:String}").result_rows == [("other",)]
    given = one.query("SELECT {project:String}", {"project": "default"})
    assert given.result_rows == [("default",)]
    one.close()


@pytest.mark.parametrize(
    ("sql", "status", "code", "name"),
    [
        ("SELECT * FROM system.tables", 403, 497, "ACCESS_DENIED"),
        ("SELECT file('/etc/passwd')", 403, 497, "ACCESS_DENIED"),
        ("DROP TABLE requests", 403, 497, "ACCESS_DENIED"),
        ("SELECT 1; SELECT 2", 403, 497, "ACCESS_DENIED"),
        ("SELECT name FROM system.settings LIMIT 10000", 403, 497, "ACCESS_DENIED"),
        ("SELECT 1 SETTINGS max_threads = 1", 403, 497, "ACCESS_DENIED"),
        ("SELECT nothing_there FROM requests", 400, 47, "UNKNOWN_IDENTIFIER"),
        ("SELEC 1", 400, 62, "SYNTAX_ERROR"),
        ("SELECT FROM WHERE", 400, 62, "SYNTAX_ERROR"),
        ("SELECT 1 FORMAT Template", 400, 73, "UNKNOWN_FORMAT"),
        ("SELECT 1 FORMAT Protobuf", 400, 73, "UNKNOWN_FORMAT"),
        ("SELECT intDiv(1, 0)", 400, 153, "ILLEGAL_DIVISION"),
        ("SELECT {a:UInt8}", 400, 456, "UNKNOWN_QUERY_PARAMETER"),
        ("", 400, 62, "SYNTAX_ERROR"),
    ],
)
def test_errors_look_like_clickhouse(
    port: int, sql: str, status: int, code: int, name: str
) -> None:
    """
    Errors carry ClickHouse's code and name in the header and the body, and a fitting status.
    """
    answer = httpx2.post(url(port), content=sql)

    assert answer.status_code == status
    assert answer.headers["x-clickhouse-exception-code"] == str(code)
    assert answer.text.startswith(f"Code: {code}. DB::Exception: ")
    assert answer.text.endswith(f"({name})\n")
    assert "formatQuerySingleLine" not in answer.text


def test_errors_do_not_tell_where_the_store_is(port: int, store: Store) -> None:
    """
    What the engine says of a part that it read has no path of this machine in it.
    """
    answer = httpx2.post(url(port), content="SELECT toUInt64(record) FROM requests")

    assert "Cannot parse" in answer.text
    assert str(store.dsn.directory) not in answer.text


def test_many_at_a_time_get_their_own_answers(port: int) -> None:
    """
    More queries than readers wait for one another, and each gets its own project's result.
    """

    async def together() -> list[str]:
        async with httpx2.AsyncClient(timeout=30) as client:
            asked = [
                client.get(
                    url(port, query=f"SELECT {n}, any(project) FROM requests"),
                    headers={"x-project": ("default", "other")[n % 2]},
                )
                for n in range(40)
            ]
            return [answer.text for answer in await asyncio.gather(*asked)]

    assert asyncio.run(together()) == [f"{n}\t{('default', 'other')[n % 2]}\n" for n in range(40)]


def test_the_client_raises_with_the_code(client: Client) -> None:
    """
    clickhouse-connect reads code and name out of a refusal.
    """
    with pytest.raises(DatabaseError, match="not one of mvtrace") as error:
        client.query("SELECT * FROM system.tables")

    assert (error.value.code, error.value.name) == (497, "ACCESS_DENIED")


def test_inserts_are_refused(client: Client) -> None:
    """
    Writing goes through OTLP: the client's inserts are refused before anything is stored.
    """
    with pytest.raises(DatabaseError, match="not SELECT"):
        client.insert("components", [["p", "d"]], column_names=["project", "digest"])
    with pytest.raises(DatabaseError, match="not SELECT"):
        client.raw_insert("components", insert_block=b"x", fmt="CSV")


@pytest.mark.parametrize(
    ("fmt", "media_type", "begins"),
    [
        ("TabSeparated", "text/tab-separated-values", b"1\tx\n"),
        ("TSVWithNamesAndTypes", "text/tab-separated-values", b"a\tb\nUInt8\tString\n1\tx\n"),
        ("CSV", "text/csv", b'1,"x"\n'),
        ("CSVWithNames", "text/csv", b'"a","b"\n'),
        ("JSON", "application/json", b'{\n\t"meta"'),
        ("JSONEachRow", "application/x-ndjson", b'{"a":1,"b":"x"}\n'),
        ("JSONCompact", "application/json", b"{\n"),
        ("JSONCompactEachRowWithNames", "application/x-ndjson", b'["a", "b"]\n'),
        ("Native", "application/octet-stream", b"\x02\x01\x01a\x05UInt8\x01"),
        ("RowBinary", "application/octet-stream", b"\x01\x01x"),
        ("RowBinaryWithNamesAndTypes", "application/octet-stream", b"\x02\x01a\x01b"),
        ("Parquet", "application/octet-stream", b"PAR1"),
        ("Arrow", "application/octet-stream", b"ARROW1"),
        ("ArrowStream", "application/octet-stream", b"\xff\xff\xff\xff"),
        ("Pretty", "text/plain", b""),
        ("PrettyCompact", "text/plain", b""),
        ("Vertical", "text/plain", b"Row 1"),
        ("Markdown", "text/markdown", b"| a | b |"),
        ("XML", "application/xml", b"<?xml"),
        ("Values", "text/plain", b"(1,'x')"),
        ("TSKV", "text/tab-separated-values", b"a=1\tb=x\n"),
    ],
)
def test_formats(port: int, fmt: str, media_type: str, begins: bytes) -> None:
    """
    A format counts in the statement, as default_format and as a header; the statement's own wins.
    """
    sql = "SELECT toUInt8(1) AS a, 'x' AS b"

    answers = [
        httpx2.post(url(port), content=f"{sql} FORMAT {fmt}"),
        httpx2.get(url(port, query=sql, default_format=fmt)),
        httpx2.post(url(port, query=sql), headers={"X-ClickHouse-Format": fmt}),
        httpx2.get(url(port, query=f"{sql} FORMAT {fmt}", default_format="Null")),
    ]

    assert {answer.status_code for answer in answers} == {200}
    assert {answer.headers["x-clickhouse-format"] for answer in answers} == {fmt}
    assert {answer.headers["content-type"].split(";")[0] for answer in answers} == {media_type}
    assert all(answer.content.startswith(begins) for answer in answers)


def test_parquet_is_whole(port: int) -> None:
    """
    A Parquet answer can be read by others.
    """
    answer = httpx2.get(url(port, query="SELECT route, status_code FROM requests FORMAT Parquet"))

    assert pyarrow.parquet.read_table(io.BytesIO(answer.content)).num_rows == 200


def test_compression_is_used_where_asked_for(port: int) -> None:
    """
    With enable_http_compression and a client that takes gzip, a large answer is compressed.
    """
    sql = "SELECT number FROM numbers(10000)"
    asked = {"Accept-Encoding": "lz4, zstd, gzip"}

    plain = httpx2.get(url(port, query=sql), headers=asked)
    with httpx2.stream(
        "GET", url(port, query=sql, enable_http_compression="1"), headers=asked
    ) as packed:
        raw = b"".join(packed.iter_raw())

    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert len(raw) < len(plain.content)
    assert gzip.decompress(raw) == plain.content


def test_headers_say_what_ran(port: int) -> None:
    """
    The answer names the query, the time zone and what it cost.
    """
    headers = httpx2.get(url(port, query="SELECT 1", query_id="q-1")).headers

    assert headers["x-clickhouse-query-id"] == "q-1"
    assert headers["x-clickhouse-timezone"] == "UTC"
    assert json.loads(headers["x-clickhouse-summary"])["result_bytes"] == "2"


def test_query_and_body_are_one_statement(port: int) -> None:
    """
    What stands in the URL and what is posted are put together, as a server does.
    """
    assert httpx2.post(url(port, query="SELECT 1"), content="+ 1").text == "2\n"


def test_odd_requests_get_an_answer(port: int) -> None:
    """
    A wrong database, a body that is no text, a compressed, an endless or a file-bearing one.
    """
    requests = [
        httpx2.get(url(port, query="SELECT 1", database="system")),
        httpx2.post(url(port), content=b"\xff\xfe"),
        httpx2.post(url(port), content=b"x", headers={"Content-Encoding": "gzip"}),
        httpx2.post(url(port), content=b"SELECT '" + b"x" * (2 << 20) + b"'"),
        httpx2.post(url(port, query="SELECT 1"), files={"t": ("t.csv", b"1")}),
        httpx2.post(url(port), content=b"x", headers={"Content-Type": "multipart/form-data"}),
    ]

    assert [answer.status_code for answer in requests] == [404, 400, 400, 400, 400, 400]
    assert all("DB::Exception" in answer.text for answer in requests)
    assert httpx2.put(url(port)).status_code == 405


def test_a_result_too_large_is_an_error(port: int) -> None:
    """
    A result over the size limit is refused as a whole, with the limit in the message.
    """
    sql = "SELECT number, repeat('x', 50) FROM numbers(30) FORMAT JSON"
    answer = httpx2.get(f"http://127.0.0.1:{port}/small?{urlencode({'query': sql})}")

    assert (answer.status_code, answer.headers["x-clickhouse-exception-code"]) == (413, "396")
    assert "2,000 (max_result_bytes)" in answer.text or "max bytes" in answer.text


def test_a_long_query_ends_and_others_go_on(port: int) -> None:
    """
    A query over its time ends with code 159 while others are answered beside it.
    """
    slow = {"query": "SELECT count() FROM numbers(1900000000) WHERE NOT ignore(sipHash64(number))"}

    async def together() -> list[httpx2.Response]:
        async with httpx2.AsyncClient(timeout=30) as client:
            long = client.get(f"http://127.0.0.1:{port}/small?{urlencode(slow)}")
            short = [client.get(url(port, query=f"SELECT {n}")) for n in range(5)]
            return await asyncio.gather(long, *short)

    answers = asyncio.run(together())

    assert (answers[0].status_code, answers[0].headers["x-clickhouse-exception-code"]) == (
        408,
        "159",
    )
    assert [answer.text for answer in answers[1:]] == [f"{n}\n" for n in range(5)]


def test_a_store_reads_through_the_collector(port: int) -> None:
    """
    ``Store`` with the address of a collector reads by this endpoint, and its errors are its own.
    """
    with open_store(f"http://127.0.0.1:{port}") as reader:
        rows = reader.query("SELECT count() FROM requests WHERE route = {r:String}", {"r": "/chat"})

        assert (reader.kind, rows.rows) == ("collector", [(100,)])
        assert reader.raw("SELECT 1 AS a", None, "JSONEachRow") == b'{"a":1}\n'
        assert reader.query("SELECT route FROM requests WHERE 0").columns == ("route",)
        with pytest.raises(QueryRefusedError) as refusal:
            reader.query("SELECT * FROM system.tables")
        with pytest.raises(StatementFailedError) as failure:
            reader.query("SELECT nothing_there FROM requests")
    assert refusal.value.message == (
        "The query is refused: the table 'system.tables' is not one of mvtrace. The tables are "
        "access_log, change_log, components, composites, contents, deployment_log, deployments, "
        "drift_episodes, drift_log, drift_minutes, erasures, eval_latest, eval_results, "
        "evaluated_traces, events, "
        "governance_events, index_usage, ingest_gaps, lineage_edges, model_prices, "
        "producer_checks, producers, quality_hourly, quality_swept, quality_units, quarantine, "
        "registry_entries, request_aliases, request_calls, requests, requests_latest, "
        "router_choices, score_latest, scored_requests, scores, spans, verdict_log, "
        "version_cost_daily, version_latency_daily, version_parts, version_quality_hourly, "
        "version_share."
    )
    assert failure.value.store_code == 47
    assert failure.value.message.startswith("The store refuses the statement: Unknown expression")
