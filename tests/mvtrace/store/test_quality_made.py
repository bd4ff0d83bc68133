"""A metric that is made of another is told only where it is in every hour that it can be in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from exposed import BASELINE, CANARY, HOUR, Sweeping, exposures, put
from stored import new_store

from mvtrace.quality.deciding import compare
from mvtrace.quality.plan import Gates, Metric, Plan
from mvtrace.quality.sources import Asked as SweptMetrics
from mvtrace.quality.sources import Made
from mvtrace.quality.sufficient import Arms
from mvtrace.store.quality import Asked, read_rollup
from mvtrace.store.quality_made import parts_needed, unmade
from mvtrace.store.quality_rows import Met

SLOW = "latency_ms>812.5"
COST = "cost_usd/output_tokens"


def met(
    metric: str, hours: list[int], *, side: int = 0, rollout: str = "r", requests: int = 10
) -> Met:
    """Return what one side has of a metric in *hours*."""
    sums = np.array([[requests] * len(hours), [1] * len(hours)], dtype=np.float64)
    scorers = frozenset({"prices"}) if metric.startswith("cost") else frozenset[str]()
    arms = np.zeros(len(hours), dtype=np.int64)
    place = frozenset({("prod", "shop")})
    return Met(metric, side, rollout, "0.1", scorers, place, np.array(hours), arms, sums)


@pytest.mark.parametrize(
    ("name", "found", "those"),
    [
        (SLOW, [3, 4, 5], [met("latency_ms", [3, 4, 5])]),
        # Before its first hour nobody had asked for it.
        (SLOW, [4, 5], [met("latency_ms", [3, 4, 5])]),
        # It is the rollout's requests whose first event is counted.
        ("error:first", [3], [met("error", [3]), met("error", [4], rollout="")]),
        # Ten have a cost and ten have tokens, of thirty: perhaps none has both.
        (
            COST,
            [3],
            [
                met("cost_usd", [3, 4]),
                met("output_tokens", [3, 4]),
                met("request", [3, 4], requests=30),
            ],
        ),
        ("latency_ms", [3], [met("request", [3, 4])]),
        ("thumbs:given", [3], [met("request", [3, 4])]),
    ],
)
def test_what_is_there_wherever_it_can_be_is_told(
    name: str, found: list[int], those: list[Met]
) -> None:
    """
    A metric whose source has no later hour without it is left as it is.
    """
    assert unmade([met(name, found), *those]) == frozenset()


@pytest.mark.parametrize(
    ("name", "those"),
    [
        (SLOW, [met("latency_ms", [3, 4])]),
        (f"{SLOW}:first", [met("latency_ms", [3, 4])]),
        (SLOW, [met("latency_ms", [3]), met("latency_ms", [4], side=1)]),
        ("down:first", [met("down", [3, 4])]),
        (
            COST,
            [
                met("cost_usd", [3, 4]),
                met("output_tokens", [3, 4]),
                met("request", [3, 4], requests=19),
            ],
        ),
    ],
)
def test_what_stopped_while_its_source_goes_on_is_not(name: str, those: list[Met]) -> None:
    """
    A metric that lacks an hour of what it is made of, of either side, is left out.
    """
    assert unmade([met(name, [3]), *those]) == {name}


def test_what_is_met_besides() -> None:
    """
    What metrics are made of is read with them.
    """
    asked = (SLOW, f"{SLOW}:first", COST, "error:first", "latency_ms", "good", "good:given")

    assert parts_needed(asked) == ["cost_usd", "error", "output_tokens"]


def test_a_plan_whose_metric_is_made_no_more_has_no_data(tmp_path: Path) -> None:
    """
    Where the newest hour was made without what a plan asks for, the plan has no data by it, though
    earlier hours have some; once it is made, it has.
    """
    metric = Metric(
        name="slow", kind="rate", direction="lower", margin=0.1, source="latency_ms>150"
    )
    plan = Plan(name="slow", metrics=(metric,), gates=Gates(sample_ratio=False, completeness=None))
    hours = (HOUR * 3600, (HOUR + 2) * 3600)
    asked = Asked(
        baseline=BASELINE, canary=CANARY, metrics=("latency_ms>150",), project="a",
        since=hours[0], until=hours[1],
    )  # fmt: skip
    arms = Arms(baseline=BASELINE, canary=CANARY, started_at=hours[0], until=hours[1])
    made = SweptMetrics(sources=(Made("latency_ms>150", "latency_ms", ">", "150.0"),))
    statuses = []
    with new_store(f"chdb://{tmp_path / 'store'}") as store:
        sweeping = Sweeping(store)
        put(
            sweeping.session,
            "a",
            exposures(200, [bytes([n] * 16) for n in range(1, 40)], hours=range(2)),
        )
        for hour, what in ((0, made), (1, None), (1, made)):
            sweeping.sweep("a", [hour], what)
            [result] = compare(plan, read_rollup(store, asked), arms).results
            statuses.append((result.status, result.canary_requests > 0))

    assert statuses == [("too_few", True), ("no_data", False), ("too_few", True)]
