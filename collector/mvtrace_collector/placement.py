"""Which request a trace belongs to: one id a trace, whatever order its spans come in.

In: the traces of a segment with what their spans claim, and what the store knows them by. Out: a
request id for each, decided in this order: what the span claims, if it is a UUIDv7 of a sane time;
what the store knows the trace by; what another span of the segment claims; an id made from project,
trace and start. The first load of a trace writes its alias, so that all later ones find it.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, NamedTuple

from mvtrace.ids import UUID7_PATTERN

EARLIEST_MS: Final = 1_577_836_800_000
"""2020-01-01: no clock of a sender can be before it."""
DAY_MS: Final = 86_400_000
"""How far a sender's clock may be ahead of the collector's."""


class Claim(NamedTuple):
    """Spans of one trace that claim the same request, or none (ids_survey.sql)."""

    project: str
    trace: str
    """Hex digits, upper case."""
    claimed: str
    earliest_ns: int
    first_ms: int
    last_ms: int
    is_trace: bool
    """Not so for an event of no trace, which stands for one of its own."""


class Known(NamedTuple):
    """A request that the store knows a trace by (ids_known.sql)."""

    project: str
    trace: str
    request: str


class Placed(NamedTuple):
    """One row of ``stage_ids``."""

    project: str
    trace_id: bytes
    claimed: str
    request_id: bytes
    month: int
    first_ms: int
    is_new: bool


def place(claims: Iterable[Claim], known: Iterable[Known]) -> Iterator[Placed]:
    """Yield the request id of every claim."""
    stored: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for alias in known:
        stored[alias.project, alias.trace].add(alias.request)
    traces: defaultdict[tuple[str, str], list[Claim]] = defaultdict(list)
    for claim in claims:
        traces[claim.project, claim.trace].append(claim)
    for key, of_trace in traces.items():
        yield from _placed(of_trace, stored[key])


def _placed(of_trace: list[Claim], stored: set[str]) -> Iterator[Placed]:
    valid = [_valid(claim) if claim.claimed else "" for claim in of_trace]
    others = ""
    if not all(valid):
        others = min(stored) if stored else min(filter(None, valid), default="")
        others = others or _minted(of_trace)
    trace_id = bytes.fromhex(of_trace[0].trace)
    for claim, claimed in zip(of_trace, valid, strict=True):
        request = claimed or others
        is_new = claim.is_trace and request not in stored
        request_id = bytes.fromhex(request)
        month = month_of(request)
        yield Placed(
            claim.project, trace_id, claim.claimed, request_id, month, claim.first_ms, is_new
        )


def month_of(request: str) -> int:
    """Return the month, as YYYYMM, of a request id in hex digits."""
    return _month_of_day(int(request[:12], 16) // DAY_MS)


@lru_cache(maxsize=4096)
def _month_of_day(day: int) -> int:
    moment = datetime.fromtimestamp(day * DAY_MS / 1000, UTC)
    return moment.year * 100 + moment.month


def _valid(claim: Claim) -> str:
    """Return the claimed id in upper-case hex digits, or nothing where it cannot be one."""
    if not UUID7_PATTERN.fullmatch(claim.claimed):
        return ""
    request = claim.claimed.replace("-", "").upper()
    is_sane = EARLIEST_MS <= int(request[:12], 16) <= claim.last_ms + DAY_MS
    return request if is_sane else ""


def _minted(of_trace: list[Claim]) -> str:
    """Return a UUIDv7 from project, trace and earliest start: the same wherever it is made."""
    project, trace = of_trace[0].project, of_trace[0].trace
    raw = bytes.fromhex(trace)
    start_ms = min(claim.earliest_ns for claim in of_trace) // 1_000_000
    seed = hashlib.sha256(project.encode() + b"\n" + raw).hexdigest()
    return f"{start_ms:012x}7{seed[:3]}{'89ab'[raw[0] % 4]}{seed[3:18]}".upper()
