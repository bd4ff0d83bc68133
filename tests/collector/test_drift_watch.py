"""The scheduled sweep: what is new since the last one, also over a restart, and what it tells."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from drifting import RIGHT, START_MS, WRONG, Met, declared, put
from stored import new_store

from mvtrace.errors import ConfigurationError
from mvtrace.store import Store
from mvtrace.store.session import Session
from mvtrace_collector.config import CollectorConfig
from mvtrace_collector.drift_watch import EVENT, DriftWatch
from mvtrace_collector.inbox import Inbox
from mvtrace_collector.logs import event_name


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with new_store(f"chdb://{tmp_path_factory.mktemp('watch') / 'store'}") as made:
        yield made


@pytest.fixture
def session(store: Store) -> Iterator[Session]:
    """A store without requests and without drift."""
    with store.session() as made:
        for table in ("requests", "drift_minutes", "drift_episodes"):
            made.command(f"TRUNCATE TABLE {table}")
        yield made


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    made = Inbox(tmp_path / "inbox")
    yield made
    made.close()


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def episodes(store: Store) -> int:
    return int(store.query("SELECT uniqExact(project, episode_id) FROM drift_episodes").rows[0][0])


def test_a_restart_sweeps_what_came_in_meanwhile(
    store: Store, session: Session, inbox: Inbox
) -> None:
    """
    What was stored and not swept when a collector ended is swept by the next one, late records of
    any age included; what came in before the last sweep is not looked for again.
    """
    recent = datetime.now(UTC)
    first = DriftWatch(store, inbox)
    put(session, "a", [(Met(0, WRONG["a"]), declared(Met(0, WRONG["a"])))], recent)
    put(session, "b", [(Met(0, WRONG["a"]), declared(Met(0, WRONG["a"])))], recent - timedelta(2))
    first.step()
    first.stop()
    assert episodes(store) == 1

    put(session, "c", [(Met(9, WRONG["b"]), declared(Met(9, WRONG["b"])))], recent)
    second = DriftWatch(store, inbox)
    second.step()
    second.stop()

    assert episodes(store) == 2
    kept = json.loads((inbox.directory / "drift.json").read_text())["swept_ms"]
    assert now_ms() - 60_000 < kept <= now_ms()


def test_a_damaged_note_of_the_last_sweep_costs_a_longer_one(
    store: Store, session: Session, inbox: Inbox
) -> None:
    """
    Without a readable note the last day is swept.
    """
    (inbox.directory / "drift.json").write_text('{"swept_ms": "never"}')
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    put(session, "a", [(Met(0, WRONG["a"]), declared(Met(0, WRONG["a"])))], an_hour_ago)

    watch = DriftWatch(store, inbox)
    watch.sweep_now()
    watch.stop()

    assert episodes(store) == 1


def test_only_what_was_stored_is_swept(store: Store, session: Session, inbox: Inbox) -> None:
    """
    The loader's word leads to the minutes; of a range over years only those with new requests are
    looked at.
    """
    watch = DriftWatch(store, inbox)
    watch.step()
    one = Met(0, WRONG["a"])
    put(session, "a", [(one, declared(one))])
    began = int(one.id[:12], 16)

    watch.step()
    assert episodes(store) == 0

    watch.stored([("a", "0" * 32, 1, 2, began - 400 * 86_400_000, began, "shop", "prod", began - 400 * 86_400_000, began)])  # fmt: skip
    started = time.monotonic()
    watch.step()
    watch.stop()

    assert episodes(store) == 1
    assert time.monotonic() - started < 30


def test_a_begin_and_an_end_are_events(
    store: Store, session: Session, inbox: Inbox, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Each drift is told once when it begins and once when it ends, with ids and counts and no word of
    a sender; the numbers count what is open.
    """
    caplog.set_level(logging.WARNING)
    at = now_ms() - START_MS
    watch = DriftWatch(store, inbox)
    wrong, right = Met(at, WRONG["a"]), Met(at + 5, RIGHT)
    put(session, "a", [(wrong, declared(wrong))])
    for _ in range(2):
        watch.stored([("a", "", 1, 1, now_ms(), now_ms(), "", "", now_ms() - 60_000, now_ms())])
        watch.step()
    assert watch.numbers.open == {("index", "declared"): 1}
    assert watch.numbers.requests == {("index", "declared"): 1}

    put(session, "a", [(right, declared(right))])
    watch.stored([("a", "", 2, 2, now_ms(), now_ms(), "", "", now_ms() - 60_000, now_ms())])
    watch.step()
    watch.stop()

    told = [one for one in caplog.records if event_name(one) == EVENT]
    assert [(one.__dict__["mvtrace_data"]["state"], one.getMessage()) for one in told] == [
        ("open", "Drift found"),
        ("ended", "Drift ended"),
    ]
    assert set(told[0].__dict__["mvtrace_data"]) == {
        *("drift", "state", "basis", "requests", "first_request", "last_request")
    }
    assert watch.numbers.open == {}
    assert watch.numbers.swept_at > 0


def test_the_interval_is_checked() -> None:
    """
    Seconds, or 0 for never by itself.
    """
    environ = {"MVTRACE_STORE": "chdb:///x", "MVTRACE_DRIFT_INTERVAL_S": "0"}
    assert CollectorConfig.from_environ(environ=environ).drift_interval_s == 0
    assert (
        CollectorConfig.from_environ(environ={"MVTRACE_STORE": "chdb:///x"}).drift_interval_s == 30
    )
    with pytest.raises(ConfigurationError):
        CollectorConfig.from_environ(environ=environ | {"MVTRACE_DRIFT_INTERVAL_S": "-1"})


def test_it_sweeps_by_itself(store: Store, session: Session, inbox: Inbox) -> None:
    """
    Nobody needs to ask: what is stored is swept within an interval, also what comes later.
    """
    at = now_ms() - START_MS
    watch = DriftWatch(store, inbox, interval_s=0.05)
    put(session, "a", [(Met(at, WRONG["a"]), declared(Met(at, WRONG["a"])))])
    watch.start()
    try:
        for number, letter in enumerate("bc", 2):
            later = Met(at + number, WRONG[letter])
            put(session, "a", [(later, declared(later))])
            watch.stored([("a", "", 1, 1, 0, 0, "", "", now_ms() - 60_000, now_ms())])
            deadline = time.monotonic() + 30
            while episodes(store) < number and time.monotonic() < deadline:
                time.sleep(0.02)
            assert episodes(store) == number
    finally:
        watch.stop()
