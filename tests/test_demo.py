"""The demo is what it says: real requests, a silent reindex, and the explanation that shows it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2

DEMO = [sys.executable, "-m", "mvtrace", "demo", "--json", "--requests"]


def environ(folder: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(folder)}


def part(explanation: dict[str, Any], kind: str) -> dict[str, Any]:
    [found] = [one for one in explanation["composite"]["components"] if one["kind"] == kind]
    return dict(found)


def test_demo_shows_the_silent_reindex_as_drift(tmp_path: Path) -> None:
    """
    The request after the reindex was answered by an index that the composite does not declare; its
    other parts are verified, and nothing of the kind is said of the request before.
    """
    run = subprocess.run(
        [*DEMO, "20"], env=environ(tmp_path), capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    shown = json.loads(run.stdout)
    explanation = shown["explanation"]

    index = part(explanation, "index")
    assert index["observed"] != index["expected"] == index["digest"]
    assert [one["code"] for one in explanation["findings"] if one["severity"] == "warning"]
    assert part(explanation, "prompt")["basis"] == "verified"
    assert explanation["router_decisions"][0]["chosen"] == "trigrams"

    before = subprocess.run(
        [
            *(sys.executable, "-m", "mvtrace", "explain", "--json"),
            *(shown["request_ids"]["before_reindex"], *shown["reader"].split()),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert before.returncode == 0, before.stderr
    earlier = json.loads(before.stdout)
    assert part(earlier, "index")["observed"] == part(earlier, "index")["expected"]
    assert [one["kind"] for one in earlier["changes_since"]] == ["index"]


def listening_to_ctrl_c() -> None:
    """Undo what a shell does to what it runs in the background: it ignores SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_demo_goes_on_serving_until_interrupted(tmp_path: Path) -> None:
    """
    With --serve the collector goes on answering after the explanation; Ctrl-C ends everything.
    """
    with subprocess.Popen(
        [*DEMO, "4", "--serve"],
        env=environ(tmp_path),
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=listening_to_ctrl_c,
    ) as process:
        assert process.stdout is not None
        text = ""
        for line in process.stdout:
            text += line
            if line == "}\n":
                break
        url = json.loads(text)["reader"].removeprefix("--url ")
        answered = httpx2.get(f"{url}/readyz").status_code
        process.send_signal(signal.SIGINT)
        code = process.wait(60)

    assert answered == 200
    assert code == 0
