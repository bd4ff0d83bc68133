"""The answer to "why": what served one request, what of it is proven, missing or changed since.

In: values made by the explainer. Out: :meth:`Explanation.to_dict`, the JSON that
``schemas/explanation.schema.json`` describes; every key is always there, null where nothing is
known. How an explanation looks on a terminal is decided elsewhere.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from mvtrace.records import Basis, Value

EXPLANATION_VERSION: Final = 1

Severity = Literal["error", "warning", "info"]
ContentState = Literal["verified", "digest_only", "damaged", "absent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One statement, how it is known, and the facts behind it."""

    code: str
    severity: Severity
    basis: Basis
    text: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentView:
    """One slot of the state that served, declared against observed.

    *basis* is, in this order:

    - ``observed``: the whole version was made of what requests met, or something seen in this slot
      is not what the composite declares (drift, or a part nobody declared), or the digest was seen
      but its stored body does not hash to it;
    - ``verified``: the digest seen at request time equals the declared one, or the stored body and
      every piece of content it refers to hash again to the digests that name them (the bytes behind
      an artifact, like weights, are not stored and not read again);
    - ``declared``: the composite pins this digest, and nothing more is proven;
    - ``inferred``: as declared, but the composite itself is only inferred;
    - ``missing``: the request used this slot, and no digest is known.
    """

    kind: str
    name: str
    digest: str | None
    """The declared digest; where nothing is declared, the observed one."""
    label: str | None
    basis: Basis
    observed: str | None
    """The digest at request time, where something looked."""
    expected: str | None
    """The digest the composite declares, or the record says was declared."""
    content: ContentState
    """What is stored of it: all re-hashed, the facts without their content, damaged, nothing."""
    drift: tuple[Mapping[str, Any], ...] = ()
    served: tuple[str, ...] = ()
    """Model names that answered in this slot."""
    facts: Mapping[str, Any] | None = None
    provenance: tuple[Mapping[str, Any], ...] = ()
    """Where it comes from, as whoever pinned it has seen: source, basis, facts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompositeView:
    """The composite version that served."""

    version: str | None
    name: str | None
    basis: Basis
    """``verified``: its manifest is stored and hashes to the version; ``inferred``: taken from the
    stamps on spans; ``declared``: the record names it; ``missing``: nothing names one."""
    registered: bool
    components: tuple[ComponentView, ...]
    edges: tuple[Mapping[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeView:
    """A slot that differs between this request and what serves now."""

    kind: str
    name: str
    then: str | None
    now: str | None
    then_basis: str
    now_basis: str
    first_seen: str | None
    """When a later request first ran with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Everything known about one request."""

    request_id: str
    request: Mapping[str, Any]
    """The flat facts about the request: times, status, service, ids."""
    composite: CompositeView
    router_decisions: tuple[Mapping[str, Any], ...] = ()
    index_snapshots: tuple[Mapping[str, Any], ...] = ()
    calls: tuple[Mapping[str, Any], ...] = ()
    now: Mapping[str, Any] | None = None
    """The request that stands for what serves now; None where nothing newer is stored."""
    changes_since: tuple[ChangeView, ...] = ()
    findings: tuple[Finding, ...] = ()
    spans: tuple[Mapping[str, Any], ...] = ()
    events: tuple[Mapping[str, Any], ...] = ()
    cache_origin: Mapping[str, Any] | None = None
    deployment: Mapping[str, Any] | None = None
    """What the deployment log had serve when the request began."""
    tree: Mapping[str, Any] | None = None
    """Who called the request, up to the first, and what it called; None where it stands alone."""
    scores: tuple[Mapping[str, Any], ...] = ()
    """What was thought of the answer, the latest of each name and scorer."""

    def to_dict(self) -> dict[str, Any]:
        """Return the explanation as plain JSON values."""
        facts: dict[str, Any] = {
            "explanation_version": EXPLANATION_VERSION,
            "request_id": self.request_id,
            **self.request,
        }
        parts = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        del parts["request"]
        return {key: _json(value) for key, value in {**facts, **parts}.items()}


def plain(value: Value) -> dict[str, Any]:
    """Return a record's part with every field, None where it was not seen."""
    return {item.name: _plain(getattr(value, item.name)) for item in dataclasses.fields(value)}


def short(digest: str | None) -> str:
    """Return a digest as it is shown in sentences: algorithm and 12 hex digits."""
    if not digest:
        return "nothing"
    head, colon, hexadecimal = digest.rpartition(":")
    return f"{head}{colon}{hexadecimal[:12]}" if len(hexadecimal) > 20 else digest  # noqa: PLR2004


def _plain(value: Any) -> Any:
    if isinstance(value, Value):
        return plain(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _json(value: Any) -> Any:
    """Return a value as JSON knows it: dataclasses are objects, tuples are lists."""
    if dataclasses.is_dataclass(value):
        return {item.name: _json(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, (tuple, list)):
        return [_json(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _json(item) for key, item in value.items()}
    return value
