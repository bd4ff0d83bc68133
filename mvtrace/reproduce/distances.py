"""How far outputs of one request are from one another: a matrix a request. Pure; numpy alone.

In: features of outputs, one row an output. Out: the distances between all pairs. What is compared
by text or category is equal or not, numbers by their difference, vectors by Euclid's distance: each
of negative type, so that the energy of two samples is never below 0, and of two distributions it is
0 only where they are one (Székely and Rizzo 2013).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

KINDS: Final = ("category", "number", "vector")
"""category: equal or not (a digest, a mode, a label); number: a score, a length; vector: a row of
numbers (an embedding)."""
MAX_OUTPUTS: Final = 2000
"""Of one request: the matrix of distances has their square."""


def distances(outputs: Sequence[Any], kind: str) -> Floats:
    """Return the distances between all pairs of *outputs*.

    Raises:
        ValueError: *kind* is none of KINDS, a category is a list, a number is not finite, vectors
            are of several lengths, or there are too many outputs.
    """
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is none of {', '.join(KINDS)}")
    if len(outputs) > MAX_OUTPUTS:
        raise ValueError(f"{len(outputs)} outputs of one request; at most {MAX_OUTPUTS} compare")
    if kind == "category":
        codes = _codes(outputs)
        return np.asarray(codes[:, None] != codes[None, :], dtype=np.float64)
    return _euclidean(_rows(outputs, kind))


def _codes(outputs: Sequence[Any]) -> NDArray[np.int64]:
    """Return one number an output, equal where they are."""
    places: dict[Any, int] = {}
    try:
        return np.array([places.setdefault(one, len(places)) for one in outputs], dtype=np.int64)
    except TypeError as error:
        raise ValueError(f"an output is no text, number or tuple of these: {error}") from error


def _rows(outputs: Sequence[Any], kind: str) -> Floats:
    """Return one row an output, of finite numbers."""
    shapes = {np.shape(one) for one in outputs}
    wanted = 0 if kind == "number" else 1
    if len(shapes) != 1 or len(next(iter(shapes))) != wanted:
        raise ValueError(f"outputs of kind {kind} have the shapes {sorted(shapes)}")
    rows = np.asarray(outputs, dtype=np.float64).reshape(len(outputs), -1)
    if not np.isfinite(rows).all():
        raise ValueError("an output is not finite")
    return rows


def _euclidean(rows: Floats) -> Floats:
    # Row by row: differences of all pairs at once would have the dimension as a third axis.
    return np.stack([np.sqrt(((rows - row) ** 2).sum(axis=1)) for row in rows])
