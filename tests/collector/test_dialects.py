"""Attributes of every dialect through the real loader: which columns of a call they fill."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from attribute_spans import CALL_COLUMNS, cleaned, filled, load
from dialect_oracle import DATA, columns, keys_of_the_data
from dialect_spans import SPANS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from planted import PROSE

from mvtrace.content import is_content
from mvtrace.store import Store

EXAMPLES = int(os.environ.get("MVTRACE_TEST_EXAMPLES", "6"))
LAW = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=EXAMPLES < 10,
)
"""The same few each time; more of them, asked for, are others."""


@pytest.fixture(scope="module")
def loaded(shared_store: Store, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each of SPANS fills as it is, and as it leaves a process with mvtrace in it."""
    shared_store.command("TRUNCATE TABLE spans")
    sent = [given for given, _ in SPANS.values()]
    load(shared_store, tmp_path_factory.mktemp("spans"), [*sent, *map(cleaned, sent)])
    found = filled(shared_store)
    return dict(zip(SPANS, zip(found, found[len(sent) :], strict=False), strict=True))


@pytest.mark.parametrize("name", SPANS)
def test_columns_that_a_dialect_fills(name: str, loaded: dict[str, Any]) -> None:
    """
    A span of each dialect fills exactly the columns that its attributes have values for, also where
    its content was taken out before it left the process.
    """
    attributes, said = SPANS[name]
    expected = {key: value for key, value in said.items() if value is not None}

    assert loaded[name] == (expected, expected)
    assert columns(attributes) == expected, "the data, read in Python, says something else"


def test_attributes_stay_what_they_are(store: Store, tmp_path: Path) -> None:
    """
    What fills a column stays among the attributes, each with its type; only content goes.
    """
    sent = [attributes for attributes, _ in SPANS.values()]
    load(store, tmp_path, sent)
    rows = store.query(
        "SELECT attributes_string, attributes_int, attributes_double, attributes_json FROM spans "
        "ORDER BY toUInt32(name)"
    ).rows

    for attributes, (texts, integers, doubles, others) in zip(sent, rows, strict=True):
        kept = {key: value for key, value in attributes.items() if not is_content(key)}
        found = {**texts, **integers, **doubles, **{k: json.loads(v) for k, v in others.items()}}
        assert found == kept
        assert {key: type(found[key]) for key in kept} == {k: type(v) for k, v in kept.items()}


def test_no_prose_of_content_gets_into_a_column(store: Store, tmp_path: Path) -> None:
    """
    Whatever member of a JSON that is content holds prose, in none of the columns is a word of it.
    """
    prose = f"{PROSE} and more"
    lists = (*DATA["columns"].values(), {"from": DATA["documents"]})
    sources = [one for column in lists for one in column["from"] if isinstance(one, dict)]
    spans = [
        {"gen_ai.operation.name": operation, one["key"]: json.dumps(_planted(one, prose))}
        for one in sources
        if is_content(one.get("key", ""))
        for operation in ("chat", "embeddings", "retrieval", "execute_tool")
    ]
    load(store, tmp_path, spans)

    assert len(spans) > 100
    assert filled(store) == [{"operation": one["gen_ai.operation.name"]} for one in spans]


def _planted(source: dict[str, Any], prose: str) -> Any:
    """Return JSON that has *prose* where *source* looks, and what it wants beside it."""
    made: Any = {}
    for at in (source.get("at", "*.id"), *source.get("with", ())):
        if not at:
            return prose
        if at.startswith("*"):
            made = made or [{}]
            _put(made[0], at.removeprefix("*").removeprefix("."), prose)
        else:
            _put(made, at, prose)
    return made


def _put(made: dict[str, Any], at: str, prose: str) -> None:
    names = at.replace(".*", "").split(".")
    for name in names[:-1]:
        made = made.setdefault(name, {})
    made[names[-1]] = prose


