"""Fixtures for every test that captures: a real server for deliveries, and tracing that uses it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from captured import Captured, global_provider
from opentelemetry.sdk.trace import TracerProvider
from sink import Sink

import mvtrace
from mvtrace import ids
from mvtrace.capture.pipeline import Tracing
from snapshots import Snapshots


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the one option that writes the expected outputs anew."""
    parser.addoption(
        "--write-snapshots", action="store_true", help="write tests/snapshots anew, then compare"
    )


@pytest.fixture(autouse=True)
def clock_of_ids() -> Iterator[None]:
    """Ids never go back within a process: one made for another century ends with its test."""
    yield
    if ids._last_ms > time.time_ns() // 1_000_000 + 60_000:
        ids._last_ms = 0


@pytest.fixture
def snapshots(request: pytest.FixtureRequest) -> Snapshots:
    """Expected outputs, as files."""
    return Snapshots(writes=bool(request.config.getoption("--write-snapshots")))


@pytest.fixture
def sink() -> Iterator[Sink]:
    """A loopback HTTP server that collects OTLP deliveries and decodes them."""
    with Sink() as server:
        yield server


@pytest.fixture
def tracing(sink: Sink, tmp_path: Path) -> Iterator[Tracing]:
    """The process-wide tracing, configured to deliver to the sink."""
    made = mvtrace.configure(
        service="shop", environment="test", url=sink.url, spool_dir=tmp_path / "spool"
    )
    yield made
    made.shutdown()


@pytest.fixture
def captured(tracing: Tracing, sink: Sink) -> Captured:
    """What was captured and delivered."""
    return Captured(tracing, sink)


@pytest.fixture
def provider() -> Iterator[TracerProvider]:
    """A real SDK provider as the global one, for the length of a test."""
    made = TracerProvider(shutdown_on_exit=False)
    with global_provider(made):
        yield made
