"""What changes behind everybody's back: found, named to the request, and nothing else is."""

from __future__ import annotations

import http.client
import http.server
import json
import os
import subprocess
import sys
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
from processes import Running, collector
from servers import HEADER, Server, serving

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
COMMAND = ("-m", "uvicorn", "--fd", "{fd}", "--log-level", "warning", "drift_app:app")
CLIENTS = 4


class Provider(http.server.BaseHTTPRequestHandler):
    """A provider whose alias is moved to another model without a word."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 65_536
    serves: ClassVar[dict[str, str]] = {"large": "large-2026-08-01"}

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        body = json.dumps({"model": self.serves[asked["model"]], "text": "yes"}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@dataclass
class Service:
    """The running application, and the files that it goes by."""

    server: Server
    folder: Path
    collector: Running
    sent: list[str] = field(default_factory=list)

    def send(self, requests: int) -> list[str]:
        """Return the ids of so many requests, in the order of their ids."""
        share = [requests // CLIENTS + (one < requests % CLIENTS) for one in range(CLIENTS)]
        with ThreadPoolExecutor(CLIENTS) as pool:
            ids = sorted(one for found in pool.map(self._send, share) for one in found)
        self.sent += ids
        return ids

    def _send(self, requests: int) -> list[str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        found = []
        for number in range(requests):
            connection.request("GET", f"/ask?q={number % 7}")
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            answer.read()
            found.append(str(answer.getheader(HEADER)))
        connection.close()
        return found

    def write(self, name: str, content: Any) -> None:
        """Put a file in the place of what the application reads."""
        beside = self.folder / f"{name}.new"
        beside.write_text(json.dumps(content))
        beside.replace(self.folder / name)

    def ask(self, *arguments: str) -> str:
        """Return what a command says of the collector's store."""
        environ = {key: value for key, value in os.environ.items() if "MVTRACE" not in key}
        done = subprocess.run(
            [sys.executable, "-m", "mvtrace", *arguments, "--url", self.collector.url],
            capture_output=True, check=False, timeout=120, env=environ, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def settled(self) -> None:
        """Return once every request that was sent is stored, finished."""
        wanted = len(self.sent)
        for _ in range(600):
            count = int(
                self.sql("SELECT uniqExact(request_id) FROM requests WHERE state='finished'")
            )
            if count >= wanted:
                return
            threading.Event().wait(0.1)
        raise AssertionError(f"{count} of {wanted} requests are stored")

    def sql(self, statement: str) -> str:
        """Return what a statement gives over ``/sql``, as CSV."""
        where = f"{self.collector.url}/sql?default_format=CSV"
        with urllib.request.urlopen(where, statement.encode(), timeout=60) as answer:
            return str(answer.read().decode().strip())

    def get(self, path: str, **query: str) -> dict[str, Any]:
        where = f"{self.collector.url}{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(where, timeout=60) as answer:
            return dict(json.loads(answer.read()))

    def drift(self, *arguments: str) -> list[dict[str, Any]]:
        """Return the episodes, the first one first."""
        found = json.loads(self.ask("drift", "--json", "--limit", "1000", *arguments))["drift"]
        return sorted(found, key=lambda one: str(one["first_request"]))


@contextmanager
def running(folder: Path, *, declared: bool = True) -> Iterator[Service]:
    """Run provider, collector and application."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    (folder / "passages.json").write_text(json.dumps({"a": "one", "b": "two"}))
    (folder / "router.json").write_text(json.dumps({"threshold": 0.5}))
    try:
        with collector(folder) as store:
            environ = {
                "MVTRACE_URL": store.url,
                "MVTRACE_SERVICE": "support",
                "MVTRACE_ENVIRONMENT": "prod",
                "MVTRACE_SPOOL_DIR": str(folder / "spool"),
                "DRIFT_DECLARED": str(int(declared)),
                "DRIFT_FOLDER": str(folder),
                "DRIFT_PROVIDER": f"127.0.0.1:{server.server_address[1]}",
                "PYTHONPATH": f"{ROOT}:{ROOT / 'collector'}:{HERE}",
            }
            with serving(COMMAND, folder / "app.log", HERE, environ) as app:
                yield Service(app, folder, store)
    finally:
        server.shutdown()
        server.server_close()
        thread.join(30)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    Provider.serves = {"large": "large-2026-08-01"}
    with running(tmp_path) as one:
        yield one


@pytest.fixture
def undeclared(tmp_path: Path) -> Iterator[Service]:
    Provider.serves = {"large": "large-2026-08-01"}
    with running(tmp_path, declared=False) as one:
        yield one


def shown(one: dict[str, Any]) -> tuple[str, str, str, str, int, str]:
    """Return what an episode says, for comparison."""
    slot = f"{one['kind']}/{one['name']} {one['what']}"
    return (slot, one["state"], one["first_request"], one["last_request"], one["requests"],
            one["ended_by"])  # fmt: skip


@pytest.mark.parametrize("unchanged", [1_000, pytest.param(10_000, marks=pytest.mark.failure)])
def test_three_silent_changes(service: Service, unchanged: int) -> None:
    """
    A reindex, an alias that is moved and a threshold that is edited are one drift each, from exactly
    its first request to its last; unchanged requests are none.
    """
    service.send(unchanged)
    service.settled()
    assert service.drift() == []

    service.write("passages.json", {"a": "one", "b": "two", "c": "three"})
    reindexed = service.send(23)
    service.write("passages.json", {"a": "one", "b": "two"})
    after_reindex = service.send(11)
    Provider.serves = {"large": "large-2026-10-01"}
    moved = service.send(17)
    Provider.serves = {"large": "large-2026-08-01"}
    after_move = service.send(9)
    service.write("router.json", {"threshold": 0.4})
    edited = service.send(31)
    service.write("router.json", {"threshold": 0.5})
    after_edit = service.send(5)
    service.settled()
    found = service.drift("--since", "1h")

    assert [shown(one) for one in found] == [
        ("index/passages digest", "ended", reindexed[0], reindexed[-1], 23, after_reindex[0]),
        ("model/answerer release", "ended", moved[0], moved[-1], 17, after_move[0]),
        ("router/route policy", "ended", edited[0], edited[-1], 31, after_edit[0]),
    ]
    assert (found[1]["expected"], found[1]["observed"]) == ("large-2026-08-01", "large-2026-10-01")
    affected_says_the_same(service, found, [reindexed, moved, edited])
    metrics = urllib.request.urlopen(f"{service.collector.url}/metrics", timeout=30).read().decode()
    assert "mvtrace_open_drift{" not in metrics
    kept = {(one["id"], one["state"]) for one in found}
    others = {one for one, _ in told(service) - kept}
    assert told(service) >= kept
    assert others <= superseded(service)  # told before an earlier request of it was stored


def affected_says_the_same(
    service: Service, found: list[dict[str, Any]], expected: list[list[str]]
) -> None:
    """Each drift's blast radius is the requests of its time, as count, list and SQL."""
    for one, ids in zip(found, expected, strict=True):
        said = service.get("/api/v1/affected", id=one["id"][:12], list="1", limit="99")
        assert (said["requests"], said["requests_with_user"]) == (len(ids), len(ids))
        assert 1 <= said["users"] <= 7
        assert [version["requests"] for version in said["versions"]] == [len(ids)]
        assert [one["request_id"] for one in said["listed"]] == ids
        listed = service.sql(said["sql"]).splitlines()
        assert [line.split(",")[0].strip('"') for line in listed] == ids
    short = found[0]["id"][:12]
    assert service.ask("affected", short, "--count") == f"{len(expected[0])}\n"
    assert service.ask("affected", short, "--list", "--limit", "99").split() == expected[0]


def test_three_silent_changes_of_what_nobody_declared(undeclared: Service) -> None:
    """
    The same of a service that declares nothing: each change is one drift, from the first request
    that met the new value to the last, and its end is the return of the old one.
    """
    service = undeclared
    service.send(30)
    service.write("passages.json", {"a": "one", "b": "two", "c": "three"})
    reindexed = service.send(12)
    service.write("passages.json", {"a": "one", "b": "two"})
    after_reindex = service.send(8)
    Provider.serves = {"large": "large-2026-10-01"}
    moved = service.send(13)
    Provider.serves = {"large": "large-2026-08-01"}
    after_move = service.send(8)
    service.write("router.json", {"threshold": 0.4})
    edited = service.send(14)
    service.settled()
    found = service.drift()

    assert [shown(one) for one in found] == [
        ("index/passages changed", "ended", reindexed[0], reindexed[-1], 12, after_reindex[0]),
        ("model//ask answer changed", "ended", moved[0], moved[-1], 13, after_move[0]),
        ("router//ask route changed", "open", edited[0], edited[-1], 14, None),
    ]
    assert {one["basis"] for one in found} == {"observed"}
    for one, ids in zip(found, (reindexed, moved, edited), strict=True):
        said = service.get("/api/v1/affected", id=one["id"], list="1", limit="99")
        assert [one["request_id"] for one in said["listed"]] == ids
    metrics = urllib.request.urlopen(f"{service.collector.url}/metrics", timeout=30).read().decode()
    assert 'mvtrace_open_drift{basis="observed",kind="router"} 1.0' in metrics
    assert 'mvtrace_open_drift_requests{basis="observed",kind="router"} 14.0' in metrics


def superseded(service: Service) -> set[str]:
    """Return the ids of drifts that were found to begin earlier, and have another id since."""
    sql = "SELECT lower(hex(episode_id)) FROM drift_episodes WHERE isNotNull(superseded_by)"
    return {line.strip('"') for line in service.sql(sql).splitlines()}


def told(service: Service) -> set[tuple[str, str]]:
    """Return which drifts the collector's log tells of."""
    lines = service.collector.log.read_text().splitlines()
    events = [json.loads(line) for line in lines if line.startswith("{")]
    return {(one["drift"], one["state"]) for one in events if one["event"] == "mvtrace.drift"}
