"""Generated histories of a registry, for laws of retention: versions, artifacts, what served."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from mvtrace.registry.deployments import Decision, Deployment
from mvtrace.registry.refs import Ref
from mvtrace.registry.retention.values import DAY_NS, Known, Place, Policy, Served, Version

NOW = 1_800_000_000 * 10**9
ARTIFACTS = [f"a{number:063x}" for number in range(5)]
COMPONENTS = [f"c{number:063x}" for number in range(4)]
VERSIONS = [f"{number:064x}" for number in range(1, 5)]
ENVIRONMENTS = ["prod", "staging"]
URIS = ["/models/a", "/models/a/b", "/models/a/b/c", "/models/d", "/other/e", "s3://b/k", "x:y"]
ACTIONS = ["deploy", "canary", "promote", "revert", "rollback"]
POLICY = Policy(window_ns=30 * DAY_NS, roots=("/models", "s3://b"))

times = st.integers(0, 100).map(lambda days: NOW - days * DAY_NS)
refs = st.one_of(
    st.sampled_from(ARTIFACTS).map(lambda one: Ref("artifact", one)),
    st.sampled_from(COMPONENTS).map(lambda one: Ref("component", one)),
    st.sampled_from(VERSIONS).map(lambda one: Ref("composite", one)),
)


def deployed(
    version: str, environment: str, action: str, at: int, number: int, service: str = "bot"
) -> Deployment:
    """Return a decision as it is stored."""
    decision = Decision(
        action=action,  # type: ignore[arg-type]  # one of ACTIONS
        service=service,
        environment=environment,
        composite=version,
        at=at,
        share=0.1 if action == "canary" else 1.0,
    )
    return Deployment(event_id=f"{number:032x}", decision=decision, at=at, actor="k", seq=number)


def some(things: Sequence[str], bits: int) -> frozenset[str]:
    """Return those of *things* whose bit is set."""
    return frozenset(one for number, one in enumerate(things) if bits >> number & 1)


@st.composite
def histories(draw: st.DrawFn) -> Known:
    """Return what a registry might know."""
    pinned = draw(st.lists(st.integers(0, 2**9 - 1), min_size=4, max_size=4))
    mentions = {
        one: some([*ARTIFACTS, *COMPONENTS], bits)
        for one, bits in zip(COMPONENTS, pinned, strict=True)
    }
    parts = draw(st.lists(st.tuples(st.integers(0, 15), times), min_size=4, max_size=4))
    decisions = draw(
        st.lists(
            st.tuples(
                *(st.sampled_from(many) for many in (VERSIONS, ENVIRONMENTS, ACTIONS)), times
            ),
            max_size=5,
        )
    )
    places = draw(
        st.lists(
            st.builds(Place, st.sampled_from(ARTIFACTS), st.sampled_from(URIS), st.just(7), times),
            max_size=8,
            unique_by=lambda one: (one.artifact, one.uri),
        )
    )
    return Known(
        places=tuple(places),
        mentions=mentions,
        versions={
            one: Version(some(COMPONENTS, bits), at)
            for one, (bits, at) in zip(VERSIONS, parts, strict=True)
        },
        made=tuple(draw(st.lists(st.tuples(refs, refs), max_size=3))),
        deployments=tuple(deployed(*one, number) for number, one in enumerate(decisions)),
        served=tuple(
            draw(
                st.lists(
                    st.builds(
                        Served, st.sampled_from(VERSIONS), st.sampled_from(ENVIRONMENTS), times
                    ),
                    max_size=2,
                )
            )
        ),
    )


def needed(known: Known, version: str) -> set[str]:
    """Return every digest that a version needs, the slow way."""
    found = set(known.versions[version].components)
    while True:
        more = found | {one for part in found for one in known.mentions.get(part, ())}
        if more == found:
            return found
        found = more


def protected(known: Known) -> dict[str, Any]:
    """Return the digests that serve, ever served prod, or were made into what did, each slowly."""
    ever = {one.composite for one in known.deployments if one.decision.environment == "prod"}
    ever |= {one.version for one in known.served if one.environment == "prod"}
    production = {one for version in ever for one in needed(known, version)}
    parents: set[str] = set()
    for child, parent in known.made:
        is_of = child.digest in production or child.digest in ever
        if is_of and parent.kind == "composite":
            parents |= needed(known, parent.digest)
        elif is_of and parent.kind == "component":
            parents |= {parent.digest} | closure(known, parent.digest)
        elif is_of:
            parents.add(parent.digest)
    return {"production": production, "parents": parents}


def closure(known: Known, component: str) -> set[str]:
    """Return every digest that a component mentions, itself or through others."""
    found = {component}
    while True:
        more = found | {one for part in found for one in known.mentions.get(part, ())}
        if more == found:
            return found
        found = more
