"""The stores of the second tier, each in an environment made for it, with its package alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from index_stores import SECOND_TIER

ROOT = Path(__file__).resolve().parents[3]
EXTRAS = {"files": ""}
"""Where the extra is not called like the store."""
ONLY_FOR_TESTS = {"pgvector": ["pgserver>=0.1.4"]}
"""A PostgreSQL server with the extension, for those who have none."""
ALWAYS = ["pytest>=8", "numpy>=1.26", "opentelemetry-proto>=1.39"]

pytestmark = pytest.mark.second_tier


def run(command: list[str], **environ: str) -> None:
    """Run *command* in the repository, and show what it said if it fails."""
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environ}, capture_output=True, text=True,
        check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


@pytest.mark.parametrize("name", SECOND_TIER)
def test_store_of_the_second_tier(name: str, tmp_path: Path) -> None:
    """
    With nothing but its own extra installed, the store passes what those of the first tier pass.
    """
    python = str(tmp_path / "venv" / "bin" / "python")
    extra = EXTRAS.get(name, f"[{name}]")
    packages = [f"{ROOT}{extra}", *ALWAYS, *ONLY_FOR_TESTS.get(name, [])]
    run([sys.executable, "-m", "venv", str(tmp_path / "venv")])
    run([python, "-m", "pip", "install", "--quiet", *packages])

    run(
        [python, "-m", "pytest", "-q", "-m", "stores", "-p", "no:cacheprovider",
         "tests/mvtrace/components/test_index_stores.py"],
        MVTRACE_TEST_STORES=name, PYTHONPATH=f"{ROOT}:{ROOT / 'collector'}",
    )  # fmt: skip
