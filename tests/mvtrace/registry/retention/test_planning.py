"""The planner: for any history, what is needed is kept; every rule, told apart."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from retention_histories import (
    ARTIFACTS,
    COMPONENTS,
    NOW,
    POLICY,
    VERSIONS,
    deployed,
    histories,
    needed,
    protected,
)

from mvtrace.registry.deployments import serving_at
from mvtrace.registry.refs import Ref
from mvtrace.registry.retention.planning import never_served, plan
from mvtrace.registry.retention.tombstones import Came, Tombstone
from mvtrace.registry.retention.uris import Where
from mvtrace.registry.retention.values import (
    DAY_NS,
    RULES,
    Known,
    Place,
    Served,
    Verdict,
    Version,
)
from mvtrace.registry.retention.wholeness import artifacts_of

OLD = NOW - 90 * DAY_NS
A, B, C = ARTIFACTS[:3]


def known(**facts: object) -> Known:
    """One old version of one component with one artifact, and what a test adds."""
    base = Known(
        places=(Place(A, "/models/a", 7, OLD),),
        mentions={COMPONENTS[0]: frozenset({A})},
        versions={VERSIONS[0]: Version(frozenset({COMPONENTS[0]}), OLD)},
    )
    return replace(base, **facts)  # type: ignore[arg-type]  # what Known has


def rules(history: Known, **policy: object) -> dict[str, str]:
    chosen = replace(POLICY, **policy)  # type: ignore[arg-type]  # what Policy has
    return {one.place.uri: one.rule for one in plan(history, chosen, NOW)}


def step(action: str, received_ms: int, artifact: str = A, uri: str = "/models/a") -> Tombstone:
    return Tombstone(
        action=action, artifact=artifact, uri=uri, size=7, came=Came(received_ms, 1, 0, "e")
    )


@given(histories())
def test_what_is_needed_is_never_collected(history: Known) -> None:
    """
    No artifact goes that serves now, ever served production, or was made into what did.
    """
    going = {one.place.artifact for one in plan(history, POLICY, NOW) if one.is_collected}

    guarded = protected(history)
    assert not going & guarded["production"]
    assert not going & guarded["parents"]
    for environment in ("prod", "staging"):
        of_place = [one for one in history.deployments if one.decision.environment == environment]
        state = serving_at(of_place, NOW)
        for serving in (state.stable, state.canary):
            if serving is not None:
                assert not going & needed(history, serving.composite)


@given(histories())
def test_nothing_kept_shares_a_place_with_what_goes(history: Known) -> None:
    """
    What goes lies neither within nor around nor where something kept lies.
    """
    verdicts = plan(history, POLICY, NOW)

    def where(one: Verdict) -> Where | None:
        try:
            return Where.parse(one.place.uri)
        except ValueError:
            return None

    for one, other in combinations(verdicts, 2):
        first, second = where(one), where(other)
        if first is None or second is None or one.is_collected == other.is_collected:
            continue
        assert first != second
        assert not first.is_below(second)
        assert not second.is_below(first)


@given(histories())
def test_only_below_the_roots_and_after_the_window(history: Known) -> None:
    """
    What goes lies below a root, and nothing that needs it was used within the window.
    """
    for one in plan(history, POLICY, NOW):
        if one.is_collected:
            assert one.place.uri.startswith(("/models/", "s3://b/"))
            assert one.place.at <= NOW - POLICY.window_ns
            for version in one.versions:
                assert history.versions[version].at <= NOW - POLICY.window_ns


@settings(max_examples=50)
@given(histories(), st.randoms(use_true_random=False))
def test_the_order_of_history_changes_nothing(history: Known, random: object) -> None:
    """
    The same facts in another order give the same plan.
    """
    mixed = {}
    for name in ("places", "made", "deployments", "served"):
        values = list(getattr(history, name))
        random.shuffle(values)  # type: ignore[attr-defined]  # random.Random
        mixed[name] = tuple(values)

    other = replace(history, **mixed)

    assert plan(other, POLICY, NOW) == plan(history, POLICY, NOW)


@given(histories(), st.sampled_from(VERSIONS), st.sampled_from(["prod", "staging"]))
def test_a_deployment_more_keeps_more(history: Known, version: str, environment: str) -> None:
    """
    A deployment to production never makes anything go that stayed before it.
    """
    number = len(history.deployments)
    one = deployed(version, environment, "deploy", NOW, number, service="another")
    later = replace(history, deployments=(*history.deployments, one))

    before = {one.place for one in plan(history, POLICY, NOW) if one.is_collected}
    after = {one.place for one in plan(later, POLICY, NOW) if one.is_collected}

    assert after <= before


def test_each_rule_is_told() -> None:
    """
    Of one artifact: what keeps it is named, the strongest first.
    """
    prod = deployed(VERSIONS[0], "prod", "deploy", OLD, 1)
    other = deployed(VERSIONS[1], "prod", "deploy", OLD + 1, 2)
    child = (Ref("composite", VERSIONS[1]), Ref("component", COMPONENTS[0]))

    assert rules(known()) == {"/models/a": "expired"}
    assert rules(known(deployments=(prod,))) == {"/models/a": "running"}
    assert rules(known(deployments=(prod, other))) == {"/models/a": "production"}
    assert rules(known(deployments=(other,), made=(child,))) == {"/models/a": "parent"}
    assert rules(known(served=(Served(VERSIONS[0], "prod", OLD),))) == {"/models/a": "production"}
    assert rules(known(served=(Served(VERSIONS[0], "staging", NOW),))) == {"/models/a": "window"}
    assert rules(known(), keep=(f"artifact:{A}",)) == {"/models/a": "held"}
    assert rules(known(), roots=()) == {"/models/a": "outside"}
    assert rules(known(), roots=("/models/a",)) == {"/models/a": "outside"}
    assert rules(known(tombstones=(step("collect", 5),))) == {"/models/a": "unfinished"}
    for uri in ("https://x/a", "models/a", "/models/../a", "file://host/a", "s3://k:p@b/../x"):
        assert rules(known(places=(Place(A, uri, 7, OLD),))) == {uri: "unfit"}
    within = (Place(A, "/models/a", 7, OLD), Place(B, "/models/a/b", 7, OLD))
    assert rules(known(places=within)) == {"/models/a": "overlap", "/models/a/b": "unknown"}
    begun = (step("collect", 5),)
    assert rules(known(tombstones=begun), window_ns=91 * DAY_NS) == {"/models/a": "window"}
    assert set(RULES) == {
        *("running", "production", "parent", "held", "window", "overlap", "outside", "unfit"),
        *("unknown", "expired", "unfinished"),
    }


def test_an_artifact_without_a_place_still_has_parents() -> None:
    """
    What serves was made from an artifact; that its own bytes lie nowhere known changes nothing.
    """
    history = known(
        mentions={COMPONENTS[1]: frozenset({C})},
        versions={VERSIONS[0]: Version(frozenset({COMPONENTS[1]}), OLD)},
        made=((Ref("artifact", C), Ref("artifact", A)),),
        deployments=(deployed(VERSIONS[0], "prod", "deploy", OLD, 1),),
    )

    assert rules(history) == {"/models/a": "parent"}


@pytest.mark.parametrize("environment", ["prod", "staging", "dev"])
@pytest.mark.parametrize("action", ["deploy", "canary", "promote", "rollback"])
def test_whatever_serves_anywhere_stays(environment: str, action: str) -> None:
    """
    A version that serves in any environment, also as a canary, keeps its artifacts.
    """
    one = deployed(VERSIONS[0], environment, action, OLD, 1)

    assert rules(known(deployments=(one,))) == {"/models/a": "running"}


def test_what_is_gone_is_passed_over_until_it_is_restored() -> None:
    """
    A place with a tombstone is in no plan; bytes put back there are, from then on.
    """
    gone = (step("collect", 5), step("collected", 6))
    back = step("restored", NOW // 10**6)

    assert rules(known(tombstones=gone)) == {}
    assert rules(known(tombstones=(*gone, step("restored", 7)))) == {"/models/a": "expired"}
    assert rules(known(tombstones=(*gone, back))) == {"/models/a": "window"}
    assert rules(known(tombstones=(*gone[:1], step("release", 6)))) == {"/models/a": "expired"}


@pytest.mark.parametrize(
    ("kept", "going"),
    [
        ("az://c/m", "abfs://c/m/x"),
        ("abfss://c@account.dfs.core.windows.net/m", "az://c/m"),
        ("wasbs://c@account.blob.core.windows.net/m/x", "abfs://c@other/m"),
        ("gcs://b/m", "gs://b/m/x"),
        ("s3a://b/m", "s3://b/m"),
    ],
)
def test_names_of_one_store_are_one(kept: str, going: str) -> None:
    """
    What is kept under one scheme or account is not collected under another.
    """
    places = (Place(A, going, 7, OLD), Place(B, kept, 7, OLD))

    found = rules(known(places=places), roots=("s3://b", "gs://b", "az://c"))

    assert found == {going: "overlap", kept: "unknown"}


def test_what_no_version_needs_is_kept() -> None:
    """
    A place alone says nothing of what its bytes are for: whoever may send could name any.
    """
    assert rules(known(versions={})) == {"/models/a": "unknown"}


def test_a_second_spelling_is_no_second_place() -> None:
    """
    Once collected as one, it is gone as the other; put back, it is there as both.
    """
    places = (Place(A, "/models/a", 7, OLD), Place(A, "file:///models/%61/", 7, OLD))
    gone = known(places=places, tombstones=(step("collected", 5),))
    back = replace(gone, tombstones=(*gone.tombstones, step("restored", 6, uri="file:///models/a")))

    assert rules(gone) == {}
    assert [one.is_gone for one in artifacts_of(gone)] == [True]
    assert len(rules(back)) == 2
    assert [one.is_gone for one in artifacts_of(back)] == [False]


def test_an_environment_that_nothing_served_is_told() -> None:
    """
    But for the default ones, which are always kept.
    """
    prod = deployed(VERSIONS[0], "live", "deploy", OLD, 1)
    policy = replace(POLICY, environments=("prod", "production", "live", "liev"))

    assert never_served(known(deployments=(prod,)), policy) == ["liev"]
