"""Frames are cut out of a segment as the inbox wrote them."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from mvtrace_collector.poison import LOGS, TRACES, quarantine_row, signals_in, split_frames
from mvtrace_collector.segments import Frame, frame_head


def written(number: int, signal: str, body: bytes) -> bytes:
    """A frame with all that the inbox puts into it: checksum and batch id too."""
    frame = Frame(number, 1_790_000_000_000 + number, bytes([number]) * 16)
    crc = zlib.crc32(body)
    return frame_head(f"project-{number}", signal, body, frame=frame, body_crc=crc) + body


def test_frames_of_the_inbox_are_told_apart(tmp_path: Path) -> None:
    """
    Each frame keeps its bytes, and its head says project, time and number; a torn one is left over.
    """
    frames = [written(1, "traces", b"T" * 300), written(2, "logs", b"")]
    torn = written(3, "traces", b"T" * 300)[:-1]
    segment = tmp_path / "segment"
    segment.write_bytes(b"".join(frames))

    found, rest = split_frames(b"".join(frames) + torn)

    assert [one.raw for one in found] == frames
    assert [(one.project, one.seq) for one in found] == [("project-1", 1), ("project-2", 2)]
    assert [one.received_ms for one in found] == [1_790_000_000_001, 1_790_000_000_002]
    assert rest == torn
    assert signals_in(segment) == {TRACES, LOGS}


def test_frame_that_is_cut_out_is_kept_whole() -> None:
    """
    The row of `quarantine` has the frame's project, time, reason and bytes.
    """
    [frame], _ = split_frames(written(1, "traces", b"T" * 300))

    project, received_at, _, reason, detail, subject, body = quarantine_row(frame, "why")

    assert (project, reason, detail) == ("project-1", "unloadable-batch", "why")
    assert received_at.timestamp() * 1000 == 1_790_000_000_001
    assert subject == f"batch 1 of {len(frame.raw)} bytes"
    assert body == frame.raw


@pytest.mark.parametrize("key", ["gen_ai.prompt.0.content", "input.value", "exception.message"])
def test_frame_that_carries_content_is_kept_without_its_bytes(key: str) -> None:
    """
    The row says of such a frame when it came, how large it is and why it could not be loaded.
    """
    span = Span(name="s", attributes=[KeyValue(key=key, value=AnyValue(string_value="secret"))])
    [frame], _ = split_frames(written(1, "traces", span.SerializeToString()))

    *_, subject, body = quarantine_row(frame, "why")

    assert body == b""
    assert subject == f"batch 1 of {len(frame.raw)} bytes"


def test_frame_with_facts_alone_keeps_its_bytes() -> None:
    """
    An attribute that tells facts does not make a frame one with content.
    """
    fact = KeyValue(key="gen_ai.request.model", value=AnyValue(string_value="m"))
    [frame], _ = split_frames(written(1, "traces", Span(attributes=[fact]).SerializeToString()))

    assert quarantine_row(frame, "why")[-1] == frame.raw
