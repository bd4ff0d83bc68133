"""TraceMiddleware over HTTP: one record a request, and an answer that is otherwise untouched."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from asgi import DISCONNECT, REQUEST, Conversation, body, http_scope, start
from captured import Captured, records_of
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

import mvtrace
from mvtrace.ids import UUID7_PATTERN

HEADER = "x-mvtrace-request-id"
pytestmark = pytest.mark.usefixtures("tracing")


def answer(request: Request) -> Response:
    return JSONResponse({"id": mvtrace.current_request_id()})


def served(endpoint: Any = answer, path: str = "/items/{item}", **options: Any) -> TestClient:
    app = Starlette(routes=[Route(path, endpoint)])
    app.add_middleware(mvtrace.TraceMiddleware, **options)
    return TestClient(app, raise_server_exceptions=False)


def test_json_request(captured: Captured) -> None:
    """
    A request gives one finished record with route, status, sizes, times and the id of its answer.
    """
    answered = served().get("/items/7?q=secret", headers={"x-request-id": "mine"})

    record = captured.record

    assert UUID7_PATTERN.fullmatch(record.request_id)
    assert answered.headers[HEADER] == record.request_id
    assert answered.json() == {"id": record.request_id}
    assert (record.revision, record.state, record.sequence) == (2, "finished", 1)
    assert (record.service, record.environment) == ("shop", "test")
    assert (record.protocol, record.method, record.route, record.path) == (
        "http", "GET", "/items/{item}", None,
    )  # fmt: skip
    assert (record.status_code, record.outcome, record.error_type) == (200, "ok", None)
    assert (record.request_bytes, record.response_bytes, record.response_chunks) == (0, 45, 1)
    assert record.started_at < (record.first_byte_at or 0) <= (record.ended_at or 0)
    assert [(alias.kind, alias.value) for alias in record.aliases] == [("x-request-id", "mine")]
    assert "secret" not in record.to_bytes().decode()


def test_answer_is_untouched_but_for_one_header(captured: Captured) -> None:
    """
    Status, body, header order and trailers of an answer are those of the application.
    """

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start(203, headers=[(b"B", b"1"), (b"a", b"2"), (b"B", b"3")], trailers=True))
        await send(body(b"one", more=True))
        await send(body(b"two"))
        await send({"type": "http.response.trailers", "headers": [(b"t", b"x")]})

    plain, traced = Conversation(REQUEST), Conversation(REQUEST)

    plain.run(app, http_scope())
    traced.run(mvtrace.TraceMiddleware(app), http_scope())

    added = (HEADER.encode(), captured.record.request_id.encode())
    expected = [{**plain.sent[0], "headers": [*plain.sent[0]["headers"], added]}, *plain.sent[1:]]
    assert traced.sent == expected
    assert (captured.record.outcome, captured.record.response_chunks) == ("ok", 2)


def test_header_of_a_called_service_is_replaced(captured: Captured) -> None:
    """
    An application that passes on another service's answer answers with its own request id.
    """

    def relay(request: Request) -> Response:
        return PlainTextResponse("x", headers={HEADER: "of the other"})

    answered = served(relay).get("/items/1")

    assert answered.headers.get_list(HEADER) == [captured.record.request_id]


def test_own_server_span(captured: Captured) -> None:
    """
    Alone, the middleware makes the server span itself, and the record names it.
    """
    served().get("/items/7")

    span, record = captured.span("GET /items/{item}"), captured.record

    assert span.kind == 2
    assert (span.trace_id, span.span_id, span.parent_id) == (record.trace_id, record.span_id, "")
    assert (span.start, span.end) == (record.started_at, record.ended_at)
    assert span.attributes == {
        "http.request.method": "GET",
        "url.path": "/items/7",
        "mvtrace.request.id": record.request_id,
        "http.route": "/items/{item}",
        "http.response.status_code": 200,
        "http.response.body.size": 45,
        "mvtrace.response.chunks": 1,
    }


def test_unrouted_path(captured: Captured) -> None:
    """
    Where nobody routed there is no route, and the record has the path without its query.
    """
    served().get("/nothing?a=b")

    assert (captured.record.route, captured.record.path) == (None, "/nothing")
    assert (captured.record.status_code, captured.record.outcome) == (404, "ok")


def test_mounted_routes(captured: Captured) -> None:
    """
    A route below mounts has their prefix, and path parameters of a mount by their names.
    """
    inner = Starlette(routes=[Route("/items/{item}", answer)])
    app = Starlette(
        routes=[Mount("/shops/{shop}", routes=[Mount("/v1", inner)]), Mount("/raw", answer_raw)]
    )
    client = TestClient(mvtrace.TraceMiddleware(app))

    client.get("/shops/9/v1/items/3")
    client.get("/raw/file.txt")

    assert [record.route for record in captured.records] == [
        "/shops/{shop}/v1/items/{item}",
        "/raw",
    ]


async def answer_raw(scope: Any, receive: Any, send: Any) -> None:
    await PlainTextResponse("raw")(scope, receive, send)


def test_stream(captured: Captured) -> None:
    """
    A streamed answer is counted chunk by chunk, without a span a chunk.
    """

    async def chunks() -> AsyncIterator[bytes]:
        for number in range(50):
            await asyncio.sleep(0)
            yield b"%02d" % number

    answered = served(lambda request: StreamingResponse(chunks())).get("/items/1")

    record = captured.record
    assert answered.content == b"".join(b"%02d" % number for number in range(50))
    assert (record.response_chunks, record.response_bytes) == (50, 100)
    assert (record.first_byte_at or 0) < (record.last_byte_at or 0) <= (record.ended_at or 0)
    assert len(captured.spans) == 1


def test_file_sent_by_the_server(captured: Captured, tmp_path: Path) -> None:
    """
    An answer whose file the server reads itself is complete.
    """
    (tmp_path / "f").write_bytes(b"data")
    app = Starlette(routes=[Route("/f", lambda request: FileResponse(tmp_path / "f"))])
    scope = http_scope("/f", method="GET", extensions={"http.response.pathsend": {}})

    Conversation(REQUEST).run(mvtrace.TraceMiddleware(app), scope)

    assert (captured.record.outcome, captured.record.response_bytes) == ("ok", 0)


def test_generator_that_raises(captured: Captured) -> None:
    """
    A stream that breaks off is an error with the exception's type, and keeps what was sent.
    """

    async def chunks() -> AsyncIterator[bytes]:
        yield b"half"
        raise LookupError("gone")

    with pytest.raises(LookupError):
        TestClient(
            mvtrace.TraceMiddleware(
                Starlette(routes=[Route("/", lambda request: StreamingResponse(chunks()))])
            )
        ).get("/")

    record = captured.record
    assert (record.outcome, record.error_type, record.status_code) == ("error", "LookupError", 200)
    assert record.response_bytes == 4
    assert captured.spans[0].status == 2


def test_exception_goes_on_unchanged(captured: Captured) -> None:
    """
    What the application raises is raised, the same object, and is on the record by its type only.
    """
    raised = ValueError("a prompt that must not be kept")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise raised

    with pytest.raises(ValueError) as caught:
        Conversation(REQUEST).run(mvtrace.TraceMiddleware(app), http_scope())

    assert caught.value is raised
    assert (captured.record.outcome, captured.record.error_type) == ("error", "ValueError")
    assert captured.record.status_code is None
    assert b"must not be kept" not in captured.sink.deliveries[0].body


def test_error_answer_of_an_outer_layer(captured: Captured) -> None:
    """
    Around the whole application the middleware marks also the 500 that Starlette makes of an error.
    """

    def broken(request: Request) -> Response:
        raise RuntimeError("no")

    app = mvtrace.TraceMiddleware(Starlette(routes=[Route("/", broken)]))
    answered = TestClient(app, raise_server_exceptions=False).get("/")

    assert (answered.status_code, answered.headers[HEADER]) == (500, captured.record.request_id)
    assert (captured.record.outcome, captured.record.error_type) == ("error", "RuntimeError")


def test_status_of_a_server_error(captured: Captured) -> None:
    """
    A 5xx is an error by its status; a 4xx is the client's and no error.
    """
    served(lambda request: Response(status_code=503)).get("/items/1")
    served(lambda request: Response(status_code=422)).get("/items/1")

    assert [(r.status_code, r.outcome, r.error_type) for r in captured.records] == [
        (503, "error", "503"),
        (422, "ok", None),
    ]


def test_client_that_leaves_before_the_answer(captured: Captured) -> None:
    """
    A disconnect seen before the last byte makes the request one that its client left.
    """

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        assert (await receive())["type"] == "http.disconnect"
        await send(start())
        await send(body(b"too late"))

    Conversation(REQUEST, DISCONNECT).run(mvtrace.TraceMiddleware(app), http_scope())

    assert (captured.record.outcome, captured.record.error_type) == ("client_disconnected", None)
    assert captured.record.request_bytes == 5


def test_disconnect_in_the_middle_of_a_stream(captured: Captured) -> None:
    """
    A client that leaves during a stream is seen through Starlette's own listening.
    """

    async def chunks() -> AsyncIterator[bytes]:
        yield b"one"
        await asyncio.sleep(60)

    app = Starlette(routes=[Route("/", lambda request: StreamingResponse(chunks()))])
    scope = http_scope("/", method="GET", asgi={"version": "3.0", "spec_version": "2.3"})

    class Leaving(Conversation):
        async def receive(self) -> dict[str, Any]:
            await first_chunk.wait()
            return DISCONNECT

    first_chunk = asyncio.Event()
    talk = Leaving(on_send=lambda message: first_chunk.set() if "body" in message else None)
    talk.run(mvtrace.TraceMiddleware(app), scope)

    assert (captured.record.outcome, captured.record.response_chunks) == ("client_disconnected", 1)


def test_send_that_raises(captured: Captured) -> None:
    """
    A server that cannot send on tells of a client that left; the exception goes on unchanged.
    """

    async def chunks() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    app = Starlette(routes=[Route("/", lambda request: StreamingResponse(chunks()))])

    with pytest.raises(ClientDisconnect):
        Conversation(REQUEST, fail_send_at=2).run(
            mvtrace.TraceMiddleware(app), http_scope("/", method="GET")
        )

    assert captured.record.outcome == "client_disconnected"


def test_cancelled_request(captured: Captured) -> None:
    """
    A request whose task is cancelled is recorded as cancelled, and the cancellation goes on.
    """

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        await asyncio.sleep(60)

    async def main() -> None:
        talk = Conversation(REQUEST)
        task = asyncio.create_task(
            mvtrace.TraceMiddleware(app)(http_scope(), talk.receive, talk.send)
        )
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())

    assert (captured.record.outcome, captured.record.error_type) == (
        "cancelled", "asyncio.exceptions.CancelledError",
    )  # fmt: skip


def test_application_that_does_not_answer(captured: Captured) -> None:
    """
    An application that returns without a whole answer failed, whatever it thinks.
    """

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        await send(body(b"more to come", more=True))

    Conversation(REQUEST).run(mvtrace.TraceMiddleware(app), http_scope())

    assert (captured.record.outcome, captured.record.error_type) == ("error", "incomplete_response")


def test_background_work(captured: Captured) -> None:
    """
    Work after the answer belongs to the request, whose end stays the last byte of its answer.
    """

    def later() -> None:
        time.sleep(0.05)
        with mvtrace.tool("mail"):
            pass

    client = served(lambda request: PlainTextResponse("ok", background=BackgroundTask(later)))
    client.get("/items/1")

    record = captured.record
    [call] = record.calls
    assert (call.kind, call.name, call.outcome) == ("tool", "mail", "ok")
    assert (call.started_at or 0) - (record.ended_at or 0) > 40_000_000
    assert captured.span("execute_tool mail").parent_id == record.span_id
    assert captured.span("execute_tool mail").attributes["mvtrace.request.id"] == record.request_id


def test_work_that_outlives_its_request(captured: Captured) -> None:
    """
    What a task tells after its request has ended is on the record too, in a later revision.
    """

    async def serve() -> None:
        tasks: list[asyncio.Task[None]] = []
        has_ended = asyncio.Event()

        async def later() -> None:
            await has_ended.wait()
            with mvtrace.generation("summary", model="m-1") as call:
                call.response(id="resp-late")
            mvtrace.annotate(summed=True)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            tasks.append(asyncio.create_task(later()))
            await send(start())
            await send(body(b"x"))

        talk = Conversation(REQUEST)
        await mvtrace.TraceMiddleware(app)(http_scope(), talk.receive, talk.send)
        has_ended.set()
        await asyncio.gather(*tasks)

    asyncio.run(serve())

    first, *_, last = captured.records
    assert (first.revision, first.calls) == (2, ())
    assert (last.revision, last.request_id, last.sequence) == (4, first.request_id, first.sequence)
    assert [(call.name, call.outcome) for call in last.calls] == [("summary", "ok")]
    assert [alias.value for alias in last.aliases] == ["resp-late"]
    assert last.annotations == {"summed": True}
    assert (last.ended_at, last.outcome) == (first.ended_at, "ok")


def test_endless_work_that_outlives_its_request(captured: Captured) -> None:
    """
    A loop that one request has started does not send its record for ever; that it was cut is said.
    """
    scopes: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        await send(start())
        await send(body(b"x"))

    Conversation(REQUEST).run(mvtrace.TraceMiddleware(app), http_scope())
    with mvtrace.resume(scopes[0]):
        for _ in range(150):
            with mvtrace.tool("tick"):
                pass

    records = captured.records
    assert [record.revision for record in records] == list(range(2, 104))
    assert (len(records[-1].calls), records[-1].capture.calls_dropped) == (100, 1)  # type: ignore[union-attr]


def test_background_work_that_fails(captured: Captured) -> None:
    """
    After a complete answer an exception does not fail the answer, but is on the record.
    """

    def later() -> None:
        raise OSError("disk")

    served(lambda request: PlainTextResponse("ok", background=BackgroundTask(later))).get(
        "/items/1"
    )

    assert (captured.record.outcome, captured.record.error_type) == ("ok", "OSError")


def test_context_in_threads(captured: Captured) -> None:
    """
    The request is known in pool threads by their context, and in any other thread by the scope.
    """
    seen: list[str | None] = []

    async def endpoint(request: Request) -> Response:
        seen.append(await run_in_threadpool(mvtrace.current_request_id))

        def foreign() -> None:
            seen.append(mvtrace.current_request_id())
            with mvtrace.resume(request.scope):
                seen.append(mvtrace.current_request_id())
                with mvtrace.tool("t"):
                    pass
            seen.append(mvtrace.current_request_id())

        thread = threading.Thread(target=foreign)
        thread.start()
        thread.join()
        return PlainTextResponse("ok")

    served(endpoint).get("/items/1")

    record = captured.record
    assert seen == [record.request_id, None, record.request_id, None]
    assert [call.name for call in record.calls] == ["t"]
    assert captured.span("execute_tool t").parent_id == record.span_id
    assert mvtrace.current_request_id() is None


@pytest.mark.parametrize("ours_outside", [True, False])
def test_beside_base_http_middleware(captured: Captured, ours_outside: bool) -> None:
    """
    Starlette's BaseHTTPMiddleware, which runs the application in a task of its own, hides nothing.
    """

    async def dispatch(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        response.headers["x-seen"] = "yes"
        return response

    def endpoint(request: Request) -> Response:
        with mvtrace.tool("t"):
            return answer(request)

    layers = [
        Middleware(mvtrace.TraceMiddleware),
        Middleware(BaseHTTPMiddleware, dispatch=dispatch),
    ]
    app = Starlette(
        routes=[Route("/a/{b}", endpoint)], middleware=layers if ours_outside else layers[::-1]
    )

    answered = TestClient(app).get("/a/1")

    record = captured.record
    assert answered.headers[HEADER] == record.request_id == answered.json()["id"]
    assert (record.outcome, record.route, len(record.calls)) == ("ok", "/a/{b}", 1)


def test_concurrent_requests_stay_apart(captured: Captured) -> None:
    """
    Requests that overlap in one instance do not see each other's calls, sizes or ids.
    """

    async def endpoint(request: Request) -> Response:
        number = int(request.path_params["item"])
        with mvtrace.tool(f"tool-{number}"):
            await asyncio.sleep(0.001 * (20 - number))
        return PlainTextResponse("x" * number)

    app = Starlette(routes=[Route("/items/{item}", endpoint)])
    app.add_middleware(mvtrace.TraceMiddleware)

    async def main() -> list[httpx2.Response]:
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            return await asyncio.gather(*(client.get(f"/items/{n}") for n in range(20)))

    answers = {answer.headers[HEADER]: len(answer.content) for answer in asyncio.run(main())}

    assert {r.request_id: r.response_bytes for r in captured.records} == answers
    assert {r.request_id: [call.name for call in r.calls] for r in captured.records} == {
        request_id: [f"tool-{size}"] for request_id, size in answers.items()
    }
    assert sorted(r.sequence for r in captured.records) == list(range(1, 21))


def test_nested_middleware(captured: Captured) -> None:
    """
    A second middleware inside the first one makes no second record; what it knows better is kept.
    """
    system = mvtrace.composite("inner", mvtrace.prompt("p", "Say {x}"))
    app = Starlette(routes=[Route("/", answer)])
    inner = mvtrace.TraceMiddleware(app, composite=system, arm="canary")

    TestClient(mvtrace.TraceMiddleware(inner)).get("/")

    record = captured.record
    assert (record.composite_version, record.composite_name, record.arm) == (
        system.version, "inner", "canary",
    )  # fmt: skip


def test_composite_and_arm(captured: Captured) -> None:
    """
    Every record and every span names the version and the arm; the version is registered once.
    """
    system = mvtrace.composite("shop", mvtrace.prompt("p", "Say {x}"))
    client = served(composite=system, arm="canary")

    client.get("/items/1")
    client.get("/items/2")

    assert {(r.composite_version, r.composite_name, r.arm) for r in captured.records} == {
        (system.version, "shop", "canary")
    }
    stamped = {
        (span.attributes["mvtrace.composite.version"], span.attributes["mvtrace.arm"])
        for span in captured.spans
    }
    assert stamped == {(system.version, "canary")}
    names = [log.event_name for log in captured.sink.logs]
    assert (names.count("mvtrace.composite"), names.count("mvtrace.component")) == (1, 1)
    assert names.index("mvtrace.composite") < names.index("mvtrace.request")


def test_scopes_that_are_no_requests() -> None:
    """
    Unknown scopes reach the application as the very objects the server gave, and lifespan too, but
    for its ``send``, where the end of the server is seen.
    """
    seen: list[tuple[object, ...]] = []

    async def app(*call: object) -> None:
        seen.append(call)

    scopes: list[dict[str, Any]] = [{"type": "lifespan"}, {"type": "mqtt"}]
    talk = Conversation()
    for scope in scopes:
        talk.run(mvtrace.TraceMiddleware(app), scope)

    assert [call[:2] for call in seen] == [(scope, talk.receive) for scope in scopes]
    assert seen[1][2] == talk.send
    assert scopes == [{"type": "lifespan"}, {"type": "mqtt"}]


def test_end_of_the_server(captured: Captured) -> None:
    """
    When a server ends by lifespan all is delivered before it is told so: a signal may follow.
    """
    delivered: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        with mvtrace.request(route="last"):
            pass
        await send({"type": "lifespan.shutdown.complete"})

    talk = Conversation(on_send=lambda _: delivered.append(len(captured.sink.logs)))
    talk.run(mvtrace.TraceMiddleware(app), {"type": "lifespan"})

    assert talk.sent == [{"type": "lifespan.shutdown.complete"}]
    assert delivered == [1]


def test_composite_is_registered_when_the_server_starts(captured: Captured) -> None:
    """
    What serves is sent at the server's start-up, before any request could name it.
    """

    async def app(scope: Any, receive: Any, send: Any) -> None:
        pass

    shop = mvtrace.composite("shop", mvtrace.prompt("p", "Say {x}"))
    Conversation().run(mvtrace.TraceMiddleware(app, composite=shop), {"type": "lifespan"})

    captured.flush()
    assert [log.event_name for log in captured.sink.logs] == [
        "mvtrace.content", "mvtrace.component", "mvtrace.composite",
    ]  # fmt: skip


@pytest.mark.parametrize("composite", ["shop", mvtrace.prompt("p", "Say {x}"), 5])
def test_composite_that_is_none(
    captured: Captured, composite: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """
    An object that is no composite version is named in one line; every request is still recorded.
    """
    client = TestClient(mvtrace.TraceMiddleware(Starlette(), composite=composite))

    ids = [client.get("/").headers[HEADER] for _ in range(30)]

    assert [record.request_id for record in captured.records] == ids
    assert {record.composite_version for record in captured.records} == {None}
    [said] = caplog.messages
    assert f"is a {type(composite).__name__}, not a composite version" in said


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("no.such:system", "ModuleNotFoundError: No module named 'no'"),
        ("json:system", "AttributeError: module 'json' has no attribute 'system'"),
        ("json:dumps.nothing", "AttributeError: 'function' object has no attribute 'nothing'"),
    ],
)
def test_composite_of_the_environment_that_is_none(
    captured: Captured, target: str, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A target that cannot be imported is named in one line; the first request is recorded too.
    """
    options = {"url": captured.sink.url, "spool_dir": captured.tracing.config.spool_dir}
    captured.tracing = mvtrace.configure(composite=target, **options)
    client = TestClient(mvtrace.TraceMiddleware(Starlette()))

    ids = [client.get("/").headers[HEADER] for _ in range(3)]

    assert [record.request_id for record in captured.records] == ids
    [said] = caplog.messages
    assert said.endswith(f"version: MVTRACE_COMPOSITE={target} cannot be imported: {problem}.")


