"""Gaps: every number without a record is found once, closed when its record comes after all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stored import new_store

from mvtrace.errors import RequestNotFoundError
from mvtrace.explain.gaps import Gap
from mvtrace.ids import format_uuid7
from mvtrace.store import Store
from mvtrace.store.filters import GapFilter
from mvtrace.store.reader import Reader
from mvtrace_collector.gaps import GapWatch
from mvtrace_collector.number_runs import Run, Runs
from mvtrace_collector.producers import Producer

START_MS = 1_787_396_527_000
"""When number 0 of every producer would have begun; each next one a second later."""
_random = count(1)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One store for all tests; each producer is another."""
    with new_store(f"chdb://{tmp_path_factory.mktemp('gaps') / 'store'}") as made:
        yield made


class Sender:
    """A producer whose records are put into the store, and reported to a watch."""

    def __init__(self, store: Store, watch: GapWatch, project: str = "default") -> None:
        self.key = format_uuid7(START_MS, next(_random)).replace("-", "")
        self._store = store
        self._session = store.open_session()
        self._project = project
        self.watch = watch

    @property
    def uuid(self) -> str:
        return Producer("", self.key).uuid

    def send(self, *numbers: int, is_heard: bool = True) -> None:
        """Store the records of *numbers*; *is_heard* by this watch, or by another collector's."""
        now = datetime.now(UTC)
        rows = [
            (self._project, request_id(number), 2, bytes.fromhex(self.key), number, now, now)
            for number in numbers
        ]
        columns = (
            *("project", "request_id", "revision", "producer_id", "sequence"),
            *("received_at", "started_at"),
        )
        self._session.insert("requests", columns, rows)
        if is_heard:
            self.watch.stored(
                [(self._project, self.key, *run, "shop", "test") for run in runs(numbers)], []
            )

    def say(self, state: str, last: int, losses: Iterable[tuple[Any, ...]] = ()) -> None:
        """Store the word of the producer."""
        ended = datetime.fromtimestamp(began(last) / 1000, UTC)
        columns = (
            *("project", "producer_id", "revision", "state", "last", "last_at", "ended_at"),
            *("service", "losses", "received_at"),
        )
        row = (
            *(self._project, bytes.fromhex(self.key), last + 1, state, last, ended),
            *(ended, "shop", list(losses), datetime.now(UTC)),
        )
        self._session.insert("producers", columns, [row])
        self.watch.stored([], [self.key])

    def gaps(self, *, only_open: bool = False) -> list[Gap]:
        wanted = GapFilter(filled_too=not only_open, limit=10_000)
        found = Reader(self._store, self._project).gaps.listed(wanted, producer_id=self.uuid)
        return sorted(found, key=lambda gap: gap.first)

    def missing(self) -> list[int]:
        """The numbers that open gaps name, each as often as it is named."""
        return [
            number
            for gap in self.gaps(only_open=True)
            for first, last in gap.missing_ranges
            for number in range(first, last + 1)
        ]


def began(number: int) -> int:
    return START_MS + 1000 * number


def request_id(number: int) -> bytes:
    return bytes.fromhex(format_uuid7(began(number), next(_random)).replace("-", ""))


def runs(numbers: Iterable[int]) -> list[Run]:
    found = Runs(Run(one, one, began(one), began(one)) for one in numbers)
    return list(found)


def watching(store: Store, **options: Any) -> GapWatch:
    return GapWatch(store, **{"grace_s": 60.0, **options})


@pytest.fixture
def watch(store: Store) -> GapWatch:
    return watching(store)


@pytest.fixture
def sender(store: Store, watch: GapWatch) -> Sender:
    return Sender(store, watch)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    stored=st.sets(st.integers(1, 40)),
    later=st.sets(st.integers(1, 40)),
    beyond=st.integers(0, 5),
    losses=st.lists(st.tuples(st.integers(1, 40), st.integers(0, 10)), max_size=2),
)
def test_gaps_cover_exactly_what_is_missing(
    store: Store, stored: set[int], later: set[int], beyond: int, losses: list[tuple[int, int]]
) -> None:
    """
    Once a producer has ended its gaps are, each number once, those without a record; records that
    come later, through this collector or another one, and restarts leave that true.
    """
    sender = Sender(store, watching(store))
    last = max(stored | later, default=0) + beyond
    sender.send(*stored)
    reasons = ("queue_full", "spool_full")
    said = [
        (reason, size + 1, low, low + size)
        for reason, (low, size) in zip(reasons, losses, strict=False)
    ]
    sender.say("orphaned", last, said)

    sender.watch.step(now=1.0)
    assert sender.missing() == [one for one in range(1, last + 1) if one not in stored]

    sender.send(*later, is_heard=True)
    sender.watch.step(now=2.0)
    assert sender.missing() == [one for one in range(1, last + 1) if one not in stored | later]

    again = watching(store)
    again.stored(
        [("default", sender.key, *run, "", "") for run in runs(stored | later)], [sender.key]
    )
    again.step(now=3.0)
    assert sender.missing() == [one for one in range(1, last + 1) if one not in stored | later]


