"""API keys: who somebody is, what he may do, in which projects.

A key's text is ``mvt_<id>_<secret>``: the id finds it, 256 random bits prove it. Only the SHA-256
of the secret is kept: it cannot be guessed, so a slow hash would add nothing but time. Comparison
takes the same time for an unknown id as for a wrong secret. Values only; nothing is stored here.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, Literal, Self, get_args

from mvtrace.errors import ConfigurationError
from mvtrace_collector.projects import DEFAULT_PROJECT, PROJECT

Scope = Literal["ingest", "read", "sql", "score", "govern", "erase", "admin"]
"""ingest: send traces and records. read: explanations, lists and comparisons. sql: the SQL
endpoint. score: send scores. govern: send deployments, promotions, retention, verdicts. erase:
erase a subject's content. admin: keys, the access log, verification, the collector's metrics."""
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
EVERY_PROJECT: Final = "*"
STATIC_ID: Final = "static"
"""The id of the one key that MVTRACE_API_KEY sets."""
ANYBODY_ID: Final = "loopback"
"""Who asks a collector that has no keys: any process of its host."""
OPEN: Final = "open"
"""The actor of what is decided without any key."""

_ID_BYTES: Final = 6
_SECRET_BYTES: Final = 32
_TEXT: Final = re.compile(r"mvt_([0-9a-f]{12})_([A-Za-z0-9_-]{42}[AEIMQUYcgkosw048])", re.ASCII)
"""43 digits of 6 bits are 2 bits more than the secret has: those are 0 in the last digit. Any other
last digit would be a second text of the same key."""
_MAX_LABEL: Final = 120
_NO_DIGEST: Final = hashlib.sha256(b"").digest()


@dataclass(frozen=True, slots=True)
class Identity:
    """Who sent a request, as far as it was proven."""

    key_id: str
    scopes: frozenset[Scope]
    projects: tuple[str, ...]
    """Names in order, or ``*`` alone."""
    label: str = ""
    """What the key is for, as who made it said."""

    @property
    def actor(self) -> str:
        """What is written down of who decided: the key's id, ``open`` where there are no keys."""
        return OPEN if self.key_id == ANYBODY_ID else self.key_id

    def may(self, scope: Scope) -> bool:
        """Whether this identity has *scope*."""
        return scope in self.scopes

    def sees(self, project: str) -> bool:
        """Whether *project* is one of its projects; says nothing of whether there is such a one."""
        return project in self.projects or EVERY_PROJECT in self.projects

    def manages(self, projects: Iterable[str]) -> bool:
        """Whether keys of *projects* are this one's to make, see, rotate and revoke."""
        return EVERY_PROJECT in self.projects or set(projects) <= set(self.projects)

    @property
    def only_project(self) -> str | None:
        """The project of everything that names none: the single one, ``default`` if listed."""
        if self.sees(DEFAULT_PROJECT):
            return DEFAULT_PROJECT
        return self.projects[0] if len(self.projects) == 1 else None


ANYBODY: Final = Identity(ANYBODY_ID, frozenset(SCOPES), (EVERY_PROJECT,))
STATIC: Final = Identity(STATIC_ID, frozenset(SCOPES), (EVERY_PROJECT,))


