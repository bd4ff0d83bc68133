"""Turns what the application queued into frames for the spool; runs on the writer's thread.

In: records, spans and composites. Out: one payload of logs (registry events first, then records)
and one of spans for each instrumentation scope, cut at about FRAME_TARGET_BYTES. What cannot be
encoded is left out alone and counted; a record is salvaged with its odd values as text.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeVar

from mvtrace import otlp, semconv
from mvtrace.capture.budget import MAX_RECORD_BYTES, fitted
from mvtrace.capture.counts import Counts
from mvtrace.capture.privacy import Held, Privacy
from mvtrace.capture.seam import Cleaned
from mvtrace.capture.spool import LOGS, MAX_FRAME_BYTES, SPANS, Payload
from mvtrace.otlp import FinishedSpan, LogEvent, Scope
from mvtrace.records import RequestRecord
from mvtrace.wire import event_of

FRAME_TARGET_BYTES: Final = 64 << 10
_SCOPE: Final = Scope(semconv.SCOPE_NAME)
_MAX_ODD_CHARACTERS: Final = 200
RECORD_BYTES: Final = 3000
CALL_BYTES: Final = 1200
DOCUMENT_BYTES: Final = 200
SPAN_BYTES: Final = 1800
"""What such objects hold in memory, measured on CPython 3.11; strings of the application apart."""
_SIZED: Final = frozenset({str, bytes, tuple, list})
_log: Final = logging.getLogger("mvtrace")

Thing = Literal["records", "spans", "events", "contents"]
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
    privacy: Privacy | None = None
    """How content leaves; None where none does."""
    held: Held | None = None
    """Content of the request, for *privacy*."""
    lost: Callable[[], None] | None = None
    """Called if a composite's events are not spooled, so that they are registered again."""
    event: LogEvent | None = None
    """An event of its own, such as a score."""

    @property
    def size(self) -> int:
        """How many things it counts for in the queue."""
        return 1 + len(self.spans)

    def weight(self) -> int:
        """Return about how many bytes of memory it holds."""
        weight = sum(map(_span_weight, self.spans))
        if self.held is not None:
            weight += self.held.size
        return weight if self.record is None else weight + _record_weight(self.record)

    def add_to(self, counts: Counts, what: str) -> None:
        """Count the loss of the whole item."""
        if self.record is not None:
            counts.lost_records(what, (self.record.sequence,))
        if self.spans:
            counts.add(f"spans_{what}", len(self.spans))
        if self.composite is not None or self.event is not None:
            counts.add(f"events_{what}")
        if self.held is not None:
            counts.add(f"contents_{what}", len(self.held.texts))


def _span_weight(span: FinishedSpan) -> int:
    weight = SPAN_BYTES
    for value in span.attributes.values():
        if type(value) in _SIZED:  # a third of the time of isinstance, on the request's thread
            weight += len(value)  # type: ignore[arg-type]
    return weight


def _record_weight(record: RequestRecord) -> int:
    documents = sum(len(snapshot.documents) for snapshot in record.index_snapshots)
    things = len(record.calls) + len(record.router_decisions) + len(record.observed)
    said = _held(record.annotations) + sum(_held(d.features) for d in record.router_decisions)
    return RECORD_BYTES + CALL_BYTES * things + DOCUMENT_BYTES * documents + said


