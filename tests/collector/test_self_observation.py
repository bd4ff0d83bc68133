"""What the collector says of itself: every metric moves when its thing happens, readiness names
each fault, alarms are one line of JSON each and hold nothing that was sent.
"""

from __future__ import annotations

import gzip
import io
import json
import logging
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from processes import Running, collector_command, running
from starlette.testclient import TestClient

from mvtrace.errors import StatementFailedError
from mvtrace.ids import new_request_id
from mvtrace.otlp import LogEvent, Scope, encode_request, encode_resource, encode_scope_logs
from mvtrace.records import RequestRecord, UnixNano
from mvtrace.wire import event_of
from mvtrace_collector import health, logs
from mvtrace_collector.app import build_app
from mvtrace_collector.config import CollectorConfig
from mvtrace_collector.inbox import InboxSettings

ROOT = Path(__file__).resolve().parents[2]
OPERATIONS = (ROOT / "deploy" / "operations.md").read_text()
PROTOBUF = {"content-type": "application/x-protobuf"}
SECRET = "the patient said that"
MIB = 1 << 20


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One collector process, its log at level info."""
    folder = tmp_path_factory.mktemp("collector")
    environ = {"MVTRACE_LOG_LEVEL": "info"}
    with running(collector_command(folder / "store"), folder / "collector.log", environ) as one:
        yield one


@contextmanager
def application(folder: Path, **options: Any) -> Iterator[TestClient]:
    """A collector within this process, whose parts a test can break."""
    config = CollectorConfig(store=f"chdb://{folder / 'store'}", **options)
    with TestClient(build_app(config)) as client:
        yield client


def state_of(client: TestClient) -> Any:
    return client.app.state.collector  # type: ignore[attr-defined]


def a_trace(name: str = "hello") -> bytes:
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.add(
        trace_id=os.urandom(16),
        span_id=os.urandom(8),
        name=name,
        start_time_unix_nano=time.time_ns(),
        end_time_unix_nano=time.time_ns(),
    )
    return request.SerializeToString()


def log_body(*events: LogEvent) -> bytes:
    return encode_request(encode_resource({}), [encode_scope_logs(Scope("mvtrace"), events)])


def a_record(request_id: str, producer: str) -> RequestRecord:
    return RequestRecord(
        request_id=request_id,
        revision=2,
        state="finished",
        producer_id=f"00000000-0000-4000-8000-00000000000{producer}",
        sequence=1,
        started_at=UnixNano(time.time_ns()),
    )


def metrics_in(text: str) -> dict[str, float]:
    """Every sample of a scrape by its whole name with labels."""
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    pairs = (line.rpartition(" ") for line in lines)
    return {name: float(value) for name, _, value in pairs}


def wait_until(condition: Callable[[], object], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "not within the time"
        time.sleep(0.05)


def checks_of(client: TestClient) -> tuple[int, dict[str, Any]]:
    ready = client.get("/readyz")
    failing = {
        name: check for name, check in ready.json()["checks"].items() if check["status"] != "ok"
    }
    return ready.status_code, failing


def test_every_metric_moves_when_its_thing_happens(serving: Running) -> None:
    """
    Exports, refusals, rows, quarantine, questions: each is counted where it happens.
    """
    url = serving.url

    def scrape() -> dict[str, float]:
        return metrics_in(httpx2.get(f"{url}/metrics").text)

    before = scrape()
    trace = a_trace()
    request_id = new_request_id()
    sent = [
        ("traces", trace, {**PROTOBUF, "x-mvtrace-batch": "one"}),
        ("traces", trace, {**PROTOBUF, "x-mvtrace-batch": "one"}),
        ("traces", gzip.compress(a_trace()), {**PROTOBUF, "content-encoding": "gzip"}),
        ("traces", b"\xff\xff", PROTOBUF),
        ("traces", b"{}", {"content-type": "text/plain"}),
        ("logs", log_body(LogEvent("unheard.of", 1, "x", {})), PROTOBUF),
        ("logs", log_body(event_of(a_record(request_id, "a"))), PROTOBUF),
        ("logs", log_body(event_of(a_record(request_id, "b"))), PROTOBUF),
    ]
    for signal, body, headers in sent:
        httpx2.post(f"{url}/v1/{signal}", content=body, headers=headers)
    wait_until(
        lambda: (
            (now := scrape())["mvtrace_inbox_batches"] == 0
            and now.get('mvtrace_quarantine_rows{reason="conflicting-record"}') == 1
        )
    )
    httpx2.get(f"{url}/api/v1/explanation", params={"id": request_id, "wait": "0"})
    httpx2.get(f"{url}/api/v1/explanation", params={"id": new_request_id(), "wait": "0"})
    httpx2.get(f"{url}/sql", params={"query": "SELECT 1"})
    httpx2.get(f"{url}/sql", params={"query": "SELECT * FROM file('/etc/passwd')"})
    after = scrape()

    grown = {
        name: value - before.get(name, 0.0)
        for name, value in after.items()
        if value != before.get(name, 0.0) and "_created" not in name and "_bucket" not in name
    }
    expected = {
        'mvtrace_exports_total{encoding="protobuf",signal="traces",status="200"}': 3,
        'mvtrace_exports_total{encoding="protobuf",signal="traces",status="400"}': 1,
        'mvtrace_refused_exports_total{reason="undecodable",signal="traces",status="400"}': 1,
        'mvtrace_refused_exports_total{reason="unsupported",signal="traces",status="415"}': 1,
        'mvtrace_accepted_total{signal="traces"}': 2,
        'mvtrace_accepted_total{signal="logs"}': 2,
        'mvtrace_accepted_batches_total{signal="traces"}': 2,
        'mvtrace_duplicate_batches_total{signal="traces"}': 1,
        'mvtrace_rejected_total{reason="event-name",signal="logs"}': 1,
        'mvtrace_stored_rows_total{table="spans"}': 2,
        'mvtrace_stored_rows_total{table="requests"}': 1,
        'mvtrace_stored_rows_total{table="quarantine"}': 1,
        'mvtrace_quarantine_rows{reason="conflicting-record"}': 1,
        'mvtrace_reads_total{endpoint="explanation",outcome="ok"}': 1,
        'mvtrace_reads_total{endpoint="explanation",outcome="not-found"}': 1,
        'mvtrace_reads_total{endpoint="sql",outcome="ok"}': 1,
        'mvtrace_reads_total{endpoint="sql",outcome="refused"}': 1,
        'mvtrace_read_seconds_count{endpoint="sql"}': 2,
        "mvtrace_inbox_accepted_seq": 4,
        "mvtrace_inbox_stored_seq": 4,
    }
    assert {name: grown.get(name) for name in expected} == expected
    received = 'mvtrace_export_bytes_total{signal="traces",stage="received"}'
    inflated = 'mvtrace_export_bytes_total{signal="traces",stage="inflated"}'
    assert 0 < grown[received] != grown[inflated]
    assert grown["mvtrace_load_seconds_total"] > 0
    assert grown["mvtrace_stored_segments_total"] >= 1
    assert after['mvtrace_disk_free_bytes{place="inbox"}'] > 0
    assert after["mvtrace_ready"] == 1
    assert abs(after["mvtrace_start_time_seconds"] - time.time()) < 600


def test_the_log_of_a_process_is_one_object_a_line(serving: Running) -> None:
    """
    Off a terminal each line is JSON with time, level, event and message.
    """
    lines = serving.log.read_text().splitlines()

    objects = [json.loads(line) for line in lines if "listens on" not in line]
    assert "migrated" in {one["event"] for one in objects}
    assert all({"time", "level", "event", "message"} <= one.keys() for one in objects)
    assert all(re.fullmatch(r"[\d-]{10}T[\d:.]{12}Z", one["time"]) for one in objects)


def test_every_metric_is_in_the_table(serving: Running) -> None:
    """
    deploy/operations.md names each metric the code gives, and no other.
    """
    families = re.findall(
        r"^# TYPE (\S+) (\S+)", httpx2.get(f"{serving.url}/metrics").text, re.MULTILINE
    )
    told = set(re.findall(r"^\| `(mvtrace_[a-z_]+)", OPERATIONS, re.MULTILINE))

    given = {name for name, _ in families if not name.endswith("_created")}
    watched = {name for name in told if name.startswith("mvtrace_watch_")}
    assert told - watched == given
    code = (ROOT / "mvtrace" / "cli" / "watching.py").read_text()
    assert watched == set(re.findall(r'"(mvtrace_watch_[a-z_]+)"', code))


def test_every_alarm_and_check_is_in_the_tables() -> None:
    """
    Each alarm of the log and each check of /readyz stands in deploy/operations.md.
    """
    told = set(re.findall(r"^\| `([a-z_-]+)`", OPERATIONS, re.MULTILINE))

    checks = {check.name for check in health.CHECKS}
    assert checks <= told
    assert set(logs.ALARMS) <= told
    assert {check.alarm for check in health.CHECKS} <= set(logs.ALARMS)


def test_the_loader_stopped(tmp_path: Path) -> None:
    """
    Without its loader the collector is not ready, and what is accepted begins to lag.
    """
    with application(tmp_path, max_lag_seconds=0.2) as client:
        state = state_of(client)
        state._stop.set()
        state._thread.join()
        client.post("/v1/traces", content=a_trace(), headers=PROTOBUF)
        time.sleep(0.3)
        status, failing = checks_of(client)
        alive = client.get("/healthz").status_code

    assert (status, alive) == (503, 200)
    assert set(failing) == {"loader", "lag"}
    assert failing["loader"]["reason"] == "the loader's thread has ended"
    assert failing["loader"]["hint"] == "Restart the collector; the inbox keeps."
    assert re.match(r"1 batches \(\d+ bytes\) wait for the store", failing["lag"]["reason"])


def test_a_store_that_refuses_a_load(tmp_path: Path) -> None:
    """
    A load that fails shows with the engine's error code until one succeeds again.
    """
    with application(tmp_path) as client:
        state = state_of(client)
        state.store.command("RENAME TABLE spans TO spans_gone")
        client.post("/v1/traces", content=a_trace(SECRET), headers=PROTOBUF)
        wait_until(lambda: state.loader.stats.errors > 0)
        broken = checks_of(client)
        counted = metrics_in(client.get("/metrics").text)
        state.store.command("RENAME TABLE spans_gone TO spans")
        wait_until(lambda: state.inbox.lag().segments == 0)
        wait_until(lambda: checks_of(client) == (200, {}))

    assert broken[0] == 503
    assert broken[1]["loads"]["reason"].startswith("the last load failed: StatementFailedError: ")
    assert SECRET not in str(broken)
    assert counted["mvtrace_loader_errors_total"] >= 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            (
                "ALTER TABLE schema_migrations DELETE WHERE name LIKE '0008%' "
                "SETTINGS mutations_sync = 1"
            ),
            "the store lacks 0008_create_quarantine",
        ),
        (
            "INSERT INTO schema_migrations VALUES ('9999_from_the_future', 'x', now())",
            "Migration 9999_from_the_future: it is applied to the store but unknown here",
        ),
    ],
)
def test_another_schema(tmp_path: Path, change: str, reason: str) -> None:
    """
    Tables of an older or a newer version are named.
    """
    with application(tmp_path) as client:
        state_of(client).store.command(change)
        status, failing = checks_of(client)

    assert status == 503
    assert set(failing) == {"schema"}
    assert failing["schema"]["reason"].startswith(reason)


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[Path]:
    """A small file system of its own at *folder*."""
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)],
        capture_output=True, check=False,
    )  # fmt: skip
    if made.returncode:
        pytest.skip("mounting needs rights this user does not have")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk(tmp_path: Path) -> None:
    """
    Below the floor nothing is accepted, and readiness names both places with the bytes left.
    """
    settings = InboxSettings(disk_floor_bytes=8 * MIB)
    with (
        mounted(tmp_path / "disk", "256m") as disk,
        application(disk, inbox=settings, data_dir=disk / "inbox") as client,
    ):
        before = checks_of(client)
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        with (disk / "filler").open("wb") as file:
            file.write(bytes(free - 4 * MIB))
        time.sleep(1.1)
        status, failing = checks_of(client)
        refused = client.post("/v1/traces", content=a_trace(), headers=PROTOBUF)
        (disk / "filler").unlink()
        time.sleep(1.1)
        after = checks_of(client)
        counted = metrics_in(client.get("/metrics").text)

    assert before == after == (200, {})
    assert status == 503
    assert set(failing) == {"store_disk", "inbox"}
    assert "the floor is 8,388,608" in failing["store_disk"]["reason"]
    assert "the disk is nearly full" in failing["inbox"]["reason"]
    assert failing["inbox"]["hint"] == f"Make room on the disk of {disk / 'inbox'}."
    assert refused.status_code == 503
    name = 'mvtrace_refused_exports_total{reason="inbox-full",signal="traces",status="503"}'
    assert counted[name] == 1


def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    """
    A store or an inbox on a disk that turned read-only is named with the system's word for it.
    """
    with application(tmp_path) as client:
        for place in ("store", "store.inbox"):
            folder = str(tmp_path / place)
            for options in (["--bind"], ["-o", "remount,ro,bind"]):
                made = subprocess.run(
                    ["mount", *options, folder, folder], capture_output=True, check=False
                )
                if made.returncode:
                    pytest.skip("mounting needs rights this user does not have")
        try:
            status, failing = checks_of(client)
        finally:
            for place in ("store", "store.inbox"):
                subprocess.run(["umount", "-l", str(tmp_path / place)], check=True)
        after = checks_of(client)

    assert status == 503
    assert set(failing) == {"store_disk", "inbox"}
    assert all("Read-only file system" in one["reason"] for one in failing.values())
    assert after == (200, {})


@pytest.fixture
def lines() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """What the collector's loggers write, as JSON lines."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.JsonLines())
    logger = logging.getLogger("mvtrace_collector")
    logger.addHandler(handler)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logger.removeHandler(handler)


