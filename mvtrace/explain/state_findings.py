"""Findings about the state that served: drift, parts nobody declared, what is proven or missing.

In: :class:`Evidence` and its :class:`CompositeView`. Out: findings, the gravest kind first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from mvtrace.digest import COMPOSITE_DOMAIN, digest_of
from mvtrace.explain.codes import counted, finding
from mvtrace.explain.evidence import Evidence, time_text
from mvtrace.explain.explanation import ComponentView, CompositeView, Finding, short
from mvtrace.registry.deployments import Deployment, serving_at
from mvtrace.semconv import IS_DECLARED_KIND

_SEEN: Final = {"index": "queried", "prompt": "rendered", "router": "decided with"}
"""How a kind of component is used, for the sentence about its drift."""
_OBSERVED: Final = {"changed": "state_changed", "volatile": "slot_volatile"}
"""What a record notes of a slot that nobody declared, and the finding it is."""


def state_findings(evidence: Evidence, composite: CompositeView) -> Iterator[Finding]:
    """Yield what is to be said about the composite version and its components."""
    for component in composite.components:
        yield from _drift(component)
    yield from _undeclared(evidence, composite)
    yield from _rest(evidence)
    yield from _served_models(evidence)
    yield from _composite(evidence, composite)
    yield from _deployed(evidence)
    yield from _contents(composite)
    yield from _fallbacks(evidence)


def _drift(component: ComponentView) -> Iterator[Finding]:
    """Yield a finding for each fact of a slot that is not what was declared."""
    slot = f"{component.kind} {component.name}"
    for drift in component.drift:
        seen, declared = drift["observed"], drift["expected"]
        if drift["what"] in _OBSERVED:
            yield _observed_change(slot, component, drift)
            continue
        verb = _SEEN.get(component.kind, "seen")
        if drift["what"] == "model_served":
            text = f"{slot}: served {seen!r} but the composite declares {declared!r}"
        elif drift["what"] == "release":
            text = f"{slot}: {seen!r} answered, where {declared!r} was the first of this version"
        elif drift["what"] == "fingerprint":
            text = f"{slot}: the provider's fingerprint is {seen!r}, declared is {declared!r}"
        else:
            text = f"{slot}: {verb} as {short(seen)} but the composite declares {short(declared)}"
        if component.kind == "index" and drift["what"] != "model_served":
            text += "; it was changed without a new version"
        yield finding("drift", text + ".", kind=component.kind, name=component.name, **drift)


def _observed_change(slot: str, component: ComponentView, drift: Mapping[str, Any]) -> Finding:
    """Return what became of a slot that nobody declared."""
    if drift["what"] == "volatile":
        text = f"{slot}: it differs from request to request, so it is in no version."
    else:
        text = (
            f"{slot}: it is {short(drift['observed'])} since this request; "
            f"until then it was {short(drift['expected'])}."
        )
    code = _OBSERVED[drift["what"]]
    return finding(code, text, kind=component.kind, name=component.name, **drift)


def _undeclared(evidence: Evidence, composite: CompositeView) -> Iterator[Finding]:
    if not composite.registered or composite.basis == "observed":
        return
    rest = _rest_of(evidence)
    for component in composite.components:
        if (component.kind, component.name) in rest:
            continue
        if component.expected is None and component.digest is not None:
            yield finding(
                "undeclared_component",
                f"{component.kind} {component.name}: used as {short(component.digest)}, "
                "but the composite declares no such component.",
                kind=component.kind,
                name=component.name,
                observed=component.observed,
            )


def _rest(evidence: Evidence) -> Iterator[Finding]:
    """Yield what kinds of part the composite leaves out, where such were met."""
    if kinds := sorted({kind.replace("_", " ") for kind, _ in _rest_of(evidence)}):
        yield finding(
            "rest_observed",
            f"The composite declares no {', '.join(kinds)}: what was met of that is observed.",
        )


def _rest_of(evidence: Evidence) -> set[tuple[str, str]]:
    """Return the slots that were met of kinds of which the composite declares nothing."""
    met = evidence.own.observed if evidence.own else ()
    return {(one.kind, one.name) for one in met if (one.facts or {}).get(IS_DECLARED_KIND) is False}


def _served_models(evidence: Evidence) -> Iterator[Finding]:
    record = evidence.own
    for call in record.calls if record else ():
        asked, served = call.model_requested, call.model_served
        if asked and served and asked != served:
            yield finding(
                "served_model_differs",
                f"{call.kind} {call.name}: asked for {asked!r}, {served!r} answered.",
                requested=asked,
                served=served,
                span_id=call.span_id,
            )


def _composite(evidence: Evidence, composite: CompositeView) -> Iterator[Finding]:
    version, stored = composite.version, evidence.composite
    if version is None:
        if evidence.record is not None and evidence.record.record is not None:
            yield finding(
                "composite_unknown",
                "The record names no composite version: what is shown is what was observed.",
            )
        return
    if composite.basis == "observed":
        yield finding(
            "composite_observed",
            f"Version {short(version)} was made of what requests met: no composite is declared.",
            version=version,
        )
    if evidence.named_version is None:
        yield _from_the_log(evidence)
    elif composite.basis == "inferred":
        yield finding(
            "composite_inferred",
            f"Version {short(version)} is known only from the stamps on "
            f"{counted(len(evidence.spans), 'span')}.",
            version=version,
        )
    if stored is None:
        yield finding(
            "composite_not_registered",
            f"Version {short(version)} is not registered: its components are not known.",
            version=version,
        )
    elif digest_of(COMPOSITE_DOMAIN, stored.body) != f"sha256:{version}" or not stored.manifest:
        yield finding(
            "composite_damaged",
            f"The stored manifest of version {short(version)} does not hash to it.",
            version=version,
        )


def _from_the_log(evidence: Evidence) -> Finding:
    deployed = evidence.deployed
    words = f" ({deployed_words(deployed)})" if deployed else ""
    return finding(
        "composite_deployed",
        "Nothing of this request names a version; what is shown is what was deployed when it "
        f"began{words}.",
        version=evidence.composite_version,
        deployment=deployed.to_dict() if deployed else None,
    )


def _deployed(evidence: Evidence) -> Iterator[Finding]:
    """Yield what was deployed when the request began, and whether it ran that."""
    deployed, version = evidence.deployed, evidence.named_version
    if deployed is None or version is None or evidence.started_at is None:
        return
    serving = serving_at(evidence.deployments, evidence.started_at)
    served = {one.composite for one in (serving.stable, serving.canary) if one is not None}
    if version in served:
        one = serving.canary if serving.canary and serving.canary.composite == version else deployed
        yield finding(
            "deployed", f"It ran what was deployed: {deployed_words(one)}.", **one.to_dict()
        )
    else:
        yield finding(
            "deployment_differs",
            f"It ran version {short(version)}, which was not deployed then "
            f"({deployed_words(deployed)}).",
            version=version,
            deployment=deployed.to_dict(),
        )


def deployed_words(one: Deployment) -> str:
    """Return a deployment in words: what, when, by whom, why."""
    what = f"{one.decision.action} of {short(one.composite)}"
    if one.decision.share < 1:
        what += f" for {one.decision.share:.3g} of the requests"
    why = f": {one.decision.reason}" if one.decision.reason else ""
    return f"{what} on {time_text(one.at)} by {one.by}{why}"


def _contents(composite: CompositeView) -> Iterator[Finding]:
    """Yield what re-hashing found, one finding for each state of content."""
    by_state: dict[str, list[ComponentView]] = {}
    for component in composite.components:
        if component.digest is not None:
            by_state.setdefault(component.content, []).append(component)
    for component in by_state.get("damaged", ()):
        yield finding(
            "component_damaged",
            f"{component.kind} {component.name}: what is stored does not hash to "
            f"{short(component.digest)}.",
            **_named([component]),
        )
    # An undeclared part was never registered; that is said already.
    absent = [one for one in by_state.get("absent", ()) if one.digest == one.expected]
    if absent and composite.registered:
        yield finding(
            "component_missing",
            f"{counted(len(absent), 'component')} known by digest only, no body is stored: "
            f"{_listed(absent)}.",
            **_named(absent),
        )
    if partly := by_state.get("digest_only"):
        yield finding(
            "content_missing",
            f"The content of {counted(len(partly), 'component')} is not stored, its digest is: "
            f"{_listed(partly)}.",
            **_named(partly),
        )
    if whole := by_state.get("verified"):
        total = sum(len(group) for group in by_state.values())
        yield finding(
            "content_verified",
            f"{len(whole)} of {counted(total, 'component')} hashed again to their digests.",
            **_named(whole),
        )


def _fallbacks(evidence: Evidence) -> Iterator[Finding]:
    record = evidence.own
    for decision in record.router_decisions if record else ():
        if decision.fallbacks:
            yield finding(
                "fallback_used",
                f"router {decision.name}: {' and '.join(decision.fallbacks)} tried before "
                f"{decision.chosen or 'nothing'} answered.",
                router=decision.name,
                fallbacks=list(decision.fallbacks),
                chosen=decision.chosen,
            )


def _listed(components: list[ComponentView]) -> str:
    return ", ".join(f"{component.kind} {component.name}" for component in components)


def _named(components: list[ComponentView]) -> Mapping[str, Any]:
    return {"components": [f"{component.kind}/{component.name}" for component in components]}
