"""What a text names that somebody typed: a version, a lock, a request, a decision, what served.

In: the text and an Ask. Out: a Named: the version meant, and by way of what. Forms: the first 8 or
more digits of a version; ``composite:…``; a lock file; the id of a deployment or of a request (also
``trace:…``, ``x-request-id:…``, ``response:…``); ``prod@2026-08-01``, ``service/prod@now``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from mvtrace.errors import AmbiguousIdError, FilterError, NotFoundError
from mvtrace.registry.deployments import CANARY_ARM, Decision, Deployment, ordered, serving_at
from mvtrace.registry.pin.lockfile import Lock, read_lock
from mvtrace.registry.pin.versions import Version, read_versions, version_of
from mvtrace.registry.reading import Ask, statement
from mvtrace.registry.refs import Ref

MIN_DIGITS: Final = 8
_HEX: Final = re.compile(r"[0-9a-f]{8,64}")
_EVENT_DIGITS: Final = 32
_BACK: Final = re.compile(r"(\d{1,6})([smhdw])")
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_ALIASES: Final = {
    "trace": "trace_id",
    "trace_id": "trace_id",
    "x-request-id": "x-request-id",
    "response": "response_id",
    "response_id": "response_id",
}
_TRACES: Final = ("trace", "trace_id")
_KINDS: Final = frozenset({"composite", "deployment", "request", *_ALIASES})
_HINT: Final = (
    "A version is named by its first 8 digits, a lock file, a deployment, a request, "
    "or what served: prod@2026-08-01."
)


class NothingNamedError(NotFoundError):
    """Nothing that is stored is called so."""

    code = "version-not-named"

    def __init__(self, text: str, problem: str, *, hint: str = _HINT) -> None:
        super().__init__(f"{text[:80]!r} names no version: {problem}.", hint=hint)


@dataclass(frozen=True, slots=True)
class Named:
    """A version, and how the text that was typed leads to it."""

    text: str
    version: Version
    how: str
    """``version``, ``lock``, ``deployment``, ``request`` or ``serving``."""
    deployment: Deployment | None = None
    request_id: str | None = None
    lock: Lock | None = None
    canary: Deployment | None = None
    """What served some of the requests beside it."""
    at_ms: int | None = None


def named(ask: Ask, text: str, *, now_ms: int, folder: Path | None = None) -> Named:
    """Return what *text* names; lock files are looked for in *folder*, else where we are.

    Raises:
        NothingNamedError: nothing is called so.
        AmbiguousIdError: several things are.
        LockError: it is a lock that cannot be read.
        FilterError: the time behind @ is none.
    """
    stripped = text.strip()
    path = (folder or Path()) / stripped
    is_file = os.path.isfile(path)  # noqa: PTH113 (a Path raises where no file can be called so)
    if stripped.endswith(".lock") or ("@" not in stripped and is_file):
        lock = read_lock(path)
        return Named(text, version_of(lock.composite), "lock", lock=lock)
    if "@" in stripped:
        return _serving(ask, stripped, now_ms)
    kind, colon, rest = stripped.partition(":")
    if colon and kind in _KINDS:
        return _the_one(text, _of_kind(ask, text, kind, rest))
    return _the_one(text, _of_any_kind(ask, text, stripped))


def _of_kind(ask: Ask, text: str, kind: str, rest: str) -> list[Named]:
    lower = rest.lower()
    if kind == "composite":
        return _versions(ask, text, _prefix(text, lower.removeprefix("sha256:")))
    if kind == "deployment":
        return _deployments(ask, text, _prefix(text, lower))
    if kind == "request":
        return _requests(ask, text, lower.replace("-", ""), "", "")
    return _requests(ask, text, "", lower if kind in _TRACES else rest, _ALIASES[kind])


def _of_any_kind(ask: Ask, text: str, stripped: str) -> list[Named]:
    lower = stripped.lower()
    found: list[Named] = []
    if _HEX.fullmatch(lower):
        found += _versions(ask, text, lower)
        if len(lower) <= _EVENT_DIGITS:
            found += _deployments(ask, text, lower)
    if not found or len(lower) == _EVENT_DIGITS:
        found += _requests(ask, text, lower.replace("-", ""), stripped, "")
    return found


def _the_one(text: str, found: Sequence[Named]) -> Named:
    if not found:
        raise NothingNamedError(text, "no version, deployment or request is known by it")
    if len(found) > 1:
        raise AmbiguousIdError(text, [_listed(one) for one in found[:20]], total=len(found))
    return found[0]


def _listed(one: Named) -> str:
    if one.request_id:
        return f"request {one.request_id}"
    if one.deployment:
        return f"deployment {one.deployment.event_id}"
    return f"version {one.version.version}"


def _prefix(text: str, digits: str) -> str:
    if not _HEX.fullmatch(digits):
        raise NothingNamedError(text, f"it is named by {MIN_DIGITS} to 64 hex digits")
    return digits


def _versions(ask: Ask, text: str, prefix: str) -> list[Named]:
    rows = ask(statement("pin_starting"), {"prefix": prefix})
    return [
        Named(text, one, "version") for one in _known(ask, [str(row["version"]) for row in rows])
    ]


def _known(ask: Ask, versions: Sequence[str]) -> list[Version]:
    found = read_versions(ask, versions)
    return [found.get(one) or Version(one, is_known=False) for one in versions]


def _deployments(ask: Ask, text: str, digits: str) -> list[Named]:
    found = deployments(ask, event=digits) if digits else []
    versions = _known(ask, [one.composite for one in found])
    return [
        Named(text, version, "deployment", deployment=one)
        for one, version in zip(found, versions, strict=True)
    ]


def _requests(ask: Ask, text: str, digits: str, alias: str, kind: str) -> list[Named]:
    request = digits if len(digits) == _EVENT_DIGITS else ""
    asked = {"request": request, "alias": alias[:512], "kind": kind}
    rows = ask(statement("pin_requests"), asked)
    named_rows = [row for row in rows if row["version"]]
    if rows and not named_rows:
        raise NothingNamedError(
            text,
            "the request is stored, and nothing says which version served it",
            hint="'mvtrace explain' tells what is known of it.",
        )
    versions = _known(ask, [row["version"] for row in named_rows])
    return [
        Named(text, version, "request", request_id=_dashed(row["id"]))
        for row, version in zip(named_rows, versions, strict=True)
    ]


def _dashed(digits: str) -> str:
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def deployments(
    ask: Ask,
    *,
    service: str = "",
    environment: str = "",
    versions: Sequence[str] = (),
    event: str = "",
) -> list[Deployment]:
    """Return decisions in order; an empty condition lets any through."""
    asked = {
        "service": service,
        "environment": environment,
        "versions": list(versions),
        "event": event,
    }
    return ordered(
        Deployment(
            event_id=row["event"],
            decision=Decision.from_bytes(row["body"]),
            at=int(row["decided"]),
            actor=row["actor"],
            actor_label=row["actor_label"],
            received_at=int(row["received"]),
            seq=int(row["seq"]),
        )
        for row in ask(statement("pin_deployments"), asked)
    )


def _serving(ask: Ask, text: str, now_ms: int) -> Named:
    """Return what served: ``[service/]environment@time``."""
    place, _, moment = text.rpartition("@")
    service, slash, environment = place.rpartition("/")
    if not environment or (slash and not service):
        raise NothingNamedError(text, "before @ stands ENVIRONMENT or SERVICE/ENVIRONMENT")
    at_ms = moment_ms(moment, now_ms)
    found = deployments(ask, service=service, environment=environment)
    services = sorted({one.decision.service for one in found})
    if len(services) > 1:
        hits = [f"{one}/{environment}@{moment}" for one in services]
        raise AmbiguousIdError(text, hits, total=len(hits))
    state = serving_at(found, at_ms * 1_000_000 + 999_999)
    if state.stable is None:
        held = _first_words(found)
        raise NothingNamedError(
            text, f"nothing was deployed there then{held}", hint="'mvtrace deployments' lists all."
        )
    version = _known(ask, [state.stable.composite])[0]
    canary = state.of_arm(CANARY_ARM) if state.canary else None
    return Named(text, version, "serving", deployment=state.stable, canary=canary, at_ms=at_ms)


def _first_words(found: Sequence[Deployment]) -> str:
    stable = [one for one in found if one.decision.action != "canary"]
    return f"; the first was at {moment_words(stable[0].at // 1_000_000)}" if stable else ""


def moment_ms(text: str, now_ms: int) -> int:
    """Return a time of day, a date (its first instant, UTC), ``now``, or a span back from now.

    Raises:
        FilterError: it is none.
    """
    if text in ("", "now"):
        return now_ms
    back = _BACK.fullmatch(text)
    if back:
        return max(0, now_ms - int(back[1]) * _UNITS[back[2]] * 1000)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise FilterError(
            "the time", text, "it is 2026-08-01, 2026-08-01T10:00 (UTC), now, or 6h, 7d back"
        ) from None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return min(max(0, round(moment.timestamp() * 1000)), 2**48 - 1)


def moment_words(at_ms: int) -> str:
    """Return ISO 8601 in UTC to the second."""
    return f"{datetime.fromtimestamp(at_ms // 1000, UTC):%Y-%m-%dT%H:%M:%S}Z"


def ref_of(text: str) -> Ref | None:
    """Return the ref that *text* is; None where it is none."""
    try:
        return Ref.parse(text)
    except ValueError:
        return None
