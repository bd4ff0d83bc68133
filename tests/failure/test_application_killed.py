"""The application dies: what it had spooled arrives through its next process."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from pathlib import Path

from application import Produce
from obligations import Judge, Ledger, wait_for
from supervised import Supervised

PRODUCER_DIRECTORY = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def left_behind(spool: Path) -> list[Path]:
    """Return the directories of producers that still hold something to deliver."""
    found = [path for path in spool.iterdir() if PRODUCER_DIRECTORY.fullmatch(path.name)]
    return [path for path in found if list(path.glob("*.seg"))]


def deliver_all(produce: Produce, collector: Supervised, ledgers: Path, spool: Path) -> None:
    """Run one more process until it has delivered what those before it left behind."""
    orphans = set(left_behind(spool))
    last = produce(collector.url, ledgers / "last", "--requests", "1", "--lingers")
    wait_for(lambda: not orphans & set(left_behind(spool)), 60, "orphans are not delivered")
    last.let_go()
    last.wait()
    wait_for(lambda: not left_behind(spool), 30, "something stays in the spool")


def judged(collector: Supervised, ledgers: Path, title: str) -> None:
    """Judge what all processes wrote down."""
    files = [path for path in ledgers.iterdir() if not path.suffix]
    found = Judge(collector.url).verdict(Ledger.of_files(files), counts_gaps=True)
    found.show(title)
    found.hold()
    assert found.acknowledged > 0


def test_killed_at_random(
    collector: Supervised, produce: Produce, tmp_path: Path, times: Callable[[int], int]
) -> None:
    """
    An application that is killed a hundred times at random moments: all that was spooled arrives,
    nothing twice, and what was not spooled is reported as a gap, to the request.
    """
    ledgers = tmp_path / "ledgers"
    ledgers.mkdir()
    chance = random.Random(1)
    kills = times(100)
    for life in range(kills):
        one = produce(collector.url, ledgers / str(life), "--group", str(chance.randint(1, 20)))
        one.expect("begun")
        time.sleep(chance.uniform(0.0, 0.5))
        one.kill()
    deliver_all(produce, collector, ledgers, tmp_path / "spool")
    judged(collector, ledgers, f"application killed {kills} times")


EXITS = {
    "sigterm": "import os, signal; os.kill(os.getpid(), signal.SIGTERM); time.sleep(30)",
    "os-exit": "import os; os._exit(3)",
    "exception": "raise RuntimeError('unhandled')",
    "end": "",
}


def test_ends_with_pending_records(collector: Supervised, produce: Produce, tmp_path: Path) -> None:
    """
    An application that ends in any way while the collector is away leaves its records in the spool
    and does not take longer to end than its grace.
    """
    ledgers = tmp_path / "ledgers"
    ledgers.mkdir()
    collector.kill()
    for how, code in EXITS.items():
        many = ("--requests", "50", "--group", "10", "--then", code)
        one = produce(collector.url, ledgers / how, *many)
        one.expect("begun")
        one.expect("done")
        began = time.monotonic()
        status = one.wait()
        took_s = time.monotonic() - began
        print(f"\nended by {how} after {took_s:.2f} s with status {status}", end="")
        # The grace, and what the interpreter takes on a busy machine; else it waits for ever.
        assert took_s < 2.0 + 10.0
    collector.start()
    deliver_all(produce, collector, ledgers, tmp_path / "spool")
    judged(collector, ledgers, f"application ended by {', '.join(EXITS)}, collector away")
