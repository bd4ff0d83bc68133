"""IndexSource: three methods by which an index tells its snapshot; interface only."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotFacts:
    """What identifies the content of an index at one moment."""

    native_version: str | None = None
    """The library's own version of the content, or the collection behind an alias; under the
    component's digest only where there is no fingerprint, since a rebuild has another one."""
    fingerprint: str | None = None
    """Digest over the content; None where it cannot be read."""
    size: int | None = None
    dimension: int | None = None
    metric: str | None = None
    method: str | None = None
    """How the content was identified: ``native``, ``full``, ``sampled``, ``serialized`` or
    ``counters``; whatever else the adapter says."""


@runtime_checkable
class IndexSource(Protocol):
    """What an index tells about itself; called while queries may run on other threads.

    It may also have ``is_exact`` (True: change_signal() shows every change, so nothing is hashed
    again for its age), ``identity`` (a value that another adapter over the same index shares, for
    applications that open it anew for each query) and ``size`` (told where nothing else is known).
    """

    def change_signal(self) -> Hashable:
        """Return a value that differs once the index may have changed; cheap, as of every query.

        What it cannot see is found by a new snapshot some seconds later (MAX_AGE_S).
        """
        ...

    def snapshot(self) -> SnapshotFacts:
        """Return what identifies the content; the same content gives equal facts everywhere."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """Return how it is built and searched: library, its version, settings; JSON values."""
        ...
