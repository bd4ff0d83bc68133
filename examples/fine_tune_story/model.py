"""A small linear model over words (scikit-learn): trained, tuned further from a base, and asked.

    python model.py train OUT.npz SEED [--base BASE.npz] DATA.jsonl…
    python model.py score MODEL.npz SUITE.jsonl OUT.jsonl

Weights lie in a NumPy archive without pickled objects, so that reading a stranger's runs nothing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import SGDClassifier

TOPICS: Final = ("billing", "delivery", "login", "refund")
EPOCHS: Final = 20
_WORDS: Final = HashingVectorizer(n_features=4096, alternate_sign=False)


def lines(path: str) -> list[dict[str, Any]]:
    """Return the rows of a JSONL file."""
    with Path(path).open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def train(out: str, seed: int, base: str | None, data: Sequence[str]) -> None:
    """Train from nothing, or go on from the weights of *base*."""
    rows = [row for path in data for row in lines(path)]
    features = _WORDS.transform([row["text"] for row in rows])
    topics = np.array([row["topic"] for row in rows])
    classifier = SGDClassifier(loss="log_loss", alpha=1e-5, random_state=seed)
    classifier.partial_fit(features[:1], topics[:1], classes=np.array(TOPICS))
    if base is not None:
        with np.load(base, allow_pickle=False) as weights:
            classifier.coef_, classifier.intercept_ = weights["coef"], weights["intercept"]
    order = np.random.default_rng(seed)
    for _ in range(EPOCHS):
        shuffled = order.permutation(len(rows))
        classifier.partial_fit(features[shuffled], topics[shuffled])
    np.savez(out, coef=classifier.coef_, intercept=classifier.intercept_)


class Model:
    """Weights that answer."""

    def __init__(self, path: str) -> None:
        with np.load(path, allow_pickle=False) as weights:
            self._coef, self._intercept = weights["coef"], weights["intercept"]

    def topics(self, texts: Sequence[str]) -> list[str]:
        """Return the most likely topic of each text."""
        features = _WORDS.transform([text.lower() for text in texts])
        return [
            TOPICS[best] for best in np.argmax(features @ self._coef.T + self._intercept, axis=1)
        ]


def score(model: str, suite: str, out: str) -> None:
    """Write whether the model is right about each example, as ``mvtrace eval record`` takes it."""
    examples = lines(suite)
    said = Model(model).topics([one["text"] for one in examples])
    with Path(out).open("w", encoding="utf-8") as file:
        for example, topic in zip(examples, said, strict=True):
            value = int(topic == example["topic"])
            file.write(json.dumps({"example": example["id"], "value": value}) + "\n")


if __name__ == "__main__":
    command, *given = sys.argv[1:]
    if command == "score":
        score(*given)
    else:
        out_, seed_, *rest = given
        base_ = rest[1] if rest[0] == "--base" else None
        train(out_, int(seed_), base_, rest[2:] if base_ else rest)
