"""Canaries as the decisions tell them: one id from the first share to the end."""

from __future__ import annotations

from typing import Any

from decided import a_deployment
from hypothesis import given
from hypothesis import strategies as st

from mvtrace.registry.deployments import ACTIONS, Deployment, serving_at
from mvtrace.registry.rollouts import Phase, rollouts_of, running_of

A, B, C = ("a" * 64, "b" * 64, "c" * 64)


def canary(version: str, at: int, share: float = 0.05) -> Deployment:
    return a_deployment(version, at, "canary", share=share)


def told(*decided: Deployment, until: int | None = None) -> list[tuple[Any, ...]]:
    """The rollouts: id, versions, shares and how each ended."""
    return [
        (one.id, one.stable, one.canary, one.phases, one.ended and one.ended.decision.action)
        for one in rollouts_of(decided, until)
    ]


def identity(at: int) -> str:
    return f"{at:032x}"


def test_a_ramp_is_one_rollout() -> None:
    """
    A changed share goes on with the rollout; its id is that of the decision that began it.
    """
    decided = (a_deployment(A, 1), canary(B, 2, 0.05), canary(B, 3, 0.2), canary(B, 4, 0.1))

    phases = (Phase(2, 0.05), Phase(3, 0.2), Phase(4, 0.1))
    assert told(*decided) == [(identity(2), A, B, phases, None)]
    running = running_of(decided)
    assert running is not None
    assert (running.share, running.since) == (0.1, 2)
    assert [running.share_at(at) for at in (1, 2, 3, 9)] == [None, 0.05, 0.2, 0.1]
    assert told(*decided, until=3)[0][3] == phases[:2]


def test_each_end_is_told() -> None:
    """
    Promoted, reverted, replaced by another canary or overtaken by a deployment: it has ended.
    """
    for action, version in (("promote", B), ("revert", B), ("rollback", A), ("deploy", C)):
        decided = (a_deployment(A, 1), canary(B, 2), a_deployment(version, 3, action))
        [one] = rollouts_of(decided)
        assert one.ended is not None
        assert one.ended.decision.action == action
        assert (one.share_at(2), one.share_at(3)) == (0.05, None)
        assert running_of(decided) is None
    both = told(a_deployment(A, 1), canary(B, 2), canary(C, 3))
    assert [(one[0], one[2], one[4]) for one in both] == [
        (identity(2), B, "canary"),
        (identity(3), C, None),
    ]


def test_the_same_canary_again_is_another_rollout() -> None:
    """
    After a revert the same version draws anew: other units have it first.
    """
    again = (a_deployment(A, 1), canary(B, 2), a_deployment(B, 3, "revert"), canary(B, 4))

    assert [one[0] for one in told(*again)] == [identity(2), identity(4)]


def test_a_revert_of_another_version_ends_nothing() -> None:
    """
    Only a revert of the canary that runs is its end.
    """
    assert told(a_deployment(A, 1), canary(B, 2), a_deployment(C, 3, "revert"))[0][4] is None


def test_a_canary_before_any_deployment() -> None:
    """
    Where nobody has said what serves, the rollout has no stable version.
    """
    [one] = rollouts_of([canary(B, 1)])

    assert (one.stable, one.canary) == (None, B)


def test_as_plain_values() -> None:
    """
    A rollout as JSON tells its shares and its end.
    """
    ended = a_deployment(B, 2 * 10**9, "revert", reason="worse")
    [one] = rollouts_of([canary(B, 10**9), ended])

    assert one.to_dict() == {
        "id": identity(10**9),
        "service": "support",
        "environment": "production",
        "stable": None,
        "canary": B,
        "share": 0.05,
        "since": "1970-01-01T00:00:01.000000Z",
        "phases": [{"at": "1970-01-01T00:00:01.000000Z", "share": 0.05}],
        "ended": {
            "at": "1970-01-01T00:00:02.000000Z", "action": "revert", "by": "key", "reason": "worse",
        },
    }  # fmt: skip


STEPS = st.lists(
    st.tuples(st.sampled_from(ACTIONS), st.sampled_from([A, B, C]), st.floats(0.01, 0.9)),
    max_size=12,
)


@given(STEPS, st.randoms())
def test_what_runs_is_what_serves(steps: list[tuple[Any, str, float]], order: Any) -> None:
    """
    In any history, in any order, repeated: what runs is the canary that serves, with its share.
    """
    decided = [
        a_deployment(version, at, action, **({"share": share} if action == "canary" else {}))
        for at, (action, version, share) in enumerate(steps, 1)
    ]
    shuffled = decided * 2
    order.shuffle(shuffled)

    running, serving = running_of(shuffled), serving_at(decided)

    assert rollouts_of(shuffled) == rollouts_of(decided)
    if serving.canary is None:
        assert running is None
    else:
        assert running is not None
        assert (running.canary, running.stable) == (serving.canary.composite, serving.version)
        assert running.share == serving.canary.decision.share
