"""Comparisons, each computed seldom, few at a time, and for a bounded share of a processor.

Comes in: what is asked, as often as anybody likes. Goes out: what was found, perhaps some seconds
old. A gate that polls each minute must not be a way to keep the collector from its work: equal
questions share one answer for a while (longer where it was dear, never beyond its hour), one thread
computes, few questions wait for it, and a project that has used up its time is sent away until it
has some again. What is computed and stored is no matter of this module.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from mvtrace_collector.errors import RESOURCE_EXHAUSTED, BusyError

FRESH_S: Final = 20.0
"""An answer serves for so long, so that who polls each minute gets a new one."""
FRESH_FACTOR: Final = 20.0
"""Or for so many times what it took: one question, polled for ever, uses at most 5 %."""
MAX_FRESH_S: Final = 300.0
PENDING: Final = 8
"""Questions that wait at the same time, and those of one project."""
PENDING_OF_ONE: Final = 3
SHARE: Final = 0.25
"""Of one processor, that a project may use in the long run, where nothing else is set; at once it
may use what that is in a minute."""
MAX_KEPT: Final = 256
MAX_KEPT_BYTES: Final = 32 * 1024 * 1024
_SOON_S: Final = 5
_MAX_RETRY_S: Final = 600
_MINUTE_S: Final = 60.0
_STOPPING: Final = "The collector is stopping"
_HOUR_S: Final = 3600

Question = TypeVar("Question", bound=Hashable)
Answer = TypeVar("Answer")


class ComparingBusyError(BusyError):
    """Too many comparisons wait to be computed."""

    code = "comparing-busy"


class ComparingTooMuchError(ComparingBusyError):
    """A project has used up its time; it gets more of it as time passes."""

    code = "comparing-too-much"
    status = 429
    rpc_code = RESOURCE_EXHAUSTED


@dataclass(frozen=True, slots=True)
class Kept(Generic[Answer]):
    """An answer, since when, for how long, and what it weighs."""

    answer: Answer
    made_at: float
    """Of the monotonic clock, in seconds."""
    until: float
    hour: int
    size: int


@dataclass(slots=True)
class Counts:
    """What has become of the questions since the start."""

    computed: int = 0
    shared: int = 0
    """Answered by what was computed for another."""
    refused: int = 0
    failed: int = 0
    seconds: float = 0.0
    """That computing took."""


@dataclass(slots=True)
class _Allowance:
    left_s: float
    at: float


class Comparisons(Generic[Question, Answer]):
    """Answers questions of many projects; safe for several threads."""

    def __init__(
        self,
        compute: Callable[[Question], Answer],
        *,
        project_of: Callable[[Question], str],
        size_of: Callable[[Answer], int],
        share: float = SHARE,
        now: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._compute = compute
        self._project_of = project_of
        self._size_of = size_of
        self._share = share
        self._burst_s = share * _MINUTE_S
        self._now = now
        self._wall = wall
        self._guard = threading.Lock()
        self._kept: OrderedDict[Question, Kept[Answer]] = OrderedDict()
        self._kept_bytes = 0
        self._pending: dict[Question, Future[Kept[Answer]]] = {}
        self._accounts: dict[Question, str] = {}
        self._allowances: dict[str, _Allowance] = {}
        self._is_open = True
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="compare")
        self.counts = Counts()

    def ask(self, question: Question, *, account: str | None = None) -> Future[Kept[Answer]]:
        """Return the answer to come; nobody can cancel it.

        *account* is on whose time it is computed; None: on that of the question's project.

        Raises:
            ComparingBusyError: it may be asked again later.
        """
        with self._guard:
            if (kept := self._fresh(question)) is not None:
                self.counts.shared += 1
                return _done(kept)
            if (pending := self._pending.get(question)) is not None:
                self.counts.shared += 1
                return pending
            payer = self._project_of(question) if account is None else account
            try:
                self._admit(payer)
            except ComparingBusyError:
                self.counts.refused += 1
                raise
            future: Future[Kept[Answer]] = Future()
            future.set_running_or_notify_cancel()
            self._pending[question] = future
            self._accounts[question] = payer
            self._threads.submit(self._run, question, future)
            return future

    def age_of(self, kept: Kept[Answer]) -> float:
        """Return how long ago, in seconds, the data of an answer were read."""
        return max(0.0, self._now() - kept.made_at)

    def forget(self, question: Question) -> None:
        """Forget the answer to *question*, which something has made old."""
        with self._guard:
            self._drop(question)

    def close(self) -> None:
        """Answer what waits with an error; what is being computed is waited for."""
        with self._guard:
            self._is_open = False
        self._threads.shutdown(wait=True, cancel_futures=True)
        with self._guard:
            pending = list(self._pending.values())
            self._pending.clear()
        for one in pending:
            one.set_exception(ComparingBusyError(_STOPPING, retry_after_s=_SOON_S))

    def _run(self, question: Question, future: Future[Kept[Answer]]) -> None:
        began = self._now()
        try:
            answer = self._compute(question)
        except Exception as error:  # noqa: BLE001 (it is raised where it is waited for)
            with self._guard:
                self.counts.failed += 1
                self._spent(question, self._now() - began)
            future.set_exception(error)
            return
        took = self._now() - began
        with self._guard:
            self.counts.computed += 1
            self._spent(question, took)
            kept = self._keep(question, answer, began, took)
        future.set_result(kept)

    def _admit(self, payer: str) -> None:
        if not self._is_open:
            raise ComparingBusyError(_STOPPING, retry_after_s=_SOON_S)
        mine = sum(one == payer for one in self._accounts.values())
        if len(self._pending) >= PENDING or mine >= PENDING_OF_ONE:
            raise ComparingBusyError(
                f"{len(self._pending)} comparisons wait to be computed, {mine} of them this "
                "project's",
                retry_after_s=_SOON_S,
            )
        left_s = self._allowance(payer).left_s
        if left_s <= 0:
            retry_s = min(_MAX_RETRY_S, math.ceil(-left_s / self._share) + 1)
            raise ComparingTooMuchError(
                f"This project's comparisons took more than {self._share:.0%} of a processor",
                retry_after_s=retry_s,
            )

    def _allowance(self, payer: str) -> _Allowance:
        now = self._now()
        found = self._allowances.get(payer) or _Allowance(self._burst_s, now)
        found.left_s = min(self._burst_s, found.left_s + (now - found.at) * self._share)
        found.at = now
        return found

    def _spent(self, question: Question, seconds: float) -> None:
        self._pending.pop(question, None)
        payer = self._accounts.pop(question)
        self.counts.seconds += seconds
        allowance = self._allowance(payer)
        allowance.left_s -= seconds
        self._allowances[payer] = allowance
        if len(self._allowances) > MAX_KEPT:  # whoever has all of it needs no entry
            names = list(self._allowances)
            full = [name for name in names if self._allowance(name).left_s >= self._burst_s]
            for name in full:
                del self._allowances[name]

    def _fresh(self, question: Question) -> Kept[Answer] | None:
        kept = self._kept.get(question)
        if kept is None:
            return None
        if self._now() >= kept.until or self._hour() != kept.hour:
            self._drop(question)
            return None
        self._kept.move_to_end(question)
        return kept

    def _keep(self, question: Question, answer: Answer, began: float, took: float) -> Kept[Answer]:
        fresh_s = min(MAX_FRESH_S, max(FRESH_S, FRESH_FACTOR * took))
        kept = Kept(answer, began, began + took + fresh_s, self._hour(), self._size_of(answer))
        self._drop(question)
        self._kept[question] = kept
        self._kept_bytes += kept.size
        while self._kept and (len(self._kept) > MAX_KEPT or self._kept_bytes > MAX_KEPT_BYTES):
            self._drop(next(iter(self._kept)))
        return kept

    def _drop(self, question: Question) -> None:
        if (kept := self._kept.pop(question, None)) is not None:
            self._kept_bytes -= kept.size

    def _hour(self) -> int:
        return int(self._wall() // _HOUR_S)


def _done(kept: Kept[Answer]) -> Future[Kept[Answer]]:
    future: Future[Kept[Answer]] = Future()
    future.set_result(kept)
    return future
