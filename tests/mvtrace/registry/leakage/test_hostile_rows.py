"""Data made to cost time or memory: what is done about it is bounded, and is told."""

from __future__ import annotations

import tracemalloc

import pytest
from near_duplicates import Corpus

from mvtrace.registry.datasets.rows import row_bytes
from mvtrace.registry.leakage import containment, resemblance, shingles
from mvtrace.registry.leakage.examples import read_examples
from mvtrace.registry.leakage.matching import Matched, Matcher
from mvtrace.registry.leakage.methods import Settings
from mvtrace.registry.leakage.resemblance import MAX_CROWD, Resemblance
from mvtrace.registry.leakage.scanning import Scanner
from mvtrace.registry.leakage.tallying import tally

SAME = {"question": "The very same question again and again and again?", "answer": "Yes"}


def test_everything_identical() -> None:
    """
    An eval of 4,000 equal rows against 4,000 of the same: all are met, and what a row is found to
    hold is one text a column, not one for each example that has it.
    """
    row = row_bytes(SAME)
    examples = read_examples([[row] * 4_000])
    scanner = Scanner(examples, Settings())

    found = scanner.scan([row] * 4_000)

    told = tally(examples, [found])
    assert (len(told.signs), found.overlapping, len(found.hits)) == (4_000, 4_000, 2)


def test_examples_of_one_template() -> None:
    """
    Of 2,000 examples that differ in a number few are candidates of one another; a copy of any is
    found, and how many are not indexed is told.
    """
    template = "Tell me in one short sentence what the weather was like in our town on day"
    forms = [f"{template.lower()} {number}" for number in range(2_000)]
    index = Resemblance(forms, threshold=0.7, permutations=128, k=5, recall=0.999)

    [found] = index.of([f"{template.lower()} 77 please"])

    assert index.crowded >= 2_000 - 2 * MAX_CROWD
    assert 0 < len(found) <= 2 * MAX_CROWD


def test_a_huge_row_is_read_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A row of many pieces that ends with an example is searched to its end, in memory of a few times
    its own.
    """
    for module in (containment, resemblance, shingles):
        monkeypatch.setattr(module, "PIECE", 1 << 14)
    text = " ".join(Corpus(1, words=500).texts(300)) * 10
    huge = row_bytes({"text": f"{text} {SAME['question']}"})
    examples = read_examples([[row_bytes(SAME), row_bytes({"question": "Another one here?"})]])
    matcher = Matcher(examples, Settings())

    tracemalloc.start()
    found = matcher.match([huge])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert [hit.row for hit in found.hits.values()] == [0]
    assert peak < 20 * len(huge)


def test_nothing_at_all() -> None:
    """
    No training row, and rows without a text, hold nothing.
    """
    examples = read_examples([[row_bytes(SAME)]])
    scanner = Scanner(examples, Settings())

    assert scanner.scan([]) == Matched()
    assert scanner.scan([b"{}", b'{"n":5}']).overlapping == 0