def test_long_request_is_recorded_at_its_start(captured: Captured) -> None:
    """
    A request of more than a second has a started record while it runs, and a finished one after.
    """
    release = threading.Event()
    seen: list[Any] = []

    def endpoint(request: Request) -> Response:
        with mvtrace.tool("first"):
            pass
        captured.sink.wait_for(lambda sink: sink.logs)
        seen.extend(captured.all_records)
        release.set()
        return PlainTextResponse("ok")

    served(endpoint).get("/items/1")

    [begun] = seen
    assert release.is_set()
    assert (begun.state, begun.revision, begun.outcome, begun.ended_at) == (
        "started",
        1,
        None,
        None,
    )
    assert [call.name for call in begun.calls] == ["first"]
    assert (captured.record.request_id, captured.record.sequence) == (
        begun.request_id, begun.sequence,
    )  # fmt: skip
    assert len(captured.all_records) == 2


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("r" * 300, "r" * 256),
        ("a\x1b[31mb\x7f", "a\ufffd[31mb\ufffd"),
        ("d\xe9j\xe0", "d\xe9j\xe0"),
    ],
)
def test_client_request_id(captured: Captured, sent: str, kept: str) -> None:
    """
    A client's x-request-id is an alias: cut, and harmless to a terminal.
    """
    headers = [(b"x-request-id", sent.encode("latin-1"))]

    Conversation(REQUEST).run(mvtrace.TraceMiddleware(answer_raw), http_scope(headers=headers))

    assert [alias.value for alias in captured.record.aliases] == [kept]


