"""Leakage: recall and precision on planted near-duplicates, and rows a second."""

from __future__ import annotations

import os
import resource
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from near_duplicates import Corpus

from mvtrace.registry.datasets.hashing import hash_dataset
from mvtrace.registry.leakage.checking import check
from mvtrace.registry.leakage.methods import Settings
from mvtrace.registry.leakage.normalizing import normalized
from mvtrace.registry.leakage.resemblance import Resemblance, Resembling
from mvtrace.registry.leakage.shingles import jaccard, shingles
from mvtrace.registry.leakage.sides import Side

EVALS = int(os.environ.get("MVTRACE_BENCH_EVALS", "2000"))
ROWS = int(os.environ.get("MVTRACE_BENCH_ROWS", "200000"))
EDITS = (0, 1, 2, 3, 4, 5, 6, 8, 10, 14)
AT_ONCE = 500

pytestmark = pytest.mark.benchmark


def test_planted_near_duplicates(capsys: pytest.CaptureFixture[str]) -> None:
    """
    Recall by exact similarity beside what the S-curve says, and precision over unrelated texts.
    """
    corpus = Corpus(1)
    evals = [normalized(text) for text in corpus.texts(EVALS)]
    sets = [shingles(form, 5) for form in evals]
    copies = corpus.copies(evals, EDITS)
    others = [normalized(text) for text in corpus.texts(20_000)]
    index = Resemblance(evals, threshold=0.7, permutations=128, k=5, recall=0.999)
    forms = [normalized(copy.text) for copy in copies]
    met = [{one.text for one in alike} for alike in _asked(index, forms)]
    strangers = sum(bool(alike) for alike in _asked(index, others))

    bins: dict[int, list[tuple[float, bool]]] = defaultdict(list)
    for copy, form, numbers in zip(copies, forms, met, strict=True):
        exact = jaccard(sets[copy.origin], shingles(form, 5))
        bins[int(exact * 20)].append((exact, copy.origin in numbers))
    found = sum(bool(numbers) for numbers in met)
    own = sum(copy.origin in numbers for copy, numbers in zip(copies, met, strict=True))
    with capsys.disabled():
        print(f"\n{EVALS:,} evals, {len(copies):,} copies, {len(others):,} unrelated texts")
        for key in sorted(bins):
            part = bins[key]
            share = sum(hit for _, hit in part) / len(part)
            curve = sum(index.bands.recall(exact) for exact, _ in part) / len(part)
            print(
                f"  J {key / 20:.2f}+  {len(part):6,} copies  found {share:.4f}  curve {curve:.4f}"
            )
        for edits in EDITS:
            hits = [c.origin in n for c, n in zip(copies, met, strict=True) if c.edits == edits]
            print(f"  {edits:2} words of 20 to 60 edited: found {sum(hits) / len(hits):.3f}")
        above = [hit for key, part in bins.items() for exact, hit in part if exact >= 0.7]
        print(f"  recall at J >= 0.7: {sum(above) / len(above):.5f} of {len(above):,}")
        print(f"  precision: {own / (found + strangers):.4f} ({strangers} unrelated texts found)")


@pytest.mark.parametrize("jobs", [1, 2])
def test_rows_a_second(tmp_path: Path, capsys: pytest.CaptureFixture[str], jobs: int) -> None:
    """
    A whole check of unrelated training rows, beside hashing the same rows alone.
    """
    corpus = Corpus(2)
    evals, trains = tmp_path / "eval.jsonl", tmp_path / "train.jsonl"
    evals.write_bytes(b"".join(_lines(corpus.texts(EVALS))))
    with trains.open("wb") as out:
        for _ in range(0, ROWS, 10_000):
            out.writelines(_lines(corpus.texts(10_000)))

    started = spent_s()
    hash_dataset(trains)
    hashing_s = spent_s() - started
    started, began = spent_s(), time.perf_counter()
    found = check(Side("e", path=evals), [Side("t", path=trains)], Settings(), ask=None, jobs=jobs)
    checking_s, passed_s = spent_s() - started, time.perf_counter() - began

    with capsys.disabled():
        size = trains.stat().st_size / 1e6
        print(
            f"\n{EVALS:,} evals, {ROWS:,} rows of {size / ROWS * 1e6:.0f} bytes, {jobs} processes: "
            f"{ROWS / checking_s:,.0f} rows and {size / checking_s:.1f} MB a second of CPU, "
            f"{checking_s / hashing_s:.1f} times hashing; {ROWS / passed_s:,.0f} rows a second "
            f"passed; {found.overlap} found"
        )


def spent_s() -> float:
    """Return the CPU time that this process and its children have spent, seconds."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _asked(index: Resemblance, forms: list[str]) -> Iterator[list[Resembling]]:
    for first in range(0, len(forms), AT_ONCE):
        yield from index.of(forms[first : first + AT_ONCE])


def _lines(texts: list[str]) -> Iterator[bytes]:
    for text in texts:
        yield orjson.dumps({"question": text, "answer": text[:20]}) + b"\n"
