"""Steps of a collection as values: their bytes, their schema, the state of a place."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from mvtrace.registry.retention.tombstones import ACTIONS, Came, Tombstone, latest
from mvtrace.resources import schema_root

SCHEMA = Draft202012Validator(
    json.loads((schema_root() / "events" / "retention.schema.json").read_text("utf-8"))
)
HEX = st.sampled_from(["a" * 64, "0123456789abcdef" * 4])
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
STEPS = st.builds(
    Tombstone,
    action=st.sampled_from(ACTIONS),
    artifact=HEX,
    uri=TEXTS.filter(bool),
    size=st.integers(0, 2**53 - 1),
    reason=TEXTS,
    rule=TEXTS,
    plan=TEXTS,
    host=TEXTS,
    claimed_actor=TEXTS,
    versions=st.lists(HEX, max_size=2).map(tuple),
    listing=st.none() | st.just({"content": {"digest": "sha256:1", "bytes": 1}}),
)
SAID: dict[str, Any] = {
    "schema_version": 1,
    "action": "collect",
    "artifact": "a" * 64,
    "uri": "/x",
    "bytes": 1,
}


@given(STEPS)
def test_a_step_survives_its_way(one: Tombstone) -> None:
    """
    Its bytes give it back, and are what the schema says.
    """
    assert Tombstone.from_bytes(one.to_bytes()) == one
    SCHEMA.validate(json.loads(one.to_bytes()))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"schema_version": "1"}, "schema_version is missing"),
        ({"action": "delete"}, "action is none of collect, collected, release, restored"),
        ({"artifact": "a"}, "an artifact has 64 hex digits"),
        ({"uri": ""}, "uri is none"),
        ({"bytes": -1}, "bytes is no number of bytes"),
        ({"bytes": True}, "bytes is no number of bytes"),
        ({"versions": ["a"]}, "a version has 64 hex digits"),
        ({"versions": "a"}, "versions is no list of texts"),
        ({"versions": ["a" * 64] * 2_001}, "versions are more than 2000"),
        ({"listing": []}, "listing is no object"),
        ({"reason": 1}, "reason is no text"),
        ({"reason": "x" * 2_001}, "reason is over 2000 characters"),
    ],
)
def test_what_is_no_step_says_why(change: dict[str, Any], problem: str) -> None:
    """
    Each field is checked, whoever sent it.
    """
    with pytest.raises(ValueError, match=problem):
        Tombstone.from_bytes(json.dumps({**SAID, **change}))


@given(st.lists(st.sampled_from(ACTIONS), min_size=1, max_size=6), st.randoms())
def test_the_last_step_tells_the_state(actions: list[str], random: Any) -> None:
    """
    Of one place: what came last, in whatever order and how often the steps are given.
    """
    steps = [
        Tombstone.from_bytes(json.dumps({**SAID, "action": one}), came=Came(number, 1, 0, "e"))
        for number, one in enumerate(actions)
    ]
    given_ = [*steps, *steps]
    random.shuffle(given_)

    assert latest(given_) == {("a" * 64, "/x"): steps[-1]}
    assert latest(given_)["a" * 64, "/x"].action == actions[-1]
