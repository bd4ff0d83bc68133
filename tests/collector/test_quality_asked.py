"""What plans ask the roll-up for: whatever is registered, what cannot be is left out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mvtrace.quality.sources import BAD_EVENTS, Asked, Made, made_of
from mvtrace_collector.quality_asked import MAX_ASKED, asked_by


def plan(*metrics: dict[str, Any]) -> str:
    return json.dumps({"metrics": metrics})


def test_events_feedback_and_made_metrics() -> None:
    """
    Bad events, scores whose response is compared, and metrics made of others are told apart; all
    that is named, or that they are made of, is planned.
    """
    asked = asked_by(
        [
            plan(
                {"name": "down", "kind": "event", "source": "thumbs<0.5:first"},
                {"name": "slow", "kind": "event", "source": "latency_ms>812.5"},
                {"name": "answered", "kind": "rate", "source": "thumbs:given"},
                {"name": "cost", "kind": "ratio", "source": "cost_usd/output_tokens"},
                {"name": "error", "kind": "event", "source": None},
                {"name": "judge", "kind": "score"},
            )
        ]
    )

    assert asked == Asked(
        events=(*BAD_EVENTS, "thumbs<0.5", "latency_ms>812.5"),
        wanted=("thumbs",),
        sources=(
            Made("thumbs<0.5", "thumbs", "<", "0.5"),
            Made("latency_ms>812.5", "latency_ms", ">", "812.5"),
            Made("cost_usd/output_tokens", "cost_usd", "/", "output_tokens"),
        ),
        planned=(
            *("thumbs<0.5", "thumbs", "latency_ms>812.5", "latency_ms", "cost_usd/output_tokens"),
            *("cost_usd", "output_tokens", "error", "judge"),
        ),
    )


@pytest.mark.parametrize(
    "name",
    [
        "",
        ">1",
        "a>",
        "a>b",
        "a>nan",
        "a>1e999",
        "/b",
        "a/",
        "score:a/b",
        "a\x1fb>1",
        "a" * 300 + ">1",
    ],
)
def test_what_is_no_made_metric(name: str) -> None:
    """
    Names that only look like one are metrics of their own, or none.
    """
    assert made_of(name) is None


@settings(max_examples=50)
@given(
    st.one_of(
        st.text(),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["metrics", "name", "kind", "source"]), inner),
        ).map(json.dumps),
    )
)  # fmt: skip
def test_no_body_stops_the_roll_up(body: str) -> None:
    """
    Whatever somebody registers as a plan, the others' metrics are still asked for.
    """
    asked = asked_by([body, plan({"name": "slow", "kind": "event", "source": "latency_ms>1"})])

    assert "latency_ms>1" in asked.events
    assert set(BAD_EVENTS) <= set(asked.events)


def test_a_million_names_are_bounded() -> None:
    """
    Of many plans' metrics the newest are kept, so many of each kind.
    """
    bodies = [plan({"name": f"a{n}>1", "kind": "event"}) for n in range(3 * MAX_ASKED)]

    asked = asked_by(bodies)

    assert asked.sources[0].name == "a0>1"
    assert (len(asked.sources), len(asked.events)) == (MAX_ASKED, len(BAD_EVENTS) + MAX_ASKED)
