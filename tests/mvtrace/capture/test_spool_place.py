"""A spool that is no longer where its writer thinks: it goes on where readers look."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from small_disk import small_disk

from mvtrace.capture.counts import Counts
from mvtrace.capture.spool import LOGS, Payload, Spool, segment_numbers
from mvtrace.capture.spool_reader import SpoolReader


def read_by_path(spool: Spool) -> list[bytes]:
    """Deliver what a reader finds under the spool's name and return it."""
    reader, found = SpoolReader(spool.directory, Counts()), []
    while (part := reader.next_range(spool.tail)) is not None:
        found += [frame.body for frame in part.frames]
        reader.mark_delivered(part)
    return found


def test_disk_mounted_over_the_spool(tmp_path: Path) -> None:
    """
    Where a disk is mounted over the spool after the first record, what comes later lies on it, and
    when it is gone again, where it was before.
    """
    root = tmp_path / "spool"
    spool = Spool(root, str(uuid.uuid4()), lambda: b"")
    spool.append([Payload(LOGS, b"before")])
    with small_disk(root, "1m"):
        spool.append([Payload(LOGS, b"on the disk")])
        on_it = read_by_path(spool)
    spool.append([Payload(LOGS, b"after")])

    assert on_it == [b"on the disk"]
    assert b"after" in read_by_path(spool)
    spool.close()


@pytest.mark.parametrize("lose", [os.unlink, lambda path: path.rename(path.with_suffix(".aside"))])
def test_segment_taken_away(tmp_path: Path, lose: Callable[[Path], object]) -> None:
    """
    A segment that was deleted or renamed gets no more frames: they go into a new one.
    """
    spool = Spool(tmp_path, str(uuid.uuid4()), lambda: b"")
    spool.append([Payload(LOGS, b"before")])
    lose(spool.directory / "00000001.seg")
    spool.append([Payload(LOGS, b"after")])

    assert segment_numbers(spool.directory) == [2]
    assert read_by_path(spool) == [b"after"]
    spool.close()
