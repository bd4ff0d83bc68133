"""Deployments as values, for tests of reading and explaining."""

from __future__ import annotations

from typing import Any

from mvtrace.registry.deployments import Decision, Deployment


def a_deployment(version: str, at: int, action: str = "deploy", **said: Any) -> Deployment:
    """Return a decision about the story's service, stored under the key ``key``."""
    facts: dict[str, Any] = {"service": "support", "environment": "production", **said}
    decision = Decision(action=action, composite=version, at=at, **facts)  # type: ignore[arg-type]
    return Deployment(event_id=f"{at:032x}", decision=decision, at=at, actor="key")
