"""One contract for ``Store`` and the loader, held by every engine that mvtrace can store in.

The embedded engine; clickhouse-connect's HTTP client against ClickHouse's HTTP dialect (a server of
this folder over the embedded engine); and a ClickHouse server, by testcontainers or at
``MVTRACE_TEST_CLICKHOUSE_DSN`` (a database of its own is made there and dropped again).
"""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from processes import running

from mvtrace import semconv
from mvtrace.digest import COMPONENT_DOMAIN, COMPOSITE_DOMAIN, canonical_bytes, digest_of
from mvtrace.errors import (
    MvtraceError,
    QueryRefusedError,
    StatementFailedError,
    StoreUnreachableError,
    UnavailableError,
)
from mvtrace.ids import new_request_id
from mvtrace.otlp import (
    FinishedSpan,
    LogEvent,
    Scope,
    SpanEvent,
    encode_request,
    encode_resource,
    encode_scope_logs,
    encode_scope_spans,
    field,
    varint,
)
from mvtrace.records import RequestRecord, UnixNano
from mvtrace.store import Store, open_store
from mvtrace.store.migrations import known_migrations, migrate
from mvtrace.wire import event_of
from mvtrace_collector.loader import load_segment
from mvtrace_collector.sqlgate import Gate
from mvtrace_collector.sqlreaders import Limits, ReaderPool, reader_settings

HERE = Path(__file__).parent
COMPOSE = HERE.parent.parent / "deploy" / "compose.yaml"
CLICKHOUSE_DSN = "MVTRACE_TEST_CLICKHOUSE_DSN"
PASSWORD = "contract"
RESOURCE = encode_resource({"service.name": "svc", "deployment.environment.name": "test"})
SCOPE = Scope("contract", "1.0")
RECEIVED_MS = time.time_ns() // 1_000_000 + 60_000
numbers = itertools.count(1)


# ── the engines ──────────────────────────────────────────────────────────────────────────────────


def clickhouse_address() -> Iterator[str]:
    """The address of a ClickHouse server, with login and without a database."""
    given = os.environ.get(CLICKHOUSE_DSN)
    if given:
        yield given.split("?")[0].rstrip("/")
        return
    if not docker_runs():
        pytest.skip(f"no Docker engine runs, and {CLICKHOUSE_DSN} is not set")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of docker's and testcontainers' own
        from testcontainers.core.container import DockerContainer

        image = yaml.safe_load(COMPOSE.read_text())["services"]["clickhouse"]["image"]
        container = (
            DockerContainer(image)
            .with_exposed_ports(8123)
            .with_env("CLICKHOUSE_USER", "mvtrace")
            .with_env("CLICKHOUSE_PASSWORD", PASSWORD)
            .start()
        )
        try:
            host, port = container.get_container_host_ip(), container.get_exposed_port(8123)
            yield f"clickhouse://mvtrace:{PASSWORD}@{host}:{port}"
        finally:
            container.stop()


def docker_runs() -> bool:
    """Whether a Docker engine answers."""
    if shutil.which("docker") is None:
        return False
    asked = ["docker", "version", "--format", "{{.Server.Version}}"]
    return subprocess.run(asked, capture_output=True, check=False, timeout=30).returncode == 0


def opened(dsn: str, *, patience_s: float = 60) -> Store:
    """Open the store at *dsn*, waiting for a server that is just starting."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return open_store(dsn)
        except UnavailableError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


@pytest.fixture(
    scope="module",
    params=["embedded", "dialect", pytest.param("clickhouse", marks=pytest.mark.clickhouse)],
)
def dsn(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an empty store of each kind."""
    folder = tmp_path_factory.mktemp("contract")
    if request.param == "embedded":
        yield f"chdb://{folder / 'store'}"
    elif request.param == "dialect":
        command = [sys.executable, str(HERE / "http_dialect.py"), str(folder / "server")]
        with running(command, folder / "server.log", {"PWD": str(folder)}) as server:
            yield f"clickhouse://{urlsplit(server.url).netloc}/mvtrace"
    else:
        for address in clickhouse_address():
            base = urlsplit(address)
            name = f"mvtrace_contract_{uuid.uuid4().hex[:12]}"
            yield f"{base.scheme}://{base.netloc}/{name}"
            with opened(f"{base.scheme}://{base.netloc}/{name}") as server:
                server.command(f"DROP DATABASE {name} SYNC")


