"""What requests are worth, by the definition: readable Python over records and scores, an oracle of
the values statement. Prices are those that the price list's own package computes.
"""

from __future__ import annotations

import math
import random
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from attested import PRODUCER, drain
from genai_prices import Usage as PricedUsage
from genai_prices import calc_price

from mvtrace.ids import format_uuid7
from mvtrace.otlp import LogEvent
from mvtrace.quality.sources import made_of
from mvtrace.records import Call, RequestRecord, UnixNano, Usage
from mvtrace.scores import Score, event_of, export_of, undeclared
from mvtrace.store import Store
from mvtrace.store.session import Session
from mvtrace.wire import event_of as request_event
from mvtrace_collector.inbox import Inbox
from mvtrace_collector.prices import PriceBook
from mvtrace_collector.statements import statement

FIRST, LAST = "0" * 32, "f" * 32
REFUSALS = {
    *("content_filter", "content_filtered", "refusal", "safety", "blocklist", "spii", "recitation"),
    *("prohibited_content", "image_safety", "image_prohibited_content", "guardrail_intervened"),
    *("error_toxic", "sensitive", "model_armor"),
}
DERIVED = {
    *("latency_ms", "log_latency_ms", "time_to_first_token_ms", "log_time_to_first_token_ms"),
    *("error", "refusal", "tool_failure", "input_tokens", "output_tokens", "log_output_tokens"),
    *("cost_usd", "log_cost_usd", "request"),
}
LOOKS_DERIVED = re.compile(r"^score:|:given$|:first$|[<>^/]")
MOST = 1e100


NOW_MS = time.time_ns() // 10**6 - 86_400_000
MADE_BY = "00000000-0000-4000-8000-00000000000a"
_projects = count(1)


class Worth(NamedTuple):
    """One row: what a request is worth in one metric, by one scorer."""

    request: str
    metric: str
    scorer: str
    value: float
    base: float = 1.0


def record(number: int = 0, **fields: Any) -> RequestRecord:
    """Return the record of a request that took a second and a half."""
    began = (NOW_MS + number) * 10**6
    given: dict[str, Any] = {
        "request_id": format_uuid7(NOW_MS + number, number),
        "revision": 2,
        "state": "finished",
        "producer_id": MADE_BY,
        "sequence": number,
        "protocol": "http",
        "started_at": UnixNano(began),
        "ended_at": UnixNano(began + 1_500_000_000),
        "outcome": "ok",
        "service": "shop",
        **fields,
    }
    return RequestRecord(**given)


def answer(**fields: Any) -> Call:
    """Return a call of a priced model."""
    given: dict[str, Any] = {
        "kind": "generation",
        "name": "answer",
        "provider": "openai",
        "model_served": "gpt-4o-2024-08-06",
        "usage": Usage(input_tokens=1_000, output_tokens=200),
        **fields,
    }
    return Call(**given)


def put(
    store: Store,
    folder: Path,
    records: Iterable[RequestRecord],
    scores: Iterable[Score] = (),
    *,
    shuffle: int | None = None,
    times: int = 1,
) -> str:
    """Load *records* and *scores*, perhaps in another order and several times; return the project."""
    events = told_of(records, scores)
    if shuffle is not None:
        random.Random(shuffle).shuffle(events)
    half = len(events) // 2 if shuffle is not None else len(events)
    return put_events(store, folder, events[:half], events[half:], times=times)


def told_of(records: Iterable[RequestRecord], scores: Iterable[Score] = ()) -> list[LogEvent]:
    """Return the events of *records* and *scores*."""
    events = [request_event(one) for one in records]
    return events + [event_of(one, now_ns=one.at or 0) for one in scores]


def put_all(store: Store, folder: Path, told: Mapping[str, Sequence[LogEvent]]) -> None:
    """Load what is told to each project, all at once."""
    inbox = Inbox(folder)
    for project, events in told.items():
        inbox.submit(project, "logs", export_of(events), project, sender=PRODUCER).result()
    drain(store, inbox)
    inbox.close()


