"""Keys in a real collector: the first one closes it, each opens its scopes in its projects."""

from __future__ import annotations

import hashlib
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from keyed import mvtrace, new_key
from processes import Running, collector
from stored import Filler, new_store
from story import record, request_id

MINE, THEIRS, NOBODYS = request_id(0), request_id(1), request_id(2)


def ask(
    url: str,
    path: str,
    key: str | None = None,
    body: bytes | None = None,
    content_type: str = "application/x-protobuf",
) -> tuple[int, str]:
    headers = {"content-type": content_type}
    headers |= {} if key is None else {"authorization": f"Bearer {key}"}
    asked = urllib.request.Request(url + path, body, headers)
    try:
        with urllib.request.urlopen(asked, timeout=20) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


class Closed:
    """A running collector with two projects and the key of its admin."""

    def __init__(self, running: Running, admin: str) -> None:
        self.url = running.url
        self.admin = admin

    def key(self, scopes: str, projects: str) -> str:
        return new_key(scopes, projects, ["--url", self.url], self.admin)

    def ask(self, path: str, key: str | None, body: bytes | None = None) -> tuple[int, str]:
        return ask(self.url, path, key, body)

    def send(self, body: bytes, key: str) -> tuple[int, str]:
        return ask(self.url, "/v1/traces", key, body, "application/json")

    def wait_for(self, path: str, key: str) -> str:
        deadline = time.monotonic() + 10
        while not (text := self.ask(path, key)[1]) and time.monotonic() < deadline:
            time.sleep(0.05)
        return text


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Closed]:
    folder = tmp_path_factory.mktemp("closed")
    dsn = f"chdb://{folder / 'store'}"
    with new_store(dsn) as store:
        for project, number in (("a", 0), ("b", 1)):
            fill = Filler(store, project=project)
            fill.system()
            fill.request(record(number))
    admin = new_key("admin", "*", ["--store", dsn])
    with collector(folder) as running:
        yield Closed(running, admin)


def test_first_key_must_be_an_admins(tmp_path: Path) -> None:
    """
    A first key without admin would lock everybody out, so it is refused and the store stays open.
    """
    store = f"chdb://{tmp_path / 'store'}"

    told = mvtrace(
        "keys", "create", "--scope", "read", "--project", "a", "--label", "x", "--store", store,
        code=2,
    )  # fmt: skip

    assert "the first key closes the collector" in told
    assert "There is no key" in mvtrace("keys", "list", "--store", store)


@pytest.mark.parametrize("path", ["/api/v1/requests", "/sql", "/metrics", "/v1/traces"])
def test_who_has_no_key_gets_nothing(closed: Closed, path: str) -> None:
    """
    Once there is a key, every path but the health checks asks for one.
    """
    assert closed.ask(path, None)[0] == 401
    assert closed.ask(path, "mvt_000000000000_" + "A" * 43)[0] == 401
    assert closed.ask("/healthz", None)[0] == 200


def test_scopes(closed: Closed) -> None:
    """
    Each scope opens its own paths, and 403 names the one that is missing.
    """
    reader, sender = closed.key("read", "a"), closed.key("ingest", "a")

    assert closed.ask("/api/v1/requests", reader)[0] == 200
    assert closed.ask("/v1/traces", sender, b"")[0] == 200
    for path, key, needed in (
        ("/v1/traces", reader, "ingest"),
        ("/sql?query=SELECT+1", reader, "sql"),
        ("/api/v1/requests", sender, "read"),
        ("/metrics", reader, "admin"),
        ("/api/v1/keys", reader, "admin"),
    ):
        status, text = closed.ask(path, key)
        assert (status, needed in text) == (403, True), (path, text)


def test_id_of_another_project_is_unknown(closed: Closed) -> None:
    """
    A key of project a hears of project b's request what it hears of one that never was.
    """
    reader = closed.key("read", "a")

    def answer(request_id: str) -> tuple[int, dict[str, Any]]:
        status, text = closed.ask(f"/api/v1/explanation?id={request_id}&wait=0", reader)
        return status, json.loads(text.replace(request_id, "…"))

    assert answer(MINE)[0] == 200
    assert answer(THEIRS) == answer(NOBODYS)
    assert answer(THEIRS)[0] == 404


