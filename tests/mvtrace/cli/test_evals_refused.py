"""``mvtrace eval`` against a real collector: what is refused, to the word."""

from __future__ import annotations

from typing import Any

import pytest
from evaluated import EXAMPLES, D, World, refused, scored

from mvtrace.cli.registering import register
from mvtrace.registry.evals.results import Pinned, Result, pieces_of


def test_another_suite_is_refused(world: World) -> None:
    """
    Which results there are, what differs in the suites, and the command that scores again.
    """
    one, other = "8a" * 32, "8b" * 32
    first = world.record(one, "sums@v1", "exact", scored(200, lambda n: True))["runs"][0]
    second = world.record(other, "sums@v2", "exact", scored(190, lambda n: True))["runs"][0]
    roots = [
        world.json("show", f"sums@{version}")["examples"]["root"][:12] for version in ("v1", "v2")
    ]

    assert refused(world.run("compare", one[:8], other[:8])) == (
        "error: incomparable\n\n"
        "8a8a8a8a8a8a and 8b8b8b8b8b8b were not scored on the same test, so their scores do not "
        "compare. Scored were:\n"
        f"  8a8a8a8a8a8a:\n    sums v1 ({first['suite'][:12]}, 200 examples) by exact "
        f"({first['scorer'][:12]})\n"
        f"  8b8b8b8b8b8b:\n    sums v2 ({second['suite'][:12]}, 190 examples) by exact "
        f"({second['scorer'][:12]})\n"
        "What differs:\n"
        "  suite examples.count: 200, not 190\n"
        f"  suite examples.root: {roots[0]}, not {roots[1]}\n"
        "  suite version: 'v1', not 'v2'\n\n"
        "hint: Run 8a8a8a8a8a8a on that suite, then: mvtrace eval record RESULTS.jsonl "
        f"--version 8a8a8a8a8a8a --suite {second['suite'][:12]} --scorer {second['scorer'][:12]}\n"
    )
    asked = refused(world.run("compare", one[:8], other[:8], "--suite", "sums@v1"))
    assert f"same test (suite sums v1 ({first['suite'][:12]}, 200 examples)), so" in asked
    assert f"record RESULTS.jsonl --version 8b8b8b8b8b8b --suite {first['suite'][:12]}" in asked


def test_another_scorer_is_refused(world: World) -> None:
    """
    A judge's results do not compare with those of code: what differs is said.
    """
    one, other = "9a" * 32, "9b" * 32
    world.record(one, "sums@v1", "judge", [{"example": "q1", "label": "C"}])
    second = world.record(other, "sums@v1", "exact", scored(200, lambda n: True))["runs"][0]
    said = refused(world.run("compare", one[:8], other[:8]))

    code = world.json("show", "exact")["code"].removeprefix("sha256:")[:12]
    prompt = world.json("show", "judge")["prompt"]["content"]["digest"].removeprefix("sha256:")
    assert said.partition("What differs:\n")[2] == (
        f"  scorer code: nothing, not {code}\n"
        "  scorer judge: {'model': 'gpt-5'}, not nothing\n"
        "  scorer name: 'judge', not 'exact'\n"
        f"  scorer prompt: {{'content': {{'bytes': 19, 'digest': 'sha256:{prompt[:13]}..., "
        "not nothing\n"
        "  scorer values: {'C': 1, 'I': 0}, not nothing\n\n"
        "hint: Run 9a9a9a9a9a9a on that suite, then: mvtrace eval record RESULTS.jsonl "
        f"--version 9a9a9a9a9a9a --suite {second['suite'][:12]} --scorer {second['scorer'][:12]}\n"
    )


def test_an_undeclared_scorer_compares_with_nothing(world: World) -> None:
    """
    Results whose scorer nobody declared are kept, and refused when they are to be compared.
    """
    one, other = "aa" * 32, "ab" * 32
    for version in (one, other):
        world.record(version, "sums@v1", "undeclared:own/tone", scored(200, lambda n: True))

    assert refused(world.run("compare", one[:8], other[:8])) == (
        "error: incomparable\n\n"
        "aaaaaaaaaaaa and abababababab were scored by undeclared:own/tone, a scorer that nobody "
        "declared: whether both were scored alike is not known.\n\n"
        "hint: Register it with 'mvtrace eval scorer', and record both results again under it.\n"
    )


