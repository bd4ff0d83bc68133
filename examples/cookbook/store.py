"""Make the cookbook's store: events of three days, through the collector's own inbox and loader.

    python -m examples.cookbook.store /tmp/cookbook
    mvtrace sql --store chdb:///tmp/cookbook/store "SELECT * FROM drift_log FORMAT Vertical"

In: a folder. Out: the DSN of the store in it. What a running collector sweeps every half minute,
drift and the roll-up of quality, is swept once at the end.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from examples.cookbook.system import FIRST, SECOND, SYSTEMS, THIRD, System
from examples.cookbook.traffic import (
    CANARY_MS,
    DRIFT_MS,
    ENVIRONMENT,
    MILD,
    MONDAY_MS,
    SECOND_MS,
    SERVICE,
    SHARE,
    STRICT,
    traffic,
)
from mvtrace.comparing import look
from mvtrace.comparing.events import event_of as verdict_event
from mvtrace.otlp import LogEvent
from mvtrace.registry.deployments import Action, Decision
from mvtrace.registry.deployments import event_of as deployment_event
from mvtrace.registry.entries import Entry
from mvtrace.registry.evals.results import Pinned, Result, pieces_of
from mvtrace.registry.evals.suites import Examples, suite_entry
from mvtrace.scores import event_of as score_event
from mvtrace.scores import export_of
from mvtrace.store import Store, migrate, open_store
from mvtrace.wire import event_of as record_event
from mvtrace_collector.drift_dirty import chunks
from mvtrace_collector.drift_sweep import MINUTE_MS, DriftSweep
from mvtrace_collector.inbox import Inbox
from mvtrace_collector.loader import Loader
from mvtrace_collector.quality_watch import QualityWatch
from mvtrace_collector.segments import Sender

OPERATOR: Final = Sender("0b0e7a31c9d2", "release team", "ingest govern")
APPLICATION: Final = Sender("5a1c90d3e4f7", "support", "ingest")
BATCH: Final = 500
CALM_MINUTES: Final = 15
SUITE: Final = suite_entry("capitals", Examples("c0" * 32, 20), id_key="id")


def make(folder: Path) -> str:
    """Make the store in *folder* and return its DSN."""
    dsn = f"chdb://{folder.absolute() / 'store'}"
    with open_store(dsn) as store:
        migrate(store)
        inbox = Inbox(folder / "inbox")
        fill(store, inbox)
        inbox.close()
    return dsn


def fill(store: Store, inbox: Inbox, *, project: str = "default") -> None:
    """Bring the events into *store* as a collector would."""
    loader = Loader(store, inbox)
    for name, sender, events in deliveries():
        for start in range(0, len(every := list(events)), BATCH):
            body = export_of(every[start : start + BATCH])
            batch = f"{project}-{name}-{start}"
            inbox.submit(project, "logs", body, batch, sender=sender).result()
    load(inbox, loader)
    sweep_drift(store, project)
    quality = QualityWatch(store, inbox)
    quality.sweep_now(within_s=600)
    quality.stop()
    verdict = export_of([look_event(store, project)])
    inbox.submit(project, "logs", verdict, f"{project}-verdict", sender=OPERATOR).result()
    load(inbox, loader)
    loader.close()


def load(inbox: Inbox, loader: Loader) -> None:
    """Store all that was accepted."""
    last = inbox.lag().accepted_seq
    while inbox.lag().stored_seq < last:
        loader.load_next()


def look_event(store: Store, project: str) -> LogEvent:
    """Return what a comparison came to at the end of the canary."""
    found = look(
        store,
        SECOND.version.version,
        THIRD.version.version,
        project=project,
        environment=ENVIRONMENT,
        service=SERVICE,
        until=CANARY_MS[1] // 1000,
        remember=False,
    )
    return verdict_event(found.to_dict(), now_ns=CANARY_MS[1] * 1_000_000)


def sweep_drift(store: Store, project: str) -> None:
    """Make episodes of the minutes in which something drifted, and of those after."""
    todo = [(DRIFT_MS[0] // MINUTE_MS, DRIFT_MS[1] // MINUTE_MS + CALM_MINUTES)]
    with store.session({"max_threads": 1}) as session:
        sweep = DriftSweep(session, store.database, project)
        while todo:
            for part in chunks(todo.pop()):
                todo += sweep.sweep(part).again


def deliveries() -> Iterator[tuple[str, Sender, Iterable[LogEvent]]]:
    """Yield the events in batches: who sends them, and what."""
    yield "registry", APPLICATION, registry()
    yield (
        "deployments",
        OPERATOR,
        [deployment_event(one, now_ns=one.at or 0) for one in deployments()],
    )
    every = list(traffic())
    yield "requests", APPLICATION, [record_event(record) for record, _ in every]
    scores = [score for _, given in every for score in given]
    yield "scores", APPLICATION, [score_event(one, now_ns=one.at or 0) for one in scores]


def registry() -> Iterator[LogEvent]:
    """Yield what registers versions, judges, and the results of an eval."""
    for system in SYSTEMS:
        yield from system.version.events()
    for scorer in (MILD, STRICT):
        yield from scorer.events()
    for entry in evals():
        yield from entry.events()


def evals() -> Sequence[Entry]:
    """Return a suite and what each version came to on it; the second was run twice."""
    runs = [(FIRST, 14, 0), (SECOND, 13, 0), (SECOND, 15, 1), (THIRD, 18, 0)]
    entries = [SUITE]
    for system, right, day in runs:
        pinned = Pinned(
            composite=system.version.version,
            suite=SUITE.digest.removeprefix("sha256:"),
            scorer="undeclared:harness/exact",
        )
        results = [Result(example=f"q{n:02}", value=float(n < right)) for n in range(20)]
        at = str((MONDAY_MS + day * 86_400_000) * 1_000_000)
        entries += pieces_of(pinned, results, recorded_at=at)
    return entries


def deployments() -> Iterator[Decision]:
    """Yield what was decided in these days."""
    yield _decided("deploy", FIRST, MONDAY_MS, reason="first release")
    yield _decided("deploy", SECOND, SECOND_MS, reason="shorter answers")
    yield _decided("canary", THIRD, CANARY_MS[0], share=SHARE, reason="larger model")
    yield _decided("revert", THIRD, CANARY_MS[1], reason="costs too much")


def _decided(
    action: Action, system: System, at_ms: int, *, share: float = 1.0, reason: str
) -> Decision:
    return Decision(
        action=action,
        service=SERVICE,
        environment=ENVIRONMENT,
        composite=system.version.version,
        at=at_ms * 1_000_000,
        share=share,
        reason=reason,
    )


if __name__ == "__main__":
    print(make(Path(sys.argv[1])))
