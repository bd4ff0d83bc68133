"""The wheel alone, in an empty environment, from another folder: everything it needs is inside."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.wheel

SEND = """
import sys, mvtrace
mvtrace.configure(service="wheel", environment="test", url=sys.argv[1], spool_dir=sys.argv[2])
system = mvtrace.composite("wheel", mvtrace.prompt("p", "Say {x}"))
with mvtrace.request(route="job", composite=system) as request:
    with mvtrace.generation("g", model="m", provider="p") as call:
        call.response(model="m", finish_reason="stop")
assert mvtrace.flush(20)
print(request.request_id)
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the built wheel and its `embedded` extra, nothing else."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder / "dist"), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    [wheel] = (folder / "dist").glob("*.whl")
    venv.create(folder / "venv", with_pip=True)
    pip = [str(folder / "venv/bin/python"), "-m", "pip", "install", "-q", f"{wheel}[embedded]"]
    subprocess.run(pip, check=True, capture_output=True)
    return folder / "venv"


@contextlib.contextmanager
def collector(bin_folder: Path, folder: Path, store: str) -> Iterator[str]:
    log = folder / "collector.log"
    command = [str(bin_folder / "mvtrace"), "collector", "--store", store]
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [*command, "--listen", "127.0.0.1:0"], stdout=sink, stderr=sink, cwd=folder
        )
        try:
            for _ in range(600):
                found = re.search(r"listens on (http://[0-9.:]+)", log.read_text())
                if found or process.poll() is not None:
                    break
                time.sleep(0.1)
            assert found, log.read_text()
            yield found.group(1)
        finally:
            process.terminate()
            process.wait(30)


def test_wheel_works_alone(environment: Path, tmp_path: Path) -> None:
    """
    Migrations, collector, capture and explanation work from the wheel, in another folder.
    """
    binaries = environment / "bin"
    clean = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    store = f"chdb://{tmp_path / 'store'}"

    migrated = subprocess.run(
        [str(binaries / "mvtrace"), "migrate", "--store", store],
        cwd=tmp_path,
        env=clean,
        capture_output=True,
        text=True,
        check=False,
    )
    assert migrated.returncode == 0, migrated.stderr

    with collector(binaries, tmp_path, store) as url:
        sent = subprocess.run(
            [str(binaries / "python"), "-c", SEND, url, str(tmp_path / "spool")],
            cwd=tmp_path,
            env=clean,
            capture_output=True,
            text=True,
            check=False,
        )
        assert sent.returncode == 0, sent.stderr
        explained = subprocess.run(
            [str(binaries / "mvtrace"), "explain", sent.stdout.strip(), "--url", url],
            cwd=tmp_path,
            env=clean,
            capture_output=True,
            text=True,
            check=False,
        )

    assert explained.returncode == 0, explained.stderr
    assert sent.stdout.strip() in explained.stdout
    assert "prompt" in explained.stdout
