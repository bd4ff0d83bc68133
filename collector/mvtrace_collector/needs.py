"""What a version needs, as the loader asks its own session: with the segment's registrations.

In: a session of the store. Out: what ``decisions.judge`` asks for while something is collected.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mvtrace.registry.errors import TooDeepError
from mvtrace.registry.retention.inputs import read_version
from mvtrace.registry.retention.values import Known
from mvtrace.store.session import Session
from mvtrace_collector.decisions import Needs


def needs_in(session: Session) -> Needs:
    """Return what tells what the registry knows of a version: nothing of one nested too deep."""

    def needs(project: str, version: str) -> Known:
        def ask(text: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
            return list(session.query(text, {"project": project, **parameters}).dicts())

        try:
            return read_version(ask, version)
        except TooDeepError:
            return Known()

    return needs
