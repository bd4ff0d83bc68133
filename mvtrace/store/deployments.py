"""Read what was decided to serve.

In: a service and an environment, or a filter. Out: :class:`Deployment` values, and what served at
an instant. A store that has no such table yet has no deployments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mvtrace.errors import AmbiguousVersionError, FilterError, StatementFailedError
from mvtrace.explain.evidence import time_text
from mvtrace.registry.deployments import Decision, Deployment, Serving, ordered, serving_at
from mvtrace.store.filters import limit_of, time_of
from mvtrace.store.statements import Statements

KEYS: Final = ("at", "service", "environment", "limit")
UNKNOWN_TABLE: Final = 60
_END_NS: Final = (1 << 63) - 1
_MAX_LISTED: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentFilter:
    """Which deployments to list; None: any."""

    at_ns: int = _END_NS
    """What served at this instant, and what was decided up to it; Unix nanoseconds."""
    service: str | None = None
    environment: str | None = None
    limit: int = 20


def parse_deployment_filter(texts: Mapping[str, str], *, now_ms: int) -> DeploymentFilter:
    """Return the filter that *texts* by key ask for.

    Raises:
        FilterError: a key or a value means nothing.
    """
    for key in texts:
        if key not in KEYS:
            raise FilterError(key, texts[key], f"keys are {', '.join(KEYS)}")
    at_ms = time_of("at", texts.get("at"), now_ms, default=-1)
    return DeploymentFilter(
        at_ns=_END_NS if at_ms < 0 else (at_ms + 1) * 1_000_000 - 1,
        service=texts.get("service") or None,
        environment=texts.get("environment") or None,
        limit=limit_of(texts.get("limit")),
    )


class Deployments:
    """Reads of one project; safe for several threads, as the store is."""

    def __init__(self, statements: Statements) -> None:
        self._run = statements.run

    def of(
        self, service: str, environment: str, *, until_ns: int = _END_NS
    ) -> tuple[Deployment, ...]:
        """Return all decisions about *service* in *environment*, an empty text being any; ordered.

        Raises:
            MvtraceError: the store does not answer.
        """
        try:
            found = self._run(
                "deployments", service=service, environment=environment, until=until_ns
            )
        except StatementFailedError as error:
            if error.store_code == UNKNOWN_TABLE:
                return ()
            raise
        return tuple(ordered(map(_deployment, found.rows)))

    def find(self, wanted: DeploymentFilter) -> dict[str, Any]:
        """Return what *wanted* lets through as plain JSON values, newest first.

        Beside it what served, each service in each environment.
        """
        found = self.of(wanted.service or "", wanted.environment or "", until_ns=wanted.at_ns)
        places = sorted({(one.decision.service, one.decision.environment) for one in found})
        return {
            "at": None if wanted.at_ns == _END_NS else time_text(wanted.at_ns),
            "serving": [_serving(place, found) for place in places],
            "deployments": [one.to_dict() for one in reversed(found[-wanted.limit :])],
            "limit": wanted.limit,
        }

    def registered(self, prefix: str) -> str | None:
        """Return the one registered version that starts with *prefix*; None where none does.

        Raises:
            AmbiguousVersionError: several do.
        """
        found = [str(row[0]) for row in self._run("registered_versions", prefix=prefix).rows]
        if len(found) > 1:
            raise AmbiguousVersionError(prefix, found[:_MAX_LISTED])
        return found[0] if found else None


def _serving(place: tuple[str, str], found: Sequence[Deployment]) -> dict[str, Any]:
    of_place = [one for one in found if (one.decision.service, one.decision.environment) == place]
    state: Serving = serving_at(of_place)
    return {
        "service": place[0],
        "environment": place[1],
        "stable": None if state.stable is None else state.stable.to_dict(),
        "canary": None if state.canary is None else state.canary.to_dict(),
    }


def _deployment(row: Sequence[Any]) -> Deployment:
    event, at, seq, body, actor, actor_label, received_at = row
    return Deployment(
        event_id=event,
        decision=Decision.from_bytes(body),
        at=at,
        actor=actor,
        actor_label=actor_label,
        received_at=received_at,
        seq=seq,
    )
