"""A declared alias that is moved to another dated release drifts, by request, over restarts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from captured import Captured

import mvtrace
from mvtrace.capture.releases import MAX_KEPT, Releases
from mvtrace.records import Drift

MODEL = mvtrace.model("writer", provider="p", model_id="large")
SYSTEM = mvtrace.composite("shop", MODEL)


def asked(*served: str) -> None:
    """Run a request for each release that answers."""
    for release in served:
        with (
            mvtrace.request(route="job", composite=SYSTEM),
            mvtrace.generation("write", model="large") as call,
        ):
            call.response(model=release)


def test_another_release_behind_the_alias_is_drift(captured: Captured) -> None:
    """
    Each request that another release answered says so, until the first one is back.
    """
    asked("large", "large-2026-08-01", "large-2026-10-01", "large-2026-10-01", "large-2026-08-01")

    moved = Drift(
        kind="model", name="writer", what="release",
        expected="large-2026-08-01", observed="large-2026-10-01",
    )  # fmt: skip
    found = [
        [(one.kind, one.name, one.what, one.expected, one.observed) for one in record.drift]
        for record in captured.records
    ]
    told = (moved.kind, moved.name, moved.what, moved.expected, moved.observed)
    assert found == [[], [], [told], [told], []]


def test_what_was_first_outlives_the_process(tmp_path: Path) -> None:
    """
    A later process, and another worker that met another release, go by what was first of all.
    """
    first, other = Releases(tmp_path, "shop", None), Releases(tmp_path, "shop", None)
    assert first.first("v", "model/writer", "a-1") == "a-1"
    first.exchange()

    assert other.first("v", "model/writer", "a-2") == "a-2"
    other.exchange()

    assert other.first("v", "model/writer", "a-2") == "a-1"
    assert Releases(tmp_path, "shop", None).first("v", "model/writer", "a-3") == "a-1"
    assert Releases(tmp_path, "shop", None).first("w", "model/writer", "a-3") == "a-3"
    assert Releases(tmp_path, "desk", None).first("v", "model/writer", "a-3") == "a-3"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"v model/writer": 7}'])
def test_a_damaged_file_is_begun_anew(tmp_path: Path, text: str) -> None:
    """
    What cannot be read says nothing, and is replaced.
    """
    one = Releases(tmp_path, "shop", None)
    one.exchange()
    (path,) = (tmp_path / "releases").glob("*.json")
    path.write_text(text)

    again = Releases(tmp_path, "shop", None)
    assert again.first("v", "model/writer", "a-1") == "a-1"
    again.exchange()

    assert json.loads(path.read_text()) == {"v model/writer": "a-1"}


def test_the_file_is_bounded(tmp_path: Path) -> None:
    """
    Only the newest are kept.
    """
    one = Releases(tmp_path, "shop", None)
    one._known = {f"v{number} model/x": "a-1" for number in range(MAX_KEPT + 9)}
    one.exchange()

    assert len(Releases(tmp_path, "shop", None)._known) == MAX_KEPT