def test_clean_end_without_loss(sender: Sender) -> None:
    """
    A producer all of whose numbers are stored has no gap, and is settled.
    """
    sender.send(*range(1, 50))
    sender.say("closed", 49)

    sender.watch.step(now=1.0)

    assert sender.gaps() == []
    assert sender.watch._producers["default", sender.key].is_settled


def test_running_producer_has_a_grace(sender: Sender) -> None:
    """
    Of a running producer a number is missing once a later one was there for the grace.
    """
    sender.send(1, 2, 5)

    sender.watch.step(now=100.0)
    sender.watch.step(now=159.0)
    assert sender.gaps() == []

    sender.watch.step(now=161.0)
    (gap,) = sender.gaps()
    assert (gap.first, gap.last, gap.reason) == (3, 4, "unknown")
    assert (gap.started_after, gap.started_before) == (began(2), began(5))
    assert (gap.service, gap.environment) == ("shop", "test")


def test_late_within_the_grace(sender: Sender) -> None:
    """
    What comes within the grace was never missing.
    """
    sender.send(1, 2, 5)
    sender.watch.step(now=100.0)
    sender.send(3, 4)
    sender.watch.step(now=120.0)
    sender.watch.step(now=200.0)

    assert sender.gaps() == []


def test_late_records_close_a_gap(sender: Sender) -> None:
    """
    A gap shrinks with each late record, keeps its row, and is filled with the last of them.
    """
    sender.send(1, 5)
    sender.say("orphaned", 5)
    sender.watch.step(now=1.0)
    assert [gap.missing_ranges for gap in sender.gaps()] == [((2, 4),)]
    assert sender.watch.book.sums() != {}

    sender.send(3)
    sender.watch.step(now=2.0)
    assert [gap.missing_ranges for gap in sender.gaps()] == [((2, 2), (4, 4))]

    sender.send(2, 4)
    sender.watch.step(now=3.0)
    (gap,) = sender.gaps()
    assert (gap.state, gap.first, gap.last, gap.missing) == ("filled", 2, 4, 0)
    assert sender.watch.book.of_producer("default", sender.uuid) == []


def test_other_collectors_records_are_asked_for(store: Store, sender: Sender) -> None:
    """
    What another collector of the same store has loaded is not missing, and what each of two saw of
    a late delivery counts together.
    """
    sender.send(1, 4, 7)
    sender.send(2, 3, is_heard=False)
    sender.say("closed", 7)
    sender.watch.step(now=1.0)
    assert sender.missing() == [5, 6]

    other = watching(store)
    sender.send(5, is_heard=False)
    other.stored([("default", sender.key, 5, 5, began(5), began(5), "", "")], [])
    other.step(now=1.0)
    sender.send(6)
    sender.watch.step(now=2.0)

    assert [gap.state for gap in sender.gaps()] == ["filled"]


def test_restart_goes_on_where_it_was(store: Store, sender: Sender) -> None:
    """
    A new collector process neither repeats a gap nor forgets a number below what was seen.
    """
    sender.send(1, 2, 4)
    sender.watch.step(now=1.0)

    second = watching(store)
    sender.watch = second
    second.step(now=1.0)
    sender.send(9, 10)
    second.step(now=2.0)
    second.step(now=63.0)
    assert sender.missing() == [3, 5, 6, 7, 8]

    third = watching(store)
    sender.watch = third
    sender.say("closed", 11)
    third.step(now=1.0)
    assert sender.missing() == [3, 5, 6, 7, 8, 11]
    assert third.book.sums()["unknown"][1] >= 5