def test_answers_of_every_dialect_are_found_by_their_id(store: Store, tmp_path: Path) -> None:
    """
    The id a provider gave its answer leads to the request, whatever attribute it came in.
    """
    with_id = [given for given, expected in SPANS.values() if expected.get("response_id")]
    load(store, tmp_path, with_id)

    found = store.query(
        "SELECT count() FROM request_aliases WHERE kind = 'response_id' AND alias = 'c-1'"
    ).rows
    assert found == [(len(with_id),)]
    assert len(with_id) == 5


def test_every_column_of_the_data_is_a_column(store: Store) -> None:
    """
    The data names columns of the table, tables of words that it has, and sources once a column.
    """
    named = {*DATA["columns"], "sampling", "documents"}
    known = {
        name
        for (name,) in store.query(
            "SELECT name FROM system.columns WHERE table = 'spans' AND database = currentDatabase()"
        ).rows
    }

    assert named == set(CALL_COLUMNS)
    assert named <= known
    for column in (
        *DATA["columns"].values(),
        *({"from": one} for one in DATA["sampling"].values()),
    ):
        sources = [json.dumps(one) for one in column["from"]]
        assert len(set(sources)) == len(sources)
        words = {one["words"] for one in column["from"] if isinstance(one, dict) and "words" in one}
        assert {*words, *filter(None, [column.get("renamed")])} <= set(DATA["words"])


plain_values = st.one_of(
    st.sampled_from(
        ["m", "chat", "LLM", "TOOL", "generation", '"CHAT_MODEL"', "stop", "", "no id"]
    ),
    st.integers(-5, 2**63 - 1),
    st.sampled_from([0.5, 0.0, -1.5, float("inf")]),
    st.booleans(),
)
json_values = st.recursive(
    st.one_of(
        st.none(), st.integers(-5, 2**63 - 1), st.sampled_from(["m", "c-1", "no id", "7", 0.5, True])
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.dictionaries(
            st.sampled_from(["id", "model", "usage", "choices", "finish_reason", "score", "seed",
                             "metadata", "prompt_tokens", "input_tokens", "temperature", "object"]),
            inner, max_size=5,
        ),
    ),
    max_leaves=12,
)  # fmt: skip
some_attributes = st.dictionaries(
    st.sampled_from(keys_of_the_data()),
    st.one_of(
        plain_values, json_values.map(json.dumps), json_values.filter(lambda v: v is not None)
    ),
    max_size=8,
)


@LAW
@given(spans=st.lists(some_attributes, min_size=20, max_size=20))
def test_engine_reads_the_data_as_it_says(
    spans: list[dict[str, Any]], store: Store, tmp_path: Path
) -> None:
    """
    Whatever values the keys of the data have, the engine fills what a reading of it in Python does.
    """
    store.command("TRUNCATE TABLE spans")
    spans = [{k: v for k, v in one.items() if not _is_out_of_range(v)} for one in spans]

    load(store, tmp_path, spans)

    assert filled(store) == [columns(one) for one in spans]


def _is_out_of_range(value: Any) -> bool:
    """Whether OTLP has no value for it."""
    if isinstance(value, dict):
        return any(map(_is_out_of_range, value.values()))
    if isinstance(value, list):
        return any(map(_is_out_of_range, value))
    return isinstance(value, int) and not -(2**63) <= value < 2**63


other_keys = st.text("abcdefg_.*0123456789", min_size=1, max_size=20).filter(
    lambda key: key not in keys_of_the_data() and not is_content(key)
)


@LAW
@given(attributes=st.dictionaries(
    st.one_of(other_keys, st.sampled_from(keys_of_the_data()).map(lambda key: f"x.{key}")),
    plain_values, max_size=8,
))  # fmt: skip
def test_key_that_the_data_lacks_fills_nothing(
    attributes: dict[str, Any], store: Store, tmp_path: Path
) -> None:
    """
    A key that is no source fills no column, whatever its value.
    """
    store.command("TRUNCATE TABLE spans")

    load(store, tmp_path, [attributes])

    assert filled(store) == [{}]
