"""``python -m mvtrace_collector --store chdb:///DIR``: the only place that exits."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from mvtrace.errors import MvtraceError
from mvtrace_collector.app import serve
from mvtrace_collector.config import DEFAULT_LISTEN, CollectorConfig


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a collector; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m mvtrace_collector",
        description="Takes OpenTelemetry traces and logs, stores them, answers questions.",
        epilog="Example: python -m mvtrace_collector --store chdb:///var/lib/mvtrace",
    )
    parser.add_argument("--store", help="chdb:///DIR or clickhouse://… (MVTRACE_STORE)")
    parser.add_argument("--listen", help=f"HOST:PORT, port 0 for any (default {DEFAULT_LISTEN})")
    parser.add_argument("--data", help="directory of the inbox (default: DIR.inbox)")
    parser.add_argument(
        "--allow-remote",
        action="store_true",
        default=None,
        help="listen on more than loopback without a key",
    )
    parser.add_argument(
        "--open",
        dest="is_open",
        action="store_true",
        default=None,
        help="be open to this host without keys, also where there were some",
    )
    parser.add_argument("--workers", type=int, default=1, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    try:
        serve(
            CollectorConfig.from_environ(
                store=given.store,
                listen=given.listen,
                data=given.data,
                allow_remote=given.allow_remote,
                environ={**os.environ, "MVTRACE_OPEN": "true"} if given.is_open else None,
                workers=given.workers,
            )
        )
    except MvtraceError as error:
        sys.stderr.write(f"{error.message}\n")
        if error.hint:
            sys.stderr.write(f"{error.hint}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
