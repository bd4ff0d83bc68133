"""Beside OpenTelemetry's own instrumentations of HTTP and gRPC clients, in either order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any
from urllib.parse import unquote

import pytest

pytestmark = pytest.mark.services
for _name in ("httpx", "requests", "urllib3", "aiohttp_client", "grpc"):
    pytest.importorskip(f"opentelemetry.instrumentation.{_name}")

from captured import Captured, global_provider  # noqa: E402 (after the check)
from echoing import Echo, echoing  # noqa: E402
from opentelemetry import baggage, context  # noqa: E402
from opentelemetry.sdk.trace import TracerProvider  # noqa: E402

import mvtrace  # noqa: E402

ALLOWED = "127.0.0.1"
OTHER = "localhost"
STALE = "01900000-0000-7000-8000-000000000000"


def _httpx(url: str) -> dict[str, str]:
    import httpx

    with httpx.Client() as client:
        return dict(client.get(url).json())


def _requests(url: str) -> dict[str, str]:
    import requests

    return dict(requests.get(url, timeout=30).json())


def _urllib3(url: str) -> dict[str, str]:
    import urllib3

    with urllib3.PoolManager() as pool:
        return dict(pool.request("GET", url).json())


def _aiohttp(url: str) -> dict[str, str]:
    import aiohttp

    async def get() -> dict[str, str]:
        async with aiohttp.ClientSession() as session, session.get(url) as reply:
            return dict(await reply.json())

    return asyncio.run(get())


CLIENTS: dict[str, tuple[str, str, Callable[[str], dict[str, str]]]] = {
    "httpx": ("httpx", "HTTPXClientInstrumentor", _httpx),
    "requests": ("requests", "RequestsInstrumentor", _requests),
    "urllib3": ("urllib3", "URLLib3Instrumentor", _urllib3),
    "aiohttp": ("aiohttp_client", "AioHttpClientInstrumentor", _aiohttp),
}


@pytest.fixture(scope="module")
def echo() -> Iterator[Echo]:
    with echoing() as server:
        yield server


@pytest.fixture(params=["theirs-first", "ours-first"])
def asked(
    request: pytest.FixtureRequest, captured: Captured, provider: TracerProvider
) -> Iterator[Callable[[str, str], dict[str, str]]]:
    """Ask a server by a client that both observe."""
    config = captured.tracing.config
    captured.tracing = mvtrace.configure(
        url=config.url, spool_dir=config.spool_dir, propagate_to=[ALLOWED]
    )
    instrumentors: list[Any] = []

    def ask(client: str, url: str) -> dict[str, str]:
        module, name, get = CLIENTS[client]
        made = getattr(import_module(f"opentelemetry.instrumentation.{module}"), name)()
        steps = [made.instrument, mvtrace.instrument]
        for step in steps if request.param == "theirs-first" else steps[::-1]:
            step()
        instrumentors.append(made)
        return get(url)

    yield ask
    mvtrace.uninstrument()
    for one in instrumentors:
        one.uninstrument()
    captured.tracing.shutdown()


def members(headers: dict[str, str]) -> dict[str, str]:
    pairs = (one.partition("=") for one in headers.get("baggage", "").split(",") if one)
    return {key.strip(): unquote(value) for key, _, value in pairs}


@pytest.mark.parametrize("client", CLIENTS)
def test_their_span_and_our_baggage(
    client: str, asked: Callable[[str, str], dict[str, str]], captured: Captured, echo: Echo
) -> None:
    """
    An allowed host continues from their client span and is told who calls.
    """
    with mvtrace.request(route="r") as work:
        said = asked(client, echo.url(ALLOWED))

    assert members(said) == {"mvtrace.request.id": work.request_id}
    [span] = [one for one in captured.spans if one.kind == 3]
    assert said["traceparent"].split("-")[1:3] == [span.trace_id, span.span_id]
    assert span.attributes["mvtrace.request.id"] == work.request_id


@pytest.mark.parametrize("client", CLIENTS)
def test_what_they_would_pass_on(
    client: str, asked: Callable[[str, str], dict[str, str]], echo: Echo
) -> None:
    """
    The caller's id, which their propagator hands to everybody, does not leave to another host.
    """
    held = baggage.set_baggage("user", "7", baggage.set_baggage("mvtrace.request.id", STALE))
    token = context.attach(held)
    try:
        with mvtrace.request(route="r"):
            said = asked(client, echo.url(OTHER))
    finally:
        context.detach(token)

    assert members(said).get("user") == "7"
    assert "mvtrace.request.id" not in members(said)


def test_grpc_beside_theirs(captured: Captured) -> None:
    """
    With their interceptor a call has their span's trace and our baggage.
    """
    import grpc
    from opentelemetry.instrumentation.grpc import GrpcInstrumentorClient

    seen: list[dict[str, str]] = []

    def handle(asked: bytes, call: Any) -> bytes:
        seen.append(dict(call.invocation_metadata()))
        return asked

    config = captured.tracing.config
    captured.tracing = mvtrace.configure(
        url=config.url, spool_dir=config.spool_dir, propagate_to=[ALLOWED]
    )
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    handlers = {"m": grpc.unary_unary_rpc_method_handler(handle)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("s", handlers),))
    server.start()
    with global_provider(TracerProvider(shutdown_on_exit=False)):
        theirs = GrpcInstrumentorClient()
        theirs.instrument()
        mvtrace.instrument("grpc")
        try:
            with (
                mvtrace.request(route="r") as work,
                grpc.insecure_channel(f"{ALLOWED}:{port}") as channel,
            ):
                channel.unary_unary("/s/m")(b"x", timeout=30)
        finally:
            mvtrace.uninstrument()
            theirs.uninstrument()
            server.stop(5).wait()

    assert members(seen[0]) == {"mvtrace.request.id": work.request_id}
    assert seen[0]["traceparent"].split("-")[1] == captured.record.trace_id
    captured.tracing.shutdown()


def test_headers_of_kafka_clients(captured: Captured) -> None:
    """
    Headers travel in the types of Kafka's clients: pairs of text and bytes, out and in.
    """
    aiokafka = pytest.importorskip("aiokafka.structs")
    confluent = pytest.importorskip("confluent_kafka")
    config = captured.tracing.config
    captured.tracing = mvtrace.configure(
        url=config.url,
        spool_dir=config.spool_dir,
        propagate_to=["queue.internal"],
        trust_incoming=True,
    )
    with mvtrace.request(route="r") as work:
        headers: list[tuple[str, bytes]] = mvtrace.inject([("x", b"1")], "queue.internal:9092")
    producer = confluent.Producer({"bootstrap.servers": "queue.invalid:9092"})
    producer.produce("topic", b"v", headers=headers)  # it takes them: checked when it is called
    producer.purge()
    message = aiokafka.ConsumerRecord("topic", 0, 0, 0, 0, None, b"v", None, 0, 1, tuple(headers))

    with mvtrace.request(route="queue:topic", headers=message.headers):
        pass

    [consumed] = [one for one in captured.records if one.route == "queue:topic"]
    assert consumed.parent_request_id == work.request_id
    captured.tracing.shutdown()
