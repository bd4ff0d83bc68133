"""Keeps a record within one event: what goes first, when it would be too large, and that it went.

In: a record. Out: the same record, or one without document lists, then without the details of its
calls, then without most or all of its parts; every loss is counted in its CaptureReport. Runs where
records are encoded, on the writer's thread.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from mvtrace.records import CaptureReport, RequestRecord

MAX_RECORD_BYTES: Final = 250 << 10
"""An event has 256 KiB at most, with its attributes and what relays add."""
KEPT_CALLS: Final = 100
KEPT_ALIASES: Final = 8


def fitted(record: RequestRecord, limit: int = MAX_RECORD_BYTES) -> RequestRecord:
    """Return *record* so that its canonical bytes are at most *limit*, as whole as possible."""
    for lighten in (_without_documents, _without_details, _without_most, _without_parts):
        if len(record.to_bytes()) <= limit:
            break
        record = lighten(record)
    return record


def _without_documents(record: RequestRecord) -> RequestRecord:
    documents = sum(len(snapshot.documents) for snapshot in record.index_snapshots)
    snapshots = tuple(
        dataclasses.replace(snapshot, documents=()) for snapshot in record.index_snapshots
    )
    return _counted(record, truncated=documents, index_snapshots=snapshots)


def _without_details(record: RequestRecord) -> RequestRecord:
    calls = tuple(
        dataclasses.replace(call, sampling=None, input_digest=None, output_digest=None)
        for call in record.calls
    )
    decisions = tuple(
        dataclasses.replace(decision, policy=None, features=None)
        for decision in record.router_decisions
    )
    return _counted(
        record, truncated=len(calls) + len(decisions), calls=calls, router_decisions=decisions
    )


def _without_most(record: RequestRecord) -> RequestRecord:
    kept = {call.span_id for call in record.calls[:KEPT_CALLS]}
    return _counted(
        record,
        truncated=0 if record.annotations is None else len(record.annotations),
        calls_dropped=max(len(record.calls) - KEPT_CALLS, 0),
        calls=record.calls[:KEPT_CALLS],
        index_snapshots=tuple(s for s in record.index_snapshots if s.span_id in kept),
        router_decisions=tuple(
            dataclasses.replace(d, candidates=())
            for d in record.router_decisions
            if d.span_id in kept
        ),
        annotations=None,
    )


def _without_parts(record: RequestRecord) -> RequestRecord:
    return _counted(
        record,
        truncated=len(record.observed) + len(record.aliases[KEPT_ALIASES:]),
        calls_dropped=len(record.calls),
        calls=(),
        index_snapshots=(),
        router_decisions=(),
        observed=(),
        aliases=record.aliases[:KEPT_ALIASES],
    )


def _counted(
    record: RequestRecord, *, truncated: int, calls_dropped: int = 0, **changes: Any
) -> RequestRecord:
    report = record.capture or CaptureReport()
    counted = dataclasses.replace(
        report,
        truncated=report.truncated + truncated,
        calls_dropped=report.calls_dropped + calls_dropped,
    )
    return dataclasses.replace(record, capture=counted, **changes)
