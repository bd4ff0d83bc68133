"""The numbers one producer gives its records, kept where a kill of the process cannot lose them.

In: a number taken for each request at its start, and what was knowingly lost, by reason. Out: 512
bytes of shared memory (a file in /dev/shm, 0600), so that a number is kept by one store and
survives SIGKILL; the file ``numbers`` in the producer's spool directory (0600), written when the
process shows life, which survives a reboot as well; and the event ``mvtrace.producer`` made from
both, by this process at its end, or by the one that adopts the directory. Where there is neither,
the same words live in plain memory. Nothing here raises into a request.

What was found: mapping the file itself made requests wait for the spool's disk. A store into a page
that was just written back waits in the kernel until the file system takes writes again.
"""

from __future__ import annotations

import os
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, Literal, NamedTuple, Self

import orjson

from mvtrace import otlp, semconv
from mvtrace.capture.number_pages import PAGE_BYTES, make_page, read_page
from mvtrace.digest import canonical_bytes
from mvtrace.otlp import LogEvent, Scope

NUMBERS_FILE: Final = "numbers"
SCHEMA_VERSION: Final = 1
"""Of the event's body."""

REASONS: Final = (
    "queue_full",
    "spool_full",
    "not_encodable",
    "not_spooled",
    "damaged",
    "deleted",
    "refused",
    "not_captured",
)
"""Why records are knowingly lost. Their order is that of the file's words: add at the end only."""
COUNTED_AS: Final = {
    "dropped_queue_full": "queue_full",
    "dropped_spool_full": "spool_full",
    "dropped_unencodable": "not_encodable",
    "not_spooled": "not_spooled",
}
"""What the pipeline's counters of lost records call the reasons."""

State = Literal["running", "closed", "orphaned"]

_HEAD_BYTES: Final = PAGE_BYTES
_MAGIC: Final = int.from_bytes(b"mvnumbr1", "little")
_MAGIC_AT, _LAST, _LAST_AT, _STARTED_AT, _ALIVE_AT, _CLOSED_AT, _LOSSES_AT = range(7)
_LOSS_WORDS: Final = 3
_BLOBS: Final = struct.Struct("<III")
"""Length of the facts, length of the resource, CRC32 over both; they follow."""
_MAX_FILE_BYTES: Final = 2 << 20
_SCOPE: Final = Scope(semconv.SCOPE_NAME)


class Facts(NamedTuple):
    """Who counts: told beside the numbers, so that whoever adopts the file can tell it."""

    producer_id: str
    service: str | None = None
    environment: str | None = None


class Loss(NamedTuple):
    """How many things were lost for one reason, and between which numbers; 0 where not known."""

    reason: str
    number: int
    first: int
    last: int


