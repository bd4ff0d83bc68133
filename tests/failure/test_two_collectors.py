"""More than one collector: over one directory, which is refused, and over one store's data."""

from __future__ import annotations

import subprocess
from pathlib import Path

from obligations import Judge, Ledger
from processes import collector_command
from supervised import Supervised
from wire_producer import WireProducer


def test_second_collector_on_the_same_store(collector: Supervised) -> None:
    """
    A second collector over the directory of the first ends at once, naming the process and the
    address of the owner, and the first works on.
    """
    ledger = Ledger()
    done = subprocess.run(
        collector_command(collector.store), capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 3
    assert f"process {collector.process.pid}" in done.stderr
    assert collector.url in done.stderr
    assert "Traceback" not in done.stderr
    assert WireProducer(collector.url, ledger).send(20)
    found = Judge(collector.url).verdict(ledger)
    found.show("second collector refused")
    found.hold()


def test_retry_goes_to_another_collector(tmp_path: Path) -> None:
    """
    A batch that was accepted by one collector and, its answer lost, sent again to another is one
    row to every reader once both inboxes are in one store.
    """
    ledger = Ledger()
    with (
        Supervised(tmp_path / "one") as one,
        Supervised(tmp_path / "two") as two,
    ):
        first = WireProducer(one.url, ledger)
        batches = [first.batch(20) for _ in range(5)]
        for number, batch in enumerate(batches):
            assert first.post("logs", batch.logs, f"{batch.id}-logs") == 200
            assert first.post("traces", batch.traces, f"{batch.id}-traces") == 200
            if number % 2:
                continue  # the client heard the answer
            second = WireProducer(two.url, ledger)
            assert second.deliver(batch)
        ledger.owe(one for batch in batches for one in batch.obligations)
        Judge(one.url).wait_stored()
        Judge(two.url).wait_stored()
        two.kill()
        one.kill()
        # What the second accepted is loaded into the store of the first.
        one.options = ("--data", str(two.inbox))
        one.start()
        found = Judge(one.url).verdict(ledger)
        found.show("retries of three batches of five went to another collector")
        found.hold()
        assert found.stored == 100
