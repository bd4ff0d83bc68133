"""Hostile request records that are stored: whatever their fields hold, they are explained."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from story import PRODUCER, START_MS, SYSTEM, evidence, record, request_id, stored
from strategies import plain, records

from mvtrace.cli.inert import json_text
from mvtrace.cli.markdown import report_markdown
from mvtrace.cli.report import report_of
from mvtrace.cli.text import report_text
from mvtrace.explain.evidence import Evidence
from mvtrace.explain.explainer import explain
from mvtrace.records import (
    CaptureReport,
    Drift,
    ObservedComponent,
    RequestRecord,
    RouterDecision,
)
from mvtrace.store.rows import record_of, recorded_head, telling_records

Path = tuple[str | int, ...]

MOST_NS = 2**64 - 1
IDENTITY = ("request_id", "producer_id", "schema_version")
"""What the loader holds to its form, so that no stored record has it otherwise."""


def nested(depth: int) -> Any:
    value: Any = "x"
    for at in range(depth):
        value = [value] if at % 2 else {"k": value}
    return value


HOSTILE: dict[str, Any] = {
    "null": None,
    "true": True,
    "false": False,
    "zero": 0,
    "negative": -1,
    "int64": 2**63 - 1,
    "uint64": MOST_NS,
    "tagged": {"$int": "9" * 40},
    "tagged long": {"$int": "9" * 4299},
    "tagged too long": {"$int": "9" * 5000},
    "tagged nothing": {"$int": "nothing"},
    "tagged list": {"$int": [1]},
    "half": 0.5,
    "large": 1e308,
    "empty text": "",
    "digits": "1" * 30,
    "far digits": "9" * 5000,
    "year 9999": "253402300800000000000",
    "negative digits": "-1",
    "long text": "x" * 70_000,
    "control": "\x1b[31m\0\u202e|<script>[x](http://y)",
    "empty list": [],
    "list of lists": [[]],
    "list of texts": ["a"],
    "list of nulls": [None],
    "empty object": {},
    "object": {"name": "x", "kind": [], "value": {}},
    "deep": nested(55),
    "too deep": nested(70),
}


def whole_record() -> dict[str, Any]:
    """A record in which every kind of part is there, as its plain form."""
    base = record(cache_origin=request_id(5), parent_request_id=request_id(6))
    digest = SYSTEM.parts[0].digest
    full = replace(
        base,
        observed=(ObservedComponent(kind="guardrail", name="pii", digest=digest, facts={"a": 1}),),
        drift=(Drift(kind="index", name="topics", what="digest", expected=digest, observed="x"),),
        router_decisions=(*base.router_decisions, RouterDecision(name="r", fallbacks=("a",))),
        annotations={"a": {"b": [1]}},
        capture=CaptureReport(spans_dropped=1, digest_key_id="k", content_mode="full"),
        arm="canary",
        conversation_id="c",
        first_byte_at=base.started_at,
    )
    return full.to_dict()


def paths_of(value: Any, path: Path = ()) -> Iterator[Path]:
    """Yield where anything lies in *value*."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else ()
    items = enumerate(value) if isinstance(value, list) else items
    for key, item in items:
        yield from paths_of(item, (*path, key))


WHOLE = whole_record()
PATHS = [path for path in paths_of(WHOLE) if path[0] not in IDENTITY]


def hostile(*changes: tuple[Path, Any]) -> bytes:
    """The bytes of the whole record with *changes* made to it."""
    made = copy.deepcopy(WHOLE)
    for path, value in changes:
        place: Any = made
        for key in path[:-1]:
            try:
                place = place[key]
            except (KeyError, IndexError, TypeError):
                return json.dumps(made).encode()  # an earlier change took the place away
        if isinstance(place, dict):
            place[path[-1]] = value
        elif isinstance(place, list) and place:
            place[0] = value
    return json.dumps(made).encode()


def holding(body: bytes) -> Evidence:
    """The evidence of a request of which *body* is stored, and which is its own newest."""
    kept = replace(stored(record()), body=body, record=record_of(body))
    return evidence(record=kept, recent=telling_records([body, record(1).to_bytes()]))


