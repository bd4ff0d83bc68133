"""Read episodes of drift.

In: a filter, or the beginning of an episode's id. Out: :class:`Episode` values. A store that has no
such table yet has no drift; finding it is the collector's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mvtrace.errors import (
    AmbiguousDriftError,
    DriftNotFoundError,
    StatementFailedError,
)
from mvtrace.explain.drift import Episode, Key
from mvtrace.store.filters import DEFAULT_LIMIT, check_keys, flag_of, limit_of, time_of
from mvtrace.store.request_ids import hexadecimal, highest_id, lowest_id
from mvtrace.store.statements import Statements

KEYS: Final = ("since", "until", "service", "environment", "kind", "open", "limit", "wait")
EPISODE_ID: Final = re.compile(r"[0-9a-f]{8,32}")
_MAX_MS: Final = 2**48 - 1
_UNKNOWN_TABLE: Final = 60
_MAX_LISTED: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftFilter:
    """Which episodes to list; None: any."""

    since_ms: int = 0
    """Those that still were met then, or later."""
    until_ms: int = _MAX_MS
    """Those that began by then."""
    service: str | None = None
    environment: str | None = None
    kind: str | None = None
    only_open: bool = False
    limit: int = DEFAULT_LIMIT


def parse_drift_filter(texts: Mapping[str, str], *, now_ms: int) -> DriftFilter:
    """Return the filter that *texts* by key ask for.

    Raises:
        FilterError: a key or a value means nothing.

    """
    check_keys(texts, KEYS)
    return DriftFilter(
        since_ms=time_of("since", texts.get("since"), now_ms, default=0),
        until_ms=time_of("until", texts.get("until"), now_ms, default=_MAX_MS),
        service=texts.get("service") or None,
        environment=texts.get("environment") or None,
        kind=texts.get("kind") or None,
        only_open=flag_of("open", texts.get("open")),
        limit=limit_of(texts.get("limit")),
    )


class Drift:
    """Reads of one project; safe for several threads, as the store is."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    def find(self, wanted: DriftFilter) -> list[dict[str, Any]]:
        """Return the episodes that *wanted* lets through as plain values, the latest first."""
        return [one.to_dict() for one in self.listed(wanted)]

    def listed(self, wanted: DriftFilter, *, prefix: str = "") -> tuple[Episode, ...]:
        """Return the episodes that *wanted* lets through, whose id begins with *prefix*."""
        rows = self._rows(
            "drift_list",
            prefix=prefix,
            first=hexadecimal(lowest_id(wanted.since_ms)),
            last=hexadecimal(highest_id(wanted.until_ms)),
            service=wanted.service or "",
            environment=wanted.environment or "",
            kind=wanted.kind or "",
            only_open=int(wanted.only_open),
            limit=wanted.limit,
        )
        return tuple(self._episode(row) for row in rows)

    def named(self, prefix: str) -> Episode:
        """Return the one episode whose id begins with *prefix*, or the one it became part of.

        Raises:
            DriftNotFoundError: there is none.
            AmbiguousDriftError: there are several.

        """
        found = self.listed(DriftFilter(limit=_MAX_LISTED + 1), prefix=prefix)
        if not found:
            heirs = self._rows("drift_successor", prefix=prefix)
            if len(heirs) == 1 and heirs[0][1]:
                return self.named(str(heirs[0][1]))
            raise DriftNotFoundError(prefix)
        if len(found) > 1:
            raise AmbiguousDriftError(prefix, [one.id for one in found[:_MAX_LISTED]])
        return found[0]

    def _episode(self, row: Sequence[Any]) -> Episode:
        first, last, requests, ended_by = row[8:]
        return Episode(
            project=self._statements.project,
            key=Key(*(str(value) for value in row[1:8])),
            first=first,
            last=last,
            requests=requests,
            ended_by=ended_by,
        )

    def _rows(self, name: str, **parameters: Any) -> Sequence[tuple[Any, ...]]:
        try:
            return self._statements.run(name, **parameters).rows
        except StatementFailedError as error:
            if error.store_code == _UNKNOWN_TABLE:
                return ()
            raise
