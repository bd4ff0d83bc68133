"""A service that declares nothing: its version is made of what its requests meet, and settles."""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from captured import Captured
from processes import collector
from servers import Server, serving

import mvtrace
from mvtrace.records import RequestRecord

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
COMMAND = (
    *("-m", "uvicorn", "--fd", "{fd}", "--workers", "4", "--log-level", "warning"),
    "undeclared_app:app",
)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real collector for the tests of this file."""
    with collector(tmp_path_factory.mktemp("collector")) as one:
        yield one.url


class Service:
    """The application, its requests in random order, and what is told of them."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self.state = folder / "model.txt"
        self.state.write_text("large-1")
        self.random = random.Random(7)

    def run(self, requests: int, *, pause_s: float = 0.0) -> list[str]:
        """Start the workers, send that many requests, half of them after a pause; return ids."""
        environ = {
            "MVTRACE_URL": self.url,
            "MVTRACE_SERVICE": self.folder.name,
            "MVTRACE_SPOOL_DIR": str(self.folder / "spool"),
            "UNDECLARED_STATE": str(self.state),
            "PYTHONPATH": f"{ROOT}:{ROOT / 'collector'}:{HERE}",
        }
        with serving(COMMAND, self.folder / "app.log", HERE, environ) as server:
            ids = self.send(server, requests // 2)
            time.sleep(pause_s)
            return ids + self.send(server, requests - requests // 2)

    def send(self, server: Server, requests: int) -> list[str]:
        """Send requests whose callers choose what they like, over both routes."""

        def one(number: int) -> str:
            body: dict[str, Any] = {"question": f"number {number}"}
            if number % 5 == 0:
                body["temperature"] = round(random.Random(number).random(), 3)
            path = "/dated" if number % 3 == 0 else "/chat"
            reply = httpx2.post(f"http://127.0.0.1:{server.port}{path}", json=body, timeout=30)
            assert reply.status_code == 200
            return str(reply.headers["x-mvtrace-request-id"])

        numbers = list(range(requests))
        self.random.shuffle(numbers)
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(one, numbers))

    def versions(self, ids: list[str]) -> list[str]:
        """Return the version of each request, once all are stored, in the order they were sent."""
        query = (
            "SELECT request_id_text, composite_version FROM requests"
            f" WHERE service = '{self.folder.name}' AND state = 'finished' FORMAT TSV"
        )
        deadline = time.monotonic() + 60
        while True:
            text = httpx2.get(f"{self.url}/sql", params={"query": query}).text
            rows = dict(line.split("\t") for line in text.splitlines())
            if set(ids) <= rows.keys():
                return [rows[one] for one in ids]
            assert time.monotonic() < deadline, f"{len(rows)} of {len(ids)} are stored"
            time.sleep(0.2)

    def explained(self, request_id: str) -> dict[str, Any]:
        """Return the explanation of a request."""
        reply = httpx2.get(f"{self.url}/api/v1/explanation", params={"id": request_id})
        return dict(json.loads(reply.text))


@pytest.fixture
def service(tmp_path: Path, url: str) -> Service:
    """An application that declares nothing, in a folder of its own."""
    return Service(tmp_path, url)


@pytest.mark.skipif(sys.platform != "linux", reason="sockets are handed over by descriptor")
def test_workers_settle_on_one_version(service: Service) -> None:
    """
    Four workers, requests in random order, callers with temperatures of their own, a template that
    carries the time: one settled version, the same after two restarts, all its parts observed.
    """
    first = service.versions(service.run(240, pause_s=3))
    second = service.versions(service.run(120, pause_s=3))
    ids = service.run(120, pause_s=3)
    third = service.versions(ids)

    assert len(set(first[-40:])) == 1, set(first[-40:])
    assert set(second) == set(third) == {first[-1]}
    explanation = service.explained(ids[-1])
    parts = explanation["composite"]["components"]
    assert {part["basis"] for part in parts} == {"observed"}
    slots = {f"{part['kind']}/{part['name']}" for part in parts}
    assert slots >= {
        "index/notes",
        "model//chat answer",
        "model//dated answer",
        "prompt/answer",
        "router//chat route",
        "stack/default",
        "tools//chat answer",
    }
    assert "composite_observed" in {finding["code"] for finding in explanation["findings"]}
    volatile = [
        one for one in service.explained(ids[-1])["findings"] if one["code"] == "slot_volatile"
    ]
    assert volatile == []


def test_model_replaced_behind_its_name(service: Service) -> None:
    """
    When another model begins to answer, the first request it answers says so, and the version is
    another one from there on.
    """
    before = service.versions(service.run(40, pause_s=2))[-1]
    service.state.write_text("large-2")
    ids = service.run(60, pause_s=3)
    after = service.versions(ids)

    assert before not in after[-20:]
    changed = [
        (one, finding)
        for one in ids
        for finding in service.explained(one)["findings"]
        if finding["code"] == "state_changed" and finding["evidence"]["kind"] == "model"
    ]
    assert 1 <= len(changed) <= 4  # once a worker that had met the former
    assert {finding["evidence"]["name"] for _, finding in changed} == {"/chat answer"}


def test_ten_thousand_requests_with_todays_date(captured: Captured) -> None:
    """
    Over two routes, one of whose templates carries the time: one settled version, and one request
    that says the slot is volatile.
    """
    for number in range(10_000):
        fixed = number % 2
        with mvtrace.request(route="/fixed" if fixed else "/dated"):
            template = mvtrace.prompt("fixed", "Answer") if fixed else _dated(number)
            sampling = {"temperature": number % 7 / 10}
            with mvtrace.generation(
                "answer", model="m", prompt=template, sampling=sampling
            ) as call:
                call.response(model="m-1")

    found: list[RequestRecord] = captured.records
    assert len(found) == 10_000
    volatile = [
        (drift.kind, drift.name) for one in found for drift in one.drift if drift.what == "volatile"
    ]
    assert len([slot for slot in volatile if slot[0] == "prompt"]) == 1
    assert len({one.composite_version for one in found[100:]}) == 1
    assert {one.composite_basis for one in found} == {"observed"}


def _dated(number: int) -> mvtrace.Component:
    return mvtrace.prompt("dated", f"It is {number} o'clock. Answer")
