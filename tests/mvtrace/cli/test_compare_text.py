"""A comparison as a terminal shows it."""

from __future__ import annotations

from dataclasses import replace

from compared import BASELINE, CANARY, Memory
from rollups import STARTED, plan_of, rolled_up

from mvtrace.cli.compare_text import line_words, look_words
from mvtrace.comparing.looking import Asked, Look, take
from mvtrace.quality.plan import Metric

SUCCESS = Metric(name="success", kind="rate", margin=0.03)
LATENCY = Metric(name="log_latency_ms", kind="log", direction="lower", margin=1.1)
ERROR = Metric(name="error", kind="event", direction="lower", role="guardrail", margin=1.5)


def looked(*metrics: Metric, hours: int = 30, **changes: object) -> Look:
    """Return the last of three looks."""
    found = rolled_up({"success": (0.9, 0.888), "error": (0.02, 0.021)}, requests=1200, hours=hours)
    place = Memory(found)
    said = {"baseline": BASELINE, "canary": CANARY, "service": "support", **changes}
    for at in (hours // 3, hours // 2, hours):
        asked = Asked(**said, until=(STARTED + at) * 3600)  # type: ignore[arg-type]
        look = take(place, asked, plan_of(*metrics), keep=place.keep)
    return look


def test_decision_first_then_what_it_rests_on() -> None:
    """
    The sentence comes first, then sides, figures, gates, a plot of each look, the forecast.
    """
    look = looked(SUCCESS, ERROR)

    assert (
        look_words(look, width=80, plots=["success"]) == SHOWN + f"kept as {look.verdict.digest}\n"
    )


SHOWN = """\
Revert: success is proven worse. success: difference -0.02666, interval -0.04335 to -0.00998.

baseline   aaaaaaaaaaaa   32,437 requests   90.1%
canary     bbbbbbbbbbbb   3,563 requests    9.9%
of         service support
for        since 2024-10-04 00:00 UTC, 30.0 h; look 3
plan       a canary (be02548aa74f), by request

metric    baseline   canary    difference   interval               allowed   worse    no worse
success   0.9023     0.8757    -0.02666     -0.04335 to -0.00998   -0.03     proven   0%         harm
error     0.01979    0.01993   x0.9953      x0.6654 to x1.426      x1.5      0%       proven     non inferior

gates pass: sample_ratio, completeness, concurrency, mixed

success: canary less baseline, higher is better
                                     ┊                            │
2024-10-04 10:00 ◂───────────────────┼──●─────────────────────────┼─▸ -0.0266
2024-10-04 15:00       ├─────────────┼────────●───────────────────┼─▸ -0.0206
2024-10-05 06:00        ├────────────┼──●───────────────┤         │   -0.0267
                               margin -0.03                       0

its chance of error holds for large numbers of requests, however often it is looked at
"""


def test_ratios_are_factors_and_logarithms_are_not_shown() -> None:
    """
    A latency is shown in milliseconds and its difference as a factor.
    """
    look = looked(LATENCY, SUCCESS)
    result = replace(
        look.verdict.results[0], baseline=5.0, canary=5.1, difference=0.1, interval=(0.0, None)
    )
    verdict = replace(look.verdict, results=(result, look.verdict.results[1]))

    text = look_words(replace(look, verdict=verdict), plots=["none"])

    assert "log_latency_ms   148.4      164      x1.105       x1 to open" in text


def test_a_failed_gate_is_told_and_nothing_is_forecast() -> None:
    """
    Where the arms do not compare it is said why, and no time to a decision is named.
    """
    place = Memory(rolled_up({"success": (0.9, 0.9)}, requests=1000, served_share=0.2))
    asked = Asked(baseline="stable", canary="new\x1b[2J", by_arm=True, until=(STARTED + 30) * 3600)

    text = look_words(take(place, asked, plan_of(SUCCESS), keep=None))

    assert text.startswith("Hold: the arms do not compare. sample_ratio (fail): ")
    assert "\n! sample_ratio (fail): " in text
    assert "new\\x1b[2J" in text
    assert "forecast" not in text
    assert text.endswith("\nnot kept: a later look does not know of this one\n")


def test_of_arms_it_is_said_which_versions_served_them() -> None:
    """
    Beside an arm stand the versions that were behind it, with their requests where they are several.
    """
    many = {digit * 64: 9 - place for place, digit in enumerate("cdef")}
    place = Memory(
        rolled_up({"success": (0.9, 0.9)}, requests=1000),
        versions_={"stable": {BASELINE: 5}, "canary": {**many, "": 1}},
    )
    asked = Asked(baseline="stable", canary="canary", by_arm=True, until=(STARTED + 30) * 3600)
    look = take(place, asked, plan_of(SUCCESS), keep=None)

    text = look_words(look)

    stable, canary = text.splitlines()[2:4]
    assert stable.startswith("baseline   stable   2")
    assert stable.endswith("%   by aaaaaaaaaaaa")
    assert canary.endswith("   by cccccccccccc (9), dddddddddddd (8), eeeeeeeeeeee (7), 2 more")


def test_a_decision_names_its_guarantee_and_has_its_colour() -> None:
    """
    A decision says what its chance of error holds for; in a terminal its sentence has a colour.
    """
    place = Memory(rolled_up({"success": (0.9, 0.6)}, requests=1000))
    asked = Asked(baseline=BASELINE, canary=CANARY, until=(STARTED + 30) * 3600)
    look = take(place, asked, plan_of(SUCCESS), keep=None)

    text = look_words(look, coloured=True)

    assert text.startswith("\x1b[1m\x1b[31mRevert: success is proven worse.")
    assert "its chance of error holds for large numbers of requests, however often" in text
    assert line_words(look).startswith("2024-10-05 06:00 UTC   27,")
    assert line_words(look).endswith(f"   {look.verdict.sentence}\n")
