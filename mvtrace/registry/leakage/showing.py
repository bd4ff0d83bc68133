"""The texts behind what was found: for whoever has the data at hand, and stored nowhere.

In: a check. Out: the first examples that were met, each with its row and the training row, read
again from the files they are in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from mvtrace.registry.leakage.certificates import Check
from mvtrace.registry.leakage.places import Place

MOST: Final = 20


class Shown(NamedTuple):
    """One example that was met, in words."""

    position: int
    how: str
    similarity: float
    eval_text: str
    training_text: str


def shown(check: Check) -> list[Shown]:
    """Return the texts of the MOST surest finds.

    Raises:
        DatasetError: a file is not what it was a moment ago.
    """
    own = [
        (sign.order, number, sign)
        for number, sign in check.tally.signs.items()
        if check.examples.each[number].version == 0
    ]
    chosen = [(number, sign) for _, number, sign in sorted(own)[:MOST]]
    rows: dict[int, set[int]] = {}
    for _, sign in chosen:
        rows.setdefault(sign.source, set()).add(sign.row)
    texts = {
        source: _rows_at(Place(check.sources[source].path), wanted)
        for source, wanted in rows.items()
    }
    positions = {number: check.examples.each[number].position for number, _ in chosen}
    evals = _rows_at(Place(check.path), set(positions.values()))
    return [
        Shown(
            positions[number],
            sign.how,
            sign.similarity,
            evals.get(positions[number], ""),
            texts[sign.source].get(sign.row, ""),
        )
        for number, sign in chosen
    ]


def _rows_at(place: Place, wanted: set[int]) -> Mapping[int, str]:
    """Return the rows at some positions as text."""
    found: dict[int, str] = {}
    for position, row in enumerate(place.rows()):
        if position in wanted:
            found[position] = row.decode()
            if len(found) == len(wanted):
                break
    return found
