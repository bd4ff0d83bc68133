"""One pass over training rows, in this process or in several.

In: an indexed eval and a stream of rows. Out: :class:`Matched`, the same whatever the number of
processes: rows are handed out in batches, and what a batch holds does not depend on the others.
Memory is bounded by the eval, once a process, and by some batches of rows.
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from types import TracebackType
from typing import Final, Self

from mvtrace.registry.leakage.examples import Examples
from mvtrace.registry.leakage.matching import Matched, Matcher
from mvtrace.registry.leakage.methods import Settings

ROWS_AT_ONCE: Final = 500
BYTES_AT_ONCE: Final = 4 * 1024 * 1024
WORTH_BYTES: Final = 64 * 1024 * 1024
"""Below this much training data further processes take longer to start than they save."""
_AHEAD: Final = 3
"""Batches that wait for each process."""

Seen = Callable[[list[bytes]], None]
"""Told of each batch of rows before it is compared."""


class Scanner:
    """Compares training data with an eval, in *jobs* processes beside this one if several."""

    def __init__(self, examples: Examples, settings: Settings, *, jobs: int = 1) -> None:
        self._jobs = jobs
        self._examples = examples
        self._settings = settings
        self._matcher = Matcher(examples, settings)
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        """Start; processes are started with the first data."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    @property
    def crowded(self) -> int:
        """Texts of the eval too many of which are alike to be all indexed."""
        return self._matcher.crowded

    def scan(self, rows: Iterable[bytes], *, size: int = 0, seen: Seen | None = None) -> Matched:
        """Return what *rows* hold of the eval; *size* is about how many bytes they are."""
        found = Matched()
        for part in self._parts(_batches(rows, seen), size):
            found.add(part)
        return found

    def _parts(self, batches: Iterator[tuple[int, list[bytes]]], size: int) -> Iterator[Matched]:
        if self._jobs < 2 or size < WORTH_BYTES:  # noqa: PLR2004 (one process needs no other)
            for first, batch in batches:
                yield self._matcher.match(batch, first)
            return
        pool = self._started()
        waiting: deque[Future[Matched]] = deque()
        for first, batch in batches:
            waiting.append(pool.submit(_match, batch, first))
            if len(waiting) >= _AHEAD * self._jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # A fork would take along the threads and locks of whoever opened a store here.
            self._pool = ProcessPoolExecutor(
                self._jobs,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_start,
                initargs=(self._examples, self._settings),
            )
        return self._pool


def _batches(rows: Iterable[bytes], seen: Seen | None) -> Iterator[tuple[int, list[bytes]]]:
    """Yield *rows* in batches, each with the position of its first."""
    batch: list[bytes] = []
    first = size = 0
    for row in rows:
        batch.append(row)
        size += len(row)
        if len(batch) == ROWS_AT_ONCE or size >= BYTES_AT_ONCE:
            if seen is not None:
                seen(batch)
            yield first, batch
            first += len(batch)
            batch, size = [], 0
    if batch:
        if seen is not None:
            seen(batch)
        yield first, batch


_matcher: Matcher | None = None
"""Of this process, where it is one of several."""


def _start(examples: Examples, settings: Settings) -> None:
    global _matcher  # noqa: PLW0603 (what a process of a pool is given when it starts)
    _matcher = Matcher(examples, settings)


def _match(batch: list[bytes], first: int) -> Matched:
    if _matcher is None:
        raise RuntimeError("the process was not given an eval")
    return _matcher.match(batch, first)
