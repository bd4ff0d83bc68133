"""The same bytes from two keys: each project gets its part, and a retry of one key is no second one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send

from mvtrace_collector.access import IDENTITY
from mvtrace_collector.inbox import Inbox
from mvtrace_collector.keys import Identity
from mvtrace_collector.limits import Limits
from mvtrace_collector.metrics import Metrics
from mvtrace_collector.receiver import Gate, Receiver
from mvtrace_collector.segments import read_bodies

KEYS = {
    "a": Identity("a", frozenset({"ingest"}), ("a",)),
    "b": Identity("b", frozenset({"ingest"}), ("b",)),
    "ab": Identity("ab", frozenset({"ingest"}), ("a", "b")),
}


class Sender:
    """Takes a request for that of the key its header names."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        named = dict(scope.get("headers", ())).get(b"x-key", b"").decode()
        await self._app({**scope, IDENTITY: KEYS.get(named)}, receive, send)


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    opened = Inbox(tmp_path / "inbox")
    yield opened
    opened.close()


@pytest.fixture
def client(inbox: Inbox) -> Iterator[TestClient]:
    gate = Gate(inbox, Limits(), Metrics())
    routes = [Route("/v1/traces", Receiver("traces", lambda: gate))]
    with TestClient(Starlette(routes=routes, middleware=[Middleware(Sender)])) as opened:
        yield opened


def export(*projects: str) -> bytes:
    request = ExportTraceServiceRequest()
    for number, project in enumerate(projects, 1):
        resource = request.resource_spans.add()
        if project:
            named = resource.resource.attributes.add(key="mvtrace.project")
            named.value.string_value = project
        resource.scope_spans.add().spans.add(
            trace_id=b"\1" * 16, span_id=bytes(7) + bytes([number])
        )
    return request.SerializeToString()


def send(client: TestClient, key: str, body: bytes) -> None:
    headers = {"content-type": "application/x-protobuf", "x-key": key, "x-mvtrace-batch": "one"}
    assert client.post("/v1/traces", content=body, headers=headers).status_code == 200


def spans_in(inbox: Inbox) -> list[int]:
    """Return how many spans each accepted batch has, in their order."""
    intent = inbox.take(max_age_s=0)
    assert intent is not None
    bodies = map(ExportTraceServiceRequest.FromString, read_bodies(intent.path))
    return [len(body.resource_spans) for body in bodies]


def test_two_projects_get_the_same_bytes(client: TestClient, inbox: Inbox) -> None:
    """
    What names no project is stored in that of each key that sent it, once a key.
    """
    for key in ("a", "b", "a", "b"):
        send(client, key, export(""))

    assert spans_in(inbox) == [1, 1]


def test_a_part_is_not_taken_for_the_whole(client: TestClient, inbox: Inbox) -> None:
    """
    Of one export a key of two projects may send what names one of them, and a key of one also what
    names none: that is not taken for a retry of the first part, while a retry of each is.
    """
    body = export("a", "")
    for key in ("ab", "a", "ab", "a"):
        send(client, key, body)

    assert spans_in(inbox) == [1, 2]
