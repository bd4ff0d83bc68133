"""Gaps: numbers a producer took for records that are not stored, and what is known about them.

In: nothing (plain values, made by a reader). Out: :class:`Gap`, :class:`ProducerEnd`, and the
sentences about them. Times are Unix milliseconds. Finding gaps is the collector's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

NEAR_MS: Final = 60_000
"""A gap is told of beside a request of the same producer that began this near to it."""
SKEW_MS: Final = 1_000
"""Records are numbered a moment after their ids are made."""

REASONS: Final[Mapping[str, str]] = {
    "queue_full": "the process queued more than it may keep in memory",
    "spool_full": "the spool was at its limit, or the disk had no room to spare",
    "not_encodable": "the record could not be encoded",
    "not_spooled": "the process ended while the disk took nothing",
    "damaged": "a spool file was cut off or damaged",
    "deleted": "somebody deleted a spool file",
    "refused": "the collector refused the batch",
    "not_captured": "capture was switched off after too many errors of its own",
    "in_flight_at_kill": "the process was killed while they were in flight",
    "in_flight_at_exit": "the process ended while they were in flight",
    "unknown": "why is not known",
}
"""Every reason, and what it means."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A hole in one producer's numbers."""

    producer_id: str
    first: int
    last: int
    missing_ranges: tuple[tuple[int, int], ...]
    """What is missing still; records that came late are out of it."""
    reason: str = "unknown"
    service: str = ""
    environment: str = ""
    started_after: int | None = None
    """When the last request before the hole began; None where nothing is known before it."""
    started_before: int | None = None
    """When the first one after it began, or the producer ended."""
    detected_at: int = 0

    @property
    def missing(self) -> int:
        """How many records are missing still."""
        return sum(last - first + 1 for first, last in self.missing_ranges)

    @property
    def state(self) -> str:
        """``open``, or ``filled`` once nothing is missing."""
        return "open" if self.missing_ranges else "filled"

    def covers(self, unix_ms: int, *, within_ms: int = SKEW_MS) -> bool:
        """Whether a request that began then can be one of the missing ones."""
        is_late_enough = self.started_after is None or self.started_after - within_ms <= unix_ms
        is_early_enough = self.started_before is None or unix_ms <= self.started_before + within_ms
        return is_late_enough and is_early_enough

    def sentence(self) -> str:
        """Say what was lost, of whom, when and why."""
        count = f"{self.missing:,} {'record' if self.missing == 1 else 'records'}"
        whose = f"service {self.service}" if self.service else f"producer {self.producer_id}"
        verb = "was" if self.missing == 1 else "were"
        why = REASONS.get(self.reason, self.reason)
        return f"{count} of {whose} {verb} lost {self._when()}: {why}."

    def _when(self) -> str:
        after, before = _moment(self.started_after), _moment(self.started_before)
        if after and before:
            return f"between {after} and {before} UTC"
        if before:
            return f"before {before} UTC"
        return f"after {after} UTC" if after else "at an unknown time"

    def to_dict(self) -> dict[str, Any]:
        """Return the gap as plain JSON values."""
        return {
            "producer_id": self.producer_id,
            "first": self.first,
            "last": self.last,
            "state": self.state,
            "missing": self.missing,
            "missing_ranges": [list(one) for one in self.missing_ranges],
            "reason": self.reason,
            "service": self.service,
            "environment": self.environment,
            "started_after": _iso(self.started_after),
            "started_before": _iso(self.started_before),
            "detected_at": _iso(self.detected_at),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerEnd:
    """How a producer ended, as it or the one that adopted its spool said."""

    producer_id: str
    state: str
    """``closed`` in good order, ``orphaned`` otherwise."""
    ended_at: int | None

    def sentence(self) -> str:
        """Say what that means for a request that never finished."""
        at = _moment(self.ended_at)
        how = "ended" if self.state == "closed" else "was killed or crashed"
        return f"Its process {how}{f' at about {at} UTC' if at else ''} before it finished."


def _moment(unix_ms: int | None) -> str:
    """Return a time for a sentence, to the millisecond; empty where it is not known."""
    if unix_ms is None:
        return ""
    moment = datetime.fromtimestamp(unix_ms // 1000, UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{unix_ms % 1000:03d}"


def _iso(unix_ms: int | None) -> str | None:
    moment = _moment(unix_ms)
    return f"{moment.replace(' ', 'T')}Z" if moment else None
