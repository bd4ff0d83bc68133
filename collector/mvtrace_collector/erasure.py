"""Erasure: all that was captured about one subject goes, the evidence of its requests stays.

In: a subject's keyed digest, who asks and why. Out: destroyed keys, no payload rows, no names but
trace ids, and tombstones: in the key store first, then in the table ``erasures``, which the loader
asks. An old copy of the store that is put back is erased again at the start, and what another
collector erased is erased here within seconds. Whatever happens in between, what is left is
unreadable or erased by the next try.

Erased is what the collector had received by then, whatever an application's clock says, and of what
comes later what was made before by the sender's clock, as far as that is known to be off.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from mvtrace.semconv import ALIAS_TRACE_ID
from mvtrace.store import Store
from mvtrace.store.session import Session
from mvtrace_collector.payload_keys import KeyStore, Tombstone, now_ms

Reach = Literal["request", "names", "subject"]
"""How far an erasure goes in a request; see the migration that adds the column."""

_LOGGER: Final = logging.getLogger(__name__)
_COLUMNS: Final = (
    "project",
    "request_id",
    "subject",
    "erased_at",
    "erased_by",
    "reason",
    "reach",
)
_NO_REQUEST: Final = bytes(16)

_IN_TIME: Final = (
    "(toUnixTimestamp64Milli(received_at) <= {until_ms:Int64} OR "
    "reinterpretAsUInt64(reverse(substring(request_id, 1, 6))) <= {until_ms:Int64})"
)
_PAYLOADS_OF: Final = "project = {project:String} AND subject = {subject:String}"
_ALIASES_OF: Final = (
    "project = {project:String} AND alias_hash = sipHash64({subject:String}) "
    "AND kind = 'subject' AND alias = {subject:String}"
)
_LATEST: Final = f"""
SELECT max(toUnixTimestamp64Milli(received_at)) FROM
(
    SELECT received_at FROM payloads WHERE {_PAYLOADS_OF}
    UNION ALL
    SELECT received_at FROM request_aliases WHERE {_ALIASES_OF}
)
"""
_REQUESTS: Final = f"""
SELECT request_id, min(said) FROM
(
    SELECT request_id, 'subject'::Enum8('request' = 0, 'names' = 1, 'subject' = 2) AS said
    FROM payloads WHERE {_PAYLOADS_OF} AND {_IN_TIME}
    UNION ALL
    SELECT request_id, 'request' FROM request_aliases WHERE {_ALIASES_OF} AND {_IN_TIME}
    UNION ALL
    SELECT request_id, reach FROM erasures
    WHERE project = {{project:String}} AND subject = {{subject:String}}
        AND request_id != toFixedString('', 16)
)
GROUP BY request_id
"""
_OF_REQUESTS: Final = (
    "project = {project:String} AND has({requests:Array(String)}, lower(hex(request_id)))"
)
_NAMELESS: Final = f"""
SELECT request_id FROM
(
    SELECT request_id, argMax(record, revision) AS latest
    FROM requests WHERE {_OF_REQUESTS} GROUP BY request_id
)
WHERE NOT has(JSONExtract(latest, 'aliases', 'Array(Tuple(kind String))').kind, 'subject')
"""
_KEYS: Final = (
    f"SELECT key_id, count() FROM payloads WHERE {_OF_REQUESTS} "
    "AND subject = {subject:String} GROUP BY key_id"
)
_COUNT: Final = (
    f"SELECT count() FROM payloads WHERE {_OF_REQUESTS} AND subject != {{subject:String}}"
)
_TOMBSTONES: Final = (
    "SELECT DISTINCT project, subject, toUnixTimestamp64Milli(erased_at), erased_by, reason "
    "FROM erasures WHERE request_id = toFixedString('', 16)"
)
_TOMBSTONE_COUNT: Final = "SELECT count() FROM erasures WHERE request_id = toFixedString('', 16)"
_DELETE_CONTENT: Final = f"ALTER TABLE payloads DELETE WHERE {_OF_REQUESTS}"
_DELETE_OWN: Final = f"{_DELETE_CONTENT} AND subject = {{subject:String}}"
_DELETE_ALIASES: Final = (
    f"ALTER TABLE request_aliases DELETE WHERE {_OF_REQUESTS} AND kind != '{ALIAS_TRACE_ID}'"
)
_AT_ONCE: Final = {"mutations_sync": 1}
_BATCH: Final = 1000
_FOLLOWED_AT_A_TIME: Final = 100
"""Erasures of other collectors that one round applies; the rest waits for the next."""


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
        """Erase what was captured about *subject* until now; again finds nothing more.

        A clock that was set back does not spare what came in before it was.
        """
        asked = {"project": project, "subject": subject}
        [(stored_ms,)] = self._store.query(_LATEST, asked).rows
        latest = max(now_ms(), int(stored_ms or 0), self._keys.latest_ms(project, subject))
        return self._apply(Tombstone(project, subject, latest, by, reason))

    def reconcile(self) -> int:
        """Erase again what only the key store knows to be erased; return how many subjects.

        And the other way round: keys of what another collector has erased are destroyed here.
        """
        known = self._keys.tombstones()
        stored = self._stored_tombstones()
        for tombstone in stored.difference(known):
            self._keys.destroy(tombstone)
        missing = [one for one in known if one not in stored]
        for tombstone in missing:
            _LOGGER.warning("The store does not know an erasure of %d: applied again", tombstone[2])
            self._apply(tombstone)
        return len(missing)

    def follow(self) -> int:
        """Erase here what other collectors of this store erased; return how many are left to do.

        Also rows go again: another collector may have been at loading them meanwhile.
        """
        foreign = sorted(self._stored_tombstones().difference(self._keys.tombstones()))
        for tombstone in foreign[:_FOLLOWED_AT_A_TIME]:
            self._apply(tombstone)
        return len(foreign[_FOLLOWED_AT_A_TIME:])

    def tombstone_rows(self) -> int:
        """Return how many rows the store has of erased subjects: another number is news."""
        [(count,)] = self._store.query(_TOMBSTONE_COUNT).rows
        return int(count)

    def _stored_tombstones(self) -> set[Tombstone]:
        return {Tombstone(*row) for row in self._store.query(_TOMBSTONES).rows}

    def _apply(self, tombstone: Tombstone) -> Erased:
        project, subject, erased_ms, by, reason = tombstone
        keys = self._keys.destroy(tombstone)  # first: from here on nothing encrypted is readable
        with self._exclusive, self._store.session() as session:
            reaches = _found(session, tombstone)
            moment = datetime.fromtimestamp(erased_ms / 1000, UTC)
            rows = [
                (project, one, subject, moment, by, reason, reach)
                for one, reach in ((_NO_REQUEST, "request"), *reaches.items())
            ]
            session.insert("erasures", _COLUMNS, rows)
            payloads = 0
            for part in _batches(list(reaches)):
                removed, key_ids = _remove(session, tombstone, {one: reaches[one] for one in part})
                payloads += removed
                keys += self._keys.destroy(tombstone, key_ids)
        return Erased(subject, erased_ms, len(reaches), payloads, keys)


def _found(session: Session, tombstone: Tombstone) -> dict[bytes, Reach]:
    """Return the requests of a subject until it was erased, and how far it reaches in each."""
    asked = {"project": tombstone.project, "subject": tombstone.subject}
    rows = session.query(_REQUESTS, {**asked, "until_ms": tombstone.erased_ms}).rows
    found: dict[bytes, Reach] = {bytes(one): reach for one, reach in rows}
    doubtful = [one for one, reach in found.items() if reach == "subject"]
    for part in _batches(doubtful):
        nameless = session.query(_NAMELESS, _about(tombstone, part)).rows
        found |= {bytes(row[0]): "names" for row in nameless}
    return found


def _remove(
    session: Session, tombstone: Tombstone, reaches: dict[bytes, Reach]
) -> tuple[int, list[str]]:
    """Delete what an erasure reaches; return how many pieces of content, and their key ids."""
    every = _about(tombstone, list(reaches))
    whole = _about(tombstone, [one for one, reach in reaches.items() if reach == "request"])
    named = _about(tombstone, [one for one, reach in reaches.items() if reach != "subject"])
    own = session.query(_KEYS, every).rows
    [(others,)] = session.query(_COUNT, whole).rows
    if own:
        session.command(_DELETE_OWN, every, settings=_AT_ONCE)
    if others:
        session.command(_DELETE_CONTENT, whole, settings=_AT_ONCE)
    if named["requests"]:
        session.command(_DELETE_ALIASES, named, settings=_AT_ONCE)
    return int(others) + sum(int(row[1]) for row in own), [str(row[0]) for row in own if row[0]]


def _about(tombstone: Tombstone, requests: Sequence[bytes]) -> dict[str, Any]:
    return {
        "project": tombstone.project,
        "subject": tombstone.subject,
        "requests": [one.hex() for one in requests],
    }


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
