"""Keys of a store that no collector has open: how the first one is made before the first start.

In: a DSN. Out: what ``/api/v1/keys`` would answer. Whoever may open the store's directory, or has
the server's password, could read everything anyway; so nothing more is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mvtrace.store.migrations import migrate
from mvtrace.store.opening import open_store
from mvtrace_collector.keyring import Keyring, NewKey
from mvtrace_collector.keys import granted
from mvtrace_collector.keys_api import created, shown


class LocalKeys:
    """The keys of the store at *dsn*, changed by *by*."""

    def __init__(self, dsn: str, *, by: str) -> None:
        self._dsn = dsn
        self._by = by

    def listed(self) -> list[dict[str, Any]]:
        """Return every key."""
        with self._ring() as ring:
            return [shown(key) for key in ring.keys]

    def create(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Make a key; its text is in the answer."""
        grant = granted(
            scopes=wanted["scopes"],
            projects=wanted["projects"],
            label=wanted["label"],
            expires_ms=wanted.get("expires_ms"),
        )
        with self._ring() as ring:
            return _new(created(ring, grant, by=self._by))

    def rotate(self, key_id: str, overlap_s: int) -> dict[str, Any]:
        """Make a successor."""
        with self._ring() as ring:
            return _new(ring.rotate(key_id, overlap_s=overlap_s, by=self._by))

    def revoke(self, key_id: str) -> dict[str, Any]:
        """End a key."""
        with self._ring() as ring:
            return shown(ring.revoke(key_id))

    @contextmanager
    def _ring(self) -> Iterator[Keyring]:
        with open_store(self._dsn) as store:
            migrate(store)
            yield Keyring(store)


def _new(new: NewKey) -> dict[str, Any]:
    return {**shown(new.key), "key": new.text}
