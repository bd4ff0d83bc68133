"""The spool over crashes at any point, and what damage to its files may cost.

Real spools, readers and adopters run while every operation on their files is recorded. A kill leaves
what was issued, a power loss whatever unsynced data allows; the next processes deliver the rest, to a
receiver that takes each batch id once.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import pytest
from crashing_files import Disk, Fate, Operation, after_power_loss, done_at_kill, fates, lost
from hypothesis import HealthCheck, Phase, example, given, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from recorded_files import Recorder, recorded

from mvtrace.capture import spool as spool_module
from mvtrace.capture import spool_frames as frames_module
from mvtrace.capture import spool_reader as reader_module
from mvtrace.capture.counts import Counts
from mvtrace.capture.orphans import Orphans
from mvtrace.capture.spool import LOGS, PRODUCER_NAME, SPANS, Payload, Spool, segment_name
from mvtrace.capture.spool_reader import SpoolReader

EXAMPLES = int(os.environ.get("MVTRACE_TEST_EXAMPLES", "100"))
SHORT_SETTINGS = settings(
    max_examples=EXAMPLES,
    stateful_step_count=30,
    deadline=None,
    phases=set(Phase) - {Phase.explain},
    suppress_health_check=list(HealthCheck),
)
RECENT = st.just(0) | st.integers(0, 8) | st.integers(0, 60)
"""How many operations ago a crash came: mostly within the last call, or right after it."""
RESOURCE = b"resource"
REPORTED = ("spool_torn_bytes", "spool_frames_corrupt")


class Process:
    """One producer with its own spool, its reader, and what it has adopted."""

    def __init__(self, root: Path, number: int) -> None:
        self.id = f"{number:08x}-0000-4000-8000-000000000000"
        self.counts = Counts()
        self.spool = Spool(root, self.id, lambda: RESOURCE)
        self.reader = SpoolReader(self.spool.directory, self.counts)
        self.orphans = Orphans(self.spool.directory, self.counts)

    def vanish(self) -> None:
        """End as a killed process does: descriptors and locks go, nothing is written."""
        self.spool.close()
        self.orphans.close()


@dataclass
class Promises:
    """What was handed to spools, and what a receiver was sent."""

    offered: dict[bytes, tuple[str, int]] = field(default_factory=dict)
    """Producer and kind by body."""
    spooled: set[bytes] = field(default_factory=set)
    """Bodies whose append returned."""
    accepted: dict[str, list[bytes]] = field(default_factory=dict)
    """Bodies by batch id."""

    def copy(self) -> Promises:
        return Promises(dict(self.offered), set(self.spooled), dict(self.accepted))


Change = Callable[[Promises], object]


class SpoolHistory:
    """Processes that share a spool root, all that was handed over, and every way to end."""

    def __init__(self) -> None:
        self.top = Path(tempfile.mkdtemp(prefix="spool-"))
        self.promises = Promises()
        self.is_sound = True
        """Whether all checks held so far."""
        self.counts: list[Counts] = []
        self.processes: list[Process] = []
        self.unsafe: set[str] = set()
        """Producers whose files went through a power loss."""
        self._numbers = itertools.count(1)
        self._bodies = itertools.count(1)
        self._before = Promises()
        self._changes: list[tuple[int, Change]] = []
        self._start(Disk(), [])

    def _start(self, base: Disk, operations: list[Operation]) -> None:
        self._stack = contextlib.ExitStack()
        root = self.top / str(next(self._numbers))
        self.recorder: Recorder = self._stack.enter_context(recorded(root, base, operations))
        limits = ((spool_module, "SEGMENT_BYTES", 1200), (reader_module, "MAX_RANGE_BYTES", 600))
        for module, name, limit in (*limits, (frames_module, "MAX_FRAME_BYTES", 400)):
            self._stack.enter_context(patch.object(module, name, limit))
        self.root = root / "state" / "spool"

    def tell(self, change: Change) -> None:
        """Note something that is true from now on, unless a crash came before."""
        change(self.promises)
        self._changes.append((self.recorder.now, change))

    def start(self) -> Process:
        """Start a process."""
        process = Process(self.root, next(self._numbers))
        self.processes.append(process)
        self.counts.append(process.counts)
        return process

    def vanish(self, process: Process) -> None:
        """Kill one process between two of its calls."""
        process.vanish()
        self.processes.remove(process)

    def _go_back(self, at: int) -> None:
        self.is_sound = False
        self.recorder.check_complete()
        self._changes = [one for one in self._changes if one[0] <= at]
        self.promises = self._before.copy()
        for _, change in self._changes:
            change(self.promises)
        while self.processes:
            self.vanish(self.processes[0])
        self._stack.close()

    def kill(self, at: int, kept_bytes: int) -> None:
        """Kill all processes once *at* operations were done."""
        done = done_at_kill(self.recorder.operations, at, kept_bytes)
        self._go_back(at)
        self._start(self.recorder.base, done)
        self.is_sound = True

    def lose_power(self, at: int, fate: Fate) -> None:
        """End all by a power loss once *at* operations were issued."""
        disk = after_power_loss(self.recorder.base, self.recorder.operations, at, fate)
        self._go_back(at)
        self.unsafe |= {producer for producer, _ in self.promises.offered.values()}
        self._before = self.promises.copy()
        self._changes = []
        self._start(disk, [])
        self.is_sound = True

    def end(self) -> None:
        """Let go of everything and delete it."""
        while self.processes:
            self.vanish(self.processes[0])
        self._stack.close()
        shutil.rmtree(self.top)

    def append(self, process: Process, kinds: list[int], size: int) -> None:
        """Hand some payloads to the kernel in one write."""
        payloads = [
            Payload(kind, (b"<%05d>" % next(self._bodies)).ljust(size, b".")) for kind in kinds
        ]
        offered = {payload.body: (process.id, payload.kind) for payload in payloads}
        self.tell(lambda promises: promises.offered.update(offered))
        try:
            process.spool.append(payloads)
        except OSError:
            return  # a producer would try again; whether the first try counts is not promised
        self.tell(lambda promises: promises.spooled.update(offered))

    def deliver(self, reader: SpoolReader, process: Process, outcome: str) -> bool:
        """Deliver the next range of *reader*; False if there is none.

        The *outcome* is that of the last answer: accepted, lost on its way, half (only the logs
        were answered), or too-large.
        """
        tail = process.spool.tail if reader is process.reader else None
        found = reader.next_range(tail) if tail is None or tail.segment else None
        if found is None:
            return False
        assert found.resource == RESOURCE
        is_known = any(found.batch_id(kind) in self.promises.accepted for kind in (LOGS, SPANS))
        if outcome == "too-large" and not is_known:  # what was taken once is not too large
            if not reader.split(found):
                reader.mark_delivered(found)
                self.receive(found.batch_id(LOGS), LOGS, found.payloads(LOGS))
                self.receive(found.batch_id(SPANS), SPANS, found.payloads(SPANS))
            return True
        for kind in (LOGS, SPANS):
            payloads = found.payloads(kind)
            if not payloads:
                continue
            self.receive(found.batch_id(kind), kind, payloads)
            if outcome == "lost":
                return True
            if kind == LOGS:
                reader.mark_logs_delivered(found)
                if outcome == "half":
                    return True
        reader.mark_delivered(found)
        return True

    def receive(self, batch_id: str, kind: int, bodies: list[bytes]) -> None:
        """Take a batch as the collector does: once an id, and each time the same bytes."""
        for body in bodies:
            assert self.promises.offered[body][1] == kind, "nobody has written this"
        known = self.promises.accepted.get(batch_id)
        if not bodies:
            return
        if known is None:
            self.tell(lambda promises: promises.accepted.__setitem__(batch_id, bodies))
        elif self.promises.offered[bodies[0]][0] in self.unsafe:
            assert set(bodies) <= set(known), "what is new would be taken for a duplicate"
        else:
            assert bodies == known

    def drain(self) -> None:
        """Let a last process deliver everything, and compare."""
        present = self.surviving()
        while self.processes:
            self.vanish(self.processes[0])
        last = self.start()
        last.orphans.adopt()
        for reader in last.orphans.readers():
            while self.deliver(reader, last, "accepted"):
                pass
            last.orphans.release(reader)
        times = Counter(body for bodies in self.promises.accepted.values() for body in bodies)
        for body, (producer, _) in self.promises.offered.items():
            if producer in self.unsafe:
                continue
            assert times[body] <= 1
            assert times[body] == 1 or body not in self.promises.spooled
        reported = sum(one.values()[name] for one in self.counts for name in REPORTED)
        assert reported or times.keys() >= present, "a loss that nobody tells of"
        left = [path for path in self.root.glob("*") if PRODUCER_NAME.fullmatch(path.name)]
        assert left == [], "delivered spools go"

    def surviving(self) -> set[bytes]:
        """Return the bodies that lie in segments of spools."""
        contents = [
            content
            for path, content in self.recorder.live.named().items()
            if path.endswith(".seg") and PRODUCER_NAME.fullmatch(Path(path).parent.name)
        ]
        return {body for body in self.promises.offered if any(body in one for one in contents)}


def put_damaged(directory: Path, damage: dict[int, int]) -> bytes:
    """Write twenty frames, each of another size, and flip bits of the segment; return its bytes."""
    process = Process(directory, 1)
    for number in range(20):
        process.spool.append([Payload(LOGS, b"<%05d>" % number + b"." * (7 * number))])
    process.vanish()
    path = process.spool.directory / segment_name(1)
    content = bytearray(path.read_bytes())
    for position, mask in damage.items():
        content[position % len(content)] ^= mask
    path.write_bytes(content)
    return bytes(content)


def read_bodies(directory: Path, counts: Counts) -> list[bytes]:
    """Deliver all of the first process's spool."""
    reader = SpoolReader(directory / Process(directory, 1).id, counts)
    bodies = []
    while (found := reader.next_range(None)) is not None:
        bodies += [frame.body for frame in found.frames]
        reader.mark_delivered(found)
    return bodies


