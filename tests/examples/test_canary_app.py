"""The canary example's server: whoever is recorded as serving is who answers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rollout_server import RolloutServer
from starlette.testclient import TestClient

import mvtrace
from examples.canary.app import Server, traced_app
from examples.canary.system import VERSIONS, Assistant, Parts

QUESTION = {"question": "how does an iterator raise an exception at its end", "seed": 7}
ID = "ab" * 16


@pytest.fixture(scope="module")
def systems() -> list[Assistant]:
    """A version, and one with a raised temperature."""
    parts = Parts()
    return [Assistant(parts, VERSIONS[name]) for name in ("stable", "hot")]


@pytest.fixture
def decided(tmp_path: Path) -> Iterator[RolloutServer]:
    """What tells what is in force."""
    with RolloutServer() as server:
        made = mvtrace.configure(
            service="help", environment="example", url=server.url, spool_dir=tmp_path,
            exit_grace_s=0.0,
        )  # fmt: skip
        yield server
        made.shutdown()


class Users:
    """Everybody, at a server with both systems."""

    def __init__(self, systems: list[Assistant], arm_header: str | None = None) -> None:
        stable, canary = systems
        self.rollout = mvtrace.rollout(
            stable=stable.composite, canary=canary.composite, key="header:x-user", refresh_s=0.05
        )
        app = traced_app(self.rollout, *systems)
        self._client = TestClient(Server(app, self.rollout, arm_header))

    def ask(self, **headers: str) -> Any:
        """Ask once."""
        said = self._client.post("/ask", json=QUESTION, headers={"x-user": "u", **headers})
        return said.json()

    def until_answered_by(self, version: str) -> str:
        """Ask until that version answers; return the answer."""
        deadline = time.monotonic() + 30
        while (said := self.ask())["version"] != version:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return str(said["answer"])


def answers(systems: list[Assistant]) -> list[str]:
    """What each of the systems says."""
    found = [one.answer(QUESTION["question"], QUESTION["seed"]) for one in systems]
    assert len(set(found)) == len(systems)
    return found


def test_the_promoted_version_answers(systems: list[Assistant], decided: RolloutServer) -> None:
    """
    The canary's answers are the new version's, and once it is promoted they are so for everybody,
    although its side is called stable then; after a rollback they are the old one's.
    """
    old, new = (one.composite.version for one in systems)
    of_old, of_new = answers(systems)
    decided.runs(ID, old, new, 1.0)
    users = Users(systems)

    assert users.until_answered_by(new) == of_new
    decided.serves(new)
    deadline = time.monotonic() + 30
    while users.rollout.arm.composite_version != new:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert users.ask()["answer"] == of_new
    decided.serves(old)
    assert users.until_answered_by(old) == of_old


def test_a_balancer_names_who_answers(systems: list[Assistant], decided: RolloutServer) -> None:
    """
    Behind a balancer the side that it names is the one that answers.
    """
    old, new = (one.composite.version for one in systems)
    decided.runs(ID, old, new, 0.05)
    users = Users(systems, "x-arm")

    told = [users.ask(**{"x-arm": arm}) for arm in ("stable", "canary")]

    assert [one["version"] for one in told] == [old, new]
    assert [one["answer"] for one in told] == answers(systems)
