"""Requests of a rollout as values: put into a store by plain inserts, and rolled up in Python.

What ``rolled_up`` returns is the oracle: each unit is a bucket of its own, sums are those of Python,
and the first request of a unit is found by looking at all of them.
"""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from mvtrace.quality.cells import Cell, CellKey, RollUp, Stratum
from mvtrace.quality.sources import Asked
from mvtrace.store import Store
from mvtrace.store.session import Session
from mvtrace_collector.quality_sweep import HOUR_MS, SETTINGS, QualitySweep, steady

HOUR = 480_000
"""The first hour, since 1970."""
BASELINE = "b" * 64
CANARY = "c" * 64
NO_UNIT = bytes(16)
SCORER = "sha256:" + "5" * 64
ROLLOUT = "r1"


@dataclass(frozen=True, kw_only=True)
class Exposed:
    """One request, with what it was worth."""

    at_ms: int
    """Since the first hour began."""
    number: int
    """Tells apart what happened in one millisecond."""
    version: str
    unit: bytes = NO_UNIT
    rollout: str = ROLLOUT
    share: float | None = 0.1
    error: bool = False
    latency_ms: float = 100.0
    good: float | None = None
    cache_origin: str = ""
    conversation: str | None = None

    @property
    def id(self) -> bytes:
        """The request's id, raw."""
        time = (HOUR * HOUR_MS + self.at_ms).to_bytes(6, "big")
        return time + b"\x70\x00\x80" + self.number.to_bytes(7, "big")

    @property
    def hour(self) -> int:
        """Of the exposure, since 1970."""
        return HOUR + self.at_ms // HOUR_MS

    @property
    def arm(self) -> str:
        """The side that the version is."""
        return "canary" if self.version == CANARY else "stable"


def exposures(
    count: int, units: Sequence[bytes], *, hours: Iterable[int] = range(3), seed: int = 1
) -> list[Exposed]:
    """Return *count* requests of *units*, each tenth of which is the canary's."""
    rng = random.Random(seed)
    those = list(hours)
    made = []
    for number in range(count):
        unit = rng.choice(units)
        made.append(
            Exposed(
                at_ms=rng.choice(those) * HOUR_MS + rng.randrange(HOUR_MS),
                number=number,
                version=CANARY if units.index(unit) % 4 == 0 else BASELINE,
                unit=unit,
                share=0.25,
                error=rng.random() < 0.2,
                latency_ms=rng.randrange(20_000_000, 900_000_000) / 1e6,
                good=rng.choice([None, 0.0, 1.0, 0.5]),
            )
        )
    return made


def put(
    session: Session, project: str, requests: Sequence[Exposed], *, producer: bytes = bytes(16)
) -> None:
    """Store *requests* with their scores."""
    now = datetime.now(UTC)
    rows = [
        (
            project, one.id, 2, json.dumps({"cache_origin": one.cache_origin} if one.cache_origin else {}, separators=(",", ":")),
            "finished", "error" if one.error else "ok", "shop", "prod", now, _time(one),
            round(one.latency_ms * 1e6), one.version, one.arm,
            one.rollout, one.unit, one.share, producer, one.conversation,
        )
        for one in requests
    ]  # fmt: skip
    columns = (
        *("project", "request_id", "revision", "record", "state", "outcome", "service"),
        *("environment", "received_at", "started_at", "duration_ns", "composite_version", "arm"),
        *("rollout", "unit", "planned_share", "producer_id", "conversation_id"),
    )
    session.insert("requests", columns, rows)
    put_scores(session, project, requests)


def score(
    session: Session,
    project: str,
    of: Exposed,
    value: float,
    *,
    name: str = "good",
    scorer: str = SCORER,
    later_s: int = 0,
) -> None:
    """Store a score of a request; a later one of the same name and scorer replaces it."""
    at = datetime.fromtimestamp(_time(of).timestamp() + 60 + later_s, UTC)
    event = bytes([later_s % 256]) + of.id[1:15] + name.encode()[:1]
    session.insert(
        "scores",
        ("project", "request_id", "name", "scorer", "event_id", "source", "value", "scored_at", "received_at"),
        [(project, of.id, name, scorer, event, "user", value, at, datetime.now(UTC))],
    )  # fmt: skip


def put_scores(session: Session, project: str, requests: Iterable[Exposed]) -> None:
    """Store the scores of *requests* alone, at once."""
    columns = (
        *("project", "request_id", "name", "scorer", "event_id", "source", "value"),
        *("scored_at", "received_at"),
    )
    rows = [
        (project, one.id, "good", SCORER, b"\0" + one.id[1:15] + b"g", "user", one.good, _time(one), _time(one))
        for one in requests
        if one.good is not None
    ]  # fmt: skip
    if rows:
        session.insert("scores", columns, rows)


