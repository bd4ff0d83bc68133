"""Look up composite versions with their components, content hashed again where it lies.

In: a composite version. Out: :class:`Parts`. A version found whole, every piece present, is not
looked up again for a minute: versions never change, and an explanation of the next request asks for
the same ones. What is missing is looked for every time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from mvtrace.explain.evidence import ContentCheck, StoredComposite, content_digests
from mvtrace.store import rows
from mvtrace.store.statements import Statements

KEEP_S: Final = 60.0
MAX_KEPT: Final = 256


@dataclass(frozen=True, slots=True)
class Parts:
    """What is registered of some composite versions."""

    composites: Mapping[str, StoredComposite] = field(default_factory=dict)
    components: Mapping[str, bytes] = field(default_factory=dict)
    contents: Mapping[str, ContentCheck] = field(default_factory=dict)

    def __add__(self, other: Parts) -> Parts:
        return Parts(
            {**self.composites, **other.composites},
            {**self.components, **other.components},
            {**self.contents, **other.contents},
        )

    def is_whole(self, version: str) -> bool:
        """Whether the manifest of *version* and everything it names is here."""
        composite = self.composites.get(version)
        if composite is None or composite.manifest is None:
            return False
        has_bodies = set(composite.manifest.digests.values()) <= self.components.keys()
        return has_bodies and set(content_digests(self.components)) <= self.contents.keys()


class Registry:
    """Looks versions up; safe for several threads."""

    def __init__(
        self, statements: Statements, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._run = statements.run
        self._monotonic = monotonic
        self._kept: dict[str, tuple[float, Parts]] = {}

    def parts(self, version: str | None, observed: Iterable[str] = ()) -> Parts:
        """Return what is registered of *version*, and of components *observed* beside it."""
        found = self._version(version) if version else Parts()
        others = sorted(set(observed) - found.components.keys())
        return found + self._fetched([], others) if others else found

    def _version(self, version: str) -> Parts:
        now = self._monotonic()
        kept_until, parts = self._kept.get(version, (0.0, Parts()))
        if now < kept_until:
            return parts
        parts = self._fetched([version], [])
        if parts.is_whole(version):
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            self._kept[version] = (now + KEEP_S, parts)
        return parts

    def _fetched(self, versions: list[str], digests: list[str]) -> Parts:
        found = self._run("registry", versions=versions, digests=digests)
        composites, components = rows.registry(found.rows)
        pieces = content_digests(components)
        contents = (
            rows.content_checks(self._run("contents", digests=list(pieces)).rows) if pieces else {}
        )
        return Parts(composites, components, contents)
