"""How likely LSH finds a pair: the S-curve, and the bands that make it steep enough.

A signature of *bands* times *rows* minima is cut into bands. Two sets of Jaccard similarity *s*
have equal minima with probability *s* each, a whole band with s^rows, at least one band with
1 - (1 - s^rows)^bands: Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, section 3.4.2
(after Broder, On the Resemblance and Containment of Documents, 1997, for the minima).
"""

from __future__ import annotations

from typing import NamedTuple


class Bands(NamedTuple):
    """How a signature is cut."""

    bands: int
    rows: int

    def recall(self, similarity: float) -> float:
        """Return the probability that a pair of this Jaccard similarity is looked at."""
        return float(1 - (1 - similarity**self.rows) ** self.bands)


def bands_for(threshold: float, permutations: int, least: float) -> Bands:
    """Return the cut with the longest bands that finds a pair at *threshold* as often as *least*.

    Longer bands let fewer pairs through that are less alike. Where none is good enough, each
    minimum is a band of its own, which is the best there is.
    """
    for rows in range(permutations // 2, 1, -1):
        cut = Bands(permutations // rows, rows)
        if cut.recall(threshold) >= least:
            return cut
    return Bands(permutations, 1)
