"""A ClickHouse server that refuses for a while, or whose answer is lost: nothing is lost or doubled."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from obligations import Judge, Ledger
from processes import Running, running
from wire_producer import WireProducer

DIALECT = Path(__file__).parents[1] / "integration" / "http_dialect.py"
FAULTS = {
    "252": "too many parts: merges lag behind",
    "319": "unknown status of an insert",
    "242": "the table is read-only",
    "243": "no space on the disk",
    "lost": "an answer that never comes, after the rows were stored",
}


@pytest.fixture
def faults(tmp_path: Path) -> Path:
    folder = tmp_path / "faults"
    folder.mkdir()
    return folder


@pytest.fixture
def collector(tmp_path: Path, faults: Path) -> Iterator[Running]:
    """A collector whose store is a server."""
    server = [sys.executable, str(DIALECT), str(tmp_path / "server"), str(faults)]
    with running(server, tmp_path / "server.log") as engine:
        command = [
            *(sys.executable, "-m", "mvtrace", "collector", "--listen", "127.0.0.1:0"),
            *("--store", f"clickhouse://{urlsplit(engine.url).netloc}/mvtrace"),
            *("--data", str(tmp_path / "inbox")),
        ]
        with running(command, tmp_path / "collector.log") as one:
            yield one


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault}: {FAULTS[fault]}")
def test_server_meets_a_fault(collector: Running, faults: Path, fault: str) -> None:
    """
    Inserts that a server refuses, or of which it is not known whether they were stored, are made
    until they are; then each row is there once.
    """
    ledger = Ledger()
    producer = WireProducer(collector.url, ledger)
    assert producer.send(10)
    Judge(collector.url).wait_stored()
    for number in range(3):
        (faults / f"{number}.{fault}").touch()
    for _ in range(3):
        assert producer.send(20)

    found = Judge(collector.url).verdict(ledger)

    found.show(f"three inserts met {fault}, {FAULTS[fault]}")
    found.hold()
    assert list(faults.iterdir()) == []
    assert found.quarantined == 0
