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
try:
    evals.record(system, suite, scorer, [{"example": "q1", "value": 1}])
except mvtrace.MvtraceError as error:
    print(error)
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
        first, problem = done.stdout.splitlines()
        version, suite, scorer, run = first.split()
        ask = asker(running.url, None)
        deadline = time.monotonic() + 30
        while not (stored := runs_of(ask, [version])) and time.monotonic() < deadline:
            time.sleep(0.1)
        known = known_of(ask, runs_of(ask))

    assert [(one.run, one.results, one.is_whole) for one in stored] == [(run, 4, True)]
    assert list(known.suites) == [suite.removeprefix("sha256:")]
    assert list(known.scorers) == [scorer.removeprefix("sha256:")]
    assert problem == (
        "A set of results cannot be registered: suite 'caps' groups examples by 'page', and 1 name "
        "no cluster."
    )
