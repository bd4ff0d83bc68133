"""What of an eval is found in rows, and when that tells of an example."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from mvtrace.errors import UsageError
from mvtrace.registry.datasets.rows import row_bytes
from mvtrace.registry.leakage.examples import Examples, read_examples
from mvtrace.registry.leakage.matching import Matched, Matcher
from mvtrace.registry.leakage.methods import Settings
from mvtrace.registry.leakage.tallying import Tally, tally

CAPITAL = {"question": "Which city is the capital of France, and since when?", "answer": "Paris"}
RIVER = {"question": "Which river runs through the old town of Prague?", "answer": "Vltava"}
EVAL = [CAPITAL, RIVER]


def rows(*said: dict[str, Any]) -> list[bytes]:
    return [row_bytes(one) for one in said]


def compared(
    evals: Sequence[dict[str, Any]], trains: Sequence[dict[str, Any]], columns: tuple[str, ...] = ()
) -> tuple[Examples, Matched, Tally]:
    examples = read_examples([rows(*evals)], columns)
    found = Matcher(examples, Settings(columns=columns)).match(rows(*trains))
    return examples, found, tally(examples, [found])


def signs(
    evals: Sequence[dict[str, Any]], trains: Sequence[dict[str, Any]], columns: tuple[str, ...] = ()
) -> dict[int, tuple[str, str, int]]:
    """Return for each example that was met how, by which column and in which row."""
    _, _, told = compared(evals, trains, columns)
    return {example: (one.how, one.column, one.row) for example, one in told.signs.items()}


@pytest.mark.parametrize(
    ("train", "sign"),
    [
        (CAPITAL, ("row", "", 1)),
        ({**CAPITAL, "source": "web"}, ("pair", "", 1)),
        ({"prompt": CAPITAL["question"]}, ("exact", "question", 1)),
        (
            {"prompt": "WHICH city is the capital of  France - and since when"},
            ("normalized", "question", 1),
        ),
        (
            {"prompt": "Which city is the capital of France, and since when then?"},
            ("near", "question", 1),
        ),
        (
            {
                "text": f"{'Many words stand before it. ' * 50} {CAPITAL['question']} Paris, of course."
            },
            ("contained", "question", 1),
        ),
        ({"messages": [{"content": CAPITAL["question"]}, {"content": "Paris"}]}, ("pair", "", 1)),
        ({"answer": "Paris"}, None),
        ({"prompt": "Which city is the capital of Spain?"}, None),
        ({"label": 3}, None),
        ({}, None),
    ],
)
def test_ways_to_be_met(train: dict[str, Any], sign: tuple[str, str, int] | None) -> None:
    """
    An example is met as a row, by all its texts in one row, or by a text that tells of it alone:
    the same, normalized, nearly, or within a longer one; a short answer alone tells nothing.
    """
    strange = {"text": "nothing of the kind stands in this row"}

    assert signs(EVAL, [strange, train]) == ({} if sign is None else {0: sign})


def test_question_and_answer_are_counted_apart() -> None:
    """
    Each column has its own count, and so have both in one row.
    """
    story = {
        "question": "How does the story of the two brothers end?",
        "answer": "Both leave the house at dawn.",
    }
    trains = [
        {"q": CAPITAL["question"], "a": "Lyon"},
        {"text": story["answer"]},
        {"q": RIVER["question"], "a": "Vltava"},
    ]

    _, found, told = compared([*EVAL, story], trains)

    assert told.by_column == {"answer": 1, "question": 2}
    assert (told.pairs, told.rows, found.overlapping) == (1, 0, 3)


def test_a_column_that_says_the_same_is_not_compared() -> None:
    """
    An instruction that every example has tells of none, unless it is asked for.
    """
    instruction = "Answer the question in one sentence, please."
    evals = [{"instruction": instruction, **one} for one in EVAL]
    train = [{"instruction": instruction, "question": "What is that there?"}]

    examples, _, told = compared(evals, train)

    assert (examples.constant, told.signs) == (("instruction",), {})
    assert signs(evals, train, ("instruction",)).keys() == {0, 1}


def test_a_text_that_many_examples_have_tells_nothing_alone() -> None:
    """
    A choice of many questions is none of them; with its question it is, and so is what copies of
    one example have.
    """
    choice = "None of the above answers is correct."
    evals = [
        {"question": f"What about number {n} of this list?", "choice": choice} for n in range(12)
    ]
    evals.append(
        {"question": "And which one is the last of this list?", "choice": "Paris, surely."}
    )

    assert signs(evals, [{"text": choice}]) == {}
    assert signs(evals, [evals[3]]) == {3: ("row", "", 0)}
    assert signs(evals, [{"q": evals[3]["question"], "c": choice}])[3] == ("pair", "", 0)
    assert signs([evals[3]] * 12 + evals[-1:], [{"text": choice}]).keys() == set(range(12))


def test_short_texts_tell_where_they_are_asked_for() -> None:
    """
    A column that is named, or is the only one, tells however short its texts are.
    """
    train = [{"text": "paris"}]

    assert signs(EVAL, train) == {}
    assert signs(EVAL, train, ("answer",)) == {0: ("normalized", "answer", 0)}
    assert signs([{"city": "Paris"}, {"city": "Prague"}], train) == {0: ("normalized", "city", 0)}


def test_an_unknown_column() -> None:
    """
    A column that no row of the eval has is refused, with those there are.
    """
    with pytest.raises(UsageError) as refused:
        compared(EVAL, [], ("prompt",))

    assert refused.value.message == (
        "No row of the eval has a text in a column 'prompt'; its columns are: answer, question."
    )


def test_rows_without_text() -> None:
    """
    Rows of numbers are met as whole rows, whatever the order and form of their values.
    """
    evals: list[dict[str, Any]] = [{"x": 1, "y": 2.5}, {"x": 2, "y": None}]

    assert signs(evals, [{"y": 2.5, "x": 1.0}, {"x": 2}, {"x": 3}]) == {
        0: ("row", "", 0),
        1: ("row", "", 1),
    }


def test_empty_texts_are_not_alike() -> None:
    """
    Empty texts, and such of punctuation alone, are neither compared nor found.
    """
    evals = [{"a": "", "b": "?!"}, {"a": " ", "b": "the only text there is here"}]

    assert signs(evals, [{"a": "", "b": ""}, {"c": "..."}]) == {}


def test_the_surest_sign_is_kept() -> None:
    """
    Of several rows that hold an example the surest and then the first is told.
    """
    near = {"t": "Which city is the capital of France, and since when then?"}
    same = {"t": CAPITAL["question"]}

    assert signs(EVAL, [near, same, same]) == {0: ("exact", "question", 1)}


def test_earlier_versions_are_counted_apart() -> None:
    """
    Examples of an earlier version are found, and are none of the eval's own.
    """
    old = {"question": "An example that only the first version of the suite had?", "answer": "Yes"}
    examples = read_examples([rows(*EVAL), rows(CAPITAL, old)])
    found = Matcher(examples, Settings()).match(rows(old))

    told = tally(examples, [found])

    assert [told.counts(examples, number)["examples"] for number in (0, 1)] == [0, 1]
