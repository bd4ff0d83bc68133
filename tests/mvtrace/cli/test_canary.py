"""A canary in words: what runs, what each side has served, what the last look came to."""

from __future__ import annotations

from typing import Any

from decided import a_deployment

from mvtrace.cli.canary import canary_words
from mvtrace.registry.rollouts import rollouts_of

OLD, NEW = "a" * 64, "b" * 64
SECOND = 10**9
EVIL = "\x1b[2J\r\n=1+1"
RAMP = tuple(
    a_deployment(NEW, at * SECOND, "canary", share=share)
    for at, share in enumerate((0.01, 0.05, 0.1, 0.2, 0.25, 0.3), 2)
)
ARMS = [
    {"arm": "stable", "requests": 11_432, "units": 4_021, "share": 0.7},
    {"arm": "canary", "requests": 4_900, "units": 1_723, "share": 0.3},
    {"arm": "blue", "requests": 1, "units": 0, "share": None},
]


def told(*decided: Any, **more: Any) -> str:
    [one] = rollouts_of([a_deployment(OLD, SECOND), *decided])
    return canary_words({**one.to_dict(), "arms": [], "verdict": None, **more})


def test_a_canary_that_has_just_begun() -> None:
    """
    Nothing is claimed of what has not been served or looked at.
    """
    assert told(RAMP[0]) == (
        "support in production: canary bbbbbbbbbbbb beside aaaaaaaaaaaa, "
        "rollout 00000000000000000000000077359400\n"
        "  share 0.01 since 1970-01-01 00:00:02 UTC\n"
        "  no request yet\n"
        "  no verdict yet: mvtrace compare looks\n"
    )


def test_a_ramp_with_both_sides_and_a_verdict() -> None:
    """
    The share in force comes first, the planned share stands beside the one that was met.
    """
    verdict = {
        "decision": "hold", "reason": "undecided", "sentence": "Not known yet.", "digest": "d",
        "at": "1970-01-01T00:01:00.000000Z", "by": "key",
    }  # fmt: skip

    assert told(*RAMP, arms=ARMS, verdict=verdict).split("\n", 1)[1] == (
        "  share 0.3 since 1970-01-01 00:00:07 UTC, before that 0.25 since 1970-01-01 00:00:06 UTC,"
        " 0.2 since 1970-01-01 00:00:05 UTC, 0.1 since 1970-01-01 00:00:04 UTC, 2 shares earlier\n"
        "  arm      version        requests   units   share of units   planned\n"
        "  stable   aaaaaaaaaaaa   11,432     4,021   70.000%          70.000%\n"
        "  canary   bbbbbbbbbbbb   4,900      1,723   30.000%          30.000%\n"
        "  blue                    1          0\n"
        "  hold (undecided), 1970-01-01 00:01:00 UTC: Not known yet.\n"
    )


def test_an_end_is_told_with_its_reason() -> None:
    """
    Who ended it, when, how and why.
    """
    end = a_deployment(NEW, 9 * SECOND, "revert", reason="worse")

    assert "  ended 1970-01-01 00:00:09 UTC by revert, key: worse\n" in told(RAMP[0], end)


def test_hostile_words() -> None:
    """
    Arms, reasons and verdicts that others chose command no terminal.
    """
    verdict = dict.fromkeys(("decision", "reason", "sentence", "digest", "by"), EVIL)
    arms = [{"arm": EVIL, "requests": 1, "units": 1, "share": 1.0}]
    end = a_deployment(NEW, 9 * SECOND, "revert", reason=EVIL)

    text = told(RAMP[0], end, arms=arms, verdict={**verdict, "at": EVIL})

    assert all(line.isprintable() for line in text.split("\n"))
