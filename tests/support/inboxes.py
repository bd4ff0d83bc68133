"""What a loader does with an inbox, step by step, and what a kill leaves of one."""

from __future__ import annotations

from pathlib import Path

from mvtrace_collector.inbox import Inbox, Intent
from mvtrace_collector.segments import scan_segment


def take_now(inbox: Inbox) -> Intent | None:
    """Return what there is to store, without waiting."""
    return inbox.take(1, 0.0)


def bodies_of(intents: list[Intent]) -> list[int]:
    """Return the numbers of the bodies in the segments of *intents*."""
    return [frame.seq for intent in intents for frame in scan_segment(intent.path).frames]


def drain(inbox: Inbox) -> list[Intent]:
    """Mark all that there is as stored."""
    taken = []
    while (intent := take_now(inbox)) is not None:
        taken.append(intent)
        inbox.mark_stored(intent, {"spans": 1})
    return taken


def copy_of(inbox: Inbox, target: Path) -> Path:
    """What a kill leaves: the files as they are, without any clean-up."""
    target.mkdir()
    for path in inbox.directory.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target
