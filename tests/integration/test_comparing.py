"""Comparisons as users make them: commands and notebooks against a real collector over HTTP."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from compared import BASELINE, CANARY, store_rows
from processes import Running, collector
from rollups import rolled_up
from stored import MOMENT, new_store

import mvtrace
from mvtrace.cli.main import run

WORSE = "c" * 64
OTHER = "d" * 64
TONE = """
name = "tone"
[gates]
completeness = false
[[metrics]]
name = "tone"
kind = "rate"
margin = 0.03
"""
VOTES = {"thumbs": "undeclared:user/thumbs"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a stable version, a canary as good, one that is worse, and one by another judge."""
    folder = tmp_path_factory.mktemp("compared")
    hour = int(time.time()) // 3600 - 27
    rates = {"thumbs": (0.9, 0.9), "error": (0.04, 0.04)}
    equal = rolled_up(rates, requests=500, hours=27, share=0.5)
    each = {  # what a registered plan asks for: of votes of 0 and 1 the same sums
        key._replace(metric="thumbs>0.5"): cell
        for key, cell in equal.cells.items()
        if key.metric == "thumbs"
    }
    equal = replace(equal, cells={**equal.cells, **each})
    worse = rolled_up({"thumbs": (0.9, 0.6)}, requests=100, hours=27, share=0.2, seed=2)
    judged = rolled_up({"tone": (0.9, 0.9)}, requests=50, hours=27, seed=3)
    with new_store(f"chdb://{folder / 'store'}") as store:
        with store.session() as session:
            known = [["default", one, "bot", "{}", MOMENT] for one in (BASELINE, CANARY)]
            columns = ("project", "version", "name", "manifest", "received_at")
            session.insert("composites", columns, known)
        store_rows(store, equal, first_hour=hour, scorers=VOTES)
        versions = {"stable": OTHER, "canary": WORSE}
        store_rows(store, worse, first_hour=hour, scorers=VOTES, versions=versions)
        for arm, version, scorer in (("stable", "e" * 64, "1"), ("canary", "f" * 64, "2")):
            only = {key: one for key, one in judged.cells.items() if key.arm == arm}
            scorers = {"tone": f"sha256:{scorer * 64}"}
            one = type(judged)(cells=only, shares=judged.shares)
            store_rows(store, one, first_hour=hour, scorers=scorers, versions={arm: version})
    return folder


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Running]:
    """A collector over that store."""
    with collector(folder) as one:
        yield one


