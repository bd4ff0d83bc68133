"""What points at itself, is said twice, or names what cannot be: stored, read and explained."""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from attacked import JSON, Attacked, attacked
from stored import Filler, new_store
from story import SYSTEM, record, request_id, spans_of

from mvtrace.cli.markdown import report_markdown
from mvtrace.cli.report import report_of
from mvtrace.cli.text import report_text
from mvtrace.digest import canonical_bytes
from mvtrace.explain.explainer import explain
from mvtrace.explain.states import parse_manifest
from mvtrace.ids import new_request_id
from mvtrace.records import RequestRecord
from mvtrace.store import Store
from mvtrace.store.reader import Reader

FIRST, SECOND, THIRD = (request_id(number) for number in range(3))
SLOW_S = 30.0


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One store for all tests; each has a project of its own."""
    with new_store(f"chdb://{tmp_path_factory.mktemp('cycles') / 'store'}") as made:
        yield made


@pytest.fixture
def filler(store: Store, request: pytest.FixtureRequest) -> Filler:
    made = Filler(store, str(request.node.name))
    made.system()
    return made


@pytest.fixture
def reader(store: Store, request: pytest.FixtureRequest, filler: Filler) -> Reader:
    return Reader(store, str(request.node.name))


def told(reader: Reader, asked: str) -> dict[str, Any]:
    """Explain *asked* in JSON and for people, in a time that shows that it ends."""
    started = time.monotonic()
    said: dict[str, Any] = json.loads(json.dumps(explain(reader.read(asked)).to_dict()))
    report = report_of(said)
    assert report_text(report)
    assert report_markdown(report)
    assert time.monotonic() - started < SLOW_S
    return said


def codes(said: dict[str, Any]) -> list[str]:
    return [finding["code"] for finding in said["findings"]]


def test_spans_that_are_their_own_parents(filler: Filler, reader: Reader) -> None:
    """
    A span that is its own parent, and two that are each other's, are shown with what they say.
    """
    own = record()
    spans = spans_of(own)
    first, second, *_ = spans
    looping = (
        replace(first, parent_span_id=first.span_id),
        replace(second, parent_span_id="ee" * 8),
        replace(second, span_id="ee" * 8, parent_span_id=second.span_id),
    )
    filler.record(own)
    filler.spans(looping)

    said = told(reader, FIRST)

    parents = {span["span_id"]: span["parent_span_id"] for span in said["spans"]}
    assert parents == {
        first.span_id: first.span_id,
        second.span_id: "ee" * 8,
        "ee" * 8: second.span_id,
    }


def test_trace_of_spans_in_a_circle(filler: Filler, reader: Reader) -> None:
    """
    A foreign trace without any root still has an explanation, made of a span of it.
    """
    ids = [f"{number:016x}" for number in range(1, 6)]
    base = spans_of(record())[1]
    filler.spans(
        replace(base, span_id=one, parent_span_id=other, composite_version=None)
        for one, other in zip(ids, [*ids[1:], ids[0]], strict=True)
    )

    said = told(reader, FIRST)

    assert "foreign_trace" in codes(said)
    assert said["span_id"] in ids
    assert len(said["spans"]) == 5


def test_request_that_called_itself(filler: Filler, reader: Reader) -> None:
    """
    A request that names itself as its parent is told so, once.
    """
    filler.request(record(parent_request_id=FIRST))

    said = told(reader, FIRST)

    [finding] = [one for one in said["findings"] if one["code"] == "request_cycle"]
    assert finding["evidence"] == {"chain": [FIRST, FIRST], "relation": "parent"}
    assert "parent_request" not in codes(said)
    assert "child_requests" not in codes(said)


def test_requests_that_called_each_other(filler: Filler, reader: Reader) -> None:
    """
    Two requests, each of which says that the other called it: both say so of the other.
    """
    filler.request(record(0, parent_request_id=SECOND))
    filler.request(record(1, parent_request_id=FIRST))

    for one, other in ((FIRST, SECOND), (SECOND, FIRST)):
        said = told(reader, one)
        assert "parent_request" in codes(said)
        [finding] = [found for found in said["findings"] if found["code"] == "request_cycle"]
        assert finding["evidence"] == {"chain": [one, other, one], "relation": "parent"}


def test_cached_answer_of_itself(filler: Filler, reader: Reader) -> None:
    """
    An answer that is said to come from its own request has no other origin, and is told so.
    """
    filler.request(record(cache_origin=FIRST))

    said = told(reader, FIRST)

    [finding] = [one for one in said["findings"] if one["code"] == "request_cycle"]
    assert finding["evidence"] == {"chain": [FIRST, FIRST], "relation": "cache_origin"}
    assert said["cache_origin"] is None


def test_cached_answers_of_each_other(filler: Filler, reader: Reader) -> None:
    """
    Answers that come from each other are followed once round, and the circle is told.
    """
    for number, origin in enumerate((SECOND, THIRD, FIRST)):
        filler.request(record(number, cache_origin=origin))

    said = told(reader, FIRST)

    assert said["cache_origin"]["chain"] == [SECOND, THIRD]
    [finding] = [one for one in said["findings"] if one["code"] == "request_cycle"]
    assert finding["evidence"] == {
        "chain": [FIRST, SECOND, THIRD, FIRST],
        "relation": "cache_origin",
    }


def test_edges_in_a_circle(filler: Filler, reader: Reader) -> None:
    """
    A stored manifest whose edges run in a circle is shown with them.
    """
    slots = [one.slot for one in SYSTEM.parts]
    manifest = json.loads(SYSTEM.manifest)
    manifest["edges"] = [
        {"from": one, "to": other, "role": "uses"} for one, other in itertools.pairwise(slots)
    ] + [{"from": slots[-1], "to": slots[0], "role": "uses"}, {"from": "x", "to": "x"}]
    parsed = parse_manifest(canonical_bytes(manifest))

    assert parsed is not None
    assert len(parsed.edges) == len(slots) + 1
    filler.request(record())
    assert "composite_damaged" not in codes(told(reader, FIRST))


NO_IDS = ["x", "zz" * 16, "'; DROP TABLE requests; --", "%", "\\", "\0", "x" * 5000, "é", ""]


@pytest.mark.parametrize("text", NO_IDS, ids=lambda text: repr(text)[:12])
@pytest.mark.parametrize("name", ["cache_origin", "parent_request_id", "trace_id", "span_id"])
def test_ids_that_are_none(filler: Filler, reader: Reader, name: str, text: str) -> None:
    """
    Where a record names another by what is no id, that other is not found, and all else is told.
    """
    facts: dict[str, Any] = {name: text}
    filler.record(record(), replace(record(), **facts).to_bytes())

    said = told(reader, FIRST)

    assert said["request_id"] == FIRST
    assert "record_damaged" not in codes(said)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    """A collector to send to."""
    with attacked(tmp_path_factory.mktemp("twice")) as one:
        yield one


def span(trace_id: str, **facts: Any) -> dict[str, Any]:
    now = time.time_ns()
    return {
        "traceId": trace_id,
        "spanId": "cd" * 8,
        "startTimeUnixNano": str(now),
        "endTimeUnixNano": str(now + 10),
        **facts,
    }


def send(target: Attacked, *spans: dict[str, Any]) -> None:
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).encode()
    assert target.post("/v1/traces", body, kind=JSON).status == 200


def explained(target: Attacked, asked: str, spans: int) -> dict[str, Any]:
    """Wait until *spans* of *asked* are shown."""
    deadline = time.monotonic() + SLOW_S
    found = httpx2.Response(404)
    while time.monotonic() < deadline:
        found = target.get("/api/v1/explanation", params={"id": asked, "wait": "5"})
        if found.status_code == 200 and len(found.json()["spans"]) >= spans:
            break
    assert found.status_code == 200
    return dict(found.json())


def test_one_span_id_with_two_contents(target: Attacked) -> None:
    """
    Of a span that is sent again with other content the later is shown, once; spans of other traces
    with the same id are others.
    """
    trace_id, other = os.urandom(16).hex(), os.urandom(16).hex()
    with target.attack("the same span twice", most_mib=120):
        send(target, span(trace_id, name="first"))
        assert explained(target, trace_id, 1)["spans"][0]["name"] == "first"
        time.sleep(0.05)
        send(target, span(trace_id, name="second", parentSpanId="cd" * 8))
        send(target, span(other, name="other"))
        deadline = time.monotonic() + SLOW_S
        said = explained(target, trace_id, 1)
        while said["spans"][0]["name"] == "first" and time.monotonic() < deadline:
            said = explained(target, trace_id, 1)

    assert [one["name"] for one in said["spans"]] == ["second"]
    assert said["spans"][0]["parent_span_id"] == "cd" * 8
    assert [one["name"] for one in explained(target, other, 1)["spans"]] == ["other"]


OUT_OF_RANGE = {
    "gen_ai.usage.input_tokens": [-1, 2**40, 2**63 - 1, "many"],
    "gen_ai.usage.output_tokens": [-1, 2**40, -(2**63), 0.5],
    "http.response.status_code": [-1, 2**40, 70_000, "200"],
    "gen_ai.request.seed": [-1, 2**63 - 1],
    "gen_ai.request.temperature": [1e308, -1],
}


@pytest.mark.parametrize("name", OUT_OF_RANGE)
def test_numbers_beyond_their_columns(target: Attacked, name: str) -> None:
    """
    A number that its column cannot hold does not take the block with it, and the explanation has
    the attribute as it was sent.
    """
    values = OUT_OF_RANGE[name]
    ids = [os.urandom(16).hex() for _ in values]
    kinds = {int: "intValue", float: "doubleValue", str: "stringValue"}
    with target.attack(name, most_mib=150):
        for trace_id, value in zip(ids, values, strict=True):
            pair = {"key": name, "value": {kinds[type(value)]: value}}
            operation = {"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}}
            send(target, span(trace_id, name="chat", attributes=[pair, operation]))
        found = [explained(target, trace_id, 1)["spans"][0] for trace_id in ids]

    assert [one["attributes"][name] for one in found] == values


ODD_RECORDS: dict[str, dict[str, Any]] = {
    "status_code": {"status_code": 2**40},
    "negative status": {"status_code": -1},
    "negative bytes": {"request_bytes": -1, "response_bytes": -(2**60)},
    "late end": {"ended_at": str(2**64 - 1)},
    "end before start": {"ended_at": "1"},
    "far sequence": {"sequence": 2**53 - 1},
    "far revision": {"revision": 2**53 - 1},
    "tokens": {"calls": [{"kind": "generation", "name": "a", "usage": {"input_tokens": -1}}]},
    "many tokens": {"calls": [{"kind": "generation", "name": "a", "usage": {"input_tokens": 2**40}}]},
    "calls of nothing": {"calls": [None, 5, [], {}]},
    "shots of nothing": {"index_snapshots": {"name": []}},
    "text as number": {"status_code": "two hundred", "calls": "none"},
    "names of objects": {"calls": [{"kind": {}, "name": []}], "drift": [[[]]]},
}  # fmt: skip


def test_records_with_odd_numbers(target: Attacked) -> None:
    """
    Whatever a record says where a number belongs: it does not hold up the records it came with,
    and each is explained, or is said to be unreadable, or was not let in.
    """
    good = fresh()
    sent = {name: with_facts(fresh(), facts) for name, facts in ODD_RECORDS.items()}
    bodies = [*sent.values(), json.loads(good.to_bytes())]
    with target.attack("odd records", most_mib=200):
        for body in bodies:
            send_record(target, body)
        assert wait_for(target, good.request_id).json()["findings"]
        for name, body in sent.items():
            found = wait_for(target, body["request_id"])
            assert found.status_code in (200, 404), name
    neighbour = fresh()
    send_record(target, json.loads(neighbour.to_bytes()))
    assert wait_for(target, neighbour.request_id).status_code == 200


def fresh() -> RequestRecord:
    now = time.time_ns()
    return replace(record(), request_id=new_request_id(), started_at=now, ended_at=now + 10)  # type: ignore[arg-type]


def with_facts(one: RequestRecord, facts: dict[str, Any]) -> dict[str, Any]:
    return {**json.loads(one.to_bytes()), **facts}


def send_record(target: Attacked, body: dict[str, Any]) -> None:
    event = {
        "eventName": "mvtrace.request",
        "body": {"stringValue": json.dumps(body)},
        "timeUnixNano": str(time.time_ns()),
    }
    sent = json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [event]}]}]}).encode()
    assert target.post("/v1/logs", sent, kind=JSON).status == 200


def wait_for(target: Attacked, asked: str) -> httpx2.Response:
    deadline = time.monotonic() + SLOW_S
    while True:
        found = target.get("/api/v1/explanation", params={"id": asked, "wait": "5"})
        if found.status_code != 404 or time.monotonic() > deadline:
            return found
