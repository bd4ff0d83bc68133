"""The real OpenFeature SDK: what a flag evaluates to is unchanged, and on the record."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version

import pytest
from captured import Captured
from captured_table import record as tell

import mvtrace
from mvtrace.integrations import openfeature as integration

pytest.importorskip("openfeature.api")

from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

FLAGS = {
    "model": InMemoryFlag("large", {"large": "gpt-large", "small": "gpt-small"}),
    "rerank": InMemoryFlag("on", {"on": True, "off": False}),
    "settings": InMemoryFlag("a", {"a": {"secret": 1}}),
}


@pytest.fixture(autouse=True)
def provider() -> Iterator[None]:
    """A provider with three flags, observed."""
    api.clear_hooks()
    mvtrace.uninstrument()
    mvtrace.instrument()
    api.set_provider(InMemoryProvider(FLAGS))
    yield
    mvtrace.uninstrument()
    api.clear_providers()
    api.clear_hooks()


def test_flags_that_were_evaluated(captured: Captured) -> None:
    """
    Each flag is on the record with variant, reason, value and provider, and an event of the span;
    whom it was evaluated for is nowhere.
    """
    client = api.get_client()
    somebody = EvaluationContext(targeting_key="somebody@example.org")
    with mvtrace.request(route="/ask"):
        assert client.get_string_value("model", "m", somebody) == "gpt-large"
        assert asyncio.run(client.get_boolean_value_async("rerank", False)) is True
        assert client.get_object_value("settings", {}) == {"secret": 1}
        assert client.get_float_value("missing", 0.5) == 0.5

    record = captured.record
    facts = record.annotations or {}
    provided = {"provider": "In-Memory Provider", "reason": "static"}
    assert facts["feature_flag.model"] == {"variant": "large", "value": "gpt-large", **provided}
    assert facts["feature_flag.rerank"] == {"variant": "on", "value": True, **provided}
    assert facts["feature_flag.settings"] == {"variant": "a", **provided}
    assert facts["feature_flag.missing"]["error"] == "flag_not_found"
    [span] = captured.sink.spans
    events = [
        {one.key: one.value.string_value or one.value.bool_value for one in event.attributes}
        for event in span.events
        if event.name == "feature_flag.evaluation"
    ]
    assert events[0] == {
        "feature_flag.key": "model",
        "feature_flag.provider.name": "In-Memory Provider",
        "feature_flag.result.variant": "large",
        "feature_flag.result.reason": "static",
        "feature_flag.result.value": "gpt-large",
    }
    assert len(events) == 4
    assert b"somebody" not in record.to_bytes() + span.SerializeToString()
    tell(
        "openfeature-sdk",
        version("openfeature-sdk"),
        ["flags that were evaluated: variant, reason, value, provider"],
    )


def test_no_flag_makes_a_version(captured: Captured) -> None:
    """
    Requests that differ in a flag alone are one version.
    """
    client = api.get_client()
    for flag in ("model", "rerank"):
        with mvtrace.request(route="/ask"):
            with mvtrace.generation("answer", model="m") as call:
                call.response(model="m-1")
            client.get_string_details(flag, "m")

    first, second = captured.records
    assert first.composite_version == second.composite_version is not None


def test_outside_of_requests() -> None:
    """
    Outside of any request a flag is what it is.
    """
    assert api.get_client().get_string_value("model", "m") == "gpt-large"


def boom(*_: object, **__: object) -> None:
    raise RuntimeError("a bug of ours")


@pytest.mark.parametrize("name", ["note", "_told", "annotate"])
def test_no_failure_of_ours_reaches_the_library(
    captured: Captured, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """
    Whichever step of ours fails, the flag has its value and not the default.
    """
    monkeypatch.setattr(integration, name, boom)
    with mvtrace.request(route="/ask"):
        assert api.get_client().get_string_value("model", "m") == "gpt-large"

    assert captured.record.outcome == "ok"


def test_uninstrument(captured: Captured) -> None:
    """
    Turned off, nothing is recorded; turned on again, once, also where the application has cleared
    all hooks meanwhile.
    """
    client = api.get_client()
    for _ in range(2):
        mvtrace.uninstrument()
        with mvtrace.request(route="/ask"):
            client.get_string_value("model", "m")
        api.clear_hooks()
        mvtrace.instrument()
        with mvtrace.request(route="/ask"):
            client.get_string_value("model", "m")

    assert [bool(record.annotations) for record in captured.records] == [False, True] * 2
    assert len(api.get_hooks()) == 1


def test_nothing_is_imported_for_it() -> None:
    """
    Until the application imports the SDK, it is not imported; then it is observed.
    """
    program = """
import sys, mvtrace
assert "openfeature" in mvtrace.instrument() and "openfeature.api" not in sys.modules
from openfeature import api
assert len(api.get_hooks()) == 1
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
