"""Who owes what: a ledger of what was sent and acknowledged, and a judge who asks the store later.

A producer writes down each request before it begins it, and owes nobody anything yet. Once it was
told that a request is safe (spooled, or accepted by the collector) that becomes an obligation. After
the faults the judge reads the store as any user does, over SQL and the explanation, and says what is
missing, changed, unknown or there twice.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx2

STANDS_STILL_S: Final = 120.0
FRESH_WITHIN_S: Final = 120.0
GAPS_WITHIN_S: Final = 120.0
SLOW_MACHINE: Final = 4.0
"""So much longer than a quiet machine a loaded one may need for anything that is waited for."""
_SAMPLE: Final = 3
"""Obligations whose explanation is read besides, from both ends and the middle."""


def payload_of(number: int, size: int = 64) -> str:
    """Return the text that the request *number* carries; anybody can compute it again."""
    digest = hashlib.sha256(f"payload {number}".encode()).hexdigest()
    return (digest * (size // len(digest) + 1))[:size]


@dataclass(frozen=True)
class Obligation:
    """What has to be readable of one request."""

    request_id: str
    number: int
    payload: str | None = None
    """The record's ``payload`` annotation."""
    record_sha256: str | None = None
    """Of all bytes of the record, where the producer knows them."""
    spans: int | None = None
    """How many different spans the request has; None where that was not promised."""


@dataclass
class Ledger:
    """Thread-safe; what is begun may arrive, what is owed must."""

    begun: dict[str, int] = field(default_factory=dict)
    owed: dict[str, Obligation] = field(default_factory=dict)
    intended: int = 0
    """Requests that a producer was about to begin: a kill may fall before it took the number."""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def begin(self, request_id: str, number: int) -> None:
        """Note a request before anything of it is sent."""
        with self._lock:
            self.begun[request_id] = number

    def owe(self, obligations: Iterable[Obligation]) -> None:
        """Note that these were acknowledged."""
        with self._lock:
            self.owed.update((one.request_id, one) for one in obligations)

    @classmethod
    def of_files(cls, paths: Iterable[Path]) -> Ledger:
        """Return what other processes wrote down with ``LedgerFile``."""
        ledger = cls()
        for path in paths:
            # The writer may have been killed within its last line.
            lines = path.read_bytes().split(b"\n")[:-1]
            for line in lines:
                word, *rest = json.loads(line)
                if word == "intend":
                    ledger.intended += 1
                elif word == "begin":
                    ledger.begin(*rest)
                else:
                    ledger.owe(Obligation(**one) for one in rest)
        return ledger


