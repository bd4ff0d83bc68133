"""The roll-up of an hour: what it says does not depend on what came when, how often, in which order."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from exposed import (
    BASELINE,
    CANARY,
    HOUR,
    NO_UNIT,
    SCORER,
    Exposed,
    Sweeping,
    exposures,
    put,
    put_scores,
    score,
)

from mvtrace.quality.sources import Asked, made_of
from mvtrace.store import Store
from mvtrace_collector.quality_sweep import HOUR_MS

USER = bytes([7] * 16)


@pytest.fixture(scope="module")
def sweeping(shared_store: Store) -> Sweeping:
    """What sweeps one store; each test has projects of its own."""
    return Sweeping(shared_store)


@pytest.fixture
def a(request: pytest.FixtureRequest) -> str:
    """The name of this test's project."""
    return f"a {request.node.name}"


def at(hour: float, number: int, **facts: object) -> Exposed:
    """A request of the same user, so many hours after the first began."""
    said = {"version": BASELINE, "unit": USER, **facts}
    return Exposed(at_ms=int(hour * HOUR_MS), number=number, **said)  # type: ignore[arg-type]


def test_the_same_rows_in_any_order_make_the_same_bytes(sweeping: Sweeping, a: str) -> None:
    """
    Requests and scores stored in another order, in many parts and twice, before or after a sweep
    and a merge, come to the same sums, to the last digit; and what is swept again, although nothing
    is new, writes nothing and leads to no other hour.
    """
    b = f"b {a}"
    requests = exposures(160, [bytes([unit] * 16) for unit in range(1, 30)], hours=range(2))
    session = sweeping.session
    put(session, a, requests)
    sweeping.sweep(a, range(2))

    shuffled = random.Random(2).sample(requests, len(requests))
    put(session, b, [replace(one, good=None) for one in shuffled[60:]])
    sweeping.sweep(b, [1])
    put_scores(session, b, shuffled[:90])
    put(session, b, [replace(one, good=None) for one in shuffled[:100]])
    session.command("OPTIMIZE TABLE requests FINAL")
    put_scores(session, b, shuffled[70:])
    sweeping.sweep(b, [1, 0])
    assert sweeping.state(b) == sweeping.state(a)

    before = sweeping.revision(b)
    assert sweeping.sweep(b, range(2)) == [HOUR, HOUR + 1]
    assert sweeping.revision(b) == before


def test_a_unit_counts_where_it_was_first_seen(sweeping: Sweeping, a: str) -> None:
    """
    A request that comes late moves its unit's first sight, and first failure, to an earlier hour:
    the hour that had them is swept too, and no other.
    """
    put(sweeping.session, a, [at(h, h, error=h == 2) for h in (1, 2, 3)])
    sweeping.sweep(a, [1, 2, 3])
    assert sweeping.total(a, ">unit") == {("stable", 1): 1}
    assert sweeping.total(a, "error:first") == {("stable", 2): 1}

    put(sweeping.session, a, [at(0.5, 9, error=True)])
    swept = sweeping.sweep(a, [0])

    assert swept == [HOUR, HOUR + 1, HOUR + 2]
    assert sweeping.total(a, ">unit") == {("stable", 0): 1}
    assert sweeping.total(a, "error:first") == {("stable", 0): 1}
    assert sweeping.total(a, "error") == {("stable", 0): 1, ("stable", 2): 1}


def test_an_event_that_is_taken_back_gives_the_first_to_the_next(
    sweeping: Sweeping, a: str
) -> None:
    """
    A later score that takes a bad event back makes the unit's next one its first.
    """
    asked = Asked(events=("down",))
    two = [at(0, 0, version=CANARY), at(1, 1, version=CANARY)]
    put(sweeping.session, a, two)
    for one in two:
        score(sweeping.session, a, one, 1.0, name="down")
    sweeping.sweep(a, range(2), asked)
    assert sweeping.total(a, "down:first") == {("canary", 0): 1}

    score(sweeping.session, a, two[0], 0.0, name="down", later_s=5)
    swept = sweeping.sweep(a, [0], asked)

    assert swept == [HOUR, HOUR + 1]
    assert sweeping.total(a, "down:first") == {("canary", 1): 1}
    assert sweeping.total(a, "down") == {("canary", 1): 1}


def test_a_late_score_is_of_the_hour_of_its_request(sweeping: Sweeping, a: str) -> None:
    """
    A score that comes days later counts in its request's hour, and replaces one it had before.
    """
    one = at(0, 0)
    put(sweeping.session, a, [one])
    sweeping.sweep(a, [0])
    score(sweeping.session, a, one, 0.25, later_s=200_000)
    sweeping.sweep(a, [0])
    assert sweeping.total(a, "good") == {("stable", 0): 0.25}

    score(sweeping.session, a, one, 0.75, later_s=200_001)
    sweeping.sweep(a, [0])

    assert sweeping.total(a, "good") == {("stable", 0): 0.75}


