"""Flags that were evaluated, in the explanation as text."""

from __future__ import annotations

from typing import Any

from story import evidence, record

from mvtrace.cli.listing import explanation_words
from mvtrace.explain.explainer import explain

EVIL = "red\x1b[31m"


def text_of(annotations: dict[str, Any]) -> str:
    """The explanation of a request with these annotations."""
    found = explain(evidence(record(annotations=annotations))).to_dict()
    return explanation_words(found, "text", coloured=False)


def test_flags_have_a_section_of_their_own() -> None:
    """
    Each flag has a line with variant, value, reason and provider, whatever a provider wrote there;
    other annotations, and what only looks like a flag, have none.
    """
    facts = {
        "feature_flag.model": {"variant": "large", "value": EVIL, "reason": "static", "provider": "p"},
        "feature_flag.gone": {"error": "flag_not_found", "value": 0.5},
        "feature_flag.odd": "no facts",
        "ticket": "T-1",
    }  # fmt: skip
    text = text_of(facts)

    section = text.split("\nflags\n")[1].split("\n\n")[0]
    assert [line.split()[0] for line in section.splitlines()] == ["model", "gone"]
    assert "large" in section
    assert "error flag_not_found" in section
    assert "\x1b" not in section
    assert "flags" not in text_of({"ticket": "T-1"})
