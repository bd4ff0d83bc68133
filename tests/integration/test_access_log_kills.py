"""The access log and the end of a process, of a disk, of patience: what was answered is logged."""

from __future__ import annotations

import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from processes import Running, collector, collector_command, start
from story import request_id

from mvtrace_collector.local_keys import LocalKeys

MINE = request_id(0)
SUBJECT = f"hmac-sha256:0123abcd:{'5' * 64}"


def kill(running: Running) -> None:
    running.process.send_signal(signal.SIGKILL)
    running.process.wait(10)


def counts(url: str, sql: str) -> list[list[str]]:
    answer = httpx2.get(f"{url}/sql", params={"query": sql}, timeout=30)
    assert answer.status_code == 200, answer.text
    return [line.split("\t") for line in answer.text.splitlines()]


def read(url: str, **query: str) -> list[dict[str, Any]]:
    answer = httpx2.get(f"{url}/api/v1/access", params={"limit": "10000", **query}, timeout=30)
    assert answer.status_code == 200, answer.text
    return [one for one in answer.json()["entries"] if one["action"] != "access"]


def wait_for_answers(answered: list[str], number: int) -> None:
    deadline = time.monotonic() + 60
    while len(answered) < number:
        assert time.monotonic() < deadline, f"{len(answered)} of {number} answers"
        time.sleep(0.01)


def begin(folder: Path, **environ: str) -> Running:
    return start(collector_command(folder / "store"), folder / "collector.log", environ)


@pytest.mark.parametrize(
    "place", ["access.after-answer@3", "access.before-insert@1", "access.before-mark@1"]
)
def test_killed_after_the_answer(tmp_path: Path, place: str) -> None:
    """
    Whatever was answered before a SIGKILL, right after the answer or while entries are stored, is in
    the log after the restart, once, and still once after another.
    """
    first = begin(tmp_path, MVTRACE_FAILPOINTS=place)
    answered = 0
    with httpx2.Client() as client:
        for number in range(3):
            path = f"{first.url}/api/v1/explanation?id={request_id(number)}&wait=0"
            answered += client.get(path).status_code == 404
    assert answered == 3
    first.process.wait(30)
    assert first.process.returncode == -signal.SIGKILL

    for _ in range(2):
        again = begin(tmp_path)
        entries = read(again.url)
        twice = counts(
            again.url, "SELECT access_id_text, count() c FROM access_log GROUP BY 1 HAVING c > 1"
        )
        kill(again)
        explained = [one for one in entries if one["action"] == "explain"]
        assert sorted(one["asked"] for one in explained) == [request_id(n) for n in range(3)]
        assert {one["actor"] for one in entries} == {"open"}
        assert twice == []


def test_killed_again_and_again_under_load(tmp_path: Path) -> None:
    """
    Clients that ask on while the collector is killed at any moment: each answer that one of them got
    has its entry, and only one.
    """
    answered: list[str] = []

    def ask_on(url: str) -> None:
        with httpx2.Client() as client:
            for number in range(100_000):
                marker = f"{len(answered)}-{number}-{id(client)}"
                try:
                    client.get(f"{url}/api/v1/explanation?id={marker}&wait=0")
                except httpx2.HTTPError:
                    return
                answered.append(marker)

    for round_number in range(3):
        one = begin(tmp_path)
        with ThreadPoolExecutor(4) as pool:
            before = len(answered)
            done = [pool.submit(ask_on, one.url) for _ in range(4)]
            wait_for_answers(answered, before + 20)
            time.sleep(0.1 * round_number)
            kill(one)
        assert [task.exception() for task in done] == [None] * 4

    last = begin(tmp_path)
    found = {marker: read(last.url, request=marker) for marker in answered[-5:]}
    entries = [one for one in read(last.url) if one["action"] == "explain"]
    twice = counts(last.url, "SELECT access_id FROM access_log GROUP BY 1 HAVING count() > 1")
    kill(last)

    assert twice == []
    assert len(answered) > 50
    assert [len(one) for one in found.values()] == [1] * 5
    assert len(answered) <= len(entries) <= len(answered) + 3 * 4


