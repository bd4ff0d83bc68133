"""The tree that a request is part of: who called it, up to the first, and what it called, in turn.

In: :class:`Evidence`. Out: one list of requests, callers first, each with its depth; None where the
request stands alone. Records may contradict each other: nothing is shown twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from mvtrace.explain.evidence import Evidence, RequestHead, own_head, time_text

MAX_DEPTH: Final = 32
"""Requests below one another that are shown."""


def tree_of(evidence: Evidence) -> Mapping[str, Any] | None:
    """Return the tree of the request; None where nobody called it, and it called nobody."""
    own = own_head(evidence)
    above = _above(own, evidence.family)
    caller = above[0].parent_request_id if above else own.parent_request_id
    lines = list(_lines(own, above, evidence.family))
    if len(lines) == 1 and caller in (None, own.request_id):
        return None
    known = {line["request_id"] for line in lines}
    return {
        "root": lines[0]["request_id"],
        "caller_missing": None if caller in known else caller,
        "requests": lines,
        "is_cut": evidence.family_cut,
    }


def _above(own: RequestHead, family: Mapping[str, RequestHead]) -> list[RequestHead]:
    """Return who called, the first caller first."""
    found: list[RequestHead] = []
    seen = {own.request_id}
    caller = own.parent_request_id or ""
    while caller in family and caller not in seen and len(found) < MAX_DEPTH:
        seen.add(caller)
        found.append(family[caller])
        caller = family[caller].parent_request_id or ""
    return found[::-1]


def _lines(
    own: RequestHead, above: list[RequestHead], family: Mapping[str, RequestHead]
) -> Iterator[dict[str, Any]]:
    """Yield the requests in the order in which they are read, each before what it called."""
    for depth, head in enumerate(above):
        yield _line(head, depth, "caller")
    yield _line(own, len(above), "this")
    called: dict[str, list[RequestHead]] = {}
    for head in sorted(family.values(), key=lambda one: one.started_at, reverse=True):
        called.setdefault(head.parent_request_id or "", []).append(head)
    seen = {own.request_id, *(head.request_id for head in above)}
    waiting = [(head, len(above) + 1) for head in called.get(own.request_id, ())]
    while waiting:
        head, depth = waiting.pop()
        if head.request_id in seen:
            continue
        seen.add(head.request_id)
        yield _line(head, depth, "called")
        if depth < len(above) + MAX_DEPTH:
            waiting.extend((one, depth + 1) for one in called.get(head.request_id, ()))


def _line(head: RequestHead, depth: int, relation: str) -> dict[str, Any]:
    return {
        "request_id": head.request_id,
        "parent_request_id": head.parent_request_id,
        "relation": relation,
        "depth": depth,
        "time": time_text(head.started_at or None),
        "service": head.service or None,
        "environment": head.environment or None,
        "method": head.method,
        "route": head.route,
        "status_code": head.status_code,
        "outcome": head.outcome,
        "composite_version": head.composite_version,
        "arm": head.arm,
    }
