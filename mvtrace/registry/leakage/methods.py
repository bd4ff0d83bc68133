"""What is compared how: the settings of a check, and the ways in which two texts can be one.

In: nothing (plain values). Out: :class:`Settings`, which a certificate repeats word for word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from mvtrace.errors import UsageError
from mvtrace.registry.leakage.banding import bands_for
from mvtrace.registry.leakage.normalizing import FORM

EXACT: Final = "exact"
NORMALIZED: Final = "normalized"
NEAR: Final = "near"
CONTAINED: Final = "contained"
METHODS: Final = (EXACT, NORMALIZED, NEAR, CONTAINED)
"""How a text was found, the surest first."""

RECALL: Final = 0.999
"""How often, at least, a pair at the threshold is found."""
MIN_TOKENS: Final = 4
"""A text of fewer tokens ("yes", "New York") is found anywhere: alone it tells nothing."""
MAX_SHARING: Final = 10
"""A text that more examples have than these, which differ otherwise, identifies none of them."""
_MOST_PERMUTATIONS: Final = 1_024
_MOST_SHINGLE: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How texts are compared."""

    threshold: float = 0.7
    """Jaccard similarity of the shingles from which on two texts are near-duplicates."""
    shingle: int = 5
    """Characters of a shingle: 5 suits short texts, 9 long ones (Mining of Massive Datasets,
    section 3.2.2)."""
    permutations: int = 128
    run: int = 8
    """Tokens of a run, for containment."""
    contained: float = 0.7
    """Share of the runs of a text that are in a training text which contains it."""
    columns: tuple[str, ...] = ()
    """Columns of the eval that are compared; none: all of text that differ from row to row."""

    def __post_init__(self) -> None:
        """Refuse what compares nothing, or everything with everything."""
        _check("--threshold", self.threshold, 0.3, 1.0)
        _check("--shingle", self.shingle, 1, _MOST_SHINGLE)
        _check("--permutations", self.permutations, 16, _MOST_PERMUTATIONS)
        _check("--run", self.run, 2, _MOST_SHINGLE)
        _check("--contained", self.contained, 0.3, 1.0)

    def to_dict(self) -> dict[str, Any]:
        """Return the methods and thresholds as plain values, with what they promise."""
        cut = bands_for(self.threshold, self.permutations, RECALL)
        return {
            "normalization": FORM,
            "near": {
                "shingle_characters": self.shingle,
                "permutations": self.permutations,
                "bands": cut.bands,
                "rows": cut.rows,
                "jaccard": self.threshold,
                "recall_at_threshold": round(cut.recall(self.threshold), 6),
                "curve": "1 - (1 - s^rows)^bands",
                "verified": "Jaccard similarity over the shingles themselves",
            },
            "contained": {
                "run_tokens": self.run,
                "share": self.contained,
                "least_tokens": MIN_TOKENS,
                "verified": "runs compared as text; none is missed",
            },
            "columns": list(self.columns),
        }


def versions() -> Mapping[str, str]:
    """Return the versions of the libraries that compare."""
    import datasketch  # noqa: PLC0415 (an extra)
    import numpy as np  # noqa: PLC0415

    return {"datasketch": datasketch.__version__, "numpy": np.__version__}


def _check(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise UsageError(f"{name} is {value:g}; it is from {least:g} to {most:g}.")
