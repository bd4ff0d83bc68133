"""The continuous self-check beside real load: nothing of its own goes missing or is changed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from obligations import Judge, Ledger
from supervised import Supervised
from wire_producer import Load


def test_watch_beside_load(tmp_path: Path, times: Callable[[int], int]) -> None:
    """
    While others send without rest, each request of the watch is explained as it was sent; the lag is
    printed.
    """
    seconds = max(8, times(600))
    ledger = Ledger()
    with Supervised(tmp_path / "collector") as collector:
        with Load(collector.url, ledger, senders=2, requests=20, rest_s=0.2):
            done = subprocess.run(
                [
                    *(sys.executable, "-m", "mvtrace", "watch", "--url", collector.url, "--json"),
                    *(
                        "--interval",
                        "1s",
                        "--for",
                        f"{seconds}s",
                        "--folder",
                        str(tmp_path / "own"),
                    ),
                ],
                capture_output=True,
                text=True,
                check=False,
                timeout=seconds + 300,
            )
        summary = json.loads(done.stdout.splitlines()[-1])
        found = Judge(collector.url).verdict(ledger)
    found.show(f"watch for {seconds} s beside load: {json.dumps(summary)}")

    found.hold()
    assert done.returncode == 0, done.stdout + done.stderr
    assert summary["sent"] >= seconds // 4
    assert summary["missing"] == summary["different"] == {}
