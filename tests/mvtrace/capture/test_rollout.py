"""A rollout in the middleware: each request on its side, told to the application and recorded."""

from __future__ import annotations

import asyncio
import hashlib
import re
from typing import Any

import pytest
from asgi import REQUEST, Conversation, body, http_scope, start, websocket_scope
from captured import Captured
from opentelemetry.sdk.trace import TracerProvider
from rolled import CANARY, STABLE, Served, expected, halves

import mvtrace
from mvtrace.capture.assigning import Draw
from mvtrace.capture.pipeline import Tracing

pytestmark = pytest.mark.usefixtures("tracing")


def test_application_record_and_version_agree(captured: Captured) -> None:
    """
    The application is told the side and its system; the record says the same, and whom it drew for.
    """
    served = Served(halves())

    told = [served.ask({"x-user-id": f"user-{n}"}) for n in range(20)]

    assert [one.name for one in told] == expected("r", 0.5)
    for one, record in zip(told, captured.records, strict=True):
        assert one.composite is (CANARY if one.is_canary else STABLE)
        assert one.composite_version == record.composite_version == one.composite.version
        assert (one.rollout, one.share) == ("r", 0.5)
        assert record.arm == one.name
        assignment = record.assignment
        assert assignment is not None
        assert (assignment.rollout, assignment.share, assignment.basis) == ("r", 0.5, "assigned")
        assert assignment.unit_kind == "user"
        assert re.fullmatch("[0-9a-f]{32}", assignment.unit or "")
    assert captured.records[0].capture is not None
    assert captured.records[0].capture.errors == 0


def test_both_systems_are_registered(captured: Captured) -> None:
    """
    The canary is known to the registry before anybody is given it, so that it can be decided on.
    """
    Served(halves(share=0.0)).ask({"x-user-id": "user-1"})

    captured.flush()

    names = [log.event_name for log in captured.sink.logs]
    assert names.count("mvtrace.composite") == 2


def test_a_unit_stays_on_its_side(captured: Captured) -> None:
    """
    The same user has the same side and the same digest in every request, whatever else differs.
    """
    served = Served(halves())

    for path in ("/a", "/b", "/c"):
        served.ask({"x-user-id": "user-3"}, path=path)

    assert len({(one.arm, one.assignment) for one in captured.records}) == 1


def test_the_key_never_leaves(captured: Captured) -> None:
    """
    Neither the key nor a digest anybody could recompute is in what is sent.
    """
    Served(halves()).ask({"x-user-id": "somebody@example.org"})

    captured.flush()

    sent = b"".join(one.body for one in captured.sink.deliveries)
    assert b"somebody" not in sent
    for plain in (b"somebody@example.org", b"r\nsomebody@example.org"):
        assert hashlib.sha256(plain).hexdigest()[:32].encode() not in sent
        for person in (b"", b"mvtrace.unit/1"):
            unkeyed = hashlib.blake2b(plain, digest_size=16, person=person)
            assert unkeyed.hexdigest().encode() not in sent


def test_another_rollout_has_other_digests(captured: Captured) -> None:
    """
    Units of two rollouts cannot be joined by their digests.
    """
    for name in ("one", "other"):
        Served(halves(name=name)).ask({"x-user-id": "user-1"})

    first, second = (one.assignment for one in captured.records)
    assert first is not None
    assert second is not None
    assert first.unit != second.unit


def test_spans_carry_the_side(captured: Captured, provider: TracerProvider) -> None:
    """
    Every span, also of another library, has the arm, and says the same as a feature flag's variant.
    """
    served = Served(halves())
    arm = served.ask({"x-user-id": "user-1"}).name

    spans = captured.spans

    assert len(spans) == 2
    for span in spans:
        assert span.attributes["mvtrace.arm"] == arm
        assert span.attributes["feature_flag.key"] == "r"
        assert span.attributes["feature_flag.result.variant"] == arm


@pytest.mark.parametrize(
    ("key", "headers", "unit"),
    [
        ("header:X-User-Id", {"x-user-id": "u7"}, "user"),
        ("cookie:sid", {"cookie": "a=1; sid=u7; b=2"}, "session"),
        ("cookie:sid", {"cookie": 'sid="u7"'}, "session"),
        (lambda scope: "u7", {}, "user"),
        (lambda scope: b"u7", {}, "user"),
        (lambda scope: dict(scope["headers"])[b"x-id"], {"x-id": "u7"}, "user"),
    ],
)
def test_ways_to_name_a_unit(
    captured: Captured, key: Any, headers: dict[str, str], unit: str
) -> None:
    """
    A header, a cookie and a function that give the same key give the same side.
    """
    told = Served(halves(key=key)).ask(headers)

    assert told.is_canary == Draw("r", 0.5).is_canary(b"u7")
    assignment = captured.record.assignment
    assert assignment is not None
    assert assignment.unit_kind == unit


def test_a_number_is_its_digits() -> None:
    """
    A user's number as int and as text is one unit.
    """
    told = [Served(halves(key=lambda scope, n=n: n)).ask().name for n in (17, "17")]

    assert told[0] == told[1]


@pytest.mark.parametrize("headers", [{}, {"x-user-id": ""}])
def test_without_a_key_stable_serves_and_nothing_is_drawn(
    captured: Captured, headers: dict[str, str]
) -> None:
    """
    A request of nobody is served by the stable system and counts for neither side.
    """
    told = Served(halves(share=1.0)).ask(headers)

    assert (told.name, told.composite) == ("stable", STABLE)
    record = captured.record
    assert (record.arm, record.assignment) == (None, None)
    assert record.composite_version == STABLE.version


