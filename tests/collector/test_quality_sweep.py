"""The roll-up of an hour: what it says does not depend on what came when, how often, in which order."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from exposed import (
    BASELINE,
    CANARY,
    HOUR,
    NO_UNIT,
    ROLLOUT,
    SCORER,
    Exposed,
    Sweeping,
    exposures,
    put,
    put_scores,
    score,
)

from mvtrace.quality.sources import BAD_EVENTS, Asked, made_of
from mvtrace.store import Store
from mvtrace_collector.quality_asked import asked_by
from mvtrace_collector.quality_sweep import HOUR_MS, QualitySweep

USER = bytes([7] * 16)
Rows = Callable[[str], list[tuple[Any, ...]]]


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
    assert sweeping.sweep(b, [0]) == [HOUR]
    assert sweeping.revision(b) == before


class Late(NamedTuple):
    """A project's roll-up before and after something came late to its first hour."""

    before: list[tuple[Any, ...]]
    after: list[tuple[Any, ...]]
    swept: list[int]
    """Which hours were made anew for that, counted from the first."""


SEEN = [at(1, 1, rollout="u"), at(2, 2, rollout="u", error=True), at(3, 3, rollout="u")]
DOWN = [at(hour, hour + 10, rollout="d", version=CANARY) for hour in (0, 1)]
RATED = at(0, 20, rollout="s")


@pytest.fixture(scope="module")
def late(sweeping: Sweeping) -> Late:
    """Four hours are swept; then the first gets a request, and scores that replace others."""
    session, asked = sweeping.session, Asked(events=("error", "down"))
    put(session, "late", [*SEEN, *DOWN, RATED])
    for one in DOWN:
        score(session, "late", one, 1.0, name="down")
    score(session, "late", RATED, 0.25, later_s=200_000)
    sweeping.sweep("late", range(4), asked)
    before = sweeping.state("late")

    put(session, "late", [at(0.5, 9, rollout="u", error=True)])
    score(session, "late", DOWN[0], 0.0, name="down", later_s=5)
    score(session, "late", RATED, 0.75, later_s=200_001)
    swept = sweeping.sweep("late", [0], asked)
    return Late(before, sweeping.state("late"), [hour - HOUR for hour in swept])


def hourly(rows: Iterable[tuple[Any, ...]], rollout: str, metric: str) -> dict[int, float]:
    """Return the sums of a metric of a rollout by hour, counted from the first."""
    return {
        int(row[6].timestamp()) // 3600 - HOUR: row[10]
        for row in rows
        if (row[4], row[3]) == (rollout, metric) and row[10]
    }


def test_a_unit_counts_where_it_was_first_seen(late: Late) -> None:
    """
    A request that comes late moves its unit's first sight, and first failure, to an earlier hour:
    the hour that had them is swept too, and no other.
    """
    assert hourly(late.before, "u", ">unit") == {1: 1}
    assert hourly(late.before, "u", "error:first") == {2: 1}

    assert late.swept == [0, 1, 2]
    assert hourly(late.after, "u", ">unit") == {0: 1}
    assert hourly(late.after, "u", "error:first") == {0: 1}
    assert hourly(late.after, "u", "error") == {0: 1, 2: 1}


def test_an_event_that_is_taken_back_gives_the_first_to_the_next(late: Late) -> None:
    """
    A later score that takes a bad event back makes the unit's next one its first.
    """
    assert hourly(late.before, "d", "down:first") == {0: 1}

    assert hourly(late.after, "d", "down:first") == {1: 1}
    assert hourly(late.after, "d", "down") == {1: 1}


def test_a_late_score_is_of_the_hour_of_its_request(late: Late) -> None:
    """
    A score that comes days later counts in its request's hour, and replaces one it had before.
    """
    assert hourly(late.before, "s", "good") == {0: 0.25}
    assert hourly(late.after, "s", "good") == {0: 0.75}


