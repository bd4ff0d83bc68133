"""What a collector knows of one producer: the numbers that are stored, and what it said itself.

In: runs of stored numbers as they come, and rows of ``producers`` and ``producer_checks``. Out: up
to where its numbers can be judged now, and why a hole may be there. Times are Unix milliseconds,
but for ages, which are monotonic seconds. Nothing is fetched here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from mvtrace_collector.number_runs import Hole, Range, Run, Runs, within, without

IN_FLIGHT_MS: Final = 2_000
"""A request that runs for longer has sent the record of its start; one more second for its way."""
_MARK_S: Final = 1.0
_UUID7_DIGIT: Final = 12


class Loss(NamedTuple):
    """What a producer knowingly lost for one reason, between which numbers; 0 for not known."""

    reason: str
    number: int
    first: int
    last: int


class Word(NamedTuple):
    """What a producer said last."""

    state: str
    """``running``, ``closed`` or ``orphaned``; empty where it said nothing."""
    last: int = 0
    started_ms: int = 0
    last_ms: int = 0
    """When it took its last number."""
    ended_ms: int = 0
    losses: tuple[Loss, ...] = ()

    @property
    def is_end(self) -> bool:
        """Whether it has ended."""
        return self.state in ("closed", "orphaned")


SILENT: Final = Word("")


@dataclass
class Producer:
    """One producer of one project."""

    project: str
    key: str
    """Its id in 32 hex digits."""
    service: str = ""
    environment: str = ""
    runs: Runs = field(default_factory=Runs)
    """Stored numbers, as far as this process has seen them."""
    checked: int = 0
    """Each number up to it is stored, or in a gap."""
    known: int = 0
    """The highest number that is stored."""
    word: Word = SILENT
    ended_for: float | None = None
    """Since when, in monotonic seconds, it is known to have ended."""
    late: list[Range] = field(default_factory=list)
    """Numbers that came after they were judged."""
    has_new_word: bool = False
    saved: tuple[int, int, bool] | None = None
    saved_at: float = float("-inf")
    touched_at: float = 0.0
    _marks: deque[tuple[float, int]] = field(default_factory=deque)

    @property
    def uuid(self) -> str:
        """Its id as text."""
        key = self.key
        return f"{key[:8]}-{key[8:12]}-{key[12:16]}-{key[16:20]}-{key[20:]}"

    @property
    def began_ms(self) -> int | None:
        """When it began, as it said or as its id tells."""
        if self.word.started_ms:
            return self.word.started_ms
        return int(self.key[:12], 16) if self.key[_UUID7_DIGIT] == "7" else None

    @property
    def is_settled(self) -> bool:
        """Whether it has ended and all its numbers are judged."""
        return self.word.is_end and self.checked >= max(self.word.last, self.known)

    def arrived(self, run: Run, *, now: float) -> None:
        """Note that the records of *run* are stored."""
        self.touched_at = now
        self.runs.add(run)
        if run.first <= self.checked:
            self.late.append((run.first, min(run.last, self.checked)))
        self.known = max(self.known, run.last)
        since = self._marks.pop()[0] if self._is_marked(now) else now
        self._marks.append((since, self.known))

    def heard(self, word: Word, *, now: float) -> None:
        """Note what it said."""
        if word == self.word or (self.word.is_end and not word.is_end):
            return
        self.touched_at = now
        self.word = word
        self.has_new_word = True
        if word.is_end and self.ended_for is None:
            self.ended_for = now

    def due_up_to(self, *, now: float, grace_s: float, end_grace_s: float) -> int:
        """Return the highest number that can be judged now.

        Of an ended producer all; of a running one those before a number that is stored for a while:
        a slower request has sent the record of its start by then.
        """
        if self.ended_for is not None and now - self.ended_for >= end_grace_s:
            return max(self.word.last, self.known)
        while len(self._marks) > 1 and self._marks[1][0] <= now - grace_s:
            self._marks.popleft()
        has_aged = self._marks and self._marks[0][0] <= now - grace_s
        aged = self._marks[0][1] if has_aged else 0
        # What is there without a hole needs no grace.
        joined = (run.last for run in self.runs if self._joins(run))
        return max(self.checked, aged, *joined)

    def _is_marked(self, now: float) -> bool:
        """Whether the last mark is so young that it stands for now as well."""
        return bool(self._marks) and now - self._marks[-1][0] < _MARK_S

    def _joins(self, run: Run) -> bool:
        return run.first <= self.checked + 1 <= run.last

    def judged(self, up_to: int) -> None:
        """Note that each number *up_to* is stored, or in a gap."""
        self.checked = max(self.checked, up_to)
        self.runs.forget_below(self.checked)

    def reasons(self, hole: Hole) -> Iterator[tuple[Range, str]]:
        """Yield the parts of *hole*, in order, each with why its records are missing."""
        rest: list[Range] = [(hole.first, hole.last)]
        found: list[tuple[Range, str]] = []
        for loss in self.word.losses:
            if loss.first:
                known = [part for one in rest for part in within([one], loss.first, loss.last)]
                found.extend((part, loss.reason) for part in known)
                rest = without(rest, known)
        found.extend((part, self._reason_of_rest(hole)) for part in rest)
        yield from sorted(found)

    def _reason_of_rest(self, hole: Hole) -> str:
        word = self.word
        if word.is_end and (
            hole.before_ms is None or hole.before_ms >= word.last_ms - IN_FLIGHT_MS
        ):
            return "in_flight_at_exit" if word.state == "closed" else "in_flight_at_kill"
        return next((loss.reason for loss in word.losses if not loss.first), "unknown")