class LedgerFile:
    """A ledger that survives its writer: each entry is one write to a file."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def intend(self, number: int) -> None:
        """Note a request before its number is taken."""
        self._write(["intend", number])

    def begin(self, request_id: str, number: int) -> None:
        """Note a request before anything of it is sent."""
        self._write(["begin", request_id, number])

    def owe(self, obligations: Iterable[Obligation]) -> None:
        """Note that these were acknowledged."""
        self._write(["owe", *(one.__dict__ for one in obligations)])

    def _write(self, entry: Sequence[Any]) -> None:
        os.write(self._handle, json.dumps(entry).encode() + b"\n")


@dataclass
class Verdict:
    """What the judge found; every list is empty where nothing was lost."""

    sent: int
    acknowledged: int
    stored: int
    missing: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    repeats: int = 0
    """Rows that lie in the tables a second time and that no reader counts; a merge drops them."""
    quarantined: int = 0
    gaps_reported: int | None = None
    gaps_injected: tuple[int, int] | None = None
    """At least and at most so many requests were begun and never handed over; None: not asked."""
    is_fresh_event_through: bool = False
    unexplained: list[str] = field(default_factory=list)

    def show(self, title: str) -> None:
        """Print the counts as a small table."""
        cells = {
            "sent": self.sent,
            "acknowledged": self.acknowledged,
            "stored": self.stored,
            "missing": len(self.missing),
            "changed": len(self.changed),
            "unknown": len(self.unknown),
            "duplicates": len(self.doubled),
            "repeated rows": self.repeats,
            "quarantined": self.quarantined,
            "gaps reported": "-" if self.gaps_reported is None else self.gaps_reported,
            "gaps injected": _shown_bounds(self.gaps_injected),
        }
        widths = [max(len(name), len(str(value))) for name, value in cells.items()]
        print(f"\n{title}")
        for texts in (cells, map(str, cells.values())):
            print("  " + "  ".join(t.rjust(w) for t, w in zip(texts, widths, strict=True)))

    def hold(self) -> None:
        """Fail where an obligation is not met."""
        assert not self.missing, f"{len(self.missing)} missing, such as {self.missing[:3]}"
        assert not self.changed, f"{len(self.changed)} changed, such as {self.changed[:3]}"
        assert not self.unknown, f"{len(self.unknown)} unknown, such as {self.unknown[:3]}"
        assert not self.doubled, f"{len(self.doubled)} twice, such as {self.doubled[:3]}"
        assert not self.unexplained, f"not explained: {self.unexplained}"
        assert self.is_fresh_event_through, "a fresh event does not get through"
        if self.gaps_injected is not None:
            assert self.gaps_reported is not None
            least, most = self.gaps_injected
            assert least <= self.gaps_reported <= most, "the gaps are not those that there are"


class Judge:
    """Reads a collector's store as any user does."""

    def __init__(self, url: str) -> None:
        self.url = url

    def rows(self, query: str) -> list[dict[str, Any]]:
        """Return the rows of *query*."""
        answer = httpx2.post(f"{self.url}/sql", content=f"{query} FORMAT JSONEachRow", timeout=60)
        assert answer.status_code == 200, answer.text
        return [json.loads(line) for line in answer.text.splitlines()]

    def number(self, query: str) -> int:
        """Return the one number of *query*."""
        (row,) = self.rows(query)
        (value,) = row.values()
        return int(value)

    def metric(self, name: str) -> float:
        """Return one value of /metrics."""
        return metrics(self.url)[name]

    def wait_stored(self, stands_still_s: float = STANDS_STILL_S) -> None:
        """Return once everything accepted is stored; fail where loading stands still for so long."""
        before, deadline = -1.0, 0.0
        while True:
            values = metrics(self.url)
            stored = values["mvtrace_inbox_stored_seq"]
            if stored >= values["mvtrace_inbox_accepted_seq"]:
                return
            if stored != before:
                before, deadline = stored, time.monotonic() + stands_still_s
            if time.monotonic() > deadline:
                said = httpx2.get(f"{self.url}/readyz", timeout=30).text
                raise AssertionError(f"nothing is stored for {stands_still_s:g} s: {said}")
            time.sleep(0.05)

    def verdict(self, ledger: Ledger, *, counts_gaps: bool = False) -> Verdict:
        """Compare the store with *ledger*, once all that was accepted is stored."""
        self.wait_stored()
        stored = {row["id"]: row for row in self.rows(_REQUESTS)}
        spans = {row["id"]: row for row in self.rows(_SPANS)}
        found = Verdict(len(ledger.begun), len(ledger.owed), len(stored))
        for one in ledger.owed.values():
            self._compare(one, stored.get(one.request_id), spans.get(one.request_id), found)
        known = ledger.begun.keys() | ledger.owed.keys()
        found.unknown = sorted((stored.keys() | spans.keys()) - known)
        found.doubled = [key for key, row in stored.items() if row["seen"] != 1]
        found.doubled += [key for key, row in spans.items() if row["seen"] != row["spans"]]
        found.repeats = self.number(_REPEATED_REQUESTS) + self.number(_REPEATED_SPANS)
        found.quarantined = self.number("SELECT count() FROM quarantine FINAL")
        if counts_gaps:
            arrived = len(stored.keys() & ledger.begun.keys())
            least, most = len(ledger.begun) - arrived, ledger.intended - arrived
            arrives(lambda: least <= self.gaps() <= most, GAPS_WITHIN_S)
            found.gaps_reported, found.gaps_injected = self.gaps(), (least, most)
        owed = sorted(ledger.owed.keys() & stored.keys())
        sample = {owed[len(owed) * part // _SAMPLE] for part in range(_SAMPLE)} if owed else set()
        found.unexplained = [key for key in sample if not self._explains(key)]
        found.is_fresh_event_through = self._takes_fresh_event(ledger)
        return found

    def gaps(self) -> int:
        """Return how many lost requests the collector reports."""
        return self.number(_GAPS)

    def _compare(
        self,
        owed: Obligation,
        stored: dict[str, Any] | None,
        spans: dict[str, Any] | None,
        found: Verdict,
    ) -> None:
        if stored is None:
            found.missing.append(owed.request_id)
            return
        is_same = owed.record_sha256 in (None, stored["sha256"])
        is_same = is_same and owed.payload in (None, stored["payload"])
        if not is_same:
            found.changed.append(owed.request_id)
        if owed.spans is not None and (0 if spans is None else spans["spans"]) < owed.spans:
            found.missing.append(f"spans of {owed.request_id}")

    def _explains(self, request_id: str) -> bool:
        address = f"{self.url}/api/v1/explanation"
        answer = httpx2.get(address, params={"id": request_id}, timeout=30)
        return answer.status_code == 200 and request_id in answer.text

    def _takes_fresh_event(self, ledger: Ledger) -> bool:
        from wire_producer import WireProducer  # it imports this module

        fresh = Ledger()
        WireProducer(self.url, fresh).send(1, patience_s=FRESH_WITHIN_S)
        (request_id,) = fresh.begun
        ledger.begin(request_id, 0)  # the next verdict finds it in the store
        query = f"SELECT count() AS n FROM requests WHERE request_id_text = '{request_id}'"
        return arrives(lambda: self.number(query) == 1, FRESH_WITHIN_S)


def _shown_bounds(bounds: tuple[int, int] | None) -> str:
    if bounds is None:
        return "-"
    least, most = bounds
    return str(least) if least == most else f"{least} to {most}"


def metrics(url: str) -> dict[str, float]:
    """Return the values of a collector's /metrics by name with labels."""
    lines = httpx2.get(f"{url}/metrics", timeout=30).text.splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def arrives(condition: Any, timeout_s: float) -> bool:
    """Return whether *condition* comes true in *timeout_s* seconds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def wait_for(condition: Any, timeout_s: float, complaint: str) -> None:
    """Return once *condition* is true; fail with *complaint* where it is not in time.

    *timeout_s* is ample for a quiet machine, and stretched for one that is not.
    """
    longest_s = SLOW_MACHINE * timeout_s
    assert arrives(condition, longest_s), f"{complaint} after {longest_s:g} s"


_REQUESTS: Final = """
SELECT request_id_text AS id, count() AS seen,
       lower(hex(SHA256(any(record)))) AS sha256,
       JSONExtractString(any(record), 'annotations', 'payload') AS payload
FROM requests FINAL GROUP BY id"""
_SPANS: Final = """
SELECT request_id_text AS id, toUInt32(uniqExact(trace_id, span_id)) AS spans,
       toUInt32(count()) AS seen
FROM spans FINAL GROUP BY id"""
_REPEATED_REQUESTS: Final = "SELECT count() - uniqExact(request_id, revision) FROM requests"
_REPEATED_SPANS: Final = "SELECT count() - uniqExact(trace_id, span_id) FROM spans"
_GAPS: Final = "SELECT sum(missing) FROM ingest_gaps FINAL"
