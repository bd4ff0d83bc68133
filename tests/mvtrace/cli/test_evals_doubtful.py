"""``mvtrace eval`` where something is amiss: content that stays, stray pieces, old tests, cut lists."""

from __future__ import annotations

import json

import pytest
from evaluated import EXAMPLES, LOGS, NUMBERS, World, refused, scored

from mvtrace.cli.registering import asker, register
from mvtrace.registry.entries import Entry, entry_of
from mvtrace.registry.evals import planning, runs
from mvtrace.registry.evals.results import Pinned, Result, pieces_of

STORED = "SELECT count() AS n FROM contents WHERE position(content, {text:String}) > 0"


def test_texts_stay_where_the_setting_says_so(world: World) -> None:
    """
    Neither a judge's prompt nor a log's template is sent; what is registered has the same digest
    as with its text, and with the text once that may leave.
    """
    ask = asker(world.url, None)
    secret, step = "Is {answer} as ACME wants it?", "You are the assistant of ACME."
    prompt, log = world.folder / "secret.txt", world.folder / "secret.json"
    prompt.write_text(secret)
    said = json.loads((LOGS / "inspect_second.json").read_text())
    said["plan"]["steps"][0]["params"]["template"] = step
    said["eval"]["scorers"][1]["options"]["template"] = secret + " Say C or I."
    log.write_text(json.dumps(said))
    commands = (
        ("scorer", "--name", "acme", "--judge", "gpt-5", "--prompt", prompt, "--json"),
        ("import", log, "--version", "0a" * 32, "--json"),
    )
    kept = [world.run(*one, MVTRACE_REGISTER_CONTENT="false") for one in commands]
    counts = [int(ask(STORED, {"text": text})[0]["n"]) for text in (secret, step)]
    sent = [world.run(*one) for one in commands]

    assert counts == [0, 0]
    assert [one.code for one in kept] == [0, 0]
    assert kept == sent
    assert [int(ask(STORED, {"text": text})[0]["n"]) for text in (secret, step)] == [2, 1]
    told = world.run("list", MVTRACE_REGISTER_CONTENT="perhaps")
    assert told.code == 0
    assert world.run(*commands[0], MVTRACE_REGISTER_CONTENT="perhaps").code == 2


def stray(entry: Entry, **changed: object) -> Entry:
    said = {key: one for key, one in entry.said.items() if key not in ("schema_version", "kind")}
    return entry_of("results", {**said, **changed})


STRAYS: list[dict[str, object]] = [
    {"results": [{"example": "q0", "value": 0}]},
    {"results": [{"example": "q0-zzz", "value": 0}], "piece": 2, "pieces": 3},
    {"recorded_at": "8"},
    {"pieces": 1},
    {"composite": "9c" * 32},
]
"""What entries say that name a run and are none of its pieces."""


def test_a_stray_piece_breaks_no_run(world: World) -> None:
    """
    Entries that only claim to be of a run are told by the run's name: the run stays whole, and the
    scores of the strays are in nothing.
    """
    one, other = (f"{next(NUMBERS):064x}"[::-1] for _ in range(2))
    rows = [{"id": f"q{n}-" + "x" * 150} for n in range(1_500)]
    suite = world.json("suite", world.file("strays.jsonl", rows), "--name", "strays", "--id", "id")
    scorer = world.json("show", "exact")["digest"].removeprefix("sha256:")
    test = {"suite": suite["digest"].removeprefix("sha256:"), "scorer": scorer}
    results = [Result(str(row["id"]), value=1.0) for row in rows]
    whole = [
        pieces_of(Pinned(composite=version, **test), results, recorded_at="7")
        for version in (one, other)
    ]
    assert [len(pieces) for pieces in whole] == [2, 2]
    strays = [stray(whole[0][0], **changed) for changed in STRAYS]
    register([*whole[0], *whole[1], *strays], url=world.url)

    [compared] = world.json("compare", one, other)["tests"]
    assert (compared["verdict"], compared["runs"], compared["pairs"]) == ("alike", [1, 1], 1_500)
    [listed] = world.json("list", "--version", one)["runs"]
    assert (listed["is_whole"], listed["results"]) == (True, 1_500)


