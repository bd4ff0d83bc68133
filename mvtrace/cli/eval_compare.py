"""``mvtrace eval compare`` and ``rescore-plan``: two versions on one test, and who has to take it.

In: two versions, or a suite. Out: the paired, clustered comparison on every test that both were
scored on, with what is not paired; or a refusal that says what differs. The plan lists the versions
that served lately and lack results on a suite, with the command for each.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import click

from mvtrace.cli import listing
from mvtrace.cli.errors import ExtraMissingError
from mvtrace.cli.inert import inert, json_text
from mvtrace.cli.registering import asker
from mvtrace.cli.words import plural, version_words
from mvtrace.errors import CheckFailedError
from mvtrace.registry.entries import Entry
from mvtrace.registry.evals.comparing import Comparable, Paired, comparable
from mvtrace.registry.evals.planning import MOST_RECENT, Recent, rescore_plan
from mvtrace.registry.evals.runs import MOST_RUNS, scorer_named, suite_named, version_named

URL = click.option("--url", metavar="URL", help="A collector (MVTRACE_URL, else 127.0.0.1:4318).")
STORE = click.option("--store", metavar="DSN", help="Read this store directly.")
JSON = click.option("--json", "as_json", is_flag=True)
_DAY_MS: Final = 86_400_000


@click.command(epilog="Example: mvtrace eval compare 3f2a9c01 8d1e77aa --suite capitals@2")
@click.argument("first")
@click.argument("second")
@click.option("--suite", "suite_text", metavar="SUITE", help="Only on this suite.")
@click.option("--scorer", "scorer_text", metavar="SCORER", help="Only by this scorer.")
@click.option(
    "--alpha", type=click.FloatRange(0.0001, 0.5), default=0.05, show_default=True, metavar="SHARE"
)
@click.option(
    "--max-missing",
    type=click.FloatRange(0, 1),
    default=0.05,
    show_default=True,
    metavar="SHARE",
    help="Refuse where more of the suite's examples have no pair.",
)
@JSON
@URL
@STORE
def compare(*, first: str, second: str, as_json: bool, **said: Any) -> None:
    """Compare SECOND with FIRST on each test that both were scored on, example by example.

    Samples of one example are averaged; examples of one cluster count as one observation's worth of
    independence. Looking again after each new run until something shows is not corrected for. Exit
    codes: 0 compared (a test that does not compare is told beside the others), 1 no scores compare.
    """
    ask = asker(said["url"], said["store"])
    versions = version_named(ask, first), version_named(ask, second)
    suite = _digits(suite_named(ask, said["suite_text"])) if said["suite_text"] else ""
    scorer = _digits(scorer_named(ask, said["scorer_text"])) if said["scorer_text"] else ""
    found = comparable(ask, *versions, suite=suite, scorer=scorer)
    tests, refused = _enough(found, versions, said["max_missing"])
    compared = _compared(tests, said["alpha"])
    if as_json:
        problems = [error.message for error in refused]
        listing.write(
            json_text(
                {
                    "first": versions[0],
                    "second": versions[1],
                    "tests": compared,
                    "refused": problems,
                    "is_cut": found.is_cut,
                }
            )
        )
        return
    listing.write(_words(versions, compared))
    for error in refused:
        listing.write(f"\nnot compared: {inert(error.message)}\n")
    if found.is_cut:
        listing.write(f"\nThere are {MOST_RUNS:,} runs or more; the newest are in this.\n")


@click.command("rescore-plan", epilog="Example: mvtrace eval rescore-plan --suite capitals@2")
@click.option("--suite", "suite_text", required=True, metavar="SUITE")
@click.option("--scorer", "scorer_text", metavar="SCORER", help="By this scorer.")
@click.option(
    "--days", type=click.IntRange(1, 3_650), default=30, show_default=True, help="How far back."
)
@JSON
@URL
@STORE
def rescore_plan_(*, suite_text: str, days: int, as_json: bool, **said: Any) -> None:
    """List the versions that serve or served lately and lack results on SUITE, and the commands.

    Those that serve now come first, then by how many requests they answered.
    """
    ask = asker(said["url"], said["store"])
    suite = suite_named(ask, suite_text)
    scorer = _digits(scorer_named(ask, said["scorer_text"])) if said["scorer_text"] else ""
    since_ms = time.time_ns() // 1_000_000 - days * _DAY_MS
    lacking, whole, is_cut = rescore_plan(ask, suite, since_ms=since_ms, scorer=scorer)
    digits = _digits(suite)
    if as_json:
        listed = [one.to_dict(digits) for one in lacking]
        facts = {"suite": digits, "days": days, "scored": whole, "is_cut": is_cut}
        listing.write(json_text({**facts, "versions": listed}))
        return
    listing.write(_plan_words(lacking, whole, suite, days))
    if is_cut:
        listing.write(
            f"\nNot all were looked at: {MOST_RECENT:,} versions, those that serve and then by "
            f"requests, and the newest {MOST_RUNS:,} runs.\n"
        )


def _enough(
    found: Comparable, versions: tuple[str, str], most: float
) -> tuple[list[Paired], list[CheckFailedError]]:
    """Return the tests of which enough is paired, and why the others are refused.

    Raises:
        CheckFailedError: enough is paired of none.
    """
    tests: list[Paired] = []
    refused: list[CheckFailedError] = [*found.refused]
    for one in found.tests:
        try:
            _check_missing(one, versions, most)
        except CheckFailedError as error:
            refused.append(error)
        else:
            tests.append(one)
    if not tests:
        raise refused[0]
    return tests, refused


def _check_missing(one: Paired, versions: tuple[str, str], most: float) -> None:
    if not one.pairs:
        raise CheckFailedError(
            f"On suite {one.suite_words} no example has a score of both versions: {_missing(one)}.",
            hint="'mvtrace eval list' shows what was scored.",
        )
    if one.missing_share > most:
        raise CheckFailedError(
            f"{one.examples - len(one.pairs):,} of {one.examples:,} examples of suite "
            f"{one.suite_words} have no pair, {one.missing_share:.1%}, and at most {most:.1%} may "
            f"lack one ({version_words(versions[0])} is the first): {_missing(one)}.",
            hint="Score what is missing, or say with --max-missing which share may be.",
        )


def _missing(one: Paired) -> str:
    neither = one.examples - len(one.pairs) - sum(one.only)
    unscored = sum(one.unscored)
    parts = [
        f"{one.only[0]:,} only in the first",
        f"{one.only[1]:,} only in the second",
        f"{max(0, neither):,} not scored in one or both",
    ]
    return ", ".join(parts) + (f" ({unscored:,} tried and without a score)" if unscored else "")


def _compared(found: Sequence[Paired], alpha: float) -> list[dict[str, Any]]:
    """Return each test's comparison as plain JSON values, p-values adjusted for one another."""
    try:
        from mvtrace.quality import paired  # noqa: PLC0415 (an extra)
    except ImportError as error:
        raise ExtraMissingError("quality", str(error)) from error
    made = [
        paired.compare(
            [pair.first for pair in one.pairs],
            [pair.second for pair in one.pairs],
            [pair.cluster or (pair.example,) for pair in one.pairs],
            is_single=all(pair.samples == (1, 1) for pair in one.pairs),
            alpha=alpha,
        )
        for one in found
    ]
    known = [place for place, one in enumerate(made) if one.difference.p is not None]
    adjusted = dict(
        zip(known, paired.holm([made[place].difference.p or 0.0 for place in known]), strict=True)
    )
    return [
        {
            **_test(one),
            **asdict(comparison),
            "p_adjusted": adjusted.get(place),
            "alpha": alpha,
            "verdict": _verdict(asdict(comparison), adjusted.get(place), one.better, alpha),
        }
        for place, (one, comparison) in enumerate(zip(found, made, strict=True))
    ]


