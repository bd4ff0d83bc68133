"""Decisions in a real collector with keys: who may take them, who wins, what explanations say."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from keyed import Keyed, ask, id_of, new_key
from processes import collector
from stored import Filler, new_store
from story import SECOND, SYSTEM, record, request_id

from mvtrace.ids import unix_ms_of
from mvtrace.registry.deployments import Decision, event_of
from mvtrace.scores import export_of

FIRST, LATER = SYSTEM.version, SECOND.version
BOT = ["--service", "support", "--environment", "prod"]


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    folder = tmp_path_factory.mktemp("governed")
    dsn = f"chdb://{folder / 'store'}"
    with new_store(dsn) as store:
        for project in ("a", "b", "log", "alarm"):
            fill = Filler(store, project=project)
            fill.system()
            fill.system(SECOND)
            fill.request(record(0))
            fill.request(record(1, composite_version=None, composite_name=None))
    admin = new_key("admin", "*", ["--store", dsn])
    with collector(folder) as running:
        yield Keyed(running, admin)


def promotion(version: str, at: int, **said: Any) -> bytes:
    facts: dict[str, Any] = {"service": "support", "environment": "prod", **said}
    decision = Decision(action="promote", composite=version, at=at, **facts)
    return export_of([event_of(decision, now_ns=at)], project="alarm")


def post(closed: Keyed, key: str, body: bytes) -> tuple[int, bytes]:
    answer = closed.ask("/v1/logs", key, body, headers={"content-type": "application/x-protobuf"})
    return answer.status, answer.text.encode()


def deploy(closed: Keyed, key: str, *words: str, code: int = 0) -> str:
    return closed.run(*words, *BOT, key=key, code=code)


def served(closed: Keyed, project: str, at: str = "") -> Any:
    query = f"/api/v1/deployments?project={project}{'&at=' + at if at else ''}"
    return closed.ask(query, closed.reader).json


def test_a_promotion_without_govern_is_in_quarantine_alone(closed: Keyed) -> None:
    """
    Its sender is told, nothing of it is a deployment, its bytes and its key are in quarantine, and
    the alarm is in the log.
    """
    key = closed.key("ingest read", "alarm")
    body = promotion(LATER, time.time_ns(), claimed_actor="the boss", reason="unmistakable")

    status, told = post(closed, key, body)

    assert status == 200
    assert b"scope govern" in told
    rows = closed.rows("SELECT reason, detail, body FROM quarantine", "alarm")
    assert [row[0] for row in rows] == ["not-permitted"]
    assert id_of(key) in rows[0][1]
    assert "unmistakable" in rows[0][2]
    for table in ("deployments", "governance_events", "events", "scores"):
        assert closed.sql(f"SELECT count() FROM {table}", "alarm") == [[0]], table
    assert served(closed, "alarm")["deployments"] == []
    deadline = time.monotonic() + 25
    while "not-permitted" not in closed.log.read_text() and time.monotonic() < deadline:
        time.sleep(0.2)
    (line,) = [one for one in closed.log.read_text().splitlines() if '"not-permitted"' in one]
    assert json.loads(line)["event"] == "not-permitted"
    assert "unmistakable" not in line
    assert (
        'mvtrace_rejected_total{reason="govern",signal="logs"} 1.0'
        in closed.ask("/metrics", closed.admin).text
    )


def test_the_same_promotion_under_a_better_key_is_stored(closed: Keyed) -> None:
    """
    What a key without govern sent first does not stand in the way of who may send it.
    """
    body = promotion(LATER, time.time_ns(), service="same")
    weak, strong = closed.key("ingest", "alarm"), closed.key("govern", "alarm")

    assert b"govern" in post(closed, weak, body)[1]
    assert post(closed, strong, body) == (200, b"")
    rows = closed.rows("SELECT actor, actor_label FROM deployments WHERE service = 'same'", "alarm")
    assert rows == [[id_of(strong), "govern"]]


def test_a_decision_in_another_project_is_rejected(closed: Keyed) -> None:
    """
    A key governs the projects it lists; of another nothing is stored anywhere.
    """
    key = closed.key("govern", "b")

    status, told = post(closed, key, promotion(FIRST, time.time_ns(), service="foreign"))

    assert status == 200
    assert b"does not list" in told
    assert closed.sql("SELECT reason FROM quarantine WHERE body LIKE '%foreign%'", "alarm") == []


def test_commands_decide_and_tell(closed: Keyed) -> None:
    """
    A command returns when its decision is stored, with the key as its actor; the list shows what
    serves, now and at any moment before.
    """
    key = closed.key("govern read", "a")
    before = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 1))

    told = deploy(closed, key, "deploy", FIRST[:10], "--reason", "the first")
    assert f"deploy of {FIRST[:12]} for support in prod is stored" in told
    assert f"by {id_of(key)} (govern read), claiming to be " in told
    assert served(closed, "a")["serving"][0]["stable"]["composite_version"] == FIRST

    canary = deploy(closed, key, "deploy", LATER, "--share", "0.05", "--evidence", "T-1")
    assert f"canary of {LATER[:12]} for 0.05 of the requests" in canary
    deploy(closed, key, "promote")
    deploy(closed, key, "rollback", "--reason", "worse", "--expect", LATER[:12])

    listed = json.loads(closed.run("deployments", "--json", key=key))
    assert [one["action"] for one in listed["deployments"]] == [
        "rollback", "promote", "canary", "deploy",
    ]  # fmt: skip
    assert listed["serving"][0]["stable"]["composite_version"] == FIRST
    assert {one["actor"] for one in listed["deployments"]} == {id_of(key)}
    shown = closed.run("deployments", key=key)
    assert f"support in prod: {FIRST[:12]}" in shown
    assert "worse" in shown
    assert served(closed, "a", before)["deployments"] == []
    middle = listed["deployments"][2]["at"]
    at_canary = served(closed, "a", middle)["serving"][0]
    assert at_canary["stable"]["composite_version"] == FIRST
    assert at_canary["canary"]["composite_version"] == LATER


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        (["deploy", "00000000"], 1, "No composite version registered in project 'b' starts with"),
        (["deploy", "xyz"], 2, "at least 8 hex digits"),
        (["deploy", FIRST, "--expect", "00000000"], 1, "No composite version registered"),
        (["deploy", FIRST, "--expect", LATER], 1, "but nothing was deployed"),
        (["promote"], 2, "no canary of support in prod is running"),
        (["revert"], 2, "no canary of support in prod is running"),
        (["rollback"], 2, "nothing served before in support in prod"),
        (["deploy", FIRST, "--share", "0"], 2, "share"),
    ],
)
def test_what_cannot_be_decided_says_why(
    closed: Keyed, words: Sequence[str], code: int, problem: str
) -> None:
    """
    An unknown version, a lost race, a canary that is not there: nothing is stored.
    """
    key = closed.key("govern", "b")

    assert problem in deploy(closed, key, *words, code=code)
    assert served(closed, "b")["deployments"] == []


def test_deciding_needs_govern(closed: Keyed) -> None:
    """
    A key that reads and sends may not decide.
    """
    told = deploy(closed, closed.key("ingest read", "b"), "deploy", FIRST, code=2)

    assert "has not the scope govern" in told


def test_collecting_needs_govern(closed: Keyed) -> None:
    """
    A key that reads and sends may not begin a collection; nothing of it is stored.
    """
    said = {"action": "collect", "artifact": "a" * 64, "uri": "/models/x", "listing": "{}"}

    key = closed.key("ingest read sql", "b")
    answer = closed.ask("/api/v1/retention", key, json.dumps(said).encode())

    assert answer.status == 403
    assert "has not the scope govern" in answer.text
    assert closed.sql("SELECT count() FROM governance_events", "b") == [[0]]


def test_of_many_who_expect_the_same_one_wins(closed: Keyed) -> None:
    """
    Twelve at once expect the same version: one decision is stored, the others are told who won.
    """
    key = closed.key("govern", "log")
    said = {"action": "deploy", "service": "race", "environment": "prod", "version": FIRST}
    assert closed.ask("/api/v1/deploy", key, json.dumps(said).encode()).status == 201

    def attempt(number: int) -> tuple[int, str]:
        wanted = {**said, "version": LATER, "expect": FIRST, "reason": f"attempt {number}"}
        answer = closed.ask("/api/v1/deploy", key, json.dumps(wanted).encode())
        return answer.status, answer.text

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(attempt, range(12)))

    assert sorted(status for status, _ in answers) == [201] + [409] * 11
    assert all("serves, decided by" in text for status, text in answers if status == 409)
    assert (
        len(closed.sql("SELECT event_id_hex FROM deployments WHERE service = 'race'", "log")) == 2
    )


def test_explanations_know_what_was_deployed(closed: Keyed) -> None:
    """
    A request that names no version gets the one that was deployed when it began, inferred; now is
    what is deployed now, and what changed since is told against it.
    """
    key = closed.key("govern read", "log")
    began_ns = unix_ms_of(request_id(1)) * 10**6
    early = Decision(
        action="deploy",
        service="support",
        environment="production",
        composite=FIRST,
        at=began_ns - 10**9,
    )
    body = export_of([event_of(early, now_ns=early.at or 0)], project="log")
    assert post(closed, key, body)[0] == 200
    closed.rows("SELECT event_id_hex FROM deployments WHERE service = 'support'", "log")
    closed.run(
        *("deploy", LATER, "--service", "support", "--environment", "production"),
        *("--reason", "shorter answers"),
        key=key,
    )

    def explained(number: int) -> Any:
        path = f"/api/v1/explanation?id={request_id(number)}&project=log&wait=0"
        return closed.ask(path, closed.reader).json

    nameless, named = explained(1), explained(0)
    assert (nameless["composite"]["version"], nameless["composite"]["basis"]) == (FIRST, "inferred")
    assert nameless["deployment"]["actor"] == id_of(key)
    assert "composite_deployed" in [one["code"] for one in nameless["findings"]]
    assert "deployed" in [one["code"] for one in named["findings"]]
    for one in (nameless, named):
        assert one["now"]["composite_version"] == LATER
        assert one["now"]["deployment"]["reason"] == "shorter answers"
        assert [(change["kind"], change["name"]) for change in one["changes_since"]] == [
            ("prompt", "answer")
        ]
    text = closed.run("explain", request_id(1), key=key, environ={"MVTRACE_PROJECT": "log"})
    assert "Nothing of this request names a version" in text
    assert f"against what serves now ({LATER[:12]}, deploy on " in text


def test_decisions_survive_the_collector(tmp_path: Path) -> None:
    """
    Killed right after a decision was answered, and started again, the collector still has it; in
    a collector without keys its actor is open.
    """
    dsn = f"chdb://{tmp_path / 'store'}"
    with new_store(dsn) as store:
        Filler(store).system()
    said = {"action": "deploy", "service": "s", "environment": "e", "version": FIRST[:8]}
    with collector(tmp_path) as running:
        answer = ask(f"{running.url}/api/v1/deploy", None, json.dumps(said).encode())
        running.process.send_signal(signal.SIGKILL)
        running.process.wait()
    with collector(tmp_path) as running:
        found = ask(f"{running.url}/api/v1/deployments").json

    assert answer.status == 201
    assert [one["event_id"] for one in found["deployments"]] == [answer.json["event_id"]]
    assert found["deployments"][0]["actor"] == "open"
