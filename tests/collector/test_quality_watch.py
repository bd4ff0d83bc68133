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
from mvtrace_collector.quality_watch import LOOK_BACK_MS, QualityWatch

USER = bytes([3] * 16)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with new_store(f"chdb://{tmp_path_factory.mktemp('watch') / 'store'}") as made:
        yield made


@pytest.fixture
def session(store: Store) -> Iterator[Session]:
    """A store without requests and without a roll-up."""
    with store.session() as made:
        for table in ("requests", "scores", "registry_entries"):
            made.command(f"TRUNCATE TABLE {table}")
        for table in ("quality_hourly", "quality_units", "quality_swept"):
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


def progress(store: Store) -> list[tuple[str, int, int]]:
    """Return how far each project is, and each hour that lacks something: project, time, hour."""
    rows = store.query(
        "SELECT project, toUnixTimestamp64Milli(swept_to), intDiv(toUnixTimestamp(hour), 3600) "
        "FROM quality_swept FINAL WHERE lacks OR hour = 0 ORDER BY project, hour"
    ).rows
    return [(str(project), int(ms), int(hour)) for project, ms, hour in rows]


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
    old the request is; how far was swept is in the store.
    """
    put(session, "a", [at(0)])
    first = QualityWatch(store, inbox)
    assert first.step()
    first.stop()
    [(_, swept_ms, _)] = progress(store)
    assert 0 <= time.time() * 1000 - swept_ms < 60_000

    put(session, "b", [at(3)])
    second = QualityWatch(store, inbox)
    second.step()
    second.stop()

    assert hours(store) == [0, 3]
    assert [project for project, *_ in progress(store)] == ["a", "b"]


def test_a_metric_of_a_new_plan_is_made_of_what_was_swept(
    store: Store, session: Session, inbox: Inbox
) -> None:
    """
    A plan that asks for a threshold, its first time of each unit, or how often a score is given, gets
    it for the hours that were swept before there was the plan.
    """
    recent = int(time.time()) // 3600 - HOUR - 2
    put(session, "a", [at(recent, latency_ms=80.0)])
    watch = QualityWatch(store, inbox)
    watch.step()
    assert hours(store, "latency_ms>100") == []

    slow = {"name": "slow", "kind": "event", "source": "latency_ms>100"}
    given = {"name": "answered", "kind": "rate", "source": "thumbs:given"}
    bodies = [json.dumps({"metrics": [slow, given]}), "{", json.dumps({"metrics": 5})]
    session.insert(
        "registry_entries",
        ("project", "kind", "digest", "name", "body"),
        [("a", "plan", f"sha256:{number:064}", "", body) for number, body in enumerate(bodies)],
    )
    assert watch.sweep_now()
    watch.stop()

    for name in ("latency_ms>100", "latency_ms>100:first", "thumbs:given"):
        assert hours(store, name) == [recent]


def test_a_sweep_that_has_no_time_goes_on_later(
    store: Store, session: Session, inbox: Inbox
) -> None:
    """
    Whoever waits for a sweep waits no longer than he wants to; what is left is swept later.
    """
    put(session, "a", [at(0)])
    watch = QualityWatch(store, inbox)

    assert not watch.step(time.monotonic())
    assert hours(store) == []
    [(_, swept_ms, _)] = progress(store)
    assert time.time() * 1000 - swept_ms > LOOK_BACK_MS
    assert watch.step()
    watch.stop()

    assert hours(store) == [0]
    assert not watch.sweep_now()


def test_an_hour_that_fails_is_tried_again_and_others_are_swept(
    store: Store, session: Session, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    An hour that the store refuses to sweep is counted, stops no other, and rests before it is tried
    again; until it is made, the store says that it lacks something, also to the next process.
    """
    put(session, "a", [at(0), at(1)])
    watch = QualityWatch(store, inbox)
    whole = QualitySweep._stage

    def fails(self: QualitySweep, what: str, *, values: str = "", **given: object) -> None:
        whole(self, what, values="broken" if given["hour"] == HOUR else values, **given)

    monkeypatch.setattr(QualitySweep, "_stage", fails)
    assert watch.step()
    assert watch.step()
    watch.stop()
    assert hours(store) == [1]
    assert watch.numbers.failed == 1
    assert [number for *_, number in progress(store)] == [0, HOUR]

    monkeypatch.undo()
    second = QualityWatch(store, inbox)
    assert second.step()
    second.stop()
    assert hours(store) == [0, 1]
    assert [number for *_, number in progress(store)] == [0]


def test_scores_of_no_request_cost_no_sweep(store: Store, session: Session, inbox: Inbox) -> None:
    """
    Hours that somebody sends scores for, and that no request is of, are not made anew; an hour whose
    requests are gone is, since the roll-up has them.
    """
    put(session, "a", [at(0)])
    watch = QualityWatch(store, inbox)
    watch.step()
    session.command("TRUNCATE TABLE requests")
    score(session, "a", at(7), 1.0)
    watch.scored([("a", HOUR), ("a", HOUR + 7)])

    assert watch.step()
    watch.stop()

    assert watch.numbers.hours == 2
    assert hours(store) == []


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