@pytest.mark.parametrize(
    ("state", "losses", "expected"),
    [
        ("orphaned", [], {(3, 4): "unknown", (9, 10): "in_flight_at_kill"}),
        ("closed", [], {(3, 4): "unknown", (9, 10): "in_flight_at_exit"}),
        (
            "orphaned",
            [("damaged", 1, 0, 0)],
            {(3, 4): "damaged", (9, 10): "in_flight_at_kill"},
        ),
        (
            "closed",
            [("spool_full", 2, 4, 9)],
            {
                (3, 3): "unknown",
                (4, 4): "spool_full",
                (9, 9): "spool_full",
                (10, 10): "in_flight_at_exit",
            },
        ),
    ],
)
def test_reasons(
    sender: Sender, state: str, losses: list[tuple[Any, ...]], expected: dict[Any, str]
) -> None:
    """
    A loss the producer knows of has its reason; at its end it was in flight; else nobody knows.
    """
    sender.send(1, 2, 5, 6, 7, 8)
    sender.say(state, 10, losses)

    sender.watch.step(now=1.0)

    assert {(gap.first, gap.last): gap.reason for gap in sender.gaps()} == expected


def test_reason_told_later(sender: Sender) -> None:
    """
    A gap of a running producer gets its reason once the producer tells it.
    """
    sender.send(1, 2, 5)
    sender.watch.step(now=1.0)
    sender.watch.step(now=70.0)
    assert [gap.reason for gap in sender.gaps()] == ["unknown"]

    sender.say("running", 5, [("queue_full", 2, 3, 4)])
    sender.watch.step(now=71.0)

    assert [(gap.reason, gap.missing) for gap in sender.gaps()] == [("queue_full", 2)]


def test_projects_are_apart(store: Store, watch: GapWatch) -> None:
    """
    The same producer id in two projects is two producers.
    """
    one, other = Sender(store, watch, "one"), Sender(store, watch, "other")
    other.key = one.key
    one.send(1, 3)
    other.send(1, 2)
    one.say("closed", 3)
    other.say("closed", 2)

    watch.step(now=1.0)

    assert (one.missing(), other.missing()) == ([2], [])


def test_unknown_id_is_told_what_was_lost_then(store: Store) -> None:
    """
    An id of a moment at which records were lost is answered with that; read from the table where
    nobody knows the gaps by heart.
    """
    sender = Sender(store, watching(store), "told")
    sender.send(1, 2, 5)
    sender.say("orphaned", 5)
    sender.watch.step(now=1.0)

    for known in (None, sender.watch.book):
        reader = Reader(store, "told", open_gaps=known)
        with pytest.raises(RequestNotFoundError) as caught:
            reader.read(format_uuid7(began(3), 0))
        with pytest.raises(RequestNotFoundError) as elsewhere:
            reader.read(format_uuid7(began(30), 0))
        assert len(caught.value.lost) == 1
        assert caught.value.lost[0].startswith("2 records of service shop were lost between ")
        assert elsewhere.value.lost == ()


def test_store_of_an_older_version_has_no_gaps(store: Store) -> None:
    """
    A store that is read before it knows of gaps is read as if there were none.
    """
    gaps = Reader(store).gaps
    tables = ("ingest_gaps", "producers")
    for table in tables:
        store.command(f"RENAME TABLE {table} TO later_{table}")
    try:
        assert gaps.covering(START_MS) == ()
        assert gaps.end_of(format_uuid7(START_MS, 0)) is None
    finally:
        for table in tables:
            store.command(f"RENAME TABLE later_{table} TO {table}")


def test_many_producers_cost_no_question_each(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A producer that loses nothing is never asked about: its numbers are known as they come.
    """
    watch = watching(store)
    watch.step(now=0.0)
    keys = [format_uuid7(START_MS, next(_random)).replace("-", "") for _ in range(500)]
    for number in range(1, 4):
        at = began(number)
        watch.stored([("many", key, number, number, at, at, "", "") for key in keys], [])
    watch.step(now=1.0)

    watch.stored([("many", key, 4, 4, began(4), began(4), "", "") for key in keys], [])
    asked = []
    query = watch._query

    def noting(name: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
        asked.append(name)
        return query(name, parameters)

    monkeypatch.setattr(watch, "_query", noting)
    watch.step(now=2.0)

    assert all(watch._producers["many", key].checked == 4 for key in keys)
    assert asked == []
