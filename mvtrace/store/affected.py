"""The blast radius of a component, a drift or a request's state: requests, users, versions, time.

In: what somebody typed. Out: counts, ids, and the statement that gives the same ids over ``/sql``.
One statement says which requests are meant; counting and listing stand around it, so that they
cannot differ.

* a component, ``kind/name``, ``kind/name@sha256:…`` or ``sha256:…``: requests whose version holds
  it, but for those that met something else in its slot, and those that met it undeclared.
* a drift, by its id: the requests of that episode.
* a request, by any of its ids: the requests of its service that were answered by the same version
  with the same drift.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from mvtrace.errors import (
    ComponentNotFoundError,
    DriftNotFoundError,
    FilterError,
)
from mvtrace.explain.drift import CHANGED, VOLATILE, dashed, moment
from mvtrace.records import RequestRecord
from mvtrace.store.drift import EPISODE_ID, Drift
from mvtrace.store.filters import check_keys, flag_of, limit_of, time_of
from mvtrace.store.reader import Reader
from mvtrace.store.request_ids import hexadecimal, highest_id, lowest_id
from mvtrace.store.session import Rows
from mvtrace.store.statements import FOLDER, Statements, statement

KEYS: Final = ("id", "since", "until", "list", "limit")
MAX_TARGET: Final = 512
SETTINGS: Final = {"max_execution_time": 30, "max_memory_usage": 4 << 30}

_MAX_MS: Final = 2**48 - 1
_COMPONENT: Final = re.compile(r"([a-z_]{1,40})/(.{1,256}?)(?:@(sha256:[0-9a-f]{8,64}))?")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{8,64}")
EPISODE_LENGTH: Final = 32
_WHOLE: Final = len("sha256:") + 64
_PARAMETER: Final = re.compile(r"\{(\w+):[\w()]+\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AffectedFilter:
    """What is asked about, and how much of the answer is wanted."""

    target: str
    since_ms: int = 0
    until_ms: int = _MAX_MS
    is_listed: bool = False
    limit: int = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Affected:
    """Which requests are meant: a statement with its parameters, and what it is about."""

    what: str
    """``component``, ``drift`` or ``request``."""
    name: str
    statement: str
    parameters: Mapping[str, Any]


def parse_affected_filter(texts: Mapping[str, str], *, now_ms: int) -> AffectedFilter:
    """Return what *texts* by key ask for.

    Raises:
        FilterError: a key or a value means nothing.

    """
    check_keys(texts, KEYS)
    target = texts.get("id", "").strip()
    if not target or len(target) > MAX_TARGET or not target.isprintable():
        raise FilterError("id", target, "it is a component, a drift's id or a request's id")
    return AffectedFilter(
        target=target,
        since_ms=time_of("since", texts.get("since"), now_ms, default=0),
        until_ms=time_of("until", texts.get("until"), now_ms, default=_MAX_MS),
        is_listed=flag_of("list", texts.get("list")),
        limit=limit_of(texts.get("limit")),
    )


class Affects:
    """Reads of one project; safe for several threads, as the store is."""

    def __init__(self, statements: Statements, reader: Reader) -> None:
        self._statements = statements
        self._reader = reader

    def find(self, wanted: AffectedFilter) -> dict[str, Any]:
        """Return how much is affected by what is asked about, as plain values.

        Raises:
            NotFoundError: what is asked about is not stored.
            AmbiguousIdError: it names several requests.
            MalformedIdError: it cannot be any of the three.

        """
        meant = self.meant(wanted)
        requests, first, last, (users, named) = self._run("count", meant).rows[0]
        found = {
            "what": meant.what,
            "name": meant.name,
            "requests": requests,
            "first_request": dashed(first) if requests else None,
            "last_request": dashed(last) if requests else None,
            "first_at": moment(first) if requests else None,
            "last_at": moment(last) if requests else None,
            "users": users,
            "requests_with_user": named,
            "versions": [_version(row) for row in self._run("versions", meant).rows],
            "sql": self.sql(meant),
        }
        if wanted.is_listed:
            rows = self._run("list", meant, limit=wanted.limit).dicts()
            found["listed"] = [_listed(row) for row in rows]
            found["limit"] = wanted.limit
        return found

    def meant(self, wanted: AffectedFilter) -> Affected:
        """Return which requests *wanted* means."""
        first = hexadecimal(lowest_id(wanted.since_ms))
        last = hexadecimal(highest_id(wanted.until_ms))
        span = {"first": first, "last": last, "project": self._statements.project}
        target = wanted.target
        if _DIGEST.fullmatch(target) or _COMPONENT.fullmatch(target):
            return self._of_component(target, span)
        kind, colon, rest = target.partition(":")
        if colon and kind == "drift":
            if not EPISODE_ID.fullmatch(rest):
                raise FilterError("id", target, "a drift's id is 8 to 32 hex digits")
            return self._of_drift(rest, span)
        if EPISODE_ID.fullmatch(target):
            try:
                return self._of_drift(target, span)
            except DriftNotFoundError:
                if len(target) < EPISODE_LENGTH:
                    raise
        return self._of_request(target, span)

    def sql(self, meant: Affected) -> str:
        """Return one statement for ``/sql`` that lists the affected requests, all of them."""
        text = _around("list", meant.statement).rpartition("\nLIMIT")[0]
        return _with_values(text, meant.parameters)

    def _of_component(self, target: str, span: Mapping[str, str]) -> Affected:
        match = _COMPONENT.fullmatch(target)
        kind, name, digest = match.groups() if match else ("", "", target)
        slots = self._statements.run(
            "slots_of_component", kind=kind, name=name, digest=digest or ""
        ).rows
        found = sorted({str(row[2]) for row in slots})
        if digest and len(digest) < _WHOLE:
            if len(found) != 1:
                raise ComponentNotFoundError(target, found)
            digest = found[0]
        parameters = {
            **span,
            "kind": kind,
            "name": name,
            "digest": digest or "",
            "slots": sorted({f"{row[0]}/{row[1]}" for row in slots}),
        }
        meant = Affected(
            what="component",
            name=f"{kind}/{name}@{digest}" if kind and digest else target,
            statement="affected_by_component",
            parameters=parameters,
        )
        if not slots and not self._run("list", meant, limit=1).rows:
            raise ComponentNotFoundError(target, [])
        return meant

    def _of_drift(self, prefix: str, span: Mapping[str, str]) -> Affected:
        episode = Drift(self._statements).named(prefix)
        parameters = {
            **span,
            **episode.key._asdict(),
            "first": max(span["first"], episode.first),
            "last": min(span["last"], episode.last),
        }
        return Affected(
            what="drift", name=episode.id, statement="affected_by_drift", parameters=parameters
        )

    def _of_request(self, text: str, span: Mapping[str, str]) -> Affected:
        evidence = self._reader.read(text)
        record = evidence.own
        parameters = {
            **span,
            "service": (record.service if record else None) or "",
            "environment": (record.environment if record else None) or "",
            "version": evidence.named_version or "",
            "notes": _notes(record),
        }
        return Affected(
            what="request",
            name=evidence.request_id,
            statement="affected_by_request",
            parameters=parameters,
        )

    def _run(self, name: str, meant: Affected, **parameters: Any) -> Rows:
        text = _around(name, meant.statement)
        return self._statements.run_text(text, {**meant.parameters, **parameters}, SETTINGS)


@cache
def _around(name: str, inner: str) -> str:
    """Return the statement ``affected/<name>.sql`` around the one that says which are meant."""
    text = (FOLDER / "affected" / f"{name}.sql").read_text("utf-8")
    return text.replace("{affected}", statement(inner))


def _notes(record: RequestRecord | None) -> list[str]:
    """Return the drift of a record as ``affected_by_request.sql`` compares it."""
    return sorted(
        f"{one.kind}/{one.name} {one.what} {one.observed or ''}"
        for one in (record.drift if record else ())
        if one.what not in {CHANGED, VOLATILE}
    )


def _version(row: Sequence[Any]) -> dict[str, Any]:
    version, service, environment, requests, first, last = row
    return {
        "composite_version": version,
        "service": service,
        "environment": environment,
        "requests": requests,
        "first_request": dashed(first),
        "last_request": dashed(last),
        "first_at": moment(first),
        "last_at": moment(last),
    }


def _listed(row: Mapping[str, Any]) -> dict[str, Any]:
    request = str(row["request"])
    return {
        "request_id": request,
        "time": moment(hexadecimal(request)),
        **{name: row[name] for name in ("service", "environment", "route", "composite_version")},
    }


def _with_values(text: str, parameters: Mapping[str, Any]) -> str:
    """Return *text* with the values of its parameters in their places."""
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    return _PARAMETER.sub(lambda match: _literal(parameters[match[1]]), lines)


def _literal(value: Any) -> str:
    if isinstance(value, list):
        return f"CAST([{', '.join(map(_literal, value))}], 'Array(String)')"
    if isinstance(value, int):
        return str(value)
    return "'" + "".join(map(_escaped, str(value))) + "'"


def _escaped(sign: str) -> str:
    """Return *sign* as it may stand in a literal, on a terminal too: names come from senders."""
    if sign in "\\'":
        return f"\\{sign}"
    if sign.isascii() and sign.isprintable():
        return sign
    return "".join(f"\\x{byte:02x}" for byte in sign.encode("utf-8", "surrogatepass"))
