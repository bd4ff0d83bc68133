"""The peers' SDKs send traces through their own exporters: a test a peer lists what is filled.

Each in a process of its own calls a server of the OpenAI protocol and exports to a real collector,
by its own settings. The columns named here are all that are filled.
"""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import clickhouse_connect
import httpx2
import pytest
from attribute_spans import CALL_COLUMNS, plain
from captured_table import record
from openai_server import Server, serving
from peer_columns import CALLS, LIBRARIES, OPENINFERENCE
from processes import Running, collector

pytestmark = pytest.mark.peers

WORKER = Path(__file__).with_name("peer_worker.py")
TIMEOUT_S = 60


@dataclass(frozen=True)
class Around:
    """What the peers run between: the model's server and the collector."""

    server: Server
    collector: Running
    folder: Path

    def ask(self, sql: str, service: str) -> list[dict[str, Any]]:
        """Return the rows of *sql*, which names the service."""
        address = urlsplit(self.collector.url)
        client = clickhouse_connect.get_client(
            host=address.hostname, port=address.port, proxy_path="/sql"
        )
        try:
            return list(client.query(sql, parameters={"service": service}).named_results())
        finally:
            client.close()


@pytest.fixture(scope="module")
def around(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Around]:
    folder = tmp_path_factory.mktemp("peers")
    with serving() as server, collector(folder) as one:
        yield Around(server, one, folder)


def installed(library: str) -> str:
    """Return the version of *library*; without it the test is skipped."""
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{library} is not installed")


def run(peer: str, around: Around) -> None:
    """Let the peer's application run and end."""
    url = around.collector.url
    environ = {
        **os.environ,
        "OPENAI_BASE_URL": f"{around.server.url}/v1",
        "OPENAI_API_KEY": "planted-key",
        "OTEL_SERVICE_NAME": peer,
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "LANGFUSE_BASE_URL": url,
        "LANGFUSE_OTEL_TRACES_EXPORT_PATH": "v1/traces",
        "LANGFUSE_PUBLIC_KEY": "pk",
        "LANGFUSE_SECRET_KEY": "sk",
        "MLFLOW_TRACKING_URI": f"sqlite:///{around.folder / 'mlflow.db'}",
    }
    done = subprocess.run(
        [sys.executable, WORKER, peer],
        env=environ,
        cwd=around.folder,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S * 2,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def stored(peer: str, around: Around, count: int) -> list[dict[str, Any]]:
    """Return what the peer's spans fill, in the order they started, once there are *count*."""
    sql = (
        "SELECT name, trace_id_hex AS trace, request_id_text AS request, "
        f"{', '.join(CALL_COLUMNS)} FROM spans "
        "WHERE service = {service:String} ORDER BY start_time"
    )
    deadline = time.monotonic() + TIMEOUT_S
    while len(rows := around.ask(sql, peer)) < count and time.monotonic() < deadline:
        time.sleep(0.1)
    return rows


def filled(row: dict[str, Any]) -> dict[str, Any]:
    return {name: plain(row[name]) for name in CALL_COLUMNS if row[name] not in (None, {}, [])}


@pytest.mark.parametrize("peer", CALLS)
def test_columns_that_a_peer_fills(peer: str, around: Around) -> None:
    """
    Each call that a peer's SDK traced fills just these columns, nothing of its content is stored, and
    the explanation shows the call.
    """
    library = LIBRARIES[peer]
    version = installed(library)
    expected = CALLS[peer]
    run(peer, around)
    rows = stored(peer, around, len(expected))

    assert [(row["name"], filled(row)) for row in rows] == expected
    everything = around.ask("SELECT * FROM spans WHERE service = {service:String}", peer)
    assert "planted" not in str(everything)
    assert "Hello" not in str(everything)
    explained = httpx2.get(
        f"{around.collector.url}/api/v1/explanation", params={"id": rows[0]["trace"]}, timeout=30
    ).json()
    assert {name: explained["calls"][0][name] for name in ("model_requested", "model_served")} == {
        name: rows[0][name] for name in ("model_requested", "model_served")
    }
    columns = [name for name in CALL_COLUMNS if any(name in filled(row) for row in rows)]
    record(library, version, [name.replace("_", " ") for name in columns])


def test_spans_in_a_process_with_mvtrace_are_stamped_and_understood(around: Around) -> None:
    """
    Spans of a peer's instrumentation within a request carry its id and fill the same columns, though
    their content never leaves the process; the explanation of the request shows their calls.
    """
    installed(LIBRARIES["openinference"])
    expected = [
        (name, {key: value for key, value in columns.items() if key != "conversation_id"})
        for name, columns in OPENINFERENCE
        if "tool_name" not in columns and "documents" not in columns
    ]
    run("stamped", around)
    rows = [
        row
        for row in stored("stamped", around, len(expected) + 1)
        if row["name"] in {name for name, _ in expected}
    ]

    assert [(row["name"], filled(row)) for row in rows] == expected
    assert len({row["request"] for row in rows}) == 1
    explained = httpx2.get(
        f"{around.collector.url}/api/v1/explanation",
        params={"id": rows[0]["request"]},
        timeout=30,
    ).json()
    assert explained["record"] is not None
    assert [call["model_served"] for call in explained["calls"]] == [
        columns["model_served"] for _, columns in expected
    ]
    assert explained["calls"][0]["sampling"] == {
        "temperature": 0.5,
        "top_p": 0.25,
        "max_tokens": 64,
    }
    everything = around.ask("SELECT * FROM spans WHERE service = {service:String}", "stamped")
    assert "planted" not in str(everything)
