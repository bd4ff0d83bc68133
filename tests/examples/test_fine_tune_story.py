"""The story of three branches, run as its README says: what every command printed, and what is left."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sklearn")
pytest.importorskip("time_machine")

pytestmark = pytest.mark.story

ROOT = Path(__file__).resolve().parents[2]
HEX = re.compile(r"\b[0-9a-f]{12}\b")


class Told:
    """What was printed, by command."""

    def __init__(self, text: str) -> None:
        self._said = [
            part.partition("\n") for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]
        ]

    def after(self, beginning: str, number: int = 0) -> str:
        """Return what the command printed that begins so: the first, or a later one."""
        told = [rest for line, _, rest in self._said if line.startswith(f"mvtrace {beginning}")]
        return told[number].partition("\n# ")[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the story takes place."""
    return tmp_path_factory.mktemp("story") / "told"


@pytest.fixture(scope="module")
def told(folder: Path) -> Told:
    """The whole story, told once."""
    done = subprocess.run(
        [sys.executable, "-m", "examples.fine_tune_story.run", str(folder)],
        cwd=ROOT, capture_output=True, check=False, text=True, timeout=900,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), *sys.path)))},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return Told(done.stdout)


def test_the_leak_is_found(told: Told) -> None:
    """
    The branch that knows the suite wins on it, and the suite is found in what it was trained on.
    """
    assert "the second is better" in told.after("eval compare", 0)
    leak = told.after("leakage raw/suite-v1.jsonl")
    assert "300 of 400 examples are in the training data: " in leak
    assert "certificate:" in leak

    assert "None of 400 examples was found in the training data." in told.after(
        "leakage raw/suite-v2.jsonl"
    )
    assert "the second is better" in told.after("eval compare", 1)


def test_suites_do_not_compare(told: Told) -> None:
    """
    Scores on two suites are refused, with what differs and the command that scores anew.
    """
    text = HEX.sub("#", told.after("eval compare", 2))

    assert text == (
        "error: incomparable\n\n"
        "# and # were not scored on the same test (suite topics v2 (#, 400 examples)), so their "
        "scores do not compare. Scored were:\n"
        "  #:\n    topics v1 (#, 400 examples) by exact (#)\n"
        "  #:\n    topics v2 (#, 400 examples) by exact (#)\n"
        "    topics v1 (#, 400 examples) by exact (#)\n"
        "What differs:\n"
        "  suite examples.root: #, not #\n"
        "  suite version: 'v1', not 'v2'\n\n"
        "hint: Run # on that suite, then: mvtrace eval record RESULTS.jsonl --version # "
        "--suite # --scorer #\n"
    )


def test_three_months_later_the_answer_is_explained(told: Told) -> None:
    """
    The request names its state, the decision that made it serve, what serves now, the certificate.
    """
    text = told.after("explain")

    assert "served by help-desk" in text
    assert re.search(r"model   topics   sha256:[0-9a-f]{12}   verified", text)
    assert re.search(r"changed since, against what serves now \([0-9a-f]{12}, rollback on ", text)
    assert "It ran what was deployed: promote of " in text, text
    assert "none of 400 examples of eval suite-v2.jsonl was found in its training data" in text


def test_the_step_at_fault_is_found_with_whom_it_reached(told: Told) -> None:
    """
    The model leads to the step that cleaned its data, and that to the three requests it reached.
    """
    up, down = told.after("lineage", 4), told.after("lineage new.jsonl --down")

    assert re.search(r"how  transformation:[0-9a-f]{12}  clean", up)
    assert "tickets-new" in up
    assert "topics-3: " in up
    assert " won: promote on " in up
    assert "3 requests, the newest:" in down


def test_retention_frees_what_it_may(told: Told, folder: Path) -> None:
    """
    What served, and what that was made from, is there; the bytes of the other branches are gone.
    """
    there = {path.parent.name for path in (folder / "systems").glob("*/model.npz")}

    assert there == {"base", "tickets"}
    assert "2 places: 2 collected" in told.after("retention apply")
    assert "would be collected: nothing" in told.after("retention plan", 1)


def test_what_was_collected_is_not_deployed(told: Told) -> None:
    """
    A version whose bytes are gone is refused with all that is known of them; one that is whole serves.
    """
    text = re.sub(r"file:///\S+", "URI", HEX.sub("#", told.after("deploy", 2)))

    assert re.sub(r"\d{4}-\d\d-\d\d", "DAY", text) == (
        "error: partly-collected\n\n"
        "Version # is not whole, so it is not deployed: 1 of its 1 artifacts no longer exist:\n"
        "  artifact # from URI (131,616 bytes), collected DAY: experiments of the summer "
        "(last used DAY)\n\n"
        "hint: Put the bytes back and say 'mvtrace retention restore ARTIFACT', or say "
        "--without-artifacts if it runs without them.\n"
    )
    assert "is stored" in told.after("deploy", 3)


def test_what_is_known_stays(told: Told) -> None:
    """
    What was collected still has its ancestry and its scores.
    """
    assert told.after("eval compare", 3) == told.after("eval compare", 0)
    assert "forum" in told.after("lineage", 6)
