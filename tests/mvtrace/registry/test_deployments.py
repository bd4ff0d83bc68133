"""Decisions as values: what served at any instant, whatever order they are told in."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from mvtrace.registry.deployments import (
    ACTIONS,
    Decision,
    Deployment,
    Order,
    Serving,
    after,
    event_of,
    ordered,
    serving_at,
    serving_before,
)
from mvtrace.resources import schema_root

VERSIONS = [digit * 64 for digit in "abcd"]
SCHEMA = Draft202012Validator(
    json.loads((schema_root() / "events" / "deployment.schema.json").read_text("utf-8"))
)


def decided(action: str, version: str, at: int, number: int = 0, **facts: Any) -> Deployment:
    share = 0.1 if action == "canary" else 1.0
    said: dict[str, Any] = {"service": "bot", "environment": "prod", "share": share, **facts}
    decision = Decision(action=action, composite=version, at=at, **said)  # type: ignore[arg-type]
    return Deployment(event_id=f"{number:032x}", decision=decision, at=at, actor="key", seq=number)


@st.composite
def histories(draw: st.DrawFn) -> list[Deployment]:
    steps = draw(
        st.lists(
            st.tuples(st.sampled_from(ACTIONS), st.sampled_from(VERSIONS), st.integers(0, 20)),
            max_size=12,
        )
    )
    return [decided(*step, number) for number, step in enumerate(steps, 1)]


decisions = st.builds(
    lambda action, share, **facts: Decision(
        action=action, share=share if action == "canary" else 1.0, **facts
    ),
    action=st.sampled_from(ACTIONS),
    service=st.from_regex(r"[a-z]{1,20}", fullmatch=True),
    environment=st.from_regex(r"[a-z]{1,20}", fullmatch=True),
    composite=st.sampled_from(VERSIONS),
    at=st.none() | st.integers(0, (1 << 63) - 1),
    share=st.floats(0.001, 0.999),
    reason=st.text(st.characters(codec="utf-8"), max_size=40),
    evidence=st.lists(
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=9), max_size=3
    ).map(tuple),
    expect=st.none() | st.sampled_from(VERSIONS),
    claimed_actor=st.text(st.characters(codec="utf-8"), max_size=20),
)


@given(decisions)
def test_a_decision_survives_its_way(decision: Decision) -> None:
    """
    What was decided is what is read from the event's body, which the published schema describes.
    """
    event = event_of(decision, now_ns=7)

    assert Decision.from_bytes(event.body) == decision
    SCHEMA.validate(json.loads(event.body))


@given(histories(), st.randoms(use_true_random=False), st.integers(0, 20))
def test_the_state_at_an_instant_depends_on_what_was_decided_alone(
    history: list[Deployment], random: Any, at: int
) -> None:
    """
    Told in another order, and some of it twice, the same decisions give the same state.
    """
    told = [*history, *history[:3]]
    random.shuffle(told)

    assert serving_at(told, at) == serving_at(history, at)
    assert ordered(told) == ordered(history)


@given(histories(), st.integers(0, 20))
def test_later_decisions_never_change_the_past(history: list[Deployment], at: int) -> None:
    """
    The state at an instant is that of the decisions up to it, and each further one is one step.
    """
    past = [one for one in history if one.at <= at]

    assert serving_at(history, at) == serving_at(past)
    state = Serving()
    for one in ordered(history):
        assert serving_before(history, one.order) == state
        state = after(state, one)
    assert state == serving_at(history)


@given(histories())
def test_a_version_serves_because_somebody_said_so(history: list[Deployment]) -> None:
    """
    Whatever serves at the end was named by a decision, and a revert alone never makes it stable.
    """
    state = serving_at(history)
    named = {
        one.composite for one in history if one.decision.action in ("deploy", "promote", "rollback")
    }

    assert state.version is None or state.version in named
    assert state.canary is None or state.canary.decision.action == "canary"


def test_a_rollout_from_deploy_to_rollback() -> None:
    """
    A canary serves its arm until it is promoted; a rollback brings the version before it back.
    """
    a, b = VERSIONS[:2]
    story = [
        decided("deploy", a, 10, 1),
        decided("canary", b, 20, 2),
        decided("promote", b, 30, 3),
        decided("rollback", a, 40, 4),
    ]

    def arms(at: int) -> tuple[str | None, str | None]:
        state = serving_at(story, at)
        stable, canary = state.of_arm("stable"), state.of_arm("canary")
        return stable.composite if stable else None, canary.composite if canary else None

    assert [arms(at) for at in (5, 15, 25, 35, 45)] == [
        (None, None),
        (a, a),
        (a, b),
        (b, b),
        (a, a),
    ]
    assert serving_at(story, 35).previous == a
    assert serving_at(story, 45).previous == b


def test_a_revert_ends_the_canary_it_names() -> None:
    """
    The stable version stays, and reverting what is not running changes nothing.
    """
    a, b, c = VERSIONS[:3]
    story = [decided("deploy", a, 1, 1), decided("canary", b, 2, 2)]

    still = serving_at([*story, decided("revert", c, 3, 3)])
    ended = serving_at([*story, decided("revert", b, 3, 3)])

    assert (still.version, still.canary and still.canary.composite) == (a, b)
    assert (ended.version, ended.canary) == (a, None)


def test_of_two_decisions_of_one_nanosecond_the_one_received_later_holds() -> None:
    """
    A tie in time is decided by the order in which they came in.
    """
    a, b = VERSIONS[:2]
    first, second = decided("deploy", a, 5, 1), decided("deploy", b, 5, 2)

    assert serving_at([second, first], 5).version == b
    assert Order(5, 1, "f") < Order(5, 2, "0")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"action": "merge"}, "action is none of"),
        ({"composite": "abc"}, "64 hex digits"),
        ({"expect": "A" * 64}, "64 hex digits"),
        ({"service": ""}, "service is no name"),
        ({"environment": "a\nb"}, "environment is no name"),
        ({"share": 0.5}, "share is"),
        ({"action": "canary", "share": 1.0}, "share is"),
        ({"action": "canary", "share": float("nan")}, "share is"),
        ({"at": -1}, "at is no time"),
        ({"reason": "x" * 2001}, "reason is over"),
        ({"evidence": ("x",) * 33}, "evidence is"),
        ({"evidence": ("",)}, "evidence is"),
        ({"claimed_actor": "x" * 129}, "claimed_actor"),
    ],
)
def test_what_is_no_decision_says_why(change: dict[str, Any], problem: str) -> None:
    """
    A field that cannot be is named, before anything is sent.
    """
    facts = {"action": "deploy", "service": "bot", "environment": "prod", "composite": VERSIONS[0]}

    with pytest.raises(ValueError, match=problem):
        Decision(**{**facts, **change})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "body",
    ["", "[]", "{}", '{"schema_version": 1}', '{"schema_version": "1"}', "\x00", "1e999"],
)
def test_other_bodies_are_no_decisions(body: str) -> None:
    """
    Whatever somebody sends, reading it ends with a decision or a ValueError.
    """
    with pytest.raises(ValueError):
        Decision.from_bytes(body)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.floats(allow_nan=False)
        | st.text(st.characters(codec="utf-8")),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    ["schema_version", "action", "share", "at", "evidence", "composite"]
                ),
                inner,
            )
        ),
    )
)
def test_any_json_is_read_or_refused(value: Any) -> None:
    """
    No JSON makes the reader fail in another way.
    """
    try:
        Decision.from_bytes(json.dumps(value))
    except ValueError:
        return
