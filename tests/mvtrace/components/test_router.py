"""Routers pin policy, classifier and candidates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import mvtrace
from mvtrace.components import Component
from mvtrace.errors import ComponentError

POLICY = {"feature": "score", "threshold": 0.5}


def by_length(text: str) -> str:
    return "long" if len(text) > 100 else "short"


def by_words(text: str) -> str:
    return "long" if len(text.split()) > 20 else "short"


def route(**changes: Any) -> Component:
    options: dict[str, Any] = {
        "policy": POLICY,
        "classifier": by_length,
        "candidates": ["small", mvtrace.model("large", model_id="m-1")],
    }
    return mvtrace.router("route", **{**options, **changes})


def test_router_pins_what_it_chooses_from() -> None:
    """
    Policy, classifier and candidates are in the facts; components by digest, names by name.
    """
    router = route()

    classifier, large = router.parts
    assert router.roles == ("classifier", "candidate")
    assert (classifier.slot, large.slot) == ("code/route.classifier", "model/large")
    assert router.facts == {
        "policy": POLICY,
        "classifier": {"component": "code/route.classifier", "digest": classifier.digest},
        "candidates": [{"name": "small"}, {"component": "model/large", "digest": large.digest}],
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"policy": {**POLICY, "threshold": 0.51}},
        {"policy": ["anything", 1]},
        {"policy": None},
        {"classifier": by_words},
        {"classifier": mvtrace.model("intent", model_id="c")},
        {"classifier": None},
        {"candidates": ["small", mvtrace.model("large", model_id="m-2")]},
        {"candidates": ["small"]},
        {"fallback": "small"},
    ],
)
def test_each_change_is_another_digest(changes: dict[str, Any]) -> None:
    """
    A threshold alone, the classifier, one candidate: each change is another digest.
    """
    assert route(**changes).digest != route().digest


def test_label_is_no_change() -> None:
    """
    The label of the router, or of a candidate, changes no digest.
    """
    labelled = mvtrace.model("large", model_id="m-1", label="new")

    assert route(label="v9", candidates=["small", labelled]).digest == route().digest


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        (
            {"classifier": lambda text: text},
            (
                "Component router 'route': of its classifier, {name} is a lambda, "
                "whose source is the line around it."
            ),
            "Give a function defined with 'def' in a file, or pin the file by its path.",
        ),
        (
            {"classifier": "intent"},
            (
                "Component router 'route': its classifier 'intent' is neither a component nor a "
                "function."
            ),
            "Pin a model that classifies with mvtrace.model(), and give that component.",
        ),
        (
            {"candidates": "small"},
            "Component router 'route': its candidates are one value, not several.",
            "Give a list, such as candidates=['small', 'large'].",
        ),
        (
            {"candidates": [3]},
            "Component router 'route': its candidate 3 is neither a component nor a name.",
            "Give components, or names of what lies outside this system.",
        ),
        (
            {"policy": by_length, "candidates": []},
            (
                "Component router 'route': value at $.facts.policy has no canonical form: "
                "function is not a JSON type."
            ),
            "Use text, booleans, finite numbers, lists and dicts with text keys.",
        ),
    ],
)
def test_router_that_cannot_be(changes: dict[str, Any], message: str, hint: str) -> None:
    """
    What cannot be pinned is refused.
    """
    with pytest.raises(ComponentError) as caught:
        route(**changes)

    classifier: Callable[..., Any] | None = changes.get("classifier")
    name = getattr(classifier, "__qualname__", "")
    assert (str(caught.value), caught.value.hint) == (message.format(name=name), hint)
