"""A rollout that goes by what was decided: over real HTTP, and from the file while nobody answers."""

from __future__ import annotations

import logging
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asgi import body, start
from followed import ID, NEW, OLD, USERS, Process, all_of, following, kept_in, split, traced
from rollout_server import RolloutServer, version_told

import mvtrace
from mvtrace.capture.pipeline import Tracing
from mvtrace.capture.rollout_told import parsed

FOREIGN = "f" * 64


@pytest.fixture
def server() -> Iterator[RolloutServer]:
    """What tells what is in force."""
    with RolloutServer() as one:
        yield one


@pytest.fixture
def tracing(server: RolloutServer, tmp_path: Path) -> Iterator[Tracing]:
    """Tracing at that server."""
    made = traced(server.url, tmp_path)
    yield made
    made.shutdown()


@pytest.mark.usefixtures("tracing")
def test_decisions_are_followed(server: RolloutServer) -> None:
    """
    A canary begins, grows, is promoted and is reverted; each request goes by what is decided then.
    """
    server.runs(ID, OLD.version, NEW.version, 0.3)
    process = Process(following())

    assert process.sides() == split(0.3)
    server.runs(ID, OLD.version, NEW.version, 0.7)
    process.until(split(0.7))
    server.serves(NEW.version)
    process.until(all_of(NEW.version))
    server.serves(OLD.version)
    process.until(all_of(OLD.version))
    assert (process.ask(1).rollout, process.ask(1).composite) == (None, OLD)


@pytest.mark.usefixtures("tracing")
def test_what_is_asked(server: RolloutServer) -> None:
    """
    The question names service and environment, the project goes as the collector's header.
    """
    Process(following(stable="abcdef12", canary="bot-next"))

    headers, pairs = server.questions[0]

    assert pairs == [
        ("service", "bot"), ("environment", "prod"), ("version", "abcdef12"),
        ("version", "bot-next"),
    ]  # fmt: skip
    assert headers["x-mvtrace-project"] == "p"


@pytest.mark.usefixtures("tracing")
def test_a_server_starts_while_the_collector_is_down(server: RolloutServer, tmp_path: Path) -> None:
    """
    A new process goes by the last answer: every user stays on its side, and is recorded so.
    """
    server.runs(ID, OLD.version, NEW.version, 0.4)
    Process(following())
    kept = kept_in(tmp_path)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600

    code = (
        "import asyncio, sys; sys.argv = ['x']; import followed as t; "
        "from pathlib import Path; import mvtrace; "
        f"t.traced({server.url!r}, Path({str(tmp_path)!r})); "
        "print(t.Process(t.following()).sides())"
    )
    server.__exit__()
    told = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=True, timeout=60,
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
    ).stdout  # fmt: skip

    assert told.splitlines()[-1] == str(split(0.4))


def test_without_any_answer_stable_serves(tmp_path: Path) -> None:
    """
    Where nothing was ever heard the stable system serves everybody and nothing is drawn.
    """
    tracing = traced("http://127.0.0.1:9", tmp_path)

    process = Process(following(), begins=False)

    assert process.sides() == all_of(OLD.version)
    assert process.ask(1).rollout is None
    tracing.shutdown()


@pytest.mark.usefixtures("tracing")
def test_no_request_waits_for_the_collector(server: RolloutServer) -> None:
    """
    Requests go on under what was known while an answer does not come.
    """
    server.runs(ID, OLD.version, NEW.version, 0.4)
    process = Process(following())
    server.asked.acquire()  # every further answer waits
    try:
        assert process.sides() == split(0.4)
    finally:
        server.asked.release()


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"no JSON", b"[]", b"{}", b"null", b'{"stable": 5, "rollout": null}', b'{"stable": null, "rollout": null, "named": []}', b'{"stable": null, "rollout": 5}',
        b'{"stable": null, "rollout": {"id": "x", "share": 0.5}}', b'{"stable": null, "rollout": {"id": "", "share": 0.5}}',
        b'{"stable": null, "rollout": {"id": "x\\u0000", "share": 0.5}}',
        b'{"rollout": null, "stable": {"version": "not hex"}}', b'{"rollout": null, "stable": {"version": "%s"}}' % (b"A" * 64),
        b'{"stable": null, "rollout": {"id": "x", "share": 2, "canary": {"version": "%s"}}}' % (b"a" * 64),
        b'{"stable": null, "rollout": {"id": "x", "share": "1", "canary": {"version": "%s"}}}' % (b"a" * 64),
        b'{"rollout": null, "stable": {"version": "%s", "kinds": [5]}}' % (b"a" * 64), b" " * 300_000,
    ],
)  # fmt: skip
def test_what_is_no_answer(answer: bytes) -> None:
    """
    Whatever else is answered, or lies in the file, is refused whole.
    """
    with pytest.raises(ValueError, match=r".+"):
        parsed(answer)


@pytest.mark.usefixtures("tracing")
def test_an_answer_that_is_none(server: RolloutServer) -> None:
    """
    While something else answers, the rollout goes on as it was last known.
    """
    server.runs(ID, OLD.version, NEW.version, 0.4)
    process = Process(following())

    server.raw = b"{}"
    server.wait_asked(2)

    assert process.sides() == split(0.4)


@pytest.mark.usefixtures("tracing")
@pytest.mark.parametrize("status", [403, 500])
def test_a_collector_that_refuses(server: RolloutServer, status: int) -> None:
    """
    A refusal changes nothing, and is said once.
    """
    server.runs(ID, OLD.version, NEW.version, 0.4)
    process = Process(following())

    server.status = status
    server.wait_asked(2)

    assert process.sides() == split(0.4)


