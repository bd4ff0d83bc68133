"""Texts and copies that have their time: gone when it is over, and said to be."""

from __future__ import annotations

import time
from pathlib import Path

from erasure_wire import Wire, settled, subject, texts
from explained import explained
from private_app import serving, until
from processes import Running

from mvtrace.store import open_store

DAY_MS = 86_400_000


def codes(one: Running, request_id: str) -> set[str]:
    return {finding["code"] for finding in explained(one.url, request_id)["findings"]}


def rows_of(folder: Path, *, is_merged: bool) -> list[str]:
    """Return the requests that have content rows, at once or after the engine's merges."""
    with open_store(f"chdb://{folder / 'store'}") as store:
        if is_merged:
            store.command("OPTIMIZE TABLE payloads FINAL")
        return [row[0] for row in store.query("SELECT request_id_text FROM payloads").rows]


def test_texts_expire_with_their_rows(tmp_path: Path) -> None:
    """
    A text of forty days ago, kept for fifty, is given out; where texts are kept for thirty days it is
    not let in; rows past their time are not shown, are dropped by the next merge, and the explanation
    says that they have expired, before and after it.
    """
    with serving(tmp_path, MVTRACE_PAYLOAD_DAYS="50") as one:
        wire = Wire(one, ahead_ms=-40 * DAY_MS)
        old, young = wire.new_id(), Wire(one).new_id()
        for each in (old, young):
            wire.record(each, "anna", mode="redacted")
            wire.content(each, subject("anna"))
        kept = (texts(one, old), texts(one, young))
        said = codes(one, old)
    _age(tmp_path, old)
    with serving(tmp_path) as one:
        before = (texts(one, old), texts(one, young), codes(one, old))
        late = Wire(one, ahead_ms=-40 * DAY_MS)
        too_old = late.new_id()
        late.record(too_old, "anna", mode="redacted")
        late.content(too_old, subject("anna"))
        refused = (texts(one, too_old), codes(one, too_old))
    merged = rows_of(tmp_path, is_merged=True)
    with serving(tmp_path) as one:
        after = (texts(one, old), codes(one, old))

    assert kept == (1, 1)
    assert "content_kept" in said
    assert before[:2] == (0, 1)
    assert "content_expired" in before[2]
    assert "content_kept" not in before[2]
    assert refused[0] == 0
    assert "content_expired" in refused[1]
    assert merged == [young]
    assert after[0] == 0
    assert "content_expired" in after[1]


def _age(folder: Path, request_id: str) -> None:
    """Make the rows of a request such as were stored to be kept for thirty days."""
    with open_store(f"chdb://{folder / 'store'}") as store:
        store.command(
            "INSERT INTO payloads SELECT * REPLACE (30 AS retention_days) FROM payloads "
            "WHERE request_id_text = {id:String}",
            {"id": request_id},
        )
        store.command(
            "ALTER TABLE payloads DELETE WHERE retention_days = 50 "
            "AND lower(hex(request_id)) = {id:String}",
            {"id": request_id.replace("-", "")},
            settings={"mutations_sync": 1},
        )


def test_copies_in_the_inbox_have_a_greatest_age(tmp_path: Path) -> None:
    """
    What was sent is in the inbox for as long as is set and no longer, and nothing else changes.
    """
    inbox = tmp_path / "store.inbox"
    with serving(tmp_path, MVTRACE_INBOX_MAX_AGE_HOURS=str(3 / 3600)) as one:
        wire = Wire(one)
        sent_at = time.monotonic()
        request_id = wire.new_id()
        wire.record(request_id, "anna")
        at_first = list(inbox.glob("segment-*.pb"))
        settled(one)
        is_gone = until(lambda: not list(inbox.glob("segment-*.pb")))
        took_s = time.monotonic() - sent_at
        assert codes(one, request_id)

    assert at_first
    assert is_gone
    assert took_s > 2.5