@pytest.fixture(autouse=True)
def environment(served: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands ask the collector."""
    monkeypatch.setenv("MVTRACE_URL", served.url)


def ended(*arguments: str) -> int:
    """Run a command and return its exit code."""
    try:
        return run(arguments)
    except SystemExit as ended:
        return int(ended.code or 0)


def test_an_equal_canary_is_promoted(capsys: pytest.CaptureFixture[str]) -> None:
    """
    A canary that is as good ends with 0, and the text says by what it was decided.
    """
    code = ended("compare", BASELINE[:12], CANARY[:12])

    said, problem = capsys.readouterr()
    assert (code, problem) == (0, ""), problem
    assert said.startswith("Promote: thumbs and error are proven no worse than the margin allows.")
    assert "\nplan       default (" in said
    assert "\nthumbs: canary less baseline, higher is better\n" in said
    assert re.search(r"\nkept as sha256:[0-9a-f]{64}\n$", said)


def test_a_worse_canary_is_reverted(capsys: pytest.CaptureFixture[str]) -> None:
    """
    A canary that is worse ends with 11, also when it is asked again.
    """
    codes = [ended("compare", OTHER, WORSE, "--json") for _ in range(2)]

    told = capsys.readouterr().out.split("\n}\n")
    first, second = (json.loads(f"{one}\n}}") for one in told[:2])
    assert codes == [11, 11]
    assert [one["decision"] for one in (first, second)] == ["revert", "revert"]
    assert (first["before"], second["before"]) == ([], [first["digest"]])
    assert second["past"]["looks"] == 2
    assert second["exit_code"] == 11


def test_scores_of_two_judges_do_not_compare(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Two versions that were scored by different scorers are held, and it is said what differs.
    """
    plan = tmp_path / "plan.toml"
    plan.write_text(TONE)

    code = ended("compare", "e" * 64, "f" * 64, "--plan", str(plan), "--no-keep")

    said, problem = capsys.readouterr()
    assert (code, problem) == (10, "")
    assert said.startswith(
        "Hold: the arms do not compare. scorer of tone (fail): 2 scorers scored it: "
    )
    assert (
        "\nnote: tone: 111111111111 and 222222222222 are two scorers; "
        "111111111111 and 222222222222 nobody registered\n"
    ) in said
    assert said.endswith("\nnot kept: a later look does not know of this one\n")


def test_a_plan_is_written_checked_registered_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A plan is made of what the baseline has, and can be named once it is registered.
    """
    file = tmp_path / "plan.toml"

    made = ended("plan", "new", BASELINE[:12], "--name", "bot", "--out", str(file))
    again = ended("plan", "new", BASELINE[:12], "--out", str(file))
    checked = ended("plan", "check", str(file))
    registered = ended("plan", "register", str(file))
    capsys.readouterr()
    looked = ended("compare", BASELINE, CANARY, "--plan", "bot", "--no-keep", "--json")

    told = json.loads(capsys.readouterr().out)
    assert (made, again, checked, registered, looked) == (0, 2, 0, 0, 0)
    assert told["plan"]["name"] == "bot"
    assert told["plan"]["metrics"][0]["source"] == "thumbs>0.5"
    assert told["is_kept"] is False
    assert ended("plan", "list", "--json") == 0
    plans = json.loads(capsys.readouterr().out)["plans"]
    assert told["plan_digest"] in {one["digest"] for one in plans}


def test_kept_verdicts_compute_again(capsys: pytest.CaptureFixture[str]) -> None:
    """
    Every kept verdict is made again, to the last byte, of the statistics that are kept with it.
    """
    ended("compare", BASELINE, CANARY)
    capsys.readouterr()

    code = ended("verdicts", "--version", BASELINE[:12], "--check", "--json")

    told = json.loads(capsys.readouterr().out)["verdicts"]
    assert code == 0
    assert len(told) >= 2
    assert {one["problem"] for one in told} == {None}
    assert [one["looks"] for one in told] == list(range(len(told), 0, -1))
    assert ended("verdicts", told[0]["digest"]) == 0
    assert ended("verdicts", "0" * 64) == 1


def test_watching_ends_with_the_decision(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    --watch looks until it is decided, and without a decision until its time is over.
    """
    plan = tmp_path / "plan.toml"
    plan.write_text(TONE)
    decided = ended("compare", OTHER, WORSE, "--watch", "--interval", "1h", "--json")
    first = json.loads(capsys.readouterr().out)

    waited = ended(
        *("compare", "e" * 64, "f" * 64, "--plan", str(plan), "--no-keep"),
        *("--watch", "--interval", "1s", "--for", "1s", "--json"),
    )

    lines = capsys.readouterr().out.splitlines()
    assert (decided, first["decision"]) == (11, "revert")
    assert waited == 10
    assert json.loads(lines[0])["decision"] == "hold"
    assert [json.loads(one)["exit_code"] for one in lines] == [10] * len(lines)


def test_arms_are_compared_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    """
    --arms compares what arms served, whichever versions these were, and says which they were.
    """
    place = ("--arms", "--service", "support", "--environment", "production", "--rollout", "r1")
    code = ended("compare", *place, "--json", "--no-keep")

    told = json.loads(capsys.readouterr().out)
    assert code == 11
    assert {arm: set(those) for arm, those in told["versions"].items()} == {
        "stable": {BASELINE, OTHER, "e" * 64},
        "canary": {CANARY, WORSE, "f" * 64},
    }
    assert (told["by"], told["baseline"], told["candidate"]) == ("arm", "stable", "canary")
    assert (told["service"], told["rollout"]) == ("support", "r1")
    assert told["sufficient"]["baseline"] > 8_000


def test_a_notebook_compares(
    served: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """
    mvtrace.compare gives the verdict as a value that shows itself.
    """
    plan = tmp_path / "plan.toml"
    plan.write_text(TONE.replace("tone", "thumbs"))
    verdict = mvtrace.compare(BASELINE, CANARY, plan=plan, remember=False)

    monkeypatch.delenv("MVTRACE_URL")
    named = mvtrace.compare(BASELINE, CANARY, dsn=served.url, project="default", remember=False)
    assert verdict.decision == named.decision == "promote"
    assert "<svg" in verdict._repr_html_()
    assert verdict.figure().svg.startswith("<svg")


def test_another_project_sees_none_of_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    In another project neither of the versions has served, no verdict is there, no plan is.
    """
    monkeypatch.setenv("MVTRACE_PROJECT", "elsewhere")

    codes = [
        ended("compare", BASELINE, CANARY, "--no-keep"),
        ended("verdicts"),
        ended("plan", "list"),
        ended("plan", "new", BASELINE),
    ]

    said, problem = capsys.readouterr()
    assert codes == [1, 0, 0, 1]
    assert said == "No verdict matches.\nNo plan is registered.\n"
    assert problem.count("error: undecidable") == 2


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "Nothing says what is compared."),
        ((BASELINE[:12],), 2, "'aaaaaaaaaaaa' is compared with nothing."),
        (("--arms",), 2, "--arms without arms."),
        ((BASELINE, BASELINE), 2, "Both are aaaaaaaaaaaa; a version is not compared with itself."),
        ((BASELINE, "bto'; --\x1b[2J"), 1, '"bto\'; --\\x1b[2J" names no version: '),
        ((BASELINE, CANARY, "--plan", "none.toml"), 2, "Plan none.toml: it cannot be read "),
        ((BASELINE, CANARY, "--plan", "nobody's"), 1, 'No plan "nobody\'s" is registered.'),
        ((BASELINE, CANARY, "--interval", "0s", "--watch"), 2, "--interval is '0s'; "),
        ((BASELINE, CANARY, "--since", "soon"), 2, "since is 'soon'; "),
        ((BASELINE, CANARY, "--until", "2h", "--watch"), 2, "--watch looks at what comes, "),
        ((BASELINE, CANARY, "--url", "http://127.0.0.1:9"), 3, "No collector answers at "),
        (
            ("--service", "x", "--environment", "y"),
            1,
            "No canary runs for 'x' in 'y'.",
        ),
        (("3" * 64, "4" * 64, "--plan", "bot"), 1, "Neither the version 333333333333 nor "),
    ],
)
def test_no_slip_decides_anything(
    arguments: tuple[str, ...], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Whatever is wrong ends with 1, 2 or 3, never with a decision, and says what.
    """
    found = ended("compare", *arguments)

    said, problem = capsys.readouterr()
    assert (found, said) == (code, "")
    assert f"\n\n{message}" in problem
