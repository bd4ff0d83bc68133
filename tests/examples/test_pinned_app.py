"""The pinned application: its lock is up to date, it serves under it, and refuses another state."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "pinned_app"
ASK = """
import app
from starlette.testclient import TestClient

reply = TestClient(app.app).get("/ask", params={"question": "Is it so?"})
print(app.system.version, reply.json()["answer"], len(reply.headers["x-mvtrace-request-id"]))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the example."""
    shutil.copytree(EXAMPLE, tmp_path / "app", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "app"


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    kept = {key: one for key, one in os.environ.items() if not key.startswith("MVTRACE_")}
    own = {"MVTRACE_SPOOL_DIR": str(folder / "spool"), "MVTRACE_EXIT_GRACE_S": "0"}
    return subprocess.run(
        [sys.executable, *command], cwd=folder, env={**kept, **own},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def test_the_lock_is_up_to_date_and_served(folder: Path) -> None:
    """
    The committed lock is what the example is, and the server answers under its version.
    """
    checked = run(folder, "-m", "mvtrace", "pin", "--check")
    served = run(folder, "-W", "ignore", "-c", ASK)

    assert checked.returncode == 0, checked.stderr
    version, *rest = served.stdout.split(maxsplit=1)
    assert f'"version": "{version}"' in (folder / "mvtrace.lock").read_text(), served.stderr
    assert rest == ["It depends. 36\n"]


def test_another_prompt_is_refused(folder: Path) -> None:
    """
    Where a prompt was edited and not pinned, the server does not start, and says which.
    """
    (folder / "prompts" / "answer.txt").write_text("Say anything.")

    served = run(folder, "-W", "ignore", "-c", ASK)

    assert served.returncode == 1
    assert "LockMismatchError: mvtrace.lock pins " in served.stderr
    assert "\n  prompt/answer  expected sha256:" in served.stderr


def test_the_readme_shows_its_description() -> None:
    """
    The description in the README is the one that the example has.
    """
    assert (EXAMPLE / "mvtrace.toml").read_text() in (ROOT / "README.md").read_text()
