"""The keys of a store: read into memory, looked up without a query, changed one state at a time.

Comes in: an open store. Goes out: the Identity behind a bearer token, and new, rotated or revoked
keys. The table is append-only; the highest revision of an id holds, and the earliest end. Several
collectors of one store see each other's changes after REFRESH_SECONDS. Where the store does not
answer, what is known holds: a store that is down must not turn into an open door, nor refuse those
who keep their data.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from mvtrace.errors import ConfigurationError, MvtraceError, NotFoundError
from mvtrace.store import Store
from mvtrace_collector.keys import ApiKey, Grant, Identity, granted, mint, parse, proves

REFRESH_SECONDS: Final = 5.0
"""Within what time a key that another collector revoked stops opening this one."""

_LOGGER: Final = logging.getLogger(__name__)
_COLUMNS: Final = (
    "key_id",
    "revision",
    "secret_digest",
    "scopes",
    "projects",
    "label",
    "created_at",
    "created_by",
    "expires_at",
    "revoked_at",
    "replaces",
)
_READ: Final = (
    "SELECT key_id, revision, secret_digest, scopes, projects, label, "
    "toUnixTimestamp64Milli(created_at), created_by, toUnixTimestamp64Milli(expires_at), "
    "toUnixTimestamp64Milli(min(revoked_at) OVER (PARTITION BY key_id)), replaces "
    "FROM api_keys ORDER BY key_id, revision DESC LIMIT 1 BY key_id"
)
"""Two collectors may have written the same revision, one a rotation with overlap, one a revocation:
of all ends that were ever set the earliest holds."""


class KeyNotFoundError(NotFoundError):
    """There is no key of that id."""

    code = "key-not-found"

    def __init__(self, key_id: str) -> None:
        super().__init__(
            f"There is no key {key_id[:40]!r}.", hint="'mvtrace keys list' shows those there are."
        )


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made, with the text that is never shown again."""

    key: ApiKey
    text: str


