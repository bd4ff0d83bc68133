"""A store, read directly (``--store DSN``): for when no collector runs.

In: a DSN and a question. Out: what a collector would have answered. The database client is imported
here, so a command that asks a collector never pays for it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mvtrace.cli.errors import ExtraMissingError
from mvtrace.explain.explainer import explain

try:
    from mvtrace.store.affected import Affects, parse_affected_filter
    from mvtrace.store.deployments import Deployments, parse_deployment_filter
    from mvtrace.store.drift import Drift, parse_drift_filter
    from mvtrace.store.filters import parse_filter, parse_gap_filter
    from mvtrace.store.migrations import migrate
    from mvtrace.store.opening import open_store
    from mvtrace.store.reader import Reader
    from mvtrace.store.statements import Statements
    from mvtrace.store.store import Store
except ImportError as error:
    raise ExtraMissingError("embedded", str(error)) from error


class DirectStore:
    """The store at *dsn*, read by this process."""

    def __init__(self, dsn: str, *, project: str | None = None) -> None:
        self._dsn = dsn
        self._project = project or "default"
        self._open: Store | None = None

    @contextmanager
    def opened(self) -> Iterator[DirectStore]:
        """Give the store for several questions: it is opened once for all statements of SQL."""
        with open_store(self._dsn, read_only=True) as self._open:
            yield self
        self._open = None

    def explanation(self, text: str, *, wait_s: float) -> dict[str, Any]:  # noqa: ARG002
        """Return the explanation of the request that *text* names; nothing is waited for."""
        with open_store(self._dsn, read_only=True) as store:
            found = Reader(store, self._project).read(text)
        return {**explain(found).to_dict(), "waited_s": 0.0}

    def requests(self, texts: Mapping[str, str]) -> dict[str, Any]:
        """Return the requests that a filter lets through."""
        wanted = parse_filter(texts, now_ms=time.time_ns() // 1_000_000)
        with open_store(self._dsn, read_only=True) as store:
            found = Reader(store, self._project).find(wanted)
        return {"requests": found, "limit": wanted.limit}

    def gaps(self, texts: Mapping[str, str]) -> dict[str, Any]:
        """Return the gaps that a filter lets through."""
        wanted = parse_gap_filter(texts, now_ms=time.time_ns() // 1_000_000)
        with open_store(self._dsn, read_only=True) as store:
            found = Reader(store, self._project).gaps.find(wanted)
        return {"gaps": found, "limit": wanted.limit}

    def drift(self, texts: Mapping[str, str]) -> dict[str, Any]:
        """Return the episodes of drift that a filter lets through, as far as they were swept."""
        wanted = parse_drift_filter(texts, now_ms=time.time_ns() // 1_000_000)
        with open_store(self._dsn, read_only=True) as store:
            found = Drift(Statements(store, self._project)).find(wanted)
        return {"drift": found, "limit": wanted.limit}

    def affected(self, texts: Mapping[str, str]) -> dict[str, Any]:
        """Return how many requests something affected."""
        wanted = parse_affected_filter(texts, now_ms=time.time_ns() // 1_000_000)
        with open_store(self._dsn, read_only=True) as store:
            reader = Reader(store, self._project)
            return Affects(Statements(store, self._project), reader).find(wanted)

    def deployments(self, texts: Mapping[str, str]) -> dict[str, Any]:
        """Return what served, and the decisions that a filter lets through."""
        wanted = parse_deployment_filter(texts, now_ms=time.time_ns() // 1_000_000)
        with open_store(self._dsn, read_only=True) as store:
            return Deployments(Statements(store, self._project)).find(wanted)

    def sql(
        self, statement: str, output: str, parameters: Mapping[str, Any] | None = None
    ) -> tuple[bytes, str]:
        """Return the result of *statement* in the format *output*."""
        if self._open is not None:
            return self._open.raw(statement, parameters, output), output
        with open_store(self._dsn, read_only=True) as store:
            return store.raw(statement, parameters, output), output


def migrate_store(dsn: str) -> list[str]:
    """Apply the migrations that the store at *dsn* lacks; return their names."""
    with open_store(dsn) as store:
        return migrate(store)
