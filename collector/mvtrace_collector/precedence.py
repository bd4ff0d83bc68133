"""The first writer wins: which records may become evidence, decided by ids and digests alone.

In: the records of a segment in the order in which they came, and what the store has of the same
requests. Out: a verdict for each. A record of another producer than the request's first, or other
bytes of a revision that is there, is a problem and goes to quarantine; equal bytes are nothing new.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple


class Sent(NamedTuple):
    """One record of the segment (records_survey.sql); ids and digest in hex digits."""

    row: int
    project: str
    request: str
    producer: str
    revision: int
    digest: str
    month: int
    flaw: str


class Stored(NamedTuple):
    """One record of the store (records_known.sql)."""

    project: str
    request: str
    producer: str
    revision: int
    digest: str


class Verdict(NamedTuple):
    """One row of ``stage_verdicts``."""

    row: int
    problem: str
    is_new: bool


def judge(sent: Iterable[Sent], stored: Iterable[Stored]) -> Iterator[Verdict]:
    """Yield a verdict for each record of *sent*, in its order."""
    owners: dict[tuple[str, str], str] = {}
    digests: dict[tuple[str, str, int], str] = {}
    for held in stored:
        owners.setdefault((held.project, held.request), held.producer)
        digests.setdefault((held.project, held.request, held.revision), held.digest)
    for record in sent:
        if record.flaw:
            yield Verdict(record.row, f"not-a-record: {record.flaw}", is_new=False)
            continue
        owner = owners.setdefault((record.project, record.request), record.producer)
        if owner != record.producer:
            problem = (
                f"conflicting-record: producer {record.producer.lower()} sent a record of a "
                f"request of producer {owner.lower()}"
            )
            yield Verdict(record.row, problem, is_new=False)
            continue
        key = (record.project, record.request, record.revision)
        is_new = key not in digests
        if digests.setdefault(key, record.digest) != record.digest:
            problem = f"conflicting-record: revision {record.revision} is there with other bytes"
            yield Verdict(record.row, problem, is_new=False)
            continue
        yield Verdict(record.row, "", is_new=is_new)