def put_events(store: Store, folder: Path, *parts: Sequence[LogEvent], times: int = 1) -> str:
    """Load *parts* one after another, all of it several times; return the project."""
    project = f"p{next(_projects)}"
    inbox = Inbox(folder / project)
    for number, part in enumerate(parts):
        if part:
            inbox.submit(project, "logs", export_of(part), str(number), sender=PRODUCER).result()
        drain(store, inbox)
    for _ in range(times - 1):
        inbox.reopen(inbox.stored_segments(after_ms=0), is_new_epoch=True)
        drain(store, inbox)
    inbox.close()
    return project


def metric_of(name: str) -> str:
    """Return what a score called *name* is called as a metric."""
    return f"score:{name}" if name in DERIVED or LOOKS_DERIVED.search(name) else name


def values_in(
    store: Store,
    *,
    project: str = "default",
    wanted: Sequence[str] = (),
    sources: Sequence[str] = (),
    planned: Sequence[str] = (),
    bounds: tuple[str, str] = (FIRST, LAST),
) -> list[Worth]:
    """Return what the statement says of the requests between two ids, prices looked up."""
    with store.session({"max_threads": 1}) as session:
        prices = PriceBook(session, store.database).learn(project, *bounds)
        return values_of(session, store.database, prices, project, wanted, sources, bounds, planned)


def values_of(  # noqa: PLR0917 (one parameter a placeholder of the statement)
    session: Session,
    database: str,
    prices: str,
    project: str = "default",
    wanted: Sequence[str] = (),
    sources: Sequence[str] = (),
    bounds: tuple[str, str] = (FIRST, LAST),
    planned: Sequence[str] = (),
) -> list[Worth]:
    """Run the statement."""
    rows = session.query(
        "SELECT lower(hex(request_id)), metric, scorer, value, base FROM "
        f"({statement('quality_values', database)}) ORDER BY ALL",
        {
            "project": project,
            "first": bounds[0],
            "last": bounds[1],
            "prices": prices,
            "wanted": list(wanted),
            "sources": [str(made_of(text)) for text in sources],
            "planned": list(planned),
        },
    ).rows
    return [Worth(*row) for row in rows]


def expected(
    records: Iterable[RequestRecord],
    scores: Iterable[Score] = (),
    *,
    prices: str = "",
    wanted: Sequence[str] = (),
    sources: Sequence[str] = (),
) -> list[Worth]:
    """Return the rows by their definition; each request once, and few names of scores."""
    given = _latest(scores)
    asked = {*wanted, *(metric for one in given.values() for metric, _ in one)}
    found: list[Worth] = []
    for record in records:
        request = record.request_id.replace("-", "")
        plain = [Worth(request, *one) for one in _told(record, prices)]
        own = given.get(record.request_id, {})
        plain += [
            Worth(request, metric, scorer, value)
            for (metric, scorer), value in own.items()
            if value is not None
        ]
        names = {metric for metric, _ in own}
        plain += [Worth(request, f"{one}:given", "", float(one in names)) for one in asked]
        plain = [one for one in plain if abs(one.value) <= MOST]
        found += plain + [made for text in sources for made in _derived(text, plain)]
    return sorted(found)


def _latest(scores: Iterable[Score]) -> dict[str, dict[tuple[str, str], float | None]]:
    """Return the newest value by request, then metric and scorer."""
    found: dict[str, dict[tuple[str, str], float | None]] = {}
    for one in sorted(scores, key=lambda score: score.at or 0):
        scorer = one.scorer or undeclared(one.source, one.name)
        found.setdefault(one.request_id, {})[metric_of(one.name), scorer] = one.value
    return found


