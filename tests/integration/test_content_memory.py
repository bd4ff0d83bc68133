"""What giving out content costs the collector, however much of it there is."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import httpx2
from erasure_wire import Wire, settled, subject
from private_app import serving
from processes import Running

MIB = 1024 * 1024


def sent(wire: Wire, size: int) -> str:
    """Send a request with so much content; return its id."""
    request_id = wire.new_id()
    wire.record(request_id, "anna")
    for first in range(0, size, 8 * MIB):
        wire.pieces(request_id, subject("anna"), f"part/{first}", min(8 * MIB, size - first))
    return request_id


def peak_growth(one: Running, request_id: str) -> tuple[httpx2.Response, int]:
    """Ask for content; return the answer and by how many bytes the process grew meanwhile."""
    status = Path(f"/proc/{one.process.pid}/status")
    Path(f"/proc/{one.process.pid}/clear_refs").write_text("5")
    before = _peak(status)
    reply = httpx2.get(f"{one.url}/api/v1/content", params={"id": request_id}, timeout=60)
    return reply, _peak(status) - before


def _peak(status: Path) -> int:
    found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text())
    assert found
    return int(found[1]) * 1024


def test_more_than_the_limit_is_refused_unread(tmp_path: Path) -> None:
    """
    A request with 48 MiB of content, where 2 are allowed, is answered 413 with the way out, at a cost
    far below its size; the next one, that is small, is answered.
    """
    with serving(tmp_path, MVTRACE_MAX_CONTENT_MIB="2") as one:
        wire = Wire(one)
        small, large = sent(wire, MIB), sent(wire, 48 * MIB)
        settled(one)
        peak_growth(one, small)
        refused, grown = peak_growth(one, large)
        answered, _ = peak_growth(one, small)

    assert refused.status_code == 413
    assert "MVTRACE_MAX_CONTENT_MIB" in refused.text
    assert grown < 16 * MIB
    assert answered.status_code == 200
    [content] = answered.json()["contents"]
    assert len(base64.b64decode(content["body"])) == MIB
    assert content["is_whole"]


def test_content_within_the_limit_takes_a_few_times_its_size(tmp_path: Path) -> None:
    """
    What is given out is held in memory no more than six times.
    """
    with serving(tmp_path) as one:
        wire = Wire(one)
        small, large = sent(wire, MIB), sent(wire, 48 * MIB)
        settled(one)
        peak_growth(one, small)
        reply, grown = peak_growth(one, large)

    bodies = sum(len(base64.b64decode(found["body"])) for found in reply.json()["contents"])
    assert bodies == 48 * MIB
    assert grown < (6 * 48 + 16) * MIB  # beside what the process takes for anything
