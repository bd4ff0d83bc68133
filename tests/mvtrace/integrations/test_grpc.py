"""gRPC: a called service knows which request called it, and its calls are requests of their own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any

import pytest

pytestmark = pytest.mark.services
grpc = pytest.importorskip("grpc")

from captured import Captured  # noqa: E402 (after the check that there is anything to test)
from captured_table import record  # noqa: E402

import mvtrace  # noqa: E402
from mvtrace.integrations.grpc_metadata import receivers  # noqa: E402
from mvtrace.records import RequestRecord  # noqa: E402

SYSTEM = mvtrace.composite("called", mvtrace.sampling("default", temperature=0.1))
KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")


def _note(context: Any) -> bytes:
    """What a service saw: its request, and the application's metadata."""
    own = dict(context.invocation_metadata()).get("x-own", "")
    return f"{mvtrace.current_request_id()} {own}".encode()


def _unary_unary(asked: bytes, context: Any) -> bytes:
    if asked == b"abort":
        context.abort(grpc.StatusCode.NOT_FOUND, "none")
    if asked == b"raise":
        raise ValueError("broken")
    if asked == b"unavailable":
        context.set_code(grpc.StatusCode.UNAVAILABLE)
    return _note(context)


def _unary_stream(asked: bytes, context: Any) -> Iterator[bytes]:
    for _ in range(3):
        yield _note(context)


def _stream_unary(asked: Iterator[bytes], context: Any) -> bytes:
    list(asked)
    return _note(context)


def _stream_stream(asked: Iterator[bytes], context: Any) -> Iterator[bytes]:
    for _ in asked:
        yield _note(context)


async def _async_unary_unary(asked: bytes, context: Any) -> bytes:
    if asked == b"abort":
        await context.abort(grpc.StatusCode.NOT_FOUND, "none")
    return _note(context)


async def _async_unary_stream(asked: bytes, context: Any) -> AsyncIterator[bytes]:
    for _ in range(3):
        yield _note(context)


async def _async_stream_unary(asked: AsyncIterator[bytes], context: Any) -> bytes:
    _ = [one async for one in asked]
    return _note(context)


