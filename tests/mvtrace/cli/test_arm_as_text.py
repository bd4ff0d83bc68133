"""How a request came to its side of a rollout, as words of an explanation."""

from __future__ import annotations

import json
from typing import Any

import pytest
from story import evidence, record

from mvtrace.cli.report import report_of
from mvtrace.explain.explainer import explain
from mvtrace.records import Assignment

DRAWN = Assignment(rollout="0123456789abcdef", unit="ab" * 16, unit_kind="user", share=0.05)
NAMED = Assignment(rollout="r", basis="named")
EVIL = Assignment(rollout="\x1b[2J", unit="\x1b[2J\x1b[2J", unit_kind="\x1b]0;", share=-1e300)


@pytest.mark.parametrize(
    ("arm", "assignment", "words"),
    [
        ("canary", DRAWN, "arm canary (drawn for user abababab, share 0.05, rollout 0123456789ab)"),
        ("blue", NAMED, "arm blue (named, rollout r)"),
        ("canary", None, "arm canary"),
        (None, None, None),
    ],
)
def test_where(arm: str | None, assignment: Assignment | None, words: str | None) -> None:
    """
    The line says which side served, for whom it was drawn and at which share; or that it was named.
    """
    told = report_of(explained(arm, assignment)).where

    assert ("arm" in told) == (words is not None)
    assert told.endswith(f", {words}") or words is None


def test_hostile_assignment() -> None:
    """
    What a record says of its assignment cannot command a terminal.
    """
    assert report_of(explained("canary", EVIL)).where.isprintable()


def explained(arm: str | None, assignment: Assignment | None) -> dict[str, Any]:
    given = evidence(record(0, arm=arm, assignment=assignment))
    found: dict[str, Any] = json.loads(json.dumps(explain(given).to_dict()))
    return found
