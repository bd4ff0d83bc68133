"""A rollout where something is unusual: keys that fail, names beside draws, middleware within
middleware, the time after a request, and a spool that could not hold the canary's registration.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asgi import REQUEST, Conversation, body, http_scope, start
from captured import Captured, records_of
from opentelemetry import trace
from opentelemetry.semconv._incubating.attributes import feature_flag_attributes
from rolled import CANARY, STABLE, Served, expected, halves
from sink import Sink

import mvtrace
from mvtrace.capture.assigning import Draw
from mvtrace.capture.declared import declared_by
from mvtrace.capture.pipeline import Tracing
from mvtrace.capture.rollout import Rollout

NEXT = mvtrace.composite("bot", mvtrace.custom("x", version="3"))
pytestmark = pytest.mark.usefixtures("tracing")


def serve(app: Any, user: str | None = "user-1") -> None:
    """Serve one request of *user*."""
    headers = [] if user is None else [(b"x-user-id", user.encode())]
    talk = Conversation(REQUEST)
    asyncio.run(app(http_scope(headers=headers), talk.receive, talk.send))


def answering(then: Callable[[], object]) -> Any:
    """Return an application that does *then* in each request."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        then()
        await send(start())
        await send(body(b"x"))

    return answer


def failing(scope: Any) -> str:
    raise KeyError("secret-user@example.org")


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        (failing, "KeyError"),
        (lambda scope: 1.5, "TypeError"),
        (lambda scope: object(), "TypeError"),
        (lambda scope: 10**5000, "ValueError"),
    ],
)
def test_a_function_that_fails(
    captured: Captured, caplog: pytest.LogCaptureFixture, key: Any, kind: str
) -> None:
    """
    Stable serves a request whose key's function fails, however often; no error of tracing is counted,
    capture stays on, and what is said names the kind of the error and nothing of the key.
    """
    before = captured.tracing.stats()
    served = Served(halves(key=key, share=1.0))

    with caplog.at_level(logging.WARNING, logger="mvtrace"):
        told = [served.ask() for _ in range(25)]  # the breaker opens at 20 errors

    assert {one.composite for one in told} == {STABLE}
    assert [one.status_code for one in captured.records] == [200] * 25
    assert {one.capture.errors for one in captured.records if one.capture} == {0}
    after = captured.tracing.stats()
    for name in ("capture_errors", "breaker_openings", "requests_not_captured"):
        assert after[name] == before[name]
    assert [one for one in caplog.messages if one.startswith("No key")] == [
        f"No key of a rollout was found, which is text, bytes or an int: {kind} (1 so far)"
    ]
    assert "secret-user" not in caplog.text


def test_a_subject_that_is_no_key(captured: Captured, caplog: pytest.LogCaptureFixture) -> None:
    """
    What cannot be a key is not drawn for, wherever it is named, and is no error of tracing.
    """
    before = captured.tracing.stats()["capture_errors"]

    with caplog.at_level(logging.WARNING, logger="mvtrace"):
        unit: Any = 1.5
        with mvtrace.request(route="jobs", composite=halves(share=1.0), unit=unit):
            told = mvtrace.current_arm()

    assert told is not None
    assert (told.name, told.composite) == ("stable", STABLE)
    assert captured.record.assignment is None
    assert captured.tracing.stats()["capture_errors"] == before
    assert "TypeError (1 so far)" in caplog.text


@pytest.mark.parametrize("unkeyed", ["stable", "request"])
def test_work_that_outlives_its_request_draws_nothing(captured: Captured, unkeyed: str) -> None:
    """
    A subject that is named, or a side that is asked for, after the end changes nothing of the record.
    """
    told: list[Any] = []
    begin, ended = threading.Event(), threading.Event()

    def work(scope: Any) -> None:
        begin.wait(30)
        with mvtrace.resume(scope):
            told.append(mvtrace.current_arm())
            mvtrace.subject("user-1")
            told.append(mvtrace.current_arm())
        ended.set()

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        threading.Thread(target=work, args=(scope,)).start()
        await send(start())
        await send(body(b"x"))

    rollout = halves(key="subject", share=1.0, unkeyed=unkeyed)
    serve(mvtrace.TraceMiddleware(answer, composite=rollout))
    begin.set()
    assert ended.wait(30)

    assert [one.composite for one in told] == [STABLE, STABLE]
    for one in captured.records:
        assert (one.arm, one.assignment) == (None, None)
        assert one.composite_version == STABLE.version


