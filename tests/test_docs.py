"""The README tells the truth: its commands exist, its program runs, its settings are read."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

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


def test_rollout_of_the_readme_runs(tmp_path: Path) -> None:
    """
    The README's canary serves everybody by the stable system until something is decided.
    """
    [program] = blocks("py")
    ask = """
from starlette.testclient import TestClient
reply = TestClient(app).get("/ask", headers={"x-user-id": "u-1"})
assert reply.text == "one sentence", reply.text
"""
    environ = {**os.environ, "MVTRACE_SPOOL_DIR": str(tmp_path), "MVTRACE_EXIT_GRACE_S": "0"}

    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program + ask],
        env=environ, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert run.returncode == 0, run.stderr


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
