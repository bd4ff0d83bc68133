"""Erasure: all that was captured about one subject goes, the evidence of its requests stays.

In: a subject's keyed digest, who asks and why. Out: destroyed keys, no payload rows, no ids that
the application gave the requests, and tombstones: in the key store first, then in the table
``erasures``, which the loader asks. An old copy of the store that is put back is erased again at
the start. Whatever happens in between, what is left is unreadable or erased by the next try.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from mvtrace.semconv import ALIAS_RESPONSE_ID, ALIAS_TRACE_ID, ALIAS_X_REQUEST_ID
from mvtrace.store import Store
from mvtrace_collector.payload_keys import KeyStore, Tombstone, now_ms

_LOGGER: Final = logging.getLogger(__name__)
_COLUMNS: Final = ("project", "request_id", "subject", "erased_at", "erased_by", "reason")
_NO_REQUEST: Final = bytes(16)
_KEPT_ALIASES: Final = (ALIAS_TRACE_ID, ALIAS_RESPONSE_ID, ALIAS_X_REQUEST_ID)
"""By these the evidence is still found; all others are the application's own words."""

_REQUESTS: Final = """
SELECT DISTINCT request_id FROM
(
    SELECT request_id FROM payloads WHERE project = {project:String} AND subject = {subject:String}
    UNION ALL
    SELECT request_id FROM request_aliases
    WHERE project = {project:String} AND alias_hash = sipHash64({subject:String})
        AND kind = 'subject' AND alias = {subject:String}
    UNION ALL
    SELECT request_id FROM erasures
    WHERE project = {project:String} AND subject = {subject:String}
        AND request_id != toFixedString('', 16)
)
WHERE reinterpretAsUInt64(reverse(substring(request_id, 1, 6))) <= {until_ms:UInt64}
"""
_OF_REQUESTS: Final = (
    "project = {project:String} AND has({requests:Array(String)}, lower(hex(request_id)))"
)
_PAYLOADS: Final = f"SELECT key_id, count() FROM payloads WHERE {_OF_REQUESTS} GROUP BY key_id"
_TOMBSTONES: Final = (
    "SELECT project, subject, toUnixTimestamp64Milli(erased_at), erased_by, reason FROM erasures "
    "WHERE request_id = toFixedString('', 16)"
)
_DELETE_PAYLOADS: Final = f"ALTER TABLE payloads DELETE WHERE {_OF_REQUESTS}"
_DELETE_ALIASES: Final = (
    f"ALTER TABLE request_aliases DELETE WHERE {_OF_REQUESTS} AND kind NOT IN {_KEPT_ALIASES!r}"
)
_AT_ONCE: Final = {"mutations_sync": 1}
_BATCH: Final = 1000


class Erased(NamedTuple):
    """What an erasure found."""

    subject: str
    erased_ms: int
    requests: int
    payloads: int
    keys: int


class Eraser:
    """Erases in one store and its key store; *exclusive* keeps the loader out meanwhile."""

    def __init__(
        self, store: Store, keys: KeyStore, exclusive: AbstractContextManager[Any]
    ) -> None:
        self._store = store
        self._keys = keys
        self._exclusive = exclusive

    def erase(self, project: str, subject: str, *, by: str, reason: str) -> Erased:
        """Erase what was captured about *subject* until now; again finds nothing more."""
        return self._apply(Tombstone(project, subject, now_ms(), by, reason))

    def reconcile(self) -> int:
        """Erase again what only the key store knows to be erased; return how many subjects.

        And the other way round: keys of what another collector has erased are destroyed here.
        """
        stored = {Tombstone(*row) for row in self._store.query(_TOMBSTONES).rows}
        known = self._keys.tombstones()
        for tombstone in stored.difference(known):
            self._keys.destroy(tombstone)
        missing = [one for one in known if one not in stored]
        for tombstone in missing:
            _LOGGER.warning("The store does not know an erasure of %d: applied again", tombstone[2])
            self._apply(tombstone)
        return len(missing)

    def _apply(self, tombstone: Tombstone) -> Erased:
        project, subject, erased_ms, _, _ = tombstone
        keys = self._keys.destroy(tombstone)  # first: from here on nothing encrypted is readable
        with self._exclusive, self._store.session() as session:
            asked = {"project": project, "subject": subject, "until_ms": erased_ms}
            requests = [bytes(row[0]) for row in session.query(_REQUESTS, asked).rows]
            moment = datetime.fromtimestamp(erased_ms / 1000, UTC)
            rows = [
                (project, one, subject, moment, tombstone.erased_by, tombstone.reason)
                for one in (*requests, _NO_REQUEST)
            ]
            session.insert("erasures", _COLUMNS, rows)
            payloads = 0
            for part in _batches(requests):
                about = {"project": project, "requests": [one.hex() for one in part]}
                found = session.query(_PAYLOADS, about).rows
                payloads += sum(int(row[1]) for row in found)
                keys += self._keys.destroy(tombstone, [str(row[0]) for row in found if row[0]])
                session.command(_DELETE_PAYLOADS, about, settings=_AT_ONCE)
                session.command(_DELETE_ALIASES, about, settings=_AT_ONCE)
        return Erased(subject, erased_ms, len(requests), payloads, keys)


def opened_keys(directory: Path, store: Store) -> KeyStore:
    """Open the key store, and let it and *store* know the same erasures; before any loading."""
    keys = KeyStore(directory)
    try:
        Eraser(store, keys, nullcontext()).reconcile()
    except BaseException:
        keys.close()
        raise
    return keys


def _batches(requests: Sequence[bytes]) -> Iterable[Sequence[bytes]]:
    for first in range(0, len(requests), _BATCH):
        yield requests[first : first + _BATCH]
