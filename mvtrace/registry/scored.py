"""Which scores were given, of which version, and which wait for their request.

In: an ``Ask`` and a filter. Out: the latest score of each request, name and scorer, with the
version and arm that answered; and how many wait. A score whose request is not stored is pending: it
counts from the moment the request is, and nothing has to be sent again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from mvtrace.registry.reading import Ask, in_parts, statement
from mvtrace.scores import UNDECLARED

MAX_MS: Final = 2**43
"""Of a DateTime64 in nanoseconds, the year 2248."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreFilter:
    """Which scores to list; empty: any."""

    since_ms: int = 0
    """Unix milliseconds; given then or later."""
    until_ms: int = MAX_MS
    name: str = ""
    request_id: str = ""
    only_pending: bool = False
    limit: int = 20


def scores_listed(ask: Ask, wanted: ScoreFilter) -> list[dict[str, Any]]:
    """Return the scores that *wanted* lets through as plain values, the latest given first."""
    rows = ask(
        statement("scores_listed"),
        {
            **_times(wanted),
            "request": wanted.request_id.replace("-", ""),
            "pending": int(wanted.only_pending),
            "limit": wanted.limit,
        },
    )
    answered = _answered(ask, sorted({row["request_id"].replace("-", "") for row in rows}))
    return [_listed(row, answered.get(row["request_id"])) for row in rows]


def scores_pending(ask: Ask, wanted: ScoreFilter) -> dict[str, Any]:
    """Return how many scores wait for how many requests, and since when the first does."""
    (row,) = ask(statement("scores_pending"), _times(wanted))
    scores = int(row["scores"])
    oldest = _time(row["oldest"]) if scores else None
    return {"scores": scores, "requests": int(row["requests"]), "oldest": oldest}


def _times(wanted: ScoreFilter) -> dict[str, Any]:
    return {
        "since_ms": min(wanted.since_ms, MAX_MS),
        "until_ms": min(wanted.until_ms, MAX_MS),
        "name": wanted.name,
    }


def _answered(ask: Ask, ids: list[str]) -> dict[str, Mapping[str, Any]]:
    """Return by id what is stored of those requests that are."""
    return {
        row["id"]: row
        for part in in_parts(ids)
        for row in ask(statement("scores_requests"), {"ids": part})
    }


def _listed(row: Mapping[str, Any], answered: Mapping[str, Any] | None) -> dict[str, Any]:
    by = answered or {}
    return {
        "request_id": row["request_id"],
        "name": row["name"],
        "value": row["value"],
        "label": row["label"],
        "source": row["source"],
        "scorer": row["scorer"],
        "is_declared": not row["scorer"].startswith(UNDECLARED),
        "scored_at": _time(row["scored_at"]),
        "delay_ms": int(row["delay_ms"]),
        "revisions": int(row["revisions"]),
        "is_pending": answered is None,
        **{key: by.get(key) for key in ("service", "environment", "composite_version", "arm")},
    }


def _time(unix_nano: str) -> str:
    return datetime.fromtimestamp(int(unix_nano) // 1_000 / 1e6, UTC).isoformat()
