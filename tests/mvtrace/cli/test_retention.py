"""What no command of retention can do, and what it says to what it does not understand."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from mvtrace.cli.main import cli, run
from mvtrace.cli.retention import retention
from mvtrace.registry.retention.plans import Plan
from mvtrace.registry.retention.policies import policy_text
from mvtrace.registry.retention.values import DAY_NS, EXPIRED, Place, Policy, Verdict
from mvtrace.resources import schema_root

ROOT = Path(__file__).resolve().parents[3]
EVIDENCE = (
    *("components", "composites", "contents", "registry_entries", "lineage_edges", "requests"),
    *("deployments", "governance_events", "scores", "eval_results"),
)
MOVING = 'evaluations.py: f"DELETE FROM {self._database}.scores "'
"""An evaluation of a trace goes from the made id it waited under to its request: it is stored there
first, and the event that says so stays as it came (``tests/collector/test_scores.py``)."""
_REMOVING = re.compile(r"\b(?:DELETE\s+FROM|TRUNCATE|DROP\s+TABLE|ALTER\s+TABLE\s+\S+\s+DELETE)\b")


def every(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from every(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


def test_retention_has_three_commands_and_no_other_option() -> None:
    """
    Plan, apply, restore; none takes a version, a score, an edge or an entry to remove.
    """
    options = {
        name: {one.name for one in command.params} for name, command in retention.commands.items()
    }

    assert options == {
        "plan": {
            *("policy", "environments", "window", "roots", "costs", "out", "url", "store"),
            "as_json",
        },
        "apply": {"file", "reason", "host", "url", "as_json"},
        "restore": {"artifact", "reason", "url", "as_json"},
    }


def test_no_command_has_an_option_that_removes() -> None:
    """
    No option of any command is called after deleting; what a subject's erasure removes is content.
    """
    words = {"delete", "purge", "prune", "drop", "remove", "forget", "truncate", "vacuum"}

    found = {
        (name, one.name)
        for name, command in every(cli)
        for one in command.params
        if words & set(re.split(r"[-_ ]", f"{name} {one.name}"))
    }

    assert found == set()


def test_no_statement_removes_evidence() -> None:
    """
    No statement in the code removes rows of the tables that hold versions and evidence, but what
    moves a score to the request it is of, and none of these tables lets rows expire.
    """
    files = [*(ROOT / "mvtrace").rglob("*.sql"), *(ROOT / "mvtrace").rglob("*.py")]
    files += [*(ROOT / "collector").rglob("*.sql"), *(ROOT / "collector").rglob("*.py")]
    removing = {
        f"{path.name}: {line.strip()}"
        for path in files
        for line in path.read_text().splitlines()
        if _REMOVING.search(line) and any(re.search(rf"\b{table}\b", line) for table in EVIDENCE)
    }
    assert removing == {MOVING}
    for path in (schema_root() / "clickhouse").glob("*.sql"):
        text = path.read_text()
        if any(f"{{database}}.{table}\n" in text for table in EVIDENCE):
            assert "\nTTL" not in text, path.name


def test_the_policy_of_the_readme_is_one() -> None:
    """
    The table shown is read as it says.
    """
    readme = (ROOT / "README.md").read_text()
    [shown] = [
        block
        for block in re.findall(r"^```toml\n(.*?)^```", readme, flags=re.MULTILINE | re.DOTALL)
        if "[retention]" in block
    ]

    policy = policy_text(shown)

    assert policy.environments == ("prod", "production")
    assert policy.window_ns == 60 * DAY_NS
    assert policy.roots == ("s3://models/experiments", "file:///srv/checkpoints")
    assert policy.costs == {"s3": 0.023, "file": 0.04}


def test_the_default_environments_are_always_kept() -> None:
    """
    A policy that names others, or one spelled wrong, makes no former production expendable.
    """
    assert policy_text("[retention]\nenvironments = ['live']").environments == (
        *("prod", "production", "live"),
    )


def a_plan(file: Path) -> None:
    place = Place("a" * 64, "/models/x", 1, 1)
    made = Plan(
        project="default",
        made_at="2026-08-22T11:02:07Z",
        policy=Policy(roots=("/models",), costs={"file": 0.04}),
        verdicts=(Verdict(place, EXPIRED, "last used 2026-08-22"),),
    )
    file.write_bytes(made.to_bytes())


def test_a_plan_is_what_it_says(tmp_path: Path) -> None:
    """
    Read again it is the same plan, under the same digest.
    """
    a_plan(tmp_path / "plan.json")

    made = Plan.from_bytes((tmp_path / "plan.json").read_bytes())

    assert Plan.from_bytes(made.to_bytes()) == made
    assert made.sums(collected=True)[0].bytes == 1


def test_a_plan_is_applied_as_it_was_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A plan that was edited, of another project, or none at all is refused, in whole text.
    """
    file = tmp_path / "plan.json"
    a_plan(file)
    text = file.read_text()

    def told() -> str:
        assert run(["retention", "apply", str(file), "--url", "http://127.0.0.1:9"]) == 2
        return capsys.readouterr().err

    monkeypatch.setenv("MVTRACE_PROJECT", "other")
    assert told() == (
        "error: usage\n\nThe plan is of project 'default', and this is 'other'.\n\n"
        "hint: MVTRACE_PROJECT names the project.\n"
    )
    monkeypatch.delenv("MVTRACE_PROJECT")
    file.write_text(text.replace('"/models/x"', '"/models/y"'))
    said = json.loads(text)["digest"]
    changed = told()
    assert changed.startswith(
        f"error: usage\n\n{file} is not applied: it was changed since it was made: it says {said}, "
        "its content gives sha256:"
    )
    assert changed.endswith(
        "\n\nhint: Make it anew with 'mvtrace retention plan'; a plan is read, not edited.\n"
    )
    for other in ("{}", "[1]", "x", '{"kind": "retention-plan"}', '{"kind": "retention-plan", "a"'):
        file.write_text(other)
        assert " is not applied: it " in told()
    file.unlink()
    assert "plan.json cannot be read: No such file or directory." in told()


