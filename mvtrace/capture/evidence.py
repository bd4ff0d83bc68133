"""What a request has told of itself so far: calls, decisions, snapshots, other ids, what differed.

In: what wrappers, integrations and the application report, from any thread. Out: the parts of a
``RequestRecord`` that grow while the request runs. Each list is bounded; what a bound kept out is
counted, and the count is on the record. Nothing here waits, and nothing here is on a span first.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from mvtrace import semconv
from mvtrace.capture import plain
from mvtrace.capture.declared import Pinned
from mvtrace.capture.pipeline import Tracing
from mvtrace.capture.privacy import MAX_HELD, Text, subject_digest
from mvtrace.records import (
    Alias,
    Call,
    CaptureReport,
    Drift,
    IndexSnapshot,
    ObservedComponent,
    RouterDecision,
)

MAX_CALLS: Final = 1000
MAX_FINDINGS: Final = 256
"""Drift and observed components of one request; further ones are counted as truncated."""
MAX_ALIASES: Final = 64
MAX_ALIAS: Final = 256
MAX_ANNOTATIONS: Final = 128
MAX_AMENDMENTS: Final = 100
"""How often work that outlives its request may add to the record; that there was more is said."""
STARTED: Final = 1
FINISHED: Final = 2
"""Revision of the record at the end; what is told later makes the next ones."""


class Evidence:
    """What was reported in one request."""

    annotations: dict[str, Any] | None = None
    subject: str | None = None
    """Digest of whom the request is about, where the application named somebody."""
    _texts: tuple[Text, ...] = ()
    _held = 0
    revision = FINISHED
    spans_dropped = 0
    calls_dropped = 0
    truncated = 0
    errors = 0

    def __init__(self, tracing: Tracing) -> None:
        self.tracing = tracing
        self.aliases: list[Alias] = []
        self._known_aliases: set[tuple[str, str]] = set()
        self.calls: list[Call] = []
        self.router_decisions: list[RouterDecision] = []
        self.index_snapshots: list[IndexSnapshot] = []
        self.observed: dict[tuple[str, str, str], ObservedComponent] = {}
        self.drift: dict[tuple[str, str, str, str | None], Drift] = {}

    def add_call(self, call: Call) -> bool:
        """Put *call* on the record; False where it holds too many already."""
        if len(self.calls) >= MAX_CALLS or self.revision >= FINISHED + MAX_AMENDMENTS:
            self.calls_dropped += 1
            return False
        self.calls.append(call)
        if call.response_id is not None:
            self.add_alias(semconv.ALIAS_RESPONSE_ID, call.response_id)
        return True

    def add_alias(self, kind: str, value: str) -> None:
        """Note another id of the request."""
        shown = plain.printable(value, MAX_ALIAS, self)
        key = plain.printable(kind, MAX_ALIAS, self), shown
        if shown and key not in self._known_aliases:
            if len(self.aliases) < MAX_ALIASES:
                self._known_aliases.add(key)
                self.aliases.append(Alias.seen(kind=key[0], value=shown))
            else:
                self.truncated += 1

    def annotate(self, facts: Mapping[str, Any]) -> None:
        """Put the application's own *facts* on the record; a later value replaces an earlier."""
        merged = {**(self.annotations or {}), **plain.facts(facts, self)}
        if len(merged) > MAX_ANNOTATIONS:
            self.truncated += 1
            merged = dict(list(merged.items())[:MAX_ANNOTATIONS])
        self.annotations = merged

    def name_subject(self, name: str) -> None:
        """Note whom the request is about: as a keyed digest, by which it can be erased."""
        self.subject = subject_digest(self.tracing.keyed_digest, name)
        self.add_alias(semconv.ALIAS_SUBJECT, self.subject)

    def hold(self, kind: str, text: str, digest: str) -> None:
        """Keep *text* until the request ends, in a mode where content leaves the process."""
        self._held += len(text)
        if self._held > MAX_HELD:
            self.truncated += 1
            return
        self._texts += (Text(kind, text, digest),)

    def add_observed(self, kind: str, name: str, digest: str, facts: Any = None) -> None:
        """Note that the slot *kind*/*name* held *digest* while the request ran."""
        key = (kind, name, digest)
        if key in self.observed:
            return
        if len(self.observed) >= MAX_FINDINGS:
            self.truncated += 1
            return
        self.observed[key] = ObservedComponent(
            kind=kind, name=name, digest=digest, facts=None if facts is None else dict(facts)
        )

    def add_drift(
        self, slot: Pinned, what: str, *, expected: str, observed: str, span_id: str | None
    ) -> None:
        """Note that *observed* was met where *expected* is declared; once a request."""
        key = (slot.kind, slot.name, what, observed)
        if key in self.drift:
            return
        if len(self.drift) >= MAX_FINDINGS:
            self.truncated += 1
            return
        self.drift[key] = Drift(
            kind=slot.kind,
            name=slot.name,
            what=what,
            expected=expected,
            observed=observed,
            span_id=span_id,
        )

    def report(self) -> CaptureReport:
        """Return what is said of the record's own completeness."""
        if not (self.spans_dropped or self.calls_dropped or self.truncated or self.errors):
            return _clean_report(self.tracing.digest_key_id, self.tracing.config.content)
        return CaptureReport(
            spans_dropped=self.spans_dropped,
            calls_dropped=self.calls_dropped,
            truncated=self.truncated,
            errors=self.errors,
            digest_key_id=self.tracing.digest_key_id,
            content_mode=self.tracing.config.content,
        )


@lru_cache(maxsize=8)
def _clean_report(digest_key_id: str, content_mode: str) -> CaptureReport:
    """Return the report of a request of which nothing was lost: the same one for all of them."""
    return CaptureReport(digest_key_id=digest_key_id, content_mode=content_mode)