def test_headers_that_say_nothing(captured: Captured) -> None:
    """
    Broken trace headers and an empty x-request-id are as if they were not there.
    """
    headers = [(b"traceparent", b"00-zz-1-01"), (b"x-request-id", b""), (b"baggage", b"\xff=;,,=")]

    Conversation(REQUEST).run(mvtrace.TraceMiddleware(answer_raw), http_scope(headers=headers))

    record = captured.record
    assert (record.aliases, record.parent_request_id, record.outcome) == ((), None, "ok")
    assert captured.spans[0].parent_id == ""


def test_said_by_the_application(captured: Captured) -> None:
    """
    Annotations, aliases, conversation and cache origin go from any depth of code to the record.
    """

    def endpoint(request: Request) -> Response:
        mvtrace.annotate(tenant="t1", tries=1, big=2**70, odd=float("nan"), thing=object)
        mvtrace.annotate(tries=2, nested={"a": [1, "x", None, 0.0]})
        mvtrace.alias("ticket", "T-1")
        mvtrace.conversation("c-9")
        mvtrace.cache_origin("01900000-0000-7000-8000-000000000000")
        return PlainTextResponse("ok")

    served(endpoint).get("/items/1")

    record = captured.record
    assert record.annotations == {
        "tenant": "t1",
        "tries": 2,
        "big": 2**70,
        "odd": "nan",
        "thing": "<class 'object'>",
        "nested": {"a": [1, "x", None, 0.0]},
    }
    assert [(alias.kind, alias.value) for alias in record.aliases] == [("ticket", "T-1")]
    assert record.conversation_id == "c-9"
    assert record.cache_origin == "01900000-0000-7000-8000-000000000000"