@pytest.mark.parametrize(
    ("policy", "problem"),
    [
        ("x", "it is no TOML: "),
        ("[other]", "it has no table [retention]"),
        (
            "[retention]\nenviroments = ['prod']",
            "'enviroments' is no key of [retention]; keys are ",
        ),
        ("[retention]\nenvironments = []", "environments is empty: then nothing would count as"),
        ("[retention]\nwindow = '3 months'", "window is '3 months'; it is hours, days or weeks"),
        ("[retention]\nwindow = 30", "window is 30; it is hours, days or weeks: 12h, 30d, 8w"),
        ("[retention]\nroots = ['models']", "'models' is no root: it is neither a URI nor a path"),
        ("[retention]\nroots = ['/']", "'/' is no root: its path has an empty step, or none"),
        ("[retention]\nroots = ['s3://b/../c']", "its path has a step . or .."),
        ("[retention]\nroots = ['https://x/y']", "nothing is collected from https://"),
        ("[retention]\nkeep = ['3f2a']", "'3f2a' is no ref: a kind is one of "),
        ("[retention.costs]\nftp = 1", "costs names 'ftp'; schemes are file, memory, s3"),
        ("[retention.costs]\ns3 = -1", "the cost of s3 is -1; it is a price for 10^9 bytes"),
    ],
)
def test_a_policy_that_is_not_understood_is_refused(
    policy: str, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A word spelled wrong would collect what somebody meant to keep; so it is told, and nothing done.
    """
    file = tmp_path / "retention.toml"
    file.write_text(policy)
    out = tmp_path / "plan.json"

    code = run(["retention", "plan", "--policy", str(file), "--out", str(out)])

    told = capsys.readouterr().err
    assert code == 2
    assert f"{file} is no policy: " in told
    assert problem in told
    assert told.endswith("hint: 'mvtrace retention plan --help' tells what a policy has.\n")
    assert not out.exists()
