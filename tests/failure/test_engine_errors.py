"""The engine refuses for a while: no space, no memory. What was accepted waits and is stored."""

from __future__ import annotations

from pathlib import Path

from obligations import Judge, Ledger, arrives, wait_for
from small_disk import small_disk
from supervised import Supervised
from wire_producer import Load, WireProducer

MEMORY_MIB = 18
"""Enough for a batch of a hundred records, not for a segment of many."""


def refused(collector: Supervised) -> bool:
    """Whether the collector has failed to load something."""
    return Judge(collector.url).metric("mvtrace_loader_errors_total") > 0


def halved(collector: Supervised) -> int:
    """Return how many segments were halved."""
    return collector.said().count("cannot be loaded")


def test_store_is_full(tmp_path: Path) -> None:
    """
    A store whose disk is full (243) takes nothing and loses nothing: what is accepted waits in the
    inbox and is stored once there is space.
    """
    ledger = Ledger()
    with small_disk(tmp_path / "disk", "120m") as disk:
        data = ("--data", str(tmp_path / "inbox"))
        with Supervised(tmp_path, *data, store=disk.path / "store") as collector:
            producer = WireProducer(collector.url, ledger, payload_bytes=2000)
            assert producer.send(20)
            Judge(collector.url).wait_stored()
            ballast = disk.fill()
            assert all(producer.send(50) for _ in range(5))
            wait_for(lambda: refused(collector), 30, "the full disk is not noticed")
            before = len(ledger.owed)
            ballast.unlink()
            found = Judge(collector.url).verdict(ledger)
            found.show(f"store's disk full while {before - 20} requests were accepted")
            found.hold()
            assert found.repeats == 0


def test_memory_limit(tmp_path: Path) -> None:
    """
    A segment that the engine has no memory for (241) is halved until its pieces fit.
    """
    ledger = Ledger()
    with Supervised(tmp_path, environ={"MVTRACE_LOADER_MEMORY_MIB": str(MEMORY_MIB)}) as collector:
        with Load(collector.url, ledger, senders=4, requests=100, payload_bytes=4000):
            # Where the machine is busy it takes a while until a segment has many batches.
            arrives(lambda: len(ledger.owed) > 2000 and halved(collector) > 0, 180)
        found = Judge(collector.url).verdict(ledger)
        halvings = halved(collector)
        found.show(f"engine with {MEMORY_MIB} MiB for a statement: {halvings} segments halved")
        found.hold()
        assert halvings > 0
        assert found.quarantined == 0


def test_batch_that_does_not_fit_waits(tmp_path: Path) -> None:
    """
    One batch that the engine has no memory for is not given up: it waits, with an alarm, and is
    stored once there is memory.
    """
    ledger = Ledger()
    with Supervised(tmp_path, environ={"MVTRACE_LOADER_MEMORY_MIB": "1"}) as collector:
        assert WireProducer(collector.url, ledger, payload_bytes=4000).send(100)
        wait_for(lambda: refused(collector), 30, "the lack of memory is not noticed")
        waiting = Judge(collector.url).metric("mvtrace_inbox_segments") > 0
        collector.stop()
        collector.environ.clear()
        collector.start()
        found = Judge(collector.url).verdict(ledger)
        found.show("engine with 1 MiB for a statement, then with enough")
        found.hold()
        assert waiting
        assert found.quarantined == 0
