"""Requests with and without a rollout in one process, by turns; prints one JSON line.

usage: python rollout_worker.py BLOCKS     (SINK in the environment: an OTLP URL)

Each block of requests without is beside one with, so that what slows a moment slows both; what is
measured is the CPU time of the thread that answers.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import time

from capture_worker import WARM_UP, App, drive, mvtrace_middleware, mvtrace_rollout

BLOCK = 40


def measured(app: App) -> float:
    """Return µs of CPU a request."""
    began = time.thread_time()
    asyncio.run(drive(app, "/json", BLOCK))
    return (time.thread_time() - began) / BLOCK * 1e6


def main() -> None:
    drawn = mvtrace_rollout()  # the last that is configured is what both capture with
    plain = mvtrace_middleware()
    for app in (plain, drawn):
        asyncio.run(drive(app, "/json", WARM_UP))
    pairs = []
    for number in range(int(sys.argv[1])):
        if number % 2:
            pairs.append((measured(plain), measured(drawn)))
        else:
            pairs.append((measured(drawn), measured(plain))[::-1])
    print(
        json.dumps(
            {
                "plain_us": statistics.median(without for without, _ in pairs),
                "added_us": statistics.median(with_ - without for without, with_ in pairs),
                "ratio": statistics.median(with_ / without for without, with_ in pairs),
            }
        )
    )
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
