"""Who asked for what, the whole way: real keys, a real collector, kills, and what an admin reads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from processes import collector
from stored import Filler, new_store
from story import SYSTEM, record, request_id

from mvtrace.registry.deployments import Decision, event_of
from mvtrace.scores import export_of
from mvtrace_collector.local_keys import LocalKeys

MINE, THEIRS, NOBODYS = request_id(0), request_id(1), request_id(2)
SUBJECT = f"hmac-sha256:0123abcd:{'5' * 64}"
NAME = "Jane Doe of Elm Street"
"""What nobody may find in the log: it was asked for, filtered by and queried with."""


class Closed:
    """A running collector with the projects a and b, and keys of several kinds."""

    def __init__(self, url: str, admin: str) -> None:
        self.url = url
        self.admin = admin

    def key(self, scopes: str, *projects: str) -> str:
        wanted = {"scopes": scopes.split(), "projects": projects, "label": f"for {scopes}"}
        made = self.ask("POST", "/api/v1/keys", self.admin, json=wanted)
        assert made.status_code == 201, made.text
        return str(made.json()["key"])

    def ask(self, method: str, path: str, key: str | None, **rest: Any) -> httpx2.Response:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        return httpx2.request(method, self.url + path, headers=headers, timeout=30, **rest)

    def get(self, path: str, key: str | None, **query: str) -> httpx2.Response:
        return self.ask("GET", path, key, params=query)

    def entries(self, key: str | None = None, **query: str) -> list[dict[str, Any]]:
        """The entries that an admin reads, oldest first, without those of reading them."""
        answer = self.get("/api/v1/access", key or self.admin, limit="1000", **query)
        assert answer.status_code == 200, answer.text
        return [one for one in reversed(answer.json()["entries"]) if one["action"] != "access"]


def key_id(key: str) -> str:
    return key.split("_")[1]


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Closed]:
    folder = tmp_path_factory.mktemp("closed")
    dsn = f"chdb://{folder / 'store'}"
    with new_store(dsn) as store:
        for project, number in (("a", 0), ("b", 1)):
            fill = Filler(store, project=project)
            fill.system()
            fill.request(record(number))
    wanted = {"scopes": ["admin", "sql"], "projects": ["*"], "label": "the auditor"}
    made = LocalKeys(dsn, by="root (store)").create(wanted)
    with collector(folder) as running:
        yield Closed(running.url, str(made["key"]))


def test_each_access_has_one_entry_with_its_actor(closed: Closed) -> None:
    """
    Explaining, listing, querying, reading content and erasing: one entry each, with who did it, what
    was asked for and found, what became of it and how much was given.
    """
    key = closed.key("read sql erase", "a")
    sql = f"SELECT count() FROM requests WHERE request_id_text = '{MINE}' AND route != '{NAME}'"
    answers = [
        closed.get("/api/v1/explanation", key, id=MINE, wait="0"),
        closed.get("/api/v1/requests", key, since="7d", conversation=NAME),
        closed.get("/api/v1/gaps", key),
        closed.get("/sql", key, query=sql),
        closed.get("/api/v1/content", key, id=MINE),
        closed.ask("POST", "/api/v1/erasures", key, json={"subject": SUBJECT, "reason": NAME}),
    ]
    assert [answer.status_code for answer in answers] == [200] * 6

    entries = closed.entries(actor=key_id(key))

    assert [one["action"] for one in entries] == [
        *("explain", "find", "gaps", "sql", "content", "erase")
    ]
    for entry, answer in zip(entries, answers, strict=True):
        assert (entry["project"], entry["outcome"], entry["status"]) == ("a", "ok", 200)
        assert (entry["label"], entry["client"]) == ("for read sql erase", "127.0.0.1")
        assert entry["bytes"] == len(answer.content)
        assert entry["duration_ms"] > 0
    explained, found, _, queried, content, erased = entries
    assert explained["asked"] == explained["request_id"] == content["request_id"] == MINE
    assert found["asked"].startswith("conversation=hmac-sha256:")
    assert found["asked"].endswith(" since=7d")
    assert found["rows"] == 0
    assert f"request_id_text = '{MINE}'" in queried["statement"]
    assert "route != 'hmac:" in queried["statement"]
    assert (erased["asked"], erased["rows"]) == (SUBJECT, 0)
    assert NAME not in json.dumps(entries)


def test_keys_made_rotated_revoked(closed: Closed) -> None:
    """
    What happens to keys is logged by their ids, the first key of all too, and no secret is.
    """
    old = closed.key("read", "b")
    rotated = closed.ask("POST", f"/api/v1/keys/{key_id(old)}/rotate", closed.admin, json={})
    new = str(rotated.json()["key"])
    closed.ask("POST", f"/api/v1/keys/{key_id(new)}/revoke", closed.admin, json={})
    closed.get("/api/v1/keys", closed.admin)
    closed.ask("POST", f"/api/v1/keys/{new}/revoke", closed.admin, json={})

    entries = closed.entries(project="b")
    everything = closed.entries()

    assert [(one["action"], one["asked"]) for one in entries if one["action"][:4] == "key-"][
        -3:
    ] == [
        ("key-create", key_id(old)),
        ("key-rotate", f"{key_id(old)} {key_id(new)}"),
        ("key-revoke", key_id(new)),
    ]
    assert {one["actor"] for one in entries if one["action"] == "key-rotate"} == {
        key_id(closed.admin)
    }
    first = everything[0]
    assert (first["action"], first["asked"]) == ("key-create", key_id(closed.admin))
    assert (first["actor"], first["label"], first["client"]) == ("local", "root (store)", "")
    listed = [one for one in everything if one["action"] == "keys-list"]
    assert len(listed) == 1
    assert listed[0]["rows"] >= 3
    missed = everything[-1]
    assert (missed["outcome"], missed["asked"][:12]) == ("not-found", "hmac-sha256:")
    assert not any(
        key.split("_", 2)[2] in json.dumps(everything) for key in (old, new, closed.admin)
    )


def test_decisions_are_logged(closed: Closed) -> None:
    """
    A decision is logged once with its sender, however it comes and however often it is sent; one
    without the scope too.
    """
    governor, sender = closed.key("govern", "a"), closed.key("ingest", "a")
    decision = Decision(
        action="promote", service="support", environment="prod", composite=SYSTEM.version, at=1
    )
    event = export_of([event_of(decision, now_ns=1)], project="a")
    protobuf = {"content-type": "application/x-protobuf"}
    for key in (governor, governor, sender):
        headers = {**protobuf, "authorization": f"Bearer {key}", "x-mvtrace-batch": "one"}
        sent = httpx2.post(f"{closed.url}/v1/logs", content=event, headers=headers)
        assert sent.status_code == 200
    wanted = {"action": "promote", "service": "support", "environment": "prod", "reason": NAME}
    asked = {**wanted, "version": SYSTEM.version}
    decided = closed.ask("POST", "/api/v1/deploy", governor, json=asked)

    entries = closed.entries(action="govern")

    about = f"action=promote environment=prod service=support version={SYSTEM.version}"
    assert [(e["actor"], e["outcome"], e["rows"], e["asked"]) for e in entries] == [
        (key_id(governor), "ok", 1, ""),
        (key_id(sender), "refused", 1, ""),
        (key_id(governor), "ok" if decided.status_code == 201 else "conflict", None, about),
    ]
    assert NAME not in json.dumps(entries)


def test_what_is_refused_is_logged_too(closed: Closed) -> None:
    """
    An unknown id, a missing scope, another's project, a closed table, a wrong key: each has an entry
    that says what it was and by whom.
    """
    key = closed.key("read sql", "a")
    asked = [
        closed.get("/api/v1/explanation", key, id=THEIRS, wait="0"),
        closed.get("/api/v1/explanation", key, id=NAME, wait="0"),
        closed.get("/api/v1/requests", key, project="b"),
        closed.get("/api/v1/keys", key),
        closed.get("/sql", key, query="SELECT * FROM api_keys"),
        closed.get("/sql", key, query=f"SELECT '{NAME}"),
        closed.get("/api/v1/requests", key, colour="red"),
        closed.get("/api/v1/nothing", key),
    ]
    stranger = f"mvt_{key_id(key)}_{'A' * 43}"
    closed.get("/api/v1/content", stranger, id=MINE)

    entries = closed.entries(actor=key_id(key))
    unknown = closed.entries(actor="unknown")[-1]

    assert [(one["action"], one["outcome"]) for one in entries] == [
        ("explain", "not-found"),
        ("explain", "not-found"),
        ("find", "refused"),
        ("keys-list", "refused"),
        ("sql", "refused"),
        ("sql", "wrong-use"),
        ("find", "wrong-use"),
        ("other", "refused"),
    ]
    assert [one["status"] for one in entries] == [one.status_code for one in asked]
    assert entries[0]["asked"] == THEIRS
    assert entries[4]["statement"] == "SELECT * FROM api_keys"
    assert {one["request_id"] for one in entries} == {""}
    assert (unknown["label"], unknown["outcome"]) == (key_id(key), "unauthenticated")
    assert NAME not in json.dumps(entries)


def test_what_is_no_access_has_no_entry(closed: Closed) -> None:
    """
    Health checks, metrics, status and sent data leave no entry; reading the log leaves one.
    """
    before = closed.entries()
    for path in ("/healthz", "/readyz", "/metrics", "/api/v1/status"):
        assert closed.get(path, closed.admin).status_code == 200
    closed.ask("POST", "/v1/traces", closed.admin, content=b"")

    assert closed.entries() == before
    answer = closed.get("/api/v1/access", closed.admin, action="access", limit="1000")
    reading = answer.json()["entries"]
    assert {one["actor"] for one in reading} == {key_id(closed.admin)}
    assert reading[0]["asked"] == "limit=1000"
    assert reading[0]["rows"] is not None


def test_admin_of_a_project_sees_its_entries_only(closed: Closed) -> None:
    """
    An admin of project a reads what was asked in a, also by others; of b, of the collector as a whole
    and of keys of several projects he sees nothing.
    """
    mine, theirs = closed.key("admin sql", "a"), closed.key("read", "b")
    closed.get("/api/v1/explanation", theirs, id=THEIRS, wait="0")
    closed.get("/api/v1/requests", theirs)
    both = closed.key("read", "a", "b")
    closed.get("/api/v1/requests", both, project="b")
    closed.get("/api/v1/requests", both, project="a")

    entries = closed.entries(mine)
    by_sql = closed.get("/sql", mine, query="SELECT DISTINCT project FROM access_log").text

    assert {one["project"] for one in entries} == {"a"}
    assert not any(key_id(theirs) in json.dumps(one) for one in entries)
    assert [one["actor"] for one in entries].count(key_id(both)) == 1
    assert by_sql == "a\n"
    assert closed.get("/api/v1/access", mine, project="b").status_code == 403
    assert closed.entries(project="b")


def test_nobody_but_admins_reads_it(closed: Closed) -> None:
    """
    Without the scope admin the log is forbidden, and its table is refused in the words for a table
    that is not there, whatever way it is named.
    """
    key = closed.key("read sql", "a")
    words = "the table '{}' is not one of mvtrace"

    assert closed.get("/api/v1/access", key).status_code == 403
    for name in ("access_log", "nothing"):
        told = closed.get("/sql", key, query=f"SELECT * FROM {name}")
        assert (told.status_code, words.format(name) in told.text) == (403, True)
        assert "access_log," not in told.text
    for sql in (
        "SELECT * FROM mvtrace.access_log",
        "SELECT 1 WHERE 'x' IN access_log",
        "WITH access_log AS (SELECT 1) SELECT * FROM access_log",
        "SELECT count() FROM merge('mvtrace', 'access.*')",
        "SELECT name FROM system.tables",
        "SELECT (SELECT count() FROM access_log)",
    ):
        assert closed.get("/sql", key, query=sql).status_code == 403, sql


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_nothing_changes_an_entry(closed: Closed, method: str) -> None:
    """
    No method of the API and no statement of SQL changes or removes an entry, whoever asks.
    """
    before = closed.entries()

    assert closed.ask(method, "/api/v1/access", closed.admin, json={}).status_code == 405
    for sql in (
        "ALTER TABLE access_log DELETE WHERE 1",
        "DELETE FROM access_log WHERE 1",
        "TRUNCATE TABLE access_log",
        "INSERT INTO access_log (actor) VALUES ('x')",
        "OPTIMIZE TABLE access_log FINAL",
    ):
        told = closed.ask("POST", "/sql", closed.admin, params={"project": "a"}, content=sql)
        assert told.status_code == 403, told.text

    assert closed.entries()[: len(before)] == before


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"colour": "red"}, "keys are since"),
        ({"limit": "0"}, "limit"),
        ({"since": "yesterday"}, "since"),
        ({"actor": "x" * 80}, "actor"),
        ({"action": "A'"}, "action"),
        ({"project": "A!"}, "project"),
    ],
)
def test_filter_that_means_nothing(closed: Closed, query: dict[str, str], named: str) -> None:
    """
    A filter that is none is answered 400 with what it should be.
    """
    answer = closed.get("/api/v1/access", closed.admin, **query)

    assert (answer.status_code, named in answer.text) == (400, True)


def test_entries_are_found_again(closed: Closed) -> None:
    """
    Whoever knows an id, however it was asked for, finds the entries about it: a request's, an alias, a
    literal within a statement, a subject; and by time, action and outcome.
    """
    key = closed.key("read sql erase", "a")
    closed.get("/api/v1/explanation", key, id=f"x-request-id:{NAME}", wait="0")
    closed.get("/sql", key, query=f"SELECT 1 WHERE 'x' != '{NAME}'")
    hexadecimal = MINE.replace("-", "").upper()
    closed.get("/sql", key, query=f"SELECT 2 WHERE unhex('{hexadecimal}') != ''")
    closed.get("/api/v1/content", key, id=MINE)

    def found(**query: str) -> list[str]:
        return [one["action"] for one in closed.entries(actor=key_id(key), **query)]

    assert found(request=NAME) == ["explain", "sql"]
    assert found(request=f"x-request-id:{NAME}") == ["explain"]
    assert found(request=MINE) == ["sql", "content"]
    assert found(request=NOBODYS) == []
    assert found(outcome="not-found") == ["explain"]
    assert found(action="sql", since="1h") == ["sql", "sql"]
    assert found(until="1h") == []
    assert [one["action"] for one in closed.entries(request=key_id(key))] == ["key-create"]


def test_command_shows_a_table_and_json(closed: Closed) -> None:
    """
    ``mvtrace access`` prints entries as a table or as JSON, inert, to an admin alone.
    """
    key = closed.key("read", "a")
    closed.get("/api/v1/explanation", key, id="\x1b[31mred", wait="0")

    def run(*arguments: str, token: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "mvtrace", "access", "--url", closed.url, *arguments]
        environ = {**os.environ, "MVTRACE_API_KEY": token}
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environ)

    table = run("--actor", key_id(key), token=closed.admin)
    document = run("--actor", key_id(key), "--json", token=closed.admin)
    refused = run(token=key)
    nothing = run("--actor", "nobody", token=closed.admin)

    head, row = table.stdout.splitlines()
    assert head.split()[:5] == ["time", "(UTC)", "actor", "label", "action"]
    assert row.split()[2:6] == [key_id(key), "for", "read", "explain"]
    assert [one["action"] for one in json.loads(document.stdout)["entries"]] == ["explain"]
    assert (refused.returncode, "scope admin" in refused.stderr) == (2, True)
    assert nothing.stdout == "No entry matches.\n"
