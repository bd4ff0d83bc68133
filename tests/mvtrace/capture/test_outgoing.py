"""What leaves a request: our members of baggage to whom they may go, and our caller's to nobody."""

from __future__ import annotations

from typing import Any

import pytest
from asgi import REQUEST, Conversation, body, http_scope, start
from captured import Captured
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import baggage, context, propagate
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.sdk.trace import TracerProvider

import mvtrace
from mvtrace.capture.outgoing import kept_in, without_ours

STALE = "01900000-0000-7000-8000-000000000000"
HEADERS = [(b"baggage", f"mvtrace.request.id={STALE},mvtrace.arm=a,user=7".encode())]


@pytest.mark.parametrize("is_inside", [True, False], ids=["inside-theirs", "alone"])
def test_what_a_caller_said_is_passed_on_by_nobody(
    captured: Captured, provider: TracerProvider, is_inside: bool
) -> None:
    """
    OpenTelemetry's propagators pass the application's baggage on, and none of our caller's members.
    """
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        carrier: dict[str, str] = {}
        propagate.inject(carrier)
        seen.append((carrier.get("baggage"), dict(baggage.get_all())))
        await send(start())
        await send(body(b"ok"))

    traced: Any = mvtrace.TraceMiddleware(app)
    held = context.get_current()
    if is_inside:
        traced = OpenTelemetryMiddleware(traced)
    else:
        given = baggage.set_baggage("user", "7", baggage.set_baggage("mvtrace.arm", "a"))
        token = context.attach(given)
    Conversation(REQUEST).run(traced, http_scope(headers=HEADERS))
    if not is_inside:
        assert baggage.get_baggage("mvtrace.arm") == "a"  # as it was before the request
        context.detach(token)

    assert seen == [("user=7", {"user": "7"})]
    assert context.get_current() == held


def test_a_context_without_ours_is_left_as_it_is() -> None:
    """
    Where nothing of ours is in the baggage, the context is the same one.
    """
    plain = baggage.set_baggage("user", "7")

    assert kept_in(plain) is plain


MEMBERS = st.lists(st.text(alphabet="abm.=;% ", max_size=12), max_size=6)


@given(MEMBERS, st.integers(0, 6), st.booleans())
def test_members_of_others_are_never_touched(members: list[str], at: int, is_there: bool) -> None:
    """
    Whatever else stands in the header stays, in its order and to the letter.
    """
    ours = f" mvtrace.request.id={STALE};p=1"
    mixed = [*members[:at], ours, *members[at:]] if is_there else members

    assert without_ours(",".join(mixed)) == ",".join(members)


HOSTILE = {
    "huge": b"a=" + b"x" * 1_000_000 + f",mvtrace.request.id={STALE}".encode(),
    "many": b",".join(b"a%d=b" % number for number in range(50_000)),
    "commas": b"," * 100_000,
    "percent": b"mvtrace.request.id=" + b"%41" * 100_000,
    "other-version": b"mvtrace.request.id=01900000-0000-4000-8000-000000000000",
    "upper": f"mvtrace.request.id={STALE.upper().replace('0', 'A')}".encode(),
    "sql": b"mvtrace.request.id=01900000-0000-7000-8000-000000000000' OR '1'='1",
    "bytes": bytes(range(256)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_baggage(captured: Captured, name: str) -> None:
    """
    Baggage that is too large, or names no request, is as none: the answer and the record are there.
    """
    config = captured.tracing.config
    captured.tracing = mvtrace.configure(
        url=config.url, spool_dir=config.spool_dir, trust_incoming=True, propagate_to=["a"]
    )
    said: list[dict[str, str]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        said.append(mvtrace.inject({"baggage": HOSTILE[name].decode("latin-1")}, "b"))
        await send(start())
        await send(body(b"ok"))

    talk = Conversation(REQUEST)
    talk.run(mvtrace.TraceMiddleware(app), http_scope(headers=[(b"baggage", HOSTILE[name])]))

    assert talk.sent[-1] == body(b"ok")
    record = captured.record
    assert (record.parent_request_id, record.parent_composite_version) == (None, None)
    assert STALE not in said[0].get("baggage", "")
    assert record.capture is not None
    assert record.capture.errors == 0
    captured.tracing.shutdown()
