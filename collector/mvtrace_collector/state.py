"""What a running collector owns: store, inbox, loader and its thread, counters.

Comes in: a CollectorConfig. Goes out: the parts, open between ``open`` and ``close``. Opened in the
process that serves, never before a fork. Routes get the state and read its parts when asked.
"""

from __future__ import annotations

import logging
import threading
from typing import Final

from starlette.requests import Request

from mvtrace.errors import ConfigurationError, UnavailableError
from mvtrace.store.migrations import migrate
from mvtrace.store.opening import open_store
from mvtrace.store.store import Store
from mvtrace_collector.config import CollectorConfig
from mvtrace_collector.inbox import Inbox
from mvtrace_collector.intake import DEFAULT_PROJECT, PROJECT
from mvtrace_collector.loader import Loader
from mvtrace_collector.metrics import LoaderNumbers, Metrics
from mvtrace_collector.receiver import Gate

_LOGGER: Final = logging.getLogger(__name__)
PROJECT_HEADER: Final = "x-mvtrace-project"


class NotOpenError(UnavailableError):
    """The collector is not open, or closed again."""

    code = "not-open"

    def __init__(self) -> None:
        super().__init__("The collector is not open; its parts live between start and stop.")


class CollectorState:
    """The parts of one collector."""

    def __init__(self, config: CollectorConfig) -> None:
        self.config = config
        self.metrics = Metrics()
        self._parts: tuple[Store, Inbox, Loader, Gate] | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def store(self) -> Store:
        """The store; reads from any thread."""
        return self._open_parts()[0]

    @property
    def inbox(self) -> Inbox:
        """Where exports lie until they are stored."""
        return self._open_parts()[1]

    @property
    def loader(self) -> Loader:
        """Runs in a thread of its own."""
        return self._open_parts()[2]

    @property
    def gate(self) -> Gate:
        """What the receivers share."""
        return self._open_parts()[3]

    @property
    def is_loading(self) -> bool:
        """Whether the loader's thread lives."""
        return self._thread is not None and self._thread.is_alive()

    def project_of(self, request: Request) -> str:
        """Return the project a read is about: header or parameter, else ``default``."""
        name = request.headers.get(PROJECT_HEADER) or request.query_params.get("project")
        if not name:
            return DEFAULT_PROJECT
        if not PROJECT.fullmatch(name):
            raise ConfigurationError(
                "project", name[:80], "a project is a-z, 0-9, _ and -, at most 63 characters"
            )
        return name

    def open(self) -> None:
        """Open the store, bring its schema up to date, open the inbox, start loading; idempotent.

        What was opened is closed again where a later step fails.
        """
        if self._parts is not None:
            return
        store = open_store(self.config.store, owner_url=self.config.url)
        try:
            applied = migrate(store)
            inbox = Inbox(self.config.inbox_dir, self.config.inbox)
        except BaseException:
            store.close()
            raise
        if applied:
            _LOGGER.info("Migrations applied: %s", ", ".join(applied))
        gate = Gate(inbox, self.config.limits, self.metrics)
        loader = Loader(store, inbox)
        self._parts = (store, inbox, loader, gate)
        self._stop.clear()
        self._thread = threading.Thread(
            target=loader.run, args=(self._stop,), name="loader", daemon=True
        )
        self.metrics.watch(inbox.lag, self._numbers)
        self._thread.start()

    def close(self) -> None:
        """Refuse, let the loader finish what it is at, commit, release; idempotent."""
        if self._parts is None:
            return
        store, inbox, _loader, gate = self._parts
        gate.is_open = False
        self._stop.set()
        if self._thread is not None:
            self._thread.join(self.config.shutdown_seconds)
        if self.is_loading:
            _LOGGER.error("The loader did not stop; what it was at is loaded again at the start")
            inbox.close()
        else:
            inbox.close()
            store.close()
        self._parts = None

    def _open_parts(self) -> tuple[Store, Inbox, Loader, Gate]:
        if self._parts is None:
            raise NotOpenError
        return self._parts

    def _numbers(self) -> LoaderNumbers:
        stats = self.loader.stats
        return LoaderNumbers(stats.rows, stats.segments, stats.errors, stats.unloadable)
