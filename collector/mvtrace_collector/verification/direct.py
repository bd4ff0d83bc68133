"""A verification of a store that no collector owns now, opened by this process.

In: a DSN. Out: the same lines as the collector's endpoint gives, as dicts.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from mvtrace.errors import StoreUnreachableError
from mvtrace.store.dsn import parse_dsn
from mvtrace.store.filters import parse_filter
from mvtrace.store.opening import open_store
from mvtrace_collector.segment_writer import SEGMENT_SUFFIX
from mvtrace_collector.verification.run import Verification
from mvtrace_collector.verification.segments import stored_segments

_HOUR_MS: Final = 3_600_000
_ENGINE_FOLDER: Final = "metadata"
"""The engine makes it first of all in a directory of its own."""


def verify_store(
    dsn: str, *, since: str = "", repair: bool = False, data: Path | None = None
) -> Iterator[dict[str, Any]]:
    """Verify the store at *dsn*; its inbox lies in *data*, else beside it."""
    wanted = parse_filter({"since": since}, now_ms=time.time_ns() // 1_000_000)
    _check_presence(dsn)
    with open_store(dsn) as store:
        directory = store.dsn.directory
        inbox = data
        if inbox is None and directory is not None:
            inbox = directory.with_name(f"{directory.name}.inbox")
        yield from Verification(
            store,
            since_ms=wanted.since_ms,
            repair=repair,
            inbox=inbox,
            settled_ms=_settled_ms(inbox),
        ).run()


def _check_presence(dsn: str) -> None:
    """The engine would make a store of any folder, also of one that was named by mistake."""
    directory = parse_dsn(dsn).directory
    if directory is not None and not (directory / _ENGINE_FOLDER).is_dir():
        raise StoreUnreachableError(dsn, f"the folder {directory} holds none")


def _settled_ms(inbox: Path | None) -> int:
    """Return until when what was received is wholly in the tables: before the segments left."""
    now_ms = time.time_ns() // 1_000_000
    if inbox is None or not inbox.is_dir():
        return now_ms
    stored = {path for _, path in stored_segments(inbox)}
    left = [path for path in inbox.rglob(f"*{SEGMENT_SUFFIX}") if path not in stored]
    return min((int(1000 * path.stat().st_mtime) - _HOUR_MS for path in left), default=now_ms)