@pytest.mark.parametrize("asks", [False, True])
def test_a_named_side_and_a_subject(captured: Captured, asks: bool) -> None:
    """
    Who splits elsewhere and names the user while the request runs has the unit on the record, whether
    or not the side was asked for before.
    """
    told: list[Any] = []

    def then() -> None:
        if asks:
            told.append(mvtrace.current_arm())
        mvtrace.subject("user-1")
        mvtrace.subject("user-2")
        told.append(mvtrace.current_arm())

    by_subject, by_header = halves(key="subject", share=0.0), halves(share=0.0)
    serve(mvtrace.TraceMiddleware(answering(then), composite=by_subject, arm="canary"))
    serve(mvtrace.TraceMiddleware(answering(then), composite=by_header, arm="canary"))

    assert {(one.name, one.composite) for one in told} == {("canary", CANARY)}
    named, other = (one.assignment for one in captured.records)
    assert named is not None
    assert named == other
    assert (named.basis, named.unit_kind) == ("named", "user")
    assert named.unit is not None


def test_one_rollout_in_two_layers_is_one_draw(captured: Captured) -> None:
    """
    Where the outer middleware has drawn, the same rollout in an inner one says nothing else.
    """
    rollout = halves()
    served = Served(rollout)
    app = mvtrace.TraceMiddleware(served.app, composite=rollout)

    for user in range(20):
        serve(app, f"user-{user}")

    assert [one.name for one in served.told] == expected("r", 0.5)
    for one in captured.records:
        assert one.assignment is not None
        assert (one.assignment.basis, one.assignment.rollout) == ("assigned", "r")


def test_another_rollout_within_draws_by_itself(captured: Captured) -> None:
    """
    What an outer rollout drew names no side of the inner one, whose draw is the one on the record.
    """
    served = Served(halves(name="inner"))
    app = mvtrace.TraceMiddleware(served.app, composite=halves(name="outer"))

    for user in range(20):
        serve(app, f"user-{user}")

    assert [one.arm for one in captured.records] == expected("inner", 0.5)
    for one in captured.records:
        assert one.assignment is not None
        assert (one.assignment.basis, one.assignment.rollout) == ("assigned", "inner")


def test_a_composite_within_a_rollout_is_what_serves(captured: Captured) -> None:
    """
    The application is told the system that the innermost middleware declares, as the record is.
    """
    served = Served(NEXT)

    serve(mvtrace.TraceMiddleware(served.app, composite=halves(share=1.0)))

    assert (served.told[0].name, served.told[0].composite) == ("canary", NEXT)
    assert captured.record.composite_version == NEXT.version


def test_a_canary_that_could_not_be_spooled_is_registered_again(
    captured: Captured, tracing: Tracing
) -> None:
    """
    A registration that was lost is made again by the next request that the canary serves.
    """
    served = Served(halves(share=1.0))
    served.ask({"x-user-id": "user-1"})
    captured.flush()
    tracing._registered.discard(CANARY.version)  # what a spool that is full does

    served.ask({"x-user-id": "user-1"})
    captured.flush()

    names = [log.event_name for log in captured.sink.logs]
    assert names.count("mvtrace.composite") == 3


def test_a_rollout_without_a_name_is_that_of_its_canary(captured: Captured) -> None:
    """
    The next stable version beside the same canary moves nobody; another canary is drawn for anew.
    """

    def drawn(stable: Any, canary: Any) -> tuple[str, list[str]]:
        served = Served(
            mvtrace.rollout(stable=stable, canary=canary, share=0.5, key="header:x-user-id")
        )
        sides = served.arms(40)
        return served.told[0].rollout, sides

    before = drawn(STABLE, CANARY)

    assert drawn(NEXT, CANARY) == before
    other = drawn(STABLE, NEXT)
    assert other[0] != before[0]
    assert other[1] != before[1]