def test_too_many_unmatched_examples_are_refused(world: World) -> None:
    """
    How many examples lack a pair, and why, is said; the share that may is the caller's to say.
    """
    one, other = "ba" * 32, "bb" * 32
    world.record(one, "sums@v2", "exact", scored(180, lambda n: n % 3 > 0))
    rows = [*scored(190, lambda n: n % 4 > 0)[20:], {"example": "q1", "label": "timeout"}]
    second = world.record(other, "sums@v2", "exact", rows)["runs"][0]

    assert second["unscored"] == 1
    assert refused(world.run("compare", one[:8], other[:8])) == (
        "error: check-failed\n\n"
        f"30 of 190 examples of suite sums v2 ({second['suite'][:12]}, 190 examples) have no pair, "
        "15.8%, and at most 5.0% may lack one (babababababa is the first): 19 only in the first, "
        "10 only in the second, 1 not scored in one or both (1 tried and without a score).\n\n"
        "hint: Score what is missing, or say with --max-missing which share may be.\n"
    )
    assert world.json("compare", one, other, "--max-missing", "0.2")["tests"][0]["pairs"] == 160


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (
            [{"example": "q1", "value": 1}, {"example": "q1", "value": 0}, {"value": 1}],
            """2 lines of 3 are no result, so nothing was sent:
  line 2: the example 'q1' is in line 1 already; number its samples with repeat
  line 3: example is no line of 1 to 200 printable characters""",
        ),
        (
            scored(201, lambda n: True),
            "The results are of 201 examples, but suite 'sums' has 200.",
        ),
    ],
)
def test_results_that_do_not_fit_are_not_sent(
    world: World, rows: list[dict[str, Any]], problem: str
) -> None:
    """
    What is wrong with which line, or that the results cannot be of the suite.
    """
    path = world.file("wrong.jsonl", rows)
    pinned = ("--version", D, "--suite", "sums@v1", "--scorer", "exact")

    assert problem in refused(world.run("record", path, *pinned))
    assert world.json("list", "--version", D)["runs"] == []


def test_examples_are_checked_and_have_the_clusters(world: World) -> None:
    """
    A suite with clusters wants its file; another file, a strange example and another cluster are
    refused.
    """
    pinned = ("--version", D, "--suite", "pages", "--scorer", "exact")
    plain = world.file("plain.jsonl", scored(3, lambda n: True))
    strange = world.file("strange.jsonl", [{"example": "q900", "value": 1}])
    wrong = world.file("clusters.jsonl", [{"example": "q0", "value": 1, "cluster": "p9"}])
    v1, v2 = world.folder / "v1.jsonl", world.folder / "v2.jsonl"

    for arguments, problem in (
        ((plain,), "Suite 'pages' groups its examples by 'page', and 3 results of 3 name no"),
        ((plain, "--examples", v2), f"{v2} holds 190 examples with the root"),
        ((strange, "--examples", v1), "1 result of 1 are of no example of suite 'pages'"),
        ((wrong, "--examples", v1), "The example 'q0' is in cluster 'p0', but its result says"),
    ):
        assert problem in refused(world.run("record", *arguments, *pinned))


def test_a_suite_whose_ids_are_not_its_own_is_refused(world: World) -> None:
    """
    Two examples of one id, and a row without one, are named.
    """
    twice = world.file("twice.jsonl", [*EXAMPLES[:3], EXAMPLES[0]])
    without = world.file("without.jsonl", [{"a": 1}])

    assert "row 4: the id 'q0' is there already." in refused(
        world.run("suite", twice, "--name", "x", "--id", "id")
    )
    assert "row 1: it has no 'id'." in refused(
        world.run("suite", without, "--name", "x", "--id", "id")
    )


def test_results_that_do_not_hold_together_are_not_compared(world: World) -> None:
    """
    An example that is in two clusters, and more examples than the suite has, whoever sent them.
    """
    said = world.record("fa" * 32, "sums@v1", "exact", scored(200, lambda n: True))["runs"][0]
    test = {"suite": said["suite"], "scorer": said["scorer"]}
    torn, many = "fb" * 32, "fc" * 32
    for version, results in (
        (torn, [Result(f"q{n}", value=1.0, cluster="p1") for n in range(200)]),
        (many, [Result(f"q{n}", value=1.0) for n in range(210)]),
    ):
        pieces = pieces_of(Pinned(composite=version, **test), results, recorded_at="7")
        register(pieces, url=world.url)

    assert refused(world.run("compare", "fa" * 32, torn)) == (
        "error: incomparable\n\n"
        "200 examples are in two clusters, 'q0' the first of them: which results depend on one "
        "another is not known.\n\n"
        "hint: Record the results with the cluster that the suite's cluster_key names.\n"
    )
    assert refused(world.run("compare", "fa" * 32, many)) == (
        "error: incomparable\n\n"
        f"The results name 210 examples, but sums v1 ({said['suite'][:12]}, 200 examples) has 200: "
        "they are not of this suite.\n\n"
        "hint: Record them on the suite they are of: 'mvtrace eval record --help'.\n"
    )
