"""``mvtrace.evals`` in an application: what it records is stored as the command line stores it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from processes import collector

from mvtrace.cli.registering import asker
from mvtrace.registry.evals.runs import known_of, runs_of

PROGRAM = """
import sys
import mvtrace
from mvtrace import evals

def exact(answer, target):
    return answer == target

system = mvtrace.composite("bot", mvtrace.prompt("answer", "Say {word}"))
suite = evals.suite(sys.argv[1], name="caps", id_key="id", cluster_key="page")
scorer = evals.scorer("exact", code=exact)
results = [{"example": f"q{n}", "value": n % 2, "cluster": "p1"} for n in range(4)]
run = evals.record(system, suite, scorer, results, recorded_at=7)
print(system.version, suite.digest, scorer.digest, run)
many = [{"example": f"q{n}", "value": 1, "cluster": "p1"} for n in range(5)]
for wrong, beside in (
    ([{"example": "q1", "value": 1}], {}),
    (many, {}),
    (many[4:], {"examples": sys.argv[1]}),
):
    try:
        evals.record(system, suite, scorer, wrong, **beside)
    except mvtrace.MvtraceError as error:
        print(error)
bare = [{"example": "q1", "value": 1}]
print(evals.record(system, suite, scorer, bare, recorded_at=8, examples=sys.argv[1]))
sys.exit(not mvtrace.flush(30))
"""


def test_an_application_records_a_run(tmp_path: Path) -> None:
    """
    Suite, scorer and results of a program are stored; what cannot be recorded is said at once.
    """
    examples, program = tmp_path / "caps.jsonl", tmp_path / "program.py"
    examples.write_text("".join(json.dumps({"id": f"q{n}", "page": "p1"}) + "\n" for n in range(4)))
    program.write_text(PROGRAM)
    with collector(tmp_path) as running:
        environ = {
            **os.environ,
            "MVTRACE_URL": running.url,
            "MVTRACE_SPOOL_DIR": str(tmp_path / "s"),
        }
        done = subprocess.run(
            [sys.executable, str(program), str(examples)],
            capture_output=True, text=True, check=False, timeout=120, env=environ,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        first, *problems, other = done.stdout.splitlines()
        version, suite, scorer, run = first.split()
        ask = asker(running.url, None)
        deadline = time.monotonic() + 30
        while len(stored := runs_of(ask, [version])) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        known = known_of(ask, runs_of(ask))

    assert [(one.run, one.results, one.is_whole) for one in stored] == [
        *((other, 1, True), (run, 4, True)),
    ]
    assert list(known.suites) == [suite.removeprefix("sha256:")]
    assert list(known.scorers) == [scorer.removeprefix("sha256:")]
    assert problems == [
        "Suite 'caps' groups its examples by 'page', and 1 result of 1 name no cluster.",
        "The results are of 5 examples, but suite 'caps' has 4.",
        "1 result of 1 are of no example of suite 'caps'; the first is 'q4'.",
    ]