def shown(given: Evidence) -> dict[str, Any]:
    """Explain, as JSON and for people; return what the JSON says."""
    said: dict[str, Any] = json.loads(json.dumps(explain(given).to_dict(), allow_nan=False))
    report = report_of(said)
    for text in (report_text(report), report_markdown(report), json_text(said)):
        assert "\x1b[31m" not in text
        assert text.encode()
    return said


@pytest.mark.parametrize("name", HOSTILE)
def test_any_field_may_hold_anything(name: str) -> None:
    """
    Each field in turn with a value of another kind: the record is explained as far as it is one, or
    is a finding of its own.
    """
    for path in PATHS:
        given = holding(hostile((path, HOSTILE[name])))
        said = shown(given)
        codes = {one["code"] for one in said["findings"]}
        assert ("record_unreadable" in codes) == (given.own is None), path


@given(
    changes=st.lists(
        st.tuples(st.sampled_from(PATHS), st.sampled_from(list(HOSTILE.values())) | plain),
        min_size=2,
        max_size=6,
    )
)
def test_many_fields_may_hold_anything(changes: list[tuple[Path, Any]]) -> None:
    """
    Several at once do no more harm.
    """
    try:
        body = hostile(*changes)
    except UnicodeEncodeError:
        return
    shown(holding(body))


@pytest.mark.parametrize("number", ["1e400", "-1e400", "NaN", "Infinity", "1" * 400, "1" * 5000])
def test_numbers_that_json_cannot_hold(number: str) -> None:
    """
    A number beyond every float is no number, wherever it stands.
    """
    for path in PATHS:
        body = hostile((path, "HERE")).replace(b'"HERE"', number.encode())
        shown(holding(body))


BODIES = [b"", b"null", b"[]", b"5", b'"x"', b"\xff", b"{", b"{}", b"[" * 100_000, b'{"a":' * 5_000]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body[:6]))
def test_bytes_that_are_no_record_are_a_finding(body: bytes) -> None:
    """
    Bytes that are no record are told to be unreadable, beside requests that are not.
    """
    said = shown(holding(body))

    assert "record_unreadable" in [one["code"] for one in said["findings"]]
    assert said["now"] is not None


@pytest.mark.parametrize("name", HOSTILE)
def test_one_bad_record_does_not_spoil_its_neighbours(name: str) -> None:
    """
    What is read of the newest requests of a service passes over those that cannot be read, and
    keeps those that can.
    """
    good = record(1).to_bytes()
    for path in PATHS:
        body = hostile((path, HOSTILE[name]))
        told = telling_records([body, good])
        assert told[-1] == RequestRecord.from_bytes(good) or record_of(body) is not None, path
        head = recorded_head(request_id(0), body)
        assert head.request_id == request_id(0)
        assert type(head.started_at) is int


@given(record=records)
def test_what_capture_makes_can_be_shown(record: RequestRecord) -> None:
    """
    Any record that capture could make reads back as what it is, and is shown.
    """
    body = record.to_bytes()

    assert record_of(body) == record
    shown(holding(body))


def test_types_are_checked_where_a_record_is_read() -> None:
    """
    A field of another type than it must have makes bytes no record; the message names the field.
    """
    for path, value in {
        ("status_code",): "200",
        ("service",): 5,
        ("calls", 0, "duration_ns"): 0.5,
        ("calls", 0, "name"): None,
        ("calls",): {},
        ("started_at",): "253402300800000000000",
        ("sequence",): True,
        ("annotations",): [],
        ("index_snapshots", 0, "size"): {"$int": "9" * 40},
    }.items():
        name = str(path[-1])
        with pytest.raises(ValueError, match=f"not a request record: .*{name}"):
            RequestRecord.from_bytes(hostile((path, value)))


def test_identity_of_the_whole_record() -> None:
    """
    The record that these tests start from is one, and says what it should.
    """
    own = RequestRecord.from_bytes(json.dumps(WHOLE).encode())

    assert (own.request_id, own.producer_id) == (request_id(0), PRODUCER)
    assert own.started_at == START_MS * 1_000_000
    assert len(PATHS) > 100
