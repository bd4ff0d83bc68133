"""Looks at a comparison, one after another: what each says, keeps, and knows of those before."""

from __future__ import annotations

import time
from dataclasses import replace

import orjson
import pytest
from compared import BASELINE, CANARY, Memory
from rollups import STARTED, plan_of, rolled_up

from mvtrace.comparing.errors import (
    ClockBehindError,
    NothingServedError,
    OneVersionError,
    UnreadableLookError,
)
from mvtrace.comparing.events import _BESIDE, read_body, recomputed
from mvtrace.comparing.looking import Asked, Look, take
from mvtrace.digest import canonical_bytes, digest_of
from mvtrace.errors import UsageError
from mvtrace.otlp import LogEvent
from mvtrace.quality.cells import RollUp
from mvtrace.quality.plan import Horizon, Metric, Plan
from mvtrace.quality.verdict import VERDICT_DOMAIN

HOUR = 3600
SUCCESS = Metric(name="success", kind="rate", margin=0.03)
PLAN = plan_of(SUCCESS)


def asked(hours: float | None = 30, **changes: object) -> Asked:
    """Return the usual question, after so many hours."""
    until = None if hours is None else round((STARTED + hours) * HOUR)
    said = {"baseline": BASELINE, "canary": CANARY, "until": until, **changes}
    return Asked(**said)  # type: ignore[arg-type]


def source(success: float = 0.9, **options: object) -> Memory:
    """Return what a service with a canary of this success has served."""
    return Memory(rolled_up({"success": (0.9, success)}, requests=4000, **options))  # type: ignore[arg-type]


def looks(place: Memory, *hours: float, plan: Plan | None = PLAN) -> list[Look]:
    """Look at *place* after each of *hours*, and keep every look."""
    return [take(place, asked(hour), plan, keep=place.keep) for hour in hours]


def test_a_look_is_kept_with_all_it_was_made_of() -> None:
    """
    What is kept of a look makes the same verdict again, byte for byte.
    """
    place = source()

    (look,) = looks(place, 30)

    (body,) = place.bodies
    stored = read_body(place.kept[-1].body)
    assert (look.verdict.decision, look.is_kept) == ("promote", True)
    assert stored.to_bytes() == look.verdict.to_bytes()
    assert recomputed(stored, []).to_bytes() == look.verdict.to_bytes()
    assert {key: body[key] for key in ("baseline", "candidate", "by", "before", "digest")} == {
        "baseline": BASELINE,
        "candidate": CANARY,
        "by": "version",
        "before": [],
        "digest": look.verdict.digest,
    }
    assert look.to_dict() == {**stored.to_dict(), **body}


def test_its_plan_is_registered_with_it() -> None:
    """
    With a look its plan is registered, so that the plan can be read whoever wrote it.
    """
    place = source()

    looks(place, 30)

    entry = place.kept[0]
    said = orjson.loads(entry.body)
    assert [one.name for one in place.kept] == ["mvtrace.entry", "mvtrace.verdict"]
    assert said == {"kind": "plan", **orjson.loads(PLAN.to_bytes())}


def test_looks_go_on_from_one_another() -> None:
    """
    Each look knows the ones before it, and what one saw no later one forgets.
    """
    good = rolled_up({"success": (0.9, 0.99)}, requests=8000, hours=90)
    bad = rolled_up({"success": (0.9, 0.7)}, requests=400, hours=6)
    place = Memory(bad)
    (first,) = looks(place, 6)
    place.roll_up = good

    (second,) = looks(place, 90)

    assert [one.verdict.decision for one in (first, second)] == ["revert", "revert"]
    assert second.last == (first.verdict,)
    assert second.before == (first.verdict,)
    assert second.verdict.past.looks == 2
    assert recomputed(second.verdict, second.last) == second.verdict


def test_two_looks_at_the_same_time_are_both_gone_on_from() -> None:
    """
    Of two looks that knew nothing of one another the next remembers both.
    """
    place = source()
    looks(place, 5)
    alone = place.kept[:]
    looks(place, 10)
    place.kept, seen = alone, place.kept
    looks(place, 11)
    place.kept += seen[2:]

    (third,) = looks(place, 30)

    assert len(third.last) == 2
    assert third.verdict.past.looks == 4
    assert recomputed(third.verdict, third.last) == third.verdict


