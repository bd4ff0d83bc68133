"""The loader's thread: from a real inbox into a real store, and what it does when that fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from mvtrace.store import Store, migrate, open_store
from mvtrace_collector.inbox import Inbox
from mvtrace_collector.loader import Loader
from mvtrace_collector.precedence import Sent, Stored, Verdict, judge


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    made = Inbox(tmp_path / "inbox")
    yield made
    made.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(f"chdb://{tmp_path / 'db'}") as opened:
        migrate(opened)
        yield opened


def _spans(trace: int) -> bytes:
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.add(
        trace_id=trace.to_bytes(16),
        span_id=b"12345678",
        start_time_unix_nano=time.time_ns(),
        end_time_unix_nano=time.time_ns(),
    )
    return request.SerializeToString()


class _RestsNoted(threading.Event):
    """Notes how long the loader asks to wait, and is set by the first wait that is one."""

    def __init__(self) -> None:
        super().__init__()
        self.rests: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.rests.append(timeout or 0.0)
        if timeout:
            self.set()
        return self.is_set()


def _running(loader: Loader) -> tuple[threading.Event, threading.Thread]:
    stop = threading.Event()
    thread = threading.Thread(target=loader.run, args=(stop,))
    thread.start()
    return stop, thread


def test_what_is_accepted_is_stored_and_marked(store: Store, inbox: Inbox) -> None:
    """
    Accepted batches become rows, and the inbox learns that they are stored.
    """
    loader = Loader(store, inbox)
    stop, thread = _running(loader)
    for trace in range(1, 4):
        accepted = inbox.append("default", "traces", _spans(trace), f"b{trace}")

    assert inbox.wait_stored(accepted.seq, 30)
    stop.set()
    thread.join()

    assert store.query("SELECT count() FROM spans").rows == [(3,)]
    assert loader.stats.rows["spans"] == 3
    assert inbox.lag().segments == 0


def test_segment_that_was_not_marked_is_loaded_again_without_doubling(
    store: Store, inbox: Inbox
) -> None:
    """
    A stop between storing and marking costs a second load, and no row twice.
    """
    inbox.append("default", "traces", _spans(1), "b1")
    intent = inbox.take(max_age_s=0)
    assert intent is not None
    Loader(store).load(intent)

    assert Loader(store, inbox).load_next()

    assert store.query("SELECT count() FROM spans FINAL").rows == [(1,)]
    assert inbox.lag().segments == 0


def test_store_that_does_not_answer_is_asked_again(store: Store, inbox: Inbox) -> None:
    """
    While a table is away nothing is marked; once it is back, everything is stored.
    """
    store.command("RENAME TABLE spans TO away")
    accepted = inbox.append("default", "traces", _spans(1), "b1")
    loader = Loader(store, inbox)
    stop, thread = _running(loader)
    while not loader.stats.errors:
        time.sleep(0.01)
    assert inbox.lag().stored_seq < accepted.seq

    store.command("RENAME TABLE away TO spans")

    assert inbox.wait_stored(accepted.seq, 30)
    stop.set()
    thread.join()
    assert store.query("SELECT count() FROM spans").rows == [(1,)]
    assert store.query("SELECT count() FROM quarantine").rows == [(0,)]


def _sent(row: int, producer: str, revision: int, digest: str, flaw: str = "") -> Sent:
    return Sent(row, "p", "R", producer, revision, digest, 202601, flaw)


def test_first_writer_wins() -> None:
    """
    Order, producer, revision and bytes alone decide; the store comes before the segment.
    """
    sent = [
        _sent(0, "A", 1, "x"),
        _sent(1, "B", 1, "y"),
        _sent(2, "B", 2, "y"),
        _sent(3, "A", 1, "x"),
        _sent(4, "A", 1, "z"),
        _sent(5, "A", 2, "z"),
        _sent(6, "", 0, "", "revision is missing"),
    ]
    other = "conflicting-record: producer b sent a record of a request of producer a"

    assert list(judge(sent, [])) == [
        Verdict(0, "", is_new=True),
        Verdict(1, other, is_new=False),
        Verdict(2, other, is_new=False),
        Verdict(3, "", is_new=False),
        Verdict(4, "conflicting-record: revision 1 is there with other bytes", is_new=False),
        Verdict(5, "", is_new=True),
        Verdict(6, "not-a-record: revision is missing", is_new=False),
    ]
    assert [verdict.problem == "" for verdict in judge(sent, [Stored("p", "R", "B", 2, "y")])] == [
        False, True, True, False, False, False, False,
    ]  # fmt: skip


def test_backlog_is_loaded_without_rests(tmp_path: Path, store: Store) -> None:
    """
    While several segments wait, as after a restart, one is loaded right after the other.
    """
    for number in range(1, 5):
        inbox = Inbox(tmp_path / "inbox")
        inbox.append("default", "traces", _spans(number), str(number))
        inbox.close()
    inbox = Inbox(tmp_path / "inbox")
    assert inbox.lag().segments == 4
    stop = _RestsNoted()

    Loader(store, inbox).run(stop)

    assert stop.rests[:-1] == [0.0, 0.0]
    assert inbox.lag().segments == 1
    assert store.query("SELECT count() FROM spans").rows == [(3,)]
    inbox.close()


def _load_one(loader: Loader) -> None:
    """Load the next segment, once it is old enough to be taken."""
    deadline = time.monotonic() + 10
    while not loader.load_next():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_replay_beyond_the_engines_memory_of_tokens(store: Store, inbox: Inbox) -> None:
    """
    A segment replayed after the engine forgot its token leaves repeated rows that reads by key see
    once, and that a merge removes.
    """
    for table in ("spans", "request_aliases"):
        store.command(f"ALTER TABLE {table} MODIFY SETTING non_replicated_deduplication_window = 3")
    loader = Loader(store, inbox)
    for trace in range(1, 7):
        inbox.append("default", "traces", _spans(trace), f"batch-{trace}")
        _load_one(loader)

    assert inbox.reopen([1], is_new_epoch=False) == (1,)
    _load_one(loader)
    loader.close()

    keys = "uniqExact(trace_id, span_id)"
    [(rows, distinct)] = store.query(f"SELECT count(), {keys} FROM spans").rows
    assert (rows, distinct) == (7, 6)
    assert store.query(f"SELECT count(), {keys} FROM spans FINAL").rows == [(6, 6)]
