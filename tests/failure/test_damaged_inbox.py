"""The inbox is damaged, deleted or full: nothing is acknowledged that is not safe."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from obligations import Judge, Ledger, wait_for
from small_disk import small_disk
from supervised import Supervised
from wire_producer import Load, WireProducer

from mvtrace_collector.loader import SCHEMA_CACHE


def filled(collector: Supervised, ledger: Ledger, batches: int = 3) -> WireProducer:
    producer = WireProducer(collector.url, ledger)
    for _ in range(batches):
        assert producer.send(20)
    return producer


def judged(collector: Supervised, ledger: Ledger, title: str) -> None:
    found = Judge(collector.url).verdict(ledger)
    found.show(title)
    found.hold()


def test_index_corrupt(collector: Supervised) -> None:
    """
    An index of the inbox that is overwritten with noise is put aside and built anew from the
    segments.
    """
    ledger = Ledger()
    filled(collector, ledger)
    collector.kill()
    index = collector.inbox / "index.sqlite"
    index.write_bytes(b"noise " * 5000)
    for suffix in ("-wal", "-shm"):  # from its journal alone the index would come back
        index.with_name(index.name + suffix).unlink(missing_ok=True)
    collector.start()
    filled(collector, ledger)
    judged(collector, ledger, "index of the inbox corrupt")
    assert list(collector.inbox.glob("index.sqlite.damaged-*"))
    assert "damaged" in collector.said()


def test_index_deleted(collector: Supervised) -> None:
    """
    An index that is deleted, also while the collector runs, is built anew from the segments.
    """
    ledger = Ledger()
    filled(collector, ledger)
    for path in collector.inbox.glob("index.sqlite*"):
        path.unlink()
    filled(collector, ledger)
    collector.kill()
    collector.start()
    judged(collector, ledger, "index of the inbox deleted while running")


def test_journal_left_by_a_kill(collector: Supervised) -> None:
    """
    A journal of the index that a kill left behind, also a truncated one, loses nothing.
    """
    ledger = Ledger()
    filled(collector, ledger)
    Judge(collector.url).wait_stored()
    collector.kill()
    journal = collector.inbox / "index.sqlite-wal"
    assert journal.stat().st_size > 0
    with journal.open("rb+") as file:
        file.truncate(journal.stat().st_size // 2)
    collector.start()
    filled(collector, ledger)
    judged(collector, ledger, "journal of the index cut by half")


def test_directory_deleted_while_running(collector: Supervised) -> None:
    """
    A collector whose inbox directory is deleted under it acknowledges nothing any more: senders
    keep their data, and what was acknowledged before is stored.
    """
    ledger = Ledger()
    producer = filled(collector, ledger)
    Judge(collector.url).wait_stored()
    shutil.rmtree(collector.inbox)
    batch = producer.batch(20)
    refusals = {producer.post("logs", batch.logs, batch.id) for _ in range(3)}
    assert refusals == {503}
    collector.kill()
    collector.start()
    assert producer.deliver(batch)
    judged(collector, ledger, f"inbox deleted under the collector; answers {producer.answers}")


@pytest.mark.parametrize("left_bytes", [0, 700])
def test_schemas_of_the_engine_are_torn(collector: Supervised, left_bytes: int) -> None:
    """
    A schema that the engine keeps beside the inbox, cut short by a full disk or a loss of power, is
    written anew, and what was accepted is stored.
    """
    ledger = Ledger()
    filled(collector, ledger)
    Judge(collector.url).wait_stored()
    collector.kill()
    kept = list((collector.inbox / SCHEMA_CACHE).glob("*.proto"))
    assert kept
    for path in kept:
        os.truncate(path, left_bytes)
    collector.start()
    filled(collector, ledger)
    judged(collector, ledger, f"schema of the engine cut to {left_bytes} bytes")


def test_disk_full(tmp_path: Path) -> None:
    """
    An inbox whose disk is full answers 503, acknowledges nothing that it has not synced, and goes
    on once there is space.
    """
    ledger = Ledger()
    with small_disk(tmp_path / "disk", "12m") as disk:
        environ = {"MVTRACE_INBOX_FLOOR_MIB": "0.001"}
        data = ("--data", str(disk.path / "inbox"))
        with Supervised(tmp_path / "collector", *data, environ=environ) as collector:
            with Load(collector.url, ledger, senders=2, requests=20, rest_s=0.02) as load:
                wait_for(lambda: len(ledger.owed) > 100, 20, "nothing is accepted")
                ballast = disk.fill()
                wait_for(lambda: load.answers.get(503, 0) > 5, 20, "a full disk is not told")
                ballast.unlink()
                before = len(ledger.owed)
                wait_for(lambda: len(ledger.owed) > before + 100, 30, "it does not go on")
            judged(collector, ledger, f"inbox's disk full for a while; answers {load.answers}")


def test_disk_full_of_what_is_stored(tmp_path: Path) -> None:
    """
    A disk several times too small for all that comes in goes on taking it: copies of what is stored
    make room, and what is accepted is stored although the disk was full in between.
    """
    ledger = Ledger()
    with small_disk(tmp_path / "disk", "2m") as disk:
        environ = {"MVTRACE_INBOX_FLOOR_MIB": "0.001"}
        data = ("--data", str(disk.path / "inbox"))
        with Supervised(tmp_path / "collector", *data, environ=environ) as collector:
            options = {"requests": 20, "payload_bytes": 2000}
            with Load(collector.url, ledger, senders=2, rest_s=0.02, **options) as load:
                wait_for(lambda: len(ledger.owed) * 2000 > 6 << 20, 60, "it does not go on")
            judged(collector, ledger, f"inbox's disk too small; answers {load.answers}")
            assert load.answers.get(503)


def test_disk_floor(tmp_path: Path) -> None:
    """
    An inbox stops taking before its disk is full, and says 503 with a time to come back.
    """
    ledger = Ledger()
    with small_disk(tmp_path / "disk", "64m") as disk:
        environ = {"MVTRACE_INBOX_FLOOR_MIB": "32"}
        data = ("--data", str(disk.path / "inbox"))
        with Supervised(tmp_path / "collector", *data, environ=environ) as collector:
            producer = filled(collector, ledger)
            ballast = disk.fill(16 << 20)
            wait_for(lambda: not producer.send(1, patience_s=0), 10, "no refusal")
            ballast.unlink()
            assert producer.send(10)
            assert producer.answers[503]
            judged(collector, ledger, f"inbox below its floor; answers {producer.answers}")
