"""The composite version that served, slot by slot: declared against observed, proven or not.

In: :class:`Evidence`. Out: :class:`CompositeView`. Bodies are hashed again here; content was hashed
again where it lies, and is compared here. The meaning of each basis is told at `ComponentView`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mvtrace.digest import COMPONENT_DOMAIN, COMPOSITE_DOMAIN, digest_of
from mvtrace.explain.evidence import ContentReference, Evidence, content_references
from mvtrace.explain.explanation import ComponentView, CompositeView, ContentState
from mvtrace.explain.provenance import notes_in
from mvtrace.explain.states import Slot, body_kind, observations, plain_facts
from mvtrace.records import Basis, RequestRecord


def composite_view(evidence: Evidence) -> CompositeView:
    """Return the composite version of the request, with every component known to it."""
    record = evidence.own
    stored = evidence.composite
    manifest = stored.manifest if stored else None
    return CompositeView(
        version=evidence.composite_version,
        name=(record.composite_name if record else None) or (stored.name if stored else None),
        basis=_composite_basis(evidence),
        registered=stored is not None,
        components=tuple(_component(evidence, slot) for slot in _slots(evidence)),
        edges=tuple(
            {"from": edge.origin, "to": edge.target, "role": edge.role}
            for edge in (manifest.edges if manifest else ())
        ),
    )


def content_state(evidence: Evidence, kind: str, digest: str) -> ContentState:
    """Return what is stored of the component *digest*, and whether it hashes to its names."""
    body = evidence.components.get(digest)
    if body is None:
        return "absent"
    if digest_of(COMPONENT_DOMAIN, body) != digest or body_kind(body) != kind:
        return "damaged"
    states = {_reference_state(evidence, reference) for reference in content_references(body)}
    return next((state for state in ("damaged", "digest_only") if state in states), "verified")


def _reference_state(evidence: Evidence, reference: ContentReference) -> ContentState:
    checks = {piece: evidence.contents.get(piece) for piece in reference.pieces}
    if any(check and check.recomputed != piece for piece, check in checks.items()):
        return "damaged"
    sizes = [check.size for piece in reference.pieces if (check := checks[piece])]
    if len(sizes) < len(reference.pieces):
        return "digest_only"
    return "verified" if sum(sizes) == reference.size else "damaged"


def _composite_basis(evidence: Evidence) -> Basis:
    version, stored = evidence.composite_version, evidence.composite
    if version is None:
        return "missing"
    if evidence.own is None or evidence.named_version is None:
        return "inferred"
    if evidence.own.composite_basis == "observed":
        return "observed"  # nobody declared it: that its manifest recomputes proves no intention
    if stored and digest_of(COMPOSITE_DOMAIN, stored.body) == f"sha256:{version}":
        return "verified"
    return "declared"


def _slots(evidence: Evidence) -> list[Slot]:
    """Return the slots in the order of the manifest, then those only the request names."""
    state = evidence.state_then
    record = evidence.own
    used: list[Slot] = []
    for call in record.calls if record else ():
        kind, slash, name = (call.component or "").partition("/")
        if slash:
            used.append((kind, name))
    drifting = [(drift.kind, drift.name) for drift in record.drift] if record else []
    return list(dict.fromkeys([*(state.declared or ()), *state.observed, *used, *drifting]))


def _component(evidence: Evidence, slot: Slot) -> ComponentView:
    kind, name = slot
    record = evidence.own
    state = evidence.state_then
    declared = (state.declared or {}).get(slot)
    observed = state.observed.get(slot)
    expected = declared or _expected(record, slot)
    digest = declared or observed
    drift = _drift(record, slot, expected=expected, observed=observed)
    content: ContentState = content_state(evidence, kind, digest) if digest else "absent"
    body = evidence.components.get(digest) if digest else None
    labels = evidence.composite.labels if evidence.composite else {}
    return ComponentView(
        kind=kind,
        name=name,
        digest=digest,
        label=labels.get(f"{kind}/{name}"),
        basis=_basis(
            evidence,
            digest=digest,
            expected=expected,
            observed=observed,
            content=content,
            drifting=bool(drift),
        ),
        observed=observed,
        expected=expected,
        content=content,
        drift=drift,
        served=_served(record, slot),
        facts=plain_facts(body) if body else None,
        provenance=_provenance(evidence, slot, digest),
    )


def _provenance(
    evidence: Evidence, slot: Slot, digest: str | None
) -> tuple[Mapping[str, Any], ...]:
    """Return where the declared part comes from: nothing of what was met in its place."""
    stored = evidence.composite
    declared = (evidence.state_then.declared or {}).get(slot)
    if stored is None or declared is None or digest != declared:
        return ()
    return notes_in(stored.provenance).get("/".join(slot), ())


def _basis(
    evidence: Evidence,
    *,
    digest: str | None,
    expected: str | None,
    observed: str | None,
    content: ContentState,
    drifting: bool,
) -> Basis:
    if digest is None and not drifting:
        return "missing"
    if drifting or (observed and observed != expected):
        return "observed"
    if _composite_basis(evidence) == "observed" and content != "damaged":
        return "observed"
    if content == "damaged":
        return "observed" if observed else "declared"
    if observed or (content == "verified" and _composite_basis(evidence) == "verified"):
        return "verified"
    return "inferred" if _composite_basis(evidence) == "inferred" else "declared"


def _expected(record: RequestRecord | None, slot: Slot) -> str | None:
    """Return what the record itself says was declared, for a manifest that is not stored."""
    if record is None:
        return None
    seen = [one.expected for one in observations(record, {}) if one.slot == slot and one.expected]
    return seen[-1] if seen else None


def _drift(
    record: RequestRecord | None, slot: Slot, *, expected: str | None, observed: str | None
) -> tuple[Mapping[str, Any], ...]:
    """Return how the slot differs from its declaration: by digest, and as capture noted it."""
    noted = [
        {"what": drift.what, "expected": drift.expected, "observed": drift.observed}
        for drift in (record.drift if record else ())
        if (drift.kind, drift.name) == slot
    ]
    known = {(note["expected"], note["observed"]) for note in noted}
    if expected and observed and expected != observed and (expected, observed) not in known:
        noted.insert(0, {"what": "digest", "expected": expected, "observed": observed})
    return tuple({str(note): note for note in noted}.values())


def _served(record: RequestRecord | None, slot: Slot) -> tuple[str, ...]:
    name = "/".join(slot)
    return tuple(
        dict.fromkeys(
            call.model_served
            for call in (record.calls if record else ())
            if call.component == name and call.model_served
        )
    )