class Numbers:
    """The running number of one producer and its losses; for any thread."""

    def __init__(self, facts: Facts, resource: Callable[[], bytes]) -> None:
        self._facts = facts
        self._resource = resource
        self._lock = threading.Lock()
        self._words = memoryview(bytearray(_HEAD_BYTES)).cast("Q")
        self._words[_MAGIC_AT] = _MAGIC
        self._words[_STARTED_AT] = time.time_ns()
        self.is_kept = False
        """Whether the file is there."""
        self._descriptor: int | None = None
        """Of the file: written when the process shows life, never while a number is taken."""
        self._is_adopted = False

    def take(self) -> int:
        """Return the next number, from 1; it is kept already where the file is."""
        with self._lock:
            words = self._words
            words[_LAST] = number = words[_LAST] + 1
            words[_LAST_AT] = time.time_ns()
        return number

    @property
    def last(self) -> int:
        """The last number taken; 0 before the first."""
        return self._words[_LAST]

    @property
    def facts(self) -> Facts:
        """Who counts."""
        return self._facts

    @property
    def producer_id(self) -> str:
        """Whose numbers these are."""
        return self._facts.producer_id

    @property
    def losses(self) -> tuple[Loss, ...]:
        """What was knowingly lost, by reason."""
        words = self._words[_LOSSES_AT:].tolist()
        found = (
            Loss(reason, *words[_LOSS_WORDS * place : _LOSS_WORDS * (place + 1)])
            for place, reason in enumerate(REASONS)
        )
        return tuple(loss for loss in found if loss.number)

    def lose(self, reason: str, numbers: Iterable[int] = (), *, count: int = 0) -> None:
        """Note that the records of *numbers*, or *count* things of unknown numbers, are lost."""
        known = [number for number in numbers if number]
        at = _LOSSES_AT + _LOSS_WORDS * REASONS.index(reason)
        with self._lock:
            words = self._words
            words[at] += len(known) or count
            if known:
                words[at + 1] = min(*known, words[at + 1] or known[0])
                words[at + 2] = max(*known, words[at + 2])
        if self._is_adopted:
            self._write()  # else any thread may be here, and may not wait for a disk

    def show_life(self) -> None:
        """Note that the process lives now; called after each write of its spool."""
        with self._lock:
            self._words[_ALIVE_AT] = time.time_ns()
        self._write()

    def close(self, *, is_written: bool = True) -> None:
        """Note that the producer ends in good order; in memory only if not *is_written*."""
        with self._lock:
            self._words[_CLOSED_AT] = time.time_ns()
        if is_written:
            self._write()

    def keep(self, directory: Path) -> bool:
        """Keep the numbers in *directory* from now on; False where that cannot be."""
        try:
            descriptor = self._make_file(directory)
        except OSError:
            return False
        page = make_page(directory)
        with self._lock:
            before, self._descriptor = self._descriptor, descriptor
            if page is not None:
                page[:] = self._words
                self._words = page
            self.is_kept = True
        if before is not None:
            os.close(before)
        self._write()
        return True

    def event(self, state: State, *, now_ns: int) -> LogEvent:
        """Return what is to be said of the producer: the last number, how it ended, its losses.

        Of a producer that has ended it is the same at any time.
        """
        words = self._words
        times = {"started_at": words[_STARTED_AT], "last_at": words[_LAST_AT]}
        if state != "running":
            times["ended_at"] = words[_CLOSED_AT] or max(words[_LAST_AT], words[_ALIVE_AT])
        body = {
            "schema_version": SCHEMA_VERSION,
            "state": state,
            "last": words[_LAST],
            "losses": [_plain(loss) for loss in self.losses],
            **{key: value for key, value in self._facts._asdict().items() if value is not None},
            **{key: str(value) for key, value in times.items() if value},
        }
        return LogEvent(
            name=semconv.EVENT_PRODUCER,
            time_unix_nano=times.get("ended_at", now_ns),
            body=canonical_bytes(body).decode(),
            attributes={
                semconv.PRODUCER_ID: self._facts.producer_id,
                semconv.PRODUCER_SEQUENCE: words[_LAST],
            },
        )

    @property
    def end(self) -> State:
        """How the producer ended, if it has ended."""
        return "closed" if self._words[_CLOSED_AT] else "orphaned"

    def request(self, state: State, *, now_ns: int) -> bytes:
        """Return the whole export request that carries the event."""
        scope = otlp.encode_scope_logs(_SCOPE, [self.event(state, now_ns=now_ns)])
        return otlp.encode_request(self._resource(), [scope])

    def _write(self) -> None:
        """Write the words to the file; may wait for the disk, so it holds no lock."""
        descriptor, words = self._descriptor, bytes(self._words)
        if descriptor is not None:
            try:
                os.pwrite(descriptor, words, 0)
            except OSError:
                self.is_kept = False  # made anew with the next sign of life

    def _make_file(self, directory: Path) -> int:
        """Return a descriptor of a new file in *directory* with all that is known so far."""
        facts = orjson.dumps(self._facts._asdict())
        resource = self._resource()
        crc = zlib.crc32(resource, zlib.crc32(facts))
        tail = _BLOBS.pack(len(facts), len(resource), crc) + facts + resource
        fresh = directory / f"{NUMBERS_FILE}.new"
        fresh.unlink(missing_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(fresh, flags, 0o600)
        try:
            _write_whole(descriptor, bytes(self._words) + tail)
            fresh.replace(directory / NUMBERS_FILE)
        except OSError:
            os.close(descriptor)
            fresh.unlink(missing_ok=True)
            raise
        return descriptor

    @classmethod
    def load(cls, directory: Path) -> Self | None:
        """Return the numbers that an ended producer kept in *directory*; None without any."""
        path = directory / NUMBERS_FILE
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return None
        try:
            data = os.read(descriptor, _MAX_FILE_BYTES)
            facts, resource = _blobs(data)
        except (OSError, ValueError, TypeError, struct.error):
            os.close(descriptor)
            return None
        loaded = cls(facts, lambda: resource)
        loaded._words = _newer(data[:_HEAD_BYTES], read_page(directory))
        loaded._descriptor = descriptor
        loaded._is_adopted = True
        return loaded

    def abandon(self) -> None:
        """Let go of what a fork inherited: the file and the memory are its parent's."""
        self._lock = threading.Lock()  # another thread of the parent may have held it
        self.release()

    def release(self) -> None:
        """Close the file and let go of the page; the numbers go on in plain memory."""
        with self._lock:
            self._words = memoryview(bytearray(self._words)).cast("Q")
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None


def _plain(loss: Loss) -> dict[str, str | int]:
    between = {"first": loss.first, "last": loss.last} if loss.first else {}
    return {"reason": loss.reason, "count": loss.number, **between}


def _blobs(data: bytes) -> tuple[Facts, bytes]:
    """Return the facts and the resource in the file's *data*.

    Raises:
        ValueError: it is not such a file, or damaged.
    """
    (magic,) = struct.unpack_from("=Q", data)
    facts_length, resource_length, crc = _BLOBS.unpack_from(data, _HEAD_BYTES)
    at = _HEAD_BYTES + _BLOBS.size
    facts = data[at : at + facts_length]
    resource = data[at + facts_length : at + facts_length + resource_length]
    if magic != _MAGIC or zlib.crc32(resource, zlib.crc32(facts)) != crc:
        raise ValueError("no numbers")
    return Facts(**orjson.loads(facts)), resource


def _write_whole(descriptor: int, data: bytes) -> None:
    written = os.write(descriptor, data)
    if written != len(data):
        raise OSError(f"only {written} of {len(data)} bytes could be written")


def _newer(kept: bytes, remembered: bytes) -> memoryview:
    """Return those of the two words that know more of the same producer."""
    words = memoryview(bytearray(kept)).cast("Q")
    if len(remembered) != _HEAD_BYTES:
        return words
    other = memoryview(bytearray(remembered)).cast("Q")
    is_same = other[_MAGIC_AT] == _MAGIC and other[_STARTED_AT] == words[_STARTED_AT]
    # After an adopter's own losses the file knows more than the memory of the dead process.
    is_ahead = other[_LAST] >= words[_LAST] and sum(other) >= sum(words)
    return other if is_same and is_ahead else words
