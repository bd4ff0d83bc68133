"""Certificates of separation, as a check would have stored them."""

from __future__ import annotations

from typing import Any

from mvtrace.registry.entries import Entry, entry_of


def a_certificate(name: str, text: str = "") -> Entry:
    """Return a certificate of the eval *name*; *text* stands wherever a check writes any."""
    found = {"examples": 1, "by_method": {"exact": 1, "normalized": 0, "near": 0, "contained": 0}}
    counts = {"whole_rows": 0, "pairs": 0, "by_column": {text: 1, "b": 0}, "only_in_ancestors": 2}
    ref = f"dataset:{'9' * 64}"
    sign = {"example": "8" * 64, "position": 0, "column": text, "how": text, "similarity": 1}
    said: dict[str, Any] = {
        "name": name,
        "eval": ref,
        "root": "9" * 64,
        "examples": 3,
        "train": [ref],
        "method": {
            "near": {
                "jaccard": 0.7,
                "shingle_characters": 5,
                "recall_at_threshold": 0.99,
                "bands": 32,
                "rows": 4,
            },
            "contained": {"share": 0.7, "run_tokens": 8, "least_tokens": 4},
        },
        "compared": {
            "columns": [text],
            "constant_columns": [text],
            "short_texts": 1,
            "shared_texts": 1,
        },
        "libraries": {},
        "checked": [
            {
                "ref": ref,
                "name": text,
                "relation": text,
                "rows": 3,
                "overlapping_rows": 1,
                "found": 1,
            }
        ],
        "not_checked": [{"ref": text, "name": text, "relation": text, "why": text}],
        "versions": [{"ref": ref, "why": text}],
        "found": {**found, **counts, "training_rows": 1, "rows_compared": 3},
        "listed": [{**sign, "source": f"dataset:{text}", "row": 0}],
        "limits": {"crowded_texts": 1, "texts_with_more_candidates": 1},
        "lineage": True,
        "made_of_eval": True,
        "complete": False,
        "cannot_prove": [text, "", ""],
    }
    return entry_of("certificate", said)