@dataclass(frozen=True, slots=True)
class Grant:
    """What a key is for: made by ``granted``, which checks it."""

    scopes: frozenset[Scope]
    projects: tuple[str, ...]
    label: str
    expires_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key without its secret; *revision* grows with each change."""

    id: str
    digest: bytes
    """SHA-256 of the secret, 32 bytes."""
    grant: Grant
    created_ms: int
    created_by: str
    """The id of the key that made it, or the name of who had the store's directory."""
    revoked_ms: int | None = None
    replaces: str | None = None
    """The id of the key it was made from by a rotation."""
    revision: int = 1

    def is_valid(self, now_ms: int) -> bool:
        """Whether it opens anything at *now_ms*."""
        ends = [one for one in (self.grant.expires_ms, self.revoked_ms) if one is not None]
        return not ends or now_ms < min(ends)

    @property
    def identity(self) -> Identity:
        """Who shows this key."""
        return Identity(self.id, self.grant.scopes, self.grant.projects, self.grant.label)

    def merged(self, other: Self) -> Self:
        """Return the later of two states of this key, with the earlier end of both."""
        newer = other if other.revision >= self.revision else self
        ends = [one.revoked_ms for one in (self, other) if one.revoked_ms is not None]
        return replace(newer, revoked_ms=min(ends, default=None))

    def is_ended_before(self, other: Self, now_ms: int) -> bool:
        """Whether this state has ended by *now_ms*, and earlier than *other* says."""
        ends, expected = self.revoked_ms, other.revoked_ms
        return ends is not None and ends <= now_ms and (expected is None or ends < expected)

    def ending(self, at_ms: int) -> Self:
        """Return the key as it ends at *at_ms*, or earlier where that was said before."""
        ends = at_ms if self.revoked_ms is None else min(self.revoked_ms, at_ms)
        return replace(self, revoked_ms=ends, revision=self.revision + 1)


def mint(grant: Grant, *, now_ms: int, by: str, replaces: str | None = None) -> tuple[ApiKey, str]:
    """Return a new key and its text, which nobody can have again.

    Raises:
        ConfigurationError: it would have ended before it began.
    """
    if grant.expires_ms is not None and grant.expires_ms <= now_ms:
        raise ConfigurationError("--expires", grant.expires_ms, "it lies in the past")
    secret = secrets.token_bytes(_SECRET_BYTES)
    key = ApiKey(
        id=secrets.token_hex(_ID_BYTES),
        digest=hashlib.sha256(secret).digest(),
        grant=grant,
        created_ms=now_ms,
        created_by=by,
        replaces=replaces,
    )
    return key, f"mvt_{key.id}_{base64.urlsafe_b64encode(secret).rstrip(b'=').decode()}"


def parse(text: str) -> tuple[str, bytes] | None:
    """Return id and secret of a key's text; None where it is none."""
    match = _TEXT.fullmatch(text)
    return None if match is None else (match[1], base64.urlsafe_b64decode(f"{match[2]}="))


def proves(key: ApiKey | None, secret: bytes) -> bool:
    """Whether *secret* is that of *key*; as slow for no key as for a wrong secret."""
    expected = _NO_DIGEST if key is None else key.digest
    is_same = hmac.compare_digest(hashlib.sha256(secret).digest(), expected)
    return is_same and key is not None


def granted(
    *, scopes: Iterable[str], projects: Iterable[str], label: str, expires_ms: int | None = None
) -> Grant:
    """Return what a key is to be for.

    Raises:
        ConfigurationError: an unknown scope or none, no project name, or a label that is none.
    """
    if not label.strip() or len(label) > _MAX_LABEL or not label.isprintable():
        raise ConfigurationError(
            "--label", label[:_MAX_LABEL], f"it has 1 to {_MAX_LABEL} printable characters"
        )
    return Grant(_scopes(list(scopes)), _projects(sorted(set(projects))), label, expires_ms)


def _scopes(names: list[str]) -> frozenset[Scope]:
    unknown = next((name for name in names if name not in SCOPES), None)
    if unknown is not None or not names:
        raise ConfigurationError("--scope", unknown, f"scopes are {', '.join(SCOPES)}")
    return frozenset(scope for scope in SCOPES if scope in names)


def _projects(names: list[str]) -> tuple[str, ...]:
    if names == [EVERY_PROJECT]:
        return (EVERY_PROJECT,)
    bad = next((name for name in names if not PROJECT.fullmatch(name)), None)
    if bad is not None or not names:
        raise ConfigurationError(
            "--project",
            bad,
            "a project is a-z, 0-9, _ and -, at most 63 characters, or * alone for every one",
        )
    return tuple(names)