@pytest.fixture(scope="module")
def store(dsn: str) -> Iterator[Store]:
    """A store with all tables."""
    with opened(dsn) as one:
        migrate(one)
        yield one


@pytest.fixture
def project() -> str:
    """A project that no other test has: the tests share their store."""
    return f"p{next(numbers)}"


# ── what is loaded ───────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def load(store: Store, project: str, tmp_path: Path) -> Callable[..., dict[str, int]]:
    """Load one segment of frames, each either logs or spans, and return the rows a table."""

    def run(
        *frames: Sequence[LogEvent] | Sequence[FinishedSpan] | bytes, token: str = "1"
    ) -> dict[str, int]:
        path = tmp_path / f"{next(numbers)}.segment"
        path.write_bytes(b"".join(envelope(project, frame) for frame in frames))
        return {table: n for table, n in load_segment(store, path, token=token).items() if n}

    return run


def envelope(project: str, frame: Sequence[LogEvent] | Sequence[FinishedSpan] | bytes) -> bytes:
    """One frame as the inbox writes it."""
    if isinstance(frame, bytes):
        body = field(5, frame)
    elif frame and isinstance(frame[0], LogEvent):
        body = field(6, encode_request(RESOURCE, [encode_scope_logs(SCOPE, frame)]))  # type: ignore[arg-type]
    else:
        body = field(5, encode_request(RESOURCE, [encode_scope_spans(SCOPE, frame)]))  # type: ignore[arg-type]
    head = field(1, project.encode()) + b"\x10" + varint(RECEIVED_MS) + b"\x18\x01"
    return varint(len(head + body)) + head + body


def record(request_id: str | None = None, **more: object) -> RequestRecord:
    """A finished request."""
    return RequestRecord(
        request_id=request_id or new_request_id(),
        revision=2,
        state="finished",
        producer_id=str(more.pop("producer_id", "01980000-0000-7000-8000-000000000001")),
        sequence=1,
        service="svc",
        environment="test",
        protocol="http",
        method="POST",
        route="/ask",
        started_at=UnixNano(1_790_000_000_123_456_789),
        ended_at=UnixNano(1_790_000_001_123_456_789),
        outcome="ok",
        status_code=200,
        **more,  # type: ignore[arg-type]
    )


def span(
    name: str,
    *,
    trace: int,
    request_id: str | None = None,
    at: int | None = None,
    **attributes: object,
) -> FinishedSpan:
    """A span of a request, or a foreign one without a request id."""
    own = {semconv.REQUEST_ID: request_id} if request_id else {}
    start = 1_790_000_000_123_456_789 if at is None else at
    return FinishedSpan(
        trace_id=trace.to_bytes(16, "big"),
        span_id=next(numbers).to_bytes(8, "big"),
        parent_span_id=b"",
        name=name,
        kind=1,
        start_time_unix_nano=start,
        end_time_unix_nano=start + 5,
        attributes={**own, **attributes},  # type: ignore[dict-item]
        events=[SpanEvent(start + 1, "e", {"n": 0, "x": 0.0, "s": ""})],
        scope=SCOPE,
    )


def component(kind: str = "model", *, digest: str | None = None) -> LogEvent:
    """A registry event, forged where *digest* is given."""
    body = canonical_bytes({"facts": {"n": next(numbers)}, "kind": kind})
    attributes = {
        semconv.COMPONENT_DIGEST: digest or digest_of(COMPONENT_DOMAIN, body),
        semconv.COMPONENT_KIND: kind,
        semconv.COMPONENT_NAME: "answer",
    }
    return LogEvent(semconv.EVENT_COMPONENT, 1, body.decode(), attributes)


def rows(store: Store, project: str, sql: str) -> list[tuple[object, ...]]:
    """Rows of the project's own."""
    return store.query(sql, {"project": project}).rows


# ── the store ────────────────────────────────────────────────────────────────────────────────────


