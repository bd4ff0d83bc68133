"""What a running collector owns: store, inbox, loader and its thread, counters.

Comes in: a CollectorConfig. Goes out: the parts, open between ``open`` and ``close``. Opened in the
process that serves, never before a fork. Routes get the state and read its parts when asked.
"""

from __future__ import annotations

import hmac
import logging
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Final

from starlette.requests import Request

from mvtrace.errors import UnavailableError
from mvtrace.store.migrations import migrate
from mvtrace.store.opening import open_store
from mvtrace.store.store import Store
from mvtrace_collector import health
from mvtrace_collector.access import project_of
from mvtrace_collector.access_log import AccessLog
from mvtrace_collector.comparisons import Comparisons
from mvtrace_collector.config import CollectorConfig
from mvtrace_collector.door import Door
from mvtrace_collector.drift_watch import DriftWatch
from mvtrace_collector.erasure import Eraser, opened_keys
from mvtrace_collector.erasure_watch import ErasureWatch
from mvtrace_collector.gap_book import GapBook
from mvtrace_collector.gaps import GapWatch
from mvtrace_collector.inbox import Inbox
from mvtrace_collector.keyring import Keyring
from mvtrace_collector.keys import ANYBODY, STATIC, Identity
from mvtrace_collector.loader import Loader
from mvtrace_collector.looks import Found, Looker, Wanted
from mvtrace_collector.metrics import Metrics, Numbers
from mvtrace_collector.observer import Observer
from mvtrace_collector.payload_keys import KeyStore
from mvtrace_collector.quality_watch import QualityWatch
from mvtrace_collector.receiver import Gate
from mvtrace_collector.recovery import PartsBook, recover
from mvtrace_collector.rollout_metrics import families
from mvtrace_collector.rollout_watch import RolloutWatch
from mvtrace_collector.score_rates import ScoreRates

