"""The normal-mixture e-process: evidence on a mean that holds at every look. Pure; takes arrays.

In: a difference, its variance (squared standard error) and the scale tau, fixed before data. Out:
the logarithm of an e-value, or an interval. Under the null hypothesis an e-process is ever above
1/alpha with probability alpha at most (Ville 1939), however often it is looked at.

The two-sided form is Robbins' (1970) mixture, which Johari, Koomen, Pekelis and Walsh (2017) use as
mSPRT; with an estimated variance it is the asymptotic confidence sequence of Waudby-Smith, Arbour,
Sinha, Kennedy and Ramdas (2021), so its guarantee is asymptotic.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Floats = NDArray[np.float64]

NO_EVIDENCE: Final = -math.inf
"""Where there is no variance there is no evidence: nothing was seen that could have differed."""
_STEPS: Final = 60
_LOG_LOW: Final = -80.0
_LOG_HIGH: Final = 80.0


def log_e_two_sided(difference: ArrayLike, variance: ArrayLike, tau: float) -> Any:
    """Return ln E against "no difference": the likelihood ratio averaged over N(0, tau²).

    ln E = ½ ln(V / (V + tau²)) + d² tau² / (2 V (V + tau²)).
    """
    d, v, known = _arrays(difference, variance)
    both = v + tau**2
    log_e = 0.5 * np.log(v / both) + d**2 * tau**2 / (2 * v * both)
    return _plain(np.where(known, log_e, NO_EVIDENCE))


def log_e_one_sided(difference: ArrayLike, variance: ArrayLike, tau: float) -> Any:
    """Return ln E against "the true difference is not above 0".

    The prior is the half of N(0, tau²) above 0, which adds ln 2 + ln Phi(d tau / sqrt(V (V +
    tau²))) (Robbins 1970; Howard, Ramdas, McAuliffe and Sekhon 2021, one-sided normal mixture).
    """
    d, v, known = _arrays(difference, variance)
    both = v + tau**2
    log_e = 0.5 * np.log(v / both) + d**2 * tau**2 / (2 * v * both)
    log_e += math.log(2) + special.log_ndtr(d * tau / np.sqrt(v * both))
    return _plain(np.where(known, log_e, NO_EVIDENCE))


def radius(variance: ArrayLike, tau: float, alpha: float) -> Any:
    """Return the half width of the confidence sequence: what the two-sided test does not reject.

    sqrt(V (V + tau²) / tau² · ln((V + tau²) / (V alpha²))); infinite where V is unknown.
    """
    _, v, known = _arrays(0.0, variance)
    both = v + tau**2
    half = np.sqrt(v * both / tau**2 * np.log(both / (v * alpha**2)))
    return _plain(np.where(known, half, math.inf))


def always_valid_p(peak_log_e: float) -> float:
    """Return min(1, 1 / max E): a p-value that may be looked at at any time."""
    return min(1.0, math.exp(-peak_log_e)) if peak_log_e > 0 else 1.0


def variance_needed(
    difference: float, tau: float, level: float, *, errors: float = 0.0
) -> float | None:
    """Return the variance at which *difference* would bring ln E to *level* (above 0), one-sided.

    With *errors* the difference is seen that many standard errors lower: 2.33 of them give the
    variance at which 99 of 100 estimates are there. None where it never does: a difference of 0 or
    less. Found by halving the logarithm of V, in which ln E falls from infinity through every level
    above 0 once.
    """
    if difference <= 0 or level <= 0:
        return None
    middle = 2 * math.log(difference)
    low, high = middle + _LOG_LOW, middle + _LOG_HIGH
    for _ in range(_STEPS):
        middle = (low + high) / 2
        variance = math.exp(middle)
        if _one_sided(difference - errors * math.sqrt(variance), variance, tau) >= level:
            low = middle
        else:
            high = middle
    return math.exp(low)


def _one_sided(d: float, v: float, tau: float) -> float:
    """Return log_e_one_sided of two numbers, twenty times as fast."""
    both = v + tau * tau
    divisor = v * both
    if not (0 < divisor < math.inf and math.isfinite(d)):
        return NO_EVIDENCE
    log_e = 0.5 * math.log(v / both) + d * d * tau * tau / (2 * divisor)
    return log_e + math.log(2) + float(special.log_ndtr(d * tau / math.sqrt(divisor)))


def _arrays(difference: ArrayLike, variance: ArrayLike) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Return both as arrays of one shape, and where the variance is known: positive and finite."""
    d, v = np.broadcast_arrays(
        np.asarray(difference, dtype=np.float64), np.asarray(variance, dtype=np.float64)
    )
    known = np.isfinite(d) & np.isfinite(v) & (v > 0)
    return np.where(known, d, 0.0), np.where(known, v, 1.0), known


def _plain(values: Floats) -> Any:
    """Return a number for a number, an array for an array."""
    return float(values) if values.ndim == 0 else values