def test_units_are_those_of_their_rollout(sweeping: Sweeping, a: str) -> None:
    """
    Each rollout sees a unit for the first time; a request without a unit is one; one that no rollout
    assigned is none.
    """
    put(
        sweeping.session,
        a,
        [
            at(0, 0),
            at(0, 1),
            at(0, 2, rollout="r2"),
            at(0, 3, unit=NO_UNIT, version=CANARY),
            at(0, 4, unit=NO_UNIT, version=CANARY),
            at(0, 5, rollout="", share=None),
        ],
    )

    sweeping.sweep(a, [0])

    assert sweeping.total(a, ">unit") == {("stable", 0): 2, ("canary", 0): 2}
    assert sweeping.total(a, "request") == {("stable", 0): 4, ("canary", 0): 2}


def test_a_planned_share_that_changes_within_an_hour_is_told_apart(
    sweeping: Sweeping, a: str
) -> None:
    """
    What was assigned under two shares lies in two phases.
    """
    put(sweeping.session, a, [at(0, 0), at(0.1, 1), at(0.5, 2, share=0.5)])

    sweeping.sweep(a, [0])

    phases = {row[7]: row[10] for row in sweeping.state(a) if row[3] == "request"}
    assert phases == {"0.1": 2, "0.5": 1}


def test_what_several_versions_served_is_told(sweeping: Sweeping, a: str) -> None:
    """
    A request whose answer was cached by a request of another version, or whose spans are stamped
    with another version, was served by more than one.
    """
    made = at(0, 0)
    cached = f"{made.id.hex()[:8]}-{made.id.hex()[8:12]}-{made.id.hex()[12:16]}-{made.id.hex()[16:20]}-{made.id.hex()[20:]}"
    hit, same, stamped = (
        at(1, 1, version=CANARY, cache_origin=cached),
        at(1, 2, cache_origin=cached),
        at(1, 3),
    )
    put(sweeping.session, a, [made, hit, same, stamped])
    sweeping.session.insert(
        "spans",
        ("project", "request_id", "span_id", "trace_id", "composite_version"),
        [
            (a, stamped.id, b"1" * 8, b"1" * 16, CANARY),
            (a, same.id, b"1" * 8, b"1" * 16, BASELINE),
        ],
    )

    sweeping.sweep(a, [1])

    assert sweeping.total(a, ">mixed") == {("canary", 1): 1, ("stable", 1): 1}


def test_metrics_that_plans_make_of_others(sweeping: Sweeping, a: str) -> None:
    """
    A threshold makes an event of a value, a cap bounds it, and a ratio has two sums.
    """
    names = ("latency_ms>150", "latency_ms^120", "good/latency_ms")
    asked = Asked(
        events=("latency_ms>150",), sources=tuple(made for name in names if (made := made_of(name)))
    )
    put(
        sweeping.session,
        a,
        [
            at(0, 0, latency_ms=100.0, good=0.5),
            at(0, 1, latency_ms=200.0),
            at(0.1, 2, latency_ms=300.0),
        ],
    )

    sweeping.sweep(a, [0], asked)

    assert sweeping.total(a, "latency_ms>150") == {("stable", 0): 2}
    assert sweeping.total(a, "latency_ms>150:first") == {("stable", 0): 1}
    assert sweeping.total(a, "latency_ms^120") == {("stable", 0): 340}
    ratio = next(row for row in sweeping.state(a) if row[3] == "good/latency_ms")
    assert (ratio[8], *ratio[10:]) == (SCORER, 1, 0.5, 0.25, 100.0, 10_000.0, 50.0)


def test_projects_are_apart(sweeping: Sweeping, a: str) -> None:
    """
    A sweep of one project neither reads nor writes another's rows, not even of the same unit.
    """
    put(sweeping.session, a, [at(0, 0), at(1, 1)])
    put(sweeping.session, "b'; --", [at(1, 2, version=CANARY, error=True)])
    sweeping.sweep(a, [0])
    before = sweeping.state(a)

    sweeping.sweep("b'; --", [1])

    assert sweeping.state(a) == before
    assert sweeping.total("b'; --", ">unit") == {("canary", 1): 1}


def test_hostile_names_are_values(sweeping: Sweeping, a: str) -> None:
    """
    Names with quotes, separators and control characters are counted as they are, and a score that is
    called like the roll-up's own metrics is told apart from them.
    """
    one = at(0, 0, rollout="r'\\\x1f\x00{x:String}", version="b' OR 1 --")
    put(sweeping.session, a, [one])
    for name in (">unit", "x:first", "request", "a\x1fb", "latency_ms>150"):
        score(sweeping.session, a, one, 3.0, name=name)

    sweeping.sweep(a, [0])

    totals = {row[3]: row[11] for row in sweeping.state(a)}
    assert (totals[">unit"], totals["request"]) == (1, 1)
    assert {"score:>unit", "score:x:first", "score:request", "a\x1fb"} <= totals.keys()
    assert {row[4] for row in sweeping.state(a)} == {"r'\\\x1f\x00{x:String}"}
