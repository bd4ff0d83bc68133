from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from processes import Running, running
from starlette.testclient import TestClient

from mvtrace.errors import MvtraceError
from mvtrace_collector import health
from mvtrace_collector.app import build_app
from mvtrace_collector.config import CollectorConfig
from mvtrace_collector.state import CollectorState

KEY = "a-key-of-sixteen-characters"


def command(store: Path, *options: str) -> list[str]:
    listen = () if "--listen" in options else ("--listen", "127.0.0.1:0")
    module = (sys.executable, "-m", "mvtrace_collector")
    return [*module, "--store", f"chdb://{store}", *listen, *options]


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One collector for the tests of this file."""
    folder = tmp_path_factory.mktemp("collector")
    with running(command(folder / "store"), folder / "collector.log") as one:
        yield one


def a_trace(name: str, trace_id: bytes) -> bytes:
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    spans.add(
        trace_id=trace_id,
        span_id=b"\x01" * 8,
        name=name,
        start_time_unix_nano=time.time_ns(),
        end_time_unix_nano=time.time_ns(),
    )
    return request.SerializeToString()


def post_trace(url: str, body: bytes) -> httpx2.Response:
    return httpx2.post(
        f"{url}/v1/traces", content=body, headers={"content-type": "application/x-protobuf"}
    )


def metric(url: str, name: str) -> float:
    lines = httpx2.get(f"{url}/metrics").text.splitlines()
    values = [float(line.split()[-1]) for line in lines if line.startswith(f"{name}")]
    return sum(values)


def wait_stored(url: str) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if metric(url, "mvtrace_inbox_stored_seq") == metric(url, "mvtrace_inbox_accepted_seq"):
            return
        time.sleep(0.05)
    pytest.fail("not stored after 20 s")


def test_the_startup_line_names_the_real_port(collector: Running) -> None:
    """
    Whoever asked for port 0 reads from the first line where the collector listens.
    """
    first = collector.log.read_text().splitlines()[0]

    port = collector.url.rpartition(":")[2]
    store = collector.log.parent / "store"
    assert first == (f"mvtrace collector listens on http://127.0.0.1:{port}, store chdb://{store}")
    assert int(port) > 0


def test_a_span_becomes_a_row(collector: Running) -> None:
    """
    What is accepted is stored soon after, and the counters say so.
    """
    before = metric(collector.url, 'mvtrace_stored_rows_total{table="spans"}')

    response = post_trace(collector.url, a_trace("hello", b"\x07" * 16))
    wait_stored(collector.url)

    assert (response.status_code, response.content) == (200, b"")
    assert metric(collector.url, 'mvtrace_stored_rows_total{table="spans"}') == before + 1
    found = httpx2.get(
        f"{collector.url}/sql",
        params={"query": "SELECT name FROM spans WHERE trace_id_hex = repeat('07', 16) FORMAT CSV"},
    )
    assert (found.status_code, found.text) == (200, '"hello"\n')


def test_health(collector: Running) -> None:
    """
    The process lives, and each of its parts can work.
    """
    alive = httpx2.get(f"{collector.url}/healthz")
    ready = httpx2.get(f"{collector.url}/readyz")

    assert (alive.status_code, alive.json()) == (200, {"status": "alive"})
    assert ready.status_code == 200
    assert ready.json() == {
        "status": "ready",
        "checks": {check.name: {"status": "ok"} for check in health.CHECKS},
    }
    assert ready.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/", "/nothing", "/v1/traces/", "/v1/metrics", "/healthz/"])
def test_unknown_paths(collector: Running, path: str) -> None:
    """
    An unknown path is 404 in JSON, also with a slash too many: nothing is redirected.
    """
    response = httpx2.get(f"{collector.url}{path}")

    assert response.status_code == 404
    assert response.json()["error"]["message"] == f"Not Found: GET {path}"


def test_another_host_name_is_refused(collector: Running) -> None:
    """
    On loopback without a key only names of loopback are answered.
    """
    response = httpx2.get(f"{collector.url}/healthz", headers={"host": "evil.example"})

    assert response.status_code == 421


def test_a_foreign_origin_is_not_allowed(collector: Running) -> None:
    """
    A browser's preflight gets no permission.
    """
    response = httpx2.options(
        f"{collector.url}/v1/traces",
        headers={"origin": "https://evil.example", "access-control-request-method": "POST"},
    )

    assert response.status_code == 405
    assert "access-control-allow-origin" not in response.headers


def test_a_second_collector_on_the_store_is_told_who_has_it(collector: Running) -> None:
    """
    The message names the owner's process and address, and the exit code is 3.
    """
    store = collector.log.parent / "store"

    second = subprocess.run(command(store), capture_output=True, text=True, timeout=60, check=False)

    assert second.returncode == 3
    assert second.stderr == (
        f"The store {store} is in use by process {collector.process.pid} that listens on "
        f"{collector.url}; an embedded store belongs to one process at a time.\n"
        f"Read through it instead: --url {collector.url}\n"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--listen", "0.0.0.0:0"), "--listen is '0.0.0.0:0'; without TLS a collector listens on loopback only.\nPass --tls-cert and --tls-key, or --allow-remote behind a proxy with TLS.\n"),
        (("--data", "/proc/nowhere"), "--data is '/proc/nowhere'; the system refuses it: No such file or directory.\n"),
        (("--workers", "2"), "--workers is 2; one process owns the store and the inbox, so it must be 1.\n"),
    ],
)  # fmt: skip
def test_what_cannot_be_ends_with_exit_code_2(
    tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    """
    A wrong setting ends the start with its message and leaves nothing behind.
    """
    ended = subprocess.run(
        command(tmp_path / "store", *options),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (ended.returncode, ended.stderr) == (2, message)
    assert list(tmp_path.iterdir()) == []


def test_stopping_is_clean_and_starting_again_goes_on(tmp_path: Path) -> None:
    """
    SIGTERM ends with exit code 0 and without a word; the next start has the data and the inbox.
    """
    log = tmp_path / "collector.log"
    with running(command(tmp_path / "store"), log) as one:
        post_trace(one.url, a_trace("kept", b"\x09" * 16))
        one.process.send_signal(signal.SIGTERM)
        assert one.process.wait(30) == 0
    with running(command(tmp_path / "store"), log) as one:
        again = post_trace(one.url, a_trace("second", b"\x0a" * 16))
        wait_stored(one.url)
        rows = httpx2.get(
            f"{one.url}/sql", params={"query": "SELECT name FROM spans ORDER BY name FORMAT CSV"}
        )

    assert again.status_code == 200
    assert rows.text == '"kept"\n"second"\n'
    lines = log.read_text().splitlines()
    assert all(line.startswith("mvtrace collector listens on ") for line in lines), lines


def test_the_working_directory_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A collector may be started from a directory where nothing can be written; it loads all the same.
    """
    paths = [
        str(Path(one).absolute()) for one in os.environ.get("PYTHONPATH", "").split(os.pathsep)
    ]
    environ = {"PYTHONPATH": os.pathsep.join(paths)}
    monkeypatch.chdir("/proc")
    with running(command(tmp_path / "store"), tmp_path / "collector.log", environ) as one:
        post_trace(one.url, a_trace("from nowhere", b"\x0c" * 16))
        wait_stored(one.url)

        assert metric(one.url, 'mvtrace_stored_rows_total{table="spans"}') == 1


