"""The JSON API over a real store and a real inbox: explanations, lists, errors, waiting."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from starlette.testclient import TestClient
from stored import Filler, new_store
from story import SYSTEM, TRACE, record, request_id

from mvtrace.ids import new_request_id, unix_ms_of
from mvtrace.otlp import Scope, encode_request, encode_resource, encode_scope_logs
from mvtrace.records import UnixNano
from mvtrace.resources import schema_root
from mvtrace.wire import event_of
from mvtrace_collector.app import build_app
from mvtrace_collector.config import CollectorConfig

SCHEMA = jsonschema.Draft202012Validator(
    json.loads((schema_root() / "explanation.schema.json").read_text("utf-8"))
)
FIRST = request_id(0)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A collector whose store holds one whole request, and one that shares an id with it."""
    folder = tmp_path_factory.mktemp("api")
    dsn = f"chdb://{folder / 'store'}"
    with new_store(dsn) as store:
        fill = Filler(store)
        fill.system()
        fill.request(record())
        fill.request(record(1, aliases=record().aliases))
        fill.request(record(2, annotations={"large": 2**70}, outcome="error", status_code=500))
    config = CollectorConfig(store=dsn, port=0, data_dir=folder / "inbox")
    with TestClient(build_app(config), raise_server_exceptions=False) as made:
        yield made


def asked(client: TestClient, path: str, **query: object) -> tuple[int, dict[str, Any]]:
    reply = client.get(path, params={key: str(value) for key, value in query.items()})
    assert reply.headers["content-type"] == "application/json"
    return reply.status_code, json.loads(reply.content)


def explained(client: TestClient, text: str, **query: object) -> tuple[int, dict[str, Any]]:
    return asked(client, "/api/v1/explanation", id=text, **query)


def send(client: TestClient, one: Any) -> None:
    """Send a record the way an application does."""
    scope = encode_scope_logs(Scope("mvtrace"), [event_of(one)])
    body = encode_request(encode_resource({"service.name": "support"}), [scope])
    reply = client.post(
        "/v1/logs", content=body, headers={"content-type": "application/x-protobuf"}
    )
    assert reply.status_code == 200


def fresh_record(**changes: Any) -> Any:
    one = new_request_id()
    start = UnixNano(unix_ms_of(one) * 1_000_000)
    return record(
        request_id=one, started_at=start, ended_at=start, trace_id=None, aliases=(), **changes
    )


def test_explanation(client: TestClient) -> None:
    """
    An explanation is JSON of the published schema, and was not waited for.
    """
    status, body = explained(client, FIRST)

    assert status == 200
    SCHEMA.validate(body)
    assert body["request_id"] == FIRST
    assert body["waited_s"] == 0.0


def test_integers_beyond_64_bits(client: TestClient) -> None:
    """
    What an application annotated comes out as it went in, however large.
    """
    _, body = explained(client, request_id(2))

    assert body["annotations"] == {"large": 2**70}


@pytest.mark.parametrize(
    ("query", "status", "code", "exit_code"),
    [
        ({"id": request_id(9)}, 404, "request-not-found", 1),
        ({"id": "nobody"}, 404, "request-not-found", 1),
        ({"id": "client-0"}, 409, "ambiguous-id", 1),
        ({"id": "trace:zz"}, 400, "malformed-id", 2),
        ({}, 400, "malformed-id", 2),
        ({"id": FIRST, "wait": "long"}, 400, "filter", 2),
        ({"id": FIRST, "wait": "nan"}, 400, "filter", 2),
        ({"id": FIRST, "wait": "6"}, 400, "filter", 2),
        ({"id": FIRST, "project": "No!"}, 400, "configuration", 2),
        ({"id": FIRST, "project": "other"}, 404, "request-not-found", 1),
    ],
)
def test_errors(
    client: TestClient, query: dict[str, str], status: int, code: str, exit_code: int
) -> None:
    """
    A wrong use is 400, an unknown id 404, one that several requests carry 409; none is waited for.
    """
    started = time.monotonic()

    got, body = asked(client, "/api/v1/explanation", **query)

    assert (got, body["error"]["code"], body["error"]["exit_code"]) == (status, code, exit_code)
    assert body["error"]["message"]
    assert time.monotonic() - started < 2


def test_ambiguous_id_lists_the_requests(client: TestClient) -> None:
    """
    The answer to an ambiguous id names the requests, newest first.
    """
    _, body = explained(client, "x-request-id:client-0")

    assert body["error"]["total"] == 2
    assert [hit[:36] for hit in body["error"]["hits"]] == [request_id(1), FIRST]


def test_accepted_is_waited_for(client: TestClient) -> None:
    """
    A request that is accepted but not yet stored is waited for, and the answer says so.
    """
    one = fresh_record(span_id=None, calls=(), composite_version=None)
    send(client, one)

    status, body = explained(client, one.request_id)

    assert status == 200
    assert body["record"]["bytes"] == len(one.to_bytes())


def test_fresh_id_is_waited_for(client: TestClient) -> None:
    """
    A request id of this moment may still be on its way here: it is found when it arrives.
    """
    one = fresh_record(span_id=None, calls=(), composite_version=None)
    sender = threading.Timer(0.3, send, (client, one))
    sender.start()

    status, body = explained(client, one.request_id)
    sender.join()

    assert status == 200
    assert body["waited_s"] >= 0.3


def test_waiting_ends(client: TestClient) -> None:
    """
    What does not come in time is not found, and the message says how long it was waited for.
    """
    started = time.monotonic()

    status, body = explained(client, new_request_id(), wait=1)

    assert status == 404
    assert "after waiting 1 s for accepted data" in body["error"]["message"]
    assert 1 <= time.monotonic() - started < 4


def test_requests(client: TestClient) -> None:
    """
    Requests are listed newest first, as far as the filter lets them through.
    """
    status, body = asked(client, "/api/v1/requests", until="2027-01-01", route="/ask", limit=10)

    assert status == 200
    known = {request_id(number) for number in range(3)}
    listed = [one["request_id"] for one in body["requests"] if one["request_id"] in known]
    assert listed == [request_id(2), request_id(1), FIRST]
    assert body["limit"] == 10
    [failed] = asked(client, "/api/v1/requests", error=1, version=SYSTEM.version[:8])[1]["requests"]
    assert failed["request_id"] == request_id(2)
    assert failed["time"] == "2026-08-22T11:02:09.123000Z"


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({"limit": "0"}, 400, "filter"),
        ({"colour": "red"}, 400, "filter"),
        ({"version": "00000000"}, 404, "version-not-found"),
    ],
)
def test_wrong_filters(client: TestClient, query: dict[str, str], status: int, code: str) -> None:
    """
    A filter that means nothing is refused.
    """
    got, body = asked(client, "/api/v1/requests", **query)

    assert (got, body["error"]["code"]) == (status, code)


def test_explained_by_trace(client: TestClient) -> None:
    """
    The trace id leads to the same explanation.
    """
    assert explained(client, TRACE)[1]["request_id"] == FIRST
