"""Schemas of other versions, and migrations that a kill cuts short."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from obligations import Judge, Ledger
from processes import collector_command
from supervised import Supervised
from wire_producer import WireProducer

from mvtrace.resources import schema_root

WITH_STORE = """
import sys
from pathlib import Path
from mvtrace.store import migrate, open_store
from mvtrace.store.migrations import applied_migrations
with open_store(sys.argv[1]) as store:
    {code}
"""


def in_store(store: Path, code: str, *arguments: str) -> str:
    """Run *code* over an open *store*, in a process of its own; return what it prints."""
    command = [sys.executable, "-c", WITH_STORE.format(code=code), f"chdb://{store}", *arguments]
    done = subprocess.run(command, check=True, timeout=240, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip()


def test_migration_killed_half_way(tmp_path: Path, times: Callable[[int], int]) -> None:
    """
    A first start that is killed at any moment of its migrations is finished by the next.
    """
    ledger = Ledger()
    chance = random.Random(19)
    kills = times(20)
    for _ in range(kills):
        process = subprocess.Popen(
            collector_command(tmp_path / "store"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
        )
        time.sleep(chance.uniform(0.5, 1.4))
        process.kill()
        process.wait()
    with Supervised(tmp_path) as collector:
        assert WireProducer(collector.url, ledger).send(20)
        found = Judge(collector.url).verdict(ledger)
        found.show(f"first start killed {kills} times")
        found.hold()
        assert collector.stop() == 0
        known = len(list((schema_root() / "clickhouse").glob("0*.sql")))
        assert in_store(collector.store, "print(len(applied_migrations(store)))") == str(known)


def test_store_of_an_older_version(tmp_path: Path) -> None:
    """
    A store that lacks the newest tables gets them at the start, and its rows stay.
    """
    older = tmp_path / "older"
    older.mkdir()
    for path in sorted((schema_root() / "clickhouse").glob("000*.sql")):
        shutil.copy(path, older)
    in_store(tmp_path / "store", "migrate(store, Path(sys.argv[2]))", str(older))
    ledger = Ledger()
    with Supervised(tmp_path) as collector:
        assert WireProducer(collector.url, ledger).send(20)
        found = Judge(collector.url).verdict(ledger)
        found.show("store of an older version")
        found.hold()


NEWER = (
    'store.command("INSERT INTO schema_migrations (name, checksum, applied_at)'
    " SELECT '9999_of_the_future', 'ff', now64(3)\")"
)
OLDER_AGAIN = "store.command(\"DELETE FROM schema_migrations WHERE name = '9999_of_the_future'\")"


def test_store_of_a_newer_version(collector: Supervised) -> None:
    """
    A collector that is older than its store refuses to start and says what to do; what its inbox
    had accepted is stored by the newer one.
    """
    ledger = Ledger()
    producer = WireProducer(collector.url, ledger)
    collector.kill()
    collector.start(MVTRACE_FAILPOINTS="loader.during-insert@1")
    batch = producer.batch(20)
    assert producer.post("logs", batch.logs, f"{batch.id}-logs") == 200
    collector.wait_dead()
    in_store(collector.store, NEWER)
    done = subprocess.run(
        collector_command(collector.store), capture_output=True, text=True, timeout=240, check=False
    )
    print(f"\n{done.stderr.strip()}")
    assert done.returncode == 3
    assert "9999_of_the_future" in done.stderr
    assert "upgrade mvtrace" in done.stderr
    in_store(collector.store, OLDER_AGAIN)
    collector.start()
    assert producer.deliver(batch)
    found = Judge(collector.url).verdict(ledger)
    found.show("older collector refused by a newer store, then the newer one")
    found.hold()
