"""What a comparison came to at one look: decision, reason, evidence, and all it was computed from.

A ``Verdict`` is a value: to_dict and from_dict turn it into plain values and back, to_bytes has its
canonical form. It carries its plan and its sufficient statistics, so ``deciding.decide`` makes the
same bytes of them again. Verdicts are only ever added to; a later one replaces none.
Law: ``Verdict.from_dict(verdict.to_dict()) == verdict``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, Final, Self

from mvtrace.digest import canonical_bytes, digest_of
from mvtrace.quality.figure import Figure, Look, figure_of
from mvtrace.quality.forecast import Needed
from mvtrace.quality.gates import Gate
from mvtrace.quality.page import page_of
from mvtrace.quality.plan import Plan
from mvtrace.quality.results import Memory, MetricResult
from mvtrace.quality.sufficient import Sufficient

VERDICT_DOMAIN: Final = b"mvtrace.verdict/1\n"
SCHEMA_VERSION: Final = 1

PROMOTE: Final = "promote"
HOLD: Final = "hold"
REVERT: Final = "revert"
EXIT_CODES: Final[Mapping[str, int]] = MappingProxyType({PROMOTE: 0, HOLD: 10, REVERT: 11})
"""What a command ends with. 1, 2 and 3 mean what they mean everywhere: a slip reverts nothing."""

REASONS: Final = (
    "harm",
    "all_noninferior",
    "undecided",
    "invalid_gate",
    "underpowered",
    "small_regression",
    "too_early",
    "expired",
    "conflict",
)
EXACT: Final = "exact"
ASYMPTOTIC: Final = "asymptotic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Further requests of both arms, and hours at the present pace; None: not to be expected."""

    revert_requests: int | None
    revert_hours: float | None
    promote_requests: int | None
    promote_hours: float | None
    promote_if_equal_requests: int | None
    promote_if_equal_hours: float | None
    promote_if_equal_at_most_requests: int | None
    """By then 99 of 100 equal canaries are promoted, for each metric."""
    promote_if_equal_at_most_hours: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What a comparison remembers between its looks, beside what each metric does."""

    looks: int = 0
    peaks: Mapping[str, float]
    """By gate that is a test: the largest ln E so far."""
    peak_global: float = 0.0
    final_at: int | None = None
    """Unix seconds of the last look of a declared horizon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """See the module."""

    decision: str
    reason: str
    metrics: tuple[str, ...]
    """Which metrics or gates are the reason."""
    guarantee: str
    """exact: the chance of error holds at any size; asymptotic: it does for large ones."""
    sentence: str
    gates: tuple[Gate, ...]
    results: tuple[MetricResult, ...]
    log_e_global: float
    level_global: float | None
    forecast: Forecast
    warnings: tuple[str, ...]
    past: Past
    plan: Plan
    sufficient: Sufficient

    @property
    def exit_code(self) -> int:
        """What a command that asks for it ends with."""
        return EXIT_CODES[self.decision]

    def result(self, name: str) -> MetricResult:
        """Return the result of the metric *name*.

        Raises:
            KeyError: the plan has none of that name.
        """
        for one in self.results:
            if one.name == name:
                return one
        raise KeyError(name)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "schema_version": SCHEMA_VERSION,
            "decision": self.decision,
            "reason": self.reason,
            "metrics": list(self.metrics),
            "guarantee": self.guarantee,
            "sentence": self.sentence,
            "gates": [_fields(one) for one in self.gates],
            "results": [_result(one) for one in self.results],
            "log_e_global": self.log_e_global,
            "level_global": self.level_global,
            "forecast": _fields(self.forecast),
            "warnings": list(self.warnings),
            "past": {**_fields(self.past), "peaks": dict(self.past.peaks)},
            "plan": self.plan.to_dict(),
            "plan_digest": self.plan.digest,
            "sufficient": self.sufficient.to_dict(),
        }

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> Self:
        """Return the verdict that to_dict made *said* of.

        Raises:
            ValueError: it is of a form that this version does not know, or its plan is another.
        """
        if said.get("schema_version") != SCHEMA_VERSION:
            raise ValueError(f"schema_version is {said.get('schema_version')!r}; 1 is known")
        plan = Plan.from_dict(said["plan"])
        if plan.digest != said["plan_digest"]:
            raise ValueError(f"the plan's digest is {plan.digest}, not {said['plan_digest']}")
        return cls(
            decision=said["decision"],
            reason=said["reason"],
            metrics=tuple(said["metrics"]),
            guarantee=said["guarantee"],
            sentence=said["sentence"],
            gates=tuple(Gate(**one) for one in said["gates"]),
            results=tuple(_result_of(one) for one in said["results"]),
            log_e_global=said["log_e_global"],
            level_global=said["level_global"],
            forecast=Forecast(**said["forecast"]),
            warnings=tuple(said["warnings"]),
            past=Past(**said["past"]),
            plan=plan,
            sufficient=Sufficient.from_dict(said["sufficient"]),
        )

    def figure(self, before: Sequence[Verdict] = ()) -> Figure:
        """Return a picture of it; with earlier looks, *before*, also how it came to be.

        Raises:
            ValueError: a look before follows another plan.
        """
        if any(one.plan.digest != self.plan.digest for one in before):
            raise ValueError("a look before follows another plan")
        looks = [Look(one.sufficient.arms.until, one.results) for one in (*before, self)]
        return figure_of(self.plan, self.sentence, looks)

    def _repr_html_(self) -> str:
        """Return it for a notebook: the sentence, the picture, the table."""
        return page_of(self.sentence, self.gates, self.results, picture=self.figure().svg)

    def to_bytes(self) -> bytes:
        """Return the canonical form."""
        return canonical_bytes(self.to_dict())

    @property
    def digest(self) -> str:
        """The identity of the verdict."""
        return digest_of(VERDICT_DOMAIN, self.to_bytes())


def _fields(value: Any) -> dict[str, Any]:
    return {one.name: getattr(value, one.name) for one in fields(value)}


def _result(found: MetricResult) -> dict[str, Any]:
    said = _fields(found)
    return {
        **said,
        "clusters": None if found.clusters is None else list(found.clusters),
        "interval": None if found.interval is None else list(found.interval),
        "more_requests": _fields(found.more_requests),
        "memory": _fields(found.memory),
        "warnings": list(found.warnings),
    }


def _result_of(said: Mapping[str, Any]) -> MetricResult:
    values = dict(said)
    for name in ("clusters", "interval"):
        values[name] = None if said[name] is None else tuple(said[name])
    values["more_requests"] = Needed(**said["more_requests"])
    values["memory"] = Memory(**said["memory"])
    values["warnings"] = tuple(said["warnings"])
    return MetricResult(**values)