def test_with_a_key_in_the_environment(tmp_path: Path) -> None:
    """
    A collector with a key answers whoever has it, also behind a proxy's address.
    """
    environ = {"MVTRACE_API_KEY": KEY, "MVTRACE_ALLOW_REMOTE": "true"}
    options = command(tmp_path / "store", "--listen", "0.0.0.0:0")
    with running(options, tmp_path / "collector.log", environ) as one:
        url = one.url.replace("0.0.0.0", "127.0.0.1")
        without = post_trace(url, a_trace("x", b"\x0b" * 16))
        health = httpx2.get(f"{url}/healthz")
        counted = httpx2.get(f"{url}/metrics", headers={"authorization": f"Bearer {KEY}"})

    assert (without.status_code, health.status_code, counted.status_code) == (401, 200, 200)
    assert KEY not in (tmp_path / "collector.log").read_text()


def test_as_an_application(tmp_path: Path) -> None:
    """
    build_app opens everything when the lifespan starts and gives it back when it ends.
    """
    config = CollectorConfig(store=f"chdb://{tmp_path / 'store'}")
    for _ in range(2):
        app = build_app(config)
        assert not (tmp_path / "store.inbox" / "index.sqlite-wal").exists()
        with TestClient(app) as client:
            assert client.get("/readyz").status_code == 200
            assert client.get("/api/v1/nothing").status_code == 404
            unknown = client.get("/sql", params={"query": "SELECT 1", "project": "No Project"})
        assert unknown.status_code == 400
        assert not app.state.collector.is_loading


def test_not_ready_says_why(tmp_path: Path) -> None:
    """
    With the store gone or the collector stopping, /readyz is 503 and names the part; /healthz
    stays 200.
    """
    app = build_app(CollectorConfig(store=f"chdb://{tmp_path / 'store'}"))
    with TestClient(app) as client:
        app.state.collector.gate.is_open = False
        app.state.collector.store.close()
        ready = client.get("/readyz")
        alive = client.get("/healthz")

    assert (ready.status_code, alive.status_code) == (503, 200)
    assert ready.json()["status"] == "not ready"
    checks = ready.json()["checks"]
    assert checks["collector"]["reason"] == "the collector is stopping"
    assert "it was closed" in checks["store"]["reason"]
    assert checks["inbox"] == checks["loader"] == {"status": "ok"}


def test_start_that_fails_gives_everything_back(tmp_path: Path) -> None:
    """
    Where the last thing to be opened cannot be, store and inbox are free for the next try.
    """
    config = CollectorConfig(store=f"chdb://{tmp_path / 'store'}")
    config.keys_dir.write_text("in the way")
    state = CollectorState(config)
    with pytest.raises((OSError, MvtraceError)):
        state.open()

    config.keys_dir.unlink()
    state.open()
    assert state.inbox.lag().segments == 0
    state.close()
