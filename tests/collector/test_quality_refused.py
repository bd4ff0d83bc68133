"""A comparison by a roll-up that is behind: refused by the collector, and by a command on the store."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from exposed import BASELINE, CANARY, HOUR, Exposed, put
from starlette.applications import Starlette
from starlette.testclient import TestClient
from stored import new_store

from mvtrace.cli.main import run
from mvtrace.store import Store
from mvtrace.store.session import Session
from mvtrace_collector import compare_api
from mvtrace_collector.comparisons import Comparisons
from mvtrace_collector.inbox import Inbox
from mvtrace_collector.looks import Looker
from mvtrace_collector.quality_sweep import HOUR_MS, QualitySweep
from mvtrace_collector.quality_watch import QualityWatch

SAID = re.compile(
    r"The roll-up of quality of project 'default' is 2 h 0 min behind: an hour of it could not be "
    r"made anew\. It lacks what was received since [-0-9]{10}T[:0-9]{8}Z, so nothing is compared\."
)


def fill(session: Session) -> None:
    """Store requests of two arms in two hours."""
    for hour in (0, 1):
        requests = [
            Exposed(at_ms=hour * HOUR_MS, number=number, version=version)
            for number, version in enumerate((BASELINE, CANARY))
        ]
        put(session, "default", requests)


def aged(session: Session) -> None:
    """Let what is known of the sweeps be of two hours ago."""
    session.command(
        "ALTER TABLE quality_swept UPDATE swept_to = now64(3) - INTERVAL 2 HOUR WHERE lacks "
        "SETTINGS mutations_sync = 1"
    )


@contextmanager
def collecting(store: Store, folder: Path) -> Iterator[tuple[TestClient, QualityWatch]]:
    """Gives the routes of comparisons over *store*, and what sweeps it."""
    inbox = Inbox(folder)
    quality = QualityWatch(store, inbox)
    looker = Looker(SimpleNamespace(store=store, inbox=inbox, quality=quality))
    comparisons = Comparisons(
        looker.look, project_of=lambda one: one.asked.project, size_of=lambda one: one.size
    )
    desk = SimpleNamespace(
        comparisons=comparisons, inbox=inbox, project_of=lambda _request: "default"
    )
    with ExitStack() as opened:
        for part in (inbox.close, quality.stop, looker.close, comparisons.close):
            opened.callback(part)
        yield (
            opened.enter_context(TestClient(Starlette(routes=[*compare_api.routes(desk)]))),
            quality,
        )


def test_a_roll_up_that_is_behind_decides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    An hour that cannot be swept ends comparisons by HTTP with 503, and those by a command with 3,
    with the same words, once it is two hours; soon after it came there is an answer without it.
    """
    whole = QualitySweep.sweep

    def fails(self: QualitySweep, hour: int, *parts: object, **named: object) -> None:
        if hour % 2:
            raise ValueError("an hour that cannot be")
        whole(self, hour, *parts, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(QualitySweep, "sweep", fails)
    path = "/api/v1/compare?baseline=stable&canary=canary&arms=1"
    dsn = f"chdb://{tmp_path / 'store'}"
    with (
        new_store(dsn) as store,
        collecting(store, tmp_path / "inbox") as (client, quality),
        store.session() as session,
    ):
        quality.step()
        fill(session)
        quality.scored([("default", HOUR), ("default", HOUR + 1)])
        quality.step()
        soon = client.get(path)
        aged(session)
        late = client.get(f"{path}&service=shop")
    code = run(("compare", "stable", "canary", "--arms", "--store", dsn))

    assert (soon.status_code, soon.json()["decision"]) == (200, "hold")
    assert (late.status_code, late.json()["error"]["code"]) == (503, "quality-behind")
    assert SAID.fullmatch(late.json()["error"]["message"])
    assert code == 3
    assert SAID.search(capsys.readouterr().err)