class SpoolMachine(RuleBasedStateMachine):
    """Any use of a spool root by some processes, ended by any crash, any number of times."""

    def __init__(self) -> None:
        super().__init__()
        self.history = SpoolHistory()

    def process(self, number: int) -> Process:
        """Return one of up to three processes that live now."""
        processes = self.history.processes
        if not processes or (number >= len(processes) and len(processes) < 3):
            return self.history.start()
        return processes[number % len(processes)]

    @rule(
        number=st.integers(0, 2),
        kinds=st.lists(st.sampled_from([LOGS, SPANS]), min_size=1, max_size=4),
        size=st.sampled_from([7, 60, 290]),
    )
    def append(self, number: int, kinds: list[int], size: int) -> None:
        self.history.append(self.process(number), kinds, size)

    @rule(
        number=st.integers(0, 2),
        outcome=st.sampled_from(["accepted", "accepted", "lost", "half", "too-large"]),
    )
    def deliver_own(self, number: int, outcome: str) -> None:
        process = self.process(number)
        self.history.deliver(process.reader, process, outcome)

    @rule(number=st.integers(0, 2))
    def adopt(self, number: int) -> None:
        self.process(number).orphans.adopt()

    @rule(
        number=st.integers(0, 2),
        outcome=st.sampled_from(["accepted", "accepted", "lost", "half", "too-large"]),
    )
    def deliver_orphans(self, number: int, outcome: str) -> None:
        process = self.process(number)
        for reader in process.orphans.readers():
            if not self.history.deliver(reader, process, outcome):
                process.orphans.release(reader)

    @rule(number=st.integers(0, 2), call=st.sampled_from(["open", "write"]))
    def refuse(self, number: int, call: str) -> None:
        """The disk refuses the next call of a kind."""
        process = self.process(number)
        self.history.recorder.refuse(call)
        self.history.append(process, [LOGS, SPANS], 60)
        self.history.recorder.refusals.clear()

    @precondition(lambda self: self.history.processes)
    @rule(number=st.integers(0, 2))
    def vanish(self, number: int) -> None:
        self.history.vanish(self.process(number % len(self.history.processes)))

    @precondition(lambda self: self.history.promises.offered)
    @rule(back=RECENT, kept=st.integers(0, 400))
    def kill(self, back: int, kept: int) -> None:
        self.history.kill(max(0, self.history.recorder.now - back), kept)

    def teardown(self) -> None:
        try:
            if self.history.is_sound:
                self.history.drain()
                self.history.recorder.check_complete()
        finally:
            self.history.end()


