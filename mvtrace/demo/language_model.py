"""A small real text model: word trigrams of the corpus, sampled with temperature and seed.

In: texts to learn from, then a prompt's context. Out: sampled words. Counts of the context are
mixed with those of the corpus, so that the answer depends on what was retrieved.
"""

from __future__ import annotations

import json
import math
import random
from collections import Counter, defaultdict
from pathlib import Path
from typing import Final, NamedTuple

from mvtrace.demo.corpus import words_of

CONTEXT_WEIGHT: Final = 8
"""How many times a trigram of the context counts against one of the corpus."""

Counts = defaultdict[tuple[str, str], Counter[str]]


class Sampled(NamedTuple):
    """What came out, as a provider would report it."""

    text: str
    output_tokens: int
    finish_reason: str


class LanguageModel:
    """A trigram model over words."""

    def __init__(self, texts: list[str]) -> None:
        self.counts = _counted(texts)

    def sample(self, context: str, *, temperature: float, seed: int, max_tokens: int) -> Sampled:
        """Return words sampled after *context*; the same arguments give the same words."""
        source = random.Random(seed)  # noqa: S311 (sampling text, not secrets)
        local = _counted([context])
        start = words_of(context)[:2] or ["the", "statement"]
        state = (start[0], start[-1])
        words = list(start)
        while len(words) < max_tokens:
            options = self.counts[state] + Counter(
                {word: n * CONTEXT_WEIGHT for word, n in local[state].items()}
            )
            if not options:
                return Sampled(" ".join(words), len(words), "stop")
            words.append(_drawn(options, temperature, source))
            state = (words[-2], words[-1])
        return Sampled(" ".join(words), len(words), "length")

    def save(self, path: Path) -> None:
        """Write the weights to *path* as JSON."""
        plain = {" ".join(state): dict(words) for state, words in sorted(self.counts.items())}
        path.write_text(json.dumps(plain, sort_keys=True))


def _counted(texts: list[str]) -> Counts:
    counts: Counts = defaultdict(Counter)
    for text in texts:
        words = words_of(text)
        for first, second, third in zip(words, words[1:], words[2:], strict=False):
            counts[first, second][third] += 1
    return counts


def _drawn(options: Counter[str], temperature: float, source: random.Random) -> str:
    words = sorted(options)
    if temperature <= 0:
        return max(words, key=lambda word: (options[word], word))
    weights = [math.exp(math.log(options[word]) / temperature) for word in words]
    return source.choices(words, weights)[0]
