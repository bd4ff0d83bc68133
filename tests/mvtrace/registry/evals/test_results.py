"""Suites, scorers and runs as entries: named by what they say, in pieces that fit an event."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from mvtrace.digest import canonical_bytes
from mvtrace.registry.entries import MAX_ENTRY_BYTES
from mvtrace.registry.errors import RegistryError
from mvtrace.registry.evals.results import Pinned, Result, pieces_of, result_of, run_of
from mvtrace.registry.evals.scorers import code_digest, scorer_entry
from mvtrace.registry.evals.suites import Examples, key_text, suite_entry
from mvtrace.resources import schema_root
from mvtrace.semconv import EVENT_CONTENT, EVENT_ENTRY

PINNED = Pinned(composite="a" * 64, suite="b" * 64, scorer="c" * 64)
EXAMPLES = Examples("d" * 64, 3)


def schema(kind: str) -> Draft202012Validator:
    return Draft202012Validator(
        json.loads((schema_root() / "events" / f"{kind}.schema.json").read_text("utf-8"))
    )


lines = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=9)
results = st.builds(
    Result,
    example=lines,
    repeat=st.integers(0, 3),
    value=st.floats(-1e6, 1e6),
    label=st.none() | lines,
    cluster=st.just("") | lines,
    request_id=st.none() | st.just("01989f3c-2a4b-7c3d-8e5f-6a7b8c9d0e1f"),
)
runs = st.lists(results, min_size=1, max_size=30, unique_by=lambda one: one[:2])


@settings(deadline=None)
@given(runs, st.randoms())
def test_a_run_is_what_it_says_in_any_order(run: list[Result], random: Any) -> None:
    """
    The same results in another order are the same entries, and what is read back are they, sorted;
    the published schema describes each.
    """
    entries = pieces_of(PINNED, run, recorded_at="7")
    shuffled = list(run)
    random.shuffle(shuffled)

    assert pieces_of(PINNED, shuffled, recorded_at="7") == entries
    read = [result_of(one) for entry in entries for one in entry.said["results"]]
    assert read == sorted(run, key=lambda one: one[:2])
    for entry in entries:
        schema("results").validate(entry.said)


def test_a_long_run_comes_in_pieces_of_one_name() -> None:
    """
    Each piece fits an event and names the run, which is named by all of its results.
    """
    run = [Result(f"{n:064x}", value=0.125) for n in range(20_000)]
    entries = pieces_of(PINNED, run, recorded_at="7")
    said = [entry.said for entry in entries]

    assert len(entries) > 8
    assert max(len(entry.body) for entry in entries) <= MAX_ENTRY_BYTES
    assert [one["piece"] for one in said] == list(range(1, len(entries) + 1))
    assert {one["pieces"] for one in said} == {len(entries)}
    pinned = {key: said[0][key] for key in ("composite", "suite", "scorer", "recorded_at")}
    bodies = [canonical_bytes(result) for one in said for result in one["results"]]
    assert {one["run"] for one in said} == {run_of(pinned, bodies)}
    changed = [*run[:-1], run[-1]._replace(value=0.5)]
    assert pieces_of(PINNED, changed, recorded_at="7")[0].said["run"] != said[0]["run"]


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"value": 1}, "example is no line of 1 to 200 printable characters"),
        ({"example": "", "value": 1}, "example is no line of 1 to 200 printable characters"),
        ({"example": "a\nb", "value": 1}, "example is no line of 1 to 200 printable characters"),
        ({"example": "q"}, "value and label are missing"),
        ({"example": "q", "value": "1"}, "value is no number"),
        (
            {"example": "q", "value": float("nan")},
            "value is not finite; say why there is no score as its label",
        ),
        (
            {"example": "q", "value": 1e999},
            "value is not finite; say why there is no score as its label",
        ),
        ({"example": "q", "label": "x" * 257}, "label is no line of 1 to 256 printable characters"),
        ({"example": "q", "value": 1, "repeat": -1}, "repeat is no whole number from 0 to 1,000,000"),
        ({"example": "q", "value": 1, "repeat": True}, "repeat is no whole number from 0 to 1,000,000"),
        ({"example": "q", "value": 1, "request_id": "x"}, "request_id is no request id"),
        ({"example": "q", "value": 1, "cluster": []}, "cluster is no line of 1 to 200 printable characters"),
        ({"example": "q", "value": 1, "score": 2}, "'score' means nothing here"),
    ],
)  # fmt: skip
def test_what_is_no_result_is_said(said: dict[str, Any], problem: str) -> None:
    """
    Every flaw has its sentence.
    """
    with pytest.raises(ValueError) as caught:
        result_of(said)

    assert str(caught.value) == problem


def test_labels_count_what_the_scorer_says() -> None:
    """
    A label alone gets the scorer's number; a value that is there stays, an unknown label has none.
    """
    values = {"C": 1.0, "I": 0.0}

    assert result_of({"example": 7, "label": "C"}, values) == Result("7", value=1.0, label="C")
    assert result_of({"example": "q", "label": "C", "value": 0.5}, values).value == 0.5
    assert result_of({"example": "q", "label": "refused"}, values).value is None


def test_an_example_that_comes_twice_is_refused() -> None:
    """
    Which of two scores holds is not guessed.
    """
    with pytest.raises(RegistryError) as caught:
        pieces_of(PINNED, [Result("q", value=1), Result("q", value=0)], recorded_at="7")

    assert caught.value.message == (
        "A set of results cannot be registered: the example 'q' comes twice as repeat 0."
    )
    with pytest.raises(RegistryError, match="there are none"):
        pieces_of(PINNED, [], recorded_at="7")


def test_a_suite_is_its_examples_and_how_they_are_asked() -> None:
    """
    Another root, name, version, key or setting is another suite.
    """
    base = suite_entry("caps", EXAMPLES, version="v1", id_key="id")
    others = [
        suite_entry("caps", Examples("e" * 64, 3), version="v1", id_key="id"),
        suite_entry("caps", EXAMPLES, version="v2", id_key="id"),
        suite_entry("caps", EXAMPLES, version="v1"),
        suite_entry("caps", EXAMPLES, version="v1", id_key="id", cluster_key="page"),
        suite_entry("caps", EXAMPLES, version="v1", id_key="id", settings={"shots": 5}),
    ]

    assert suite_entry("caps", EXAMPLES, version="v1", id_key="id") == base
    assert len({base.digest, *(one.digest for one in others)}) == 6
    for one in (base, *others):
        schema("suite").validate(one.said)
    for wrong in (Examples("d" * 63, 3), Examples("d" * 64, 0)):
        with pytest.raises(RegistryError):
            suite_entry("caps", wrong)


def test_keys_lead_into_objects() -> None:
    """
    A key with dots finds what lies deeper; what is missing, or no line, is said.
    """
    assert key_text({"metadata": {"page": 3}}, "metadata.page") == "3"
    for row, problem in (({}, "it has no 'page'"), ({"page": None}, "'page' is no line")):
        with pytest.raises(ValueError, match=problem):
            key_text(row, "page")


def judged(**changed: Any) -> Any:
    said: dict[str, Any] = {"judge": {"model": "gpt-5", "prompt": "Is {answer} right?"}, **changed}
    return scorer_entry("tone", **said)


def test_a_scorer_is_its_code_its_judge_and_its_prompt() -> None:
    """
    Another model, prompt, parameter or code is another scorer; the prompt travels as content.
    """
    base = judged()
    others = [
        judged(judge={"model": "gpt-6", "prompt": "Is {answer} right?"}),
        judged(judge={"model": "gpt-5", "prompt": "Is {answer} wrong?"}),
        judged(judge={"model": "gpt-5", "prompt": "Is {answer} right?", "temperature": 1}),
        judged(parameters={"shots": 2}),
        judged(values={"C": 1}),
        judged(better="lower"),
        judged(code=code_digest(b"def score(): ...")),
    ]

    assert judged() == base
    assert len({base.digest, *(one.digest for one in others)}) == 8
    content, entry = base.events()
    assert (content.name, content.body) == (EVENT_CONTENT, "Is {answer} right?")
    assert (entry.name, entry.body) == (EVENT_ENTRY, base.entry.body.decode())
    assert [one.name for one in base.events(register_content=False)] == [EVENT_ENTRY]
    for one in (base, *others):
        schema("scorer").validate(one.entry.said)


def test_a_function_is_named_by_its_source() -> None:
    """
    A function's source is its code; what has no source has to be named otherwise.
    """
    assert str(code_digest(judged)).startswith("sha256:")
    for code in (len, "sha256:5", "me"):
        with pytest.raises(RegistryError):
            scorer_entry("x", code=code)
    with pytest.raises(RegistryError) as caught:
        scorer_entry("x")
    assert caught.value.message == ("A scorer cannot be registered: nothing says what 'x' does.")
    for wrong in ({"better": "more"}, {"values": {"C": float("nan")}}, {"judge": {"prompt": "x"}}):
        with pytest.raises(RegistryError):
            judged(**wrong)