class Keyring:
    """The keys of *store*; safe for several threads."""

    def __init__(self, store: Store, *, now_ms: Callable[[], int] | None = None) -> None:
        self._store = store
        self._now_ms = now_ms or (lambda: time.time_ns() // 1_000_000)
        self._guard = threading.Lock()
        self._keys: dict[str, ApiKey] = {}
        self._read_at = float("-inf")
        self.noted: Callable[[], None] | None = None
        """Told that there are keys, durably, at the first chance; until that has worked."""
        self.refresh()

    @property
    def keys(self) -> list[ApiKey]:
        """Every key, also those that have ended, oldest first."""
        return sorted(self._keys.values(), key=lambda key: (key.created_ms, key.id))

    @property
    def is_empty(self) -> bool:
        """Whether no key was ever made; a revoked one still closes the door."""
        return not self._keys

    def identity(self, token: str) -> Identity | None:
        """Return who shows *token*; None for an unknown, wrong, expired or revoked one."""
        parts = parse(token)
        if parts is None:
            return None
        key = self._keys.get(parts[0])
        is_proven = proves(key, parts[1])
        if key is None or not is_proven or not key.is_valid(self._now_ms()):
            return None
        return key.identity

    def refresh(self) -> None:
        """Read the table.

        Raises:
            MvtraceError: the store does not answer; what was known still holds.
        """
        found = [_key(row) for row in self._store.query(_READ).rows]
        for key in found:
            self._know(key)
        self._read_at = time.monotonic()
        self.note()

    def note(self) -> None:
        """Write down that there are keys, once there are."""
        if self._keys and (noted := self.noted) is not None:
            try:
                noted()
                self.noted = None
            except OSError as error:
                _LOGGER.warning("That there are keys cannot be noted yet: %s", error)

    def keep_fresh(self, stop: threading.Event) -> None:
        """Read the table every few seconds until *stop*; runs in a thread of its own."""
        while not stop.wait(REFRESH_SECONDS):
            try:
                self.refresh()
            except MvtraceError as error:
                _LOGGER.warning("The keys could not be read again: %s", error.message)

    def create(self, grant: Grant, *, by: str) -> NewKey:
        """Make a key and store it.

        Raises:
            ConfigurationError: it would have ended before it began.
        """
        key, text = mint(grant, now_ms=self._now_ms(), by=by)
        self._write(key)
        return NewKey(key, text)

    def known(self, key_id: str, by: Identity) -> ApiKey:
        """Return a key that *by* manages.

        Raises:
            KeyNotFoundError: there is none of that id, or it is not *by*'s to manage.
        """
        key = self._known(key_id)
        if not by.manages(key.grant.projects):
            raise KeyNotFoundError(key_id)
        return key

    def rotate(self, key_id: str, *, overlap_s: float, by: str) -> NewKey:
        """Make a successor of a key, which itself ends after *overlap_s* seconds.

        Raises:
            KeyNotFoundError: there is none of that id.
            ConfigurationError: it has ended; what was revoked must not come back by a rotation.
        """
        old = self._known(key_id)
        now_ms = self._now_ms()
        if not old.is_valid(now_ms):
            raise _has_ended(key_id)
        ends = old.grant.expires_ms
        renewed = None if ends is None else now_ms + ends - old.created_ms
        grant = replace(old.grant, expires_ms=renewed)
        key, text = mint(grant, now_ms=now_ms, by=by, replaces=old.id)
        self._write(key)
        ended = old.ending(now_ms + int(overlap_s * 1000))
        self._write(ended)
        self.refresh()
        if self._keys[old.id].is_ended_before(ended, now_ms):
            self._write(key.ending(now_ms))
            raise _has_ended(key_id)
        return NewKey(key, text)

    def revoke(self, key_id: str) -> ApiKey:
        """End a key now; again changes nothing.

        Raises:
            KeyNotFoundError: there is none of that id.
        """
        old = self._known(key_id)
        if not old.is_valid(self._now_ms()):
            return old
        ended = old.ending(self._now_ms())
        self._write(ended)
        return ended

    def _known(self, key_id: str) -> ApiKey:
        self.refresh()
        if (key := self._keys.get(key_id)) is None:
            raise KeyNotFoundError(key_id)
        return key

    def _write(self, key: ApiKey) -> None:
        with self._store.session() as session:
            session.insert("api_keys", _COLUMNS, [_row(key)])
        self._know(key)
        self.note()

    def _know(self, key: ApiKey) -> None:
        """Take *key* for true, but for an end that is later than one that was known."""
        with self._guard:
            known = self._keys.get(key.id)
            self._keys[key.id] = key if known is None else known.merged(key)


def _has_ended(key_id: str) -> ConfigurationError:
    return ConfigurationError(
        "KEY_ID",
        key_id,
        "this key has ended",
        hint="Make a new one with 'mvtrace keys create'.",
    )


def _row(key: ApiKey) -> tuple[Any, ...]:
    return (
        key.id,
        key.revision,
        key.digest,
        sorted(key.grant.scopes),
        list(key.grant.projects),
        key.grant.label,
        _moment(key.created_ms),
        key.created_by,
        _moment(key.grant.expires_ms),
        _moment(key.revoked_ms),
        key.replaces or "",
    )


def _moment(unix_ms: int | None) -> datetime | None:
    return None if unix_ms is None else datetime.fromtimestamp(unix_ms / 1000, UTC)


def _key(row: tuple[Any, ...]) -> ApiKey:
    (key_id, revision, digest, scopes, projects, label, created, by, expires, revoked, old) = row
    return ApiKey(
        id=key_id,
        digest=bytes(digest),
        grant=granted(scopes=scopes, projects=projects, label=label, expires_ms=expires),
        created_ms=created,
        created_by=by,
        revoked_ms=revoked,
        replaces=old or None,
        revision=revision,
    )