def test_erasure_that_a_kill_interrupts(tmp_path: Path) -> None:
    """
    An erasure is in the log before it begins: a collector killed then leaves an entry that says it
    was begun, and its end is not known.
    """
    first = begin(tmp_path, MVTRACE_FAILPOINTS="access.begun@1")
    with pytest.raises(httpx2.HTTPError):
        httpx2.post(f"{first.url}/api/v1/erasures", json={"subject": SUBJECT}, timeout=30)
    first.process.wait(10)

    again = begin(tmp_path)
    again.process.terminate()
    again.process.wait(30)
    last = begin(tmp_path)
    try:
        entries = [(one["action"], one["outcome"], one["asked"]) for one in read(last.url)]
        erased = counts(last.url, "SELECT count() FROM erasures")
    finally:
        kill(last)

    assert entries == [("erase", "begun", SUBJECT)]
    assert erased == [["0"]]


def test_nothing_is_answered_that_cannot_be_logged(tmp_path: Path) -> None:
    """
    Where the log takes nothing, no answer is given: not an explanation, a query, content or a key; and
    nothing is erased or made. Health and metrics say why. With room again all goes on.
    """
    floor = str(shutil.disk_usage(tmp_path).free // (1 << 20) * 3)
    full = begin(tmp_path, MVTRACE_INBOX_FLOOR_MIB=floor)
    with httpx2.Client(base_url=full.url, timeout=30) as client:
        withheld = [
            client.get("/api/v1/explanation", params={"id": MINE, "wait": "0"}),
            client.get("/api/v1/requests"),
            client.get("/sql", params={"query": "SELECT 1"}),
            client.get("/api/v1/content", params={"id": MINE}),
            client.post("/api/v1/erasures", json={"subject": SUBJECT}),
            client.post(
                "/api/v1/keys", json={"scopes": ["admin"], "projects": ["*"], "label": "x"}
            ),
        ]
        ready, metrics = client.get("/readyz"), client.get("/metrics").text
    kill(full)
    roomy = begin(tmp_path)
    try:
        left = counts(roomy.url, "SELECT count() FROM erasures")
        entries = read(roomy.url)
    finally:
        kill(roomy)

    assert [answer.status_code for answer in withheld] == [503] * 6
    assert {answer.json()["error"]["code"] for answer in withheld} == {"not-logged"}
    assert all(int(answer.headers["retry-after"]) > 0 for answer in withheld)
    assert ready.json()["checks"]["access_log"]["status"] == "failing"
    assert 'mvtrace_access_withheld_total{action="explain"} 1.0' in metrics
    assert 'mvtrace_access_withheld_total{action="erase"} 1.0' in metrics
    assert left == [["0"]]
    assert [one["action"] for one in entries] == ["sql"]  # the question of this test itself


def test_strangers_cannot_fill_the_log(tmp_path: Path) -> None:
    """
    Of requests that no key opened so many a minute have an entry; all are refused, and the others
    are counted.
    """
    dsn = f"chdb://{tmp_path / 'store'}"
    wanted = {"scopes": ["admin"], "projects": ["*"], "label": "admin"}
    admin = str(LocalKeys(dsn, by="x").create(wanted)["key"])
    with collector(tmp_path) as running, httpx2.Client(base_url=running.url, timeout=30) as client:
        refused = [client.get("/api/v1/requests").status_code for _ in range(100)]
        client.headers["authorization"] = f"Bearer {admin}"
        entries = client.get("/api/v1/access", params={"actor": "unknown", "limit": "1000"})
        metrics = client.get("/metrics").text

    assert set(refused) == {401}
    assert len(entries.json()["entries"]) == 60
    assert "mvtrace_access_not_logged_total 40.0" in metrics
