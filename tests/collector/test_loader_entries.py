"""Entries of the registry on their way into the store: verified, once, with who sent them first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from attested import PRODUCER, load

from mvtrace.digest import ENTRY_DOMAIN, digest_of
from mvtrace.otlp import LogEvent
from mvtrace.registry.entries import entry_of
from mvtrace.semconv import ENTRY_DIGEST, EVENT_ENTRY
from mvtrace.store import Store, migrate, open_store
from mvtrace_collector.segments import Sender

OTHER = Sender("111111111111", "other", "ingest")
NESTED = "[" * 70 + "]" * 70
ROWS = "SELECT kind, digest, name, body, actor, actor_label FROM registry_entries ORDER BY digest"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(f"chdb://{tmp_path / 'db'}") as opened:
        migrate(opened)
        yield opened


def test_an_entry_is_stored_once(store: Store, tmp_path: Path) -> None:
    """
    However often and by whomever it is sent, an entry is one row, with its first sender.
    """
    entry = entry_of("dataset", {"name": "tickets", "rows": 3})
    (event,) = entry.events()

    load(store, tmp_path / "one", [(event, PRODUCER), (event, OTHER), (event, None)])
    load(store, tmp_path / "two", [(event, OTHER)])

    assert store.query(ROWS).rows == [
        ("dataset", entry.digest, "tickets", entry.body.decode(), PRODUCER.actor, PRODUCER.label)
    ]


@pytest.mark.parametrize(
    ("body", "digest", "reason"),
    [
        ('{"kind":"dataset","schema_version":1}', "sha256:" + "0" * 64, "digest-mismatch"),
        ('{"kind":"A B","schema_version":1}', None, "not-an-entry"),
        ('{"kind":"dataset"}', None, "not-an-entry"),
        ("[]", None, "not-an-entry"),
        ('{"kind":"dataset","kind":"suite","schema_version":1}', None, "not-an-entry"),
        ('{"kind":"suite","schema_version":1,"x":{"$int":"x"}}', None, "not-an-entry"),
        (f'{{"kind":"suite","schema_version":1,"x":{NESTED}}}', None, "not-an-entry"),
    ],
    ids=["digest", "kind", "version", "list", "kinds", "integer", "depth"],
)
def test_what_is_no_entry_goes_to_quarantine(
    store: Store, tmp_path: Path, body: str, digest: str | None, reason: str
) -> None:
    """
    What does not recompute, or cannot be read, is kept apart with its reason; what is an entry stays.
    """
    digest = digest or digest_of(ENTRY_DOMAIN, body.encode())
    (sound,) = entry_of("dataset", {"name": "tickets"}).events()

    event = LogEvent(EVENT_ENTRY, 1, body, {ENTRY_DIGEST: digest})
    for folder in ("in", "again"):
        load(store, tmp_path / folder, [(event, PRODUCER), (sound, PRODUCER)])

    assert [row[2] for row in store.query(ROWS).rows] == ["tickets"]
    refused = store.query("SELECT DISTINCT reason, subject, body FROM quarantine").rows
    assert refused == [(reason, f"{EVENT_ENTRY} {digest}", body)]