@pytest.fixture(scope="module")
def hour(sweeping: Sweeping) -> Rows:
    """An hour of several rollouts, swept once: gives the rows of one, as ``Sweeping.state`` does."""
    requests = [*UNITS, *SHARES, *TALKS, *VERSIONS, *VALUES, HOSTILE]
    put(sweeping.session, "hour", requests)
    for name in (">unit", "x:first", "request", "a\x1fb", "latency_ms>150"):
        score(sweeping.session, "hour", HOSTILE, 3.0, name=name)
    stamped = ((VERSIONS[3].id, CANARY), (VERSIONS[2].id, BASELINE))
    sweeping.session.insert(
        "spans",
        ("project", "request_id", "span_id", "trace_id", "composite_version"),
        [("hour", id_, b"1" * 8, b"1" * 16, version) for id_, version in stamped],
    )
    sources = tuple(made for name in MADE if (made := made_of(name)))
    asked = Asked(events=MADE[:1], wanted=("good",), sources=sources)
    sweeping.sweep("hour", [0], asked)
    rows = sweeping.state("hour")
    return lambda rollout: [row for row in rows if row[4] == rollout]


def totals(rows: Iterable[tuple[Any, ...]], metric: str) -> dict[str, float]:
    """Return the sums of a metric by arm."""
    found: Counter[str] = Counter()
    for row in rows:
        if row[3] == metric and row[10]:
            found[row[5]] += row[10]
    return dict(found)


UNITS = [
    at(0, 0),
    at(0, 1),
    at(0, 2, rollout="r2"),
    at(0, 3, unit=NO_UNIT, version=CANARY),
    at(0, 4, unit=NO_UNIT, version=CANARY),
    at(0, 5, rollout="", share=None),
]


def test_units_are_those_of_their_rollout(hour: Rows) -> None:
    """
    Each rollout sees a unit for the first time; a request without a unit is one; one that no rollout
    assigned is none.
    """
    assert totals(hour(ROLLOUT), ">unit") == {"stable": 1, "canary": 2}
    assert totals(hour("r2"), ">unit") == {"stable": 1}
    assert totals(hour(""), ">unit") == {}
    assert totals(hour(""), "request") == {"stable": 1}


MANY = range(1000, 1200)
TALKS = [
    *[at(0, n, unit=NO_UNIT, rollout="alone") for n in MANY],
    *[at(0.1, n, unit=NO_UNIT, conversation="c'1", rollout="talks") for n in MANY],
    *[at(0.2, n, conversation=f"c{n}", rollout="users") for n in MANY],
]


def test_without_a_unit_a_conversation_is_one_cluster(
    hour: Rows,
) -> None:
    """
    Requests of one conversation are no independent ones: where nothing was assigned by a unit they
    share a bucket, and where something was, its unit tells the bucket.
    """
    buckets = {
        name: [len(row[15]) for row in hour(name) if row[3] == "latency_ms"]
        for name in ("alone", "talks", "users")
    }

    assert buckets.pop("alone")[0] > 100
    assert buckets == {"talks": [1], "users": [1]}


SHARES = [
    at(0, 10, rollout="s"),
    at(0.1, 11, rollout="s"),
    at(0.5, 12, rollout="s", share=0.5),
]


def test_a_planned_share_that_changes_within_an_hour_is_told_apart(
    hour: Rows,
) -> None:
    """
    What was assigned under two shares lies in two phases.
    """
    phases = {row[7]: row[9] for row in hour("s") if row[3] == "request"}

    assert phases == {"0.1": 2, "0.5": 1}


MADE_FIRST = at(0, 20, rollout="v")
CACHED = str(UUID(bytes=MADE_FIRST.id))
VERSIONS = [
    MADE_FIRST,
    at(0.1, 21, rollout="v", version=CANARY, cache_origin=CACHED),
    at(0.1, 22, rollout="v", cache_origin=CACHED),
    at(0.1, 23, rollout="v"),
]


def test_what_several_versions_served_is_told(
    hour: Rows,
) -> None:
    """
    A request whose answer was cached by a request of another version, or whose spans are stamped
    with another version, was served by more than one.
    """
    assert totals(hour("v"), ">mixed") == {"canary": 1, "stable": 1}