def test_a_run_is_not_made_whole_by_strays(world: World) -> None:
    """
    Two entries that claim the one piece of a run that neither is are no run.
    """
    version = "51" * 32
    said = world.record(version, "sums@v1", "exact", scored(200, lambda n: True))["runs"][0]
    test = {"suite": said["suite"], "scorer": said["scorer"]}
    [entry] = pieces_of(
        Pinned(composite="52" * 32, **test), [Result("q1", value=1.0)], recorded_at="7"
    )
    strays = [stray(entry, results=[{"example": "q1", "value": value}]) for value in (2, 3)]
    register(strays, url=world.url)

    assert "1 run of which pieces are missing" in refused(world.run("compare", version, "52" * 32))


def test_an_old_test_does_not_keep_the_others_from_being_compared(world: World) -> None:
    """
    Of two tests one has too few pairs: the other is compared, and the refused one is told.
    """
    one, other = "61" * 32, "62" * 32
    for version, count in ((one, 20), (other, 190)):
        world.record(version, "sums@v2", "exact", scored(count, lambda n: True))
        world.record(version, "sums@v1", "exact", scored(200, lambda n: True))
    found = world.json("compare", one, other)
    told = world.run("compare", one, other)

    assert [test["suite_name"][:7] for test in found["tests"]] == ["sums v1"]
    [problem] = found["refused"]
    assert problem.startswith("170 of 190 examples of suite sums v2 (")
    assert told.code == 0
    assert told.out.endswith(f"\nnot compared: {problem}\n")
    assert "170 of 190 examples" in refused(world.run("compare", one, other, "--suite", "sums@v2"))


def test_a_shift_of_every_cluster_is_told(world: World) -> None:
    """
    Where every example was lost there is no interval, and yet the second is worse.
    """
    one, other = "71" * 32, "72" * 32
    for version, value in ((one, True), (other, False)):
        world.record(version, "sums@v1", "exact", scored(200, lambda n, v=value: v))
    told = world.run("compare", one, other).out

    assert "-1, no interval: every cluster differs by as much\n" in told
    assert "the second is worse (p 1.24e-60; higher is better)" in told
    for version, value in ((one, 1), (other, 0)):
        rows = [{"example": f"q{n}", "value": value, "cluster": "p0"} for n in range(len(EXAMPLES))]
        world.json("suite", world.folder / "v1.jsonl", "--name", "single", "--id", "id")
        world.record(version, "single", "exact", rows)
    told = world.run("compare", one, other, "--suite", "single").out
    assert "one cluster: how uncertain the difference is cannot be told" in told


def test_what_is_cut_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where there is more than is looked at, a list, a comparison and a plan say so.
    """
    one, other = "81" * 32, "82" * 32
    for version in (one, other):
        world.record(version, "sums@v1", "exact", scored(200, lambda n: True))
    plan = ("rescore-plan", "--suite", "sums@v2", "--days", "3650")
    assert not world.json("compare", one, other)["is_cut"]
    assert not world.json(*plan)["is_cut"]
    for module in ("runs", "comparing", "planning"):
        monkeypatch.setattr(f"mvtrace.registry.evals.{module}.MOST_RUNS", 2)
    monkeypatch.setattr("mvtrace.cli.eval_compare.MOST_RUNS", 2)
    monkeypatch.setattr("mvtrace.cli.eval_show.MOST_RUNS", 2)

    assert world.json("compare", one, other)["is_cut"]
    assert "There are 2 runs or more; the newest are in this." in (
        world.run("compare", one, other).out
    )
    assert "(the newest 1 of 2 or more runs; --limit shows more)" in (
        world.run("list", "--limit", "1").out
    )
    monkeypatch.setattr(planning, "MOST_RECENT", 1)
    assert world.json(*plan)["is_cut"]
    assert "Not all were looked at: " in world.run(*plan).out
    assert runs.MOST_RUNS == 2


def test_a_claim_counts_only_of_the_metric_that_is_imported(world: World) -> None:
    """
    A mean that the samples do not give refuses the import of its metric, and of no other.
    """
    folder = world.folder / "claims"
    folder.mkdir()
    for path in (LOGS / "lm_eval_first").iterdir():
        text = path.read_text().replace('"acc,none": 0.5', '"acc,none": 0.9')
        (folder / path.name).write_text(text)
    version = ("import", folder, "--version", "91" * 32, "--task", "arith_mc")

    assert "the results file says 0.9" in refused(world.run(*version))
    assert "the results file says 0.9" in refused(world.run(*version, "--metric", "acc"))
    assert world.run(*version, "--metric", "acc_norm").code == 0
    assert "those it has: acc, acc_norm" in refused(world.run(*version, "--metric", "f1"))