def _time(one: Exposed) -> datetime:
    return datetime.fromtimestamp((HOUR * HOUR_MS + one.at_ms) / 1000, UTC)


class Sweeping:
    """Sweeps hours of any project of a store, as the collector does, without its thread."""

    def __init__(self, store: Store) -> None:
        self.session = store.open_session(SETTINGS)
        steady(self.session)
        self._database = store.database

    def sweep(self, project: str, hours: Iterable[int], asked: Asked | None = None) -> list[int]:
        """Sweep *hours* and whatever is to be swept for their sake; return all that were."""
        sweep = QualitySweep(self.session, self._database, project)
        waiting = sorted(HOUR + hour if hour < HOUR else hour for hour in hours)
        swept = []
        while waiting:
            hour = waiting.pop(0)
            later: list[int] = []
            sweep.sweep(hour, asked or Asked(wanted=("good",)), prices="", again=later.extend)
            swept.append(hour)
            waiting = sorted({*waiting, *later})
        return swept

    def revision(self, project: str) -> tuple[int, int]:
        """Return the newest revisions of the roll-up and of its units: whether any was written."""
        return tuple(
            int(self.session.query(f"SELECT max(revision) FROM {table} WHERE project = {{project:String}}", {"project": project}).rows[0][0])
            for table in ("quality_hourly", "quality_units")
        )  # type: ignore[return-value]  # fmt: skip

    def state(self, project: str) -> list[tuple[Any, ...]]:
        """Return the roll-up of a project, as it holds now."""
        return self.session.query(
            "SELECT environment, service, composite_version, metric, rollout, arm, hour, phase, "
            "scorer, requests, total, squares, base, base_squares, cross, buckets, bucket_requests, "
            "bucket_total, bucket_squares, bucket_base, bucket_base_squares, bucket_cross "
            "FROM quality_hourly FINAL WHERE project = {project:String} AND requests > 0 "
            "ORDER BY ALL",
            {"project": project},
        ).rows

    def total(self, project: str, metric: str) -> dict[tuple[str, int], float]:
        """Return the sums of a metric by arm and hour, counted from the first."""
        rows = self.session.query(
            "SELECT arm, toUInt32(intDiv(toUnixTimestamp(hour), 3600)) AS at, sum(total) "
            "FROM quality_hourly FINAL WHERE project = {project:String} "
            "AND metric = {metric:String} AND requests > 0 GROUP BY arm, at",
            {"project": project, "metric": metric},
        ).rows
        return {(arm, at - HOUR): total for arm, at, total in rows if total}


def rolled_up(requests: Sequence[Exposed], *, shift: float = 0.0) -> RollUp:
    """Return the roll-up of *requests*, each unit a bucket; scores are higher by *shift*."""
    cells: dict[CellKey, Cell] = {}
    units: Counter[tuple[str, Stratum]] = Counter()
    shares: dict[Stratum, float] = {}
    seen: set[bytes] = set()
    failed: set[bytes] = set()
    places: dict[bytes, int] = {}
    for one in sorted(requests, key=lambda one: one.id):
        unit = one.id if one.unit == NO_UNIT else one.unit
        stratum = Stratum(one.hour, f"{one.rollout} {one.share}")
        if one.share is not None:
            shares[stratum] = one.share
        if unit not in seen:
            units[one.version, stratum] += 1
        seen.add(unit)
        is_first = one.error and unit not in failed
        failed |= {unit} if one.error else set()
        for metric, value in _values(one, is_first, shift):
            key = CellKey(one.version, metric, stratum, places.setdefault(unit, len(places)))
            cell = Cell.of([value])
            cells[key] = cells[key] + cell if key in cells else cell
    return RollUp(
        cells=cells, shares=shares, units=dict(units), scorers={"good": frozenset({SCORER})}
    )


def _values(one: Exposed, is_first: bool, shift: float) -> Iterator[tuple[str, float]]:
    yield "request", 1.0
    yield "latency_ms", one.latency_ms
    yield "log_latency_ms", math.log(one.latency_ms)
    yield "error", float(one.error)
    yield "error:first", float(is_first)
    yield "good:given", float(one.good is not None)
    if one.good is not None:
        yield "good", one.good + shift


def shifted(requests: Iterable[Exposed], by: float) -> list[Exposed]:
    """Return *requests* whose scores are higher by a constant."""
    return [one if one.good is None else replace(one, good=one.good + by) for one in requests]
