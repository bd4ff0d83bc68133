"""Rollouts: what the decisions about one service say of its canaries. Pure.

In: the deployments of one service in one environment. Out: each canary from its first decision to
its end, with the shares that were in force. A rollout's id is that of the decision that began it:
everybody who knows the decisions gives it the same. A changed share of the same canary goes on with
it, and a canary that begins again is another rollout.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from mvtrace.registry.deployments import Deployment, Serving, after, ordered, time_text


class Phase(NamedTuple):
    """From when on which share of the units was planned for the canary."""

    at: int
    """Unix nanoseconds."""
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One canary."""

    id: str
    service: str
    environment: str
    stable: str | None
    """The version beside it; None where nobody had decided what serves."""
    canary: str
    phases: tuple[Phase, ...]
    ended: Deployment | None = None
    """The decision that ended it; None while it runs."""

    @property
    def since(self) -> int:
        """When it began, Unix nanoseconds."""
        return self.phases[0].at

    @property
    def share(self) -> float:
        """The share now, or at its end."""
        return self.phases[-1].share

    def share_at(self, at: int) -> float | None:
        """Return the share in force at the instant *at*; None outside of the rollout."""
        if at < self.since or (self.ended is not None and at >= self.ended.at):
            return None
        return [one.share for one in self.phases if one.at <= at][-1]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "id": self.id,
            "service": self.service,
            "environment": self.environment,
            "stable": self.stable,
            "canary": self.canary,
            "share": self.share,
            "since": time_text(self.since),
            "phases": [{"at": time_text(one.at), "share": one.share} for one in self.phases],
            "ended": None
            if self.ended is None
            else {
                "at": time_text(self.ended.at),
                "action": self.ended.decision.action,
                "by": self.ended.by,
                "reason": self.ended.decision.reason,
            },
        }


def rollouts_of(deployments: Iterable[Deployment], until: int | None = None) -> list[Rollout]:
    """Return the rollouts in the order in which they began; only the last one may still run.

    *deployments* are of one service in one environment, in any order, perhaps repeated; those
    decided after *until* (Unix nanoseconds) are passed over.
    """
    found: list[Rollout] = []
    state = Serving()
    for one in ordered(deployments):
        if until is not None and one.at > until:
            break
        before, state = state, after(state, one)
        running = found[-1] if found and found[-1].ended is None else None
        if running is not None and _goes_on(before, state):
            if state.canary is one:
                phases = (*running.phases, Phase(one.at, one.decision.share))
                found[-1] = replace(running, phases=phases)
            continue
        if running is not None:
            found[-1] = replace(running, ended=one)
        if state.canary is one:
            found.append(_begun(one, state))
    return found


def running_of(deployments: Iterable[Deployment]) -> Rollout | None:
    """Return the rollout that runs."""
    found = rollouts_of(deployments)
    return found[-1] if found and found[-1].ended is None else None


def _goes_on(before: Serving, now: Serving) -> bool:
    is_same = before.canary is not None and now.canary is not None
    return (
        is_same
        and before.canary.composite == now.canary.composite  # type: ignore[union-attr]
        and before.version == now.version
    )


def _begun(one: Deployment, state: Serving) -> Rollout:
    return Rollout(
        id=one.event_id,
        service=one.decision.service,
        environment=one.decision.environment,
        stable=state.version,
        canary=one.composite,
        phases=(Phase(one.at, one.decision.share),),
    )
