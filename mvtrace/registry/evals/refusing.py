"""Why two versions are not compared: what each was scored on, what differs, what makes it one test.

In: the runs of both versions, and what is registered of their suites and scorers. Out: an error
whose text says all of that, and whose hint is the command that records what is missing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from mvtrace.errors import CheckFailedError
from mvtrace.registry.evals.runs import SHORT, Known, Run, one_line
from mvtrace.registry.evals.scorers import is_declared

_MAX_SHOWN: Final = 60
_MAX_DIFFERENCES: Final = 12
_MAX_TESTS: Final = 8
_WHAT: Final = ("suites", "scorers")
_DIGEST: Final = re.compile(r"(?:sha256:)?([0-9a-f]{64})")

Test = tuple[str, str]
"""A suite and a scorer."""


class NotComparableError(CheckFailedError):
    """Two versions were not scored on the same test; nothing is compared."""

    code = "incomparable"


class Wanted(NamedTuple):
    """The suite and the scorer that were asked for; empty: any."""

    suite: str
    scorer: str

    def lets(self, test: Test) -> bool:
        """Whether *test* is what was asked for."""
        return self.suite in ("", test[0]) and self.scorer in ("", test[1])


def refusal(
    versions: tuple[str, str], runs: Sequence[Run], known: Known, wanted: Wanted
) -> NotComparableError:
    """Return why *versions* are not compared, and what would make them comparable."""
    first, second = versions
    if first == second:
        return NotComparableError(
            f"Both versions are {first[:SHORT]}; a version is not compared with itself.",
            hint="'mvtrace eval list' shows which versions were scored.",
        )
    sides = [
        list(dict.fromkeys(run.test for run in runs if run.composite == one and run.is_whole))
        for one in versions
    ]
    shared = [test for test in sides[0] if test in sides[1] and wanted.lets(test)]
    if shared:
        return NotComparableError(
            f"{first[:SHORT]} and {second[:SHORT]} were scored by {one_line(shared[0][1])}, "
            "a scorer that nobody declared: whether both were scored alike is not known.",
            hint="Register it with 'mvtrace eval scorer', and record both results again under it.",
        )
    lines = [
        f"\n  {one[:SHORT]}:{_tests(one, side, runs, known)}"
        for one, side in zip(versions, sides, strict=True)
    ]
    target, theirs, test = _missing(versions, sides, known, wanted)
    return NotComparableError(
        f"{first[:SHORT]} and {second[:SHORT]} were not scored on the same test"
        f"{_asked(known, wanted)}, so their scores do not compare. Scored were:"
        + "".join(lines)
        + _differs(theirs, test, known),
        hint=_rescore(target, test),
    )


def differences(one: Any, other: Any, path: str = "") -> list[tuple[str, str, str]]:
    """Return where *one* and *other* differ: the path, and what stands there in each."""
    if isinstance(one, dict) and isinstance(other, dict):
        return [
            difference
            for key in sorted(one.keys() | other.keys())
            for difference in differences(
                one.get(key), other.get(key), f"{path}.{key}" if path else key
            )
        ]
    return [] if one == other else [(path, _shown(one), _shown(other))]


def rescore_command(version: str, test: Test) -> str:
    """Return the command that records *version*'s results of *test*."""
    suite, scorer = test
    named = scorer[:SHORT] if scorer and is_declared(scorer) else "SCORER"
    return (
        f"mvtrace eval record RESULTS.jsonl --version {version[:SHORT]} "
        f"--suite {suite[:SHORT] or 'SUITE'} --scorer {named}"
    )


def _missing(
    versions: tuple[str, str], sides: Sequence[Sequence[Test]], known: Known, wanted: Wanted
) -> tuple[tuple[str, ...], Sequence[Test], Test]:
    """Return which versions lack results, on what they have some, and of which test they lack them.

    What the second was scored on is the test, as far as it is the one that was asked for.
    """
    matching = [[test for test in side if wanted.lets(test)] for side in sides]
    for target, model in ((0, 1), (1, 0)):
        if matching[model]:
            nearest = min(matching[model], key=lambda test: _distance(test, sides[target], known))
            return (versions[target],), sides[target], nearest
    test = next((one for side in sides for one in side if wanted.suite in ("", one[0])), ("", ""))
    return versions, [*sides[0], *sides[1]], (wanted.suite or test[0], wanted.scorer or test[1])


def _distance(test: Test, others: Sequence[Test], known: Known) -> int:
    """Return how far *test* is from the nearest of *others*; of one name is nearer."""

    def names(one: Test) -> list[Any]:
        return [known.said(what, one[at]).get("name") for at, what in enumerate(_WHAT)]

    return min(
        (
            sum(
                2 * (mine != theirs) + (name != other)
                for mine, theirs, name, other in zip(
                    test, one, names(test), names(one), strict=True
                )
            )
            for one in others
        ),
        default=0,
    )


def _asked(known: Known, wanted: Wanted) -> str:
    parts = [f"suite {known.suite_words(wanted.suite)}"] if wanted.suite else []
    parts += [f"scorer {known.scorer_words(wanted.scorer)}"] if wanted.scorer else []
    return f" ({', '.join(parts)})" if parts else ""


def _tests(version: str, side: Sequence[Test], runs: Sequence[Run], known: Known) -> str:
    words = [
        f"{known.suite_words(suite)} by {known.scorer_words(scorer)}"
        for suite, scorer in side[:_MAX_TESTS]
    ]
    if len(side) > _MAX_TESTS:
        words.append(f"and {len(side) - _MAX_TESTS:,} more")
    broken = sum(run.composite == version and not run.is_whole for run in runs)
    if broken:
        words.append(f"{broken:,} {'run' if broken == 1 else 'runs'} of which pieces are missing")
    return "".join(f"\n    {word}" for word in words) or " nothing"


def _differs(theirs: Sequence[Test], test: Test, known: Known) -> str:
    """Return in what *test* differs from the one of *theirs* that is nearest to it."""
    if not theirs:
        return ""
    nearest = min(theirs, key=lambda one: _distance(one, [test], known))
    lines = [
        f"\n  {what} {one_line(path)}: {one}, not {other}"
        for what, place in (("suite", 0), ("scorer", 1))
        if nearest[place] != test[place]
        for path, one, other in differences(
            known.said(f"{what}s", nearest[place]), known.said(f"{what}s", test[place])
        )
    ]
    if not lines:
        return ""
    more = f"\n  and {len(lines) - _MAX_DIFFERENCES:,} more" if lines[_MAX_DIFFERENCES:] else ""
    return "\nWhat differs:" + "".join(lines[:_MAX_DIFFERENCES]) + more


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, str) and (digest := _DIGEST.fullmatch(value)):
        return digest[1][:SHORT]
    text = repr(value) if isinstance(value, str) else one_line(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 3]}..."


def _rescore(targets: Sequence[str], test: Test) -> str:
    if len(targets) == 1:
        [version] = targets
        return f"Run {version[:SHORT]} on that suite, then: {rescore_command(version, test)}"
    commands = "; ".join(rescore_command(version, test) for version in targets)
    return f"Run both on one suite, then: {commands}"