def _test(one: Paired) -> dict[str, Any]:
    return {
        "suite": one.suite,
        "suite_name": one.suite_words,
        "scorer": one.scorer,
        "scorer_name": one.scorer_words,
        "better": one.better,
        "runs": list(one.runs),
        "examples": one.examples,
        "pairs": len(one.pairs),
        "samples": [sum(pair.samples[side] for pair in one.pairs) for side in (0, 1)],
        "only": list(one.only),
        "unscored": list(one.unscored),
        "missing": _missing(one),
    }


def _verdict(found: Mapping[str, Any], p: float | None, better: str, alpha: float) -> str:
    if found["alike"] is not None:
        return "alike"
    if p is None:
        return "not known"
    if p > alpha:
        return "no evidence of a difference"
    if found["flip"] is not None and found["flip"] > alpha:
        return "not settled"
    is_higher = found["difference"]["difference"] > 0
    return "better" if is_higher == (better == "higher") else "worse"


def _words(versions: tuple[str, str], tests: Sequence[Mapping[str, Any]]) -> str:
    first, second = map(version_words, versions)
    return "\n".join(
        "\n".join(
            [
                f"suite {inert(one['suite_name'])}, scorer {inert(one['scorer_name'])}",
                *(f"  {line}" for line in _lines(one, first, second)),
                "",
            ]
        )
        for one in tests
    )


