"""The sequential sample-ratio test: did the canary get its planned share? Pure, exact.

In: for each planned share, how many *units* (users of a sticky assignment, never their requests)
came to each arm. Out: ln E against "each unit is the canary's with the planned share". The
alternative is a beta distribution around the plan with concentration k, the two-arm case of the
sequential multinomial test (Lindon and Malek 2022); for several shares the e-values multiply, since
each unit comes under one of them.

Measured for k = 1000 and alpha 0.01, a look every 100 units, 2000 runs: see ``schemas/README.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from scipy import special

CONCENTRATION: Final = 1000.0


class UnitCount(NamedTuple):
    """The units that were assigned under one planned share of the canary."""

    share: float
    baseline: int
    canary: int


def log_e_ratio(units: Sequence[UnitCount]) -> float:
    """Return ln E against the planned shares; 0 where there are no units."""
    return float(sum(log_e_paths(one.share, one.baseline, one.canary) for one in units))


def log_e_paths(share: float, baseline: Any, canary: Any) -> Any:
    """Return ln E for numbers or arrays of counts.

    ln B(k pi + c, k (1 - pi) + b) - ln B(k pi, k (1 - pi)) - c ln pi - b ln(1 - pi).
    """
    ours, theirs = CONCENTRATION * share, CONCENTRATION * (1 - share)
    return (
        special.betaln(ours + canary, theirs + baseline)
        - special.betaln(ours, theirs)
        - special.xlogy(canary, share)
        - special.xlog1py(baseline, -share)
    )
