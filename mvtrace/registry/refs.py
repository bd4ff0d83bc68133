"""A ref: the name of anything the registry knows, ``<kind>:<64 hex digits>`` or ``request:<id>``.

The digits are the identity of the thing itself: of a composite its version, of a component and an
artifact its digest, of a dataset the root over its rows, of every other entry the entry's digest.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple, Self

from mvtrace.ids import UUID7_PATTERN

KINDS: Final = (
    "artifact",
    "certificate",
    "component",
    "composite",
    "dataset",
    "derivation",
    "experiment",
    "request",
    "results",
    "scorer",
    "suite",
    "transformation",
)
REQUEST: Final = "request"
_DIGITS: Final = re.compile(r"[0-9a-f]{64}")


class Ref(NamedTuple):
    """A *kind* and the *digest* (64 hex digits; of a request its id)."""

    kind: str
    digest: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.digest}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the ref that *text* is; ``sha256:`` before the digits is passed over.

        Raises:
            ValueError: it is none.
        """
        kind, _, rest = text.strip().partition(":")
        digest = rest.lower().removeprefix("sha256:")
        if kind not in KINDS:
            raise ValueError(f"{text[:80]!r} is no ref: a kind is one of {', '.join(KINDS)}")
        pattern = UUID7_PATTERN if kind == REQUEST else _DIGITS
        if not pattern.fullmatch(digest):
            what = "a request id" if kind == REQUEST else "64 hex digits"
            raise ValueError(f"{text[:80]!r} is no ref: behind {kind}: stand {what}")
        return cls(kind, digest)

    @classmethod
    def of(cls, kind: str, digest: str) -> Self:
        """Return the ref of *digest*, with or without ``sha256:``; raises ValueError."""
        return cls.parse(f"{kind}:{digest}")