def test_each_trouble_is_told_once(
    tmp_path: Path, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    """
    A conflict, a detached part and a failing check are alarms when they begin, not at every look,
    and a check that holds again is told too.
    """
    with application(tmp_path) as client:
        state = state_of(client)
        request_id = new_request_id()
        state.observer.round()
        for producer in "ab":
            body = log_body(event_of(a_record(request_id, producer)))
            client.post("/v1/logs", content=body, headers=PROTOBUF)
        client.post("/v1/traces", content=a_trace(SECRET), headers=PROTOBUF)
        wait_until(lambda: state.inbox.lag().segments == 0)
        [(part,)] = state.store.query(
            "SELECT name FROM system.parts WHERE database = 'mvtrace' AND table = 'spans' "
            "AND active"
        ).rows
        state.store.command(f"ALTER TABLE spans DETACH PART '{part}'")
        state.store.command("RENAME TABLE schema_migrations TO moved")
        for _ in range(3):
            state.observer.round()
        state.store.command("RENAME TABLE moved TO schema_migrations")
        state.observer.round()
        status = client.get("/api/v1/status").json()
        counted = metrics_in(client.get("/metrics").text)

    told = [line for line in lines() if line["event"] in {*logs.ALARMS, "over"}]
    assert sorted(line["event"] for line in told) == ["conflict", "detached-part", "over", "schema"]
    by_event = {line["event"]: line for line in told}
    assert by_event["conflict"]["reasons"] == {"conflicting-record": 1}
    assert by_event["detached-part"]["table"] == "spans"
    assert all(line["level"] == "warning" for line in told)
    assert SECRET not in json.dumps(lines())
    assert not status["healthy"]
    assert status["quarantine"] == {"conflicting-record": {"rows": 1, "last_hour": 1}}
    assert status["detached_parts"] == [{"table": "spans", "reason": "detached", "parts": 1}]
    assert counted['mvtrace_detached_parts{reason="detached",table="spans"}'] == 1


def formatted(formatter: logging.Formatter, message: str, *arguments: object) -> str:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logger = logging.getLogger(f"mvtrace_collector.{time.time_ns()}")
    logger.addHandler(handler)
    logger.propagate = False
    try:
        raise StatementFailedError(f"Cannot parse input: {SECRET}", store_code=27)
    except StatementFailedError as error:
        logger.warning(message, *(arguments or (error,)), exc_info=True)
    return stream.getvalue()


@pytest.mark.parametrize("formatter", [logs.JsonLines(), logs.TextLines()])
def test_an_error_shows_its_kind_and_never_its_words(formatter: logging.Formatter) -> None:
    """
    The engine quotes the data it stumbled over; the log has the error's code and place only.
    """
    text = formatted(formatter, "Loading failed: %s")

    assert text.count("\n") == 1
    assert SECRET not in text
    assert "load-failed" in text
    assert "StatementFailedError: the store's error 27" in text
    assert "test_self_observation.py" in text


def test_a_message_without_a_name_is_named_by_its_words() -> None:
    """
    Also what nobody gave a name has an event to search for.
    """
    line = json.loads(formatted(logs.JsonLines(), "Segment %s is odd: %s", 7, OSError(5, "EIO")))

    assert line["event"] == "segment-s-is-odd-s"
    assert line["message"] == "Segment 7 is odd: OSError: EIO"


def test_an_alarm_has_to_be_a_known_one() -> None:
    """
    An alarm that the tables do not tell cannot be written.
    """
    with pytest.raises(KeyError):
        logs.alarm(logging.getLogger("x"), "unheard-of", "text")


@pytest.mark.parametrize(
    ("key", "value"), [("MVTRACE_LOG", "xml"), ("MVTRACE_MAX_LAG_SECONDS", "-1")]
)
def test_wrong_settings(key: str, value: str) -> None:
    """
    A form of log or a limit that cannot be stops the start.
    """
    with pytest.raises(Exception, match=key):
        CollectorConfig.from_environ(environ={"MVTRACE_STORE": "chdb:///x", key: value})


def test_settings_are_read() -> None:
    """
    The log's form and level and the limit of the lag come from the environment.
    """
    environ = {
        "MVTRACE_STORE": "chdb:///x",
        "MVTRACE_LOG": "TEXT",
        "MVTRACE_LOG_LEVEL": "info",
        "MVTRACE_MAX_LAG_SECONDS": "60",
    }

    config = CollectorConfig.from_environ(environ=environ)

    assert (config.log, config.log_level, config.max_lag_seconds) == ("text", "info", 60.0)
    assert replace(config, log=None).log is None


def test_verification_wants_json_and_runs_alone(tmp_path: Path) -> None:
    """
    No web page can start one unasked, a wrong time is refused, and a second one has to wait.
    """
    with application(tmp_path) as client:
        path = "/api/v1/verification"
        plain = client.post(path, content="{}", headers={"content-type": "text/plain"})
        wrong = client.post(path, json={"since": "yesterday"})
        mangled = client.post(path, content="[", headers={"content-type": "application/json"})
        done = client.post(path, json={})
        again = client.post(path, json={"since": "1h", "repair": True})

    assert (plain.status_code, wrong.status_code, mangled.status_code) == (415, 400, 400)
    assert (done.status_code, again.status_code) == (200, 200)
    assert json.loads(done.text.splitlines()[-1])["result"]["ok"]
    assert json.loads(again.text.splitlines()[-1])["result"]["repair"] is True


def test_exports_without_a_key_are_counted(tmp_path: Path) -> None:
    """
    What no key opened is refused before the receiver sees it, and counted all the same.
    """
    key = "k" * 32
    with application(tmp_path, api_key=key) as client:
        client.post("/v1/traces", content=a_trace(), headers=PROTOBUF)
        client.get("/sql", params={"query": "SELECT 1"})
        text = client.get("/metrics", headers={"authorization": f"Bearer {key}"}).text

    counted = metrics_in(text)
    name = 'mvtrace_refused_exports_total{reason="unauthenticated",signal="traces",status="401"}'
    assert counted[name] == 1
    assert counted['mvtrace_reads_total{endpoint="sql",outcome="unauthenticated"}'] == 1
