"""What a request called: found with its record, and later where it ran longer."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from stored import Filler, new_store
from story import START_MS, record, request_id

from mvtrace.store import Store
from mvtrace.store.called import MAX_ROWS, SOON_MS, Called
from mvtrace.store.request_ids import hexadecimal, highest_id, lowest_id
from mvtrace.store.statements import Statements, statement

FIRST = request_id(0)
LATE = SOON_MS // 1000 + 5
"""Seconds after which a called request does not come with the record."""
ENDED_LATE = (START_MS + (LATE + 1) * 1000) * 1_000_000


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One store for all tests; each has a project of its own."""
    with new_store(f"chdb://{tmp_path_factory.mktemp('called') / 'store'}") as made:
        yield made


@pytest.fixture
def project(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)


@pytest.fixture
def fill(store: Store, project: str) -> Filler:
    return Filler(store, project)


@pytest.fixture
def called(store: Store, project: str) -> Called:
    return Called(Statements(store, project))


def test_record_with_what_it_called(fill: Filler, called: Called) -> None:
    """
    The newest revision of the record comes with the first lines about what names it as parent.
    """
    fill.record(record(revision=1, state="started"))
    fill.record(record())
    fill.record(record(1, parent_request_id=FIRST))
    fill.record(record(2))

    own, children = called.with_record(FIRST)

    assert own is not None
    assert own.record == record()
    [child] = children
    assert (child.request_id, child.service, child.route) == (request_id(1), "support", "/ask")
    assert child.started_at == record(1).started_at


def test_nothing_is_stored(called: Called) -> None:
    """
    An id that nothing is stored under has neither a record nor called requests.
    """
    assert called.with_record(FIRST) == (None, ())


def test_calls_of_a_long_request(fill: Filler, called: Called) -> None:
    """
    What a request called long after its start is found by its end, and no request is found twice.
    """
    fill.record(record(1, parent_request_id=FIRST))
    fill.record(record(LATE, parent_request_id=FIRST))

    _, soon = called.with_record(FIRST)

    assert [head.request_id for head in soon] == [request_id(1)]
    assert [head.request_id for head in called.later(FIRST, ENDED_LATE)] == [request_id(LATE)]
    assert called.later(FIRST, record().started_at) == called.later(FIRST, None) == ()


def test_record_is_not_crowded_out(fill: Filler, called: Called) -> None:
    """
    A request that called more than is listed has its record still.
    """
    for number in range(MAX_ROWS + 1):
        fill.record(record(1, parent_request_id=FIRST, revision=number + 1))
    fill.record(record())

    own, children = called.with_record(FIRST)

    assert own is not None
    assert own.record == record()
    assert [head.request_id for head in children] == [request_id(1)]


def test_record_of_another_version(
    store: Store, project: str, fill: Filler, called: Called
) -> None:
    """
    A called request whose record cannot be read is listed by its id, which tells its time.
    """
    fill.record(record(1, parent_request_id=FIRST))
    store.command(
        "ALTER TABLE requests UPDATE record = 'from tomorrow' WHERE project = {project:String}",
        {"project": project},
        settings={"mutations_sync": 2},
    )

    _, [child] = called.with_record(FIRST)

    assert child.request_id == request_id(1)
    assert child.started_at // 1_000_000 == START_MS + 1000


def test_look_goes_by_the_key(store: Store, project: str, fill: Filler) -> None:
    """
    Record and calls are looked for by month and by the key: other requests are not read.
    """
    fill.record(record())
    asked = {
        "request_id": hexadecimal(FIRST),
        "first": hexadecimal(lowest_id(START_MS - 1)),
        "last": hexadecimal(highest_id(START_MS + 1)),
        "limit": MAX_ROWS,
        "project": project,
    }

    plan = store.query(f"EXPLAIN indexes = 1 {statement('request_and_called')}", asked)

    text = "\n".join(str(row[0]) for row in plan.rows)
    assert re.search(r"Min-?Max\s+Keys:\s+request_id\s", text), text
    assert re.search(r"PrimaryKey\s+Keys:\s+project\s+request_id\s", text), text