def test_project_of_another_is_refused_like_none(closed: Closed) -> None:
    """
    Naming a project the key does not list is refused in the same words whether or not it exists.
    """
    both = closed.key("read sql", "a")

    for path in ("/api/v1/requests?", "/sql?query=SELECT+count()+FROM+requests&"):
        real = closed.ask(f"{path}project=b", both)
        none = closed.ask(f"{path}project=c", both)
        assert real[0] == none[0] == 403
        assert real[1].replace("'b'", "'c'") == none[1]


def test_sql_sees_its_project_only(closed: Closed) -> None:
    """
    A query counts the rows of the key's project, whatever it says; tables of keys are closed.
    """
    key = closed.key("sql", "b")

    def query(sql: str) -> tuple[int, str]:
        return closed.ask(f"/sql?{urllib.parse.urlencode({'query': sql})}", key)

    assert query("SELECT DISTINCT project FROM requests") == (200, "b\n")
    assert query("SELECT count() FROM requests WHERE project = 'a'") == (200, "0\n")
    assert query("SELECT * FROM api_keys")[0] == 403


def test_several_projects_must_be_named(closed: Closed) -> None:
    """
    A key with two projects and no default says which it means.
    """
    key = closed.key("read", "a b")

    status, text = closed.ask("/api/v1/requests", key)

    assert status == 400
    assert "a, b" in text
    assert closed.ask("/api/v1/requests?project=b", key)[0] == 200


def test_a_comparison_under_a_key_of_several_projects_is_wrong_use(closed: Closed) -> None:
    """
    A command that does not say which of its key's projects is meant ends as wrong use, not as if
    nothing answered.
    """
    both = closed.key("read sql", "a b")

    told = mvtrace(
        "compare", "1" * 64, "2" * 64, "--no-keep", "--url", closed.url, key=both, code=2
    )

    assert told.startswith("error: project-needed\n\nThis key has the projects a, b, ")


def test_commands_rotate_and_revoke(closed: Closed) -> None:
    """
    A rotated key works beside its successor, a revoked one ends at once, and the list shows both.
    """
    old = closed.key("read", "a")
    rotated = mvtrace(
        "keys", "rotate", old, "--overlap", "1h", "--json", "--url", closed.url, key=closed.admin
    )
    new = str(json.loads(rotated)["key"])

    assert [closed.ask("/api/v1/requests", key)[0] for key in (old, new)] == [200, 200]
    mvtrace("keys", "revoke", new.split("_")[1], "--url", closed.url, key=closed.admin)
    assert [closed.ask("/api/v1/requests", key)[0] for key in (old, new)] == [200, 401]
    table = mvtrace("keys", "list", "--url", closed.url, key=closed.admin)
    assert f"{old.split('_')[1]}" in table
    assert new not in table