async def _async_stream_stream(asked: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
    async for _ in asked:
        yield _note(context)


def _service(behaviours: dict[str, Callable[..., Any]]) -> Any:
    handlers = {
        name: getattr(grpc, f"{name}_rpc_method_handler")(behaviour)
        for name, behaviour in behaviours.items()
    }
    return grpc.method_handlers_generic_handler("shop.Notes", handlers)


@contextlib.contextmanager
def serving() -> Iterator[int]:
    """A real server of all four kinds of calls; its port."""
    from mvtrace.integrations.grpc_server import TraceInterceptor

    server = grpc.server(
        ThreadPoolExecutor(4), interceptors=[TraceInterceptor(composite=SYSTEM, arm="canary")]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    behaviours = (_unary_unary, _unary_stream, _stream_unary, _stream_stream)
    server.add_generic_rpc_handlers((_service(dict(zip(KINDS, behaviours, strict=True))),))
    server.start()
    try:
        yield port
    finally:
        server.stop(5).wait()


@contextlib.contextmanager
def serving_async() -> Iterator[int]:
    """The same, asynchronous, in a thread of its own."""
    from mvtrace.integrations.grpc_server import AsyncTraceInterceptor

    loop = asyncio.new_event_loop()
    ready, ended = threading.Event(), asyncio.Event()
    ports: list[int] = []

    async def serve() -> None:
        interceptor = AsyncTraceInterceptor(composite=SYSTEM, arm="canary")
        server = grpc.aio.server(interceptors=[interceptor])
        ports.append(server.add_insecure_port("127.0.0.1:0"))
        behaviours = (
            _async_unary_unary, _async_unary_stream, _async_stream_unary, _async_stream_stream,
        )  # fmt: skip
        server.add_generic_rpc_handlers((_service(dict(zip(KINDS, behaviours, strict=True))),))
        await server.start()
        ready.set()
        await ended.wait()
        await server.stop(5)

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(30)
    try:
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(30)
        loop.close()


def _arguments(kind: str) -> Any:
    return b"q" if kind.startswith("unary") else iter([b"q", b"q"])


def ask(port: int, kind: str, host: str = "127.0.0.1", asked: Any = None) -> list[bytes]:
    """What a call of *kind* was answered."""
    with grpc.insecure_channel(f"{host}:{port}") as channel:
        call = getattr(channel, kind)(f"/shop.Notes/{kind}")
        answer = call(asked or _arguments(kind), metadata=(("x-own", "1"),), timeout=30)
        return list(answer) if kind.endswith("stream") else [answer]


def ask_async(port: int, kind: str, host: str = "127.0.0.1") -> list[bytes]:
    """The same by an asynchronous client."""

    async def call() -> list[bytes]:
        async with grpc.aio.insecure_channel(f"{host}:{port}") as channel:
            method = getattr(channel, kind)(f"/shop.Notes/{kind}")
            pending = method(_arguments(kind), metadata=(("x-own", "1"),), timeout=30)
            if kind.endswith("stream"):
                return [bytes(one) async for one in pending]
            return [bytes(await pending)]

    return asyncio.run(call())


@pytest.fixture
def telling(captured: Captured) -> Iterator[Captured]:
    """Tracing that may tell one host who calls, and believes who calls."""
    config = captured.tracing.config
    captured.tracing = mvtrace.configure(
        service="shop",
        url=config.url,
        spool_dir=config.spool_dir,
        propagate_to=["127.0.0.1"],
        trust_incoming=True,
    )
    mvtrace.instrument("grpc")
    yield captured
    mvtrace.uninstrument()
    captured.tracing.shutdown()


def called(captured: Captured) -> RequestRecord:
    """The record of the service that was called."""
    [found] = [one for one in captured.records if (one.route or "").startswith("/shop.Notes/")]
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("server", [serving, serving_async])
@pytest.mark.parametrize("client", [ask, ask_async])
def test_every_kind_of_call(
    telling: Captured, client: Callable[..., list[bytes]], server: Any, kind: str
) -> None:
    """
    A called service makes a request of its own, which names who called it; messages are unchanged.
    """
    with server() as port, mvtrace.request(route="r", arm="stable") as work:
        answers = client(port, kind)

    own = called(telling)
    assert {one.decode() for one in answers} == {f"{own.request_id} 1"}
    assert len(answers) == {"unary_stream": 3, "stream_stream": 2}.get(kind, 1)
    assert (own.parent_request_id, own.parent_arm) == (work.request_id, "stable")
    assert (own.composite_version, own.arm, own.outcome) == (SYSTEM.version, "canary", "ok")
    assert own.trace_id == telling.records[0].trace_id == telling.records[1].trace_id
    assert telling.span(f"/shop.Notes/{kind}").kind == 2
    record("grpcio", version("grpcio"), ["tells allowed services which request calls them"])
    record("grpcio", version("grpcio"), ["a request for each call served, of all four kinds"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("client", [ask, ask_async])
def test_another_host_is_told_nothing(
    telling: Captured, client: Callable[..., list[bytes]], kind: str
) -> None:
    """
    A service at a host that is not named is told nothing, and its request has no parent.
    """
    with serving() as port, mvtrace.request(route="r"):
        client(port, kind, host="localhost")

    assert called(telling).parent_request_id is None


@pytest.mark.parametrize(
    ("asked", "code", "outcome", "error_type"),
    [
        (b"abort", "NOT_FOUND", "ok", "NOT_FOUND"),
        (b"raise", "UNKNOWN", "error", "ValueError"),
        (b"unavailable", "UNAVAILABLE", "error", "UNAVAILABLE"),
    ],
)
def test_calls_that_fail(
    telling: Captured, asked: bytes, code: str, outcome: str, error_type: str
) -> None:
    """
    The caller sees the service's own status, and the record says how the call ended.
    """
    with serving() as port, pytest.raises(grpc.RpcError) as raised:
        ask(port, "unary_unary", asked=asked)

    assert raised.value.code().name == code
    assert (called(telling).outcome, called(telling).error_type) == (outcome, error_type)


def test_a_call_nobody_serves(telling: Captured) -> None:
    """
    A method that does not exist is refused as ever, and makes no record.
    """
    with (
        serving() as port,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
        pytest.raises(grpc.RpcError) as raised,
    ):
        channel.unary_unary("/shop.Notes/none")(b"", timeout=30)

    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert telling.records == []


def test_a_stream_that_is_left(telling: Captured) -> None:
    """
    A client that leaves in the middle of a stream ends the request.
    """
    with serving() as port, grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        answers = channel.unary_stream("/shop.Notes/unary_stream")(b"q", timeout=30)
        next(answers)
        answers.cancel()

    assert called(telling).state == "finished"


def test_interceptors_of_the_application_stay(telling: Captured) -> None:
    """
    An asynchronous channel keeps the interceptors that it was made with.
    """
    seen = []

    class Own(grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[misc]
        async def intercept_unary_unary(
            self, continuation: Any, client_call_details: Any, request: Any
        ) -> Any:
            seen.append(client_call_details.method)
            return await continuation(client_call_details, request)

    async def call(port: int, place: str) -> bytes:
        target, own = f"127.0.0.1:{port}", [Own()]
        made = {
            "positional": lambda: grpc.aio.insecure_channel(target, None, None, own),
            "keyword": lambda: grpc.aio.insecure_channel(target, interceptors=own),
            "empty": lambda: grpc.aio.insecure_channel(target, None, None, []),
            "none": lambda: grpc.aio.insecure_channel(target, interceptors=None),
        }[place]()
        async with made as channel:
            return bytes(await channel.unary_unary("/shop.Notes/unary_unary")(b"q", timeout=30))

    with serving() as port:
        for place in ("positional", "keyword", "empty", "none"):
            with mvtrace.request(route="r"):
                asyncio.run(call(port, place))

    parents = [one.parent_request_id for one in telling.records if one.route != "r"]
    assert (len(seen), len(parents)) == (2, 4)
    assert None not in parents


@pytest.mark.parametrize(
    ("target", "hosts"),
    [
        ("api.internal:50051", ("//api.internal:50051",)),
        ("dns:///api.internal:1", ("//api.internal:1",)),
        ("dns://8.8.8.8/api.internal:1", ("//api.internal:1",)),
        ("dns:api.internal:1", ("//api.internal:1",)),
        ("ipv4:10.0.0.1:1,10.0.0.2:2", ("//10.0.0.1:1", "//10.0.0.2:2")),
        ("ipv6:[::1]:1", ("//[::1]:1",)),
        ("ipv6:::1", ("//[::1]",)),
        ("unix:/run/x", ("localhost",)),
        ("localhost:1", ("//localhost:1",)),
    ],
)
def test_where_a_target_leads(target: str, hosts: tuple[str, ...]) -> None:
    """
    The hosts of a target are found as gRPC names them.
    """
    assert receivers(target) == hosts
