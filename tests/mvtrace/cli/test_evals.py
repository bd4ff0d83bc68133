"""``mvtrace eval`` against a real collector: what is stored, shown and compared, to the word."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from evaluated import EXAMPLES, LOGS, A, B, C, D, Told, World, refused, scored
from story import SYSTEM

from mvtrace.cli.registering import register
from mvtrace.registry.entries import entry_of
from mvtrace.registry.evals.results import Pinned, Result, pieces_of


def test_results_are_stored_and_stored_once(world: World) -> None:
    """
    Recording tells the run and that its version is not registered yet; a second time is the same.
    """
    path = world.file("once.jsonl", scored(200, lambda n: n % 2 == 0))
    pinned = ("--version", A, "--suite", "sums@v1", "--scorer", "exact")
    first, again = (world.json("record", path, *pinned) for _ in range(2))

    assert first == again
    [run] = first["runs"]
    assert (first["pending"], first["stored"], run["results"], run["unscored"]) == (
        *(True, True, 200, 0),
    )
    told = world.run("record", path, *pinned)
    assert told.out == (
        f"200 results of {A[:12]} on suite {run['suite'][:12]} by scorer {run['scorer'][:12]} "
        f"are stored: run {run['run'][:12]}.\n"
        f"{A[:12]} is not registered yet: its results wait for it.\n"
    )
    listed = world.json("list", "--version", A[:8], "--suite", "sums@v1")
    assert [one["run"] for one in listed["runs"]].count(run["run"]) == 1
    known = world.record(SYSTEM.version, "sums@v1", "judge", [{"example": "q1", "label": "C"}])
    assert not known["pending"]


def test_two_versions_are_compared_example_by_example(world: World) -> None:
    """
    Means, difference, interval, clusters, checks and what is not paired: to the word.
    """
    one, other = "5e" * 32, "6f" * 32
    page = ("--examples", world.folder / "v1.jsonl", "--suite", "pages", "--scorer", "exact")
    rows = {one: scored(200, lambda n: n % 10 != 0), other: scored(200, lambda n: n % 5 != 0)}
    for version, lines in rows.items():
        path = world.file(f"compared-{version[:4]}.jsonl", lines)
        world.json("record", path, "--version", version, *page)
    told = world.run("compare", one[:8], other[:8])
    [test] = world.json("compare", one, other)["tests"]
    suite, scorer = test["suite"][:12], test["scorer"][:12]

    assert told.out == (
        f"suite pages ({suite}, 200 examples), scorer exact ({scorer})\n"
        "  5e5e5e5e5e5e 0.9, 6f6f6f6f6f6f 0.8: -0.1, 95 % interval [-0.1324, -0.06761]\n"
        "  the second is worse (p 2.37e-07; higher is better)\n"
        "  200 pairs of 200 examples in 40 clusters; samples 200 and 200 in 1 and 1 run\n"
        "  not paired: 0 only in the first, 0 only in the second, 0 not scored in one or both\n"
        "  a true difference of 0.046 is found in 8 of 10 such tests; "
        "McNemar 20 lost, 0 won, p 1.91e-06\n"
    )
    turned = world.json("compare", other, one)["tests"][0]
    assert turned["verdict"] == "better"
    assert turned["difference"]["difference"] == -test["difference"]["difference"]


def test_alike_is_no_certainty_and_little_is_no_evidence(world: World) -> None:
    """
    Where all pairs are alike the share that may differ is told; a small difference is no evidence.
    """
    one, other = "7a" * 32, "7b" * 32
    for version, wrong in ((one, (3,)), (other, (3, 4))):
        world.record(version, "sums@v1", "exact", scored(200, lambda n, w=wrong: n not in w))
        world.record(version, "sums@v2", "exact", scored(190, lambda n: n != 3))
    tests = {one["suite_name"][:7]: one for one in world.json("compare", one, other)["tests"]}

    assert tests["sums v1"]["verdict"] == "no evidence of a difference"
    assert tests["sums v2"]["verdict"] == "alike"
    assert tests["sums v2"]["alike"] == pytest.approx(3 / 190, rel=0.02)
    assert "every pair is alike; up to 1.56% of the clusters may differ all the same" in (
        world.run("compare", one, other, "--suite", "sums@v2").out
    )


def test_logs_of_other_tools_are_imported_and_compared(world: World) -> None:
    """
    Two runs of Inspect, in its two forms, and two of lm-eval compare; a log of another suite does
    not pass for one that was asked for.
    """
    one, other = "ca" * 32, "cb" * 32
    inspect = {one: "inspect_first.eval", other: "inspect_second.json"}
    harness = {one: "lm_eval_first", other: "lm_eval_second"}
    for version, name in inspect.items():
        region = ("--cluster", "metadata.region")
        world.json("import", LOGS / name, "--version", version, *region)
    for version, name in harness.items():
        world.json("import", LOGS / name, "--version", version, "--metric", "acc")
    tests = world.json("compare", one, other, "--max-missing", "0.2")["tests"]

    told = {test["scorer_name"].split()[0]: test for test in tests}
    assert sorted(told) == ["acc", "match", "model_graded_qa"]
    assert (told["match"]["first"], told["match"]["second"]) == (pytest.approx(5 / 6), 0.5)
    assert told["match"]["difference"]["groups"] == 3
    assert (told["model_graded_qa"]["pairs"], told["model_graded_qa"]["unscored"]) == (5, [1, 1])
    assert all(test["p_adjusted"] >= test["difference"]["p"] for test in tests)
    wrong = ("import", LOGS / "inspect_first.eval", "--version", one, "--suite", "sums@v1")
    assert "The log is of another suite than 'sums'" in refused(world.run(*wrong))
    assert world.run("import", world.folder / "v1.jsonl", "--version", one).code == 2


def test_a_run_with_a_missing_piece_is_not_compared(world: World) -> None:
    """
    Half a run is shown as such, and its scores are none.
    """
    one, other = "da" * 32, "db" * 32
    pinned = [
        world.record(other, "sums@v1", "exact", scored(200, lambda n: True))["runs"][0][key]
        for key in ("suite", "scorer")
    ]
    results = [Result(f"q{n}-" + "x" * 150, value=1.0) for n in range(1_500)]
    pinning = Pinned(composite=one, suite=pinned[0], scorer=pinned[1])
    entries = pieces_of(pinning, results, recorded_at="7")
    assert len(entries) == 2
    register([entries[0]], url=world.url)

    assert "1 run of which pieces are missing" in refused(world.run("compare", one, other))
    assert "pieces are missing" in world.run("list", "--version", one).out


def test_the_plan_names_what_served_and_was_not_scored(world: World) -> None:
    """
    The version that answered requests lacks results on a new suite; the command is given, and once
    it is scored nothing is left.
    """
    world.json("suite", world.folder / "v2.jsonl", "--name", "new", "--id", "id")
    plan = ("rescore-plan", "--suite", "new", "--scorer", "exact", "--days", "3650")
    [lacking] = world.json(*plan)["versions"]

    assert (lacking["version"], lacking["requests"]) == (SYSTEM.version, 3)
    [command] = lacking["commands"]
    assert command.startswith(
        f"mvtrace eval record RESULTS.jsonl --version {SYSTEM.version[:12]} --suite "
    )
    suite = command.split(" --suite ")[1].split()[0]
    assert world.run(*plan).out == (
        f"1 version to score on suite new ({suite}); 0 have results.\n\n"
        f"{SYSTEM.version[:12]} {SYSTEM.name}, 3 requests in 3,650 days\n  {command}\n"
    )
    world.record(SYSTEM.version, "new", "exact", scored(190, lambda n: True))
    assert world.run(*plan).out == (
        f"Nothing to score: 1 version of the last 3,650 days has results on suite new ({suite}).\n"
    )


def test_what_is_not_there(world: World) -> None:
    """
    An unknown suite, scorer, version or file ends with its exit code and one thing to do.
    """
    lines = world.file("lines.jsonl", scored(1, lambda n: True))
    pinned = {"--version": A, "--suite": "sums@v1", "--scorer": "exact"}

    def recorded(**changed: str) -> Told:
        said = {**pinned, **{f"--{key}": value for key, value in changed.items()}}
        return world.run("record", lines, *(one for pair in said.items() for one in pair))

    assert recorded(suite="none").err == (
        "error: entry-not-found\n\nNo suite 'none' is registered.\n\n"
        "hint: 'mvtrace eval list' lists those there are; 'mvtrace eval suite' registers one.\n"
    )
    assert recorded(suite="sums@v9").code == recorded(scorer="none").code == 1
    assert recorded(version="none").code == recorded(version="0123456789").code == 1
    assert world.run("import", "nowhere", "--version", A).code == 2
    assert world.run("show", "nothing").code == 1
    assert world.run("compare", A, A).code == 1
    assert World("http://127.0.0.1:9", world.folder).run("list").code == 3


def test_another_projects_suites_and_results_are_not_seen(world: World) -> None:
    """
    A suite of one project is none in another, and neither are the results on it.
    """
    told = world.run("show", "sums", project="other")

    assert (told.code, "No suite or scorer 'sums' is registered." in told.err) == (1, True)
    assert "Nothing was scored." in world.run("list", project="other").out
    assert world.run("compare", A, B, project="other").code == 1
    assert C not in world.run("list").out


def test_few_groups_are_settled_only_where_the_check_agrees(world: World) -> None:
    """
    Five examples that all lost say little, whatever t says: the sign flips do not confirm it.
    """
    small = world.file("small.jsonl", EXAMPLES[:5])
    world.json("suite", small, "--name", "small", "--id", "id")
    code = world.folder / "score.py"
    world.json("scorer", "--name", "errors", "--code", code, "--better", "lower")
    one, other = "ea" * 32, "eb" * 32
    for version, base in ((one, 0.0), (other, 0.5)):
        rows = [{"example": f"q{n}", "value": base + n * base / 50} for n in range(5)]
        world.record(version, "small", "errors", rows)
    [test] = world.json("compare", one, other)["tests"]

    assert test["difference"]["p"] < 0.001
    assert (test["flip"], test["verdict"]) == (2 / 32, "not settled")
    assert "the check by sign flips does not confirm it: not settled at 95 %" in (
        world.run("compare", one, other).out
    )
    assert world.json("compare", one, other, "--alpha", "0.1")["tests"][0]["verdict"] == "worse"


def test_entries_that_say_nothing_sensible_break_nothing(world: World) -> None:
    """
    A suite and a scorer whose bodies are of another shape are listed and shown, and hold nothing.
    """
    odd: dict[str, list[dict[str, Any]]] = {
        "suite": [{"examples": 5}, {"examples": {"root": 1, "count": "x"}, "cluster_key": []}],
        "scorer": [{"values": 3, "prompt": "x"}, {"prompt": {"content": {"pieces": 3}}}],
    }
    entries = [
        entry_of(kind, {"name": f"odd-{kind}-{number}", **said})
        for kind, listed in odd.items()
        for number, said in enumerate(listed)
    ]
    register(entries, url=world.url)
    lines = world.file("odd.jsonl", scored(1, lambda n: True))

    assert world.run("list", "--limit", "100").code == 0
    for entry in entries:
        assert world.run("show", entry.ref).code == 0
        assert world.json("show", entry.ref)["digest"] == entry.digest
    for suite, scorer in itertools.product(entries[:2], entries[2:]):
        pinned = ("--version", D, "--suite", suite.ref, "--scorer", scorer.ref)
        assert "The results are of 1 examples, but suite" in refused(
            world.run("record", lines, *pinned)
        )
        assert world.run("record", lines, *pinned, "--examples", lines).code == 1
        assert world.run("rescore-plan", "--suite", suite.ref).code == 0


def test_files_that_cannot_be_read(world: World) -> None:
    """
    A folder where a file should be, and a prompt that is no text, are wrong use.
    """
    binary = world.folder / "binary.txt"
    binary.write_bytes(b"\xff\xfe")
    pinned = ("--version", D, "--suite", "sums@v1", "--scorer", "exact")

    assert world.run("record", world.folder, *pinned).code == 2
    assert world.run("scorer", "--name", "x", "--judge", "j", "--prompt", binary).code == 2
    assert world.run("scorer", "--name", "x", "--code", world.folder / "nothing.py").code == 2
    assert world.run("scorer", "--name", "x", "--judge", "j", "--value", "C").code == 2
    assert world.run("scorer", "--name", "x", "--judge", "j", "--value", "C=one").code == 2
    assert world.run("scorer", "--name", "x").code == 2
    assert world.run("suite", world.folder / "nothing.jsonl", "--name", "x").code == 1
