"""A composite that leaves out kinds of part: what is met of them is observed, and told apart."""

from __future__ import annotations

import dataclasses

import pytest
from captured import Captured

import mvtrace
from mvtrace.records import RequestRecord
from mvtrace.semconv import EVENT_COMPONENT, EVENT_COMPOSITE

SYSTEM = mvtrace.composite("half", mvtrace.model("writer", model_id="m-1"))
TOOLS = [{"type": "function", "function": {"name": "clock"}}]


def asked(*, temperature: float = 0.2, tools: list[dict[str, object]] | None = None) -> None:
    with (
        mvtrace.request(route="/ask", composite=SYSTEM),
        mvtrace.generation("say", model="m-1", tools=tools, sampling={"temperature": temperature}),
    ):
        pass


def slots(record: RequestRecord) -> set[str]:
    return {f"{part.kind}/{part.name}" for part in record.observed}


def test_the_rest_is_observed(captured: Captured) -> None:
    """
    The version is the declared one; tools, sampling and stack, of which it says nothing, are on the
    record, and their content is registered without a version of their own.
    """
    asked(tools=TOOLS)

    (record,) = captured.records
    assert (record.composite_version, record.composite_basis) == (SYSTEM.version, None)
    assert slots(record) >= {"tools//ask say", "sampling//ask say", "stack/default"}
    rest = [part for part in record.observed if part.kind != "model"]
    assert all(part.facts == {"is_declared_kind": False} for part in rest)
    events = [log.event_name for log in captured.sink.logs]
    registered = {
        attribute.value.string_value
        for log in captured.sink.logs
        if log.event_name == EVENT_COMPONENT
        for attribute in log.attributes
    }
    assert events.count(EVENT_COMPOSITE) == 1
    assert {part.digest for part in rest} <= registered


def test_a_change_of_the_rest_is_told(captured: Captured) -> None:
    """
    When something of the rest changes, the request that met it first says what; the version stays.
    """
    asked(tools=TOOLS)
    asked(tools=TOOLS)
    asked(tools=[{"type": "function", "function": {"name": "calendar"}}])
    asked(tools=[{"type": "function", "function": {"name": "calendar"}}])

    records = captured.records
    assert {record.composite_version for record in records} == {SYSTEM.version}
    told = [[(one.kind, one.name, one.what) for one in record.drift] for record in records]
    assert told == [[], [], [("tools", "/ask say", "changed")], []]


def test_what_is_declared_is_not_observed_twice(captured: Captured) -> None:
    """
    Of a kind that the composite has, only what a call names is met.
    """
    asked()

    (record,) = captured.records
    assert "model//ask say" not in slots(record)


def test_turned_off(captured: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    With MVTRACE_OBSERVE=false a composite is all there is to say.
    """
    off = dataclasses.replace(captured.tracing.config, observe=False)
    monkeypatch.setattr(captured.tracing, "config", off)

    asked(tools=TOOLS)

    (record,) = captured.records
    assert slots(record) == set()
