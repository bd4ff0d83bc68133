"""What the collector says of itself: every metric moves when its thing happens, readiness names
each fault, alarms are one line of JSON each and hold nothing that was sent.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from processes import Running, collector_command, running
from self_observed import (
    PROTOBUF,
    SECRET,
    a_record,
    a_trace,
    application,
    log_body,
    metrics_in,
    state_of,
    wait_until,
)
from starlette.testclient import TestClient

from mvtrace.ids import new_request_id
from mvtrace.otlp import LogEvent
from mvtrace.wire import event_of
from mvtrace_collector import health, logs
from mvtrace_collector.config import CollectorConfig
from mvtrace_collector.inbox import InboxSettings

ROOT = Path(__file__).resolve().parents[2]
OPERATIONS = (ROOT / "deploy" / "operations.md").read_text()
MIB = 1 << 20


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One collector process, its log at level info."""
    folder = tmp_path_factory.mktemp("collector")
    environ = {"MVTRACE_LOG_LEVEL": "info"}
    with running(collector_command(folder / "store"), folder / "collector.log", environ) as one:
        yield one


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
    # The access log says so too once it has met the full disk itself.
    assert {"store_disk", "inbox"} <= set(failing) <= {"store_disk", "inbox", "access_log"}
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
