"""Who may do what: the scope each route asks for, and the project an identity may be asked about.

Comes in: a path, and the Identity that the key guard proved. Goes out: the scopes that open it, or
a refusal. A project outside a key's list is refused in the same words whether or not it exists,
before anything of it is read; an id of another project is, inside one's own, as unknown as any.
"""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.types import Scope as AsgiScope

from mvtrace.errors import ConfigurationError
from mvtrace_collector.access_log_entry import note_of
from mvtrace_collector.errors import ForbiddenError, ForbiddenProjectError, ProjectNeededError
from mvtrace_collector.keys import ANYBODY, EVERY_PROJECT, Identity, Scope
from mvtrace_collector.projects import PROJECT

IDENTITY: Final = "mvtrace.identity"
"""Where an ASGI scope carries who asks."""
PROJECT_HEADER: Final = "x-mvtrace-project"
OPEN_PATHS: Final = frozenset({"/healthz", "/readyz", "/sql/ping"})
"""Asked by whoever keeps the process running, who has no key; nothing of what is stored is told."""

BASIC_PATHS: Final = frozenset({"/api/v1/compare/flagger"})
"""Asked by what can carry a key in no header, only in an address: as the password of HTTP Basic."""

_ROUTES: Final[dict[str, tuple[Scope, ...]]] = {
    "/v1/traces": ("ingest",),
    "/v1/logs": ("ingest", "score", "govern", "erase"),
    "/sql": ("sql",),
    "/sql/": ("sql",),
    "/api/v1/explanation": ("read",),
    "/api/v1/requests": ("read",),
    "/api/v1/gaps": ("read",),
    "/api/v1/content": ("read",),
    "/api/v1/drift": ("read",),
    "/api/v1/affected": ("read",),
    "/api/v1/compare": ("read", "govern"),
    "/api/v1/compare/flagger": ("read",),
    "/api/v1/erasures": ("erase",),
    "/api/v1/deployments": ("read", "govern"),
    "/api/v1/rollout": ("ingest", "read", "govern"),
    "/api/v1/deploy": ("govern",),
    "/api/v1/retention": ("govern",),
    "/api/v1/scores": ("score",),
}
"""Any one of the scopes opens a path; what is not listed is for ``admin``."""
_ADMIN: Final[tuple[Scope, ...]] = ("admin",)
_KEYS: Final = "/api/v1/keys"
_ACCESS: Final = "/api/v1/access"
"""An admin of some projects makes keys for these and reads their part of the access log; what tells
of the whole collector (metrics, status, verification) is for an admin of every project."""


def scopes_of(path: str) -> tuple[Scope, ...]:
    """Return the scopes of which any one opens *path*; none for the open ones."""
    if path in OPEN_PATHS:
        return ()
    return _ROUTES.get(path, _ADMIN)


def is_open_to(path: str, identity: Identity) -> bool:
    """Whether *identity* may ask *path*."""
    scopes = scopes_of(path)
    if _is_of_all(path) and EVERY_PROJECT not in identity.projects:
        return False
    return not scopes or any(identity.may(scope) for scope in scopes)


def forbidden(path: str, identity: Identity) -> ForbiddenError:
    """Return why *identity* may not ask *path*."""
    return ForbiddenError(identity.key_id, scopes_of(path), path, of_all=_is_of_all(path))


def _is_of_all(path: str) -> bool:
    """Whether *path* tells of all projects at once."""
    is_of_some = path in (_KEYS, _ACCESS) or path.startswith(f"{_KEYS}/")
    return scopes_of(path) == _ADMIN and not is_of_some


def identity_in(scope: AsgiScope) -> Identity:
    """Return who sent a request; anybody where no guard stands before the routes."""
    identity: Identity = scope.get(IDENTITY, ANYBODY)
    return identity


def project_of(request: Request) -> str:
    """Return the project a read is about: header or parameter, else the key's only one.

    Raises:
        ConfigurationError: what was named is no project name.
        ForbiddenProjectError: the key does not list it.
        ProjectNeededError: none was named and the key has several.
    """
    identity = identity_in(request.scope)
    name = request.headers.get(PROJECT_HEADER) or request.query_params.get("project")
    if not name:
        if (only := identity.only_project) is None:
            raise ProjectNeededError(identity.projects)
        note_of(request.scope).project = only
        return only
    if not PROJECT.fullmatch(name):
        raise ConfigurationError(
            "project", name[:80], "a project is a-z, 0-9, _ and -, at most 63 characters"
        )
    if not identity.sees(name):
        raise ForbiddenProjectError(name)
    note_of(request.scope).project = name
    return name


async def small_body(request: Request, most: int) -> bytes:
    """Return the body of a request, of which no more than *most* bytes are ever held.

    Raises:
        ConfigurationError: it is longer.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise ConfigurationError("body", None, f"it has at most {most:,} bytes")
    return bytes(body)
