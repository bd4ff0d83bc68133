"""Everything one process captures with: tracer, stamping, spool and delivery, behind one class.

In: a TracingConfig, then records, spans and composites from requests. Out: OTLP at the collector.
``configure`` makes the one the process uses; without it the environment does, at the first use.
Nothing here raises into a request, blocks it on I/O, or keeps memory without a bound.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from collections.abc import Sequence
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider, sampling
from opentelemetry.trace import NoOpTracer, Tracer

from mvtrace import otlp, semconv
from mvtrace.capture.context import Exchange
from mvtrace.capture.counts import Counts
from mvtrace.capture.encoder import Item, Registrable
from mvtrace.capture.exporter import Shipper
from mvtrace.capture.guard import BREAKER, fail_open
from mvtrace.capture.keys import DigestKey, load_in_time
from mvtrace.capture.lean import LeanTracer
from mvtrace.capture.numbers import COUNTED_AS, Facts, Numbers
from mvtrace.capture.observing import ObservedSystem
from mvtrace.capture.privacy import Held, Privacy
from mvtrace.capture.processor import AttributionProcessor
from mvtrace.capture.releases import Releases
from mvtrace.capture.seam import kept_spans
from mvtrace.capture.spool import Spool
from mvtrace.capture.writer import Budget, SpoolWriter
from mvtrace.config import TracingConfig
from mvtrace.digest import keyed_digest
from mvtrace.ids import new_request_id
from mvtrace.otlp import FinishedSpan, LogEvent
from mvtrace.records import RequestRecord

DEFAULT_FLUSH_S: Final = 10.0
SPOOLING_S: Final = 1.0
"""What an exiting process takes to write its spool, even without any grace for delivery."""
_SILENT: Final = NoOpTracer()


class Tracing:
    """What a process captures with; thread-safe, and whole again in the child of a fork."""

    def __init__(self, config: TracingConfig) -> None:
        self.config = config
        self._counts = Counts()
        self._digest_key: DigestKey | None = None
        self.privacy = Privacy.of(config, self.keyed_digest)
        """How content leaves the process; None in the mode ``digest``: none does."""
        self._processor = AttributionProcessor(self.emit_spans, self.flush, self._counts)
        self._attached: object = None
        """The global provider as last seen."""
        self._tracer: Tracer | None = None
        self._private: TracerProvider | None = None
        self._begin()
        _live.add(self)

    def _begin(self) -> None:
        """Become a producer of its own: at the start, and again in the child of a fork."""
        config = self.config
        self.producer_id = new_request_id()
        """A UUIDv7: it tells when the producer began, so where its records can be."""
        self._registered: set[str] = set()
        self._observed_system: ObservedSystem | None = None
        self._releases: Releases | None = None
        self._lock = threading.Lock()
        producer_id = self.producer_id

        def resource() -> bytes:
            return otlp.encode_resource(config.resource(producer_id))

        facts = Facts(producer_id, config.service, config.environment)
        self._numbers = Numbers(facts, resource)
        self._counts.on_lost_records = self._lost_records
        self._spool = Spool(
            config.spool_dir, producer_id, resource, owned=lambda _: self._keep_numbers()
        )
        self._shipper = Shipper(config, self._spool, self._counts, self._numbers)
        self._writer = SpoolWriter(
            self._spool,
            Budget(config.spool_dir, config.spool_max_bytes, config.spool_min_free_bytes),
            self._counts,
            spooled=self._spooled,
            max_bytes=config.queue_max_bytes,
        )
        self._is_closed = config.disabled

    @property
    def digest_key_id(self) -> str:
        """Which key the keyed digests of this process are made with."""
        return self._key().key_id

    @property
    def observed_system(self) -> ObservedSystem | None:
        """What makes versions of what requests meet; None where the configuration says so."""
        if self._observed_system is None and self.config.observe and not self._is_closed:
            with self._lock:
                if self._observed_system is None:
                    self._observed_system = ObservedSystem(self.config)
        return self._observed_system

    @property
    def releases(self) -> Releases:
        """Which releases first answered for the models that a composite declares."""
        if self._releases is None:
            config = self.config
            self._releases = Releases(config.spool_dir, config.service, config.environment)
        return self._releases

    @property
    def tracer(self) -> Tracer:
        """A tracer of the application's SDK provider where one is set, else of a private one."""
        if self._is_closed:
            return _SILENT
        self.attach()
        if self._tracer is None:
            self._tracer = self._own_tracer()
        return self._tracer

    def _own_tracer(self) -> Tracer:
        """Return a tracer for a process whose application has set no SDK up."""
        if self.config.set_global or "OTEL_TRACES_SAMPLER" in os.environ:
            return self._private_provider().get_tracer(semconv.SCOPE_NAME)
        return LeanTracer(self.emit_spans)

    @fail_open
    def attach(self) -> None:
        """Join the application's tracer provider if a new one was set; cheap, never sets one."""
        if self._attached is not None and getattr(trace, "_TRACER_PROVIDER", trace) is None:
            return  # still none: asking for it looks into the environment each time
        provider = trace.get_tracer_provider()
        if provider is self._attached or self._is_closed:
            return
        self._attached = provider
        if hasattr(provider, "add_span_processor"):
            if provider is not self._private:
                _join(provider, self._processor)
            self._tracer = provider.get_tracer(semconv.SCOPE_NAME)
        elif self.config.set_global:
            self._tracer = None
            trace.set_tracer_provider(self._private_provider())
            self._attached = self._private

    def adopt_span(self, span: Any, exchange: Exchange) -> None:
        """Count *span*, started before the request was known, as one of *exchange*."""
        if not self._is_closed:
            self._processor.adopt(span, exchange)

    def next_sequence(self) -> int:
        """Return the running number of a record, from 1; take it when the request starts.

        It is kept where a kill of the process does not lose it: each number is accounted for.
        """
        number = self._numbers.take()
        if number == 1 and not self._is_closed:
            self._writer.prepare()
        return number

    def skip_sequence(self) -> None:
        """Take the number of a request that is not captured."""
        self._numbers.lose("not_captured", (self.next_sequence(),))

    def register(self, composite: Registrable) -> None:
        """Send what *composite* is made of, once a process; again if it could not be spooled."""
        version = composite.version
        if version in self._registered or self._is_closed:
            return
        with self._lock:
            if version in self._registered:
                return
            self._registered.add(version)
        item = Item(
            composite=composite,
            register_content=self.config.register_content,
            lost=lambda: self._registered.discard(version),
        )
        if not self._writer.put(item):
            self._registered.discard(version)

    def emit_record(self, record: RequestRecord) -> None:
        """Queue *record* for the spool."""
        if self._is_closed:
            return
        self._counts.add("captured_records")
        self._writer.put(Item(record=record))

    def emit_event(self, event: LogEvent) -> None:
        """Queue an event of its own for the spool."""
        if self._is_closed:
            return
        self._counts.add("captured_events")
        self._writer.put(Item(event=event))

    def emit_spans(self, spans: Sequence[FinishedSpan]) -> None:
        """Queue *spans* for the spool, all of them."""
        if self._is_closed or not spans:
            return
        self._counts.add("captured_spans", len(spans))
        self._writer.put(Item(spans=spans, privacy=self.privacy))

    def emit_content(self, held: Held) -> None:
        """Queue content of a request, in a mode where it leaves the process."""
        if not self._is_closed and self.privacy is not None:
            self._writer.put(Item(privacy=self.privacy, held=held))

    def emit_request(self, record: RequestRecord, spans: Sequence[FinishedSpan]) -> None:
        """Queue the finished *record* and those of its *spans* that the configuration keeps."""
        if self._is_closed:
            return
        config = self.config
        kept = kept_spans(spans, record, ratio=config.span_ratio, slow_ms=config.slow_ms)
        self._counts.add("captured_records")
        self._counts.add("captured_spans", len(spans))
        if len(kept) < len(spans):
            self._counts.add("spans_dropped_by_ratio", len(spans) - len(kept))
        self._writer.put(Item(record=record, spans=kept, privacy=self.privacy))

    def keyed_digest(self, text: str) -> str:
        """Return the keyed digest of *text*: comparable under the same key, not reversible."""
        key = self._key()
        return keyed_digest(key.key, key.key_id, text)

    @property
    def is_closed(self) -> bool:
        """Whether it was shut down, or never captured anything."""
        return self._is_closed

    @property
    def digest_key_bytes(self) -> bytes:
        """The key itself, for who digests more than text; it never leaves the process."""
        return self._key().key

    def flush(self, timeout_s: float = DEFAULT_FLUSH_S) -> bool:
        """Deliver what was emitted so far; False if the collector does not have all of it yet.

        What remains stays in the spool and is delivered later, by this process or a next one.
        """
        return bool(self._flush(timeout_s))

    @fail_open
    def _flush(self, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        if not self._writer.drain(timeout_s):
            return False
        return bool(self._shipper.flush(max(deadline - time.monotonic(), 0.0)))

    @fail_open
    def hand_over(self) -> None:
        """Spool everything and deliver within the configured grace: the process may end now."""
        grace_s = self.config.exit_grace_s
        deadline = time.monotonic() + grace_s
        if self._writer.drain(max(grace_s, SPOOLING_S)):
            self._shipper.flush(max(deadline - time.monotonic(), 0.0), is_patient=False)

    @fail_open
    def shutdown(self) -> None:
        """Spool everything, deliver within the configured grace and stop."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
        self._processor.is_closed = True
        grace_s = self.config.exit_grace_s
        deadline = time.monotonic() + grace_s
        is_spooled = self._writer.stop(max(grace_s, SPOOLING_S))
        self._numbers.close(is_written=bool(is_spooled))
        if is_spooled:
            self._shipper.flush(max(deadline - time.monotonic(), 0.0), is_patient=False)
        self._shipper.leave(max(deadline - time.monotonic(), 0.0))
        self._shipper.stop()
        if self._writer.has_ended:  # a disk may still hold it up: in files that nobody else may get
            self._spool.close()
            self._numbers.release()

    def stats(self) -> dict[str, int]:
        """Return the counters of every stop, and how much is under way."""
        return {
            **self._counts.values(),
            "capture_errors": BREAKER.errors,
            "breaker_is_open": int(BREAKER.is_open),
            "breaker_openings": BREAKER.openings,
            "requests_not_captured": BREAKER.not_captured,
            "queue_length": self._writer.queue_length,
            "spool_undelivered_bytes": self._shipper.undelivered_bytes(),
            "shipping_lag_ms": round(1000 * self._shipper.lag_s()),
        }

    def _key(self) -> DigestKey:
        key = self._digest_key
        if key is None:
            with self._lock:
                key = self._digest_key = self._digest_key or load_in_time(self.config)
        return key

    def _private_provider(self) -> TracerProvider:
        with self._lock:
            if self._private is None:
                # Sampling is the seam's: what a caller's flags say must not erase spans here.
                configured = "OTEL_TRACES_SAMPLER" in os.environ
                provider = TracerProvider(
                    sampler=None if configured else sampling.ALWAYS_ON,
                    resource=Resource(self.config.resource(self.producer_id)),
                    shutdown_on_exit=False,
                )
                provider.add_span_processor(self._processor)
                self._private = provider
            return self._private

    def _spooled(self) -> None:
        """Note that something was written to the spool."""
        self._numbers.show_life()
        if not self._numbers.is_kept:
            self._keep_numbers()
        self._shipper.wake()

    def _keep_numbers(self) -> None:
        if not self._numbers.keep(self._spool.directory):
            self._counts.add("numbers_not_kept")

    def _lost_records(self, what: str, numbers: Sequence[int]) -> None:
        self._numbers.lose(COUNTED_AS[what], numbers)

    def after_fork(self) -> None:
        """Start anew in the child: the parent keeps its queue, its spool and its threads."""
        self._spool.close()
        self._shipper.abandon()
        self._numbers.abandon()
        was_closed = self._is_closed
        self._counts.forget()
        self._processor.forget()
        self._begin()
        self._is_closed = was_closed


_live: weakref.WeakSet[Tracing] = weakref.WeakSet()
_joined: weakref.WeakKeyDictionary[object, AttributionProcessor] = weakref.WeakKeyDictionary()
_current: Tracing | None = None
_current_lock = threading.Lock()


def configure(**options: Any) -> Tracing:
    """Make the tracing of this process from the environment and *options*, which win.

    Another one that was in use is flushed and shut down first.

    Raises:
        ConfigurationError: an option or variable that cannot be.
    """
    global _current
    config = TracingConfig.from_environ(os.environ, **options)
    with _current_lock:
        before, _current = _current, Tracing(config)
        made = _current
    if before is not None:
        before.shutdown()
    _reset_breaker(config)
    made.attach()
    return made


def current_tracing() -> Tracing:
    """Return the tracing of this process; the first use makes it from the environment."""
    global _current  # noqa: PLW0603 (one a process)
    if _current is None:
        with _current_lock:
            if _current is None:
                config = TracingConfig.from_environ(os.environ)
                _current = Tracing(config)
                _reset_breaker(config)
    return _current


def skip_request() -> None:
    """Take the number of a request that is not captured, so that a gap tells of it."""
    BREAKER.not_captured += 1
    if _current is not None:
        _current.skip_sequence()


def _reset_breaker(config: TracingConfig) -> None:
    BREAKER.reset(
        errors=config.breaker_errors,
        window_s=config.breaker_window_s,
        pause_s=config.breaker_pause_s,
    )


def _join(provider: Any, processor: AttributionProcessor) -> None:
    """Add *processor* to *provider*, unless one of ours that is in use is there already."""
    present = _joined.get(provider)
    if present is None or present.is_closed:
        _joined[provider] = processor
        provider.add_span_processor(processor)


@fail_open
def _after_fork_in_child() -> None:
    global _current_lock  # noqa: PLW0603 (the parent may have held it)
    _current_lock = threading.Lock()
    for tracing in list(_live):
        tracing.after_fork()


@fail_open
def _at_exit() -> None:
    for tracing in list(_live):
        tracing.shutdown()


os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(_at_exit)