def test_a_damaged_file_is_passed_over(
    server: RolloutServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A file that holds no answer is said and not believed.
    """
    tracing = traced(server.url, tmp_path)
    server.runs(ID, OLD.version, NEW.version, 0.4)
    Process(following())
    kept = kept_in(tmp_path)
    server.wait_asked()
    kept.write_bytes(b'{"rollout": {"id"')
    server.status = 503

    with caplog.at_level(logging.WARNING, logger="mvtrace"):
        process = Process(following(), begins=False)

    assert process.sides() == all_of(OLD.version)
    assert "is no answer about a rollout" in caplog.text
    tracing.shutdown()


@pytest.mark.usefixtures("tracing")
def test_a_version_this_process_has_not(
    server: RolloutServer, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A canary that this process cannot serve is not drawn for here, which is said.
    """
    server.runs(ID, OLD.version, FOREIGN, 0.4)

    with caplog.at_level(logging.WARNING, logger="mvtrace"):
        process = Process(following())

    assert process.sides() == all_of(OLD.version)
    assert f"no system of version {FOREIGN[:12]}" in caplog.text
    server.runs(ID, FOREIGN, NEW.version, 0.4)
    server.wait_asked(2)
    assert process.sides() == all_of(OLD.version)
    server.runs(ID, None, NEW.version, 0.4)
    process.until(split(0.4))


@pytest.mark.usefixtures("tracing")
def test_versions_by_decision_alone(server: RolloutServer) -> None:
    """
    Without systems of its own the application runs by the version it is told.
    """
    server.runs(ID, OLD.version, NEW.version, 0.4)

    process = Process(following(stable=None, canary=None))

    assert process.sides() == split(0.4)
    assert process.ask(1).composite is None


@pytest.mark.parametrize("kinds", [["model"], []])
def test_a_version_that_is_only_known_is_not_made_anew(
    server: RolloutServer, tracing: Tracing, monkeypatch: pytest.MonkeyPatch, kinds: list[str]
) -> None:
    """
    What a request meets changes nothing of the version that was decided, whatever is known of it.
    """
    server.runs(ID, OLD.version, NEW.version, 0.4)
    server.answer["stable"]["kinds"] = server.answer["rollout"]["canary"]["kinds"] = kinds
    sent: list[Any] = []
    monkeypatch.setattr(tracing, "emit_request", lambda record, spans: sent.append(record))

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        with mvtrace.generation("a", model="m", provider="p") as call:
            call.response(model="m-2", text="x")
        await send(start())
        await send(body(b"x"))

    process = Process(following(stable=None, canary=None))
    process.app.app = answer
    for user in range(USERS):
        process.ask(user)

    assert [(one.arm, one.composite_version) for one in sent] == split(0.4)


@pytest.mark.usefixtures("tracing")
def test_versions_by_name(server: RolloutServer) -> None:
    """
    Digits and names are what the registry says they are; the share may be the application's.
    """
    server.answer = {
        "stable": None, "rollout": None,
        "named": {"bot-old": version_told(OLD.version), NEW.version[:12]: version_told(NEW.version)},
    }  # fmt: skip

    process = Process(
        following(stable="bot-old", canary=NEW.version[:12], share=0.4, name=ID), begins=True
    )

    assert process.sides() == split(0.4)


@pytest.mark.usefixtures("tracing")
def test_a_name_that_nobody_or_several_have(
    server: RolloutServer, caplog: pytest.LogCaptureFixture
) -> None:
    """
    What is not one version is served by nobody: the stable system serves all, which is said.
    """
    server.answer = {"stable": None, "rollout": None, "named": {"bot-next": None}}

    with caplog.at_level(logging.WARNING, logger="mvtrace"):
        process = Process(following(canary="bot-next", share=0.4, name=ID))

    assert process.sides() == all_of(OLD.version)
    assert "No or several registered versions are called bot-next" in caplog.text


@pytest.mark.usefixtures("tracing")
def test_a_fork_follows_on(server: RolloutServer) -> None:
    """
    The child of a fork draws the same, and follows decisions by itself.
    """
    server.runs(ID, OLD.version, NEW.version, 0.4)
    process = Process(following())
    reading, writing = os.pipe()

    child = os.fork()
    if child == 0:
        try:
            same = process.sides() == split(0.4)
            server_asked = [process.ask(1) for _ in range(3)]
            os.write(writing, b"same" if same and server_asked else b"other")
            process.until(split(0.8))
            os.write(writing, b" followed")
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as told:
        first = told.read(4)
        server.runs(ID, OLD.version, NEW.version, 0.8)
        rest = told.read()
    os.waitpid(child, 0)

    assert (first, rest) == (b"same", b" followed")


def test_an_answer_as_the_collector_gives_it() -> None:
    """
    What the collector tells is read whole; more than is known is passed over.
    """
    told = parsed(
        b'{"service": "bot", "environment": "prod", "new": 1, '
        b'"stable": {"version": "%s", "name": "bot", "kinds": ["model", "prompt"]}, '
        b'"rollout": {"id": "r", "share": 0.25, "canary": {"version": "%s"}}, "named": {"x": null}}'
        % (b"a" * 64, b"b" * 64)
    )

    assert told.stable is not None
    assert told.canary is not None
    assert (told.stable.version, told.stable.kinds) == ("a" * 64, ("model", "prompt"))
    assert (told.canary.version, told.rollout, told.share) == ("b" * 64, "r", 0.25)
    assert dict(told.named) == {"x": None}
