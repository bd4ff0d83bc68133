"""The three versions of the bot: a first one, one with another prompt, one with a larger model.

Everything is a fixed value, so that the versions have the same names on every machine.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import mvtrace
from mvtrace.components import Component, CompositeVersion
from mvtrace.components.index_source import SnapshotFacts

SMALL: Final = ("gpt-4o-mini", "gpt-4o-mini-2024-07-18")
LARGE: Final = ("gpt-4o", "gpt-4o-2024-08-06")
"""The model asked for, and the release that answers."""
ENCODER: Final = "text-embedding-3-small"
THRESHOLD: Final = 0.35
LONG: Final = "Answer {question} from {passages}. Say where it stands."
SHORT: Final = "Answer {question} from {passages} in one sentence."


@dataclass(frozen=True)
class Pages:
    """An index as mvtrace looks at one: so many pages, with a fingerprint."""

    count: int
    fingerprint: str

    def change_signal(self) -> Hashable:
        return self.fingerprint

    def snapshot(self) -> SnapshotFacts:
        return SnapshotFacts(size=self.count, fingerprint=self.fingerprint, metric="cos")

    def describe(self) -> Mapping[str, Any]:
        return {"library": "pages", "version": "1"}


@dataclass(frozen=True)
class System:
    """One version, and those of its parts that requests name."""

    version: CompositeVersion
    model: Component
    prompt: Component
    index: Component
    router: Component
    asked: str
    served: str


PAGES: Final = Pages(612, "3d41f0aa")
REINDEXED: Final = mvtrace.index("faq", Pages(240, "c07b11e9"))
"""What the index was for a quarter of an hour, without anybody saying so."""


def system(model: tuple[str, str], text: str, labels: Mapping[str, str]) -> System:
    """Return the bot with a *model* and the *text* of its prompt."""
    asked, served = model
    writer = mvtrace.model("writer", provider="openai", model_id=asked, label=labels.get("model"))
    encoder = mvtrace.embedding_model(
        "encoder", provider="openai", model_id="text-embedding-3-small"
    )
    faq = mvtrace.index("faq", PAGES, label="july")
    prompt = mvtrace.prompt("answer", text, label=labels.get("prompt"))
    router = mvtrace.router(
        "route", policy={"threshold": THRESHOLD}, candidates=["extract", "writer"]
    )
    parts = (writer, encoder, faq, prompt, router, mvtrace.sampling("default", temperature=0.2))
    made = mvtrace.composite("support-bot", *parts)
    return System(made, writer, prompt, faq, router, asked, served)


FIRST: Final = system(SMALL, LONG, {"model": "mini", "prompt": "v1"})
SECOND: Final = system(SMALL, SHORT, {"model": "mini", "prompt": "v2"})
THIRD: Final = system(LARGE, SHORT, {"model": "large", "prompt": "v2"})
SYSTEMS: Final = (FIRST, SECOND, THIRD)
