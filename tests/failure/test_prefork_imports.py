"""A fork while a background thread imports: the child can import the same module all the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SLOW = """
import time
began = open("began", "w").close()
time.sleep(0.3)
"""
SCRIPT = """
import os, sys, threading, time
from mvtrace.capture.late import late_import

sys.path.insert(0, os.getcwd())
threading.Thread(target=late_import, args=("slow_module",)).start()
while not os.path.exists("began"):
    time.sleep(0.001)
if (pid := os.fork()) == 0:
    import slow_module
    late_import("slow_module")
    os._exit(7)
_, status = os.waitpid(pid, 0)
print(os.waitstatus_to_exitcode(status))
"""


def test_fork_during_an_import(tmp_path: Path) -> None:
    """
    A fork waits for an import of ours that is under way, so that its lock is free in the child.
    """
    (tmp_path / "slow_module.py").write_text(SLOW)
    root = str(Path(__file__).parents[2])

    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=tmp_path,
        env={"PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )

    assert (done.stdout, done.stderr) == ("7\n", "")
