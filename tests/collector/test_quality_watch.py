"""The scheduled roll-up: what is new since the last sweep, also over a restart, and of new plans."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from exposed import BASELINE, HOUR, Exposed, put, score
from stored import new_store

from mvtrace.errors import ConfigurationError
from mvtrace.store import Store
from mvtrace.store.session import Session
from mvtrace_collector.config import CollectorConfig
from mvtrace_collector.inbox import Inbox
from mvtrace_collector.quality_sweep import HOUR_MS, QualitySweep
from mvtrace_collector.quality_watch import QualityWatch

USER = bytes([3] * 16)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with new_store(f"chdb://{tmp_path_factory.mktemp('watch') / 'store'}") as made:
        yield made


@pytest.fixture
def session(store: Store) -> Iterator[Session]:
    """A store without requests and without a roll-up."""
    with store.session() as made:
        for table in ("requests", "scores", "registry_entries", "quality_hourly", "quality_units"):
            made.command(f"TRUNCATE TABLE {table}")
        yield made


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    made = Inbox(tmp_path / "inbox")
    yield made
    made.close()


def at(hour: int, number: int = 0, **facts: object) -> Exposed:
    said = {"version": BASELINE, "unit": USER, **facts}
    return Exposed(at_ms=hour * HOUR_MS, number=number, **said)  # type: ignore[arg-type]


def hours(store: Store, metric: str = "request") -> list[int]:
    """Return the hours that have a metric, counted from the first."""
    rows = store.query(
        "SELECT DISTINCT intDiv(toUnixTimestamp(hour), 3600) AS at FROM quality_hourly FINAL "
        "WHERE metric = {metric:String} AND requests > 0 ORDER BY at",
        {"metric": metric},
    ).rows
    return [at - HOUR for (at,) in rows]


def test_what_is_stored_and_scored_is_swept(store: Store, session: Session, inbox: Inbox) -> None:
    """
    The loader's word leads to the hours: of new requests, and of requests that new scores are about.
    """
    watch = QualityWatch(store, inbox)
    watch.step()
    put(session, "a", [at(0), at(5)])
    watch.step()
    assert hours(store) == []

    began = HOUR * HOUR_MS
    watch.stored([("a", "0" * 32, 1, 2, began, began, "shop", "prod", began, began + 10)])
    assert watch.step()
    assert hours(store) == [0]

    score(session, "a", at(5), 1.0)
    watch.scored([("a", HOUR + 5)])
    assert watch.sweep_now()
    watch.stop()

    assert hours(store) == [0, 5]
    assert hours(store, "good") == [5]
    assert watch.numbers.hours == 2
    assert watch.numbers.failed == 0


def test_a_restart_sweeps_what_came_in_meanwhile(
    store: Store, session: Session, inbox: Inbox
) -> None:
    """
    What was stored or scored and not swept when a collector ended is swept by the next one, however
    old the request is; without a readable note the last day is.
    """
    put(session, "a", [at(0)])
    first = QualityWatch(store, inbox)
    assert first.step()
    first.stop()
    kept = json.loads((inbox.directory / "quality.json").read_text())
    assert 0 <= time.time() * 1000 - kept["swept_ms"] < 60_000

    put(session, "a", [at(3)])
    (inbox.directory / "quality.json").write_text('{"swept_ms": "never"}')
    second = QualityWatch(store, inbox)
    second.step()
    second.stop()

    assert hours(store) == [0, 3]


def test_hours_to_be_made_again_survive_a_kill(
    store: Store, session: Session, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A kill right after an earlier hour took a unit's first sight leaves the later hour noted, and the
    next process makes it anew.
    """
    put(session, "a", [at(2)])
    first = QualityWatch(store, inbox)
    first.step()
    put(session, "a", [at(1, 1)])
    first.stored([("a", "", 1, 1, 0, 0, "", "", (HOUR + 1) * HOUR_MS, (HOUR + 1) * HOUR_MS)])
    killed = QualitySweep._command

    def dies(self: QualitySweep, name: str, **parameters: object) -> None:
        killed(self, name, **parameters)
        if name == "quality_units":
            raise KeyboardInterrupt

    monkeypatch.setattr(QualitySweep, "_command", dies)
    with pytest.raises(KeyboardInterrupt):
        first.step()
    monkeypatch.undo()
    note = json.loads((inbox.directory / "quality.json").read_text())
    assert note["again"] == {"a": [HOUR + 2]}

    far = int(time.time() * 1000) + 3_600_000  # nothing counts as received since
    (inbox.directory / "quality.json").write_text(json.dumps({**note, "swept_ms": far}))
    second = QualityWatch(store, inbox)
    second.scored([("a", HOUR + 1)])
    assert second.step()
    second.stop()

    assert hours(store, ">unit") == [1]
    assert json.loads((inbox.directory / "quality.json").read_text())["again"] == {}


