"""Walks over the ancestry graph of a real store, against a graph in memory."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mvtrace.registry.lineage.merging import merges
from mvtrace.registry.lineage.walking import Direction, Edge, Graph, walk
from mvtrace.registry.reading import Ask
from mvtrace.registry.refs import Ref
from mvtrace.store import Store, migrate, open_store
from mvtrace.store.asking import ask_of

MOMENT = datetime(2026, 8, 22, tzinfo=UTC)
NODES = [Ref("dataset", f"{n:064x}") for n in range(8)]
COLUMNS = ("project", "direction", "node", "other", "role", "source", "received_at")

Pairs = set[tuple[int, int]]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with open_store(f"chdb://{tmp_path_factory.mktemp('lineage') / 'db'}") as one:
        migrate(one)
        yield one


def put(store: Store, edges: list[Edge], project: str) -> Ask:
    rows = [
        (project, direction, str(near), str(far), edge.role, edge.source, MOMENT)
        for edge in edges
        for direction, near, far in (
            ("up", edge.child, edge.parent),
            ("down", edge.parent, edge.child),
        )
    ]
    with store.session() as session:
        session.insert("lineage_edges", COLUMNS, rows)
    return ask_of(store, project)


def chain(length: int) -> list[Edge]:
    """Each node made from the one before it."""
    refs = [Ref("artifact", f"{n:064x}") for n in range(length + 1)]
    return [Edge(child, parent, "base") for parent, child in itertools.pairwise(refs)]


def reached(pairs: Pairs, start: int, direction: Direction, depth: int) -> dict[Ref, int]:
    """What a breadth-first search in memory finds."""
    found, waiting = {start: 0}, deque([start])
    while waiting:
        node = waiting.popleft()
        for child, parent in pairs:
            near, far = (child, parent) if direction == "up" else (parent, child)
            if near == node and far not in found and found[node] < depth:
                found[far] = found[node] + 1
                waiting.append(far)
    return {NODES[node]: steps for node, steps in found.items()}


PAIRS = st.sets(
    st.tuples(st.integers(0, 7), st.integers(0, 7)).filter(lambda pair: pair[0] > pair[1])
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(PAIRS, st.sampled_from(["up", "down"]), st.integers(1, 8), st.integers(0, 7))
def test_a_walk_finds_what_there_is(
    store: Store, pairs: Pairs, direction: Direction, depth: int, start: int
) -> None:
    """
    Any graph is walked as in memory: the same nodes, the fewest steps to each, and what was cut.
    """
    store.command("TRUNCATE TABLE lineage_edges")
    ask = put(store, [Edge(NODES[c], NODES[p], "base") for c, p in sorted(pairs)], "p")

    found = walk(ask, NODES[start], direction=direction, max_depth=depth)

    assert found.depths == reached(pairs, start, direction, depth)
    assert found.depths.keys() <= reached(pairs, start, direction, 99).keys()
    assert bool(found.cut) >= (found.depths != reached(pairs, start, direction, 99))


def test_another_project_has_another_graph(store: Store) -> None:
    """
    A digest that two projects name has in each the edges that were recorded there.
    """
    mine = put(store, [Edge(NODES[1], NODES[0], "base")], "mine")
    theirs = put(store, [Edge(NODES[1], NODES[2], "base")], "theirs")

    assert walk(mine, NODES[1], direction="up").nodes == (NODES[1], NODES[0])
    assert walk(theirs, NODES[1], direction="up").nodes == (NODES[1], NODES[2])


def test_a_huge_fan_is_cut_and_says_so(store: Store) -> None:
    """
    Of ten thousand things made from one as many are shown as were asked for.
    """
    base = Ref("dataset", "e" * 64)
    fan = [Edge(Ref("artifact", f"{n:064x}"), base, "dataset") for n in range(10_000)]
    ask = put(store, fan, "fan")

    cut = walk(ask, base, direction="down", max_nodes=100)
    whole = walk(ask, base, direction="down", max_nodes=20_000)

    assert (len(cut.nodes), cut.cut) == (100, "nodes")
    assert (len(whole.nodes), whole.cut) == (10_001, "")


def test_a_long_chain_is_walked_to_its_end(store: Store) -> None:
    """
    A chain is followed as deep as asked, and one that goes on is told from one that ended.
    """
    edges = chain(12)
    ask = put(store, edges, "chain")
    last = edges[-1].child

    assert walk(ask, last, direction="up", max_depth=11).cut == "depth"
    whole = walk(ask, last, direction="up", max_depth=12)
    assert (len(whole.nodes), whole.cut) == (13, "")


def test_kinds_narrow_a_walk(store: Store) -> None:
    """
    A walk over some kinds neither shows others nor goes through them.
    """
    model, data, raw = Ref("artifact", "1" * 64), Ref("dataset", "2" * 64), Ref("dataset", "3" * 64)
    ask = put(store, [Edge(model, data, "dataset"), Edge(data, raw, "dataset")], "kinds")

    assert walk(ask, model, direction="up", kinds=("artifact",)).nodes == (model,)
    assert walk(ask, model, direction="up", kinds=("dataset",)).nodes == (model, data, raw)


def test_what_came_before_is_no_material(store: Store) -> None:
    """
    An edge of a role can be shown without going on from its end, or be passed over; what is also
    reached another way is gone on from.
    """
    first, second, third = (Ref("composite", digit * 64) for digit in "123")
    model = Ref("component", "4" * 64)
    edges = [
        Edge(third, second, "previous"),
        Edge(second, first, "previous"),
        Edge(second, model, "model/writer"),
        Edge(third, model, "model/writer"),
    ]
    ask = put(store, edges, "history")

    assert walk(ask, third, direction="up").nodes == (third, model, second, first)
    shown = walk(ask, third, direction="up", leaves=("previous",))
    assert shown.nodes == (third, model, second)
    assert walk(ask, third, direction="up", without=("previous",)).nodes == (third, model)
    below = walk(ask, model, direction="down", leaves=("previous",))
    assert set(below.edges) == {*edges} - {edges[1]}


def test_what_digests_prove_needs_nobodys_word(store: Store) -> None:
    """
    An edge that digests prove and that a derivation says too names no derivation.
    """
    said = Edge(NODES[1], NODES[0], "base", "sha256:1")
    ask = put(store, [said, said._replace(source="")], "both")

    (edge,) = walk(ask, NODES[1], direction="up").edges

    assert edge == said._replace(source="")


def test_nobody_knows_a_strangers_digest(store: Store) -> None:
    """
    Of what no edge names, nothing is reached.
    """
    unknown = Ref("dataset", "f" * 64)

    assert walk(ask_of(store, "p"), unknown, direction="up") == Graph(
        unknown, "up", {unknown: 0}, ()
    )


def test_several_bases_are_a_merge() -> None:
    """
    Two parents that weights come from make a merge; one, or a dataset beside it, does not.
    """
    one, two, child = (Ref("artifact", letter * 64) for letter in "123")
    data = Ref("dataset", "4" * 64)
    tuned = [Edge(child, one, "base"), Edge(child, data, "dataset")]

    assert merges(tuned) == []
    assert merges([*tuned, Edge(child, one, "base", "sha256:9")]) == []
    (merge,) = merges([*tuned, Edge(child, two, "merge")])
    assert (merge.child, merge.parents) == (child, (one, two))


def test_two_levels_a_statement(store: Store) -> None:
    """
    A narrow walk asks once for two levels; of a fan, for which that is too much, level by level.
    """
    ask = put(store, chain(3), "levels")
    wide = Ref("dataset", "7" * 64)
    fan = [Edge(Ref("artifact", f"{n:064x}"), wide, "dataset") for n in range(2_500)]
    ask_wide = put(store, fan, "wide")
    asked: list[str] = []

    def counted(of: Ask) -> Ask:
        def one(sql: str, parameters: Any) -> list[dict[str, Any]]:
            asked.append(sql)
            return of(sql, parameters)

        return one

    assert len(walk(counted(ask), chain(3)[-1].child, direction="up").nodes) == 4
    assert len(asked) == 2
    assert len(walk(counted(ask_wide), wide, direction="down", max_nodes=9_000).nodes) == 2_501
