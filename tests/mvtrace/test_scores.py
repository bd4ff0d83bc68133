"""A score as a value: what it may be, its event, and a file of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from mvtrace.ids import format_uuid7
from mvtrace.resources import schema_root
from mvtrace.scores import Score, event_of, export_of, read_lines, undeclared

REQUEST = format_uuid7(1_787_396_527_123, 7)
SCHEMA = Draft202012Validator(
    json.loads((schema_root() / "events" / "feedback.schema.json").read_text("utf-8"))
)
words = st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]), min_size=1, max_size=20)
values = st.floats(allow_nan=False, allow_infinity=False)
scores = st.builds(
    Score,
    request_id=st.builds(format_uuid7, st.integers(0, 2**48 - 1), st.integers(0, 2**74 - 1)),
    name=words,
    value=values,
    label=st.none() | words,
    source=words,
    scorer=st.none() | st.just(f"sha256:{'5' * 64}"),
    voter=st.none() | words,
    at=st.none() | st.integers(0, (1 << 63) - 1),
)


@given(scores)
def test_a_score_survives_its_way(score: Score) -> None:
    """
    What was given is what is read from the event's body, which the published schema describes.
    """
    event = event_of(score, now_ns=7)

    assert Score.from_bytes(event.body) == score
    SCHEMA.validate(json.loads(event.body))
    request = ExportLogsServiceRequest.FromString(export_of([event], project="shop"))
    (logs,) = request.resource_logs
    assert logs.resource.attributes[0].value.string_value == "shop"
    assert logs.scope_logs[0].log_records[0].body.string_value == event.body


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"request_id": "42"}, "request_id is no request id"),
        ({"name": ""}, "name is 1 to 128"),
        ({"name": "a\nb"}, "name is 1 to 128"),
        ({"source": "s" * 65}, "source is 1 to 64"),
        ({"value": None}, "value and label are missing"),
        ({"value": float("nan")}, "value is not finite"),
        ({"label": "l" * 257}, "label is 1 to 256"),
        ({"scorer": "me"}, "scorer is no digest"),
        ({"voter": ""}, "voter is 1 to 256"),
        ({"at": 1 << 63}, "at is no time"),
    ],
)
def test_what_is_no_score_says_why(change: dict[str, Any], problem: str) -> None:
    """
    A field that cannot be is named, before anything is sent.
    """
    facts: dict[str, Any] = {"request_id": REQUEST, "name": "thumbs", "value": 1.0}

    with pytest.raises(ValueError, match=problem):
        Score(**{**facts, **change})


def test_a_file_is_read_line_by_line() -> None:
    """
    Sound lines are scores, empty ones nothing, the others are named by number and problem.
    """
    good = json.dumps({"request_id": REQUEST, "name": "n", "value": True, "at": "2026-08-22T11:00"})
    lines = [good, "", "[]", "{", '{"request_id": 1}', '{"reqest_id": "x"}', good]

    found, problems = read_lines([line.encode() for line in lines])

    assert [(one.value, one.at) for one in found] == [(1.0, 1_787_396_400_000_000_000)] * 2
    assert [number for number, _ in problems] == [3, 4, 5, 6]
    assert problems[3][1] == "'reqest_id' means nothing here"


@given(st.binary(max_size=60))
def test_any_line_is_a_score_or_says_why(line: bytes) -> None:
    """
    Whatever a file holds, reading it ends.
    """
    found, problems = read_lines([line])

    assert len(found) + len(problems) == (1 if line.strip() else 0)


def test_an_undeclared_scorer_is_named_by_source_and_name() -> None:
    """
    So two that score the same thing differently never pass for one.
    """
    assert undeclared("judge", "tone") == "undeclared:judge/tone"
