"""A provider to ask, and libraries that are observed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from openai_server import Server, serving

import mvtrace


@pytest.fixture(scope="module")
def running_provider() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def provider_server(running_provider: Server) -> Server:
    """A server of the protocol, that was asked nothing yet."""
    running_provider.asked.clear()
    running_provider.failures.clear()
    return running_provider


@pytest.fixture
def instrumented() -> Iterator[None]:
    """For the length of a test."""
    mvtrace.instrument()
    yield
    mvtrace.uninstrument()