def test_migrations_are_applied_once(store: Store) -> None:
    """
    Every migration is in the ledger, in order, and a second run finds nothing to do.
    """
    applied = store.query("SELECT name FROM schema_migrations ORDER BY name").rows

    assert [name for (name,) in applied] == [one.name for one in known_migrations()]
    assert migrate(store) == []


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("String", "it's \\ a\tb\nc ` \x00 ü 😀 {x:UInt8} %s"),
        ("Array(String)", ["a'b", "c\\d"]),
        ("UInt64", 2**64 - 1),
        ("Int64", -(2**63)),
        ("Nullable(String)", None),
    ],
)
def test_parameters_and_types_survive(store: Store, kind: str, value: object) -> None:
    """
    What goes in as a parameter comes back as a value.
    """
    assert store.query(f"SELECT {{v:{kind}}} AS v", {"v": value}).rows == [(value,)]


def test_results_come_in_formats(store: Store) -> None:
    """
    Raw bytes in a format, bytes of a FixedString, and no rows where there are none.
    """
    assert store.raw("SELECT 1 AS a, 'x' AS b", None, "CSVWithNames") == b'"a","b"\n1,"x"\n'
    assert store.query("SELECT toFixedString('\\0a', 4) AS f").rows == [(b"\x00a\x00\x00",)]
    assert store.query("SELECT project FROM requests WHERE project = 'none'").rows == []


def test_a_session_has_its_own_tables_and_settings(store: Store) -> None:
    """
    A temporary table and a setting belong to one session.
    """
    with store.session({"max_result_rows": "2"}) as one, store.session() as other:
        one.command("CREATE TEMPORARY TABLE mine (a UInt8, b String)")
        one.insert("mine", ["a", "b"], [[1, "x"], [2, "y\n'"]])

        assert one.query("SELECT * FROM mine ORDER BY a").rows == [(1, "x"), (2, "y\n'")]
        with pytest.raises(StatementFailedError):
            one.query("SELECT number FROM numbers(200000)")
        with pytest.raises(StatementFailedError):
            other.query("SELECT * FROM mine")
        assert len(other.query("SELECT number FROM numbers(3)").rows) == 3


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SELECT * FROM no_such_table", 60),
        ("SELECT no_such_column FROM requests", 47),
        ("SELEC 1", 62),
        ("SELECT throwIf(number = 90000) FROM numbers(100000)", 395),
    ],
)
def test_errors_carry_the_engines_code(store: Store, sql: str, code: int) -> None:
    """
    A refused statement is our error with ClickHouse's number, and the next one is not affected.
    """
    with pytest.raises(StatementFailedError) as error:
        store.query(sql)

    assert error.value.store_code == code
    assert store.query("SELECT 'after'").rows == [("after",)]


def test_a_result_that_failed_half_way_leaves_nothing_behind(store: Store) -> None:
    """
    Rows of a failed result never come before the next result.
    """
    for _ in range(5):
        with pytest.raises(MvtraceError):
            store.raw("SELECT number, throwIf(number = 900000) FROM numbers(1000000)", None, "TSV")
        assert store.raw("SELECT 'after'", None, "TSV") == b"after\n"


def test_a_read_only_store_refuses_writes(dsn: str, store: Store) -> None:
    """
    Opened to read, a store reads, and the engine itself refuses to write.
    """
    # An embedded store is open once in a process; there, a session of it is made read-only.
    is_embedded = store.kind == "embedded"

    with (
        store.session({"readonly": "2"}) if is_embedded else open_store(dsn, read_only=True) as one
    ):
        assert one.query("SELECT 1").rows == [(1,)]
        with pytest.raises(QueryRefusedError):
            one.command("CREATE TABLE x (a UInt8) ENGINE = MergeTree ORDER BY a")


def test_a_store_that_is_not_there_says_so(store: Store) -> None:
    """
    A server that does not answer is an error that names its address.
    """
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"clickhouse://u:secret@127.0.0.1:{taken.getsockname()[1]}/mvtrace"

        with pytest.raises(StoreUnreachableError) as error:
            open_store(address)

    assert "127.0.0.1" in error.value.message
    assert "secret" not in error.value.message
    assert store.ping()


# ── the loader ───────────────────────────────────────────────────────────────────────────────────


