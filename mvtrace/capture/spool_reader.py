"""Reads a producer's segments in order and remembers how far they were delivered.

In: a spool directory, this process's own or one left behind by another. Out: ranges of whole
frames to deliver, the same range again until it is marked delivered, also in the next process: the
range is written to the file ``position`` before its first delivery. Torn tails are cut, corrupt
frames stepped over and put aside, both counted; nothing else is ever skipped.
"""

from __future__ import annotations

import contextlib
import os
from io import FileIO
from pathlib import Path
from typing import Final, NamedTuple

import orjson

from mvtrace.capture.counts import Counts
from mvtrace.capture.number_pages import forget_page
from mvtrace.capture.numbers import NUMBERS_FILE, Numbers
from mvtrace.capture.spool import (
    ANSWER_FILE,
    HEADER,
    LOCK_FILE,
    LOGS,
    POSITION_FILE,
    SPANS,
    Tail,
    open_private,
    quarantine,
    segment_name,
    segment_numbers,
)
from mvtrace.capture.spool_frames import Frame, is_cut_header, read_resource, scan_frames

MAX_RANGE_BYTES: Final = 4 << 20
SIGNAL_NAMES: Final = {LOGS: "logs", SPANS: "traces"}
_MAX_RESOURCE_BYTES: Final = 1 << 20
_OTHER_FILES: Final = (
    *(f"{POSITION_FILE}.new", POSITION_FILE, f"{NUMBERS_FILE}.new", NUMBERS_FILE, ANSWER_FILE),
    LOCK_FILE,
)
"""Beside the segments; the lock goes last."""
_HEAD_BYTES: Final = 4096
"""Of a segment: nearly every resource lies within, and a range is read often."""


class Position(NamedTuple):
    """How far a spool is delivered, and what is being delivered."""

    segment: int = 0
    offset: int = 0
    """Everything before it is delivered; 0 stands for the first frame."""
    end: int = 0
    """Behind the range in delivery; 0 if none is."""
    logs_end: int = 0
    """Logs before it are delivered already, whatever remains of the spans among them."""


class Range(NamedTuple):
    """Consecutive frames of one segment: the unit of delivery."""

    spool_id: str
    resource: bytes
    position: Position
    frames: tuple[Frame, ...]

    def payloads(self, kind: int) -> list[bytes]:
        """Return the payloads of one *kind* that are still to be delivered, in order."""
        done = self.position.logs_end if kind == LOGS else 0
        return [frame.body for frame in self.frames if frame.kind == kind and frame.end > done]

    def batch_id(self, kind: int) -> str:
        """Return the id under which this range's *kind* is delivered, now and ever after."""
        first, last = self.frames[0].sequence, self.frames[-1].sequence
        return f"{self.spool_id}-{self.position.segment}-{first}-{last}-{SIGNAL_NAMES[kind]}"


