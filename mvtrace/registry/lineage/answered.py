"""Which requests were answered by anything made from something.

In: a walk down. Out: how many requests its versions answered, the newest of them, and statements
that list them all over ``/sql``.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from mvtrace.registry.lineage.walking import Graph
from mvtrace.registry.reading import Ask, statement

VERSIONS_AT_ONCE: Final = 1_000
"""Versions that one statement names: the gate lets 128 KiB through."""
MAX_LISTED: Final = 20
_LIST: Final = (
    "SELECT request_id_text, composite_version, service, environment, route FROM requests "
    "WHERE composite_version IN ({}) ORDER BY request_id, revision DESC LIMIT 1 BY request_id"
)


class Answered(NamedTuple):
    """What the versions of a walk answered."""

    requests: int
    first: str | None
    """The first and the last request, 32 hex digits: the time is in the id."""
    last: str | None
    versions: tuple[str, ...]
    """Those that answered any; of very many the first hundred."""
    newest: tuple[dict[str, Any], ...]
    sql: tuple[str, ...]
    """Statements that list all of them."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "requests": self.requests,
            "first_request": dashed(self.first),
            "last_request": dashed(self.last),
            "versions": list(self.versions),
            "newest": list(self.newest),
            "sql": list(self.sql),
        }


def answered(ask: Ask, graph: Graph, *, limit: int = MAX_LISTED) -> Answered:
    """Return what the versions in *graph*, a walk down, answered; the newest *limit* with ids."""
    versions = sorted(ref.digest for ref in graph.of_kind("composite"))
    counts: list[dict[str, Any]] = []
    newest: list[dict[str, Any]] = []
    slices = [
        versions[first : first + VERSIONS_AT_ONCE]
        for first in range(0, len(versions), VERSIONS_AT_ONCE)
    ]
    for part in slices:
        found = ask(statement("lineage_answered"), {"versions": part})
        counts.extend(row for row in found if int(row["requests"]))
        if limit and any(int(row["requests"]) for row in found):
            asked = {"versions": part, "limit": limit}
            newest.extend(ask(statement("lineage_newest_answered"), asked))
    newest.sort(key=lambda row: str(row["request_id"]), reverse=True)
    return Answered(
        requests=sum(int(row["requests"]) for row in counts),
        first=min((row["first"] for row in counts), default=None),
        last=max((row["last"] for row in counts), default=None),
        versions=tuple(version for row in counts for version in row["versions"]),
        newest=tuple(newest[:limit]),
        sql=tuple(_LIST.format(", ".join(f"'{one}'" for one in part)) for part in slices),
    )


def dashed(request: str | None) -> str | None:
    """Return 32 hex digits as a request id is written."""
    if not request:
        return None
    return "-".join((request[:8], request[8:12], request[12:16], request[16:20], request[20:]))
