"""A canary from its first share to its end: commands, a real collector, and a server that follows."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from asgi import REQUEST, Conversation, body, http_scope, start
from keyed import Answer, ask, new_key
from processes import collector

import mvtrace
from mvtrace.capture.assigning import Draw
from mvtrace.cli.main import run
from mvtrace.digest import canonical_bytes
from mvtrace.otlp import LogEvent
from mvtrace.scores import export_of

OLD = mvtrace.composite("bot", mvtrace.custom("x", version="1"))
NEW = mvtrace.composite("bot", mvtrace.custom("x", version="2"))
PLACE = ["--service", "bot", "--environment", "prod"]
USERS = [f"user-{number}" for number in range(40)]
Command = Callable[..., str]
pytestmark = pytest.mark.story


class Closed:
    """A collector with keys of the project ``p``, made with one request each."""

    def __init__(self, url: str, admin: str) -> None:
        self.url = url
        self._admin = admin
        self.server = self.key("ingest")
        self.operator = self.key("govern", "read", "sql")

    def key(self, *scopes: str, project: str = "p") -> str:
        said = {"scopes": scopes, "projects": [project], "label": scopes[0]}
        made = ask(f"{self.url}/api/v1/keys", self._admin, json.dumps(said).encode())
        return str(made.json["key"])

    def told(self, query: str, key: str) -> Answer:
        return ask(f"{self.url}/api/v1/rollout?{query}", key)


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Closed]:
    """A collector with keys."""
    folder = tmp_path_factory.mktemp("canary")
    admin = new_key("admin", "*", ["--store", f"chdb://{folder / 'store'}"])
    with collector(folder) as running:
        yield Closed(running.url, admin)


@pytest.fixture
def command(
    closed: Closed, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Run a command as the operator; return what it wrote."""
    monkeypatch.setenv("MVTRACE_API_KEY", closed.operator)

    def invoke(*arguments: str, code: int = 0) -> str:
        capsys.readouterr()
        assert run([*arguments, "--url", closed.url]) == code
        written = capsys.readouterr()
        return written.out if code == 0 else written.err

    return invoke


class Server:
    """An application behind the middleware, in this process."""

    def __init__(self) -> None:
        rollout = mvtrace.rollout(
            key="header:x-user-id", stable=OLD, canary=NEW, refresh_s=0.05, unit="user"
        )
        self._app: Any = mvtrace.TraceMiddleware(self._answer, composite=rollout)
        self._told: Any = None

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        self._told = mvtrace.current_arm()
        await send(start())
        await send(body(b"x"))

    def arms(self) -> list[str]:
        """Serve each user once; return the sides."""
        return [self._served(user) for user in USERS]

    def _served(self, user: str) -> str:
        talk = Conversation(REQUEST)
        scope = http_scope(headers=[(b"x-user-id", user.encode())])
        asyncio.run(self._app(scope, talk.receive, talk.send))
        return str(self._told.name)

    def until(self, arms: list[str]) -> None:
        """Serve until the users have these sides."""
        deadline = time.monotonic() + 30
        while self._served(USERS[0]) is None or self.arms() != arms:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def sides(rollout: str, share: float) -> list[str]:
    draw = Draw(rollout, share)
    return ["canary" if draw.is_canary(user.encode()) else "stable" for user in USERS]


def wait_registered(closed: Closed, *versions: str) -> None:
    """Wait until the collector knows *versions*."""
    query = "service=s&environment=e" + "".join(f"&version={one}" for one in versions)
    deadline = time.monotonic() + 30
    while None in closed.told(query, closed.server).json["named"].values():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def a_verdict(rollout: str, at: int) -> bytes:
    said = {
        "decision": "hold", "reason": "undecided", "sentence": "Not known yet.", "digest": "sha256:1",
        "baseline": OLD.version, "candidate": NEW.version, "service": "bot", "environment": "prod",
        "rollout": rollout, "schema_version": 1,
    }  # fmt: skip
    return export_of([LogEvent("mvtrace.verdict", at, canonical_bytes(said).decode(), {})])