def test_admin_of_a_project_stays_in_it(closed: Closed) -> None:
    """
    An admin of one project makes and sees keys of it alone, and hears nothing of the collector.
    """
    limited, theirs = closed.key("admin", "a"), closed.key("read", "b")

    own = new_key("read", "a", ["--url", closed.url], limited)
    listed = json.loads(mvtrace("keys", "list", "--json", "--url", closed.url, key=limited))
    revoked = mvtrace("keys", "revoke", theirs, "--url", closed.url, key=limited, code=1)

    assert closed.ask("/api/v1/requests", own)[0] == 200
    assert {tuple(key["projects"]) for key in listed["keys"]} == {("a",)}
    assert "There is no key" in revoked
    for projects in (["b"], ["*"]):
        wanted = {"scopes": ["read"], "projects": projects, "label": "x"}
        status, told = closed.ask("/api/v1/keys", limited, json.dumps(wanted).encode())
        assert (status, "has no project" in told) == (403, True)
    for path in ("/metrics", "/api/v1/status"):
        status, told = closed.ask(path, limited)
        assert (status, "admin in every project" in told) == (403, True)
        assert closed.ask(path, closed.admin)[0] == 200


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"[]", "a JSON object"),
        (b"{", "no JSON"),
        (b'{"scopes": "read", "projects": ["a"], "label": "x"}', "scopes"),
        (b'{"scopes": ["read"], "projects": ["a"], "label": 1}', "label"),
        (b'{"scopes": ["read"], "projects": ["a"], "label": "x", "expires_ms": 1e9}', "expires_ms"),
        (b'{"scopes": ["read"], "projects": ["a"], "label": "x", "expires_ms": 1}', "in the past"),
        (b" " * 20_000, "16,384"),
    ],
)
def test_bad_documents_make_no_key(closed: Closed, body: bytes, named: str) -> None:
    """
    A document that is none is answered 400 with what it should be.
    """
    status, text = closed.ask("/api/v1/keys", closed.admin, body)

    assert status == 400
    assert named in text


def test_public_address_needs_keys(tmp_path: Path) -> None:
    """
    A collector with TLS and no keys refuses a public address, with its exit code and the way out.
    """
    certificate = tmp_path / "server.pem"
    issued = trustme.CA().issue_cert("127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(str(certificate))

    told = mvtrace(
        *("collector", "--store", f"chdb://{tmp_path / 'store'}", "--listen", "0.0.0.0:0"),
        *("--tls-cert", str(certificate)),
        code=2,
    )

    assert "without keys a collector listens on loopback only" in told
    assert "mvtrace keys create --scope admin" in told


def test_collector_serves_https(tmp_path: Path) -> None:
    """
    With a certificate the collector answers over TLS, and the command line trusts its authority by
    SSL_CERT_FILE.
    """
    authority = trustme.CA()
    certificate, trusted = tmp_path / "server.pem", tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(trusted))
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(certificate))

    with collector(tmp_path, "--tls-cert", str(certificate)) as running:
        assert running.url.startswith("https://")
        told = mvtrace("find", "--url", running.url, code=3)
        found = mvtrace("find", "--url", running.url, environ={"SSL_CERT_FILE": str(trusted)})

    assert "certificate" in told.lower()
    assert "No request matches" in found


def an_export(project: str | None, marker: str) -> bytes:
    resource = {"attributes": [attribute("mvtrace.project", project)] if project else []}
    name = hashlib.sha256(marker.encode()).hexdigest()
    span = {
        "traceId": name[:32],
        "spanId": name[:16],
        "name": marker,
        "startTimeUnixNano": "1790000000000000000",
        "endTimeUnixNano": "1790000000000000001",
    }
    message = {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]}
    return json.dumps(message).encode()


def attribute(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "value": {"stringValue": value}}


@pytest.mark.parametrize(
    ("projects", "named", "stored"),
    [
        ("a", None, "a"),
        ("a", "a", "a"),
        ("a", "b", None),
        ("a b", "b", "b"),
        ("a b", None, None),
        ("a default", None, "default"),
        ("*", None, "default"),
        ("*", "c", "c"),
        ("a", "A!", None),
    ],
)
def test_sent_data_goes_to_the_keys_projects_only(
    closed: Closed, projects: str, named: str | None, stored: str | None
) -> None:
    """
    What a resource names must be on the key's list; what names none goes to the key's only project.
    """
    key = closed.key("ingest", projects)
    marker = f"sent by {projects} naming {named}"

    status, told = closed.send(an_export(named, marker), key)

    assert status == 200
    assert ("rejectedSpans" in told) == (stored is None)
    if stored is not None:
        reader = closed.key("sql", "*")
        sql = f"SELECT project FROM spans WHERE name = '{marker}'"
        path = f"/sql?{urllib.parse.urlencode({'query': sql, 'project': stored})}"
        assert closed.wait_for(path, reader) == f"{stored}\n"
