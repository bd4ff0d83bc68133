"""Spools of ended processes that cannot be read for a while: tried again, ever more rarely."""

from __future__ import annotations

import errno
import itertools
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from obligations import wait_for
from sink import Sink

from mvtrace.capture import exporter, orphans
from mvtrace.capture.counts import Counts
from mvtrace.capture.orphans import Orphans
from mvtrace.capture.pipeline import Tracing
from mvtrace.capture.spool import SPANS, Payload, Spool, segment_name
from mvtrace.config import TracingConfig
from mvtrace.otlp import FinishedSpan, Scope, encode_scope_spans


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink() as running:
        yield running


def left_behind(root: Path) -> Path:
    """Make the spool of a process that has ended; return its one segment."""
    spool = Spool(root, str(uuid.uuid4()), lambda: b"")
    span = FinishedSpan(b"t" * 16, b"s" * 8, b"", "left", 1, 1, 2, {})
    spool.append([Payload(SPANS, encode_scope_spans(Scope("left"), [span]))])
    spool.close()
    return spool.directory / segment_name(1)


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of the files that the disk will not open for now."""
    names: set[str] = set()
    opened = os.open

    def refusing(path: Any, *arguments: Any, **options: Any) -> int:
        if str(path) in names:
            raise OSError(errno.EIO, "Input/output error", str(path))
        return opened(path, *arguments, **options)

    monkeypatch.setattr(os, "open", refusing)
    return names


def test_unreadable_spool_is_delivered_once_it_can_be_read(
    sink: Sink, tmp_path: Path, refused: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What could not be read at first is delivered by the same process once it can be.
    """
    monkeypatch.setattr(exporter, "ADOPT_INTERVAL_S", 0.05)
    monkeypatch.setattr(orphans, "FIRST_RETRY_S", 0.05)
    segment = left_behind(tmp_path)
    refused.add(str(segment))
    settings = {"url": sink.url, "spool_dir": tmp_path, "spool_min_free_bytes": 0}
    tracing = Tracing(TracingConfig.from_environ({"HOME": str(tmp_path)}, **settings))
    tracing.emit_spans([FinishedSpan(b"t" * 16, b"o" * 8, b"", "own", 1, 1, 2, {})])
    wait_for(lambda: tracing.stats()["spool_read_errors"] > 1, 20, "it is not tried again")
    before = {span.name for span in sink.spans}

    refused.clear()

    sink.wait_for(lambda found: {span.name for span in found.spans} == {"own", "left"})
    assert before == {"own"}
    tracing.shutdown()


def test_tries_become_rare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The rest before a try doubles up to an hour, and meanwhile other processes may have the spool.
    """
    now = itertools.count(0.0, 10.0)  # ten seconds between two looks
    monkeypatch.setattr(orphans.time, "monotonic", lambda: next(now))
    segment = left_behind(tmp_path)
    own = Spool(tmp_path, str(uuid.uuid4()), lambda: b"")
    adopter = Orphans(own.directory, Counts())
    tried_at = []
    for _ in range(3000):
        adopter.adopt()
        for reader in adopter.readers():
            tried_at.append(next(now))
            adopter.give_up(reader)
    rests = [later - earlier for earlier, later in itertools.pairwise(tried_at)]
    other = Orphans(own.directory, Counts())
    other.adopt()

    assert [reader.directory for reader in other.readers()] == [segment.parent]
    assert [one.directory for one in adopter.readers()] == []
    assert len(rests) > 8
    assert rests[:3] == pytest.approx([30, 60, 120], abs=45)
    assert rests[-1] == pytest.approx(3600, abs=45)
    other.close()
    own.close()
