"""What several looks at one comparison remember together. Pure: verdicts in, a verdict out.

Usually a comparison has one last look. Two that were taken at the same time, each without knowing
of the other, leave two; the next look goes on from both, so that what either saw stays seen.
Law: the order of the verdicts does not matter, and ``joined([one]) == one``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from mvtrace.quality.results import Memory
from mvtrace.quality.verdict import Past, Verdict


def joined(looks: Sequence[Verdict]) -> Verdict:
    """Return the latest of *looks*, with what all of them remember; they follow one plan.

    Raises:
        ValueError: there are none, or they follow several plans.
    """
    if len({one.plan.digest for one in looks}) != 1:
        raise ValueError("they are looks of one plan")
    ordered = sorted(looks, key=lambda one: (one.sufficient.arms.until, one.digest))
    last = ordered[-1]
    if len(ordered) == 1:
        return last
    return replace(
        last,
        past=_past([one.past for one in ordered]),
        results=tuple(
            replace(result, memory=_memory([one.results[place].memory for one in ordered]))
            for place, result in enumerate(last.results)
        ),
    )


def _past(all_of: Sequence[Past]) -> Past:
    names = {name for one in all_of for name in one.peaks}
    return Past(
        looks=max(one.looks for one in all_of) + len(all_of) - 1,
        peaks={name: max(one.peaks.get(name, 0.0) for one in all_of) for name in sorted(names)},
        peak_global=max(one.peak_global for one in all_of),
        final_at=_first(one.final_at for one in all_of),
    )


def _memory(all_of: Sequence[Memory]) -> Memory:
    return Memory(
        peak_harm=max(one.peak_harm for one in all_of),
        peak_noninferior=max(one.peak_noninferior for one in all_of),
        harm_at=_first(one.harm_at for one in all_of),
        reverted=any(one.reverted for one in all_of),
        final_harm=any(one.final_harm for one in all_of),
        final_noninferior=any(one.final_noninferior for one in all_of),
    )


def _first(times: Iterable[int | None]) -> int | None:
    known = [one for one in times if one is not None]
    return min(known) if known else None
