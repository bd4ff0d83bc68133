"""An ASGI application without a framework that uses all of mvtrace's API, and what it answers.

Everything that a wrapper hands back goes into the answers, so that equal answers say that no
wrapper changed anything. Knows nothing of whether tracing is on, off or broken.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from asgi import (
    DISCONNECT,
    REQUEST,
    Conversation,
    Message,
    body,
    http_scope,
    start,
    websocket_scope,
)
from opentelemetry import trace
from opentelemetry.trace import SpanContext, StatusCode, TraceFlags

import mvtrace

OURS = b"x-mvtrace-request-id"
HEADERS = [
    (b"x-request-id", b"mine"),
    (b"traceparent", b"00-" + b"ab" * 16 + b"-" + b"cd" * 8 + b"-01"),
    (b"baggage", b"mvtrace.request_id=no"),
]
PROMPT = mvtrace.prompt("answer", "Answer: {question}")
MODEL = mvtrace.model("answerer", provider="here", model_id="m-1")
NOTES = mvtrace.index("notes", {"a": [1.0, 0.0], "b": [0.0, 1.0]})
ROUTER = mvtrace.router("route", policy={"threshold": 0.5}, candidates=[MODEL])
SYSTEM = mvtrace.composite("thorough", PROMPT, MODEL, NOTES, ROUTER)


class Refused(Exception):
    """What the application itself raises."""


@mvtrace.tool("add")
def add(one: int, other: int) -> int:
    return one + other


@mvtrace.retrieval("notes", index=NOTES)
def found(query: str) -> list[tuple[str, float]]:
    return [("a", 0.9), ("b", len(query) / 100)]


@mvtrace.routing("route", router=ROUTER)
def chosen(words: int) -> str:
    return "answerer"


@mvtrace.generation("answer", model="m-1", provider="here")
async def answer(question: str) -> str:
    await asyncio.sleep(0)
    return question.upper()


@mvtrace.generation("words", model="m-1")
def words(text: str) -> Iterator[str]:
    for word in text.split():
        got = yield word
        if got is not None:
            yield got


@mvtrace.generation("pieces", model="m-1")
async def pieces(text: str) -> AsyncIterator[str]:
    for piece in text:
        await asyncio.sleep(0)
        yield piece


@mvtrace.tool("refuse")
def refuse() -> None:
    raise Refused("as ever")


def say_everything() -> str:
    """Tell mvtrace all there is to tell; return what its own calls make visible."""
    mvtrace.annotate(a=1, b=["x"], c=object())
    mvtrace.alias("ticket", "T-1")
    mvtrace.conversation("talk-1")
    mvtrace.cache_origin("01a206ed-24cc-70c5-beac-c97886400a9c")
    with mvtrace.retrieval("notes", index=NOTES, query="q", top_k=2) as retrieval:
        retrieval.documents([("a", 0.9), "b"])
    with mvtrace.routing("route", router=ROUTER, features={"words": 2}) as decision:
        decision.candidate("answerer", score=0.8, threshold=0.5)
        decision.choose("answerer", reason="fits")
        decision.fallback("none")
    with mvtrace.embedding("embed", model="e-1") as embedding:
        embedding.input("text")
        embedding.response(model="e-1", input_tokens=1)
    with mvtrace.guardrail("pii") as guardrail:
        guardrail.verdict("pass")
    with mvtrace.postprocess("tidy") as postprocess:
        postprocess.input("raw")
        postprocess.output("tidy")
    with mvtrace.tool("search", arguments={"q": 1}) as tool:
        tool.result([1])
    return say_more()


def say_more() -> str:
    """Use the model call, OpenTelemetry's own words, and a request within the request."""
    with mvtrace.generation(
        "g", model="m-1", provider="here", prompt=PROMPT, sampling={"seed": 1}, component=MODEL
    ) as call:
        call.rendered(PROMPT.render(question="why"))
        call.chunk("because")
        call.response(model="m-2", id="r-1", finish_reason="stop", usage={"input_tokens": 3})
        if (current := mvtrace.current_call()) is not None:
            current.cache_origin("01a206ed-24cc-70c5-beac-c97886400a9c")
        use_span()
    inner = mvtrace.request(route="inner", headers={"X-Request-Id": "queue"})
    with inner, contextlib.suppress(Refused):
        refuse()
    headers = mvtrace.propagation_headers("http://example.org/")
    return ",".join(sorted(set(headers) - {"traceparent", "tracestate", "baggage"}))


def use_span() -> None:
    """Write on the span in progress as any instrumentation might."""
    span = trace.get_current_span()
    span.set_attribute("k", 1)
    span.set_attributes({"l": "text"})
    span.add_event("moment", {"m": 1})
    span.add_link(SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(1)), {"n": 1})
    span.record_exception(Refused("seen"))
    span.update_name("renamed")
    span.set_status(StatusCode.ERROR, "why")
    with trace.get_tracer("others").start_as_current_span("others"):
        pass


async def serve(scope: Message, receive: Any, send: Any) -> None:
    """Answer: the path says how."""
    if scope["type"] == "websocket":
        await converse(receive, send)
        return
    asked = await receive()
    text = [say_everything(), str(add(1, 2)), str(found("q")), chosen(3), await answer("why")]
    text += [*words("a b c"), *[piece async for piece in pieces("xyz")]]
    await send(start(headers=[(b"Content-Type", b"text/plain"), (b"A", b"1"), (b"a", b"2")]))
    for piece in text:
        await send(body(piece.encode(), more=True))
    if scope["path"] == "/refused":
        refuse()
    await send(body(asked.get("body", b"")))
    with mvtrace.resume(scope), mvtrace.tool("afterwards"):
        await asyncio.sleep(0)
    if scope["path"] == "/late":
        raise Refused("after the answer")


async def converse(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept", "headers": [(b"X-A", b"1")]})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": say_everything() + message["text"]})
    await send({"type": "websocket.close", "code": 4001})


def stay_calm(run: Callable[[], object]) -> str:
    """Return how *run* ended: the application's own error is part of its answer."""
    try:
        run()
    except (Refused, OSError, asyncio.CancelledError, KeyboardInterrupt) as error:
        return repr(error)
    return "returned"


def conversations(app: Any) -> list[object]:
    """Lead every kind of conversation with *app*; return all that a server sees of it."""
    seen: list[object] = []
    text = {"type": "websocket.receive", "text": "hi"}
    left = {"type": "websocket.disconnect", "code": 1001}
    connected = [{"type": "websocket.connect"}, text, text, left]
    for talk, scope in (
        (Conversation(REQUEST), http_scope(headers=HEADERS)),
        (Conversation(REQUEST), http_scope("/refused")),
        (Conversation(REQUEST), http_scope("/late")),
        (Conversation(DISCONNECT), http_scope()),
        (Conversation(REQUEST, fail_send_at=0), http_scope()),
        (Conversation(REQUEST, fail_send_at=3), http_scope()),
        (Conversation(*connected), websocket_scope()),
    ):
        ended = stay_calm(lambda talk=talk, scope=scope: talk.run(app, scope))
        seen.append([*map(without_ours, talk.sent), ended])
    return seen


def without_ours(message: Message) -> Message:
    """Return *message* without the one header that mvtrace adds."""
    if "headers" not in message:
        return message
    return {**message, "headers": [h for h in message["headers"] if h[0] != OURS]}
