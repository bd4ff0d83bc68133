"""The tree that a request is part of, and what finding it costs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from stored import Filler, new_store
from story import TRACE, record, request_id

from mvtrace.explain.explainer import explain
from mvtrace.records import RequestRecord
from mvtrace.store import Store
from mvtrace.store.family import MAX_MEMBERS, MAX_STEPS
from mvtrace.store.reader import Reader
from mvtrace.store.session import Rows
from mvtrace.store.statements import Statements

CLONED = """INSERT INTO requests SELECT one.* REPLACE (toFixedString(concat(
    substring(one.request_id, 1, 10), unhex(leftPad(hex(1000 + number), 12, '0'))), 16) AS request_id)
FROM (SELECT * FROM requests WHERE project = {project:String} AND parent_request_id IS NOT NULL) AS one
CROSS JOIN numbers({count:UInt32}) AS counted"""
"""Many more requests that were called as one was."""


class Counting(Statements):
    """The reader's statements, which remember what was asked."""

    def __init__(self, store: Store, project: str) -> None:
        super().__init__(store, project)
        self.asked: list[str] = []

    def run(self, statement_name: str, /, **parameters: Any) -> Rows:
        self.asked.append(statement_name)
        return super().run(statement_name, **parameters)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One store for all tests; each has a project of its own."""
    with new_store(f"chdb://{tmp_path_factory.mktemp('family') / 'store'}") as made:
        yield made


@pytest.fixture
def project(request: pytest.FixtureRequest) -> str:
    return str(request.node.name).replace("[", "-").replace("]", "").lower()


@pytest.fixture
def fill(store: Store, project: str) -> Filler:
    return Filler(store, project)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the statements that were run."""
    made: list[str] = []

    class Noting(Counting):
        def __init__(self, store: Store, project: str) -> None:
            super().__init__(store, project)
            self.asked = made

    monkeypatch.setattr("mvtrace.store.reader.Statements", Noting)
    return made


def tree(store: Store, project: str, number: int) -> dict[str, Any] | None:
    """The tree in the explanation of a request."""
    found = explain(Reader(store, project).read(request_id(number))).to_dict()["tree"]
    return None if found is None else dict(found)


def shape(found: dict[str, Any] | None) -> list[tuple[str, int, str]]:
    assert found is not None
    return [(one["request_id"], one["depth"], one["relation"]) for one in found["requests"]]


def chain(fill: Filler, length: int, *, trace: str | None) -> None:
    """Store requests each of which calls the next one."""
    for number in range(length):
        parent = request_id(number - 1) if number else None
        fill.request(called(number, parent, trace), with_spans=False)


def called(number: int, parent: str | None, trace: str | None, **facts: Any) -> RequestRecord:
    own = trace or f"{number + 1:032x}"
    given = {"calls": (), "aliases": (), "trace_id": own, "parent_request_id": parent, **facts}
    return record(number, **given)


@pytest.mark.parametrize("trace", [TRACE, None], ids=["one-trace", "broken-traces"])
def test_from_anywhere_in_a_chain(
    store: Store, project: str, fill: Filler, trace: str | None
) -> None:
    """
    Every request of a chain shows all that called it and all it called, whatever its traces are.
    """
    chain(fill, 5, trace=trace)

    for number in range(5):
        relations = ["caller"] * number + ["this"] + ["called"] * (4 - number)
        assert shape(tree(store, project, number)) == [
            (request_id(depth), depth, relation) for depth, relation in enumerate(relations)
        ]


def test_branches(store: Store, project: str, fill: Filler) -> None:
    """
    What a request called stands below it by time, and what others called is not its own.
    """
    for number, parent in ((0, None), (1, 0), (2, 1), (3, 0), (4, 1)):
        above = None if parent is None else request_id(parent)
        fill.request(called(number, above, TRACE), with_spans=False)

    whole = tree(store, project, 0)

    assert shape(whole) == [
        (request_id(0), 0, "this"),
        (request_id(1), 1, "called"),
        (request_id(2), 2, "called"),
        (request_id(4), 2, "called"),
        (request_id(3), 1, "called"),
    ]
    assert shape(tree(store, project, 3)) == [
        (request_id(0), 0, "caller"),
        (request_id(3), 1, "this"),
    ]


