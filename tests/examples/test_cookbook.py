"""The cookbook: every query runs as a key's would, and gives what stands below it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from examples.cookbook.answers import README, Desk, Question, answered, questions
from examples.cookbook.store import make
from mvtrace.store import open_store
from mvtrace.tables import VIEWS

TEXT = README.read_text()
QUESTIONS = list(questions(TEXT))


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """The cookbook's store, through the collector's gate and readers."""
    with open_store(make(tmp_path_factory.mktemp("cookbook"))) as store:
        made = Desk(store)
        yield made
        made.close()


def test_every_block_of_sql_is_a_question_with_an_answer() -> None:
    """
    There are at least 25 questions, each with a query and its answer, and no title comes twice.
    """
    assert len(QUESTIONS) == TEXT.count("```sql") >= 25
    assert len({one.title for one in QUESTIONS}) == len(QUESTIONS)
    assert all(one.answer.count("\n") >= 2 for one in QUESTIONS)


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda one: one.title)
def test_the_query_gives_its_answer(desk: Desk, question: Question) -> None:
    """
    The query passes the gate and gives exactly the table that the cookbook shows.
    """
    assert desk.ask(question.sql).strip() == question.answer


def test_every_view_is_asked_something() -> None:
    """
    Each view is asked at least once.
    """
    every = " ".join(one.sql for one in QUESTIONS)

    assert {view for view in VIEWS if view not in every} == set()


def test_answers_are_put_in_their_places() -> None:
    """
    Tables made anew stand where the old ones stood, and nothing else changes.
    """
    known = {one.sql: one.answer for one in QUESTIONS}

    assert answered(TEXT, lambda sql: known[sql]) == TEXT
    assert list(questions(answered(TEXT, lambda _: "| a |\n|-|\n| 1 |"))) == [
        one._replace(answer="| a |\n|-|\n| 1 |") for one in QUESTIONS
    ]
