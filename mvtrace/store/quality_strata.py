"""The strata of a comparison: how many it takes, and which planned share each has.

In: what is met of both sides (``Met``). Out: shares by stratum, or a refusal: who may send records
says under which share they were drawn, and could name a million of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from mvtrace.errors import UsageError
from mvtrace.quality.cells import Columns, Stratum
from mvtrace.store.quality_rows import MAX_HOURS, MAX_PHASES, Met

STABLE: Final = "stable"
CANARY: Final = "canary"
"""The names of the arms that mvtrace assigns."""


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


def shares_of(met: Sequence[Met]) -> dict[Stratum, float]:
    """Return the planned share of each stratum that has one."""
    grouped: dict[tuple[str, str], list[Met]] = {}
    for one in met:
        grouped.setdefault((one.rollout, one.phase), []).append(one)
    found: dict[Stratum, float] = {}
    for (rollout, phase), here in grouped.items():
        share = _share(phase, here)
        if share is not None:
            label = phase_label(rollout, phase)
            hours = {hour for one in here for hour in one.hours.tolist()}
            found |= {Stratum(hour, label): share for hour in hours}
    return found


def _share(phase: str, met: Sequence[Met]) -> float | None:
    """Return the planned share of the side asked for as canary, in what one phase of a rollout has.

    That is the share of the arm ``canary``, or what is left of it where the sides were asked for
    the other way round.
    """
    try:
        share = float(phase)
    except ValueError:
        return None
    if not 0 <= share <= 1:  # nor NaN
        return None
    arms = [{arm for one in met if one.side == side for arm in one.arms} for side in (0, 1)]
    if CANARY not in arms[0] and STABLE not in arms[1]:
        return share
    if STABLE not in arms[0] and CANARY not in arms[1]:
        return 1 - share
    return None
