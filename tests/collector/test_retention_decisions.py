"""Collections and deployments that arrive as events: the one that came first is taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from attested import GOVERNOR, load
from hypothesis import given, settings
from hypothesis import strategies as st

from mvtrace.registry.deployments import Decision, event_of
from mvtrace.registry.retention.inputs import steps_of
from mvtrace.registry.retention.tombstones import Tombstone, latest
from mvtrace.registry.retention.values import Known, Place, Version
from mvtrace.store import Store
from mvtrace.store.asking import ask_of
from mvtrace_collector.decisions import Judged, Needs, Said, Sent, Stored, judge

NOW_NS = 1_800_000_000 * 10**9
A, B, C = "a" * 64, "b" * 64, "d" * 64
VERSIONS = (A, B)


def sent(number: int, name: str, body: bytes, *, project: str = "p") -> Sent:
    return Sent(
        project=project,
        received_ms=NOW_NS // 10**6 + number // 2,
        seq=number,
        name=f"mvtrace.{name}",
        time_ns=NOW_NS + number,
        body=body.decode(),
        is_text=True,
        actor="key",
        actor_label="",
        grants="govern",
    )


def deployment(number: int, version: str, action: str = "deploy", **facts: Any) -> Sent:
    decision = Decision(
        action=action,  # type: ignore[arg-type]  # one of them
        service="bot",
        environment="dev",
        composite=version,
        at=NOW_NS + number,
        share=0.1 if action == "canary" else 1.0,
    )
    return sent(number, "deployment", decision.to_bytes(), **facts)


def step(number: int, action: str, *versions: str, **facts: Any) -> Sent:
    one = Tombstone(action=action, artifact="c" * 64, uri="/m/x", size=1, versions=versions)
    return sent(number, "retention", one.to_bytes(), **facts)


def needing_nothing(project: str, version: str) -> Known:
    """Return of any version that it is registered and has no artifacts."""
    del project
    return Known(versions={version: Version(frozenset(), 0)})


def problems(*decisions: Sent) -> list[str]:
    return [one.problem for one in judge(decisions, [], [], needing_nothing)]


def test_a_version_is_not_deployed_while_what_it_needs_is_collected() -> None:
    """
    Between collect and its end a deployment of the version is refused, another is not.
    """
    why = f"{A[:12]} needs the artifact cccccccccccc, whose collection from /m/x has begun"

    told = problems(step(0, "collect", A), deployment(1, A), deployment(2, B))

    assert told == ["", f"being-collected: {why}", ""]


@pytest.mark.parametrize("end", ["collected", "release", "restored"])
def test_the_end_of_a_collection_opens_it_again(end: str) -> None:
    """
    Once it has ended, a deployment is stored: who deploys by other means is told by the command.
    """
    assert problems(step(0, "collect", A), step(2, end), deployment(4, A)) == ["", "", ""]


@pytest.mark.parametrize("action", ["deploy", "canary", "promote", "rollback"])
def test_what_serves_is_not_collected(action: str) -> None:
    """
    A collection that names a version which serves by then is refused, whatever put it there.
    """
    assert problems(deployment(0, A, action), step(1, "collect", B, A)) == [
        "",
        f"still-serves: {A[:12]}, which needs the artifact cccccccccccc, serves bot in dev",
    ]


def test_what_served_before_is_collected() -> None:
    """
    Once another version serves, nothing is against it; nor is what serves another project.
    """
    assert problems(deployment(0, A), deployment(2, B), step(4, "collect", A)) == ["", "", ""]
    assert problems(deployment(0, A), step(2, "collect", A, project="q")) == ["", ""]
    assert problems(step(0, "collect", A), deployment(2, A, project="q")) == ["", ""]


def test_a_canary_is_taken_back_while_it_is_collected() -> None:
    """
    A revert is no deployment of the version.
    """
    history = (step(0, "collect", A), deployment(2, A, "revert"))

    assert problems(*history) == ["", ""]


def test_a_step_that_is_sent_again_keeps_its_place(store: Store, tmp_path: Path) -> None:
    """
    A collect that comes once more after its end changes nothing of what became of the place.
    """
    begun, ended = (
        Tombstone(action=action, artifact="c" * 64, uri="/m/x", size=1).event(now_ns=NOW_NS + at)
        for at, action in enumerate(("collect", "collected"))
    )
    load(store, tmp_path / "a", [(begun, GOVERNOR), (ended, GOVERNOR)]).close()
    before = store.query("SELECT * FROM governance_events ORDER BY event_id").rows

    load(store, tmp_path / "b", [(begun, GOVERNOR), (begun, GOVERNOR)]).close()

    assert store.query("SELECT * FROM governance_events ORDER BY event_id").rows == before
    (last,) = latest(steps_of(ask_of(store, "default"))).values()
    assert last.action == "collected"


def test_what_is_refused_may_come_twice(store: Store, tmp_path: Path) -> None:
    """
    The same decision in one segment, refused: both are, and the segment is stored.
    """
    decision = Decision(
        action="deploy", service="bot", environment="dev", composite=A, expect=B, at=NOW_NS
    )
    event = event_of(decision, now_ns=NOW_NS)

    load(store, tmp_path, [(event, GOVERNOR), (event, GOVERNOR)]).close()

    assert store.query("SELECT DISTINCT reason FROM quarantine").rows == [("lost-race",)]


def needing(*versions: str) -> Needs:
    """Return a registry in which *versions* need the artifact, and B needs nothing."""

    def needs(project: str, version: str) -> Known:
        del project
        places = (Place("c" * 64, "/m/x", 1, 0),) if version in versions else ()
        known = {version: Version(frozenset(), 0)} if version in (*versions, B) else {}
        return Known(places=places, versions=known)

    return needs


def test_a_version_registered_after_the_collection_began_is_not_deployed() -> None:
    """
    The collection could not name it: what it needs is looked up; of one that nobody registered it
    is not known; a step that came later takes nothing back.
    """
    history = [step(0, "collect"), deployment(2, A), deployment(4, C), deployment(6, B)]

    told = [one.problem for one in judge(history, [], (), needing(A))]

    whose = "needs the artifact cccccccccccc, whose collection from /m/x has begun"
    assert told == [
        "",
        f"being-collected: {A[:12]} {whose}",
        f"being-collected: nobody registered {C[:12]}, so it is not known whether it {whose}",
        "",
    ]
    assert [one.problem for one in judge(history[1:], [], (), needing(A))] == [""] * 3


def test_a_version_that_serves_is_not_collected_though_the_collection_does_not_name_it() -> None:
    """
    Registered and deployed after the collection was decided and before it came: it is refused.
    """
    history = [deployment(0, A), step(2, "collect")]

    told = [one.problem for one in judge(history, [], (), needing(A))]

    assert told[1].startswith(f"still-serves: {A[:12]}, which needs the artifact cccccccccccc, ")


steps = st.tuples(
    st.sampled_from(["deploy", "canary", "revert", "collect", "collected", "release"]),
    st.sampled_from(VERSIONS),
)


def of(number: int, action: str, version: str) -> Sent:
    if action in ("deploy", "canary", "revert"):
        return deployment(number, version, action)
    return step(number, action, *((version,) if action == "collect" else ()))


@settings(max_examples=200)
@given(st.lists(steps, max_size=10), st.data())
def test_judgement_is_the_same_when_loaded_again(
    history: list[tuple[str, str]], data: st.DataObject
) -> None:
    """
    Whatever part of the rows was lost, all that is loaded again gets the answers it had.
    """
    came = [of(number, *one) for number, one in enumerate(history)]
    first = list(judge(came, [], [], needing_nothing))
    taken = [one for one in first if not one.problem]
    is_kept = data.draw(st.lists(st.booleans(), min_size=len(taken), max_size=len(taken)))
    kept = [one for one, holds in zip(taken, is_kept, strict=True) if holds]

    deployments = [_stored(one) for one in kept if one.name == "mvtrace.deployment"]
    said = [_said(one) for one in kept if one.name == "mvtrace.retention"]
    again = list(judge(came, deployments, said, needing_nothing))

    assert [one.problem for one in again if one.event_id not in {k.event_id for k in kept}] == [
        one.problem for one in first if one.event_id not in {k.event_id for k in kept}
    ]
    assert all(not one.problem for one in again if one.event_id in {k.event_id for k in kept})


def _stored(one: Judged) -> Stored:
    return Stored(
        one.project, one.at_ns, one.seq, one.event_id.hex(), "key", "", one.body, one.received_ms
    )


def _said(one: Judged) -> Said:
    return Said(one.project, one.at_ns, one.seq, one.event_id.hex(), one.body, one.received_ms)
