"""A subject is erased while the engine merges the very parts that hold its content.

The embedded engine has one owner: erasing and merging run in two threads over one open store.
"""

from __future__ import annotations

import threading
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Self

from obligations import wait_for

from mvtrace.ids import new_request_id
from mvtrace.store import migrate, open_store
from mvtrace.store.store import Store
from mvtrace_collector.erasure import Eraser, opened_keys
from mvtrace_collector.payload_keys import KeyStore

SUBJECT, OTHER = "hmac-sha256:aa:erased", "hmac-sha256:aa:kept"
PARTS, ROWS = 40, 2_000
FILL = """
INSERT INTO payloads (project, request_id, kind, digest, piece, pieces, subject, mode, key_id,
    nonce, body, bytes, is_cut, redactions, retention_days, received_at)
SELECT 'default', unhex({prefix:String} || leftPad(hex(toUInt32(number % 50)), 20, '0')), 'input',
    toString(number), 0, 1, {subject:String}, 'redacted', '', unhex({mark:String}),
    unhex({mark:String}), 16, false, map(), 30, now64(3)
FROM numbers({rows:UInt32})
"""
COUNT = "SELECT count() FROM payloads WHERE subject = {subject:String}"
MERGES = "SELECT count() FROM system.merges WHERE table = 'payloads' AND NOT is_mutation"


def mark_of(part: int) -> bytes:
    """Return what stands in the content of one part; a codec that finds repetitions keeps it once."""
    return bytes((part * 37 + position * 91 + position**3) % 256 for position in range(16))


def fill(store: Store, part: int, subject: str) -> None:
    """Insert a part of *subject*'s content."""
    about = {"prefix": new_request_id().replace("-", "")[:12], "subject": subject}
    store.command(FILL, {**about, "mark": mark_of(part).hex(), "rows": ROWS})


def count(store: Store, subject: str) -> int:
    [(found,)] = store.query(COUNT, {"subject": subject}).rows
    return int(found)


def marks_in(folder: Path, parts: range) -> set[int]:
    """Return of which *parts* some bytes are in any file of the store."""
    files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    return {part for part in parts if any(mark_of(part) in data for data in files)}


class Merging:
    """Merges without rest in a thread, while more comes in for the other subject."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.rounds = 0
        self.failures: list[Exception] = []

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._store.command("OPTIMIZE TABLE payloads FINAL")
                fill(self._store, PARTS + self.rounds % 50, OTHER)
                self.rounds += 1
            except Exception as error:
                self.failures.append(error)
                return

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(120)
        assert not self._thread.is_alive()
        assert self.failures == []


def erased_in_merge(store: Store, keys: KeyStore) -> tuple[int, int]:
    """Erase the subject while a merge runs; return the pieces erased and the merges seen."""
    with Merging(store) as merging:
        seen = [0]

        def is_merging() -> bool:
            seen[0] = int(store.query(MERGES).rows[0][0])
            return seen[0] > 0

        wait_for(is_merging, 60, "no merge runs")
        erased = Eraser(store, keys, nullcontext()).erase(
            "default", SUBJECT, by="t", reason="asked"
        )
        before = merging.rounds
        wait_for(lambda: merging.rounds > before + 1, 60, "merging has ended")
    return erased.payloads, seen[0]


def test_erased_in_a_merge_stays_erased(tmp_path: Path) -> None:
    """
    An erasure in the middle of merges: afterwards, and after a restart, no row and no byte of the
    subject's content is left, its tombstone is, and nothing of the others is missing.
    """
    dsn, folder, mine = f"chdb://{tmp_path / 'store'}", tmp_path / "store", range(0, PARTS, 2)
    with open_store(dsn) as store:
        migrate(store)
        keys = opened_keys(tmp_path / "keys", store)
        store.command("SYSTEM STOP MERGES payloads")
        for part in range(PARTS):
            fill(store, part, OTHER if part % 2 else SUBJECT)
        owned, others = count(store, SUBJECT), count(store, OTHER)
        readable = marks_in(folder, mine)
        store.command("SYSTEM START MERGES payloads")
        erased, merges = erased_in_merge(store, keys)
        left = (count(store, SUBJECT), count(store, OTHER) >= others)
        deadline = time.monotonic() + 60
        while marks_in(folder, mine) and time.monotonic() < deadline:
            time.sleep(0.5)  # the engine keeps the parts that it merged for a second
        keys.close()
    with open_store(dsn) as store:
        keys = opened_keys(tmp_path / "keys", store)
        store.command("OPTIMIZE TABLE payloads FINAL")
        after = (count(store, SUBJECT), count(store, OTHER) >= others)
        tombstones = store.query("SELECT DISTINCT subject FROM erasures").rows
        kept = marks_in(folder, range(1, PARTS, 2))
        keys.close()

    print(f"\n{erased} of {owned} pieces erased while {merges} merges ran")
    assert erased == owned == PARTS // 2 * ROWS
    assert readable == set(mine)
    assert left == after == (0, True)
    assert marks_in(folder, mine) == set()
    assert kept
    assert tombstones == [(SUBJECT,)]
