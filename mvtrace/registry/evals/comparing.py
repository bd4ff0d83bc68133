"""Which results of two versions may be compared: those on one suite by one declared scorer.

In: two versions, perhaps a suite and a scorer. Out: their examples in pairs, or a refusal that says
what differs and what to run so that it does not. The statistics are in ``mvtrace.quality.paired``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from mvtrace.registry.evals.refusing import NotComparableError, Wanted, refusal
from mvtrace.registry.evals.runs import MOST_RUNS, Known, Run, known_of, runs_of
from mvtrace.registry.evals.scorers import better_said, is_declared
from mvtrace.registry.evals.suites import examples_said
from mvtrace.registry.reading import Ask, statement


class Pair(NamedTuple):
    """One example as both versions did on it: mean scores, and how many samples each has."""

    example: str
    cluster: str
    first: float
    second: float
    samples: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """What two versions scored on one suite by one scorer."""

    suite: str
    scorer: str
    suite_words: str
    scorer_words: str
    better: str
    """``higher`` or ``lower``."""
    runs: tuple[int, int]
    """How many runs of each version are in it."""
    pairs: tuple[Pair, ...]
    examples: int
    """How many the suite has; those met, where the suite is not registered."""
    only: tuple[int, int]
    """Examples that only the first, or only the second, has a result of."""
    unscored: tuple[int, int]
    """Examples of which the first, or the second, has results and no score."""

    @property
    def missing_share(self) -> float:
        """The share of the suite's examples without a pair."""
        return 1 - len(self.pairs) / self.examples


class Comparable(NamedTuple):
    """The tests that two versions had in common, and those whose results do not hold together."""

    tests: list[Paired]
    refused: list[NotComparableError]
    is_cut: bool
    """There are more runs than were looked at: the oldest are missing."""


def comparable(
    ask: Ask, first: str, second: str, *, suite: str = "", scorer: str = ""
) -> Comparable:
    """Return the pairs of every test that both versions had, on *suite* by *scorer* if given.

    Raises:
        NotComparableError: there is none.
    """
    runs = runs_of(ask, (first, second))
    wanted = Wanted(suite, scorer)
    known = known_of(ask, runs, [wanted])
    matching = [run for run in runs if run.is_whole and wanted.lets(run.test)]
    sides = [[run for run in matching if run.composite == one] for one in (first, second)]
    tests = sorted({run.test for run in sides[0]} & {run.test for run in sides[1]})
    declared = [test for test in tests if is_declared(test[1])]
    if first == second or not declared:
        raise refusal((first, second), runs, known, wanted)
    made: list[Paired] = []
    refused: list[NotComparableError] = []
    for test in declared:
        try:
            made.append(_paired(ask, test, sides, known))
        except NotComparableError as error:
            refused.append(error)
    if not made:
        raise refused[0]
    return Comparable(made, refused, len(runs) >= MOST_RUNS)


def _paired(
    ask: Ask, test: tuple[str, str], sides: Sequence[Sequence[Run]], known: Known
) -> Paired:
    taken = [[run for run in side if run.test == test] for side in sides]
    chosen = [[run.run for run in side] for side in taken]
    strays = [one for side in taken for run in side for one in run.strays]
    rows = ask(
        statement("eval_pairs"),
        {
            "suite": test[0],
            "scorer": test[1],
            "first": chosen[0],
            "second": chosen[1],
            "strays": strays,
        },
    )
    torn = [row["example"] for row in rows if int(row["clusters"]) > 1]
    if torn:
        raise NotComparableError(
            f"{len(torn):,} examples are in two clusters, {torn[0]!r} the first of them: "
            "which results depend on one another is not known.",
            hint="Record the results with the cluster that the suite's cluster_key names.",
        )
    pairs = [_pair(row) for row in rows if int(row["first_scored"]) and int(row["second_scored"])]
    count = examples_said(known.said("suites", test[0])).count
    if count and len(rows) > count:
        raise NotComparableError(
            f"The results name {len(rows):,} examples, but {known.suite_words(test[0])} has "
            f"{count:,}: they are not of this suite.",
            hint="Record them on the suite they are of: 'mvtrace eval record --help'.",
        )
    return Paired(
        suite=test[0],
        scorer=test[1],
        suite_words=known.suite_words(test[0]),
        scorer_words=known.scorer_words(test[1]),
        better=better_said(known.said("scorers", test[1])),
        runs=(len(chosen[0]), len(chosen[1])),
        pairs=tuple(pairs),
        examples=count or len(rows),
        only=(_only(rows, "first", "second"), _only(rows, "second", "first")),
        unscored=(_unscored(rows, "first"), _unscored(rows, "second")),
    )


def _pair(row: Mapping[str, Any]) -> Pair:
    return Pair(
        example=row["example"],
        cluster=row["grouped"],
        first=float(row["first"]),
        second=float(row["second"]),
        samples=(int(row["first_scored"]), int(row["second_scored"])),
    )


def _only(rows: Sequence[Mapping[str, Any]], one: str, other: str) -> int:
    return sum(_has(row, one) and not _has(row, other) for row in rows)


def _unscored(rows: Sequence[Mapping[str, Any]], one: str) -> int:
    return sum(_has(row, one) and not int(row[f"{one}_scored"]) for row in rows)


def _has(row: Mapping[str, Any], one: str) -> bool:
    return bool(int(row[f"{one}_scored"]) + int(row[f"{one}_unscored"]))
