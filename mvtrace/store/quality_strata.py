"""The strata of a comparison: how many it takes, and which planned share each has.

In: what is met of both sides (``Met``). Out: shares by stratum, or a refusal: who may send records
says under which share they were drawn, and could name a million of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from mvtrace.errors import UsageError
from mvtrace.quality.cells import Columns, Stratum
from mvtrace.store.quality_rows import MAX_HOURS, MAX_PHASES, REQUEST, Met

MAX_UNIT_HOURS: Final = 10_000_000
"""Six numbers of each are held, of both arms: about a gigabyte."""


class TooManyStrataError(UsageError):
    """What was asked for falls into more parts than a comparison takes."""

    code = "too-many-strata"

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"It is too much for one comparison: {problem}.",
            hint="Compare a shorter time, one rollout, or fewer metrics.",
        )


def check_strata(met: Sequence[Met]) -> None:
    """Refuse what a comparison has no time and no memory for.

    Raises:
        TooManyStrataError: it is too much.
    """
    phases = len({(one.rollout, one.phase) for one in met})
    if phases > MAX_PHASES:
        raise TooManyStrataError(
            f"its requests were drawn under more than {MAX_PHASES} planned shares"
        )
    if sum(len(one.hours) for one in met) > MAX_HOURS:
        raise TooManyStrataError(
            f"its metrics have more than {MAX_HOURS} hours, each of a version, an arm and a scorer"
        )


def check_units(columns: Mapping[tuple[str, str], Columns]) -> None:
    """Refuse units that are clusters of their own, where tables of all in all hours do not fit.

    Raises:
        TooManyStrataError: it is too much.
    """
    for metric in {metric for metric, _ in columns}:
        both = [one for (name, _), one in columns.items() if name == metric]
        units = len(np.unique(np.concatenate([one.buckets for one in both])))
        hours = len(np.unique(np.concatenate([one.hours for one in both])))
        if units * hours > MAX_UNIT_HOURS:
            raise TooManyStrataError(f"{units} units in {hours} hours do not fit into memory")


def phase_label(rollout: str, phase: str) -> str:
    """Return what a stratum calls the planned share *phase* of *rollout*; empty without one."""
    return f"{rollout} {phase}" if rollout else phase


def shares_of(met: Sequence[Met]) -> tuple[dict[Stratum, float], int]:
    """Return the planned share of each stratum that has one, and how many requests belie it.

    That is the share of the side asked for as canary: of the arm ``canary``, or what is left of it
    where most of an hour's requests say that the sides were asked for the other way round. The few
    that say otherwise belie it. An hour of one side alone was drawn as those of both were; where
    none were so, the side has another part in a draw that is no comparison of the two: such a share
    is NaN. The next rollout's baseline is no canary of this one.
    """
    grouped: dict[tuple[str, str], list[Met]] = {}
    for one in met:
        if one.metric == REQUEST:
            grouped.setdefault((one.rollout, one.phase), []).append(one)
    found: dict[Stratum, float] = {}
    belied = 0
    for (rollout, phase), here in grouped.items():
        share = _share(phase)
        if share is None:
            continue
        label = phase_label(rollout, phase)
        drawn = _drawn(here)
        is_turned = {one.is_turned for one in drawn.values() if one.is_of_both} or {False}
        for hour, of_hour in drawn.items():
            known = of_hour.is_turned in is_turned
            of_canary = 1 - share if of_hour.is_turned else share
            found[Stratum(hour, label)] = of_canary if known else math.nan
            belied += of_hour.fewer if known else 0
    return found, belied


def services_apart(met: Sequence[Met]) -> frozenset[str]:
    """Return the services that one draw's units were met in, where they are several.

    A rollout draws a unit once in an environment, whatever serves it, and each service counts the
    units it met: what two count is there twice.
    """
    found: dict[tuple[str, str], set[str]] = {}
    for one in met:
        for environment, service in one.places:
            found.setdefault((one.rollout, environment), set()).add(service)
    return frozenset(service for those in found.values() if len(those) > 1 for service in those)


def _share(phase: str) -> float | None:
    try:
        share = float(phase)
    except ValueError:
        return None
    return share if 0 <= share <= 1 else None  # nor NaN


class _Drawn:
    """What one hour of a phase has."""

    def __init__(self) -> None:
        self.as_asked = [0, 0]
        """By side, the requests of the baseline as ``stable``, and of the canary as ``canary``."""
        self.turned = [0, 0]

    @property
    def is_turned(self) -> bool:
        """Whether most are of the baseline as ``canary``, or of the canary as ``stable``."""
        return sum(self.as_asked) < sum(self.turned)

    @property
    def is_of_both(self) -> bool:
        """Whether both sides are among those most."""
        return all(self.turned if self.is_turned else self.as_asked)

    @property
    def fewer(self) -> int:
        """The requests that are not among those most."""
        return min(sum(self.as_asked), sum(self.turned))


def _drawn(met: Sequence[Met]) -> dict[int, _Drawn]:
    """Return what each hour has."""
    found: dict[int, _Drawn] = {}
    for one in met:
        rows = zip(one.hours.tolist(), one.arms.tolist(), one.sums[0].tolist(), strict=True)
        for hour, arm, requests in rows:
            here = found.setdefault(hour, _Drawn())
            if arm in (0, 1):
                (here.as_asked if arm == one.side else here.turned)[one.side] += round(requests)
    return found
