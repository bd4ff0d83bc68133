"""A proxy in front of a server of bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from captured import Captured
from raw_http import RawServer, running

from mvtrace.proxy.server import bound, settings, traced
from mvtrace.proxy.upstream import Upstream


@contextmanager
def proxying(url: str, timeout_s: float = 20.0) -> Iterator[int]:
    """Run a proxy of *url*; yields its port."""
    app = traced(Upstream.parse(url), timeout_s=timeout_s)
    with bound("127.0.0.1:0") as listener, running(settings(app), listener) as port:
        yield port


@pytest.fixture
def upstream() -> Iterator[RawServer]:
    """The server behind; a test says what it does."""
    with RawServer() as server:
        yield server


@pytest.fixture
def proxy(captured: Captured, upstream: RawServer) -> Iterator[int]:
    """The port of a proxy in front of it."""
    with proxying(upstream.url) as port:
        yield port


@pytest.fixture
def start_proxy(captured: Captured) -> Iterator[Callable[..., int]]:
    """Start further proxies: URL and timeout in, port out."""
    with ExitStack() as stack:
        yield lambda *arguments: stack.enter_context(proxying(*arguments))
