"""The requests above and below one: who called it, up to the first, and what it called, in turn.

In: a request, and the first lines that are known already: of its parent, of what it called, of the
requests of its trace, which are nearly always the whole tree. Out: the lines of all that belongs
to it. Read is only what a trace does not tell: callers above it, and what requests below it called.
That is one statement where the trace is whole, none for a request that called nobody and whose
callers are known, and one a step where it is broken, up to MAX_STEPS. Rows of another project are
never seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from mvtrace.explain.evidence import RequestHead
from mvtrace.ids import unix_ms_of
from mvtrace.store import rows
from mvtrace.store.called import CHILD_SKEW_MS, MAX_CHILD_SPAN_MS, MAX_MS
from mvtrace.store.request_ids import hexadecimal, highest_id, lowest_id
from mvtrace.store.statements import Statements

MAX_STEPS: Final = 8
"""Statements for one tree."""
MAX_MEMBERS: Final = 200
"""Requests of a tree; there may be more."""
MAX_ROWS: Final = 1_000
"""Rows of a statement, a revision each."""


class Family(NamedTuple):
    """The first lines about the requests around one, by id; without its own."""

    members: Mapping[str, RequestHead]
    is_cut: bool = False
    """Whether there may be more than these."""


class Families:
    """Finds the requests around one; safe for several threads."""

    def __init__(self, statements: Statements) -> None:
        self._run = statements.run

    def of(
        self,
        own: RequestHead,
        ended_at: int | None,
        known: Iterable[RequestHead],
        asked: Iterable[str],
    ) -> Family:
        """Return the family of *own*, a request that ended at *ended_at* in Unix nanoseconds.

        *asked* are ids that were looked for already: those not among *known* are not stored.
        """
        lines = {head.request_id: head for head in known} | {own.request_id: own}
        looked_up, looked_below = {*asked, *lines}, set[str]()
        is_cut = False
        for _ in range(MAX_STEPS):
            caller = _unknown_caller(own, lines, looked_up)
            below = _below(own, lines)
            calling = [one for one in (own.request_id, *below) if one not in looked_below]
            if not below:
                calling = []
            if caller is None and not calling:
                break
            looked_up |= {caller} if caller else set()
            looked_below |= set(calling)
            found = self._step([caller] if caller else [], calling, own, ended_at)
            lines = {**found, **lines}
            if len(lines) > MAX_MEMBERS:
                is_cut = True
                break
        else:
            is_cut = True
        return _family(own, lines, is_cut=is_cut)

    def _step(
        self, callers: list[str], calling: list[str], own: RequestHead, ended_at: int | None
    ) -> dict[str, RequestHead]:
        started_ms = unix_ms_of(own.request_id)
        ended_ms = max(started_ms, (ended_at or 0) // 1_000_000) + MAX_CHILD_SPAN_MS
        found = self._run(
            "request_family",
            callers=[hexadecimal(one) for one in callers],
            calling=[hexadecimal(one) for one in calling],
            first=hexadecimal(lowest_id(max(started_ms - CHILD_SKEW_MS, 0))),
            last=hexadecimal(highest_id(min(ended_ms, MAX_MS))),
            limit=MAX_ROWS,
        )
        return rows.request_heads(found.rows)


def _unknown_caller(
    own: RequestHead, lines: Mapping[str, RequestHead], asked: set[str]
) -> str | None:
    """Return who called the topmost known request above *own*, if that was not looked for yet."""
    above = own.parent_request_id
    seen = {own.request_id}
    while above is not None and above not in seen:
        if above not in lines:
            return None if above in asked else above
        seen.add(above)
        above = lines[above].parent_request_id
    return None


def _below(own: RequestHead, lines: Mapping[str, RequestHead]) -> list[str]:
    """Return what *own* called, and what these called, without *own*."""
    called: dict[str, list[str]] = {}
    for head in lines.values():
        if head.parent_request_id is not None:
            called.setdefault(head.parent_request_id, []).append(head.request_id)
    found: dict[str, None] = {}
    waiting = [own.request_id]
    while waiting:
        for one in called.get(waiting.pop(), ()):
            if one != own.request_id and one not in found:
                found[one] = None
                waiting.append(one)
    return list(found)


def _family(own: RequestHead, lines: Mapping[str, RequestHead], *, is_cut: bool) -> Family:
    """Return of *lines* those above and below *own*: its trace has others too."""
    below = _below(own, lines)
    members = {one: lines[one] for one in below[:MAX_MEMBERS]}
    above = own.parent_request_id or ""
    while above in lines and above != own.request_id and above not in members:
        members[above] = lines[above]
        above = lines[above].parent_request_id or ""
    return Family(members, is_cut or len(below) > MAX_MEMBERS)