def test_said_outside_of_a_request() -> None:
    """
    What is said where no request runs is said to nobody, without an error.
    """
    mvtrace.annotate(a=1)
    mvtrace.alias("k", "v")
    mvtrace.conversation("c")
    mvtrace.cache_origin("x")

    assert mvtrace.current_request_id() is None


def test_record_that_would_be_too_large(captured: Captured) -> None:
    """
    A record stays below 256 KiB: documents go first, then details of calls; what went is counted.
    """

    def endpoint(request: Request) -> Response:
        for _ in range(30):
            with mvtrace.retrieval("big", top_k=1000) as call:
                call.documents((f"{number:0500}", 0.5) for number in range(1100))
        return PlainTextResponse("ok")

    served(endpoint).get("/items/1")

    record = captured.record
    assert len(record.to_bytes()) <= 250 * 1024
    assert (len(record.calls), len(record.index_snapshots)) == (30, 30)
    assert all(snapshot.documents == () for snapshot in record.index_snapshots)
    assert record.capture is not None
    assert record.capture.truncated == 30 * 1000 + 30


def test_more_calls_than_a_record_holds(captured: Captured) -> None:
    """
    A thousand calls are on the record; further ones are counted.
    """

    def endpoint(request: Request) -> Response:
        for number in range(1005):
            with mvtrace.tool("t", arguments={"n": number}):
                pass
        return PlainTextResponse("ok")

    served(endpoint).get("/items/1")

    record = captured.record
    assert len(record.calls) == 1000
    assert record.capture is not None
    assert (record.capture.calls_dropped, record.capture.spans_dropped) == (5, 0)
    assert len(record.to_bytes()) <= 250 * 1024