class SpoolReader:
    """The reading end of one spool directory, used by one thread of the process that owns it."""

    def __init__(self, directory: Path, counts: Counts, numbers: Numbers | None = None) -> None:
        """*numbers* are those of the producer that wrote here: they are told what is lost."""
        self.directory = directory
        self._numbers = numbers
        self.position = _load_position(directory)
        self._counts = counts
        self._put_aside_at: set[tuple[int, int]] = set()
        """Where damage was counted already: a range is read for every try."""
        self._listed: list[int] = []
        """Segments of an ended producer that were there, the last one first."""

    def next_range(self, tail: Tail | None) -> Range | None:
        """Return the range to deliver next; None if there is nothing.

        *tail* is how far the owner has written; None says that nobody writes here any more.
        """
        if tail is None:
            return self._next_left()
        numbers = self._segment_numbers()
        if tail.segment not in numbers:
            self._note_missing(tail)
        for number in numbers:
            if number > tail.segment:
                return None
            is_active = number == tail.segment
            if number >= self.position.segment:
                found = self._next_in(number, tail.offset if is_active else None)
                if found is not None:
                    return found
            if not is_active:
                (self.directory / segment_name(number)).unlink(missing_ok=True)
        return None

    def _next_left(self) -> Range | None:
        """Return the next range of what an ended producer left.

        The folder is listed again only once all that was there is gone: one of very many tiny
        segments is not read from its start for each of them.
        """
        while True:
            if not self._listed:
                self._listed = self._segment_numbers()[::-1]
            if not self._listed:
                return None
            number = self._listed[-1]
            if number >= self.position.segment:
                with contextlib.suppress(FileNotFoundError):
                    found = self._next_in(number, None)
                    if found is not None:
                        return found
            (self.directory / segment_name(number)).unlink(missing_ok=True)
            self._listed.pop()

    def mark_logs_delivered(self, delivered: Range) -> None:
        """Remember that of *delivered* only the spans remain."""
        self._store(delivered.position._replace(logs_end=delivered.position.end))

    def mark_delivered(self, delivered: Range) -> None:
        """Remember that *delivered* is done; a segment goes once all of it is."""
        position = delivered.position
        self._store(Position(position.segment, position.end, 0, self.position.logs_end))

    def split(self, refused: Range) -> bool:
        """Make the next range the first half of *refused*; False if it is a single frame."""
        if len(refused.frames) == 1:
            return False
        middle = refused.frames[(len(refused.frames) - 1) // 2]
        self._store(self.position._replace(end=middle.end))
        return True

    def remove_if_delivered(self) -> bool:
        """Delete the directory if all of it is delivered; only its owner may ask."""
        if self.next_range(None) is not None:
            return False
        try:
            for name in _OTHER_FILES:
                (self.directory / name).unlink(missing_ok=True)
            self.directory.rmdir()
        except OSError:
            return not self.directory.exists()
        forget_page(self.directory)
        return True

    def lose(self, reason: str, count: int = 1) -> None:
        """Note that *count* things spooled here never arrive."""
        if self._numbers is not None:
            self._numbers.lose(reason, count=count)

    def _next_in(self, number: int, limit: int | None) -> Range | None:
        """Return the next range of one segment, None once all before *limit* is delivered."""
        with os.fdopen(
            open_private(self.directory / segment_name(number), os.O_RDONLY), "rb", buffering=0
        ) as file:
            size = os.fstat(file.fileno()).st_size
            end = size if limit is None else min(limit, size)
            if self.position.segment == number and self.position.offset >= end:
                return None
            resource = self._resource_in(file, number, end=end)
            return None if resource is None else self._range_in(file, number, resource, end=end)

    def _resource_in(self, file: FileIO, number: int, *, end: int) -> bytes | None:
        """Return the resource of the segment, None once the segment is given up without one."""
        resource = read_resource(file.read(min(end, _HEAD_BYTES)))
        if resource is None and end > _HEAD_BYTES:
            file.seek(0)
            resource = read_resource(file.read(min(end, HEADER.size + _MAX_RESOURCE_BYTES)))
        if resource is None:
            file.seek(0)
            self._give_up_segment(number, file.read(end))
        return resource

    def _range_in(self, file: FileIO, number: int, resource: bytes, *, end: int) -> Range | None:
        position = self.position if self.position.segment == number else Position(number)
        offset = position.offset or HEADER.size + len(resource)
        while offset < end:
            stop = position.end or min(end, offset + MAX_RANGE_BYTES)
            file.seek(offset)
            data = file.read(stop - offset)
            scan = scan_frames(data, offset)
            self._put_aside(number, offset, scan.corrupt)
            if scan.frames:
                position = Position(number, offset, scan.end, position.logs_end)
                if position != self.position:
                    self._store(position)
                return Range(self.directory.name, resource, position, scan.frames)
            if scan.end == offset:
                self._give_up_rest(number, data, offset, is_tail=stop == end)
            offset = stop if scan.end == offset else scan.end
            position = position._replace(end=0)
        return None

    def _give_up_rest(self, number: int, data: bytes, offset: int, *, is_tail: bool) -> None:
        """Count *data*, in which no frame is whole: a torn tail, or damage before other frames."""
        if is_tail:
            self._torn(len(data))
            self._store(Position(number, offset + len(data)))
        else:
            self._put_aside(number, offset, (data,))

    def _give_up_segment(self, number: int, data: bytes) -> None:
        """Count a segment that does not tell whose it is, and keep it for a person to look at."""
        self._torn(len(data))
        if not is_cut_header(data):
            quarantine(self.directory.parent, f"{self.directory.name}-{number}.seg", data)
        self._store(Position(number, len(data)))

    def _segment_numbers(self) -> list[int]:
        try:
            return segment_numbers(self.directory)
        except FileNotFoundError:
            return []

    def _note_missing(self, tail: Tail) -> None:
        """Count the newest segment as lost if somebody has deleted it undelivered."""
        if (self.position.segment, self.position.offset) < tail:
            self._counts.add("spool_segments_missing")
            self.lose("deleted")
            self.position = Position(tail.segment, tail.offset)

    def _torn(self, torn_bytes: int) -> None:
        if torn_bytes:
            self._counts.add("spool_torn_tails")
            self.lose("damaged")
            self._counts.add("spool_torn_bytes", torn_bytes)

    def _put_aside(self, number: int, offset: int, corrupt: tuple[bytes, ...]) -> None:
        if corrupt and (number, offset) not in self._put_aside_at:
            self._put_aside_at.add((number, offset))
            self._counts.add("spool_frames_corrupt", len(corrupt))
            self.lose("damaged", len(corrupt))
            name = f"{self.directory.name}-{number}-{offset}.frames"
            quarantine(self.directory.parent, name, b"".join(corrupt))

    def _store(self, position: Position) -> None:
        """Make *position* the one a next process starts from.

        On a full disk it stays in memory only: a delivery may then repeat, which the store sees.
        """
        self.position = position
        fresh = self.directory / f"{POSITION_FILE}.new"
        try:
            descriptor = open_private(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                file.write(orjson.dumps(position._asdict()))
            fresh.replace(self.directory / POSITION_FILE)
        except OSError:
            self._counts.add("spool_write_errors")


def _load_position(directory: Path) -> Position:
    """Return the stored position; an unreadable one starts over, and the store sees repetitions."""
    try:
        with os.fdopen(open_private(directory / POSITION_FILE, os.O_RDONLY), "rb") as file:
            plain = orjson.loads(file.read())
        position = Position(**plain)
    except (OSError, ValueError, TypeError):
        return Position()
    if all(type(number) is int and number >= 0 for number in position):
        return position
    return Position()
