"""Drift: the same records give the same episodes, in whatever order and however often swept."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from typing import Any

import pytest
from drifting import MINUTE_MS, RIGHT, START_MS, WRONG, Met, declared, put
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stored import new_store

from mvtrace.explain.drift import CALM_MS, Episode, Key, Note, followed
from mvtrace.store import Store
from mvtrace.store.drift import Drift, DriftFilter
from mvtrace.store.session import Session
from mvtrace.store.statements import Statements
from mvtrace_collector.drift_dirty import Dirty, chunks
from mvtrace_collector.drift_sweep import MAX_VALUES, DriftSweep

_projects = count(1)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One store for all tests; each is of a project of its own."""
    with new_store(f"chdb://{tmp_path_factory.mktemp('drift') / 'store'}") as made:
        yield made


@pytest.fixture(scope="module")
def session(store: Store) -> Iterator[Session]:
    with store.session({"max_threads": 1}) as made:
        yield made


def new_project() -> str:
    return f"p{next(_projects)}"


def minutes_of(requests: Iterable[Met]) -> list[tuple[int, int]]:
    dirty = Dirty()
    for one in requests:
        minute = (START_MS + one.at_ms) // MINUTE_MS
        dirty.add("p", (minute, minute))
    return [part for _, found in dirty.take() for part in chunks(found)]


def sweep(store: Store, session: Session, project: str, requests: Iterable[Met]) -> list[Episode]:
    """Sweep the minutes of *requests*, as a collector would that has just been started."""
    swept = DriftSweep(session, store.database, project)
    todo = minutes_of(requests)
    told: list[Episode] = []
    while todo:
        found = swept.sweep(todo.pop(0))
        told += found.episodes
        todo += [part for again in found.again for part in chunks((again[0], again[0] + 19))]
    return told


def stored(store: Store, project: str) -> list[tuple[Any, ...]]:
    """Return the episodes as the table has them, withdrawn ones left out."""
    found = store.query(
        "SELECT newest.1, newest.2, newest.3, newest.4, lower(hex(newest.5)), lower(hex(newest.6)), "
        "newest.7, if(ended IS NULL, NULL, lower(hex(assumeNotNull(ended)))) FROM "
        "(SELECT argMax((service, what, expected, observed, first_request, last_request, requests, "
        "state), revision) AS newest, argMax(tuple(ended_by), revision).1 AS ended "
        "FROM drift_episodes WHERE project = {project:String} GROUP BY episode_id) "
        "WHERE newest.8 != 'withdrawn' ORDER BY ALL",
        {"project": project},
    )
    return found.rows


def expected(requests: Iterable[Met]) -> list[tuple[Any, ...]]:
    """Return the episodes by their definition, from all *requests* at once."""
    found = []
    every = sorted(requests, key=lambda one: one.id)
    for service in {one.service for one in every}:
        own = [one for one in every if one.service == service and one.value is not None]
        for value in {str(one.value) for one in own} - {RIGHT}:
            found += _episodes(service, value, own)
    return sorted(found, key=repr)


def _episodes(service: str, value: str, own: Sequence[Met]) -> list[tuple[Any, ...]]:
    groups: list[list[Met]] = []
    others: list[str] = []
    for one in own:
        if one.value != value:
            others.append(one.id)
            continue
        last = groups[-1][-1] if groups else None
        is_same = last is not None and (
            one.at_ms - last.at_ms <= CALM_MS or not any(last.id < other for other in others)
        )
        groups[-1].append(one) if is_same else groups.append([one])
    contrary = [one.id for one in own if one.value != value]
    return [
        (
            *(service, "digest", RIGHT, value, group[0].id, group[-1].id, len(group)),
            next((other for other in contrary if other > group[-1].id), None),
        )
        for group in groups
    ]


MOMENTS = st.one_of(
    st.integers(0, 2 * MINUTE_MS),
    st.integers(0, 35 * MINUTE_MS),
    st.integers(0, 35).map(lambda minute: minute * MINUTE_MS),
)
REQUESTS = st.lists(
    st.builds(
        Met,
        MOMENTS,
        st.sampled_from([RIGHT, RIGHT, None, WRONG["a"], WRONG["a"], WRONG["b"]]),
        st.sampled_from(["shop", "desk"]),
    ),
    max_size=25,
    unique_by=lambda met: met.id,
)


QUICK = settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@QUICK
@given(requests=REQUESTS, data=st.data())
def test_order_does_not_matter(
    store: Store, session: Session, requests: list[Met], data: st.DataObject
) -> None:
    """
    Records in any order and in any batches give the episodes of their definition, and a sweep of
    what was swept writes nothing.
    """
    check_any_order(store, session, requests, data)


@pytest.mark.failure
@settings(parent=QUICK, max_examples=150)
@given(requests=REQUESTS, data=st.data())
def test_order_does_not_matter_long(
    store: Store, session: Session, requests: list[Met], data: st.DataObject
) -> None:
    """
    The same over many more of them.
    """
    check_any_order(store, session, requests, data)


