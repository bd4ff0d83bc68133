"""The fuzz targets: their seeds in every run, coverage-guided under the marker ``fuzz``."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

MAIN = Path(__file__).resolve().parent / "fuzz_main.py"
TARGETS = re.findall(r'^    "([a-z-]+)": "fuzz_', MAIN.read_text(), re.MULTILINE)
SECONDS = os.environ.get("MVTRACE_FUZZ_SECONDS", "20")
SEED = os.environ.get("MVTRACE_FUZZ_SEED", "0")
EXECUTED = re.compile(r"stat::number_of_executed_units: (\d+)")


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # What it keeps in temporary folders stays there where it ends at once.
    environ = {**os.environ, "TMPDIR": str(folder)}
    environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    return subprocess.run(
        [sys.executable, str(MAIN), *arguments],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        cwd=folder,
        env=environ,
        timeout=180 + 3 * int(SECONDS),
    )


def told(stderr: str, folder: Path) -> str:
    """What failed, without the fuzzer's progress, and the input that did it."""
    lines = [one for one in stderr.splitlines() if not one.startswith("#")]
    files = [*folder.glob("crash-*"), *folder.glob("*.last")]  # the latter where the engine died
    inputs = [f"{one.name}: {one.read_bytes()!r}" for one in files]
    return "\n".join((*lines[-60:], *inputs))


@pytest.mark.parametrize("target", TARGETS)
def test_seeds_hold(target: str, tmp_path: Path) -> None:
    """
    What each target begins with, and what once failed, holds.
    """
    done = run(tmp_path, target, "--seeds")

    assert done.returncode == 0, done.stderr[-3000:]
    assert re.search(r"[1-9]\d* seeds hold", done.stdout)


@pytest.mark.fuzz
@pytest.mark.parametrize("target", TARGETS)
def test_nothing_is_found(target: str, tmp_path: Path) -> None:
    """
    So many seconds of coverage-guided inputs find nothing; MVTRACE_FUZZ_SECONDS says how many.

    MVTRACE_FUZZ_SEED begins them from a chosen seed: 0, the default, from one that is new each time.
    """
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    done = run(tmp_path, target, str(corpus), f"-max_total_time={SECONDS}", f"-seed={SEED}")

    found = EXECUTED.search(done.stderr)
    assert done.returncode == 0, told(done.stderr, tmp_path)
    assert found is not None
    print(f"{target}: {found[1]} inputs in {SECONDS} s")
    assert int(found[1]) > 0