def test_another_plan_is_another_comparison() -> None:
    """
    Who changes the plan after a look begins anew, and is told what that means.
    """
    place = source()
    looks(place, 10)

    (look,) = looks(place, 30, plan=replace(PLAN, minimum_hours=12))

    assert look.last == ()
    assert look.notes == (
        "by 1 other plan the same was looked at: each of them has its own chance of error",
    )


def test_without_a_plan_the_first_look_makes_one_and_it_stands() -> None:
    """
    The plan that the first look makes is that of all looks after it, whatever else comes.
    """
    place = source()
    place.roll_up = replace(
        place.roll_up, scorers={"success": frozenset({"undeclared:user/success"})}
    )
    (first,) = looks(place, 10, plan=None)
    more = rolled_up({"success": (0.9, 0.9), "error": (0.02, 0.02)}, requests=4000)
    place.roll_up = more

    (second,) = looks(place, 30, plan=None)

    assert [one.name for one in first.verdict.plan.metrics] == ["success"]
    assert second.verdict.plan == first.verdict.plan
    assert second.last == (first.verdict,)


def test_what_is_not_kept_is_no_last_look() -> None:
    """
    The one last look of a declared horizon is taken by a look that is kept, and by no other.
    """
    place = source()
    plan = plan_of(SUCCESS, horizon=Horizon(requests=1000))

    peeked = [take(place, asked(30), plan, keep=None) for _ in range(2)]
    kept = take(place, asked(30), plan, keep=place.keep)

    assert [one.verdict.past.final_at for one in peeked] == [None, None]
    assert [one.is_kept for one in peeked] == [False, False]
    assert kept.verdict.past.final_at == kept.verdict.sufficient.arms.until
    assert len(place.bodies) == 1


def test_a_canary_that_has_not_served_yet_holds() -> None:
    """
    Before the canary's first request there is a verdict already: hold.
    """
    whole = rolled_up({"success": (0.9, 0.9)})
    stable = {key: cell for key, cell in whole.cells.items() if key.arm == "stable"}
    place = Memory(replace(whole, cells=stable))

    (look,) = looks(place, 30)

    assert (look.verdict.decision, look.verdict.exit_code) == ("hold", 10)
    assert look.verdict.sufficient.arms.hours == 0


def test_nothing_served_is_no_verdict() -> None:
    """
    Two versions that never served here are refused, and no verdict is kept.
    """
    place = Memory(RollUp())

    with pytest.raises(NothingServedError) as refused:
        looks(place, 30)

    assert refused.value.message == (
        "Neither the version aaaaaaaaaaaa nor bbbbbbbbbbbb has answered a request that counts here."
    )
    assert refused.value.exit_code == 1
    assert place.kept == []


def test_a_version_is_not_compared_with_itself() -> None:
    """
    One version under two names is refused.
    """
    with pytest.raises(OneVersionError) as refused:
        take(source(), asked(canary=BASELINE), PLAN, keep=None)

    assert refused.value.message == (
        "Both are aaaaaaaaaaaa; a version is not compared with itself."
    )


def test_a_stored_look_that_was_touched_is_passed_over() -> None:
    """
    A stored verdict whose bytes are not what its digest says is no look: the one before it is gone
    on from, by its plan, and that is told.
    """
    place = source()
    first, _ = looks(place, 10, 11)
    place.kept[-1] = replace_body(place.kept[-1], '"decision":"hold"', '"decision":"revert"')
    body = orjson.loads(place.kept[-1].body)
    place.kept.append(place.kept[-1]._replace(body=dumped({**body, "plan_digest": "sha256:0"})))

    (look,) = looks(place, 30, plan=None)

    assert look.last == (first.verdict,)
    assert look.verdict.past.looks == 2
    assert look.notes == ("2 of the looks before cannot be read and were passed over",)