MADE = ("latency_ms>150", "latency_ms^120", "good/latency_ms")
VALUES = [
    at(0, 30, rollout="m", latency_ms=100.0, good=0.5),
    at(0, 31, rollout="m", latency_ms=200.0),
    at(0.1, 32, rollout="m", latency_ms=300.0),
]


def test_metrics_that_plans_make_of_others(hour: Rows) -> None:
    """
    A threshold makes an event of a value, a cap bounds it, and a ratio has two sums.
    """
    rows = hour("m")

    assert totals(rows, "latency_ms>150") == {"stable": 2}
    assert totals(rows, "latency_ms>150:first") == {"stable": 1}
    assert totals(rows, "latency_ms^120") == {"stable": 340}
    ratio = next(row for row in rows if row[3] == "good/latency_ms")
    assert (ratio[8], *ratio[9:15]) == (SCORER, 1, 0.5, 0.25, 100.0, 10_000.0, 50.0)


HOSTILE = at(0, 40, rollout="r'\\\x1f\x00{x:String}", version="b' OR 1 --")


def test_hostile_names_are_values(hour: Rows) -> None:
    """
    Names with quotes, separators and control characters are counted as they are, and a score that is
    called like the roll-up's own metrics is told apart from them.
    """
    sums = {row[3]: row[10] for row in hour(HOSTILE.rollout)}

    assert (sums[">unit"], sums["request"]) == (1, 1)
    assert {"score:>unit", "score:x:first", "score:request", "a\x1fb"} <= sums.keys()


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


def test_whoever_invents_scores_pushes_out_no_judge(sweeping: Sweeping, a: str) -> None:
    """
    Of an hour with more names of scores than are kept, those that plans name stay, and then those
    that not only voters gave; of requests that do not exist none is.
    """
    one, invented = at(0, 0), at(0, 1)
    put(sweeping.session, a, [one])
    now = datetime.now(UTC)
    said = [(invented, f"a{number}", "") for number in range(300)]
    said += [(one, f"b{number}", "voter") for number in range(300)]
    said += [(one, "wished", "voter"), (one, "wished by none", "voter"), (one, "judged", "")]
    columns = ("project", "request_id", "name", "scorer", "voter", "value", "scored_at")
    sweeping.session.insert(
        "scores", columns, [(a, of.id, name, SCORER, voter, 1.0, now) for of, name, voter in said]
    )

    sweeping.sweep(a, [0], Asked(planned=("wished",)))

    kept = {row[3] for row in sweeping.state(a) if row[8] == SCORER}
    assert {"wished", "judged"} < kept
    assert "wished by none" not in kept
    assert len(kept) == 256
    assert not any(name.startswith("a") for name in kept)


def test_plans_that_decide_come_before_those_that_anybody_registers(
    sweeping: Sweeping, a: str
) -> None:
    """
    Three hundred plans that were registered later push out none by which a verdict is kept.
    """
    now = datetime.now(UTC)
    digests = [f"sha256:{number:064}" for number in range(300)]
    body = '{"metrics":[{"kind":"event","name":"slow","source":"latency_ms>%d"}]}'
    sweeping.session.insert(
        "registry_entries",
        ("project", "kind", "digest", "body", "received_at"),
        [(a, "plan", digest, body % number, now) for number, digest in enumerate(digests)],
    )
    verdict = f'{{"plan":{body % 812},"plan_digest":"{digests[0]}"}}'
    sweep = QualitySweep(sweeping.session, "mvtrace", a)
    assert "latency_ms>812" not in asked_by(sweep.plans()).events

    sweeping.session.insert(
        "governance_events",
        ("project", "name", "event_id", "body", "received_at"),
        [(a, "mvtrace.verdict", bytes(16), verdict, now)],
    )

    for _ in range(2):
        asked = asked_by(sweep.plans())
        assert asked.events[len(BAD_EVENTS)] == "latency_ms>812"
        assert asked.sources[0] == made_of("latency_ms>812")
