"""How long a comparison takes, against what its first look has forecast, by simulation."""

from __future__ import annotations

import math
import os

import numpy as np
import pytest
from canaries import Floats
from feedback import moments_of_requests

from mvtrace.quality import forecast, mixture
from mvtrace.quality.estimators import estimate, variance_of_rate_at
from mvtrace.quality.events import EventCount, log_e_fewer
from mvtrace.quality.plan import Metric

pytestmark = pytest.mark.statistics

RUNS = int(os.environ.get("MVTRACE_TEST_RUNS", "2000")) // 4
METRIC = Metric(name="good", kind="rate", margin=0.03)
LEVELS = (-math.log(0.05), -math.log(0.05))
FIRST, STEP, LOOKS = 3000, 1000, 200


def multiples(canary: float, forecast_name: str) -> Floats:
    """Return by run how many times as long as forecast the promotion took; infinite if it never came."""
    generator = np.random.default_rng(71)
    requests, good = np.zeros((2, 2, RUNS, 1))
    needed = np.full(RUNS, np.nan)
    taken = np.full(RUNS, np.inf)
    for look in range(LOOKS):
        size = STEP if look else FIRST
        above = generator.binomial(size, 0.1, (RUNS, 1))
        served = np.stack([size - above, above])
        requests += served
        good += np.stack(
            [generator.binomial(served[0], 0.9), generator.binomial(served[1], canary)]
        )
        moments = moments_of_requests(requests, good)
        found = estimate(moments)
        careful = np.fmax(found.variance, variance_of_rate_at(moments, METRIC.margin, 1))
        evidence = mixture.log_e_one_sided(found.difference + METRIC.margin, careful, METRIC.scale)
        if not look:
            for run in range(RUNS):
                told = forecast.of_means(
                    float(found.difference[run]),
                    (float(found.variance[run]), float(careful[run])),
                    METRIC,
                    levels=LEVELS,
                    requests=FIRST,
                )
                more = getattr(told, forecast_name)
                needed[run] = math.inf if more is None else max(more, 1)
        new = (evidence >= LEVELS[1]) & np.isinf(taken)
        taken[new] = look * STEP / needed[new]
    return taken


def test_equal_canaries_take_as_long_as_forecast() -> None:
    """
    Half of all equal canaries are promoted before one and a half times what the first look has forecast
    for equal arms, and hardly any takes eight times as long.
    """
    found = multiples(0.9, "noninferior_if_equal")
    shares = {factor: float(np.mean(found <= factor)) for factor in (1.0, 1.5, 2.0, 4.0, 8.0)}
    print("promoted within multiples of the forecast:", shares)

    assert 0.3 < shares[1.0] < 0.7
    assert shares[1.5] > 0.5
    assert shares[4.0] > 0.85
    assert shares[8.0] > 0.98


def test_a_canary_that_is_not_equal_breaks_the_forecast() -> None:
    """
    Negative control: of canaries that are worse by three quarters of the margin few are promoted in it.
    """
    for name, most in (("noninferior_if_equal", 0.3), ("noninferior_if_equal_at_most", 0.9)):
        found = multiples(0.9 - 0.75 * METRIC.margin, name)

        assert float(np.mean(found <= 1)) < most


def test_nearly_all_equal_canaries_are_promoted_within_the_longer_forecast() -> None:
    """
    The second forecast, made at the first look, is kept by 99 of 100 equal canaries, and is not idle:
    some take more than a third of it.
    """
    found = multiples(0.9, "noninferior_if_equal_at_most")
    late = float(np.mean(found > 1))
    print("later than the longer forecast:", late)

    assert late <= 0.01 + 3 * math.sqrt(0.01 * 0.99 / RUNS)
    assert float(np.mean(found > 1 / 3)) > 0.02


def test_events_keep_the_longer_forecast() -> None:
    """
    Of events as well, made after the first hundred: errors of both arms at one rate, one in ten the canary's.
    """
    metric = Metric(name="error", kind="event", direction="lower", margin=1.5)
    generator = np.random.default_rng(72)
    share, looks, step = 0.1, 400, 20
    events = np.cumsum(generator.binomial(step, share, (RUNS, looks)), axis=1)
    taken, needed = np.full((2, RUNS), np.inf)
    for run, ours in enumerate(events):
        at = 100 // step - 1
        first = [EventCount(share, 100 - int(ours[at]), int(ours[at]))]
        told = forecast.of_events(first, metric, levels=LEVELS, requests=100)
        needed[run] = told.noninferior_if_equal_at_most or 0
        for look in range(at, looks):
            total = (look + 1) * step
            seen = [EventCount(share, total - int(ours[look]), int(ours[look]))]
            if log_e_fewer(seen, scale=metric.scale, ratio=metric.margin) >= LEVELS[1]:
                taken[run] = total - 100
                break
    late = float(np.mean(taken > needed))
    print("events: later than the longer forecast:", late)

    assert late <= 0.01 + 3 * math.sqrt(0.01 * 0.99 / RUNS)
    assert float(np.mean(taken > needed / 4)) > 0.02
