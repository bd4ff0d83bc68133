"""The collector dies while it sweeps the roll-up: what is next for the sake of an hour is not forgotten."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from exposed import BASELINE, HOUR, Exposed, put
from stored import new_store

from mvtrace.errors import StoreUnreachableError
from mvtrace.store import Store
from mvtrace_collector.inbox import Inbox
from mvtrace_collector.quality_sweep import HOUR_MS, QualitySweep
from mvtrace_collector.quality_watch import QualityWatch

UNITS = (
    "SELECT intDiv(toUnixTimestamp(hour), 3600) FROM quality_hourly FINAL "
    "WHERE metric = '>unit' AND requests > 0"
)


def at(hour: int, number: int) -> Exposed:
    """A request of the one user."""
    return Exposed(at_ms=hour * HOUR_MS, number=number, version=BASELINE, unit=bytes([3] * 16))


def ending(name: str, error: BaseException) -> Callable[..., None]:
    """Return a statement's way to the store that ends with *error* after the statement *name*."""
    whole = QualitySweep._command

    def ends(self: QualitySweep, statement: str, **parameters: object) -> None:
        whole(self, statement, **parameters)
        if statement == name:
            raise error

    return ends


@pytest.fixture
def watch(store: Store, tmp_path: Path) -> Iterator[QualityWatch]:
    """A watch that swept a unit's first sight, of a second request and nothing else."""
    inbox = Inbox(tmp_path / "inbox")
    with store.session() as session:
        put(session, "a", [at(2, 0)])
        made = QualityWatch(store, inbox)
        made.step()
        put(session, "a", [at(1, 1)])
        made.scored([("a", HOUR + 1)])
        yield made
    inbox.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with new_store(f"chdb://{tmp_path / 'store'}") as made:
        yield made


def lacking(store: Store) -> list[int]:
    """Return the hours that the store says to lack something, counted from the first."""
    sql = "SELECT intDiv(toUnixTimestamp(hour), 3600) AS at FROM quality_swept FINAL WHERE lacks"
    return [at - HOUR for (at,) in store.query(sql).rows]


@pytest.mark.parametrize("name", ["quality_units", "quality_hourly"])
def test_a_kill_between_two_hours_loses_none(
    store: Store, watch: QualityWatch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    """
    A kill after an earlier hour took a unit's first sight, and before the later hour gave it up,
    leaves that one noted in the store: the next process makes it anew, though nothing in it is new.
    """
    with monkeypatch.context() as changed:
        changed.setattr(QualitySweep, "_command", ending(name, KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            watch.step()
    assert lacking(store) == [2]

    far = datetime.now(UTC) + timedelta(hours=1)  # nothing counts as received since
    row = ("a", datetime.fromtimestamp(0, UTC), False, far, time.time_ns())
    with store.session() as session:
        columns = ("project", "hour", "lacks", "swept_to", "revision")
        session.insert("quality_swept", columns, [row])
    inbox = Inbox(tmp_path / "another")
    second = QualityWatch(store, inbox)
    second.scored([("a", HOUR + 1)])
    assert second.step()
    second.stop()
    inbox.close()

    assert store.query(UNITS).rows == [(HOUR + 1,)]
    assert lacking(store) == []


def test_a_store_that_is_gone_for_a_while_loses_no_hour(
    store: Store, watch: QualityWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A store that does not answer just then leaves the later hour to the next sweep of the same
    process, however many hours are dirty by then.
    """
    with monkeypatch.context() as changed:
        gone = StoreUnreachableError("chdb", "no answer")
        changed.setattr(QualitySweep, "_command", ending("quality_units", gone))
        with pytest.raises(StoreUnreachableError):
            watch.step()
    assert lacking(store) == [2]

    watch.scored([("a", HOUR + 3 + hour) for hour in range(60)])
    assert watch.step()
    watch.stop()

    assert store.query(UNITS).rows == [(HOUR + 1,)]
    assert lacking(store) == []
