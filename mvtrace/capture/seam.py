"""The one seam: whatever made a span, here it becomes a FinishedSpan, fit to leave the process.

In: the SDK's ReadableSpan, on the application's thread; only references are taken there. Later, on
the writer's thread: what carries content is taken out by name (what it says of the call stays, as
numbers and ids), long values are cut, and the spans
of a request are kept or left out. What is not done here: encoding (``otlp``), files (``spool``).
"""

from __future__ import annotations

import hashlib
from collections import ChainMap
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from mvtrace import content, semconv
from mvtrace.capture.content_facts import content_facts
from mvtrace.otlp import Attributes, AttributeValue, FinishedSpan, Scope, SpanEvent, SpanLink
from mvtrace.records import RequestRecord

MAX_VALUE_CHARACTERS: Final = 65_536
"""Longer text of one attribute is cut; the record holds evidence, spans hold hints."""
MAX_REMOVED_NAMES: Final = 64
_SCOPES_REMEMBERED: Final = 256
_UNKNOWN_SCOPE: Final = Scope("")

_scopes: dict[InstrumentationScope, Scope] = {}


def finished_span(span: ReadableSpan, stamp: Mapping[str, str] | None = None) -> FinishedSpan:
    """Return *span* as the seam's value; *stamp* is on it whatever the provider's limits cut."""
    context = span.get_span_context()
    if context is None:
        raise ValueError("a span without a context")
    parent = span.parent
    attributes: Attributes = span.attributes or {}
    if stamp:
        attributes = ChainMap(stamp, attributes)  # type: ignore[arg-type]
    return FinishedSpan(
        trace_id=context.trace_id.to_bytes(16, "big"),
        span_id=context.span_id.to_bytes(8, "big"),
        parent_span_id=parent.span_id.to_bytes(8, "big") if parent is not None else b"",
        name=span.name,
        kind=span.kind.value + 1,
        start_time_unix_nano=span.start_time or 0,
        end_time_unix_nano=span.end_time or 0,
        attributes=attributes,
        events=_events(span),
        links=_links(span),
        status_code=span.status.status_code.value,
        status_message=span.status.description or "",
        trace_state=context.trace_state.to_header() if context.trace_state else "",
        dropped_attributes=span.dropped_attributes,
        dropped_events=span.dropped_events,
        dropped_links=span.dropped_links,
        scope=_scope(span.instrumentation_scope),
    )


def is_message_span(span: ReadableSpan) -> bool:
    """Whether *span* stands for one ASGI message: a 200-chunk answer would have 200 of them."""
    attributes = span.attributes
    return bool(attributes) and semconv.ASGI_EVENT_TYPE in attributes  # type: ignore[operator]


def is_error(span: FinishedSpan) -> bool:
    """Whether *span* ended in an error."""
    return span.status_code == 2  # noqa: PLR2004 (OTLP's StatusCode)


def kept_spans(
    spans: Sequence[FinishedSpan], record: RequestRecord, *, ratio: float, slow_ms: float
) -> Sequence[FinishedSpan]:
    """Return the spans of the ended request *record* that are kept.

    All of them for the share *ratio* of requests, chosen by request id so that every process
    chooses alike; all of them after an error, on drift and for slow requests; else only the span
    the record names.
    """
    if ratio >= 1.0 or _is_remarkable(spans, record, slow_ms) or _is_chosen(record, ratio):
        return spans
    own = record.span_id
    return [span for span in spans if span.span_id.hex() == own]


def _is_remarkable(spans: Sequence[FinishedSpan], record: RequestRecord, slow_ms: float) -> bool:
    if record.outcome != "ok" or record.drift or (record.status_code or 0) >= 500:  # noqa: PLR2004
        return True
    if record.ended_at is not None and record.ended_at - record.started_at >= slow_ms * 1e6:
        return True
    return any(is_error(span) for span in spans)


def _is_chosen(record: RequestRecord, ratio: float) -> bool:
    digest = hashlib.sha256(record.request_id.encode()).digest()
    return int.from_bytes(digest[:8], "big") < ratio * 2**64


class Cleaned:
    """A span without content, and what had to be done for it."""

    __slots__ = ("cut", "removed", "span", "taken")

    def __init__(self, span: FinishedSpan) -> None:
        self.removed = 0
        self.cut = 0
        self.taken: list[tuple[str, AttributeValue]] = []
        """What was taken out, for the modes that keep it elsewhere."""
        if _is_clean(span):
            self.span = span
            return
        attributes = self._attributes("", span.attributes, message=span.status_message)
        events = [
            event._replace(attributes=self._attributes(event.name, event.attributes))
            for event in span.events
        ]
        links = [
            link._replace(attributes=self._attributes("", link.attributes)) for link in span.links
        ]
        self.span = span._replace(
            attributes=attributes, events=events, links=links, status_message=""
        )

    def _attributes(
        self, event: str, attributes: Attributes, *, message: str = ""
    ) -> dict[str, AttributeValue]:
        kept: dict[str, AttributeValue] = {}
        removed: list[str] = []
        if message:
            removed.append(content.STATUS_DESCRIPTION)
            self.taken.append((content.STATUS_DESCRIPTION, message))
        for key, value in attributes.items():
            if content.is_event_content(event, key) if event else content.is_content(key):
                removed.append(key)
                self.taken.append((f"{event}/{key}" if event else key, value))
            elif key in content.URL_KEYS and isinstance(value, str):
                kept[key] = self._limited(content.plain_url(value))
            else:
                kept[key] = self._limited(value)
        if removed:
            self.removed += len(removed)
            kept[semconv.CONTENT_REMOVED] = sorted(removed)[:MAX_REMOVED_NAMES]
            if not event and (facts := content_facts(attributes, removed)) is not None:
                kept[semconv.CONTENT_FACTS] = facts
        return kept

    def _limited(self, value: AttributeValue) -> AttributeValue:
        if isinstance(value, (str, bytes)) and len(value) > MAX_VALUE_CHARACTERS:
            self.cut += 1
            return value[:MAX_VALUE_CHARACTERS]
        return value


def _is_clean(span: FinishedSpan) -> bool:
    """Whether nothing is to be removed or cut: known without a copy for most spans."""
    if span.events or span.links or span.status_message:
        return False
    if not _has_no_content(tuple(span.attributes)):
        return False
    for value in span.attributes.values():
        if isinstance(value, (str, bytes)) and len(value) > MAX_VALUE_CHARACTERS:
            return False
    return True


@lru_cache(maxsize=1024)
def _has_no_content(keys: tuple[str, ...]) -> bool:
    # Spans of one place in the code have the same keys: one look-up instead of one a key.
    return not any(key in content.URL_KEYS or content.is_content(key) for key in keys)


def _events(span: ReadableSpan) -> Sequence[SpanEvent]:
    return tuple(
        SpanEvent(event.timestamp, event.name, event.attributes or {}) for event in span.events
    )


def _links(span: ReadableSpan) -> Sequence[SpanLink]:
    return tuple(
        SpanLink(
            link.context.trace_id.to_bytes(16, "big"),
            link.context.span_id.to_bytes(8, "big"),
            link.attributes or {},
        )
        for link in span.links
    )


def _scope(scope: InstrumentationScope | None) -> Scope:
    if scope is None:
        return _UNKNOWN_SCOPE
    known = _scopes.get(scope)
    if known is None:
        known = Scope(scope.name, scope.version or "", scope.schema_url or "")
        if len(_scopes) < _SCOPES_REMEMBERED:
            _scopes[scope] = known
    return known
