"""Run a Python module with the clock set back, so that a story of months takes a minute.

python -m examples.fine_tune_story.earlier DAYS MODULE [ARGUMENT…]
"""

from __future__ import annotations

import runpy
import sys
from datetime import UTC, datetime, timedelta

import time_machine


def main() -> None:
    """Set the clock, run the module as if it had been started by itself."""
    days, module, *sys.argv[1:] = sys.argv[1:]
    moment = datetime.now(UTC) - timedelta(days=float(days))
    with time_machine.travel(moment, tick=True):
        runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
