"""Counters of the pipeline: every stop counts what came in, what went out and what was lost."""

from __future__ import annotations

import threading
from typing import Final

COUNTERS: Final = (
    "captured_records",
    "captured_spans",
    "captured_events",
    "spans_dropped_asgi_messages",
    "spans_dropped_by_ratio",
    "spans_forgotten",
    "content_values_removed",
    "values_cut",
    "records_dropped_queue_full",
    "spans_dropped_queue_full",
    "events_dropped_queue_full",
    "records_salvaged",
    "records_dropped_unencodable",
    "spans_dropped_unencodable",
    "events_dropped_unencodable",
    "records_dropped_spool_full",
    "spans_dropped_spool_full",
    "events_dropped_spool_full",
    "spool_write_errors",
    "spool_read_errors",
    "spooled_records",
    "spooled_spans",
    "spooled_events",
    "spooled_bytes",
    "spools_adopted",
    "spool_torn_tails",
    "spool_torn_bytes",
    "spool_frames_corrupt",
    "spool_segments_missing",
    "shipped_batches",
    "shipped_bytes",
    "shipped_rejected_items",
    "ship_retries",
    "ship_connection_errors",
    "ship_answers_busy",
    "ship_answers_blocked",
    "ship_batches_split",
    "ship_batches_quarantined",
)
"""All of them, so that a stop that never lost anything shows 0."""


class Counts:
    """Counters that any thread may add to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values = dict.fromkeys(COUNTERS, 0)

    def add(self, name: str, number: int = 1) -> None:
        """Add *number* to the counter *name*, one of COUNTERS."""
        with self._lock:
            self._values[name] += number

    def values(self) -> dict[str, int]:
        """Return a copy of all counters."""
        with self._lock:
            return dict(self._values)

    def forget(self) -> None:
        """Start at zero with a new lock: this is the child of a fork."""
        self.__init__()  # type: ignore[misc]
