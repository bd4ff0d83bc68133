"""Family-wise error by simulation: eight metrics that depend on one another, one chance of error."""

from __future__ import annotations

import math
import os

import numpy as np
import pytest
from canaries import Floats, at_most
from rollups import arms_after, plan_of

from mvtrace.quality import families, mixture
from mvtrace.quality.deciding import decide, levels_of
from mvtrace.quality.estimators import Moments
from mvtrace.quality.plan import Gates, Metric
from mvtrace.quality.sufficient import GateSums, MetricSums, Sufficient
from mvtrace.quality.verdict import Verdict

pytestmark = pytest.mark.statistics

RUNS = int(os.environ.get("MVTRACE_TEST_RUNS", "2000"))
ALPHA, METRICS, MARGIN = 0.05, 8, 0.06
EIGHT = tuple(Metric(name=f"m{number}", kind="mean", margin=MARGIN) for number in range(METRICS))
UNGATED = Gates(
    sample_ratio=False, completeness=None, concurrency=None, mixed=None, single_scorer=False
)
PLAN = plan_of(*EIGHT, gates=UNGATED, minimum_hours=1)


class Correlated:
    """Eight values a request, of correlation one half, with a standard deviation of one."""

    def __init__(self, runs: int, seed: int, *, shift: float = 0.0) -> None:
        self._generator = np.random.default_rng(seed)
        self._shift = shift
        self.total = np.zeros((2, runs, METRICS))
        self.counts = np.zeros((2, runs, 1))

    def add(self, requests: int, share: float = 0.1) -> None:
        """Let both arms serve."""
        draw, runs = self._generator, self.counts.shape[1]
        above = draw.binomial(requests, share, (runs, 1))
        sizes = np.stack([requests - above, above])
        common = draw.standard_normal((2, runs, 1))
        own = draw.standard_normal((2, runs, METRICS))
        self.total += np.sqrt(sizes) * (math.sqrt(0.5) * common + math.sqrt(0.5) * own)
        self.total[1, :, :] -= self._shift * sizes[1]
        self.counts += sizes

    def seen(self) -> tuple[Floats, Floats]:
        """Return differences, and their variance."""
        means = self.total / self.counts
        return means[1] - means[0], (1 / self.counts).sum(axis=0)


def test_eight_metrics_have_one_chance_of_error() -> None:
    """
    Eight metrics that depend on one another, none worse, are reverted in at most alpha of all runs;
    each at alpha for itself they would be in more.
    """
    level, together_level = levels_of(PLAN)["m0"].harm, -math.log(ALPHA * PLAN.global_share)
    runs = Correlated(RUNS, 26)
    reverted, single = (np.zeros(RUNS, dtype=bool) for _ in range(2))
    for _ in range(200):
        runs.add(200)
        difference, variance = runs.seen()
        log_e = mixture.log_e_one_sided(-difference, variance, MARGIN)
        average = np.log(np.mean(np.exp(log_e), axis=1))
        reverted |= (log_e >= level).any(axis=1) | (average >= together_level)
        single |= (log_e >= -math.log(ALPHA)).any(axis=1)
    print(f"eight metrics: corrected {reverted.mean():.2%}, each at alpha {single.mean():.2%}")

    assert level == families.levels([1.0] * METRICS, alpha=ALPHA * (1 - PLAN.global_share))[0]
    assert reverted.mean() <= at_most(ALPHA, RUNS)
    assert single.mean() > at_most(ALPHA, RUNS)


def test_one_metric_at_its_margin_forbids_the_promotion() -> None:
    """
    Where seven metrics are equal and one is worse by its margin, at most alpha is ever promoted; a rule
    that is content with seven of eight promotes most.
    """
    runs = Correlated(RUNS, 27)
    promoted, lenient = (np.zeros(RUNS, dtype=bool) for _ in range(2))
    for _ in range(100):
        runs.add(800)
        difference, variance = runs.seen()
        difference[:, 0] -= MARGIN
        within = mixture.log_e_one_sided(difference + MARGIN, variance, MARGIN) >= -math.log(ALPHA)
        promoted |= within.all(axis=1)
        lenient |= within.sum(axis=1) >= METRICS - 1
    print(
        f"one of eight at its margin: promoted {promoted.mean():.2%}, of seven {lenient.mean():.2%}"
    )

    assert promoted.mean() <= at_most(ALPHA, RUNS)
    assert lenient.mean() > 0.5


def verdicts(shift: float, runs: int, seed: int) -> dict[str, float]:
    """Return the share of each final decision, of comparisons that are looked at eight times."""
    simulated = Correlated(runs, seed, shift=shift)
    last: list[Verdict | None] = [None] * runs
    decided = np.full(runs, "hold", dtype="U7")
    for hour in range(1, 9):
        simulated.add(8000)
        for run in np.flatnonzero(decided == "hold"):
            last[run] = decide(PLAN, sufficient(simulated, run, hour), before=last[run])
            decided[run] = last[run].decision  # type: ignore[union-attr]
    return {name: float(np.mean(decided == name)) for name in ("promote", "hold", "revert")}


def sufficient(simulated: Correlated, run: int, hour: int) -> Sufficient:
    """Return what the verdict on one run is computed from."""
    below, above = (float(one[run, 0]) for one in simulated.counts)
    weight = below * above / (below + above)
    means = simulated.total[:, run, :] / simulated.counts[:, run, :]
    spreads = [weight**2 / number for number in (below, above)]

    def sums(place: int) -> Moments:
        return Moments(
            weight=weight,
            level=weight * means[0, place],
            difference=weight * (means[1, place] - means[0, place]),
            pooled=weight,
            plain=weight**2 / (below + above),
            per_canary=weight**2 / above,
            requests_baseline=below,
            requests_canary=above,
            clusters_baseline=256.0,
            clusters_canary=256.0,
            spread_baseline=spreads[0],
            spread_canary=spreads[1],
            spread_common=weight**2 / (below + above),
        )

    return Sufficient(
        arms=arms_after(hour),
        baseline=int(below),
        canary=int(above),
        paired_hours=int(hour),
        settled=int(below + above),
        metrics=tuple(
            MetricSums(
                name=metric.name, baseline=int(below), canary=int(above), immature=0, unpaired=0,
                moments=sums(place),
            )
            for place, metric in enumerate(EIGHT)
        ),
        gates=GateSums(
            units=(), settled=(), deliveries=(None, None), canary=int(above), concurrent=int(above), mixed=0,
            scorers={},
        ),
    )  # fmt: skip


def test_whole_verdicts_of_eight_metrics() -> None:
    """
    Verdict after verdict, each remembering the last: equal canaries are reverted in at most alpha and
    mostly promoted; of those that are worse by twice the margin most are reverted.
    """
    runs = max(40, RUNS // 40)
    equal, bad = verdicts(0.0, runs, 28), verdicts(2 * MARGIN, runs, 29)
    print(f"whole verdicts: equal {equal}, worse {bad}")

    assert equal["revert"] <= at_most(ALPHA, runs)
    assert equal["promote"] > 0.5
    assert bad["promote"] <= at_most(ALPHA, runs)
    assert bad["revert"] > 0.9