@pytest.mark.parametrize("changes", [{"schema_version": 2}, {"results": [{"name": "x"}]}])
def test_a_look_of_another_form_is_not_forgotten(changes: dict[str, object]) -> None:
    """
    What another version of mvtrace kept is a look all the same: harm that it saw must not be
    forgotten, so nothing is decided.
    """
    place = source()
    looks(place, 10)
    body = orjson.loads(place.kept[-1].body) | changes
    own = {key: value for key, value in body.items() if key not in _BESIDE}
    body["digest"] = digest_of(VERDICT_DOMAIN, canonical_bytes(own))
    place.kept[-1] = place.kept[-1]._replace(body=dumped(body))

    with pytest.raises(UnreadableLookError) as refused:
        looks(place, 30)

    assert refused.value.message == (
        "The look before, of 2024-10-04 10:00 UTC, was kept by another version of mvtrace in a form "
        f"that this one does not know (event {'0' * 32}); nothing was decided."
    )
    assert refused.value.exit_code == 1
    assert len(place.bodies) == 1


def dumped(body: object) -> str:
    """Return *body* as the text of an event."""
    return canonical_bytes(body).decode()


def replace_body(event: LogEvent, old: str, new: str) -> LogEvent:
    """Return *event* with another text in its body."""
    assert old in event.body
    return event._replace(body=event.body.replace(old, new))


def test_too_many_metrics_are_refused_before_anything_is_kept() -> None:
    """
    A verdict that no event could carry is refused with what to do.
    """
    place = source()
    many = plan_of(*(replace(SUCCESS, name=f"success {number}") for number in range(250)))
    place.roll_up = rolled_up({one.name: (0.9, 0.9) for one in many.metrics}, hours=1, requests=60)

    with pytest.raises(UsageError) as refused:
        looks(place, 30, plan=many)

    assert refused.value.code == "verdict-size"
    assert refused.value.hint == (
        "Name fewer metrics in the plan; each of them takes about 1,400 bytes."
    )
    assert place.kept == []


def test_another_window_is_another_comparison() -> None:
    """
    Who looks at a later window only goes on from looks at the same window.
    """
    place = source()
    looks(place, 20)
    since = (STARTED + 10) * HOUR

    later = [take(place, asked(hours, since=since), PLAN, keep=place.keep) for hours in (25, 30)]

    assert [len(one.last) for one in later] == [0, 1]
    assert later[1].verdict.sufficient.arms.started_at == since
    assert later[1].to_dict()["since"] == since


def test_a_slow_clock_forgets_no_look() -> None:
    """
    Who asks by a clock that is a little behind goes on from the newest look, at its time; a clock that
    is far behind is refused.
    """
    place = source(0.7)
    behind = round(time.time()) + 120
    newest = replace(asked(), until=behind)
    first = take(place, newest, PLAN, keep=place.keep)
    place.roll_up = source().roll_up

    live = take(place, asked(None), PLAN, keep=place.keep)
    place.roll_up = source(0.7).roll_up
    ahead = replace(newest, until=behind + 3600)
    take(place, ahead, PLAN, keep=place.keep)

    assert live.last == (first.verdict,)
    assert (live.verdict.decision, live.verdict.sufficient.arms.until) == ("revert", behind)
    with pytest.raises(ClockBehindError) as refused:
        take(place, asked(None), PLAN, keep=place.keep)
    assert refused.value.exit_code == 3
    assert "is behind that of the look before" in refused.value.message
    assert len(place.bodies) == 3


def test_a_request_by_hand_does_not_begin_a_comparison() -> None:
    """
    A comparison begins in the first hour in which both arms were served under a planned share.
    """
    place = source()
    place.roll_up = replace(
        place.roll_up,
        shares={
            one: share for one, share in place.roll_up.shares.items() if one.hour > STARTED + 3
        },
    )

    first, second = looks(place, 2, 30)

    begun = [one.verdict.sufficient.arms.started_at for one in (first, second)]
    assert begun == [(STARTED + 2) * HOUR, (STARTED + 4) * HOUR]