def _lines(one: Mapping[str, Any], first: str, second: str) -> list[str]:
    found = one["difference"]
    level = f"{100 * (1 - one['alpha']):.4g} %"
    between = "no interval" + (
        ": every cluster differs by as much" if found["p"] is not None and not one["alike"] else ""
    )
    if interval := found["interval"]:
        between = f"{level} interval [{interval[0]:+.4g}, {interval[1]:+.4g}]"
    means = f"{first} {one['first']:.4g}, {second} {one['second']:.4g}"
    counts = f"{plural(one['pairs'], 'pair')} of {one['examples']:,} examples in "
    counts += f"{plural(found['groups'], 'cluster')}; samples {one['samples'][0]:,} and "
    counts += f"{one['samples'][1]:,} in {one['runs'][0]:,} and {plural(one['runs'][1], 'run')}"
    lines = [
        f"{means}: {found['difference']:+.4g}, {between}",
        _says(one, level),
        counts,
        f"not paired: {one['missing']}",
    ]
    return lines + _checks(one)


def _says(one: Mapping[str, Any], level: str) -> str:
    """Return the verdict in words: never more than is known."""
    p = one["p_adjusted"]
    verdict = one["verdict"]
    if verdict == "alike":
        return (
            f"every pair is alike; up to {one['alike']:.2%} of the clusters may differ all the same"
        )
    if verdict == "not known":
        return "one cluster: how uncertain the difference is cannot be told"
    told = f"p {p:.3g}" + (", adjusted for the other tests" if p != one["difference"]["p"] else "")
    if verdict == "not settled":
        return f"{told}; the check by sign flips does not confirm it: not settled at {level}"
    direction = {"better": "the second is better", "worse": "the second is worse"}
    return f"{direction.get(verdict, verdict)} ({told}; {one['better']} is better)"


def _checks(one: Mapping[str, Any]) -> list[str]:
    parts = []
    if one["detectable"] is not None:
        parts.append(f"a true difference of {one['detectable']:.3g} is found in 8 of 10 such tests")
    if one["flip"] is not None:
        parts.append(f"sign flips p {one['flip']:.3g}")
    if one["mcnemar"] is not None:
        lost, won, p = one["mcnemar"]
        parts.append(f"McNemar {lost:,} lost, {won:,} won, p {p:.3g}")
    return ["; ".join(parts)] if parts else []


def _plan_words(lacking: Sequence[Recent], whole: int, suite: Entry, days: int) -> str:
    digits = _digits(suite)
    called = f"suite {inert(suite.name)} ({version_words(digits)})"
    if not lacking and not whole:
        return f"No version served or was deployed in the last {plural(days, 'day')}.\n"
    if not lacking:
        return (
            f"Nothing to score: {plural(whole, 'version')} of the last {plural(days, 'day')} "
            f"{'has' if whole == 1 else 'have'} results on {called}.\n"
        )
    lines = [f"{plural(len(lacking), 'version')} to score on {called}; {whole:,} have results."]
    for one in lacking:
        serves = f", serves {', '.join(map(inert, one.serves))}" if one.serves else ""
        name = f" {inert(one.name)}" if one.name else ""
        lines.append(
            f"\n{version_words(one.version)}{name}, {plural(one.requests, 'request')} in "
            f"{plural(days, 'day')}{serves}"
        )
        lines += [f"  {command}" for command in one.commands(digits)]
    return "\n".join(lines) + "\n"


def _digits(entry: Entry) -> str:
    return entry.digest.removeprefix("sha256:")
