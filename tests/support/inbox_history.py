"""A history of an inbox with crashes in it, and what was promised to its senders meanwhile."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crashing_files import (
    Disk,
    Fate,
    Operation,
    after_power_loss,
    done_at_kill,
)
from recorded_files import Recorder, recorded
from recorded_sqlite import sqlite_recorded

from mvtrace_collector.errors import InboxWriteError
from mvtrace_collector.inbox import Inbox, InboxSettings, Intent, batch_key
from mvtrace_collector.segment_writer import segment_id_of
from mvtrace_collector.segments import read_varint

SIZES = InboxSettings(segment_bytes=1500, max_segment_bytes=4000, retention_bytes=700)
"""Small, so that short histories seal, roll and expire segments."""


def framed(path: Path) -> list[tuple[int, bytes, bytes]]:
    """Return sequence number, batch key and body of every frame in a segment file."""
    data = path.read_bytes()
    found = []
    position = 0
    while position < len(data):
        length, position = read_varint(data, position)
        fields = dict(fields_of(data[position : position + length]))
        position += length
        found.append((fields[3], fields[4], fields.get(5, fields.get(6))))
    return found


def fields_of(envelope: bytes) -> Iterator[tuple[int, Any]]:
    """Yield the fields of an envelope: numbers, and bytes."""
    position = 0
    while position < len(envelope):
        tag, position = read_varint(envelope, position)
        match tag & 7:
            case 0:
                value, position = read_varint(envelope, position)
                yield tag >> 3, value
            case 2:
                size, position = read_varint(envelope, position)
                yield tag >> 3, envelope[position : position + size]
                position += size
            case _:
                position += 4


@dataclass
class Promises:
    """What the world outside was told, and what it asked for."""

    offered: dict[str, bytes] = field(default_factory=dict)
    """Bodies by batch id, answered or not."""
    acknowledged: dict[str, int] = field(default_factory=dict)
    """Sequence numbers by batch id."""
    taken: dict[tuple[int, int], tuple[int, int, str]] = field(default_factory=dict)
    """First and last number and the content of each intent, by id and epoch."""
    marking: set[tuple[int, int]] = field(default_factory=set)
    marked: set[tuple[int, int]] = field(default_factory=set)

    def copy(self) -> Promises:
        return Promises(
            dict(self.offered),
            dict(self.acknowledged),
            dict(self.taken),
            set(self.marking),
            set(self.marked),
        )

    def done_ranges(self) -> list[tuple[int, int]]:
        """The sequence numbers that may have been deleted, because they are stored."""
        return [self.taken[key][:2] for key in self.marking]


Change = Callable[[Promises], object]


class InboxHistory:
    """An inbox in use, all that was promised, and every way in which it may end."""

    def __init__(self, sizes: InboxSettings = SIZES, omitted: frozenset[str] = frozenset()) -> None:
        self.top = Path(tempfile.mkdtemp(prefix="inbox-"))
        self.sizes = sizes
        self.omitted = omitted
        self.promises = Promises()
        self.is_sound = True
        """Whether all checks held so far."""
        self._incarnation = 0
        self._before = Promises()
        self._changes: list[tuple[int, Change]] = []
        self._start(Disk(), [])

    def _start(self, base: Disk, operations: list[Operation]) -> None:
        self._incarnation += 1
        self._stack = contextlib.ExitStack()
        root = self.top / str(self._incarnation)
        self.recorder: Recorder = self._stack.enter_context(recorded(root, base, operations))
        self.recorder.omitted = self.omitted
        self._stack.enter_context(sqlite_recorded(self.recorder))
        self.inbox = Inbox(root / "data" / "inbox", self.sizes)

    def tell(self, change: Change) -> None:
        """Note something that is true from now on, unless a crash came before."""
        change(self.promises)
        self._changes.append((self.recorder.now, change))

    def _go_back(self, at: int) -> None:
        """Go back to when *at* operations were done, and end there."""
        self.is_sound = False
        self.recorder.check_complete()
        self._changes = [one for one in self._changes if one[0] <= at]
        self.promises = self._before.copy()
        for _, change in self._changes:
            change(self.promises)
        self.inbox.close()  # what this writes belongs to no history
        self._stack.close()

    def kill(self, at: int, kept_bytes: int) -> None:
        """End by SIGKILL once *at* operations were done, and recover."""
        done = done_at_kill(self.recorder.operations, at, kept_bytes)
        self._go_back(at)
        self._start(self.recorder.base, done)
        self.check_recovered()

    def lose_power(self, at: int, fate: Fate) -> None:
        """End by a loss of power once *at* operations were issued, and recover."""
        disk = after_power_loss(self.recorder.base, self.recorder.operations, at, fate)
        self._go_back(at)
        self._before = self.promises.copy()
        self._changes = []
        self._start(disk, [])
        self.check_recovered()

    def end(self) -> None:
        """Let go of everything and delete it."""
        self.inbox.close()
        self._stack.close()
        shutil.rmtree(self.top)

    def restart(self) -> None:
        """Close in good order and open again."""
        self.inbox.close()
        self.inbox = Inbox(self.inbox.directory, self.sizes)
        self.check_recovered()

    def offer(self, *batches: str, size: int = 10) -> None:
        """Append new batches that come at the same moment; each is acknowledged or refused."""
        bodies = {batch: (batch.encode() + b"." * size)[: max(size, 4)] for batch in batches}
        self.tell(lambda promises: promises.offered.update(bodies))
        with self.inbox._changed:  # so that they are one group
            futures = {
                batch: self.inbox.submit("default", "traces", body, batch)
                for batch, body in bodies.items()
            }
        for batch, future in futures.items():
            with contextlib.suppress(InboxWriteError):
                self.acknowledge(batch, future.result(10).seq)

    def acknowledge(self, batch: str, seq: int) -> None:
        self.tell(lambda promises: promises.acknowledged.__setitem__(batch, seq))

    def retry(self, batch: str) -> None:
        """Send a batch again: one that was acknowledged is known, with its number."""
        known = self.promises.acknowledged.get(batch)
        with contextlib.suppress(InboxWriteError):
            again = self.inbox.append("default", "traces", self.promises.offered[batch], batch)
            if known is not None:
                assert (again.seq, again.duplicate) == (known, True)
            self.acknowledge(batch, again.seq)

    def take(self) -> Intent | None:
        """Take the next intent: a known one unchanged, or one that was never seen."""
        intent = self.inbox.take(1, 0.0)
        if intent is None:
            return None
        key = (intent.id, intent.epoch)
        frames = intent.path.read_bytes()
        assert len(frames) == intent.bytes
        facts = (intent.first_seq, intent.last_seq, hashlib.sha256(frames).hexdigest())
        assert self.promises.taken.get(key, facts) == facts
        assert key not in self.promises.marked
        assert {epoch for _, epoch in self.promises.taken} <= {intent.epoch}
        unfinished = self.promises.taken.keys() - self.promises.marking
        assert key == min({key, *unfinished}), "another one was not finished"
        self.tell(lambda promises: promises.taken.__setitem__(key, facts))
        return intent

    def mark(self, *, is_stored: bool) -> None:
        """Take the next intent, and finish it."""
        intent = self.take()
        if intent is None:
            return
        key = (intent.id, intent.epoch)
        self.tell(lambda promises: promises.marking.add(key))
        if is_stored:
            self.inbox.mark_stored(intent, {"spans": 1})
        else:
            self.inbox.mark_poison(intent, "a reason")
        self.tell(lambda promises: promises.marked.add(key))

    def check_recovered(self) -> None:
        """Compare what is there after a start with what was promised before."""
        directory = self.inbox.directory
        assert list(directory.glob("*.damaged-*")) == [], "SQLite keeps its promises"
        frames = self.frames()
        numbers = [seq for seq, _, _ in frames]
        assert numbers == sorted(set(numbers))
        names = {batch_key("default", "traces", name): name for name in self.promises.offered}
        found = {names[key]: (seq, body) for seq, key, body in frames}
        assert len(found) == len(frames), "a batch is there twice"
        for name, (_, body) in found.items():
            assert body == self.promises.offered[name]
        done = self.promises.done_ranges()
        for name, seq in self.promises.acknowledged.items():
            if name in found or not any(first <= seq <= last for first, last in done):
                assert found.get(name, (None, None))[0] == seq, f"{name} was acknowledged"
        lag = self.inbox.lag()
        assert lag.accepted_seq >= max(self.promises.acknowledged.values(), default=0)
        self.is_sound = True
        for name, (seq, _) in found.items():  # recovery has made them durable
            self.acknowledge(name, seq)

    def frames(self) -> list[tuple[int, bytes, bytes]]:
        """Return what all segment files hold, in order."""
        paths = sorted(self.inbox.directory.glob("segment-*"))
        assert all(segment_id_of(path) is not None for path in paths)
        return [frame for path in paths for frame in framed(path)]

    def drain(self) -> None:
        """Store all that is left: then each acknowledged batch was in exactly one intent."""
        while self.take() is not None:
            self.mark(is_stored=True)
        ranges = [facts[:2] for facts in self.promises.taken.values()]
        for seq in self.promises.acknowledged.values():
            assert sum(first <= seq <= last for first, last in ranges) == 1
        assert self.inbox.wait_stored(max(self.promises.acknowledged.values(), default=0), 0.0)