def test_a_metric_of_a_new_plan_is_made_of_what_was_swept(
    store: Store, session: Session, inbox: Inbox
) -> None:
    """
    A plan that asks for a threshold gets it for the hours that were swept before there was the plan.
    """
    recent = int(time.time()) // 3600 - HOUR - 2
    put(session, "a", [at(recent, latency_ms=80.0), at(recent + 1, latency_ms=200.0)])
    watch = QualityWatch(store, inbox)
    watch.step()
    assert hours(store, "latency_ms>100") == []

    metric = {"name": "slow", "kind": "event", "source": "latency_ms>100"}
    bodies = [json.dumps({"metrics": [metric]}), "{", json.dumps({"metrics": 5})]
    session.insert(
        "registry_entries",
        ("project", "kind", "digest", "name", "body"),
        [("a", "plan", f"sha256:{number:064}", "", body) for number, body in enumerate(bodies)],
    )
    assert watch.sweep_now()
    watch.stop()

    assert hours(store, "latency_ms>100") == [recent, recent + 1]


def test_a_sweep_that_has_no_time_goes_on_later(
    store: Store, session: Session, inbox: Inbox
) -> None:
    """
    Whoever waits for a sweep waits no longer than he wants to; what is left is swept later.
    """
    put(session, "a", [at(0), at(1)])
    watch = QualityWatch(store, inbox)

    assert not watch.step(time.monotonic())
    assert hours(store) == []
    assert watch.step()
    watch.stop()

    assert hours(store) == [0, 1]
    assert not watch.sweep_now()


def test_an_hour_that_fails_is_counted_and_others_are_swept(
    store: Store, session: Session, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    An hour that the store refuses to sweep is counted, and stops no other.
    """
    put(session, "a", [at(0), at(1)])
    watch = QualityWatch(store, inbox)
    whole = QualitySweep._stage

    def fails(self: QualitySweep, what: str, *, values: str = "", **given: object) -> None:
        whole(self, what, values="broken" if given["hour"] == HOUR else values, **given)

    monkeypatch.setattr(QualitySweep, "_stage", fails)
    watch.step()
    watch.stop()

    assert hours(store) == [1]
    assert watch.numbers.failed == 1


def test_the_interval_is_configured() -> None:
    """
    MVTRACE_QUALITY_INTERVAL_S is seconds, 0 for never; what is neither is refused.
    """
    environ = {"MVTRACE_STORE": "chdb:///x", "MVTRACE_QUALITY_INTERVAL_S": "7"}
    never = environ | {"MVTRACE_QUALITY_INTERVAL_S": "0"}

    assert CollectorConfig.from_environ(environ=environ).quality_interval_s == 7
    assert CollectorConfig.from_environ(environ=never).quality_interval_s == 0
    with pytest.raises(ConfigurationError) as refusal:
        CollectorConfig.from_environ(environ=environ | {"MVTRACE_QUALITY_INTERVAL_S": "-1"})
    assert refusal.value.message == (
        "MVTRACE_QUALITY_INTERVAL_S is '-1'; it must be a positive number."
    )
