"""``mvtrace watch``: the continuous self-check: write, explain, compare.

In: a collector's address. Out: a line a round, a summary, metrics on a port, an exit code: 0 all is
well, 1 something is missing, different or late. It knows the collector by its public interface
only: OTLP in, ``/api/v1/explanation`` and ``/sql`` out.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from mvtrace.cli.probes import Probe, Sender, SentProbes, differences
from mvtrace.cli.remote import Collector
from mvtrace.digest import RECORD_DOMAIN, digest_of
from mvtrace.errors import MvtraceError, NotFoundError
from mvtrace.records import RequestRecord

PATIENCE_S: Final = 60.0
"""A probe that is not explained by then is missing, until it is found after all."""
RECHECKED: Final = 10
"""Older probes looked at again each round."""
SETTLED_S: Final = 60.0
"""From this age on a probe of this run is an older one."""
_KEPT_LAGS: Final = 100_000
_POLL_S: Final = 0.05
_SHOWN: Final = 10
_BYTES: Final = (
    "SELECT hex(argMax(record, revision)) AS record FROM requests "
    "WHERE request_id = toFixedString(unhex('{digits}'), 16)"
)


@dataclass(slots=True)
class Found:
    """What was found so far."""

    sent: int = 0
    explained: int = 0
    rechecked: int = 0
    unreachable: int = 0
    """Questions that the collector did not answer."""
    missing: dict[str, str] = field(default_factory=dict)
    """Request id -> what was not there."""
    different: dict[str, str] = field(default_factory=dict)
    """Request id -> in what it differs."""
    lags: list[float] = field(default_factory=list)
    """Seconds from sending to explained, sorted on demand."""

    @property
    def is_well(self) -> bool:
        """Whether nothing is missing or different, and somebody answered."""
        return not self.missing and not self.different and (not self.sent or bool(self.explained))

    def lag(self, share: float) -> float | None:
        """Return the quantile *share* of the lags."""
        if not self.lags:
            return None
        ordered = sorted(self.lags)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON shows it."""
        return {
            "ok": self.is_well,
            "sent": self.sent,
            "explained": self.explained,
            "rechecked": self.rechecked,
            "unreachable": self.unreachable,
            "missing": self.missing,
            "different": self.different,
            "lag_s": {
                "p50": _rounded(self.lag(0.5)),
                "p95": _rounded(self.lag(0.95)),
                "max": _rounded(max(self.lags, default=None)),
            },
        }


@dataclass(slots=True)
class _Pending:
    probe: Probe
    record: RequestRecord


class Watch:
    """One run of the self-check; used by one thread."""

    def __init__(
        self,
        collector: Collector,
        sender: Sender,
        sent: SentProbes,
        *,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self.found = Found()
        self._collector = collector
        self._sender = sender
        self._sent = sent
        self._patience_s = patience_s
        self._pending: list[_Pending] = []
        self._began = time.time()

    def round(self, wait_s: float) -> None:
        """Send a probe, wait up to *wait_s* for it, look at some older ones."""
        probe, record = self._sender.send()
        self._sent.add(probe)
        self.found.sent += 1
        self._pending.append(_Pending(probe, record))
        deadline = time.monotonic() + wait_s
        self._settle()
        while self._pending and time.monotonic() < deadline:
            time.sleep(_POLL_S)
            self._settle()
        # Those of earlier runs at once, those of this one when they are old enough.
        before = max(self._began, time.time() - SETTLED_S)
        for older in self._sent.due(RECHECKED, before=before):
            self._recheck(older)

    def finish(self) -> None:
        """Wait for what is pending, as long as patience allows."""
        while self._pending:
            self._settle()
            time.sleep(_POLL_S if self._pending else 0)

    def _settle(self) -> None:
        for one in list(self._pending):
            age = time.time() - one.probe.sent_at
            problem = self._asked(lambda one=one: self._look(one))  # type: ignore[misc]
            if problem is None:
                self._pending.remove(one)
                self.found.explained += 1
                self.found.lags.append(max(0.0, time.time() - one.probe.sent_at))
                del self.found.lags[:-_KEPT_LAGS]
                self._compare_bytes(one.probe)
            elif age > self._patience_s:
                self._pending.remove(one)
                self.found.missing[one.probe.request_id] = f"{problem} after {age:.0f} s"

    def _look(self, one: _Pending) -> str | None:
        """Return what is still missing of a probe; what differs is noted."""
        told = self._collector.explanation(one.probe.request_id, wait_s=0)
        if told.get("basis") is None or not told.get("record"):
            return "no record"
        if not told.get("spans"):
            return "no span"
        if not (told.get("composite") or {}).get("registered"):
            return "no composite version"
        wrong = differences(one.record, told)
        if wrong:
            self.found.different[one.probe.request_id] = f"told otherwise: {', '.join(wrong)}"
        return None

    def _recheck(self, probe: Probe) -> None:
        self.found.rechecked += 1
        if self._asked(lambda: self._look_again(probe)) is None:
            self.found.missing.pop(probe.request_id, None)
            self._compare_bytes(probe)

    def _look_again(self, probe: Probe) -> str | None:
        try:
            told = self._collector.explanation(probe.request_id, wait_s=0)
        except MvtraceError as error:
            if _is_absent(error):
                self.found.missing[probe.request_id] = _ago(probe)
            raise
        if not told.get("record"):
            self.found.missing[probe.request_id] = f"no record, {_ago(probe)}"
            return "no record"
        return None

    def _compare_bytes(self, probe: Probe) -> None:
        self._asked(lambda: self._bytes(probe))

    def _bytes(self, probe: Probe) -> str | None:
        digits = probe.request_id.replace("-", "")
        body, _ = self._collector.sql(_BYTES.replace("{digits}", digits), "JSONEachRow")
        record = bytes.fromhex(json.loads(body)["record"])
        if digest_of(RECORD_DOMAIN, record) != probe.digest:
            self.found.different[probe.request_id] = f"other bytes, {_ago(probe)}"
        return None

    def _asked(self, question: Callable[[], str | None]) -> str | None:
        """Return what *question* returns; an answer that did not come is one of its answers."""
        try:
            return question()
        except MvtraceError as error:
            if _is_absent(error):
                return "not explained"
            self.found.unreachable += 1
            return "no answer"


def _is_absent(error: MvtraceError) -> bool:
    return isinstance(error, NotFoundError) or error.code == "request-not-found"


def _ago(probe: Probe) -> str:
    return f"sent {time.time() - probe.sent_at:.0f} s ago"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def summary_words(found: Found) -> str:
    """Return the end of a run in words."""
    told = found.to_dict()
    lag = told["lag_s"]
    lags = ", ".join(f"{name} {value:g} s" for name, value in lag.items() if value is not None)
    lines = [
        f"sent {found.sent:,}, explained {found.explained:,}"
        + (f", from sending to explained {lags}" if lags else ""),
        f"older ones checked {found.rechecked:,}",
        f"missing {len(found.missing):,}, different {len(found.different):,}",
    ]
    if found.unreachable:
        lines.append(f"questions without an answer {found.unreachable:,}")
    for name, ids in (("missing", found.missing), ("different", found.different)):
        lines += [f"  {name} {one}: {why}" for one, why in list(ids.items())[:_SHOWN]]
    lines.append("all is well" if found.is_well else "something is wrong")
    return "\n".join(lines) + "\n"
