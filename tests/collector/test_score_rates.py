"""Rates of scores: what a bucket lets through over any time, and how much it remembers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvtrace_collector.errors import TooManyScoresError
from mvtrace_collector.score_rates import MAX_BUCKETS, Buckets, ScoreRates


class Clock:
    """Goes on when it is told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@given(
    st.lists(st.tuples(st.floats(0, 30), st.integers(1, 12)), min_size=1, max_size=40),
    st.integers(1, 60),
)
def test_no_time_sees_more_than_a_bucket_and_what_flows_into_it(
    steps: list[tuple[float, int]], a_minute: int
) -> None:
    """
    Over any stretch at most one full bucket and the tokens of that time are taken.
    """
    clock = Clock()
    buckets = Buckets(a_minute, monotonic=clock)
    taken: list[tuple[float, float]] = []
    for wait_s, number in steps:
        clock.now += wait_s
        if buckets.take("key", number) == 0:
            taken.append((clock.now, min(number, a_minute)))

    for first, (began, _) in enumerate(taken):
        for last in range(first, len(taken)):
            allowed = a_minute + (taken[last][0] - began) * a_minute / 60
            assert sum(number for _, number in taken[first : last + 1]) <= allowed + 1e-6


def test_who_waits_as_long_as_he_is_told_gets_through() -> None:
    """
    The wait that a refusal names is enough, and the refusal itself costs nothing.
    """
    clock = Clock()
    buckets = Buckets(6, monotonic=clock)

    assert [buckets.take("key", 1) for _ in range(6)] == [0.0] * 6
    wait_s = buckets.take("key", 2)
    assert wait_s == buckets.take("key", 2) == pytest.approx(20.0)
    clock.now += wait_s
    assert buckets.take("key", 2) == 0.0


def test_memory_is_bounded() -> None:
    """
    However many addresses come, only so many are remembered.
    """
    buckets = Buckets(60)

    for number in range(MAX_BUCKETS + 500):
        buckets.take(str(number), 1)

    assert len(buckets) == MAX_BUCKETS


def test_a_network_counts_as_one() -> None:
    """
    An IPv6 client has a whole /64 of addresses, and one rate; IPv4 addresses have one each.
    """
    rates = ScoreRates(address_a_minute=2)

    rates.take_for_address("2001:db8::1")
    rates.take_for_address("2001:db8::2")
    with pytest.raises(TooManyScoresError) as refused:
        rates.take_for_address("2001:db8::3")
    assert refused.value.headers == {"retry-after": "30"}
    for address in ("2001:db8:0:1::1", "192.0.2.1", "192.0.2.2", "", "not an address"):
        rates.take_for_address(address)
