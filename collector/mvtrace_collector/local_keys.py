"""Keys of a store that no collector has open: how the first one is made before the first start.

In: a DSN. Out: what ``/api/v1/keys`` would answer. Whoever may open the store's directory, or has
the server's password, could read everything anyway; so nothing more is asked. A change is in the
access log all the same, since it says who may do what from then on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mvtrace.store.migrations import migrate
from mvtrace.store.opening import open_store
from mvtrace.store.store import Store
from mvtrace.tables import AccessRow
from mvtrace_collector.access_log_entry import LOCAL, Note, projects_word
from mvtrace_collector.keyring import Keyring, NewKey
from mvtrace_collector.keys import ApiKey, granted
from mvtrace_collector.keys_api import created, shown


class LocalKeys:
    """The keys of the store at *dsn*, changed by *by*."""

    def __init__(self, dsn: str, *, by: str) -> None:
        self._dsn = dsn
        self._by = by

    def listed(self) -> list[dict[str, Any]]:
        """Return every key."""
        with self._ring() as (ring, _):
            return [shown(key) for key in ring.keys]

    def create(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Make a key; its text is in the answer."""
        grant = granted(
            scopes=wanted["scopes"],
            projects=wanted["projects"],
            label=wanted["label"],
            expires_ms=wanted.get("expires_ms"),
        )
        with self._ring() as (ring, store):
            new = created(ring, grant, by=self._by)
            self._log(store, "key-create", new.key, new.key.id)
            return _new(new)

    def rotate(self, key_id: str, overlap_s: int) -> dict[str, Any]:
        """Make a successor."""
        with self._ring() as (ring, store):
            new = ring.rotate(key_id, overlap_s=overlap_s, by=self._by)
            self._log(store, "key-rotate", new.key, f"{key_id} {new.key.id}")
            return _new(new)

    def revoke(self, key_id: str) -> dict[str, Any]:
        """End a key."""
        with self._ring() as (ring, store):
            key = ring.revoke(key_id)
            self._log(store, "key-revoke", key, key.id)
            return shown(key)

    def _log(self, store: Store, action: str, key: ApiKey, asked: str) -> None:
        note = Note(action)
        note.asked, note.project = asked, projects_word(key.grant.projects)
        entry = note.entry(status=200)._replace(actor=LOCAL, label=self._by)
        with store.session() as session:
            session.insert("access_log", AccessRow._fields, [entry.to_row()])

    @contextmanager
    def _ring(self) -> Iterator[tuple[Keyring, Store]]:
        with open_store(self._dsn) as store:
            migrate(store)
            yield Keyring(store), store


def _new(new: NewKey) -> dict[str, Any]:
    return {**shown(new.key), "key": new.text}