def _held(value: object) -> int:
    """Return about how many bytes the plain *value* holds."""
    if isinstance(value, str):
        return 50 + len(value)
    if isinstance(value, dict):
        return 100 + sum(_held(key) + _held(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return 60 + sum(map(_held, value))
    return 32


class Encoded(NamedTuple):
    """A payload and how many things are in it."""

    payload: Payload
    numbers: dict[Thing, int]
    lost: tuple[Callable[[], None], ...] = ()
    sequences: tuple[int, ...] = ()
    """The numbers of its records."""

    def add_to(self, counts: Counts, what: str) -> None:
        """Count what became of it."""
        if what == "spooled":
            for thing, number in self.numbers.items():
                counts.add(f"spooled_{thing}", number)
            return
        counts.lost_records(what, self.sequences)
        for thing, number in self.numbers.items():
            if thing != "records":
                counts.add(f"{thing}_{what}", number)
        if self.lost:
            for lost in self.lost:
                lost()


class _Piece(NamedTuple):
    """One encoded span or log record."""

    thing: Thing
    body: bytes
    lost: Callable[[], None] | None = None
    sequence: int | None = None


def encode_items(items: Sequence[Item], counts: Counts) -> list[Encoded]:
    """Return the payloads of *items*, logs first."""
    by_scope, contents = _span_pieces(items, counts)
    logs = chain(_log_pieces(items, counts), _content_pieces(items, contents, counts))
    encoded = list(_packed(LOGS, _SCOPE, logs, counts))
    for scope, pieces in by_scope.items():
        encoded.extend(_packed(SPANS, scope, pieces, counts))
    return encoded


def _attempted(
    encode: Callable[[_Given], _Made], given: _Given, counts: Counts, lost: str | None
) -> _Made | None:
    """Return what *encode* makes of *given*; None if it cannot, counted as *lost* if given."""
    try:
        return encode(given)
    except Exception:  # noqa: BLE001 (the values are the application's, of any type)
        if lost is not None:
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
        if item.event is not None:
            yield from _event_pieces(item.event, counts)
        if item.record is not None:
            yield from _record_pieces(item.record, counts)


def _record_pieces(record: RequestRecord, counts: Counts) -> Iterator[_Piece]:
    body = _attempted(_record, record, counts, "records_salvaged")
    if body is None:
        body = _attempted(_salvaged, record, counts, None)
    if body is not None:
        yield _Piece("records", body, sequence=record.sequence)
    else:
        counts.lost_records("dropped_unencodable", (record.sequence,))


def _event_pieces(event: LogEvent, counts: Counts) -> Iterator[_Piece]:
    body = _attempted(otlp.encode_log_record, event, counts, "events_dropped_unencodable")
    if body is not None:
        yield _Piece("events", body)


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


def _content_pieces(
    items: Sequence[Item], of_spans: Iterable[tuple[Privacy, Cleaned]], counts: Counts
) -> Iterator[_Piece]:
    """Yield the content of requests and of spans, treated as their mode says."""
    for item in items:
        if item.privacy is not None and item.held is not None:
            treated = (item.privacy, item.held, Counter[str]())
            yield from _payloads(treated, counts)
    for privacy, cleaned in of_spans:
        request_id = cleaned.span.attributes.get(semconv.REQUEST_ID)
        report: Counter[str] = Counter()
        text = privacy.text_of_span(cleaned.span.span_id, cleaned.taken, report)
        if isinstance(request_id, str) and text is not None:
            yield from _payloads((privacy, Held(request_id, None, (text,)), report), counts)


def _payloads(treated: tuple[Privacy, Held, Counter[str]], counts: Counts) -> Iterator[_Piece]:
    events = _attempted(_payload_events, treated, counts, "contents_dropped_unencodable")
    for event in events or ():
        yield _Piece("contents", event)


def _payload_events(treated: tuple[Privacy, Held, Counter[str]]) -> list[bytes]:
    privacy, held, report = treated
    return [otlp.encode_log_record(event) for event in privacy.events(held, report)]


def _span_pieces(
    items: Sequence[Item], counts: Counts
) -> tuple[dict[Scope, list[_Piece]], list[tuple[Privacy, Cleaned]]]:
    """Return the spans by scope, and those whose content is kept elsewhere."""
    by_scope: dict[Scope, list[_Piece]] = {}
    contents: list[tuple[Privacy, Cleaned]] = []
    for span, privacy in ((span, item.privacy) for item in items for span in item.spans):
        encoded = _attempted(_span, span, counts, "spans_dropped_unencodable")
        if encoded is None:
            continue
        cleaned, body = encoded
        if privacy is not None and cleaned.taken:
            contents.append((privacy, cleaned))
        if cleaned.removed:
            counts.add("content_values_removed", cleaned.removed)
        if cleaned.cut:
            counts.add("values_cut", cleaned.cut)
        by_scope.setdefault(span.scope, []).append(_Piece("spans", body))
    return by_scope, contents


def _span(span: FinishedSpan) -> tuple[Cleaned, bytes]:
    cleaned = Cleaned(span)
    return cleaned, otlp.encode_span(cleaned.span)


def _packed(kind: int, scope: Scope, pieces: Iterable[_Piece], counts: Counts) -> Iterator[Encoded]:
    """Yield *pieces* in payloads of about FRAME_TARGET_BYTES."""
    pack: list[_Piece] = []
    size = 0
    for piece in pieces:
        if len(piece.body) > MAX_FRAME_BYTES - FRAME_TARGET_BYTES:
            if piece.sequence is not None:
                counts.lost_records("dropped_unencodable", (piece.sequence,))
            else:
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
    sequences = tuple(piece.sequence for piece in pack if piece.sequence is not None)
    return Encoded(Payload(kind, body), numbers, lost, sequences)
