"""One access: what is noted while it is answered, and the entry that is kept of it.

Comes in: facts, from whoever learns them (the key guard, the routes). Goes out: an Entry, as bytes
of the journal and as a row of ``access_log``. An entry holds ids, names of keys and keyed digests;
what somebody typed as an id or a filter is a digest, unless its form is that of our own ids.
Nothing is written here.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import orjson
from starlette.types import Scope

from mvtrace.errors import MalformedIdError
from mvtrace.ids import new_request_id
from mvtrace.store.request_ids import sought
from mvtrace_collector.keys import EVERY_PROJECT, Identity, parse

NOTE: Final = "mvtrace.access"
"""Where an ASGI scope carries the Note of its request."""
UNKNOWN: Final = "unknown"
"""The actor of a request that no key opened; a key's id that it only claims is the label."""
LOCAL: Final = "local"
"""The actor of what was done to a store's directory without a collector."""

BEGUN, ANSWERED = 1, 2
"""Revisions of an entry."""
MAX_STATEMENT: Final = 16 * 1024
"""Characters of a statement that are kept."""

_MAX_LABEL: Final = 200
_MAX_ASKED: Final = 1000
_NO_REQUEST: Final = bytes(16)
_KEY_ID: Final = re.compile(r"[0-9a-f]{12}", re.ASCII)
_PLAIN: Final = re.compile(r"[A-Za-z0-9._:+-]{1,64}", re.ASCII)
_PLAIN_FILTERS: Final = frozenset(
    {
        *("since", "until", "limit", "error", "all", "wait", "project", "repair"),
        *("open", "kind", "list"),
        *("service", "environment", "version", "arm", "action", "outcome", "actor"),
        *("baseline", "canary", "arms", "rollout", "plan", "full", "hook"),
    }
)
_OUTCOMES: Final = {
    401: "unauthenticated",
    403: "refused",
    404: "not-found",
    409: "conflict",
    412: "closed",
}


class Entry(NamedTuple):
    """One entry of the log; the fields are those of its journal."""

    id: str
    revision: int
    time_us: int
    """Unix time in microseconds."""
    project: str
    actor: str
    label: str
    action: str
    asked: str
    request_id: str
    """Of the request that was found; empty where none was."""
    statement: str
    status: int
    outcome: str
    rows: int | None
    size: int
    """Bytes of the answer."""
    duration_us: int
    client: str

    def to_bytes(self) -> bytes:
        """Return the entry as the journal has it; ``from_bytes(e.to_bytes()) == e``."""
        return orjson.dumps(tuple(self))

    @classmethod
    def from_bytes(cls, raw: bytes) -> Entry:
        """Return the entry of *raw*.

        Raises:
            ValueError: *raw* is none.
        """
        try:
            return cls(*orjson.loads(raw))
        except TypeError as error:
            raise ValueError(str(error)) from error

    def to_row(self) -> tuple[Any, ...]:
        """Return the entry as a row of the table."""
        return (
            self.project,
            _raw(self.id),
            self.revision,
            datetime.fromtimestamp(self.time_us / 1e6, UTC),
            *(self.actor, self.label, self.action, self.asked),
            _raw(self.request_id) if self.request_id else _NO_REQUEST,
            *(self.statement, self.status, self.outcome, self.rows),
            *(self.size, self.duration_us, self.client),
        )


def _raw(text: str) -> bytes:
    return bytes.fromhex(text.replace("-", ""))


class Note:
    """What is known of one access so far; made for a request, and gone with it."""

    def __init__(
        self, action: str, *, client: str = "", digest: Callable[[str], str] | None = None
    ) -> None:
        self.id = new_request_id()
        self.action = action
        self.client = client
        self.digest = digest or _no_digest
        """Makes the keyed digest of what may not be kept as it is."""
        self.identity: Identity | None = None
        self.claimed = ""
        """The id of a key that was shown and opened nothing."""
        self.project = ""
        self.asked = ""
        self.request_id = ""
        self.statement = ""
        self.rows: int | None = None
        self.is_begun = False
        self.begin: Callable[[Note], Awaitable[None]] = _nothing
        """Writes the entry that the access was begun; durable on return."""
        self._time_us = time.time_ns() // 1000
        self._started = time.perf_counter_ns()

    def entry(self, *, status: int = 0, size: int = 0) -> Entry:
        """Return the entry as of now; *status* 0 says that nothing was answered yet."""
        actor, label = self._actor()
        return Entry(
            id=self.id,
            revision=ANSWERED if status else BEGUN,
            time_us=self._time_us,
            project=self.project or _project_of(self.identity),
            actor=actor,
            label=label[:_MAX_LABEL],
            action=self.action,
            asked=self.asked[:_MAX_ASKED],
            request_id=self.request_id,
            statement=self.statement[:MAX_STATEMENT],
            status=status,
            outcome=outcome_of(status),
            rows=self.rows,
            size=size,
            duration_us=(time.perf_counter_ns() - self._started) // 1000,
            client=self.client,
        )

    def _actor(self) -> tuple[str, str]:
        """Return who asks: a key's id with its label, or ``open`` where there are no keys."""
        if self.identity is None:
            return UNKNOWN, self.claimed
        return self.identity.actor, self.identity.label