def test_everything_from_the_environment(tmp_path: Path, sink: Any) -> None:
    """
    A server that takes a middleware by its import path needs no code: composite, arm, service and
    collector come from the environment.
    """
    (tmp_path / "systems.py").write_text(
        "import mvtrace\nsystem = mvtrace.composite('shop', mvtrace.prompt('p', 'Say {x}'))\n"
    )
    program = """
import asyncio, importlib, sys
sys.path.insert(0, "tests/support")
from asgi import Conversation, REQUEST, body, http_scope, start
async def app(scope, receive, send):
    await send(start()); await send(body(b"x"))
module, _, name = "mvtrace.TraceMiddleware".rpartition(".")
traced = getattr(importlib.import_module(module), name)(app)
Conversation(REQUEST).run(traced, http_scope())
"""
    environ = {
        "PATH": "",
        "PYTHONPATH": ":".join([str(tmp_path), *(p for p in sys.path if p)]),
        "MVTRACE_URL": sink.url,
        "MVTRACE_SERVICE": "served",
        "MVTRACE_ARM": "canary",
        "MVTRACE_COMPOSITE": "systems:system",
        "MVTRACE_SPOOL_DIR": str(tmp_path / "spool2"),
    }

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env=environ,
        capture_output=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, b"")
    [record] = records_of(sink)
    assert (record.service, record.arm, record.composite_name) == ("served", "canary", "shop")


def test_without_any_tracing(captured: Captured, tmp_path: Path) -> None:
    """
    Disabled, the middleware leaves the answer as it is and sends nothing.
    """
    mvtrace.configure(disabled=True, spool_dir=tmp_path / "off", url=captured.sink.url)

    answered = served().get("/items/1")

    assert HEADER not in answered.headers
    assert answered.json() == {"id": None}
