"""Where a command reads from: a collector by default, a store directly where one is named.

In: ``--url``, ``--store`` and the environment. Out: something that explains, lists and queries.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from mvtrace.cli.errors import CommandLineError
from mvtrace.cli.remote import DEFAULT_URL, Collector


class Source(Protocol):
    """What answers a command's question."""

    def opened(self) -> AbstractContextManager[Source]: ...

    def explanation(self, text: str, *, wait_s: float) -> dict[str, Any]: ...

    def requests(self, texts: Mapping[str, str]) -> dict[str, Any]: ...

    def gaps(self, texts: Mapping[str, str]) -> dict[str, Any]: ...

    def drift(self, texts: Mapping[str, str]) -> dict[str, Any]: ...

    def affected(self, texts: Mapping[str, str]) -> dict[str, Any]: ...

    def deployments(self, texts: Mapping[str, str]) -> dict[str, Any]: ...

    def sql(
        self, statement: str, output: str, parameters: Mapping[str, Any] | None = None
    ) -> tuple[bytes, str]: ...


def collector_at(url: str | None, *, project: str | None = None) -> Collector:
    """Return the collector at *url*, else the one of MVTRACE_URL, else the one of this host."""
    key = os.environ.get("MVTRACE_API_KEY") or None
    return Collector(
        url or os.environ.get("MVTRACE_URL") or DEFAULT_URL, api_key=key, project=project
    )


def source_of(url: str | None, store: str | None) -> Source:
    """Return the collector at *url*, or the store at the DSN *store*."""
    if url and store:
        raise CommandLineError("--url and --store name two sources.", hint="Give one of them.")
    project = os.environ.get("MVTRACE_PROJECT") or None
    if store and not store.startswith(("http://", "https://")):
        from mvtrace.cli.direct import DirectStore  # noqa: PLC0415 (an extra, and slow to import)

        return DirectStore(store, project=project)
    chosen = url or store or os.environ.get("MVTRACE_URL") or DEFAULT_URL
    key = os.environ.get("MVTRACE_API_KEY") or None
    return Collector(chosen, api_key=key, project=project)


def migrated(dsn: str) -> list[str]:
    """Bring the tables of the store at *dsn* up to date; return the names of what was applied."""
    from mvtrace.cli.direct import migrate_store  # noqa: PLC0415 (an extra, and slow to import)

    return migrate_store(dsn)
