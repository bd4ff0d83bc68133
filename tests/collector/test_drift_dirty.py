"""Which minutes are to be swept: as few ranges as they make, each short enough."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from mvtrace_collector.drift_dirty import CHUNK, MAX_RANGES, Dirty, chunks, halves


@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 40)), max_size=40),
    st.integers(0, 3),
)
def test_dirty_minutes_are_kept_as_ranges(ranges: list[tuple[int, int]], project: int) -> None:
    """
    Whatever is added comes out once, in as few ranges as it makes, each short enough or halved.
    """
    dirty = Dirty()
    wanted: set[int] = set()
    for first, length in ranges:
        dirty.add(f"p{project}", (first, first + length))
        wanted |= set(range(first, first + length + 1))

    taken = dirty.take()

    assert all(name == f"p{project}" for name, _ in taken)
    parts = [part for _, one in taken for part in chunks(one)]
    assert sorted(wanted) == [minute for first, last in parts for minute in range(first, last + 1)]
    assert all(one[1] + 1 < other[0] for (_, one), (_, other) in pairwise(taken))
    assert all(last - first < CHUNK for first, last in parts)
    assert not dirty
    for first, last in parts:
        if first < last:
            left, right = halves((first, last))
            assert (left[0], left[1] + 1, right[1]) == (first, right[0], last)


def test_the_number_of_ranges_is_bounded() -> None:
    """
    Of a sender who writes all over the years the nearest ranges are joined.
    """
    dirty = Dirty()
    for number in range(2 * MAX_RANGES):
        dirty.add("p", (number * 10, number * 10))

    taken = dirty.take()

    assert len(taken) == MAX_RANGES
    assert (taken[0][1][0], taken[-1][1][1]) == (0, (2 * MAX_RANGES - 1) * 10)
