"""The inbox over crashes at any point: what was acknowledged is there, once, whatever the disk did.

The real inbox runs, with the real SQLite, while every write and sync of both is recorded. A crash
takes any state that the operations so far allow; the real recovery opens it, and the history goes on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

import pytest
from crashing_files import (
    Disk,
    Fate,
    fates,
    lost,
)
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from inbox_history import SIZES, InboxHistory, framed

from mvtrace_collector.inbox import Inbox

EXAMPLES = int(os.environ.get("MVTRACE_TEST_EXAMPLES", "50"))
RECENT = st.just(0) | st.integers(0, 12) | st.integers(0, 80)
"""How many operations ago a crash came: mostly within the last call, or right after it."""
SHORT_SETTINGS = settings(
    max_examples=EXAMPLES,
    stateful_step_count=25,
    deadline=None,
    phases=set(Phase) - {Phase.explain},
    suppress_health_check=list(HealthCheck),
)


class InboxMachine(RuleBasedStateMachine):
    """Any use of an inbox, ended by any crash, any number of times."""

    def __init__(self) -> None:
        super().__init__()
        self.history = InboxHistory()
        self.count = 0

    def fresh(self) -> str:
        self.count += 1
        return f"b{self.count:03d}"

    @rule(size=st.sampled_from([0, 10, 600, 1600]), together=st.integers(1, 3))
    def offer(self, size: int, together: int) -> None:
        self.history.offer(*(self.fresh() for _ in range(together)), size=size)

    @precondition(lambda self: self.history.promises.offered)
    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        self.history.retry(data.draw(st.sampled_from(sorted(self.history.promises.offered))))

    @rule(outcome=st.sampled_from(["none", "poison", "stored", "stored"]))
    def take(self, outcome: str) -> None:
        if outcome == "none":
            self.history.take()
        else:
            self.history.mark(is_stored=outcome == "stored")

    @rule(call=st.sampled_from(["open", "writev", "fdatasync", "fsync"]))
    def refuse(self, call: str) -> None:
        """The disk refuses the next call of a kind."""
        self.history.recorder.refuse(call)
        self.history.offer(self.fresh(), self.fresh(), size=600)
        self.history.recorder.refusals.clear()

    @precondition(lambda self: self.history.recorder.now > 0)
    @rule()
    def restart(self) -> None:
        self.history.restart()

    @precondition(lambda self: self.history.promises.offered)
    @rule(back=RECENT, kept=st.integers(0, 700))
    def kill(self, back: int, kept: int) -> None:
        self.history.kill(max(0, self.history.recorder.now - back), kept)

    @precondition(lambda self: self.history.promises.offered)
    @rule(back=RECENT, fate=fates())
    def lose_power(self, back: int, fate: Fate) -> None:
        at = max(0, self.history.recorder.now - back)
        note(f"power lost after {at} of {self.history.recorder.now} operations")
        self.history.lose_power(at, fate)

    @precondition(lambda self: self.history.promises.offered)
    @rule(back=RECENT)
    def lose_unsynced(self, back: int) -> None:
        self.history.lose_power(max(0, self.history.recorder.now - back), lost)

    def teardown(self) -> None:
        try:
            if self.history.is_sound:
                self.history.drain()
                self.history.recorder.check_complete()
        finally:
            self.history.end()


def test_what_was_acknowledged_survives_any_crash() -> None:
    """
    Whatever was asked of an inbox and wherever a kill or a power loss ended it: each acknowledged
    batch is there once, with its number and its bytes, known when it is sent again, and in exactly
    one intent, which stays the same until it is marked and does not come again after that.
    """
    run_state_machine_as_test(InboxMachine, settings=SHORT_SETTINGS)


@pytest.fixture
def history() -> Iterator[InboxHistory]:
    """An inbox whose every operation on files is recorded."""
    made = InboxHistory()
    yield made
    made.end()


def test_the_folder_of_a_new_inbox_survives_a_power_loss(history: InboxHistory) -> None:
    """
    The first batch of all is there, in folders that were just made.
    """
    history.offer("first")

    history.lose_power(history.recorder.now, lost)

    assert history.promises.acknowledged == {"first": 1}
    assert [body for _, _, body in history.frames()] == [b"first....."]


def test_a_deleted_segment_does_not_come_back(history: InboxHistory) -> None:
    """
    A power loss right after a stored segment was deleted does not bring it back as a new one.
    """
    history.offer("large", size=1000)
    history.mark(is_stored=True)

    history.lose_power(history.recorder.now, lost)

    assert history.take() is None
    assert history.frames() == []


@pytest.mark.parametrize("end", ["restart", "kill", "lose_power"])
def test_a_refused_batch_that_comes_again_is_there_once(history: InboxHistory, end: str) -> None:
    """
    A batch whose sync the disk refused is not kept beside the copy that is sent again.
    """
    history.recorder.refuse("fdatasync")
    history.offer("refused", size=1000)
    history.retry("refused")

    now = history.recorder.now
    endings = {
        "restart": history.restart,
        "kill": lambda: history.kill(now, 0),
        "lose_power": lambda: history.lose_power(now, Disk.apply),
    }
    endings[end]()

    assert list(history.promises.acknowledged) == ["refused"]
    assert len(history.frames()) == 1
    history.drain()


@pytest.mark.parametrize("omitted", ["fdatasync", "folder", "sqlite"])
def test_a_sync_that_is_left_out_is_noticed(omitted: str) -> None:
    """
    Without the syncs of segments, of folders or of the index a promise breaks, and these tests see
    it.
    """
    history = InboxHistory(omitted=frozenset({omitted}))
    history.offer("stored", size=10)
    history.mark(is_stored=True)
    history.offer("waiting", size=10)

    try:
        with pytest.raises(AssertionError):
            lose_power_and_drain(history)
    finally:
        history.end()


def lose_power_and_drain(history: InboxHistory) -> None:
    history.lose_power(history.recorder.now, lost)
    history.drain()


@given(st.integers(0, 200), st.data())
@settings(max_examples=EXAMPLES, deadline=None)
def test_a_lost_index_costs_repetition_and_no_data(back: int, data: st.DataObject) -> None:
    """
    When the index is deleted or overwritten while the inbox is down, all that was accepted and not
    deleted is there, known, and given out again under another epoch.
    """
    history = InboxHistory(replace(SIZES, retention_bytes=1 << 20))
    try:
        for number, outcome in enumerate(data.draw(st.lists(st.booleans(), max_size=4))):
            history.offer(f"batch-{number}", size=600)
            if outcome:
                history.mark(is_stored=True)
        history.kill(max(0, history.recorder.now - back), 0)
        before = history.promises.copy()
        history.inbox.close()
        index = history.inbox.directory / "index.sqlite"
        index.write_bytes(data.draw(st.sampled_from([b"", b"no database" * 1000])))
        for suffix in ("-wal", "-shm"):
            index.with_name(index.name + suffix).unlink(missing_ok=True)

        history.inbox = Inbox(history.inbox.directory, history.sizes)

        bodies = {body for _, _, body in history.frames()}
        assert bodies >= {before.offered[name] for name in before.acknowledged}
        for name in before.acknowledged:
            history.retry(name)
        taken = []
        while (intent := history.inbox.take(1, 0.0)) is not None:
            history.inbox.mark_stored(intent, {})
            taken.append(intent)
        assert {(one.id, one.epoch) for one in taken}.isdisjoint(before.taken)
        given_out = [frame for one in taken for frame in framed(one.path)]
        assert sorted(seq for seq, _, _ in given_out) >= sorted(before.acknowledged.values())
    finally:
        history.end()