def test_a_canary_from_start_to_end(closed: Closed, command: Command, tmp_path: Path) -> None:
    """
    Started and reverted by commands; the server follows, the record and the status agree.
    """
    tracing = mvtrace.configure(
        service="bot", environment="prod", project="p", url=closed.url, api_key=closed.server,
        spool_dir=tmp_path / "spool",
    )  # fmt: skip
    server = Server()
    assert set(server.arms()) == {"stable"}
    assert tracing.flush(20)
    wait_registered(closed, OLD.version, NEW.version)
    command("deploy", OLD.version[:12], *PLACE)

    started = json.loads(
        command("canary", "start", NEW.version[:12], "--share", "0.3", *PLACE, "--json")
    )
    rollout = started["event_id"]
    server.until(sides(rollout, 0.3))
    assert tracing.flush(20)
    now = time.time_ns()
    kind = {"content-type": "application/x-protobuf"}
    assert (
        ask(f"{closed.url}/v1/logs", closed.operator, a_verdict(rollout, now), headers=kind).status
        == 200
    )
    deadline = time.monotonic() + 30
    while True:
        [one] = json.loads(command("canary", "status", *PLACE, "--json"))["rollouts"]
        if (one["verdict"] and sum(arm["units"] for arm in one["arms"]) >= len(USERS)) or (
            time.monotonic() > deadline
        ):
            break
        time.sleep(0.1)

    assert (one["id"], one["stable"], one["canary"]) == (rollout, OLD.version, NEW.version)
    assert ([phase["share"] for phase in one["phases"]], one["ended"]) == ([0.3], None)
    assert {arm["arm"] for arm in one["arms"]} == {"stable", "canary"}
    by_arm = {arm["arm"]: arm for arm in one["arms"]}
    assert by_arm["canary"]["units"] == sides(rollout, 0.3).count("canary")
    assert (one["verdict"]["decision"], one["verdict"]["reason"]) == ("hold", "undecided")
    text = command("canary", "status", *PLACE)
    assert f"canary {NEW.version[:12]} beside {OLD.version[:12]}, rollout {rollout}\n" in text
    assert "  share 0.3 since " in text
    assert "  hold (undecided), " in text

    command("canary", "revert", *PLACE, "--reason", "worse")
    server.until(["stable"] * len(USERS))
    assert command("canary", "status", *PLACE) == "No canary runs.\n"
    assert ": worse\n" in command("canary", "status", *PLACE, "--all")
    told = closed.told("service=bot&environment=prod", closed.server).json
    assert (told["stable"]["version"], told["rollout"]) == (OLD.version, None)
    tracing.shutdown()


def test_commands_that_cannot_be(command: Command) -> None:
    """
    A share that is none and a version nobody registered are refused, and nothing is decided.
    """
    place = ["--service", "other", "--environment", "prod"]

    for share in ("0", "1", "-0.1", "nan", "x"):
        told = command("canary", "start", NEW.version, "--share", share, *place, code=2)
        assert "--share" in told
    assert "f" * 12 in command("canary", "start", "f" * 12, *place, code=1)
    assert "no canary of other in prod is running" in command("canary", "revert", *place, code=2)
    assert command("canary", "status", *place, "--all") == "No canary runs.\n"


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("service=bot", "environment is ''; it is named once."),
        ("service=&environment=prod", "service is ''; it is a line of at most 128 characters."),
        ("service=a&service=b&environment=e", "service is ''; it is named once."),
        (
            "service=a%00&environment=e",
            "service is 'a\\x00'; it is a line of at most 128 characters.",
        ),
        ("service=a&environment=e&x=1", "x is '1'; keys are service, environment, version."),
        (
            "service=a&environment=e" + "".join(f"&version=v{n}" for n in range(9)),
            "version is 'v8'; at most 8 may be asked for.",
        ),
    ],
)
def test_questions_that_mean_nothing(closed: Closed, query: str, problem: str) -> None:
    """
    A question that cannot be answered is refused with the key that is wrong.
    """
    answer = closed.told(query, closed.server)

    assert (answer.status, answer.json["error"]["message"]) == (400, problem)


def test_versions_by_digits_and_name(closed: Closed, tmp_path: Path) -> None:
    """
    Digits and names of registered versions are told with their kinds; what is not one is null.
    """
    tracing = mvtrace.configure(
        service="x", environment="y", project="p", url=closed.url, api_key=closed.server,
        spool_dir=tmp_path / "spool",
    )  # fmt: skip
    alone = mvtrace.composite("only 'one'", mvtrace.custom("x", version="3"))
    for one in (OLD, NEW, alone):
        tracing.register(one)
    assert tracing.flush(20)
    wait_registered(closed, OLD.version, NEW.version, alone.version)
    asked = (alone.version[:9], "only+%27one%27", "bot", "%25")
    query = "service=s&environment=e" + "".join(f"&version={one}" for one in asked)

    told = closed.told(query, closed.server).json

    known = {"version": alone.version, "name": "only 'one'", "kinds": ["custom"]}
    assert told["named"] == {
        alone.version[:9]: known, "only 'one'": known, "bot": None, "%": None,
    }  # fmt: skip
    assert (told["stable"], told["rollout"]) == (None, None)
    tracing.shutdown()


def test_who_may_ask(closed: Closed) -> None:
    """
    A server's key may ask of its own project, one that only scores may not, and none of another's.
    """
    query = "service=bot&environment=prod"

    assert closed.told(query, closed.server).status == 200
    assert closed.told(query, closed.key("score")).status == 403
    assert closed.told(f"{query}&project=q", closed.server).status == 403
    other = closed.told(query, closed.key("ingest", project="q")).json
    assert (other["stable"], other["rollout"]) == (None, None)
