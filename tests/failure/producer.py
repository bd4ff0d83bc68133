"""An application under the real capture: makes requests, and writes down what was spooled.

A process of its own, so that it can be killed. Each request is written down before it begins, and
owed once its record and spans are handed to the kernel. ``--group`` requests are spooled at a time:
a kill within a group loses some, which then have to show up as gaps.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from obligations import LedgerFile, Obligation, payload_of

import mvtrace
from mvtrace.capture.pipeline import Tracing

LOSSES = (
    "records_dropped_queue_full",
    "records_dropped_spool_full",
    "records_dropped_unencodable",
    "spans_dropped_queue_full",
    "spans_dropped_spool_full",
    "spans_dropped_unencodable",
)


def one_request(number: int, ledger: LedgerFile, size: int) -> Obligation:
    """Make a request with one model call in it."""
    ledger.intend(number)
    with mvtrace.request(route="queue:jobs") as request:
        ledger.begin(request.request_id, number)
        text = payload_of(number, size)
        mvtrace.annotate(number=number, payload=text)
        with mvtrace.generation("answer", model="m-1", provider="here") as call:
            call.response(model="m-1", input_tokens=1, output_tokens=2)
    return Obligation(request.request_id, number, payload=text, spans=2)


def lost(tracing: Tracing) -> int:
    """Return what the pipeline says it dropped so far."""
    stats = tracing.stats()
    return sum(stats[name] for name in LOSSES)


def run(arguments: argparse.Namespace) -> None:
    """Make groups of requests until there are enough of them."""
    tracing = mvtrace.configure(service="failure-matrix")
    ledger = LedgerFile(arguments.ledger)
    number, slowest_s = 0, 0.0
    print("begun", flush=True)
    end = arguments.ledger.with_name(f"{arguments.ledger.name}.end")
    while number < arguments.requests and not end.exists():
        before = lost(tracing)
        group = []
        for _ in range(arguments.group):
            number += 1
            began = time.perf_counter()
            group.append(one_request(number, ledger, arguments.payload))
            slowest_s = max(slowest_s, time.perf_counter() - began)
        if tracing._writer.drain(arguments.drain_s) and lost(tracing) == before:
            ledger.owe(group)
        time.sleep(arguments.rest_s)
    print("done", flush=True)
    while arguments.lingers and not end.exists():
        time.sleep(0.02)
    if arguments.flush_s:
        is_flushed = tracing.flush(arguments.flush_s)
        stats = {name: count for name, count in tracing.stats().items() if count}
        slowest = f"slowest request {slowest_s * 1000:.1f} ms"
        print(f"flushed {is_flushed} {slowest} {stats}", flush=True)
    exec(arguments.then)


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("ledger", type=Path)
    parser.add_argument("--requests", type=int, default=10**9)
    parser.add_argument("--group", type=int, default=1)
    parser.add_argument("--payload", type=int, default=64)
    parser.add_argument("--rest-s", type=float, default=0.0)
    parser.add_argument("--drain-s", type=float, default=5.0)
    parser.add_argument("--lingers", action="store_true", help="stay until LEDGER.end exists")
    parser.add_argument("--then", default="", help="Python to run at the end")
    parser.add_argument("--flush-s", type=float, default=0.0)
    run(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
