"""Containment: an example within a longer text, and that nothing is missed."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from near_duplicates import Corpus

from mvtrace.registry.leakage import containment
from mvtrace.registry.leakage.containment import Contained, Containment
from mvtrace.registry.leakage.normalizing import normalized, tokens

WORDS = st.lists(st.sampled_from("abcde"), max_size=14).map(" ".join)


def index_of(forms: list[str], **options: float) -> Containment:
    settings = {"threshold": 0.7, "n": 8, "least": 4, **options}
    return Containment(forms, **settings)  # type: ignore[arg-type]


def exactly(form: str, train: str, *, threshold: float, n: int, least: int) -> float | None:
    """Return the share of the runs of *form* in *train*, computed the slow and plain way."""
    words, others = tokens(form), tokens(train)
    if len(words) < least:
        return None
    length = min(n, len(words))
    runs = {tuple(words[at : at + length]) for at in range(len(words) - length + 1)}
    held = {tuple(others[at : at + length]) for at in range(len(others) - length + 1)}
    share = len(runs & held) / len(runs)
    return share if share >= threshold - 1e-9 else None


def test_an_example_in_a_long_document() -> None:
    """
    An example within a document a thousand times as long is found, whole or with a word changed.
    """
    corpus = Corpus(3)
    evals = [normalized(text) for text in corpus.texts(50, least=30, most=40)]
    rest = " ".join(normalized(text) for text in corpus.texts(900))
    words = evals[7].split()
    words[0] = "otherwise"

    index = index_of(evals)

    assert index.of([f"{rest} {evals[7]} {rest}"])[0] == [Contained(7, 1.0)]
    assert [one.text for one in index.of([f"{rest} {' '.join(words)}"])[0]] == [7]
    assert index.of([rest]) == [[]]


@given(st.lists(WORDS, max_size=5), st.lists(WORDS, max_size=5), st.sampled_from((0.3, 0.7, 1.0)))
def test_nothing_is_missed_and_nothing_made_up(
    evals: list[str], trains: list[str], threshold: float
) -> None:
    """
    What is found is what comparing every run of every pair finds, with the same share.
    """
    options = {"threshold": threshold, "n": 3, "least": 2}
    index = index_of(evals, **options)

    found = index.of(trains)

    expected = [
        [
            Contained(number, share)
            for number, form in enumerate(evals)
            if (share := exactly(form, train, **options)) is not None  # type: ignore[arg-type]
        ]
        for train in trains
    ]
    assert found == expected


def test_short_texts_are_whole_runs() -> None:
    """
    A text of fewer tokens than a run is found whole only; one of very few is not looked for.
    """
    index = index_of(["one two three four five", "yes it is"])

    assert index.of(["well one two three four five then yes it is"])[0] == [Contained(0, 1.0)]
    assert index.of(["one two three four six five"]) == [[]]


def test_pieces_of_a_long_text_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where a text is cut into pieces, no run across the cut is lost.
    """
    monkeypatch.setattr(containment, "PIECE", 40)
    example = " ".join(f"w{number}" for number in range(60))

    index = index_of([example], threshold=1.0)

    assert index.of([f"before {example} behind"])[0] == [Contained(0, 1.0)]


def test_scripts_without_spaces() -> None:
    """
    In a script without spaces runs are of characters.
    """
    index = index_of(["日本の首都はどこですか"])

    assert [one.text for one in index.of(["質問集 日本の首都はどこですか 答えは東京です"])[0]] == [
        0
    ]


def test_alike_examples_are_bounded() -> None:
    """
    Of very many examples that share all their runs few are indexed by each run, and it is told.
    """
    template = " ".join(f"w{number}" for number in range(40))
    evals = [f"{template} number {number}" for number in range(1_000)]

    index = index_of(evals)
    [found] = index.of([f"{template} number 5"])

    assert index.crowded > 500
    assert Contained(5, 1.0) in found
    assert len(found) <= containment.MAX_CANDIDATES


def test_a_row_of_one_word() -> None:
    """
    Texts that repeat one word are contained in one another as often as they have it.
    """
    index = index_of(["no no no no no no no no no no"])

    found = index.of(["no " * 10_000, "no no no", ""])

    assert [len(one) for one in found] == [1, 0, 0]


def test_random_documents_hold_nothing() -> None:
    """
    Of 2,000 documents drawn from the eval's own words none contains an example.
    """
    words = [f"w{number}" for number in range(500)]
    drawn = random.Random(9)
    evals = [" ".join(drawn.choices(words, k=20)) for _ in range(100)]
    trains = [" ".join(drawn.choices(words, k=50)) for _ in range(2_000)]

    assert not any(index_of(evals).of(trains))
