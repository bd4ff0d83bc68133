"""Segments of the inbox: when one ends, how far storing lags, how long a stored one stays."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from inboxes import drain, take_now

from mvtrace_collector.inbox import Accepted, Inbox, InboxSettings


def test_small_and_young_segments_are_left_open(tmp_path: Path) -> None:
    """
    A segment is given out once it is large or old enough, so that few inserts load much.
    """
    inbox = Inbox(tmp_path / "inbox")
    inbox.append("default", "traces", b"x" * 100, "1")

    assert inbox.take(max_bytes=1000, max_age_s=60) is None
    inbox.append("default", "traces", b"x" * 1000, "2")
    intent = inbox.take(max_bytes=1000, max_age_s=60)
    assert intent is not None
    assert (intent.first_seq, intent.last_seq) == (1, 2)
    inbox.close()


def test_segments_roll_at_their_size(tmp_path: Path) -> None:
    """
    A full segment is sealed by the next append, and no frame makes one larger than the limit.
    """
    sizes = InboxSettings(segment_bytes=10_000, max_segment_bytes=20_000)
    inbox = Inbox(tmp_path / "inbox", sizes)
    for n, size in enumerate((6_000, 6_000, 6_000, 15_000, 25_000, 10)):
        inbox.append("default", "traces", bytes(size), str(n))

    spans = [(intent.first_seq, intent.last_seq) for intent in drain(inbox)]

    assert spans == [(1, 2), (3, 3), (4, 4), (5, 5), (6, 6)]
    inbox.close()


def test_lag_tells_what_is_not_stored(tmp_path: Path) -> None:
    """
    The lag grows with each append, falls when a segment is marked, and waiting for a sequence
    number ends when it is stored.
    """
    inbox = Inbox(tmp_path / "inbox")
    empty = inbox.lag()
    inbox.append("default", "traces", b"x" * 100, "1")
    one = inbox.lag()
    assert not inbox.wait_stored(1, 0.01)
    waiter = ThreadPoolExecutor(1).submit(inbox.wait_stored, 1, 5)
    drain(inbox)

    assert waiter.result(5)
    assert (empty.segments, empty.oldest_ms, empty.accepted_seq) == (0, None, 0)
    assert (one.segments, one.bytes, one.accepted_seq, one.stored_seq) == (1, 100, 1, 0)
    assert inbox.lag() == empty.__class__(0, 0, None, 1, 1)
    inbox.close()


def test_stored_segments_are_kept_for_a_while(tmp_path: Path) -> None:
    """
    Stored segments go when they are over the byte budget or older than the window, poisoned ones
    stay, and batch ids outlive their segment's file only within the window.
    """
    budget = InboxSettings(retention_bytes=2_500, retention_seconds=3600)
    inbox = Inbox(tmp_path / "inbox", budget)
    for n in range(4):
        inbox.append("default", "traces", bytes(1000), str(n))
        intent = take_now(inbox)
        assert intent is not None
        if n == 0:
            inbox.mark_poison(intent, "a reason")
        else:
            inbox.mark_stored(intent, {"spans": 1})
    left = sorted(path.name[-5:] for path in inbox.directory.glob("segment-*"))
    still_known = inbox.append("default", "traces", bytes(1000), "1")
    inbox.close()
    inbox = Inbox(tmp_path / "inbox", InboxSettings(retention_seconds=-1))
    after = sorted(path.name[-5:] for path in inbox.directory.glob("segment-*"))
    forgotten = inbox.append("default", "traces", bytes(1000), "1")

    assert left == ["01.pb", "03.pb", "04.pb"]
    assert still_known == Accepted(2, duplicate=True)
    assert after == ["01.pb"]
    assert not forgotten.duplicate
    inbox.close()


def test_no_copy_is_older_than_the_maximum_age(tmp_path: Path) -> None:
    """
    Also where nothing more comes in, and however much room there is, copies of what was stored or
    refused go once they are old; what still waits for the store stays.
    """
    inbox = Inbox(tmp_path / "inbox", InboxSettings(max_age_seconds=0.5))
    for n in range(3):
        inbox.append("default", "traces", bytes(1000), str(n))
        intent = take_now(inbox)
        assert intent is not None
        if n == 0:
            inbox.mark_poison(intent, "a reason")
        elif n == 1:
            inbox.mark_stored(intent, {"spans": 1})
    time.sleep(1.2)
    again = inbox.take()
    left = sorted(path.name[-5:] for path in inbox.directory.glob("segment-*"))
    still_known = inbox.append("default", "traces", bytes(1000), "1")
    inbox.close()

    assert left == ["03.pb"]
    assert again == intent
    assert still_known.duplicate