class PowerlessSpoolMachine(SpoolMachine):
    """The same where the power may fail, too."""

    @precondition(lambda self: self.history.promises.offered)
    @rule(back=RECENT, fate=fates())
    def lose_power(self, back: int, fate: Fate) -> None:
        at = max(0, self.history.recorder.now - back)
        note(f"power lost after {at} of {self.history.recorder.now} operations")
        self.history.lose_power(at, fate)


def test_what_was_spooled_survives_any_kill() -> None:
    """
    Wherever kills end the processes, what their appends had handed to the kernel is delivered in
    exactly one batch, each batch id always with the same bytes, whoever adopted the spool.
    """
    run_state_machine_as_test(SpoolMachine, settings=SHORT_SETTINGS)


def test_a_power_loss_never_makes_up_a_record() -> None:
    """
    Nothing here is synced, so a power loss may take what it likes: what is delivered is still what
    was written, nothing stops the rest, and what is found damaged is counted.
    """
    run_state_machine_as_test(PowerlessSpoolMachine, settings=SHORT_SETTINGS)


def test_a_power_loss_right_after_an_append_costs_only_that(tmp_path: Path) -> None:
    """
    With nothing synced at all, the next process finds nothing, and nothing stops it.
    """
    history = SpoolHistory()
    history.append(history.start(), [LOGS, SPANS], 60)

    history.lose_power(history.recorder.now, lost)
    history.drain()

    assert history.promises.accepted == {}
    history.end()