def test_what_a_line_says(store: Store, project: str, fill: Filler) -> None:
    """
    Each request is told with who served it, how it ended, and which version and arm it had.
    """
    fill.request(called(0, None, TRACE, arm="canary", status_code=201), with_spans=False)
    fill.request(called(1, request_id(0), TRACE), with_spans=False)

    for number in (0, 1):
        found = tree(store, project, number)
        assert found is not None
        first = found["requests"][0]
        assert (first["arm"], first["status_code"]) == ("canary", 201)
        assert first["composite_version"] == record().composite_version
        assert (first["service"], first["route"]) == ("support", "/ask")
        assert (found["root"], found["caller_missing"], found["is_cut"]) == (
            request_id(0), None, False,
        )  # fmt: skip


def test_alone(store: Store, project: str, fill: Filler) -> None:
    """
    A request that nobody called and that called nobody has no tree.
    """
    fill.request(called(0, None, None), with_spans=False)

    assert tree(store, project, 0) is None


@pytest.mark.parametrize(("number", "more"), [(0, 1), (1, 1), (2, 0)])
def test_what_it_costs(
    store: Store, project: str, fill: Filler, asked: list[str], number: int, more: int
) -> None:
    """
    In a whole trace the tree costs one statement, and none for what called nobody.
    """
    chain(fill, 3, trace=TRACE)

    assert len(shape(tree(store, project, number))) == 3
    assert asked.count("request_family") == more


def test_alone_costs_nothing(store: Store, project: str, fill: Filler, asked: list[str]) -> None:
    """
    A request without a caller that called nobody is explained without looking for others.
    """
    fill.request(called(0, None, None), with_spans=False)
    tree(store, project, 0)

    assert "request_family" not in asked


def test_caller_of_another_project(store: Store, project: str, fill: Filler) -> None:
    """
    A caller in another project is told as one that never was, and its calls are not shown there.
    """
    others = Filler(store, "other-project")
    others.request(called(0, None, TRACE), with_spans=False)
    fill.request(called(1, request_id(0), TRACE), with_spans=False)
    with_other = tree(store, project, 1)
    from_other = tree(store, "other-project", 0)

    alone = Filler(store, "alone")
    alone.request(called(1, request_id(0), TRACE), with_spans=False)

    assert with_other == tree(store, "alone", 1)
    assert with_other is not None
    assert with_other["caller_missing"] == request_id(0)
    assert shape(with_other) == [(request_id(1), 0, "this")]
    assert from_other is None


def test_a_very_long_chain_is_cut(
    store: Store, project: str, fill: Filler, asked: list[str]
) -> None:
    """
    A chain without a common trace is followed for a few steps, and it is said that there is more.
    """
    chain(fill, 40, trace=None)

    found = tree(store, project, 39)

    assert found is not None
    assert found["is_cut"]
    assert found["caller_missing"] == found["requests"][0]["parent_request_id"]
    assert asked.count("request_family") == MAX_STEPS


def test_very_many_calls_are_cut(store: Store, project: str, fill: Filler) -> None:
    """
    Of very many calls some are shown, and it is said that there are more.
    """
    fill.request(called(0, None, None), with_spans=False)
    fill.record(called(1, request_id(0), None))
    store.command(CLONED, {"project": project, "count": MAX_MEMBERS + 1})

    found = tree(store, project, 0)

    assert found is not None
    assert found["is_cut"]
    assert len(found["requests"]) == MAX_MEMBERS + 1


def test_a_circle(store: Store, project: str, fill: Filler) -> None:
    """
    Records that say of each other that the other called: everyone is shown once.
    """
    for number, parent in ((0, 2), (1, 0), (2, 1)):
        fill.request(called(number, request_id(parent), None), with_spans=False)

    for number in range(3):
        found = shape(tree(store, project, number))
        assert sorted(one for one, _, _ in found) == [request_id(one) for one in range(3)]
        assert [relation for _, _, relation in found] == ["caller", "caller", "this"]


def test_of_itself(store: Store, project: str, fill: Filler) -> None:
    """
    A request that names itself as its caller has no tree.
    """
    fill.request(called(0, request_id(0), None), with_spans=False)

    assert tree(store, project, 0) is None
