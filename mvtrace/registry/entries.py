"""An entry: one thing that the registry knows beside versions, named by the digest of its body.

In: a kind and what is said. Out: canonical bytes, their digest, and the event ``mvtrace.entry``
that carries them. Entries are never changed or deleted; the same thing said twice is one entry.
Laws: ``digest == digest_of(ENTRY_DOMAIN, body)``; ``read_entry(entry.body) == entry``.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from mvtrace.digest import ENTRY_DOMAIN, canonical_bytes, digest_of, parse_canonical
from mvtrace.errors import CanonicalFormError
from mvtrace.otlp import LogEvent
from mvtrace.registry.errors import RegistryError
from mvtrace.registry.refs import Ref
from mvtrace.semconv import ENTRY_DIGEST, ENTRY_KIND, EVENT_ENTRY

KINDS: Final = (
    "artifact",
    "certificate",
    "dataset",
    "derivation",
    "experiment",
    "plan",
    "results",
    "scorer",
    "suite",
    "transformation",
)
SCHEMA_VERSION: Final = 1
MAX_ENTRY_BYTES: Final = 196_608
"""An entry travels in one event, with what relays add."""
MAX_NAME: Final = 200


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a *kind*, named by the *digest* (``sha256:…``) of its *body*."""

    kind: str
    digest: str
    body: bytes = field(repr=False)
    """Canonical JSON: schema_version, kind, and what the kind has."""

    @property
    def said(self) -> dict[str, Any]:
        """A fresh copy of what the entry says."""
        said: dict[str, Any] = parse_canonical(self.body)
        return said

    @property
    def name(self) -> str:
        """What people call it; empty where it has no name."""
        return str(self.said.get("name", ""))

    @property
    def ref(self) -> Ref:
        """The ref of the entry itself."""
        return Ref(self.kind, self.digest.removeprefix("sha256:"))

    def events(self, register_content: bool = True) -> Iterator[LogEvent]:  # noqa: ARG002, FBT001, FBT002 (as versions have it; an entry has no content)
        """Yield the event that registers it, so that ``Tracing.register`` takes an entry."""
        attributes = {ENTRY_DIGEST: self.digest, ENTRY_KIND: self.kind}
        yield LogEvent(EVENT_ENTRY, time.time_ns(), self.body.decode(), attributes)


def entry_of(kind: str, said: Mapping[str, Any]) -> Entry:
    """Return the entry of *kind* that says *said*.

    Raises:
        RegistryError: the kind is none, its name is none, or what is said has no canonical form
            or is too large.
    """
    if kind not in KINDS:
        raise RegistryError(kind, f"a kind is one of {', '.join(KINDS)}.")
    name = said.get("name", "")
    if not (isinstance(name, str) and len(name) <= MAX_NAME and (name.isprintable() or not name)):
        raise RegistryError(
            kind, f"its name is one line of at most {MAX_NAME} printable characters."
        )
    try:
        body = canonical_bytes({**said, "schema_version": SCHEMA_VERSION, "kind": kind})
    except CanonicalFormError as error:
        raise RegistryError(kind, error.message, hint=error.hint) from error
    if len(body) > MAX_ENTRY_BYTES:
        raise RegistryError(
            kind,
            f"it takes {len(body):,} bytes; an entry has at most {MAX_ENTRY_BYTES:,}.",
            hint="Say the large part by its digest.",
        )
    return Entry(kind, digest_of(ENTRY_DOMAIN, body), body)


def read_entry(body: bytes | str) -> Entry:
    """Return the entry of stored bytes, all of which can be read: ``said`` raises nothing.

    Raises:
        ValueError: they are none.
    """
    raw = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body
    said = parse_canonical(raw)
    if not isinstance(said, dict) or not isinstance(said.get("kind"), str):
        raise ValueError("it is no JSON object with a kind")  # noqa: TRY004 (of the input)
    if type(said.get("schema_version")) is not int:
        raise ValueError("schema_version is missing")
    return Entry(said["kind"], digest_of(ENTRY_DOMAIN, raw), raw)


def read_entries(bodies: Iterable[bytes | str]) -> Iterator[Entry]:
    """Yield the entries of stored bytes; what is none is left out, so that it hides no other."""
    for body in bodies:
        with suppress(ValueError):
            yield read_entry(body)
