"""The README tells the truth: its commands exist, its program runs, its settings are read."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from rollout_server import RolloutServer

from mvtrace.cli.main import cli

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
TEST_ONLY = {"MVTRACE_TEST_CLICKHOUSE_DSN", "MVTRACE_FAILPOINTS"}
CODE = "\n".join(
    path.read_text()
    for folder in ("mvtrace", "collector")
    for path in (ROOT / folder).rglob("*.py")
)


def blocks(language: str) -> list[str]:
    """The fenced blocks of *language* in the README."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


COMMANDS = [
    line
    for block in blocks("bash")
    for command in block.splitlines()
    for line in command.split(" && ")
    if line.startswith("mvtrace ")
]


@pytest.mark.parametrize("line", COMMANDS)
def test_command_of_the_readme_is_understood(line: str) -> None:
    """
    Every command shown is one the command line knows, with options it has.
    """
    name, *arguments = shlex.split(line)[1:]
    command = cli.commands[name]
    while isinstance(command, click.Group):
        name, *arguments = arguments
        command = command.commands[name]

    context = command.make_context(name, list(arguments), resilient_parsing=False)

    assert context.params is not None


SUBCOMMANDS = [
    f"{name} {sub}"
    for name, command in cli.commands.items()
    if isinstance(command, click.Group)
    for sub in command.commands
]


@pytest.mark.parametrize("name", sorted([*cli.commands, *SUBCOMMANDS]))
def test_every_command_has_help_with_an_example(name: str) -> None:
    """
    Each command's help says what it does and shows one use.
    """
    shown = CliRunner().invoke(cli, [*name.split(), "--help"]).output

    assert "Example: mvtrace" in shown or name == "version"
    assert "\\b" not in shown


def test_setup_commands_are_the_ones_of_ci() -> None:
    """
    The README's test command is the one CI runs.
    """
    assert "pip install '.[dev]' && pytest" in "\n".join(blocks("bash"))
    assert "\npip install '.[dev]' && pytest\n" in (ROOT / ".ci/run").read_text()


def test_program_of_the_readme_runs(tmp_path: Path) -> None:
    """
    The README's server answers a question, with the id to explain it by.
    """
    [program] = blocks("python")
    ask = """
from fastapi.testclient import TestClient
reply = TestClient(app).get("/ask", params={"question": "Is it so?"})
assert reply.json() == {"answer": "It depends."}, reply.text
assert len(reply.headers["x-mvtrace-request-id"]) == 36
"""
    environ = {**os.environ, "MVTRACE_SPOOL_DIR": str(tmp_path), "MVTRACE_EXIT_GRACE_S": "0"}

    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program + ask],
        env=environ, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert run.returncode == 0, run.stderr


ROLLOUT = """
import time
from starlette.testclient import TestClient
client = TestClient(app)
deadline = time.monotonic() + 30
while True:
    reply = client.get("/ask", headers={"x-user-id": "u-1"}).text
    if reply == EXPECTED:
        break
    assert time.monotonic() < deadline, reply
    time.sleep(0.02)
"""


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("nothing", "one sentence"),
        ("canary", "brief"),
        ("promoted", "brief"),
        ("promoted, no environment", "one sentence"),
        ("promoted, disabled", "one sentence"),
    ],
)
def test_rollout_of_the_readme_runs(tmp_path: Path, case: str, said: str) -> None:
    """
    The README's server answers by the version that is decided: by the stable system until something is
    and where nothing is followed, by the new one for whom the canary serves and once it is promoted.
    """
    [program] = blocks("py")
    known: dict[str, Any] = {}
    exec(program, known)
    with RolloutServer() as server:
        if case == "canary":
            server.runs("r", known["old"].version, known["new"].version, 1.0)
        elif case.startswith("promoted"):
            server.serves(known["new"].version)
        environ = {
            **os.environ, "MVTRACE_SPOOL_DIR": str(tmp_path), "MVTRACE_EXIT_GRACE_S": "0",
            "MVTRACE_URL": server.url, "MVTRACE_ENVIRONMENT": "prod", "MVTRACE_SERVICE": "support",
        }  # fmt: skip
        if "disabled" in case:
            environ["MVTRACE_DISABLED"] = "1"
        elif "no environment" in case:
            del environ["MVTRACE_ENVIRONMENT"]

        run = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", f"EXPECTED = {said!r}\n{program}{ROLLOUT}"],
            env=environ, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

        assert run.returncode == 0, run.stderr
        assert bool(server.questions) == ("," not in case)


@pytest.mark.parametrize(
    "name", sorted(set(re.findall(r"`(MVTRACE_[A-Z_]+)`", README)) - TEST_ONLY)
)
def test_setting_of_the_readme_is_read(name: str) -> None:
    """
    Every variable in the README is one the code knows.
    """
    short = name.removeprefix("MVTRACE_")

    assert name in CODE or f'"{short}"' in CODE or f'"{short.lower()}"' in CODE


def test_every_setting_is_in_the_readme() -> None:
    """
    Every variable the code reads by its full name stands in the README.
    """
    known = set(re.findall(r"\bMVTRACE_[A-Z][A-Z_]+\b", CODE)) - TEST_ONLY

    assert {name for name in known if name not in README} == set()
