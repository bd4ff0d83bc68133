"""What stays of a span's content when it is taken out: numbers and ids that say something of a call."""

from __future__ import annotations

import json
from typing import Any

import pytest
from attribute_spans import cleaned
from dialect_oracle import columns
from dialect_spans import SPANS
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import PROMPT, PROSE

from mvtrace import semconv
from mvtrace.capture.content_facts import content_facts
from mvtrace.content import is_content

CONTENT = "llm.invocation_parameters"


@pytest.mark.parametrize("name", SPANS)
def test_a_call_is_understood_without_its_content(name: str) -> None:
    """
    What content says of a call fills the same columns after it was taken out, and has no prose.
    """
    attributes, _ = SPANS[name]
    left = cleaned(attributes)
    facts = json.loads(str(left.get(semconv.CONTENT_FACTS, "{}")))

    assert columns({**left, **facts}) == columns(attributes)
    assert PROSE not in str(left)
    assert not any(map(is_content, left))


def test_only_a_call_of_the_right_kind_is_read() -> None:
    """
    Members that mean something in an answer of the protocol alone stay in any other.
    """
    answer = json.dumps({"id": "patient-17", "model": "m"})
    whole = json.dumps({"id": "c-1", "model": "m", "usage": {"prompt_tokens": 9}})
    kind = {"openinference.span.kind": "LLM"}

    assert content_facts({"output.value": whole}, ["output.value"]) is None
    assert content_facts({**kind, "output.value": answer}, ["output.value"]) is None
    assert json.loads(content_facts({**kind, "output.value": whole}, ["output.value"]) or "") == {
        "output.value": {"id": "c-1", "model": "m", "usage": {"prompt_tokens": 9}}
    }


@pytest.mark.parametrize("value", ["", "no JSON", "[" * 5000, "[1,", 7, None, True, b"{}", [[1]]])
def test_what_is_no_json_leaves_nothing(value: Any) -> None:
    """
    Content that cannot be read leaves nothing, and nothing fails.
    """
    assert content_facts({CONTENT: value}, [CONTENT]) is None


contents = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.just(PROMPT), st.just("m")),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["model", "seed", "temperature", "top_p"]), inner),
    ),
)


@settings(deadline=None)
@given(value=contents)
def test_no_prose_is_left_whatever_the_content(value: Any) -> None:
    """
    Whatever JSON the content is, what is left of it is numbers, and texts that can be ids.
    """
    left = content_facts({CONTENT: json.dumps(value)}, [CONTENT])

    facts = json.loads(left)[CONTENT] if left else {}
    assert all(one == "m" or type(one) in (int, float) for one in facts.values())