def check_any_order(
    store: Store, session: Session, requests: list[Met], data: st.DataObject
) -> None:
    project = new_project()
    arriving = data.draw(st.permutations(requests))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(requests)), max_size=3)))
    for first, last in zip([0, *cuts], [*cuts, len(requests)], strict=True):
        put(session, project, [(met, declared(met)) for met in arriving[first:last]])
        sweep(store, session, project, arriving[first:last])

    assert sorted(stored(store, project), key=repr) == expected(requests)

    before = rows_written(store, project)
    assert sweep(store, session, project, requests) == []
    assert rows_written(store, project) == before


def rows_written(store: Store, project: str) -> list[tuple[Any, ...]]:
    """Return the newest revision of each table: every row written has a higher one."""
    return [
        store.query(
            f"SELECT max(revision) FROM {table} WHERE project = {{project:String}}",
            {"project": project},
        ).rows[0]
        for table in ("drift_minutes", "drift_episodes")
    ]


def test_projects_never_mix(store: Store, session: Session) -> None:
    """
    What one project met is in no episode of another, even where ids and slots are the same.
    """
    mine, theirs = new_project(), new_project()
    wrong = [Met(at, WRONG["a"]) for at in (0, 1000, 2000)]
    right = [Met(at, RIGHT) for at in (0, 1000, 2000)]
    put(session, mine, [(met, declared(met)) for met in right])
    put(session, theirs, [(met, declared(met)) for met in wrong])

    assert sweep(store, session, mine, right) == []
    assert stored(store, mine) == []
    assert [one.requests for one in sweep(store, session, theirs, wrong)] == [3]


def test_unchanged_requests_cost_no_row(store: Store, session: Session) -> None:
    """
    Where nothing drifts nothing is written.
    """
    project = new_project()
    requests = [Met(at * 100, RIGHT) for at in range(300)]
    put(session, project, [(met, declared(met)) for met in requests])

    assert sweep(store, session, project, requests) == []
    assert rows_written(store, project) == [(0,), (0,)]


def test_a_later_revision_replaces_the_earlier(store: Store, session: Session) -> None:
    """
    A request is counted once, as its newest record has it.
    """
    project = new_project()
    met = Met(0, WRONG["a"])
    put(session, project, [(met, {})])
    sweep(store, session, project, [met])
    session.insert(
        "requests",
        ("project", "request_id", "revision", "record", "state", "service", "environment", "drift"),
        [(project, bytes.fromhex(met.id), 3, json.dumps(declared(met)), "finished", "shop", "prod", 1)],
    )  # fmt: skip

    assert [one.requests for one in sweep(store, session, project, [met])] == [1]


def test_many_values_are_one_episode(store: Store, session: Session) -> None:
    """
    A slot that shows another value with every request is one episode of many values, not one each.
    """
    project = new_project()
    values = [f"sha256:{number:064x}" for number in range(1, MAX_VALUES + 10)]
    requests = [Met(at, value) for at, value in enumerate(values)]
    put(session, project, [(met, declared(met)) for met in requests])

    found = sweep(store, session, project, requests)

    assert [(one.key.observed, one.requests) for one in found] == [("*", len(values))]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a'b\\",
        "a\x1fb",
        "a\0b",
        "\u202e",
        "{project:String}",
        "x" * 3000,
        "x" * 90_000,
    ],
)
def test_whatever_a_slot_is_called(store: Store, session: Session, name: str) -> None:
    """
    Names are what senders choose: each is swept, or left out where it is longer than any of ours,
    and none keeps another slot's drift from being found.
    """
    project = new_project()
    met = Met(0, WRONG["a"])
    said = declared(met)
    odd = {"kind": "index", "name": name, "what": "digest", "expected": RIGHT, "observed": "b"}
    said["drift"].append(odd)
    put(session, project, [(met, said)])

    found = sweep(store, session, project, [met])

    assert "docs" in {one.key.name for one in found}
    assert len(found) == (1 if len(name) > 4000 else 2)
    assert sweep(store, session, project, [met]) == []
    for one in found:
        assert Drift(Statements(store, project)).named(one.id).requests == 1


def test_an_episode_that_began_earlier_replaces_the_one_known(
    store: Store, session: Session
) -> None:
    """
    A late record that begins an episode gives it another id; the former one leads to it.
    """
    project = new_project()
    late, early = Met(5000, WRONG["a"]), Met(1000, WRONG["a"])
    put(session, project, [(late, declared(late))])
    (before,) = sweep(store, session, project, [late])
    put(session, project, [(early, declared(early))])
    (after,) = sweep(store, session, project, [early])
    drift = Drift(Statements(store, project))

    assert before.id != after.id
    assert drift.named(before.id[:12]) == after
    assert drift.named(after.id) == after
    assert drift.listed(DriftFilter()) == (after,)


SLOT = Key("shop", "prod", "model", "answer", "changed", "", "")


