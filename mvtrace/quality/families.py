"""Several metrics at once: one chance of error for all of them. Pure.

In: the logarithms of e-values and the metrics' weights. Out: the level each has to reach, the
evidence of all together, or a list in which few are wrong. E-values may depend on one another in
any way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import special


def levels(weights: Sequence[float], *, alpha: float) -> list[float]:
    """Return the ln E each metric has to reach: weighted Bonferroni, ln(1 / (alpha w / sum of w)).

    That any true null hypothesis is ever rejected has probability *alpha* at most, by the union of
    Ville's inequalities.
    """
    total = math.fsum(weights)
    return [-math.log(alpha * weight / total) for weight in weights]


def average(log_e: Sequence[float], weights: Sequence[float]) -> float:
    """Return ln of the weighted mean of the e-values: an e-value against "nothing is worse at all".

    Means are the only symmetric way to merge dependent e-values that none dominates (Vovk and
    Wang 2021).
    """
    if not log_e:
        return 0.0
    return float(special.logsumexp(log_e, b=np.asarray(weights) / math.fsum(weights)))


def discoveries(log_e: Sequence[float], *, alpha: float) -> list[bool]:
    """Return what e-BH rejects (Wang and Ramdas 2022): on average at most *alpha* of it falsely.

    The k largest e-values, for the largest k of which the k-th is at least n / (alpha k). For lists
    that are explored, never for a decision.
    """
    number = len(log_e)
    ordered = sorted(range(number), key=lambda place: -log_e[place])
    last = 0
    for rank, place in enumerate(ordered, 1):
        if log_e[place] >= math.log(number / (alpha * rank)):
            last = rank
    kept = set(ordered[:last])
    return [place in kept for place in range(number)]
