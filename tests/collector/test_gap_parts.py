"""What gaps are found with: runs of numbers, the book of open gaps, a producer's last word."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvtrace.explain.gaps import Gap
from mvtrace_collector.gap_book import GapBook
from mvtrace_collector.number_runs import Hole, Run, Runs, without
from mvtrace_collector.producers import Loss, Producer, Word

START_MS = 1_787_396_527_000
"""When number 0 of every producer would have begun; each next one a second later."""


def began(number: int) -> int:
    return START_MS + 1000 * number


def runs(numbers: Iterable[int]) -> list[Run]:
    found = Runs(Run(one, one, began(one), began(one)) for one in numbers)
    return list(found)


@given(st.sets(st.integers(1, 60)), st.integers(1, 60), st.integers(0, 60))
def test_holes_are_what_is_not_there(numbers: set[int], first: int, length: int) -> None:
    """
    Holes and runs are disjoint and cover a range; runs never touch one another.
    """
    last = first + length
    held = Runs(Run(one, one, one, one) for one in numbers)

    holes = list(held.holes(first, last))

    found = [number for hole in holes for number in range(hole.first, hole.last + 1)]
    assert found == [number for number in range(first, last + 1) if number not in numbers]
    assert all(low.last + 1 < high.first for low, high in pairwise(held))
    for hole in holes:
        assert hole.after_ms == max((one for one in numbers if one < hole.first), default=None)
        assert hole.before_ms == min((one for one in numbers if one > hole.last), default=None)


@given(st.sets(st.integers(1, 30)), st.sets(st.integers(1, 30)))
def test_without(some: set[int], others: set[int]) -> None:
    """
    What is left of ranges is what is in none of the others.
    """
    left = without([run[:2] for run in runs(some)], [run[:2] for run in runs(others)])

    assert [number for low, high in left for number in range(low, high + 1)] == sorted(
        some - others
    )


def test_book_with_too_many_gaps(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A book that is not whole says so, and the table is asked.
    """
    monkeypatch.setattr("mvtrace_collector.gap_book.MAX_GAPS", 1)
    gaps = [
        Gap(producer_id=str(one), first=1, last=1, missing_ranges=((1, 1),)) for one in range(2)
    ]
    book = GapBook()
    assert book.near("p", "0", 0) is None

    book.read([("p", gaps[0])])
    assert book.covering("p", 0) == (gaps[0],)
    book.read([("p", gap) for gap in gaps])
    assert book.covering("p", 0) is None


def test_word_after_the_end_changes_nothing() -> None:
    """
    A running producer's word that arrives after that about its end does not bring it back.
    """
    one = Producer("p", "0" * 32)
    one.heard(Word("closed", 5), now=1.0)
    one.heard(Word("running", 4), now=2.0)

    assert one.word == Word("closed", 5)
    assert list(one.reasons(Hole(1, 2, None, None))) == [((1, 2), "in_flight_at_exit")]
    assert Loss("queue_full", 1, 1, 1).reason == "queue_full"