@pytest.mark.parametrize("sabotage", ["checksum", "position"])
def test_a_broken_reader_is_noticed(sabotage: str) -> None:
    """
    A reader that passes damaged frames, or does not keep its position, breaks these checks.
    """
    history = SpoolHistory()
    history.append(history.start(), [LOGS, LOGS], 60)
    process = history.processes[0]
    if sabotage == "position":
        stand_in = patch.object(
            SpoolReader, "_store", lambda self, at: setattr(self, "position", at)
        )
    else:
        stand_in = patch.object(frames_module, "frame_crc", lambda *_: Anything())
        path = process.spool.directory / segment_name(1)
        path.write_bytes(path.read_bytes().replace(b"<00002>", b"<99999>"))

    try:
        with stand_in, pytest.raises((AssertionError, KeyError)):
            deliver_kill_and_drain(history, process)
    finally:
        history.end()


def deliver_kill_and_drain(history: SpoolHistory, process: Process) -> None:
    history.deliver(process.reader, process, "accepted")
    history.append(process, [LOGS], 60)
    history.kill(history.recorder.now, 0)
    history.drain()


class Anything:
    """Equal to every checksum."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


@given(st.integers(0, 1 << 16), st.integers(1, 255))
@example(position=315, mask=231)  # a length that leads over two whole records to a third
@settings(max_examples=2 * EXAMPLES, deadline=None)
def test_one_damaged_byte_costs_at_most_one_record(
    tmp_path_factory: pytest.TempPathFactory, position: int, mask: int
) -> None:
    """
    Wherever a byte behind the segment's head is wrong, a length included, all other records are
    delivered, the damaged one is put aside, and it is counted.
    """
    directory = tmp_path_factory.mktemp("damaged")
    head = spool_module.HEADER.size + len(RESOURCE)
    whole = put_damaged(directory / "whole", {})
    put_damaged(directory / "damaged", {head + position % (len(whole) - head): mask})
    expected = read_bodies(directory / "whole", Counts())
    counts = Counts()

    found = read_bodies(directory / "damaged", counts)

    assert len(found) == 19
    assert [body for body in expected if body in found] == found
    assert sum(counts.values()[name] for name in REPORTED) > 0
    shutil.rmtree(directory)


@given(st.integers(0, spool_module.HEADER.size + len(RESOURCE) - 1), st.integers(1, 255))
@settings(max_examples=EXAMPLES, deadline=None)
def test_a_segment_without_its_head_is_put_aside(
    tmp_path_factory: pytest.TempPathFactory, position: int, mask: int
) -> None:
    """
    Records whose producer's resource is damaged are not delivered under a wrong one: the segment is
    kept for a person to look at, and counted, unless its head says that it was never whole.
    """
    directory = tmp_path_factory.mktemp("headless")
    content = put_damaged(directory, {position: mask})
    counts = Counts()

    found = read_bodies(directory, counts)

    aside = [path.read_bytes() for path in (directory / "quarantine").glob("*.seg")]
    is_cut = frames_module.is_cut_header(content)
    assert found == []
    assert counts.values()["spool_torn_bytes"] == len(content)
    assert aside == ([] if is_cut else [content])
    shutil.rmtree(directory)


@given(st.dictionaries(st.integers(0, 1 << 16), st.integers(1, 255), max_size=30))
@settings(max_examples=EXAMPLES, deadline=None)
def test_no_damage_makes_up_a_record_or_stops_the_rest(
    tmp_path_factory: pytest.TempPathFactory, damage: dict[int, int]
) -> None:
    """
    However many bytes are wrong, foreign files and empty segments beside them: what is delivered
    was written, in its order and once, and what is missing is counted.
    """
    directory = tmp_path_factory.mktemp("damaged")
    put_damaged(directory / "whole", {})
    put_damaged(directory / "damaged", damage)
    expected = read_bodies(directory / "whole", Counts())
    folder = directory / "damaged" / Process(directory, 1).id
    for name in (segment_name(2), "notes.txt", "1.seg", segment_name(3)):
        (folder / name).write_bytes(b"" if name != segment_name(3) else b"rubbish")
    counts = Counts()

    found = read_bodies(directory / "damaged", counts)

    assert [body for body in expected if body in found] == found
    assert found == expected or sum(counts.values()[name] for name in REPORTED) > len(b"rubbish")
    assert sorted(path.name for path in folder.iterdir() if path.suffix == ".seg") == ["1.seg"]
    shutil.rmtree(directory)
