"""Records of requests that met a slot rightly or not, put into a store by plain inserts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from mvtrace.ids import format_uuid7
from mvtrace.store.session import Session

START_MS = 1_787_396_460_000
"""The beginning of a minute."""
MINUTE_MS = 60_000
RIGHT = "sha256:" + "0" * 64
WRONG = {letter: "sha256:" + letter * 64 for letter in "abcdef"}


class Met(NamedTuple):
    """One request: when it began, and what it met in the slot; None: it did not use it."""

    at_ms: int
    value: str | None
    service: str = "shop"

    @property
    def id(self) -> str:
        return format_uuid7(START_MS + self.at_ms, 1 + ord(self.service[0])).replace("-", "")


def declared(met: Met) -> dict[str, Any]:
    """Return what a record says of a slot for which RIGHT is declared."""
    if met.value is None:
        return {}
    slot = {"kind": "index", "name": "docs"}
    found: dict[str, Any] = {"observed": [{**slot, "digest": met.value}]}
    if met.value != RIGHT:
        drift = {**slot, "what": "digest", "expected": RIGHT, "observed": met.value}
        found["drift"] = [drift]
    return found


def put(
    session: Session,
    project: str,
    requests: Iterable[tuple[Met, dict[str, Any]]],
    received_at: datetime | None = None,
) -> None:
    """Store the records of *requests*."""
    now = received_at or datetime.now(UTC)
    rows = [
        (
            project,
            bytes.fromhex(met.id),
            2,
            json.dumps(said),
            "finished",
            met.service,
            "prod",
            len(said.get("drift", ())),
            now,
            now,
        )
        for met, said in requests
    ]
    columns = (
        *("project", "request_id", "revision", "record", "state", "service", "environment"),
        *("drift", "received_at", "started_at"),
    )
    if rows:
        session.insert("requests", columns, rows)
