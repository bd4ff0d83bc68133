"""What a comparison is going to ask, fixed before there is data: a value with a digest. Pure.

A plan names the metrics with their margins, the chances of error, the gates, the horizon and what
to do in the cases that are a matter of taste. Its digest is in each verdict: who changes the plan
after a look has another plan. It is read from a file by ``plan_file``; here its fields are checked.

Law: ``Plan.from_dict(plan.to_dict()) == plan``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, Self

from mvtrace.digest import canonical_bytes, digest_of

PLAN_DOMAIN: Final = b"mvtrace.plan/1\n"
SCHEMA_VERSION: Final = 1

KINDS: Final = ("rate", "score", "mean", "log", "ratio", "event")
"""rate: a 0 or 1; score: within a range; mean: a number, capped before it is rolled up; log: the
logarithm of a positive number; ratio: one sum over another; event: a bad event, counted."""
DIRECTIONS: Final = ("higher", "lower")
ROLES: Final = ("goal", "guardrail", "gate", "info")
"""Goals and guardrails may revert and are needed to promote; a gate says whether the arms compare
at all (feedback given as often); info is shown."""
DECISIONS: Final = ("promote", "hold", "revert")
REQUEST: Final = "request"
"""The unit that is assigned to an arm, where each request is for itself."""
FIRST: Final = ":first"
"""What the roll-up calls a metric that counts only the first event of each unit."""
EVENT_SCALE: Final = 0.3
GATE_SCALE: Final = 0.02
MAX_NAME: Final = 128
MAX_SCORER: Final = 256


class PlanProblem(ValueError):  # noqa: N818 (a problem, with its place; the reader makes the error)
    """A plan that cannot be; *key* says which of its fields, empty for the plan as a whole."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"{key}: {problem}" if key else problem)
        self.key = key
        self.problem = problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One question, asked twice: is the canary's *name* worse, and is it within *margin*.

    *margin* is a difference of means; for the kinds log and event it is a ratio above 1 (1.1: ten
    per cent more). For a gate it is the scale on which unequal arms are looked for.
    """

    name: str
    kind: str
    direction: str = "higher"
    role: str = "goal"
    margin: float
    weight: float = 1.0
    """Its share of alpha_revert, relative to those of the others."""
    tau: float | None = None
    """The scale of the mixture; None: the margin (of events: EVENT_SCALE)."""
    low: float | None = None
    high: float | None = None
    """The range of a score."""
    maturity_hours: int = 0
    """So many hours after the exposure its values count as complete; younger ones are left out."""
    source: str | None = None
    """The roll-up's name of it; None: *name*, of events ``name:first`` where units are sticky."""
    scorer: str | None = None
    """Only what this scorer scored counts: a digest, or ``undeclared:…``. None: all of one scorer,
    and two are a failed gate."""

    def __post_init__(self) -> None:
        _require(0 < len(self.name) <= MAX_NAME and self.name.isprintable(), "name",
                 f"it is 1 to {MAX_NAME} printable characters")  # fmt: skip
        _one_of(self.kind, KINDS, "kind")
        _one_of(self.direction, DIRECTIONS, "direction")
        _one_of(self.role, ROLES, "role")
        _finite(self, "margin", "weight", "tau", "low", "high")
        least = 1.0 if self.is_ratio_margin else 0.0
        _require(self.margin > least, "margin",
                 f"it is {self.margin}; of kind {self.kind} it is above {least:g}")  # fmt: skip
        _require(self.weight > 0, "weight", f"it is {self.weight}; it is above 0")
        _require(self.tau is None or self.tau > 0, "tau", f"it is {self.tau}; it is above 0")
        _require(self.maturity_hours >= 0, "maturity_hours", "it is not below 0")
        _require(self.scorer is None or (0 < len(self.scorer) <= MAX_SCORER
                 and self.scorer.isprintable()), "scorer",
                 f"it is 1 to {MAX_SCORER} printable characters")  # fmt: skip
        self._check_kind()

    def _check_kind(self) -> None:
        ranged = self.low is not None and self.high is not None
        _require(self.kind != "score" or ranged, "low", "a score has a range, low and high")
        _require(self.kind == "score" or (self.low is None and self.high is None), "low",
                 f"only a score has a range; this is of kind {self.kind}")  # fmt: skip
        if self.low is not None and self.high is not None:
            _require(self.low < self.high, "low", f"{self.low} is not below high, {self.high}")
        _require(self.kind != "event" or self.direction == "lower", "direction",
                 "events are bad: fewer are better, so it is 'lower'")  # fmt: skip
        _require(self.role != "gate" or self.kind not in ("event", "ratio"), "role",
                 f"a gate compares means; this is of kind {self.kind}")  # fmt: skip

    @property
    def is_ratio_margin(self) -> bool:
        """Whether the margin is a ratio, and differences are those of logarithms."""
        return self.kind in ("log", "event")

    @property
    def slack(self) -> float:
        """The margin on the scale of the difference: of a ratio, its logarithm."""
        return math.log(self.margin) if self.is_ratio_margin else self.margin

    @property
    def scale(self) -> float:
        """The scale of the mixture."""
        if self.tau is not None:
            return self.tau
        return EVENT_SCALE if self.kind == "event" else self.slack

    @property
    def sign(self) -> int:
        """1 where more is better, -1 where less is."""
        return 1 if self.direction == "higher" else -1

    @property
    def is_required(self) -> bool:
        """Whether nothing is promoted before it is known not to be worse."""
        return self.role in ("goal", "guardrail")

    @property
    def limits(self) -> tuple[float, float] | None:
        """The least and the largest value it may have, where it has such."""
        if self.kind == "rate":
            return 0.0, 1.0
        return None if self.low is None or self.high is None else (self.low, self.high)

    @property
    def width(self) -> float | None:
        """The range of its values, where they have one."""
        return None if self.limits is None else self.limits[1] - self.limits[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gates:
    """When the arms do not compare at all. A limit of None turns a gate off."""

    alpha: float = 0.01
    """The chance that one gate, looked at for ever, fails though nothing is wrong."""
    sample_ratio: bool = True
    completeness: float | None = 0.95
    """The least share of each arm's records that came."""
    concurrency: float | None = 0.95
    """The least share of the canary's requests in hours in which the baseline served too."""
    mixed: float | None = 0.01
    """The largest share of requests that more than one version served."""
    single_scorer: bool = True

    def __post_init__(self) -> None:
        _finite(self, "alpha", "completeness", "concurrency", "mixed")
        _probability(self.alpha, "gates.alpha")
        for name in ("completeness", "concurrency", "mixed"):
            value = getattr(self, name)
            _require(value is None or 0 <= value <= 1, f"gates.{name}", f"{value} is not 0 to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Horizon:
    """A last look, declared before data: alpha is divided between all looks before it and it."""

    requests: int
    """Both arms together, in hours that compare and of which no more is awaited; the first look at
    or after so many at which no gate fails is the last one."""
    final: float = 0.8
    """The share of alpha that the last look has."""

    def __post_init__(self) -> None:
        _require(self.requests > 0, "horizon.requests", "it is above 0")
        _probability(self.final, "horizon.final")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What to do where statistics leave it open."""

    small_regression: str = "hold"
    """A canary that is worse beyond doubt, but by less than the margin."""
    expired: str = "hold"
    """No decision until the deadline."""

    def __post_init__(self) -> None:
        _one_of(self.small_regression, DECISIONS, "policy.small_regression")
        _one_of(self.expired, ("hold", "revert"), "policy.expired")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The whole plan; see the module."""

    name: str
    metrics: tuple[Metric, ...]
    unit: str = REQUEST
    """What is assigned to an arm: request, or what a sticky assignment goes by (user, session)."""
    alpha_revert: float = 0.05
    alpha_promote: float = 0.05
    global_share: float = 0.2
    """The share of alpha_revert that watches all metrics together; unused where there is one."""
    minimum_hours: int = 24
    """Nothing is promoted earlier: at least one cycle of a day."""
    deadline_hours: int | None = None
    minimum_requests: int = 30
    minimum_clusters: int = 20
    """Of the canary, before a metric of means is judged."""
    gates: Gates = field(default_factory=Gates)
    horizon: Horizon | None = None
    policy: Policy = field(default_factory=Policy)

    def __post_init__(self) -> None:
        _require(0 < len(self.name) <= MAX_NAME and self.name.isprintable(), "name",
                 f"it is 1 to {MAX_NAME} printable characters")  # fmt: skip
        _require(0 < len(self.unit) <= MAX_NAME and self.unit.isprintable(), "unit",
                 f"it is 1 to {MAX_NAME} printable characters")  # fmt: skip
        names = [metric.name for metric in self.metrics]
        twice = sorted({name for name in names if names.count(name) > 1})
        _require(not twice, "metrics", f"{', '.join(map(repr, twice))} is there twice")
        _require(any(metric.is_required for metric in self.metrics), "metrics",
                 "no goal and no guardrail: nothing could ever be decided")  # fmt: skip
        _probability(self.alpha_revert, "alpha_revert")
        _probability(self.alpha_promote, "alpha_promote")
        _require(0 <= self.global_share < 1, "global_share", f"{self.global_share} is not 0 to 1")
        _require(self.minimum_hours >= 0, "minimum_hours", "it is not below 0")
        least = min(self.minimum_requests, self.minimum_clusters)
        _require(least > 1, "minimum_requests", "it and minimum_clusters are at least 2")
        late = self.deadline_hours is None or self.deadline_hours > self.minimum_hours
        _require(late, "deadline_hours", f"{self.deadline_hours} is not after minimum_hours")

    @property
    def required(self) -> tuple[Metric, ...]:
        """The metrics that may revert, and that are all needed to promote."""
        return tuple(metric for metric in self.metrics if metric.is_required)

    @property
    def is_sticky(self) -> bool:
        """Whether a unit stays with its arm over many requests."""
        return self.unit != REQUEST

    def source_of(self, metric: Metric) -> str:
        """Return what the roll-up calls *metric*."""
        if metric.source is not None:
            return metric.source
        return metric.name + FIRST if metric.kind == "event" and self.is_sticky else metric.name

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain values, every field said."""
        said: dict[str, Any] = {"schema_version": SCHEMA_VERSION}
        for one in fields(self):
            said[one.name] = _plain(getattr(self, one.name))
        return said

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> Self:
        """Return the plan that *said* is, as to_dict says it.

        Raises:
            PlanProblem: it is none.
        """
        values = {key: value for key, value in said.items() if key != "schema_version"}
        values["metrics"] = tuple(Metric(**metric) for metric in said["metrics"])
        values["gates"] = Gates(**said["gates"])
        values["policy"] = Policy(**said["policy"])
        values["horizon"] = None if said["horizon"] is None else Horizon(**said["horizon"])
        return cls(**values)

    def to_bytes(self) -> bytes:
        """Return the canonical form, over which the digest is."""
        return canonical_bytes(self.to_dict())

    @property
    def digest(self) -> str:
        """The identity of the plan."""
        return digest_of(PLAN_DOMAIN, self.to_bytes())


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if isinstance(value, (Metric, Gates, Horizon, Policy)):
        return {one.name: getattr(value, one.name) for one in fields(value)}
    return value


def _finite(value: object, *names: str) -> None:
    for name in names:
        number = getattr(value, name)
        _require(number is None or math.isfinite(number), name, f"{number} is not finite")


def _probability(value: float, key: str) -> None:
    _require(0 < value < 1, key, f"{value} is not between 0 and 1")


def _one_of(value: str, known: tuple[str, ...], key: str) -> None:
    _require(value in known, key, f"{value!r} is none of {', '.join(known)}")


def _require(holds: bool, key: str, otherwise: str) -> None:  # noqa: FBT001 (reads as a sentence)
    if not holds:
        raise PlanProblem(key, otherwise)
