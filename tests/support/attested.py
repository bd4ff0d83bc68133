"""Decisions and scores as a collector's inbox has them: with the key they came under."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mvtrace.otlp import LogEvent
from mvtrace.scores import export_of
from mvtrace.store import Store
from mvtrace_collector.inbox import Inbox
from mvtrace_collector.loader import Loader
from mvtrace_collector.segments import Sender

GOVERNOR = Sender("0123456789ab", "release team", "govern")
PRODUCER = Sender("ba9876543210", "edge", "ingest")
BROWSER = Sender("00000000b0b0", "page", "score")

Sent = tuple[LogEvent, Sender | None]


def load(store: Store, folder: Path, sent: Iterable[Sent], *, project: str = "default") -> Inbox:
    """Put each event into an inbox of its own batch, one after another; store all."""
    inbox = Inbox(folder)
    for number, (event, sender) in enumerate(sent):
        body = export_of([event])
        inbox.submit(project, "logs", body, str(number), sender=sender).result()
    drain(store, inbox)
    return inbox


def drain(store: Store, inbox: Inbox) -> None:
    """Store everything that waits."""
    loader = Loader(store, inbox)
    lag = inbox.lag()
    while inbox.lag().stored_seq < lag.accepted_seq:
        loader.load_next()
    loader.close()