def test_what_to_run_where_nothing_is_recorded(tracing: Tracing) -> None:
    """
    ``rollout.arm`` is the stable system, also before the first request and outside of any.
    """
    rollout = halves(share=1.0)

    assert mvtrace.current_arm() is None
    assert (rollout.arm.name, rollout.arm.composite) == ("stable", STABLE)
    Served(rollout).ask({"x-user-id": "user-1"})
    assert rollout.arm == declared_arm(rollout)


def declared_arm(rollout: Rollout) -> Any:
    """The stable side as it was handed over."""
    return rollout.arm._replace(composite_version=declared_by(STABLE).version, composite=STABLE)


def test_a_server_knows_its_digest_key_before_the_first_request(tmp_path: Path) -> None:
    """
    The file of the key is made while the server starts, and not while somebody waits.
    """
    made = mvtrace.configure(service="s", spool_dir=tmp_path / "other", exit_grace_s=0.0)

    async def begin(scope: Any, receive: Any, send: Any) -> None:
        await receive()

    app: Any = mvtrace.TraceMiddleware(begin, composite=halves())
    talk = Conversation({"type": "lifespan.startup"})
    asyncio.run(app({"type": "lifespan"}, talk.receive, talk.send))

    assert (tmp_path / "other" / "digest.key").exists()
    made.shutdown()


@pytest.mark.usefixtures("provider")
def test_spans_before_the_naming_have_no_arm(captured: Captured) -> None:
    """
    Whom a subject is drawn for is known once it is named: what ended before tells no side, what
    begins later and the request itself do.
    """
    tracer = trace.get_tracer("library")

    def then() -> None:
        with tracer.start_as_current_span("before"):
            pass
        mvtrace.subject("user-1")
        with tracer.start_as_current_span("after"):
            pass

    serve(mvtrace.TraceMiddleware(answering(then), composite=halves(key="subject", share=1.0)))

    arms = {span.name: span.attributes.get("mvtrace.arm") for span in captured.spans}
    assert (arms.pop("before"), arms.pop("after")) == (None, "canary")
    assert list(arms.values()) == ["canary"]
    assert captured.record.arm == "canary"


def test_a_unit_is_the_same_after_a_restart(sink: Sink, tmp_path: Path) -> None:
    """
    The key in the spool folder makes the digests: the same user is the same unit of the next process
    there, and another one elsewhere.
    """
    for folder in ("a", "a", "b"):
        made = mvtrace.configure(service="s", url=sink.url, spool_dir=tmp_path / folder)
        Served(halves()).ask({"x-user-id": "user-1"})
        assert made.flush(20)
        made.shutdown()

    first, restarted, elsewhere = (
        one.assignment.unit
        for one in records_of(sink)
        if one.state == "finished" and one.assignment is not None
    )
    assert first == restarted != elsewhere


def test_the_flag_is_told_by_the_conventions(captured: Captured) -> None:
    """
    Spans name flag and variant as OpenTelemetry's conventions do, and nothing that they call deprecated.
    """
    Served(halves(share=1.0)).ask({"x-user-id": "user-1"})

    known = feature_flag_attributes
    for span in captured.spans:
        said = {key: value for key, value in span.attributes.items() if "feature_flag" in key}
        assert said == {
            known.FEATURE_FLAG_KEY: "r", known.FEATURE_FLAG_RESULT_VARIANT: "canary",
        }  # fmt: skip


def test_a_shared_key_is_one_side_everywhere(captured: Captured) -> None:
    """
    Requests, connections and jobs of a user agree, since all hash the same key.
    """
    rollout = halves()
    served = Served(rollout)
    for user in (f"user-{n}" for n in range(10)):
        side = served.ask({"x-user-id": user}).name
        with mvtrace.request(route="jobs", composite=rollout, unit=user):
            arm = mvtrace.current_arm()
        assert arm is not None
        assert (
            arm.name == side == ("canary" if Draw("r", 0.5).is_canary(user.encode()) else "stable")
        )
    units = [one.assignment.unit for one in captured.records if one.assignment]
    assert units[::2] == units[1::2]