def undeclared(*met: tuple[int, str, str]) -> list[tuple[Met, dict[str, Any]]]:
    """Return records of a slot that nobody declared: moment, value, and what it was before."""
    found = []
    for at_ms, value, before in met:
        slot = {"kind": "model", "name": "answer"}
        said: dict[str, Any] = {"observed": [{**slot, "digest": value}]}
        if before:
            what = "volatile" if before == "volatile" else "changed"
            said["drift"] = [{**slot, "what": what, "expected": before, "observed": value}]
        found.append((Met(at_ms, value), said))
    return found


CHANGES = undeclared(
    (0, "A", ""), (1000, "A", ""),
    (2500, "B", ""), (2600, "B", "A"), (3000, "A", ""), (4000, "B", ""),
    (60_000, "A", "B"), (70_000, "A", ""),
    (90_000, "C", "A"), (95_000, "C", ""),
)  # fmt: skip
"""A becomes B, where the first to meet B was not the one that told it, and one that had begun with A
ended in between; A comes back, and becomes C."""


@pytest.mark.parametrize("order", [1, -1])
def test_a_change_nobody_declared(store: Store, session: Session, order: int) -> None:
    """
    A change lasts from the first request that met the new value to the last, and ends with the
    return of the old one, which is no change of its own.
    """
    project = new_project()
    for one in CHANGES[::order]:
        put(session, project, [one])
        sweep(store, session, project, [one[0]])

    found = Drift(Statements(store, project)).listed(DriftFilter())

    assert [(one.key.expected, one.key.observed, one.requests, one.ended_by) for one in found] == [
        ("A", "C", 2, None),
        ("A", "B", 3, CHANGES[6][0].id),
    ]
    assert (found[1].first, found[1].last) == (CHANGES[2][0].id, CHANGES[5][0].id)
    assert found[0].key.basis == "observed"


def test_a_change_of_something_pinned_is_one_drift(store: Store, session: Session) -> None:
    """
    A service without a composite that pins its parts: what is drift from the pinned one is not told
    as a change too, nor is its return.
    """
    project = new_project()
    slot = {"kind": "model", "name": "answer"}
    drift = {**slot, "what": "digest", "expected": "A", "observed": "B"}
    records = undeclared((0, "A", ""), (1000, "B", "A"), (2000, "B", ""), (3000, "A", "B"))
    records[1][1]["drift"].append(drift)
    records[2][1]["drift"] = [drift]
    put(session, project, records)
    sweep(store, session, project, [met for met, _ in records])

    (found,) = Drift(Statements(store, project)).listed(DriftFilter())

    assert (found.key.what, found.requests, found.ended_by) == ("digest", 2, records[3][0].id)


def test_a_slot_that_turned_out_volatile_is_no_drift(store: Store, session: Session) -> None:
    """
    What differs from request to request changed nothing: its changes are withdrawn.
    """
    project = new_project()
    records = undeclared((0, "A", ""), (1000, "B", "A"), (2000, "C", "B"))
    put(session, project, records)
    sweep(store, session, project, [met for met, _ in records])
    drift = Drift(Statements(store, project))
    assert len(drift.listed(DriftFilter())) == 2

    last = undeclared((3000, "D", "volatile"))
    put(session, project, last)
    sweep(store, session, project, [last[0][0]])

    assert drift.listed(DriftFilter()) == ()


def test_notes_make_changes_in_whatever_order_they_come() -> None:
    """
    The first note of a value says what it was before; a return and a volatile slot make none.
    """
    at = {name: Met(ms, None).id for name, ms in (("a", 0), ("b", 10), ("c", 20), ("d", 30))}

    def note(before: str, now: str, request: str) -> Note:
        return Note(SLOT._replace(expected=before, observed=now), request)

    there = note("A", "B", at["a"])
    again = note("X", "B", at["b"])
    back = note("B", "A", at["c"])
    on = note("A", "C", at["d"])

    assert followed([on, back, again, there]) == {there.key: at["a"], on.key: at["d"]}
    assert followed([]) == {}


def test_a_late_contrary_splits_an_episode(store: Store, session: Session) -> None:
    """
    Affected requests far apart are one episode until a record in between says that the slot was
    right then; what ended an episode is the earliest that is known.
    """
    project = new_project()
    first, last = Met(0, WRONG["a"]), Met(20 * MINUTE_MS, WRONG["a"])
    between, after = Met(11 * MINUTE_MS, RIGHT), Met(33 * MINUTE_MS, RIGHT)
    known: list[Met] = []
    counts = []
    for one in (last, first, after, between, Met(31 * MINUTE_MS, RIGHT), Met(2, RIGHT)):
        known.append(one)
        put(session, project, [(one, declared(one))])
        sweep(store, session, project, [one])
        found = stored(store, project)
        assert sorted(found, key=repr) == expected(known)
        counts.append([(row[6], row[7] is not None) for row in found])

    assert counts[1:4] == [[(2, False)], [(2, True)], [(1, True), (1, True)]]