async def _nothing(_note: Note) -> None:
    """Stand for the log of an application that has none: an endpoint alone, in a test."""


def _no_digest(_text: str) -> str:
    """Stand for its digests."""
    return ""


def _project_of(identity: Identity | None) -> str:
    """Return the project of what names none: the key's, where it has a single one."""
    projects = () if identity is None else identity.projects
    return projects[0] if len(projects) == 1 else EVERY_PROJECT


def outcome_of(status: int) -> str:
    """Return the word for a status of HTTP; 0 is ``begun``."""
    if status < 400:  # noqa: PLR2004 (below it nothing went wrong)
        return "ok" if status else "begun"
    return _OUTCOMES.get(status, "wrong-use" if status < 500 else "failed")  # noqa: PLR2004


def note_of(scope: Scope) -> Note:
    """Return the note of a request; one that nobody keeps where no log stands before the routes."""
    note: Note = scope.get(NOTE) or Note("")
    return note


def identified(scope: Scope, identity: Identity | None, token: str | None) -> None:
    """Note who sent a request, or which key it claims to have."""
    note = note_of(scope)
    note.identity = identity
    parts = None if identity is not None or token is None else parse(token)
    note.claimed = "" if parts is None else parts[0]


async def begun(scope: Scope) -> None:
    """Write that something that changes data is begun, with what is noted by now.

    Raises:
        UnavailableError: the log cannot be written; nothing may be changed.
    """
    note = note_of(scope)
    await note.begin(note)
    note.is_begun = True


def projects_word(projects: Iterable[str]) -> str:
    """Return the one of *projects* that an entry about all of them belongs to."""
    names = list(projects)
    return names[0] if len(names) == 1 else EVERY_PROJECT


def asked_word(text: str, digest: Callable[[str], str]) -> str:
    """Return what is kept of an id that somebody asked for: a request's own, or a digest."""
    if not text:
        return ""
    try:
        meant = sought(text)
    except MalformedIdError:
        return digest(text)
    if meant.request_id is not None:
        return meant.request_id
    return digest(meant.aliases[0].value if meant.aliases else meant.text)


def asked_key(text: str, digest: Callable[[str], str]) -> str:
    """Return what is kept of a key's id: itself, where it can be one."""
    return text if _KEY_ID.fullmatch(text) else digest(text)


def filter_words(given: Mapping[str, str], digest: Callable[[str], str]) -> str:
    """Return what is kept of a filter: known names, and values of those that name no person."""
    return " ".join(
        f"{name}={value if name in _PLAIN_FILTERS and _PLAIN.fullmatch(value) else digest(value)}"
        for name, value in sorted(given.items())
        if _PLAIN.fullmatch(name)
    )


@dataclass(frozen=True, slots=True)
class Audited:
    """What is noted of a path: the action's name, and where the query says what was asked for."""

    action: str
    by_id: bool = False
    """The parameter ``id`` is what was asked for; else all parameters are, as a filter."""


_ACTIONS: Final = {
    ("GET", "/api/v1/explanation"): Audited("explain", by_id=True),
    ("GET", "/api/v1/content"): Audited("content", by_id=True),
    ("GET", "/api/v1/requests"): Audited("find"),
    ("GET", "/api/v1/gaps"): Audited("gaps"),
    ("GET", "/api/v1/drift"): Audited("drift"),
    ("GET", "/api/v1/affected"): Audited("affected", by_id=True),
    ("GET", "/api/v1/deployments"): Audited("deployments"),
    ("GET", "/api/v1/compare"): Audited("compare"),
    ("POST", "/api/v1/compare"): Audited("govern"),
    ("POST", "/api/v1/compare/flagger"): Audited("compare"),
    ("GET", "/api/v1/access"): Audited("access"),
    ("GET", "/api/v1/keys"): Audited("keys-list"),
    ("POST", "/api/v1/keys"): Audited("key-create"),
    ("POST", "/api/v1/erasures"): Audited("erase"),
    ("POST", "/api/v1/deploy"): Audited("govern"),
    ("POST", "/api/v1/retention"): Audited("govern"),
    ("POST", "/api/v1/verification"): Audited("verify"),
}
_OF_A_KEY: Final = re.compile(r"/api/v1/keys/[^/]*/(rotate|revoke)")
_NO_ACCESS: Final = frozenset(
    {
        *("/healthz", "/readyz", "/metrics", "/sql/ping", "/api/v1/status"),
        *("/v1/traces", "/v1/logs", "/api/v1/scores", "/api/v1/rollout"),
    }
)
"""How the collector is, what is sent to it, and what each server asks of itself every ten seconds.
Every other path is an access, also one that a
later version adds without a word here."""


def audited(method: str, path: str) -> Audited | None:
    """Return what is noted of a request; None where it is no access."""
    if path in _NO_ACCESS:
        return None
    known = _ACTIONS.get(("GET" if method == "HEAD" else method, path))
    if known is not None:
        return known
    if path.rstrip("/") == "/sql":
        return Audited("sql")
    match = _OF_A_KEY.fullmatch(path)
    return Audited("other" if match is None else f"key-{match[1]}")
