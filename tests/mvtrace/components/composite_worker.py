"""Build one system in this process, its components in the order given, and print its version."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import mvtrace


def tidy(text: str) -> str:
    return text.strip()


def check(text: str) -> bool:
    return "password" not in text


def system(weights: Path, seed: int) -> str:
    shuffle = random.Random(seed)
    items = [(f"id-{number}", [number * 0.5, 1.0]) for number in range(50)]
    shuffle.shuffle(items)
    embedder = mvtrace.embedding_model("e5", model_id="e5-small", path=weights)
    large = mvtrace.model("large", provider="here", model_id="l-1", path=weights)
    components = [
        embedder,
        large,
        mvtrace.index("topics", dict(items), embedding_model=embedder),
        mvtrace.prompt("answer", "Antworte höflich: {question}"),
        mvtrace.tools("all", [{"name": "search", "parameters": {"b": 1, "a": 2}}]),
        mvtrace.router("route", policy={"t": 0.5}, classifier=check, candidates=["s", large]),
        mvtrace.components.postprocess("tidy", tidy),
        mvtrace.components.guardrail("pii", check, limit=3),
        mvtrace.sampling("default", temperature=0.8, top_p=0.95),
        mvtrace.stack(packages=["orjson", "rfc8785"]),
        mvtrace.code("tidy", tidy),
        mvtrace.custom("rules", names={"b": 1, "a": 2**60}),
    ]
    shuffle.shuffle(components)
    edges = [("guardrail/pii", "code/tidy"), ("prompt/answer", "tools/all", "offers")]
    shuffle.shuffle(edges)
    return mvtrace.composite(f"system-{seed}", *components, edges=edges).version


if __name__ == "__main__":
    print(system(Path(sys.argv[1]), int(sys.argv[2])))
