"""What is another project's takes as long to be refused as what never was.

Theirs and nobody's are asked in pairs, in an order drawn by chance, on one connection; what counts
is the median of the differences within the pairs, as a share of the median answer. Noise of the
machine meets both sides of a pair alike and cancels out, more so the more pairs there are. While
the median lies over the bound, more pairs are taken, TRIES times as many at most; then a difference
is one where the interval of the median (by its ranks, which assume nothing of how times are spread)
lies beyond the bound as a whole.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from string import Template

import pytest
from isolation import NOBODYS, ROUTES, Ask, Ids, World, environ_of, two_projects
from isolation_commands import COMMANDS

from mvtrace.cli import main

PAIRS = int(os.environ.get("MVTRACE_TEST_PAIRS", "200"))
COMMAND_PAIRS = max(20, PAIRS // 5)
BOUND = 0.10
"""Of the median answer: an index that is read, or a row, costs more."""
FLOOR_S = 50e-6
"""Below what a network lets anybody see."""
TRIES = 3
ALPHA = 0.001
"""How often an interval may be wrong."""

FIRST_ASKS = [
    (name, next(ask for ask in asks if ask.repeats))
    for name, asks in ROUTES.items()
    if not isinstance(asks, str) and any(ask.repeats for ask in asks)
]
UNTIMED = ("access", "watch", "verify", "status", "erase", "scores import")
"""The first writes an entry each time, the next are refused before any id is looked at or send what
they have, the last ones write; their routes are timed where they may be."""
COMMANDS_WITH_IDS = [
    (name, cases[0])
    for name, cases in COMMANDS.items()
    if not isinstance(cases, str) and name not in UNTIMED
    if cases[0]
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with two_projects(tmp_path_factory.mktemp("world")) as one:
        yield one


def timed_pair(
    ask: Callable[[Ids], object], theirs: Ids, others: Ids, source: random.Random
) -> tuple[float, float]:
    """Return the seconds of both answers, theirs first; asked in an order drawn by chance."""
    order = [theirs, others]
    source.shuffle(order)
    taken = {}
    for ids in order:
        begun = time.perf_counter()
        ask(ids)
        taken[id(ids)] = time.perf_counter() - begun
    return taken[id(theirs)], taken[id(others)]


def interval_of_median(values: Sequence[float]) -> tuple[float, float]:
    """Return between which values the median lies; wrong in ALPHA of all cases at most.

    Of n values each lies below the median as a coin falls: the ranks come from the binomial
    distribution (Conover, Practical Nonparametric Statistics, section 3.2).
    """
    ordered, count = sorted(values), len(values)
    below, rank = 0.0, 0
    while (below := below + math.comb(count, rank) / 2**count) <= ALPHA / 2:
        rank += 1
    assert rank, f"{count} pairs are too few"
    return ordered[rank - 1], ordered[count - rank]


def measured(
    what: str, ask: Callable[[Ids], object], theirs: Ids, others: Ids, pairs: int
) -> tuple[float, bool]:
    """Return by what share of an answer theirs takes longer, and whether that is nothing."""
    source = random.Random(pairs)
    for _ in range(5):  # warms up what both need
        timed_pair(ask, theirs, others, source)
    seen: list[tuple[float, float]] = []
    for _ in range(TRIES):
        seen += [timed_pair(ask, theirs, others, source) for _ in range(pairs)]
        middle = statistics.median(value for both in seen for value in both)
        differences = [their - other for their, other in seen]
        part = statistics.median(differences) / middle
        low, high = (one / middle for one in interval_of_median(differences))
        print(f"{what}: {part:+.1%} ({low:+.1%} to {high:+.1%}) of {middle * 1000:.2f} ms")
        bound = max(BOUND, FLOOR_S / middle)
        if abs(part) <= bound:
            return part, True
    return part, low <= bound and high >= -bound


@pytest.mark.parametrize(("name", "ask"), FIRST_ASKS, ids=[name for name, _ in FIRST_ASKS])
def test_route_takes_as_long(world: World, name: str, ask: Ask) -> None:
    """
    For each route that may be asked often: theirs is answered as fast as nobody's.
    """
    part, is_same = measured(
        name, lambda ids: world.ask(ask, ids, world.mine), world.theirs, NOBODYS, PAIRS
    )

    assert is_same, f"{part:+.1%}, see the intervals"


@pytest.mark.parametrize(
    ("name", "arguments"), COMMANDS_WITH_IDS, ids=[name for name, _ in COMMANDS_WITH_IDS]
)
def test_command_takes_as_long(
    world: World, name: str, arguments: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    For each command that names an id: all it does but starting takes as long for theirs.
    """
    for variable, value in environ_of(world.mine).items():
        monkeypatch.setenv(variable, value)

    def run(ids: Ids) -> None:
        asked = [Template(one).safe_substitute(ids) for one in arguments]
        sink = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
        with contextlib.redirect_stdout(sink), contextlib.redirect_stderr(io.StringIO()):
            main.run([*name.split(), *asked, "--url", world.url])

    part, is_same = measured(name, run, world.theirs, NOBODYS, COMMAND_PAIRS)

    assert is_same, f"{part:+.1%}, see the intervals"


def test_the_measure_sees_a_difference(world: World) -> None:
    """
    The same measure tells a request that is there from one that never was.
    """
    ask = Ask("/api/v1/explanation?wait=0&id=$request")

    part, is_same = measured(
        "control",
        lambda ids: world.ask(ask, ids, world.their_key),
        world.theirs,
        NOBODYS,
        max(20, PAIRS // 4),
    )

    assert not is_same, part
