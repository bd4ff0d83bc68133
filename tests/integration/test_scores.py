"""Scores in a real collector with keys: from the application, a browser, a file; late and early."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from keyed import Answer, Keyed, id_of, new_key
from processes import running
from stored import Filler, new_store
from story import SYSTEM, record, request_id

from mvtrace.ids import new_request_id
from mvtrace.scores import Score, event_of, export_of

PAGE = "https://chat.example"
PATH = "/api/v1/scores"
PROTOBUF = {"content-type": "application/x-protobuf"}


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    folder = tmp_path_factory.mktemp("scored")
    dsn = f"chdb://{folder / 'store'}"
    with new_store(dsn) as store:
        for project, number in (("a", 0), ("b", 1)):
            fill = Filler(store, project=project)
            fill.system()
            fill.request(record(number))
    admin = new_key("admin", "*", ["--store", dsn])
    command = [
        sys.executable,
        "-m",
        "mvtrace",
        "collector",
        "--store",
        dsn,
        "--listen",
        "127.0.0.1:0",
    ]
    environ = {
        "MVTRACE_SCORE_ORIGINS": f"{PAGE}, http://localhost:3000",
        "MVTRACE_SCORE_PER_MINUTE": "600",
        "MVTRACE_SCORE_KEY_PER_MINUTE": "40",
        "MVTRACE_LOG": "json",
    }
    with running(command, folder / "collector.log", environ) as one:
        yield Keyed(one, admin)


@pytest.fixture
def page(closed: Keyed) -> str:
    """A key as a page has one."""
    return closed.key("score", "a")


def vote(closed: Keyed, key: str, **said: Any) -> Answer:
    facts = {"request_id": request_id(0), "name": "thumbs", "value": 1, **said}
    return closed.ask(PATH, key, json.dumps(facts).encode())


def explained(closed: Keyed, request: str, project: str = "a") -> Any:
    return closed.ask(f"/api/v1/explanation?id={request}&project={project}", closed.reader).json


def scores_of(closed: Keyed, request: str, number: int, project: str = "a") -> Any:
    """Ask until the explanation has so many scores."""
    deadline = time.monotonic() + 15
    while True:
        found = explained(closed, request, project).get("scores", [])
        if len(found) >= number or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


def test_a_vote_is_shown_with_the_request_and_its_version(closed: Keyed, page: str) -> None:
    """
    A vote from a page is explained with its delay, and SQL joins it with the version it is about.
    """
    name = "thumbs-shown"
    answer = vote(closed, page, name=name, voter="session 1")

    assert (answer.status, answer.json) == (202, {"accepted": 1})
    (found,) = [one for one in scores_of(closed, request_id(0), 1) if one["name"] == name]
    assert (found["value"], found["scorer"]) == (1.0, f"undeclared:user/{name}")
    assert not found["is_declared"]
    assert found["delay_ms"] > 0
    joined = closed.rows(
        "SELECT composite_version, avg(value) FROM scores INNER JOIN requests "
        f"ON scores.project = requests.project AND scores.request_id = requests.request_id "
        f"WHERE scores.name = '{name}' GROUP BY composite_version",
        "a",
    )
    assert joined == [[SYSTEM.version, 1]]
    text = closed.run("explain", request_id(0), key=closed.reader, environ={"MVTRACE_PROJECT": "a"})
    assert "scored\n" in text
    assert name in text


def test_a_key_that_scores_opens_nothing_else(closed: Keyed, page: str) -> None:
    """
    Whatever a page's key is used for: reading, SQL, metrics, spans and records are refused.
    """
    for path, body in (
        ("/api/v1/explanation?id=" + request_id(0), None),
        ("/api/v1/requests", None),
        ("/api/v1/deployments", None),
        ("/api/v1/deploy", b"{}"),
        ("/sql?query=SELECT+1", None),
        ("/metrics", None),
        ("/api/v1/keys", None),
        ("/v1/traces", b""),
    ):
        assert closed.ask(path, page, body).status == 403, path
    assert closed.ask(PATH, page).status == 405
    record_of_mine = {"eventName": "mvtrace.request", "body": {"stringValue": "{}"}}
    logs = {"resourceLogs": [{"scopeLogs": [{"logRecords": [record_of_mine]}]}]}
    refused = closed.ask("/v1/logs", page, json.dumps(logs).encode()).json
    assert refused["partialSuccess"]["rejectedLogRecords"] == "1"


def test_another_projects_request_is_as_unknown_as_none(closed: Keyed, page: str) -> None:
    """
    A vote on a request of another project, or on none, is answered as one on the key's own, and
    never reaches the other project.
    """
    answers = [
        vote(closed, page, name="strange", request_id=request)
        for request in (request_id(0), request_id(1), new_request_id())
    ]

    assert {(one.status, one.text) for one in answers} == {(202, '{"accepted":1}')}
    asked = "SELECT request_id_text FROM scores WHERE name = 'strange'"
    assert len(closed.rows(asked, "a", 3)) == 3
    assert closed.sql("SELECT count() FROM scores WHERE name = 'strange'", "b") == [[0]]
    assert explained(closed, request_id(1), "b")["scores"] == []


def test_a_score_may_come_before_its_request(closed: Keyed) -> None:
    """
    It waits under the request's id, and is shown once the record is there.
    """
    key = closed.key("ingest", "a")
    request = new_request_id()
    early = event_of(Score(request_id=request, name="early", value=0.5), now_ns=time.time_ns())
    assert closed.ask("/v1/logs", key, export_of([early]), headers=PROTOBUF).status == 200
    assert closed.rows("SELECT value FROM scores WHERE name = 'early'", "a") == [[0.5]]
    assert explained(closed, request)["error"]["code"] == "request-not-found"

    program = (
        "import mvtrace, sys\n"
        "with mvtrace.request(route='job'):\n"
        "    mvtrace.score(mvtrace.current_request_id(), 'own', 0.75, source='judge')\n"
        "    mvtrace.score('no id', 'bad', 1)\n"
        "    print(mvtrace.current_request_id())\n"
        "sys.exit(not mvtrace.flush(20))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "MVTRACE_URL": closed.url, "MVTRACE_API_KEY": key},
        timeout=60,
    )
    own = done.stdout.strip()
    assert "A score was left out: request_id is no request id" in done.stderr
    assert [(one["name"], one["value"]) for one in scores_of(closed, own, 1)] == [("own", 0.75)]


def test_a_page_of_a_configured_origin_may_score(closed: Keyed, page: str) -> None:
    """
    The browser's question is answered without a key, for the configured origins alone; an answer
    names the origin, and what is no JSON is refused, so that no page gets by without asking.
    """
    asked = {
        "origin": PAGE,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
    }
    known = closed.ask(PATH, None, method="OPTIONS", headers=asked)
    strange = closed.ask(PATH, None, method="OPTIONS", headers={**asked, "origin": "https://evil"})

    assert known.status == 204
    assert known.headers["access-control-allow-origin"] == PAGE
    assert "authorization" in known.headers["access-control-allow-headers"]
    assert known.headers["vary"] == "origin"
    assert strange.status == 403
    assert "access-control-allow-origin" not in strange.headers
    body = json.dumps({"request_id": request_id(0), "name": "x", "value": 1}).encode()
    assert closed.ask(PATH, page, body, headers={"origin": "https://evil"}).status == 403
    allowed = closed.ask(PATH, page, body, headers={"origin": PAGE})
    assert (allowed.status, allowed.headers["access-control-allow-origin"]) == (202, PAGE)
    closed_ = closed.ask(PATH, None, body, headers={"origin": PAGE})
    assert (closed_.status, closed_.headers["access-control-allow-origin"]) == (401, PAGE)
    assert closed.ask(PATH, page, body, headers={"content-type": "text/plain"}).status == 415
    elsewhere = closed.ask("/api/v1/requests", None, method="OPTIONS", headers=asked)
    assert "access-control-allow-origin" not in elsewhere.headers


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"{", "no JSON"),
        (b"[1]", "no JSON object"),
        (b'{"request_id": "x", "name": "n", "value": 1}', "request_id is no request id"),
        (b'{"name": "n", "value": 1}', "request_id is no request id"),
        (b"x" * 5000, "4,096 bytes"),
        (b'{"request_id": "%s", "name": "n"}', "value and label are missing"),
        (b'{"request_id": "%s", "name": "n", "value": "1"}', "value is no number"),
        (b'{"request_id": "%s", "name": "n", "value": 1e6}', "of a vote is not -1 to 10"),
        (b'{"request_id": "%s", "name": "n", "value": 1, "actor": "me"}', "'actor' means nothing"),
    ],
)
def test_what_is_no_vote_says_why(closed: Keyed, page: str, body: bytes, named: str) -> None:
    """
    A body that is none is answered 400 with what is wrong with it.
    """
    sent = body.replace(b"%s", request_id(0).encode())

    answer = closed.ask(PATH, page, sent)

    assert answer.status == 400
    assert named in answer.json["error"]["message"]


def test_a_key_is_held_to_its_rate(closed: Keyed) -> None:
    """
    Over its rate a page's key hears 429 and when to come again, on either route; other keys do not.
    """
    key, other = closed.key("score", "a"), closed.key("score", "a")

    statuses = [vote(closed, key, name=f"flood-{number}") for number in range(60)]
    export = export_of(
        [event_of(Score(request_id=request_id(0), name="x", value=1), now_ns=time.time_ns())]
    )
    by_logs = closed.ask("/v1/logs", key, export * 30, headers=PROTOBUF)

    refused = [one for one in statuses if one.status == 429]
    assert len(refused) in range(15, 21)
    assert int(refused[0].headers["retry-after"]) >= 1
    assert refused[0].json["error"]["code"] == "too-many-scores"
    assert (by_logs.status, "retry-after" in by_logs.headers) == (429, True)
    assert vote(closed, other, name="calm").status == 202


def test_a_file_of_scores_is_brought_in_once(closed: Keyed, tmp_path: Path) -> None:
    """
    A dry run sends nothing; a wrong line is named and stops all; sent twice, a file is stored once.
    """
    key = closed.key("ingest", "a")
    lines = [
        {
            "request_id": request_id(0),
            "name": "imported",
            "value": number,
            "at": f"2026-11-0{number}",
        }
        for number in (1, 2, 3)
    ]
    file = tmp_path / "scores.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    bad = tmp_path / "bad.jsonl"
    bad.write_text(file.read_text() + '{"request_id": "1"}\n\nno json\n')

    assert "3 scores would be sent" in closed.run(
        "scores", "import", str(file), "--dry-run", key=key
    )
    told = closed.run("scores", "import", str(bad), key=key, code=1)
    assert "2 lines of 5 are no score, so nothing was sent" in told
    assert "line 4: request_id is no request id" in told
    assert "line 6: it is no JSON" in told
    assert closed.sql("SELECT count() FROM scores WHERE name = 'imported'", "a") == [[0]]
    for _ in range(2):
        assert closed.run("scores", "import", str(file), key=key) == "3 scores sent.\n"
    assert len(closed.rows("SELECT value FROM scores WHERE name = 'imported'", "a", 3)) == 3
    (found,) = [
        one for one in explained(closed, request_id(0))["scores"] if one["name"] == "imported"
    ]
    assert (found["value"], found["revisions"]) == (3.0, 3)


def test_a_file_waits_where_a_key_is_held_to_its_rate(closed: Keyed, tmp_path: Path) -> None:
    """
    Sent under a key that may only score, an import goes on when it may; its scores are votes.
    """
    key = closed.key("score", "a")
    file = tmp_path / "votes.jsonl"
    line = {
        "request_id": request_id(0),
        "name": "voted",
        "label": "good",
        "scorer": "sha256:" + "0" * 64,
    }
    file.write_text(json.dumps(line))
    spent = [vote(closed, key, name=f"spend-{number}").status for number in range(45)]
    assert 429 in spent

    assert closed.run("scores", "import", str(file), key=key) == "1 score sent.\n"
    assert closed.rows("SELECT scorer, actor FROM scores WHERE name = 'voted'", "a") == [
        ["undeclared:user/voted", id_of(key)]
    ]
