"""What is deployed, in explanations: the version a request does not name, and what serves now."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import jsonschema
from decided import a_deployment
from story import SECOND, SYSTEM, bodies, composite, evidence, record

from mvtrace.explain.evidence import Evidence, StoredScore
from mvtrace.explain.explainer import explain
from mvtrace.records import RequestRecord
from mvtrace.registry.deployments import Deployment
from mvtrace.resources import schema_root

EXPLANATION = jsonschema.Draft202012Validator(
    json.loads((schema_root() / "explanation.schema.json").read_text("utf-8"))
)
REQUEST = record()
BEFORE, AFTER = REQUEST.started_at - 10**9, REQUEST.started_at + 10**9
FIRST, LATER = SYSTEM.version, SECOND.version


def given(
    *decided: Deployment, one: RequestRecord = REQUEST, recent: tuple[RequestRecord, ...] = ()
) -> Evidence:
    versions = {FIRST: composite(SYSTEM), LATER: composite(SECOND)}
    return replace(
        evidence(one),
        deployments=decided,
        composites=versions,
        components={**bodies(), **bodies(SECOND.parts)},
        recent=recent,
    )


def explained(found: Evidence) -> dict[str, Any]:
    told = explain(found).to_dict()
    EXPLANATION.validate(told)
    return told


def test_without_a_version_of_its_own_the_deployed_one_is_inferred() -> None:
    """
    The state is that of the version deployed then, each component inferred, and never of a later.
    """
    nameless = record(composite_version=None, index_snapshots=(), router_decisions=(), calls=())

    told = explained(given(a_deployment(FIRST, BEFORE), a_deployment(LATER, AFTER), one=nameless))

    assert (told["composite"]["version"], told["composite"]["basis"]) == (FIRST, "inferred")
    assert {one["basis"] for one in told["composite"]["components"]} == {"inferred"}
    assert told["deployment"]["composite_version"] == FIRST


def test_before_the_first_deployment_nothing_is_inferred() -> None:
    """
    What was deployed later says nothing of a request that began before.
    """
    told = explained(given(a_deployment(LATER, AFTER), one=record(composite_version=None)))

    assert (told["composite"]["version"], told["composite"]["basis"]) == (None, "missing")
    assert told["deployment"] is None


def test_an_arm_gets_the_version_of_its_arm() -> None:
    """
    A request of the canary is of the canary's version, all others are of the stable one.
    """
    decided = (
        a_deployment(FIRST, BEFORE),
        a_deployment(LATER, BEFORE + 1, "canary", share=0.1),
    )

    versions = {
        arm: explained(given(*decided, one=record(composite_version=None, arm=arm)))["composite"][
            "version"
        ]
        for arm in (None, "stable", "canary")
    }

    assert versions == {None: FIRST, "stable": FIRST, "canary": LATER}


def test_what_serves_now_is_what_is_deployed() -> None:
    """
    Also where newer requests of other versions came in; their state is not the one compared with.
    """
    stray = record(5, composite_version=FIRST)
    told = explained(given(a_deployment(LATER, AFTER), recent=(stray,)))

    assert told["now"]["composite_version"] == LATER
    assert told["now"]["request_id"] is None
    assert told["now"]["composite_name"] == SECOND.name
    assert [(one["kind"], one["name"]) for one in told["changes_since"]] == [("prompt", "answer")]


def test_a_request_of_the_deployed_version_shows_its_state() -> None:
    """
    Where one is stored, now is that request, with what it observed.
    """
    newer = record(7, composite_version=LATER)
    told = explained(given(a_deployment(LATER, AFTER), recent=(record(9), newer)))

    assert told["now"]["request_id"] == newer.request_id
    assert told["now"]["deployment"]["composite_version"] == LATER


def test_scores_are_told_with_their_delay() -> None:
    """
    Each is shown with what scored it, and whether that is declared.
    """
    facts: dict[str, Any] = {"source": "judge", "value": 0.5, "label": None}
    scores = (
        StoredScore(name="a", scorer="sha256:00", scored_at=AFTER, **facts),
        StoredScore(name="b", scorer="undeclared:judge/b", scored_at=BEFORE, **facts),
    )

    told = explained(replace(evidence(), scores=scores))["scores"]

    assert [(one["name"], one["is_declared"], one["delay_ms"]) for one in told] == [
        ("a", True, 1000),
        ("b", False, -1000),
    ]
