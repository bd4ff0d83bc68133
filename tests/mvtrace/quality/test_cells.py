"""The roll-up's laws: what its cells say does not depend on how they came together."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rollups import STARTED, Served, arms_after, cells_of, plan_of

from mvtrace.quality.cells import Cell, CellKey, Delivery, RollUp, Stratum
from mvtrace.quality.sufficient import reduce

# Values of eighths add without rounding, so equality is exact.
served = st.builds(
    Served,
    arm=st.sampled_from(["stable", "canary"]),
    metric=st.just("success"),
    hour=st.integers(STARTED, STARTED + 3),
    bucket=st.integers(0, 5),
    value=st.integers(-16, 16).map(lambda number: number / 8),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(served, max_size=40), st.integers(0, 40), st.randoms())
def test_neither_order_nor_batches_matter(
    requests: list[Served], cut: int, shuffler: object
) -> None:
    """
    Requests in another order, in two parts merged either way, make the same cells.
    """
    shuffled = sorted(requests, key=lambda _: shuffler.random())  # type: ignore[attr-defined]
    first, second = (RollUp(cells=cells_of(part)) for part in (shuffled[:cut], shuffled[cut:]))

    whole = RollUp(cells=cells_of(requests))

    assert first.merge(second) == whole
    assert second.merge(first) == whole
    assert whole.merge(RollUp()) == whole


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(served, max_size=12), min_size=3, max_size=3))
def test_any_tree_of_merges_is_one(parts: list[list[Served]]) -> None:
    """
    Merging is associative.
    """
    one, two, three = (RollUp(cells=cells_of(part)) for part in parts)

    assert one.merge(two).merge(three) == one.merge(two.merge(three))


@settings(deadline=None, max_examples=60)
@given(st.lists(served, min_size=1, max_size=40))
def test_statistics_do_not_know_the_order_of_cells(requests: list[Served]) -> None:
    """
    The sufficient statistics of a roll-up are the same bytes, however its cells are ordered.
    """
    cells = cells_of(requests)
    turned = dict(reversed(cells.items()))

    found = [reduce(plan_of(), RollUp(cells=one), arms_after(4)) for one in (cells, turned)]

    assert found[0] == found[1]


def test_everything_beside_the_cells_merges_too() -> None:
    """
    Units, deliveries and mixed requests add, scorers unite, planned shares stay.
    """
    stratum = Stratum(STARTED)
    one = RollUp(
        shares={stratum: 0.1},
        units={("canary", stratum): 3},
        deliveries={"canary": Delivery(expected=10, received=9)},
        scorers={"judge": frozenset({"sha256:a"})},
        mixed=1,
    )
    other = RollUp(
        shares={stratum: 0.1, Stratum(STARTED + 1): 0.5},
        units={("canary", stratum): 2, ("stable", stratum): 7},
        deliveries={"canary": Delivery(expected=5, received=5)},
        scorers={"judge": frozenset({"sha256:b"})},
        mixed=2,
    )

    assert one.merge(other) == RollUp(
        shares={stratum: 0.1, Stratum(STARTED + 1): 0.5},
        units={("canary", stratum): 5, ("stable", stratum): 7},
        deliveries={"canary": Delivery(expected=15, received=14)},
        scorers={"judge": frozenset({"sha256:a", "sha256:b"})},
        mixed=3,
    )


def test_cells_as_columns() -> None:
    """
    By metric and arm the cells are columns with a place each.
    """
    key = CellKey("canary", "cost", Stratum(STARTED, "eu"), 3)
    found = RollUp(cells={key: Cell.of([2.0, 3.0], [4.0, 5.0])}).columns()

    columns = found["cost", "canary"]

    assert (columns.hours.tolist(), columns.phases.tolist()) == ([STARTED], ["eu"])
    assert (columns.buckets.tolist(), columns.sums[:, 0].tolist()) == ([3], [2, 5, 13, 9, 41, 23])


def test_a_stratum_has_one_planned_share() -> None:
    """
    Two roll-ups that plan different shares for one stratum are not of one rollout.
    """
    stratum = Stratum(7, "a")
    one, other = (RollUp(shares={stratum: share}) for share in (0.1, 0.2))

    with pytest.raises(ValueError, match=r"hour=7, phase='a'\) is both 0.1 and 0.2"):
        one.merge(other)


def test_cell_of_ratios() -> None:
    """
    A ratio's cell has sums of both parts and of their products; a mean's base is the count.
    """
    assert Cell.of([2.0, 3.0], [4.0, 5.0]) == Cell(2, 5.0, 13.0, 9.0, 41.0, 23.0)
    assert Cell.of([2.0, 3.0]) == Cell.of_sums(2, 5.0, 13.0) == Cell(2, 5.0, 13.0, 2, 2, 5.0)
