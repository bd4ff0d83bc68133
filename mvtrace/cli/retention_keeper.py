"""A collector as an applied plan sees it: steps go to it, and are read from it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from mvtrace.cli.errors import ReportedError
from mvtrace.cli.remote import Collector
from mvtrace.digest import CONTENT_DOMAIN, digest_of
from mvtrace.registry.errors import ArtifactKeptError
from mvtrace.registry.reading import Ask
from mvtrace.registry.retention.applying import KeptError
from mvtrace.registry.retention.inputs import steps_of
from mvtrace.registry.retention.tombstones import Tombstone, latest
from mvtrace.registry.retention.values import Policy

_KEPT_BY: Final = re.compile(r" is kept \(([a-z]+)\): ")
_PIECES: Final = (
    "SELECT digest, content FROM contents "
    "WHERE project = {project:String} AND digest IN {digests:Array(String)}"
)


class CollectorKeeper:
    """A collector that keeps the registry: steps go to it, and are read from it."""

    def __init__(self, collector: Collector, ask: Ask) -> None:
        self._collector = collector
        self._ask = ask

    def states(self) -> Mapping[tuple[str, str], Tombstone]:
        """Return the last step of each place."""
        return latest(steps_of(self._ask))

    def take(self, step: Tombstone, *, policy: Policy, listing: str) -> Tombstone:
        """Have *step* stored, and return what is stored of it.

        Raises:
            KeptError: a rule keeps the artifact.
            MvtraceError: it is not stored.
        """
        said = {
            "action": step.action,
            "artifact": step.artifact,
            "uri": step.uri,
            "reason": step.reason,
            "plan": step.plan,
            "host": step.host,
            "claimed_actor": step.claimed_actor,
            "policy": policy.to_dict(),
            "listing": listing,
        }
        project = os.environ.get("MVTRACE_PROJECT")
        try:
            done = self._collector.post(
                "/api/v1/retention", said, {"project": project} if project else None
            )
        except ReportedError as error:
            if error.code == ArtifactKeptError.code:
                found = _KEPT_BY.search(error.message)
                raise KeptError(error.message, found[1] if found else "") from error
            raise
        return replace(step, action=done["action"], rule=done["rule"], reason=done["reason"])

    def listing(self, reference: Mapping[str, Any]) -> bytes | None:
        """Return the list of files that a step refers to; None where it is not stored."""
        content = reference.get("content")
        if not isinstance(content, dict):
            return None
        digests = content.get("pieces") or [content.get("digest")]
        rows = self._ask(_PIECES, {"digests": digests})
        found = {row["digest"]: row["content"] for row in rows}
        if any(one not in found for one in digests):
            return None
        whole = "".join(found[one] for one in digests).encode()
        return whole if digest_of(CONTENT_DOMAIN, whole) == content.get("digest") else None
