"""A plan from a file: what it says, and what it is told when it says nothing sensible."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from mvtrace.errors import PlanFileError
from mvtrace.quality.plan import Gates, Horizon, Metric, Plan, Policy
from mvtrace.quality.plan_file import parse_plan, read_plan

PLAN = """
name = "assistant"
unit = "user"
deadline_hours = 168

[[metrics]]
name = "success"
kind = "rate"
margin = 0.02
weight = 2

[[metrics]]
name = "error"
kind = "event"
direction = "lower"
role = "guardrail"
margin = 1.25

[gates]
mixed = 0.02

[horizon]
requests = 50000

[policy]
small_regression = "promote"
"""


def test_what_a_file_says() -> None:
    """
    A TOML file is the plan it describes, with defaults for what it leaves unsaid.
    """
    plan = parse_plan(PLAN.encode(), name="plan.toml")

    assert plan == Plan(
        name="assistant",
        unit="user",
        deadline_hours=168,
        metrics=(
            Metric(name="success", kind="rate", margin=0.02, weight=2.0),
            Metric(name="error", kind="event", direction="lower", role="guardrail", margin=1.25),
        ),
        gates=Gates(mixed=0.02),
        horizon=Horizon(requests=50_000),
        policy=Policy(small_regression="promote"),
    )


def test_canonical_bytes_are_a_plan_file(tmp_path: Path) -> None:
    """
    What a verdict says of its plan can be kept as a file and read again.
    """
    plan = parse_plan(PLAN.encode(), name="plan.toml")
    file = tmp_path / "plan.json"
    file.write_bytes(plan.to_bytes())

    assert read_plan(file) == plan


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('kind = "rate"\n', "", "metrics, 'success', kind: it is missing"),
        ("weight = 2", "wieght = 2", "metrics, 'success', wieght: no such key; 'weight' is meant"),
        ("weight = 2", 'weight = "2"', "metrics, 'success', weight: '2' is not a number"),
        ("weight = 2", "weight = true", "metrics, 'success', weight: True is not a number"),
        (
            "margin = 0.02",
            "margin = -1",
            "metrics, 'success', margin: it is -1; of kind rate it is above 0",
        ),
        ('name = "error"\n', "", "metrics, number 2, name: it is missing"),
        ('unit = "user"', "owner = 1", "owner: no such key"),
        ("requests = 50000", "requests = 0.5", "horizon.requests: 0.5 is not a whole number"),
        ("mixed = 0.02", "mixed = 7", "gates.mixed: 7 is not 0 to 1"),
        ("mixed = 0.02", "single_scorer = 1", "gates.single_scorer: 1 is not true or false"),
        (
            "deadline_hours = 168",
            "deadline_hours = 3",
            "deadline_hours: 3 is not after minimum_hours",
        ),
        ('"success"', '"error"', "metrics: 'error' is there twice"),
        ('name = "assistant"\n', "", "name: it is missing"),
        (
            'name = "assistant"\n',
            'name = "a"\nschema_version = 2\n',
            "schema_version: 2 is not known; it is 1",
        ),
    ],
)
def test_what_is_wrong_is_named(old: str, new: str, problem: str) -> None:
    """
    A file that holds no plan is refused with the place, the value, and what is right.
    """
    with pytest.raises(PlanFileError) as refused:
        parse_plan(PLAN.replace(old, new, 1).encode(), name="plan.toml")

    assert refused.value.message == f"Plan plan.toml, {problem}."


@pytest.mark.parametrize(
    ("text", "is_json", "problem"),
    [
        (b"", False, ", metrics: there are none; a plan has at least one [[metrics]]."),
        (b"[]", True, ": it is no table."),
        (b"{", True, ": it is no JSON: unexpected end of data: line 1 column 2 (char 1)."),
        (b"a =", False, ": it is no TOML: Invalid value (at end of document)."),
        (b'name = "a"\nmetrics = [1]', False, ", metrics, number 1: 1 is no table."),
        (b"#" * 262_145, False, ": it has 262145 bytes; a plan has at most 262144."),
        (b"\xff", False, ": it is no TOML: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte."),
    ],
)  # fmt: skip
def test_what_is_no_plan_at_all(text: bytes, is_json: bool, problem: str) -> None:
    """
    Anything else is refused too, in a sentence.
    """
    with pytest.raises(PlanFileError) as refused:
        parse_plan(text, name="plan", is_json=is_json)

    assert refused.value.message == f"Plan plan{problem}"


def test_file_that_is_not_there(tmp_path: Path) -> None:
    """
    A file that cannot be read says why.
    """
    with pytest.raises(PlanFileError) as refused:
        read_plan(tmp_path / "none.toml")

    assert refused.value.message.endswith(
        "none.toml: it cannot be read (No such file or directory)."
    )
    assert refused.value.exit_code == 2


def test_example_in_json() -> None:
    """
    The same plan may be said in JSON.
    """
    said = {"name": "a", "metrics": [{"name": "x", "kind": "rate", "margin": 0.1}]}

    plan = parse_plan(orjson.dumps(said), name="plan.json", is_json=True)

    assert plan == Plan(name="a", metrics=(Metric(name="x", kind="rate", margin=0.1),))