def _told(record: RequestRecord, prices: str) -> list[tuple[str, str, float]]:
    """Return what the record tells: metric, scorer and value."""
    facts: dict[str, float | None] = {"request": 1.0}
    is_timed = record.state == "finished" and record.protocol != "websocket"
    if is_timed and record.ended_at is not None and record.ended_at >= record.started_at:
        facts["latency_ms"] = (record.ended_at - record.started_at) / 1e6
    facts["time_to_first_token_ms"] = _first_token(record)
    facts["error"] = None if record.outcome is None else float(record.outcome == "error")
    reasons = [
        reason
        for call in record.calls
        if call.kind == "generation" and call.finish_reason
        for reason in call.finish_reason.lower().split(", ")
    ]
    facts["refusal"] = float(bool(REFUSALS & set(reasons))) if reasons else None
    tools = [call for call in record.calls if call.kind == "tool"]
    facts["tool_failure"] = float(any(one.outcome == "error" for one in tools)) if tools else None
    for name in ("input_tokens", "output_tokens"):
        counts = [
            count
            for call in record.calls
            if call.usage and (count := getattr(call.usage, name)) is not None
        ]
        facts[name] = float(sum(counts)) if counts else None
    facts["cost_usd"] = _cost(record)
    for name in ("latency_ms", "time_to_first_token_ms", "output_tokens", "cost_usd"):
        value = facts.get(name)
        facts[f"log_{name}"] = math.log(value) if value else None
    return [
        (name, prices if name.endswith("cost_usd") else "", value)
        for name, value in facts.items()
        if value is not None
    ]


def _first_token(record: RequestRecord) -> float | None:
    moments = [
        call.started_at - record.started_at + call.time_to_first_chunk_ns
        for call in record.calls
        if call.kind == "generation"
        and call.started_at is not None
        and call.started_at >= record.started_at
        and call.time_to_first_chunk_ns is not None
    ]
    return min(moments) / 1e6 if moments else None


def _cost(record: RequestRecord) -> float | None:
    billed = [
        call
        for call in record.calls
        if call.kind == "generation"
        or (call.usage and (call.usage.input_tokens, call.usage.output_tokens) != (None, None))
    ]
    costs = [_cost_of(call, record.started_at) for call in billed]
    known = [one for one in costs if one is not None]
    return sum(known) if known and len(known) == len(costs) else None


def _cost_of(call: Call, began: int) -> float | None:
    if call.cache_origin:
        return 0.0
    usage = call.usage
    if usage is None or usage.input_tokens is None or not call.provider:
        return None
    output = usage.output_tokens
    if output is None and call.kind == "generation":
        return None
    counted = PricedUsage(
        input_tokens=usage.input_tokens,
        output_tokens=output or 0,
        cache_read_tokens=usage.cache_read_input_tokens or 0,
        cache_write_tokens=usage.cache_write_input_tokens or 0,
        output_reasoning_tokens=usage.reasoning_output_tokens or 0,
    )
    at = datetime.fromtimestamp((call.started_at or began) // 10**9, UTC)
    try:
        found = calc_price(
            counted,
            call.model_served or call.model_requested or "",
            provider_id=call.provider,
            genai_request_timestamp=at,
        )
    except (LookupError, ValueError):
        return None
    terms = vars(found.model_price)
    if terms.get("input_mtok") is None and terms.get("output_mtok") is None:
        return None
    return float(found.total_price)


def _derived(text: str, plain: Sequence[Worth]) -> list[Worth]:
    made = made_of(text)
    assert made is not None
    found = [one for one in plain if one.metric == made.source]
    if made.how == "/":
        return [
            Worth(one.request, made.name, f"{one.scorer} {below.scorer}".strip(), one.value,
                  below.value)
            for one in found
            for below in plain
            if below.metric == made.by
        ]  # fmt: skip
    limit = float(made.by)
    make: Callable[[float], float] = {
        ">": lambda value: float(value > limit),
        "<": lambda value: float(value < limit),
        "^": lambda value: min(value, limit),
    }[made.how]
    return [Worth(one.request, made.name, one.scorer, make(one.value)) for one in found]


def close(one: Sequence[Worth], other: Sequence[Worth]) -> bool:
    """Whether both have the same rows, and values equal to the rounding of a sum of a few terms."""
    return [row[:3] for row in one] == [row[:3] for row in other] and all(
        math.isclose(a, b, rel_tol=1e-12, abs_tol=1e-300)
        for first, second in zip(one, other, strict=True)
        for a, b in zip(first[3:], second[3:], strict=True)
    )


def by_metric(found: Iterable[Worth]) -> Mapping[str, float]:
    """Return the values of one request by metric."""
    return {one.metric: one.value for one in found}
