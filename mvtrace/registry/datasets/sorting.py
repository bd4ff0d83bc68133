"""Digests of rows in order, each with how often it occurs; memory does not grow with the dataset.

In: digests of 32 bytes in any order, repeated or not. Out: records of 40 bytes, a digest and its
count (big-endian), ascending, each digest once. Up to RUN_ROWS are sorted in memory; more go in
sorted runs to an unlinked temporary file (TMPDIR) of at most 40 bytes a row, and are merged from
there, one narrow range of digests at a time. Digests are SHA-256, so ranges hold about as many.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from operator import eq
from types import TracebackType
from typing import IO, Final, Self

DIGEST_BYTES: Final = 32
COUNT_BYTES: Final = 8
RECORD_BYTES: Final = DIGEST_BYTES + COUNT_BYTES
RUN_ROWS: Final = 1 << 18
PART_RECORDS: Final = 1 << 16
"""About so many are merged at once."""

_ONCE: Final = (1).to_bytes(COUNT_BYTES)
_READ_RECORDS: Final = 1024
_PREFIX_BYTES: Final = 8


class RowDigests:
    """The digests of a dataset's rows, as a multiset."""

    def __init__(self, *, run_rows: int = RUN_ROWS) -> None:
        self.rows = 0
        self._run_rows = run_rows
        self._waiting: list[bytes] = []
        self._runs: list[tuple[int, int]] = []
        self._file: IO[bytes] | None = None
        self._end = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the temporary file back."""
        if self._file is not None:
            self._file.close()

    def add(self, digests: list[bytes]) -> None:
        """Take more digests.

        Raises:
            OSError: there is no room for temporary files.
        """
        self.rows += len(digests)
        self._waiting += digests
        if len(self._waiting) >= self._run_rows:
            self._spill()

    def records(self) -> Iterator[bytes]:
        """Yield all records, in order, some at a time; joined they are the canonical multiset."""
        yield from (part for _, part in self.parts(self.part_count))

    @property
    def part_count(self) -> int:
        """Into how many ranges of digests the records are best divided."""
        return max(1, self._end // RECORD_BYTES // PART_RECORDS)

    def parts(self, count: int) -> Iterator[tuple[int, bytes]]:
        """Yield each of *count* equal ranges of digests with the records in it."""
        if count == 1 and not self._runs:
            yield 0, counted(self._waiting)
            return
        if self._waiting:
            self._spill()
        runs = [_Run(self._file, start, end) for start, end in self._runs if self._file]
        for part in range(count):
            above = (part + 1 << 8 * _PREFIX_BYTES) // count
            bound = above.to_bytes(_PREFIX_BYTES + 1)[1:] if part + 1 < count else None
            found: list[bytes] = []
            for run in runs:
                found += run.below(bound)
            yield part, merged(found)

    def _spill(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="mvtrace-rows-")  # noqa: SIM115 (closed at exit)
        records = counted(self._waiting)
        self._waiting = []
        self._file.write(records)
        self._file.flush()
        self._runs.append((self._end, self._end + len(records)))
        self._end += len(records)


def counted(digests: list[bytes]) -> bytes:
    """Return the records of *digests*, which are sorted in place."""
    if not digests:
        return b""
    digests.sort()
    if not _repeats(digests):
        return _ONCE.join(digests) + _ONCE
    counts = Counter(digests)  # in the order of the digests, as they come
    return b"".join(digest + count.to_bytes(COUNT_BYTES) for digest, count in counts.items())


def merged(records: list[bytes]) -> bytes:
    """Return *records* in order; those of one digest become one."""
    records.sort()
    if not _repeats([record[:DIGEST_BYTES] for record in records]):
        return b"".join(records)
    counts: Counter[bytes] = Counter()
    for record in records:
        counts[record[:DIGEST_BYTES]] += int.from_bytes(record[DIGEST_BYTES:])
    return b"".join(digest + count.to_bytes(COUNT_BYTES) for digest, count in counts.items())


def _repeats(ordered: list[bytes]) -> bool:
    """Whether two neighbours are the same."""
    return any(map(eq, ordered, islice(ordered, 1, None)))


class _Run:
    """A sorted run of records in a file, read forward."""

    def __init__(self, file: IO[bytes], start: int, end: int) -> None:
        self._descriptor = file.fileno()
        self._at = start
        self._end = end
        self._block = b""
        self._done = 0

    def below(self, bound: bytes | None) -> list[bytes]:
        """Return the next records whose digests are below *bound*; all that are left without."""
        found: list[bytes] = []
        while self._fill():
            stop = len(self._block) if bound is None else self._first_at(bound)
            found += [
                self._block[at : at + RECORD_BYTES] for at in range(self._done, stop, RECORD_BYTES)
            ]
            self._done = stop
            if stop < len(self._block):
                break
        return found

    def _fill(self) -> bool:
        """Whether there is a record still, the block holding it."""
        if self._done < len(self._block):
            return True
        size = min(_READ_RECORDS * RECORD_BYTES, self._end - self._at)
        if not size:
            return False
        self._block = os.pread(self._descriptor, size, self._at)
        if len(self._block) != size:
            raise OSError("a temporary file is shorter than what was written to it")
        self._at += size
        self._done = 0
        return True

    def _first_at(self, bound: bytes) -> int:
        """Return where the first record of the block stands that is not below *bound*."""
        low, high = self._done // RECORD_BYTES, len(self._block) // RECORD_BYTES
        while low < high:
            middle = (low + high) // 2
            start = middle * RECORD_BYTES
            if self._block[start : start + len(bound)] < bound:
                low = middle + 1
            else:
                high = middle
        return low * RECORD_BYTES
