"""Sending what is to be registered to a collector, and asking what is.

In: versions and entries. Out: they are stored, which is waited for; a second time changes nothing.
And an ``Ask`` over a collector's ``/sql`` or over a store that is read directly.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

import click

from mvtrace.cli.inert import inert
from mvtrace.cli.remote import Collector
from mvtrace.cli.sources import collector_at, source_of
from mvtrace.config import TracingConfig
from mvtrace.errors import CheckFailedError, UnavailableError
from mvtrace.otlp import LogEvent
from mvtrace.registry.reading import Ask
from mvtrace.semconv import (
    COMPONENT_DIGEST,
    COMPOSITE_VERSION,
    CONTENT_DIGEST,
    ENTRY_DIGEST,
    EVENT_COMPONENT,
    EVENT_COMPOSITE,
    EVENT_CONTENT,
    EVENT_ENTRY,
    PROJECT,
)

BATCH_BYTES: Final = 2 * 1024 * 1024
STORED_WITHIN_S: Final = 60.0
MOST_TRIES: Final = 20
MOST_WAIT_S: Final = 60.0
_OK: Final = 200
_RETRIED: Final = frozenset({429, 503})
_POLL_S: Final = 0.05
_SLOWEST_POLL_S: Final = 1.0
_ASKED_AT_ONCE: Final = 500
_TABLES: Final[Mapping[str, tuple[str, str, str]]] = {
    EVENT_CONTENT: ("contents", "digest", CONTENT_DIGEST),
    EVENT_COMPONENT: ("components", "digest", COMPONENT_DIGEST),
    EVENT_COMPOSITE: ("composites", "version", COMPOSITE_VERSION),
    EVENT_ENTRY: ("registry_entries", "digest", ENTRY_DIGEST),
}
"""Event -> the table that holds it, the column of its digest, the attribute that has it."""
_REFUSED: Final = (
    "SELECT reason, detail FROM quarantine WHERE project = {project:String} "
    "AND subject IN {subjects:Array(String)} ORDER BY received_at DESC LIMIT 1"
)


class Registrable(Protocol):
    """A version, an entry: whatever is registered by events."""

    @property
    def events(self) -> Callable[..., Iterator[LogEvent]]: ...


def register(things: Iterable[Registrable], *, url: str | None) -> int:
    """Send the events of *things* and return how many there were, once all are stored.

    Texts stay here where MVTRACE_REGISTER_CONTENT says so.

    Raises:
        CheckFailedError: the collector, or its loader, refuses one; the text says why.
        UnavailableError: the collector does not answer, or has not stored them in time.
        ConfigurationError: a variable of the environment is none.
    """
    register_content = TracingConfig.from_environ(os.environ).register_content
    collector = collector_at(url, project=os.environ.get("MVTRACE_PROJECT") or None)
    events = [event for one in things for event in one.events(register_content)]
    for batch in _batches(events):
        _send(collector, batch)
    _wait_stored(asker(url, None), events)
    return len(events)


def asker(url: str | None, store: str | None) -> Ask:
    """Return what runs a SELECT where a command reads: a collector, or the store at a DSN."""
    source = source_of(url, store)
    project = os.environ.get("MVTRACE_PROJECT")
    if not project and not isinstance(source, Collector):
        project = "default"  # a collector binds the project of the key
    bound = {"project": project} if project else {}
    context = click.get_current_context(silent=True)
    if context is not None:
        source = context.with_resource(source.opened())

    def ask(sql: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        body, _ = source.sql(sql, "JSONEachRow", {**bound, **parameters})
        return [json.loads(line) for line in body.splitlines()]

    return ask


def _batches(events: Iterable[LogEvent]) -> Iterator[list[LogEvent]]:
    batch: list[LogEvent] = []
    size = 0
    for event in events:
        if batch and size + len(event.body) > BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(event)
        size += len(event.body)
    if batch:
        yield batch


def _send(collector: Collector, batch: Sequence[LogEvent]) -> None:
    project = os.environ.get("MVTRACE_PROJECT")
    named = [{"key": PROJECT, "value": {"stringValue": project}}] if project else []
    records = [
        {
            "timeUnixNano": str(event.time_unix_nano),
            "eventName": event.name,
            "body": {"stringValue": event.body},
            "attributes": [
                {"key": key, "value": {"stringValue": value}}
                for key, value in event.attributes.items()
            ],
        }
        for event in batch
    ]
    logs = {"resource": {"attributes": named}, "scopeLogs": [{"logRecords": records}]}
    body = json.dumps({"resourceLogs": [logs]}).encode()
    batch_id = hashlib.sha256(body).hexdigest()[:32]
    for _ in range(MOST_TRIES):
        status, headers, answer = collector.export(body, batch_id)
        if status not in _RETRIED:
            break
        time.sleep(min(float(headers.get("retry-after", 1)), MOST_WAIT_S))
    if status != _OK:
        why = inert(str(answer.get("message") or f"the collector answered {status}"))
        kind = UnavailableError if status in _RETRIED else CheckFailedError
        raise kind(f"Nothing was registered: {why}", hint="Registering again repeats nothing.")
    refused = answer.get("partialSuccess") or {}
    if int(refused.get("rejectedLogRecords", 0)):
        raise CheckFailedError(
            f"The collector refused: {inert(str(refused.get('errorMessage', '')))}",
            hint="A key needs the scope ingest, and the project must be one of the key's.",
        )


def _wait_stored(ask: Ask, events: Sequence[LogEvent]) -> None:
    """Wait until each of *events* is a row.

    Raises:
        CheckFailedError: one went to quarantine.
        UnavailableError: not all are stored in time.
    """
    deadline = time.monotonic() + STORED_WITHIN_S
    pause_s = _POLL_S
    for name, (table, column, attribute) in _TABLES.items():
        missing = {str(one.attributes[attribute]) for one in events if one.name == name}
        while missing:
            for digests in _slices(sorted(missing)):
                sql = (
                    f"SELECT DISTINCT {column} AS digest FROM {table} "
                    f"WHERE project = {{project:String}} AND {column} IN {{digests:Array(String)}}"
                )
                missing -= {row["digest"] for row in ask(sql, {"digests": digests})}
            if not missing:
                break
            _tell_refused(ask, name, sorted(missing))
            if time.monotonic() > deadline:
                raise UnavailableError(
                    f"{len(missing):,} of what was registered is not stored within "
                    f"{STORED_WITHIN_S:.0f} s; it was accepted and will be.",
                    hint="'mvtrace status' tells what waits.",
                )
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _SLOWEST_POLL_S)


def _tell_refused(ask: Ask, name: str, missing: Sequence[str]) -> None:
    subjects = [f"{name} {digest}" for digest in missing[:_ASKED_AT_ONCE]]
    for row in ask(_REFUSED, {"subjects": subjects}):
        raise CheckFailedError(
            f"The collector refused what was registered: {inert(row['reason'])}: "
            f"{inert(row['detail'])}"
        )


def _slices(digests: Sequence[str]) -> Iterator[list[str]]:
    for first in range(0, len(digests), _ASKED_AT_ONCE):
        yield list(digests[first : first + _ASKED_AT_ONCE])