_LOGGER: Final = logging.getLogger(__name__)


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
        self._observer: Observer | None = None
        self._keyring: Keyring | None = None
        self._payload_keys: KeyStore | None = None
        self._access_log: AccessLog | None = None
        self.started_at = 0.0
        """Unix time in seconds."""

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
    def observer(self) -> Observer:
        """What the collector sees of itself; a thread of its own."""
        if self._observer is None:
            raise NotOpenError
        return self._observer

    @property
    def open_gaps(self) -> GapBook:
        """The open gaps of all projects, by heart."""
        return self._gaps.book

    @property
    def drift(self) -> DriftWatch:
        """Sweeps for drift; a thread of its own."""
        if self._parts is None:
            raise NotOpenError
        return self._drift

    @property
    def comparisons(self) -> Comparisons[Wanted, Found]:
        """Compares versions for gates; a thread of its own."""
        if self._parts is None:
            raise NotOpenError
        return self._comparisons

    @property
    def quality(self) -> QualityWatch:
        """Keeps the roll-up; a thread of its own."""
        if self._parts is None:
            raise NotOpenError
        return self._quality

    @property
    def is_loading(self) -> bool:
        """Whether the loader's thread lives."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def keyring(self) -> Keyring:
        """The keys of the store."""
        if self._keyring is None:
            raise NotOpenError
        return self._keyring

    @property
    def payload_keys(self) -> KeyStore:
        """The wrapped data keys of encrypted content."""
        if self._payload_keys is None:
            raise NotOpenError
        return self._payload_keys

    @property
    def access_log(self) -> AccessLog:
        """Who asked for what; a journal and a thread of its own."""
        if self._access_log is None:
            raise NotOpenError
        return self._access_log

    @property
    def eraser(self) -> Eraser:
        """Erases what was captured about a subject."""
        return Eraser(self.store, self.payload_keys, self.loader.exclusive)

    def identify(self, token: str | None) -> Identity | None:
        """Return who shows *token*; anybody where this collector has no key at all."""
        static, ring = self.config.api_key, self._keyring
        if static is None and ring is not None and ring.is_empty:
            return ANYBODY
        if token is None:
            return None
        if static is not None and hmac.compare_digest(token.encode(), static.encode()):
            return STATIC
        return None if ring is None else ring.identity(token)

    def project_of(self, request: Request) -> str:
        """Return the project a read is about; see ``access.project_of``."""
        return project_of(request)

    def open(self) -> None:
        """Open the store, bring its schema up to date, open the inbox, start loading; idempotent.

        What was opened is closed again where a later step fails.
        """
        if self._parts is not None:
            return
        with ExitStack() as opened:
            store = open_store(self.config.store, owner_url=self.config.url)
            opened.callback(store.close)
            applied = migrate(store)
            keyring = Keyring(store)
            inbox = Inbox(self.config.inbox_dir, self.config.inbox)
            opened.callback(inbox.close)
            payload_keys = opened_keys(self.config.keys_dir, store)
            opened.callback(payload_keys.close)
            self._guard_door(keyring)
            access_log = self._opened_access_log(opened)
            recover(store, inbox)
            opened.pop_all()  # from here on they are this state's to close
        if applied:
            _LOGGER.info("Migrations applied: %s", ", ".join(applied))
        gate = self._made_gate(inbox, payload_keys, access_log)
        self._gaps = GapWatch(store)
        self._drift = DriftWatch(store, inbox, interval_s=self.config.drift_interval_s)
        self._quality = QualityWatch(store, inbox, interval_s=self.config.quality_interval_s)
        self._made_comparisons()
        loader = self._made_loader(store, inbox)
        self._parts = (store, inbox, loader, gate)
        self.metrics.watch(inbox.lag, self._numbers)
        self.metrics.show(lambda: families(self._rollouts.rollouts, self._comparisons.counts))
        self._keyring, self._payload_keys = keyring, payload_keys
        self._access_log = access_log
        self._start(loader, keyring)
        access_log.start(store)

    def _start(self, loader: Loader, keyring: Keyring) -> None:
        """Begin everything that has a thread of its own."""
        self._stop.clear()
        self._thread = threading.Thread(
            target=loader.run, args=(self._stop,), name="loader", daemon=True
        )
        self._observer = Observer(self)
        self.started_at = time.time()
        self._keys_thread = threading.Thread(
            target=keyring.keep_fresh, args=(self._stop,), name="keys", daemon=True
        )
        watch = ErasureWatch(lambda: self.eraser)
        self._erasures_thread = threading.Thread(
            target=watch.run, args=(self._stop,), name="erasures", daemon=True
        )
        threads = (self._keys_thread, self._erasures_thread, self._thread)
        for part in (
            *threads,
            self._gaps,
            self._drift,
            self._quality,
            self._rollouts,
            self._observer,
        ):
            part.start()

    def _made_comparisons(self) -> None:
        self._looker = Looker(self)
        self._comparisons = Comparisons(
            self._looker.look,
            project_of=lambda wanted: wanted.asked.project,
            size_of=lambda found: found.size,
            share=self.config.compare_share,
        )
        self._rollouts = RolloutWatch(self, interval_s=self.config.rollout_interval_s)

    def _guard_door(self, keyring: Keyring) -> None:
        """Refuse to be open where there were keys; from now on note it once there are."""
        door = Door(self.config.keys_dir)
        if self.config.api_key is not None:
            door.note()
        elif keyring.is_empty and not self.config.is_open:
            door.refuse_open(self.config.shown_store)
        keyring.noted = door.note
        keyring.note()

    def _opened_access_log(self, opened: ExitStack) -> AccessLog:
        log = AccessLog(self.config.access_dir, self.config.keys_dir, self.config.inbox)
        opened.callback(log.close)
        return log

    def _made_gate(self, inbox: Inbox, payload_keys: KeyStore, access_log: AccessLog) -> Gate:
        gate = Gate(inbox, self.config.limits, self.metrics)
        gate.keep_keys = payload_keys.keep
        gate.access_log, gate.client_address = access_log, self.config.access_client
        gate.score_rates = ScoreRates(
            address_a_minute=self.config.score_per_minute,
            key_a_minute=self.config.score_key_per_minute,
        )
        return gate

    def _made_loader(self, store: Store, inbox: Inbox) -> Loader:
        loader = Loader(store, inbox)
        loader.on_stored = self._stored
        loader.on_scored = self._quality.scored
        loader.payload_days = self.config.payload_days
        loader.digest_key = self.config.digest_key or ""
        loader.book = PartsBook(store, inbox)
        loader.memory_bytes = self.config.loader_memory_bytes
        return loader

    def _stored(self, numbers: Sequence[tuple[Any, ...]], spoken: Sequence[str]) -> None:
        self._gaps.stored(numbers, spoken)
        self._drift.stored(numbers)
        self._quality.stored(numbers)

    def close(self) -> None:
        """Refuse, let the loader finish what it is at, commit, release; idempotent."""
        if self._parts is None:
            return
        store, inbox, _loader, gate = self._parts
        gate.is_open = False
        self._stop.set()
        self.observer.stop()
        if self._thread is not None:
            self._thread.join(self.config.shutdown_seconds)
        self._gaps.stop()
        self._drift.stop()
        self._quality.stop()
        self._comparisons.close()
        self._rollouts.stop()
        self._looker.close()
        self._keys_thread.join(self.config.shutdown_seconds)
        self._erasures_thread.join(self.config.shutdown_seconds)
        is_logging = not self.access_log.close(self.config.shutdown_seconds)
        if self.is_loading or is_logging:
            _LOGGER.error("The loader did not stop; what it was at is loaded again at the start")
            inbox.close()
        else:
            inbox.close()
            store.close()
        self.payload_keys.close()
        self._parts = self._keyring = self._payload_keys = self._access_log = None

    def _open_parts(self) -> tuple[Store, Inbox, Loader, Gate]:
        if self._parts is None:
            raise NotOpenError
        return self._parts

    def _numbers(self) -> Numbers:
        stats = self.loader.stats
        seen = self.observer.sighting()
        lost = self.open_gaps.sums()
        accesses = self.access_log.lag()
        drift = self._drift.numbers
        return Numbers(
            rows=stats.rows,
            segments=stats.segments,
            load_seconds=stats.seconds,
            errors=stats.errors,
            replays=stats.replays,
            unloadable=stats.unloadable,
            is_ready=self.observer.is_well,
            started_at=self.started_at,
            in_flight_bytes=self.gate.budget.used_bytes,
            free_bytes=health.free_bytes(self),
            quarantine=seen.quarantine,
            open_gaps={reason: gaps for reason, (gaps, _) in lost.items()},
            missing={reason: missing for reason, (_, missing) in lost.items()},
            detached=seen.detached,
            open_drift=drift.open,
            drift_requests=drift.requests,
            drift_swept_at=drift.swept_at,
            drift_failed=drift.failed,
            quality_swept_at=self._quality.numbers.swept_at,
            quality_behind_s=self._quality.numbers.behind_s,
            quality_failed=self._quality.numbers.failed,
            unstored_accesses=accesses.accepted_seq - accesses.stored_seq,
        )