def test_a_record_comes_back_byte_for_byte(
    store: Store, project: str, load: Callable[..., dict[str, int]]
) -> None:
    """
    The stored record is the captured bytes, and its columns say the same.
    """
    sent = record(trace_id="00" * 15 + "2a", error_type="", response_bytes=0)

    loaded = load([event_of(sent)])
    found = rows(
        store,
        project,
        "SELECT record, request_id_text, toUnixTimestamp64Nano(started_at), status_code, "
        "error_type, route, trace_id_hex, parent_request_id FROM requests WHERE project = {project:String}",
    )

    assert loaded["requests"] == 1
    assert len(found) == 1
    text = found[0][0]
    assert RequestRecord.from_bytes(str(text)) == sent
    assert str(text).encode() == sent.to_bytes()
    assert found[0][1:] == (
        sent.request_id,
        sent.started_at,
        200,
        "",
        "/ask",
        sent.trace_id,
        None,
    )


def test_span_attributes_keep_their_types(
    store: Store, project: str, load: Callable[..., dict[str, int]]
) -> None:
    """
    0, 0.0, false and the empty text stay what they were; nanoseconds and leading zeros, too.
    """
    request_id = new_request_id()
    sent = span("s", trace=7, request_id=request_id, i=0, d=0.0, b=False, t="", a=["x", 1, 2.0])

    load([sent])
    found = rows(
        store,
        project,
        "SELECT name, request_id_text, trace_id_hex, span_id, toUnixTimestamp64Nano(start_time), "
        "duration_ns, attributes_int['i'], attributes_double['d'], attributes_bool['b'], "
        "attributes_string['t'], mapContains(attributes_string, 't'), attributes_json['a'], "
        "service, scope_name FROM spans WHERE project = {project:String}",
    )

    assert found == [
        (
            *("s", request_id, sent.trace_id.hex(), sent.span_id),
            *(1_790_000_000_123_456_789, 5, 0, 0.0, False, "", 1, '["x",1,2.0]', "svc", "contract"),
        )
    ]


def test_the_registry_is_stored_by_digest(
    store: Store, project: str, load: Callable[..., dict[str, int]]
) -> None:
    """
    Components and composites are stored under the digest of their bytes.
    """
    part = component()
    digest = str(part.attributes[semconv.COMPONENT_DIGEST])
    slot = {"digest": digest, "kind": "model", "name": "answer"}
    manifest = canonical_bytes({"components": [slot], "edges": []})
    version = digest_of(COMPOSITE_DOMAIN, manifest).removeprefix("sha256:")
    whole = LogEvent(
        semconv.EVENT_COMPOSITE,
        2,
        manifest.decode(),
        {
            semconv.COMPOSITE_VERSION: version,
            semconv.COMPOSITE_NAME: "bot",
            semconv.COMPOSITE_LABELS: '{"model/answer":"v1"}',
        },
    )

    load([part, whole])

    own = "WHERE project = {project:String}"
    assert rows(store, project, f"SELECT digest, kind, body FROM components {own}") == [
        (digest, "model", part.body)
    ]
    assert rows(
        store, project, f"SELECT version, name, component_digests, labels FROM composites {own}"
    ) == [(version, "bot", [digest], {"model/answer": "v1"})]


def test_a_segment_loaded_again_changes_nothing(
    store: Store, project: str, load: Callable[..., dict[str, int]]
) -> None:
    """
    The same segment under the same token, and under another, gives the same rows once.
    """
    sent = record()
    frames = (
        [event_of(sent), component()],
        [span("a", trace=9, request_id=sent.request_id), span("b", trace=9)],
    )
    counts = (
        "SELECT (SELECT count() FROM requests FINAL WHERE project = {project:String}), "
        "(SELECT count() FROM spans FINAL WHERE project = {project:String}), "
        "(SELECT count() FROM components FINAL WHERE project = {project:String}), "
        "(SELECT count() FROM quarantine FINAL WHERE project = {project:String})"
    )

    load(*frames, token="1")
    first = rows(store, project, counts)
    load(*frames, token="1")
    load(*frames, token="2")

    assert first == [(1, 2, 1, 0)]
    assert rows(store, project, counts) == first


