"""Canaries from their first request to the verdict: real servers, users that stay with their side,
feedback that comes late, one user in twenty.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.story

ROOT = Path(__file__).resolve().parents[2]
CANARIES = ("worse", "hot", "equal", "broken")


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    """What became of each canary, all run once."""
    done = subprocess.run(
        [sys.executable, "-m", "examples.canary.run", "--json", *CANARIES],
        cwd=ROOT, capture_output=True, check=False, text=True, timeout=600,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), *sys.path)))},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return {one["name"]: one for one in json.loads(done.stdout)}


@pytest.mark.parametrize("name", ["worse", "hot"])
def test_worse_canary_is_reverted(told: dict[str, Any], name: str) -> None:
    """
    A smaller index, or a raised temperature, at one user in twenty: reverted for what users say of the
    answers, seconds after they had them; from then on nobody gets it.
    """
    last = told[name]["looks"][-1]

    assert (last["decision"], last["reason"], last["metrics"]) == ("revert", "harm", ["helpful"])
    assert last["sentence"].startswith("Revert: helpful is proven worse.")
    assert told[name]["late_s"] > 1
    assert told[name]["after"] == told[name]["answered"] == {"stable": 200}


def test_equal_canary_is_promoted_within_the_forecast(told: dict[str, Any]) -> None:
    """
    A canary that only words its prompt otherwise is never reverted, and promoted within what its first
    forecast says of 99 in 100 equal canaries; from then on everybody gets it.
    """
    looks = told["equal"]["looks"]
    name = "promote_if_equal_at_most"
    first, last = next(look for look in looks if look[name] is not None), looks[-1]

    assert [look["decision"] for look in looks[:-1]] == ["hold"] * (len(looks) - 1)
    assert (last["decision"], last["reason"]) == ("promote", "all_noninferior")
    # Looks are as far apart as the first is from the beginning: the first one beyond may promote.
    assert last["asked"] < first["asked"] + first[name] + looks[0]["asked"]
    assert told["equal"]["after"] == told["equal"]["answered"] == {"canary": 200}


def test_broken_split_is_held(told: dict[str, Any]) -> None:
    """
    A balancer that gives the canary one user in a hundred instead of one in twenty: held at every look
    once it shows, though the canary is as good, and nothing is carried out.
    """
    looks = told["broken"]["looks"]

    assert {look["decision"] for look in looks} == {"hold"}
    assert (looks[-1]["reason"], looks[-1]["metrics"]) == ("invalid_gate", ["sample_ratio"])
    assert looks[-1]["gates"]["sample_ratio"] == "fail"
    assert told["broken"]["after"] == {}


def test_everybody_stays_with_a_side(told: dict[str, Any]) -> None:
    """
    Of the comparisons that were not broken, the split held, and feedback was given as often.
    """
    gates = [told[name]["looks"][-1]["gates"] for name in ("worse", "hot", "equal")]

    assert {gate["sample_ratio"] for gate in gates} == {"pass"}
    assert {gate["helpful:given"] for gate in gates} == {"pass"}
