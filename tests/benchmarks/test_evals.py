"""What recording and comparing a large run costs: a real collector, results in a file."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from processes import collector

from mvtrace.cli.eval_files import read_results
from mvtrace.cli.registering import asker, register
from mvtrace.quality.paired import compare
from mvtrace.registry.evals.comparing import comparable
from mvtrace.registry.evals.results import Pinned, pieces_of

pytestmark = pytest.mark.benchmark
RESULTS = 100_000
GROUPS = 5_000


T = TypeVar("T")


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Return the seconds of *work*, and what it gave."""
    begun = time.perf_counter()
    found = work()
    return time.perf_counter() - begun, found


def record(path: Path, pinned: Pinned, url: str) -> None:
    """Record the results of a file and print how long each step took."""
    read_s, found = timed(lambda: read_results(path, {}))
    made_s, entries = timed(lambda: pieces_of(pinned, found.results, recorded_at="7"))
    sent_s, _ = timed(lambda: register(entries, url=url))
    print(
        f"\n{RESULTS:,} results in {len(entries):,} entries: "
        f"{RESULTS / (read_s + made_s + sent_s):,.0f}/s to stored (read {read_s:.2f} s, "
        f"entries {made_s:.2f} s, sent and stored {sent_s:.2f} s)"
    )


def test_recording_and_comparing(tmp_path: Path) -> None:
    """
    Prints results a second to stored rows, and how long two versions take to be compared.
    """
    chance = random.Random(7)
    suite, scorer = "5" * 64, "c" * 64
    with collector(tmp_path) as running:
        for version in ("a" * 64, "b" * 64):
            path = tmp_path / f"{version[0]}.jsonl"
            with path.open("w") as lines:
                for number in range(RESULTS):
                    said = {"example": f"{number:064x}", "cluster": f"document {number % GROUPS}"}
                    lines.write(json.dumps({**said, "value": chance.random() < 0.8}) + "\n")
            record(path, Pinned(composite=version, suite=suite, scorer=scorer), running.url)
        ask = asker(running.url, None)
        fetched_s, [one] = timed(lambda: comparable(ask, "a" * 64, "b" * 64).tests)
        compared_s, _ = timed(
            lambda: compare(
                [pair.first for pair in one.pairs],
                [pair.second for pair in one.pairs],
                [pair.cluster for pair in one.pairs],
                is_single=True,
            )
        )
    assert len(one.pairs) == RESULTS
    print(
        f"{RESULTS:,} pairs in {GROUPS:,} clusters: fetched {fetched_s:.2f} s, {compared_s:.2f} s"
    )
