from __future__ import annotations

import pytest
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import ASGIApp

from mvtrace_collector.guards import SAFE_HEADERS, HostGuard, KeyGuard, SafeHeaders
from mvtrace_collector.keys import ANYBODY, STATIC, Identity

KEY = "a-key-of-sixteen-characters"
READER = "another-key-that-may-read"
IDENTITIES = {KEY: STATIC, READER: Identity("reader", frozenset({"read"}), ("a",))}


def anybody(_token: str | None) -> Identity | None:
    return ANYBODY


def known(token: str | None) -> Identity | None:
    return IDENTITIES.get(token or "")


async def _answer(_request: Request) -> Response:
    return PlainTextResponse("inside", headers={"cache-control": "max-age=5"})


def client_of(guard: type, *arguments: object) -> TestClient:
    paths = ("/v1/traces", "/healthz", "/readyz", "/metrics", "/sql")
    inner = Starlette(routes=[Route(path, _answer, methods=["GET", "POST"]) for path in paths])
    app: ASGIApp = guard(inner, *arguments)
    return TestClient(app)


def test_without_a_key_everything_passes() -> None:
    """
    A collector on loopback asks for nothing.
    """
    assert client_of(KeyGuard, anybody).get("/sql").text == "inside"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("authorization", f"Bearer {KEY}")], 200),
        ([], 401),
        ([("authorization", "Bearer ")], 401),
        ([("authorization", f"bearer {KEY}")], 401),
        ([("authorization", f"Basic {KEY}")], 401),
        ([("authorization", f"Bearer {KEY}x")], 401),
        ([("authorization", "Bearer " + "x" * 50_000)], 401),
        ([("authorization", f"Bearer {KEY}"), ("authorization", f"Bearer {KEY}")], 401),
    ],
)
def test_with_a_key_only_its_bearer_passes(headers: list[tuple[str, str]], status: int) -> None:
    """
    One Authorization header with the key passes; none, another and two do not.
    """
    response = client_of(KeyGuard, known).get("/metrics", headers=headers)

    assert response.status_code == status
    if status == 401:
        assert response.headers["www-authenticate"] == "Bearer"
        assert response.json()["error"]["message"] == (
            "This collector asks for 'Authorization: Bearer <key>'."
        )


def test_exports_hear_it_in_their_encoding() -> None:
    """
    An exporter without the key gets a google.rpc.Status.
    """
    response = client_of(KeyGuard, known).post(
        "/v1/traces", content=b"", headers={"content-type": "application/x-protobuf"}
    )

    assert response.status_code == 401
    assert Status.FromString(response.content).code == 16


@pytest.mark.parametrize(
    ("method", "path", "needed"),
    [
        ("POST", "/v1/traces", "ingest"),
        ("GET", "/sql", "sql"),
        ("GET", "/metrics", "admin"),
        ("GET", "/no/such/path", "admin"),
    ],
)
def test_a_good_key_opens_its_scopes_only(method: str, path: str, needed: str) -> None:
    """
    A key without the scope of a path is refused with 403, which names the scope; a path that nobody
    listed is for admins.
    """
    response = client_of(KeyGuard, known).request(
        method, path, headers={"authorization": f"Bearer {READER}"}
    )

    assert response.status_code == 403
    assert f"Key reader has not the scope {needed}" in response.text


def test_health_checks_need_no_key() -> None:
    """
    Whoever keeps the process running may ask how it is.
    """
    client = client_of(KeyGuard, known)

    assert [client.get(path).status_code for path in ("/healthz", "/readyz")] == [200, 200]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("127.0.0.1:4318", 200),
        ("[::1]:4318", 200),
        ("LOCALHOST:1", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example:4318", 421),
        ("[", 421),
    ],
)
def test_a_name_of_somebody_else_is_refused(host: str, status: int) -> None:
    """
    A web page that points its own name at loopback does not get in.
    """
    response = client_of(HostGuard).get("/sql", headers={"host": host})

    assert response.status_code == status
    if status == 421:
        assert response.json()["error"]["message"] == (
            f"Host is {host!r}; this collector answers on loopback only."
        )


def test_answers_carry_safe_headers() -> None:
    """
    Headers are added that browsers heed; what a route set itself stays.
    """
    response = client_of(SafeHeaders).get("/sql")

    expected = {**SAFE_HEADERS, "cache-control": "max-age=5"}
    assert {name: response.headers[name] for name in expected} == expected
    assert "access-control-allow-origin" not in response.headers