@pytest.mark.parametrize("options", [{"unkeyed": "request"}, {"key": "request"}])
def test_requests_drawn_one_by_one(captured: Captured, options: dict[str, Any]) -> None:
    """
    On request those without a key are drawn for by their own id, each a unit of its own.
    """
    served = Served(halves(**options))
    for _ in range(20):
        served.ask()

    assert {one.arm for one in captured.records} == {"stable", "canary"}
    for one in captured.records:
        assert one.assignment is not None
        assert one.assignment.unit_kind == "request"
        assert (one.arm == "canary") == Draw("r", 0.5).is_canary(one.request_id.encode())


def test_subject_is_drawn_for_when_it_is_named(captured: Captured) -> None:
    """
    With the key ``subject`` the side is that of whom the application names, from then on.
    """
    told = [Served(halves(key="subject"), names=f"user-{n}").ask().name for n in range(20)]

    assert told == expected("r", 0.5)
    assert [one.arm for one in captured.records] == told
    for span in captured.spans:
        assert span.attributes["mvtrace.arm"] in {"stable", "canary"}


def test_subject_that_comes_too_late_changes_nothing(captured: Captured) -> None:
    """
    Once the application has asked for its side, that is the side of the whole request.
    """
    served = Served(halves(key="subject", share=1.0))
    told: list[Any] = []

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        told.append(mvtrace.current_arm())
        mvtrace.subject("user-1")
        told.append(mvtrace.current_arm())
        await send(start())
        await send(body(b"x"))

    served.app.app = answer
    talk = Conversation(REQUEST)
    asyncio.run(served.app(http_scope(), talk.receive, talk.send))

    assert [one.name for one in told] == ["stable", "stable"]
    assert captured.record.assignment is None


@pytest.mark.parametrize("arm", ["stable", "canary"])
def test_who_splits_elsewhere_only_names_the_arm(captured: Captured, arm: str) -> None:
    """
    A named arm decides which system serves; the record says that it was named, and for whom.
    """
    told = Served(halves(share=0.0), arm=arm).ask({"x-user-id": "user-1"})

    assert (told.name, told.composite) == (arm, CANARY if arm == "canary" else STABLE)
    record = captured.record
    assert record.arm == arm
    assert record.assignment is not None
    assert (record.assignment.basis, record.assignment.rollout) == ("named", "r")
    assert record.assignment.unit is not None


def test_an_arm_of_another_name_is_served_as_stable(captured: Captured) -> None:
    """
    A third arm keeps its name, in the application and on the record.
    """
    told = Served(halves(), arm="blue").ask({"x-user-id": "user-1"})

    assert (told.name, told.composite) == ("blue", STABLE)
    assert captured.record.arm == "blue"
    assert captured.spans[0].attributes["feature_flag.result.variant"] == "blue"


def test_without_a_rollout_an_arm_is_told_as_it_is(captured: Captured) -> None:
    """
    ``MVTRACE_ARM`` without a rollout is told to the application, and draws nothing.
    """
    told = Served(STABLE, arm="canary").ask()

    assert (told.name, told.composite, told.rollout) == ("canary", STABLE, None)
    assert captured.record.assignment is None
    assert "feature_flag.key" not in captured.spans[0].attributes
    assert Served(STABLE).ask() is None
    assert mvtrace.current_arm() is None


def test_websockets_are_drawn_for(captured: Captured) -> None:
    """
    A connection is one request of its user, on the same side as all others.
    """

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": 1000})

    app: Any = mvtrace.TraceMiddleware(answer, composite=halves())
    for user in range(10):
        talk = Conversation({"type": "websocket.connect"})
        headers = [(b"x-user-id", f"user-{user}".encode())]
        scope = {**websocket_scope(), "headers": headers}
        asyncio.run(app(scope, talk.receive, talk.send))

    assert [one.arm for one in captured.records] == expected("r", 0.5, 10)


def test_inner_middleware_draws(captured: Captured) -> None:
    """
    A rollout in an inner middleware decides for the one record of the request.
    """
    inner = mvtrace.TraceMiddleware(Served(None).answer, composite=halves(share=1.0))
    talk = Conversation(REQUEST)
    scope = http_scope(headers=[(b"x-user-id", b"user-1")])
    outer: Any = mvtrace.TraceMiddleware(inner)
    asyncio.run(outer(scope, talk.receive, talk.send))

    record = captured.record
    assert (record.arm, record.composite_version) == ("canary", CANARY.version)


def test_work_from_a_queue_is_drawn_for(captured: Captured) -> None:
    """
    ``mvtrace.request`` takes the rollout, and the unit by name or from the message's headers.
    """
    rollout = halves()
    for n in range(10):
        with mvtrace.request(route="jobs", composite=rollout, unit=f"user-{n}"):
            pass
        with mvtrace.request(route="jobs", composite=rollout, headers={"X-User-Id": f"user-{n}"}):
            pass

    sides = [one.arm for one in captured.records]
    assert sides[::2] == sides[1::2] == expected("r", 0.5, 10)


def test_environment_names_a_rollout(
    captured: Captured, monkeypatch: pytest.MonkeyPatch, tracing: Tracing
) -> None:
    """
    ``MVTRACE_COMPOSITE`` may be a rollout as it may be a composite.
    """
    monkeypatch.setitem(globals(), "SHARED", halves(share=1.0))
    object.__setattr__(tracing.config, "composite", f"{__name__}:SHARED")

    Served(None).ask({"x-user-id": "user-1"})

    assert (captured.record.arm, captured.record.composite_version) == ("canary", CANARY.version)
