"""Turns what the application queued into frames for the spool; runs on the writer's thread.

In: records, spans and composites. Out: one payload of logs (registry events first, then records)
and one of spans for each instrumentation scope, cut at about FRAME_TARGET_BYTES. What cannot be
encoded is left out alone and counted; a record is salvaged with its odd values as text.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeVar

from mvtrace import otlp, semconv
from mvtrace.capture.budget import MAX_RECORD_BYTES, fitted
from mvtrace.capture.counts import Counts
from mvtrace.capture.seam import Cleaned
from mvtrace.capture.spool import LOGS, MAX_FRAME_BYTES, SPANS, Payload
from mvtrace.otlp import FinishedSpan, LogEvent, Scope
from mvtrace.records import RequestRecord
from mvtrace.wire import event_of

FRAME_TARGET_BYTES: Final = 64 << 10
_SCOPE: Final = Scope(semconv.SCOPE_NAME)
_MAX_ODD_CHARACTERS: Final = 200
_log: Final = logging.getLogger("mvtrace")

Thing = Literal["records", "spans", "events"]
_Given = TypeVar("_Given")
_Made = TypeVar("_Made")


class Registrable(Protocol):
    """A composite version as the pipeline sees it."""

    @property
    def version(self) -> str:
        """64 hex digits."""

    def events(self, *, register_content: bool = True) -> Iterable[LogEvent]:
        """Return the registry events: contents, components, the composite, in this order."""


class Item(NamedTuple):
    """What is queued at once: a record with its spans, spans alone, or a composite."""

    record: RequestRecord | None = None
    spans: Sequence[FinishedSpan] = ()
    composite: Registrable | None = None
    register_content: bool = True
    lost: Callable[[], None] | None = None
    """Called if a composite's events are not spooled, so that they are registered again."""

    @property
    def size(self) -> int:
        """How many things it counts for in the queue."""
        return 1 + len(self.spans)

    def add_to(self, counts: Counts, what: str) -> None:
        """Count the loss of the whole item."""
        if self.record is not None:
            counts.add(f"records_{what}")
        if self.spans:
            counts.add(f"spans_{what}", len(self.spans))
        if self.composite is not None:
            counts.add(f"events_{what}")


class Encoded(NamedTuple):
    """A payload and how many things are in it."""

    payload: Payload
    numbers: dict[Thing, int]
    lost: tuple[Callable[[], None], ...] = ()

    def add_to(self, counts: Counts, what: str) -> None:
        """Count what became of it."""
        for thing, number in self.numbers.items():
            counts.add(f"spooled_{thing}" if what == "spooled" else f"{thing}_{what}", number)
        if what != "spooled":
            for lost in self.lost:
                lost()


class _Piece(NamedTuple):
    """One encoded span or log record."""

    thing: Thing
    body: bytes
    lost: Callable[[], None] | None = None


def encode_items(items: Sequence[Item], counts: Counts) -> list[Encoded]:
    """Return the payloads of *items*, logs first."""
    encoded = list(_packed(LOGS, _SCOPE, _log_pieces(items, counts), counts))
    for scope, pieces in _span_pieces(items, counts).items():
        encoded.extend(_packed(SPANS, scope, pieces, counts))
    return encoded


def _attempted(
    encode: Callable[[_Given], _Made], given: _Given, counts: Counts, lost: str
) -> _Made | None:
    """Return what *encode* makes of *given*; None, counted as *lost*, if it cannot."""
    try:
        return encode(given)
    except Exception:  # noqa: BLE001 (the values are the application's, of any type)
        counts.add(lost)
        _log.debug("Something captured cannot be encoded", exc_info=True)
        return None


def _log_pieces(items: Sequence[Item], counts: Counts) -> Iterator[_Piece]:
    for item in items:
        if item.composite is not None:
            events = _attempted(_registry_events, item, counts, "events_dropped_unencodable")
            counts.add("captured_events", len(events or ()))
            for event in events or ():
                yield _Piece("events", event, item.lost)
    for item in items:
        if item.record is not None:
            body = _attempted(_record, item.record, counts, "records_salvaged")
            if body is None:
                body = _attempted(_salvaged, item.record, counts, "records_dropped_unencodable")
            if body is not None:
                yield _Piece("records", body)


def _registry_events(item: Item) -> list[bytes]:
    events = item.composite.events(register_content=item.register_content) if item.composite else ()
    return [otlp.encode_log_record(event) for event in events]


def _record(record: RequestRecord) -> bytes:
    event = event_of(record)
    if len(event.body) > MAX_RECORD_BYTES // 4:  # a character has four bytes at most
        event = event_of(fitted(record))
    return otlp.encode_log_record(event)


def _salvaged(record: RequestRecord) -> bytes:
    return _record(RequestRecord.from_dict(_plain(record.to_dict())))


def _plain(value: Any) -> Any:
    """Return *value* with everything that has no canonical form as text."""
    if isinstance(value, dict):
        return {_plain_text(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, str):
        return _plain_text(value)
    return _plain_text(repr(value)[:_MAX_ODD_CHARACTERS])


def _plain_text(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _span_pieces(items: Sequence[Item], counts: Counts) -> dict[Scope, list[_Piece]]:
    by_scope: dict[Scope, list[_Piece]] = {}
    for span in (span for item in items for span in item.spans):
        encoded = _attempted(_span, span, counts, "spans_dropped_unencodable")
        if encoded is None:
            continue
        cleaned, body = encoded
        if cleaned.removed:
            counts.add("content_values_removed", cleaned.removed)
        if cleaned.cut:
            counts.add("values_cut", cleaned.cut)
        by_scope.setdefault(span.scope, []).append(_Piece("spans", body))
    return by_scope


def _span(span: FinishedSpan) -> tuple[Cleaned, bytes]:
    cleaned = Cleaned(span)
    return cleaned, otlp.encode_span(cleaned.span)


def _packed(kind: int, scope: Scope, pieces: Iterable[_Piece], counts: Counts) -> Iterator[Encoded]:
    """Yield *pieces* in payloads of about FRAME_TARGET_BYTES."""
    pack: list[_Piece] = []
    size = 0
    for piece in pieces:
        if len(piece.body) > MAX_FRAME_BYTES - FRAME_TARGET_BYTES:
            counts.add(f"{piece.thing}_dropped_unencodable")
            continue
        if pack and size + len(piece.body) > FRAME_TARGET_BYTES:
            yield _payload(kind, scope, pack)
            pack, size = [], 0
        pack.append(piece)
        size += len(piece.body)
    if pack:
        yield _payload(kind, scope, pack)


def _payload(kind: int, scope: Scope, pack: Sequence[_Piece]) -> Encoded:
    numbers: dict[Thing, int] = {}
    for piece in pack:
        numbers[piece.thing] = numbers.get(piece.thing, 0) + 1
    lost = tuple({id(piece.lost): piece.lost for piece in pack if piece.lost}.values())
    body = otlp.encode_scope(scope, (piece.body for piece in pack))
    return Encoded(Payload(kind, body), numbers, lost)
