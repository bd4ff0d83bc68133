"""The store loses parts while nobody looks: a start notices, and loads again what the inbox has."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from obligations import Judge, Ledger, arrives
from supervised import Supervised
from wire_producer import Load, WireProducer

TABLES = ("requests", "spans", "request_aliases")


PART = re.compile(r"(\w+)_(\d+)_(\d+)_\d+(?:_\d+)?")


def newest_part(collector: Supervised, table: str) -> Path:
    """Return the folder of a table's newest active part.

    Folders of parts that were merged into it are removed, as the engine does some minutes later:
    while they lie about, the loss of the merged one is none.
    """
    folder = collector.store / "data" / "mvtrace" / table
    names = [name for path in folder.iterdir() if (name := PART.fullmatch(path.name))]
    newest = max(names, key=lambda name: (int(name[3]), -int(name[2])))
    for name in names:
        is_same_month = name[1] == newest[1]
        if name is not newest and is_same_month and int(name[2]) >= int(newest[2]):
            shutil.rmtree(folder / name[0])
    return folder / newest[0]


def torn(part: Path) -> None:
    data = part / "data.bin"
    data = data if data.exists() else next(part.glob("*.bin"))
    with data.open("rb+") as file:
        file.truncate(data.stat().st_size // 2)


def checksums_zeroed(part: Path) -> None:
    path = part / "checksums.txt"
    path.write_bytes(bytes(path.stat().st_size))


def column_missing(part: Path) -> None:
    data = part / "data.bin"
    (data if data.exists() else next(part.glob("*.bin"))).unlink()


def deleted(part: Path) -> None:
    shutil.rmtree(part)


def columns_text_gone(part: Path) -> None:
    (part / "columns.txt").unlink()


DAMAGES: dict[str, Callable[[Path], None]] = {
    "torn data": torn,
    "zeroed checksums": checksums_zeroed,
    "missing column file": column_missing,
    "deleted part directory": deleted,
    "missing columns.txt": columns_text_gone,
}


def filled(collector: Supervised, ledger: Ledger, batches: int = 4) -> None:
    """Store some segments, so that each table has a few parts."""
    producer = WireProducer(collector.url, ledger)
    for _ in range(batches):
        assert producer.send(25)
        Judge(collector.url).wait_stored()


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_parts(collector: Supervised, name: str) -> None:
    """
    Parts that are torn, without checksums, without a file, or deleted while the collector is down:
    its start says so, loads the segments they came from again, and everything is there once.
    """
    ledger = Ledger()
    filled(collector, ledger, 2)
    assert collector.stop() == 0
    for table in TABLES:
        DAMAGES[name](newest_part(collector, table))
    collector.start()
    reports = collector.said().count(" is gone; ")
    found = Judge(collector.url).verdict(ledger)
    found.show(f"{name} in a part of {', '.join(TABLES)}: {reports} reported at the start")
    found.hold()
    assert reports >= len(TABLES)
    aliases = Judge(collector.url).number("SELECT uniqExact(alias) FROM request_aliases")
    assert aliases >= len(ledger.owed)


def test_everything_is_gone(collector: Supervised) -> None:
    """
    A store that is deleted while its inbox stays is filled again from the inbox.
    """
    ledger = Ledger()
    filled(collector, ledger)
    assert collector.stop() == 0
    shutil.rmtree(collector.store)
    collector.start()
    found = Judge(collector.url).verdict(ledger)
    found.show("store deleted, inbox kept")
    found.hold()
    assert " is gone; its segments are loaded again" in collector.said()


def test_older_copy_is_restored(collector: Supervised, tmp_path: Path) -> None:
    """
    A copy of the store from before, put in its place, is completed from the inbox.
    """
    ledger = Ledger()
    filled(collector, ledger, 2)
    assert collector.stop() == 0
    shutil.copytree(collector.store, tmp_path / "copy", symlinks=True)
    collector.start()
    filled(collector, ledger, 3)
    collector.kill()
    shutil.rmtree(collector.store)
    shutil.copytree(tmp_path / "copy", collector.store, symlinks=True)
    collector.start()
    found = Judge(collector.url).verdict(ledger)
    found.show("older copy of the store restored, inbox kept")
    found.hold()


def test_copy_made_while_loading_is_restored(collector: Supervised, tmp_path: Path) -> None:
    """
    A backup copied file by file while the collector loads and merges is torn as such copies are; put
    into an empty place, it is made whole from the inbox.
    """
    ledger = Ledger()
    with Load(collector.url, ledger, senders=2, requests=20, rest_s=0.05):
        arrives(lambda: len(ledger.owed) > 500, 60)
        copied = subprocess.run(
            ["cp", "-a", str(collector.store), str(tmp_path / "copy")],
            capture_output=True,
            text=True,
            check=False,
        )
        arrives(lambda: len(ledger.owed) > 1000, 60)
    collector.kill()
    shutil.rmtree(collector.store)
    (tmp_path / "copy").rename(collector.store)
    collector.start()
    found = Judge(collector.url).verdict(ledger)
    vanished = copied.stderr.count("No such file")
    found.show(f"copied while loading ({vanished} files went meanwhile), restored, inbox kept")
    found.hold()


def test_inbox_no_longer_has_it(collector: Supervised) -> None:
    """
    Where the inbox has given up the segments of a lost part, the start names both, in the log and
    in quarantine, and the collector works on.
    """
    ledger = Ledger()
    filled(collector, ledger, 3)
    assert collector.stop() == 0
    for segment in collector.inbox.glob("segment-*"):
        segment.unlink()
    shutil.rmtree(newest_part(collector, "requests"))
    collector.start()
    judge = Judge(collector.url)
    found = judge.verdict(ledger)
    found.show("part deleted, segments expired")
    said = [line for line in collector.said().splitlines() if " is gone; the inbox has no" in line]
    rows = judge.rows("SELECT subject FROM quarantine WHERE reason = 'lost-part'")
    print(f"  {said[0]}")
    # A merge may have come after the last writing: then its sources are what is missed.
    assert len(said) == len(rows) > 0
    assert all(row["subject"].startswith("requests ") for row in rows)
    assert found.missing
    found.missing.clear()
    found.hold()


def test_deduplication_log_is_cut(collector: Supervised) -> None:
    """
    A truncated log of the engine's tokens costs nothing: where rows come in twice, they are told
    apart by their keys.
    """
    ledger = Ledger()
    filled(collector, ledger, 2)
    collector.kill()
    logs = list((collector.store / "store").rglob("deduplication_log_*.txt"))
    assert logs
    for path in logs:
        with path.open("rb+") as file:
            file.truncate(path.stat().st_size // 2)
    collector.start()
    filled(collector, ledger, 2)
    found = Judge(collector.url).verdict(ledger)
    found.show(f"{len(logs)} deduplication logs cut by half")
    found.hold()
