"""Counters of the pipeline: every stop counts what came in, what went out and what was lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
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
    "contents_dropped_queue_full",
    "records_salvaged",
    "records_dropped_unencodable",
    "spans_dropped_unencodable",
    "events_dropped_unencodable",
    "contents_dropped_unencodable",
    "records_dropped_spool_full",
    "spans_dropped_spool_full",
    "events_dropped_spool_full",
    "contents_dropped_spool_full",
    "records_not_spooled",
    "spans_not_spooled",
    "events_not_spooled",
    "contents_not_spooled",
    "spool_write_errors",
    "spool_read_errors",
    "spooled_records",
    "spooled_spans",
    "spooled_events",
    "spooled_contents",
    "spooled_bytes",
    "spools_adopted",
    "spools_of_others",
    "spool_torn_tails",
    "spool_torn_bytes",
    "spool_frames_corrupt",
    "spool_segments_missing",
    "numbers_not_kept",
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
        self.on_lost_records: Callable[[str, Sequence[int]], None] | None = None
        """Told of each loss of records: what it is counted as, and their numbers."""

    def add(self, name: str, number: int = 1) -> None:
        """Add *number* to the counter *name*, one of COUNTERS."""
        with self._lock:
            self._values[name] += number

    def lost_records(self, what: str, numbers: Sequence[int]) -> None:
        """Count that the records of *numbers* are lost; ``records_<what>`` is one of COUNTERS."""
        if numbers:
            self.add(f"records_{what}", len(numbers))
            if self.on_lost_records is not None:
                self.on_lost_records(what, numbers)

    def values(self) -> dict[str, int]:
        """Return a copy of all counters."""
        with self._lock:
            return dict(self._values)

    def forget(self) -> None:
        """Start at zero with a new lock: this is the child of a fork."""
        self.__init__()  # type: ignore[misc]