def test_what_may_not_become_evidence_is_quarantined(
    store: Store, project: str, load: Callable[..., dict[str, int]]
) -> None:
    """
    A forged component and a second, different record from another producer change nothing stored.
    """
    sent = record()
    load([event_of(sent)])
    forged = component(digest="sha256:" + "0" * 64)
    second = record(sent.request_id, producer_id="01980000-0000-7000-8000-000000000002", arm="x")

    load([event_of(second), forged])

    own = "WHERE project = {project:String}"
    kept = rows(store, project, f"SELECT record FROM requests FINAL {own}")
    held = rows(store, project, f"SELECT DISTINCT body FROM quarantine {own}")
    assert kept == [(sent.to_bytes().decode(),)]
    assert rows(store, project, f"SELECT count() FROM components {own}") == [(0,)]
    assert {body for (body,) in held} == {second.to_bytes().decode(), forged.body}


def test_a_batch_that_cannot_be_read_does_not_hold_up_the_rest(
    store: Store, project: str, load: Callable[..., dict[str, int]]
) -> None:
    """
    Bytes that are no OTLP go to quarantine as they came; what stood around them is stored.
    """
    before, after = record(), record()

    loaded = load([event_of(before)], b"\xff\xff\xff not protobuf", [event_of(after)])

    stored = rows(
        store, project, "SELECT request_id_text FROM requests WHERE project = {project:String}"
    )
    assert loaded["quarantine"] == 1
    assert {text for (text,) in stored} == {before.request_id, after.request_id}


def test_foreign_spans_of_a_trace_share_one_request(
    store: Store, project: str, load: Callable[..., dict[str, int]]
) -> None:
    """
    Spans that know nothing of mvtrace get one request id a trace, over several segments.
    """
    for name in ("first", "second", "third"):
        load([span(name, trace=77), span(name, trace=78)])

    found = rows(
        store,
        project,
        "SELECT trace_id_hex, uniqExact(request_id), count() FROM spans FINAL "
        "WHERE project = {project:String} GROUP BY trace_id_hex ORDER BY trace_id_hex",
    )
    assert [entry[1:] for entry in found] == [(1, 3), (1, 3)]


def test_more_months_than_one_insert_may_touch(
    store: Store, project: str, load: Callable[..., dict[str, int]]
) -> None:
    """
    Spans of 150 different months in one segment are stored, although an insert may touch 100.
    """
    month_ns = 31 * 24 * 3600 * 10**9
    first_ns = 1_400_000_000 * 10**9
    sent = [span(f"m{n}", trace=1000 + n, at=first_ns + n * month_ns) for n in range(150)]

    load(sent)

    found = rows(
        store, project, "SELECT uniqExact(name) FROM spans WHERE project = {project:String}"
    )
    assert found == [(150,)]


# ── the gate ─────────────────────────────────────────────────────────────────────────────────────


def test_the_gate_holds_on_this_engine(
    store: Store, project: str, load: Callable[..., dict[str, int]]
) -> None:
    """
    Refusals, the project's filter, limits and read-only readers work on every engine.
    """
    load([event_of(record()), event_of(record())])
    readers = ReaderPool(store)
    gate = Gate(store, readers)
    approved = gate.approve("SELECT project, count() FROM requests GROUP BY project -- all")
    limits = Limits(max_result_rows=1000)
    settings = reader_settings(
        limits, database=store.database, tables=gate.catalog.tables, project=project
    )

    with readers.reader(settings) as reader:
        assert reader.raw(approved.sql, None, "TSV") == f"{project}\t2\n".encode()
    for sql in ("SELECT * FROM numbers(1000000)", "SELECT intDiv(1, number) FROM numbers(10)"):
        with pytest.raises(MvtraceError), readers.reader(settings) as reader:
            reader.raw(gate.approve(sql).sql, None, "TSV")
    for sql in (
        "SELECT * FROM system.tables",
        "SELECT file('/etc/passwd')",
        "SELECT arrayMap(file, ['/etc/passwd'])",
        "SELECT * APPLY(toString) FROM requests",
        "SELECT 1; SELECT 2",
        "SELECT 1 AS `a\n b`",
        "SELECT 1 INTO OUTFILE '/tmp/x'",
        "DROP TABLE requests",
    ):
        with pytest.raises(QueryRefusedError):
            gate.approve(sql)
    with pytest.raises(MvtraceError), readers.reader(settings) as reader:
        reader.command(f"TRUNCATE TABLE {store.database}.requests")
    readers.close()
