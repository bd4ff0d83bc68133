"""Three services, each a process of its own, over real HTTP: one tree of requests."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from echoing import echoing
from explained import explained
from processes import collector
from servers import serving

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="sockets are handed over by descriptor"
)

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
COMMAND = (*("-m", "uvicorn", "--fd", "{fd}", "--log-level", "warning"), "chain_app:app")
NAMES = ("model", "answers", "gateway")
"""From the last to the first."""


@contextlib.contextmanager
def chain(folder: Path, url: str, provider: str, **environ: str) -> Iterator[str]:
    """The services, each of which asks the one before it; the address of the first."""
    with contextlib.ExitStack() as stack:
        below = ""
        for name in NAMES:
            own = {
                "MVTRACE_URL": url,
                "MVTRACE_SERVICE": name,
                "MVTRACE_ARM": f"arm-{name}",
                "MVTRACE_SPOOL_DIR": str(folder / "spool"),
                "PROVIDER_URL": provider,
                "PYTHONPATH": f"{ROOT}:{ROOT / 'collector'}:{HERE}",
                **({"NEXT_URL": below} if below else {}),
                **environ,
            }
            made = stack.enter_context(serving(COMMAND, folder / f"{name}.log", HERE, own))
            below = f"http://127.0.0.1:{made.port}/step"
        yield below


def asked(url: str) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """What each service answered, first to last, and their requests by service."""
    answers = httpx2.get(url, timeout=60).json()
    return answers, {one["service"]: one["id"] for one in answers}


def test_one_tree(tmp_path: Path) -> None:
    """
    Each service has a request and a version of its own; from each of them all three are shown, with
    version and arm, and the provider that all of them ask is told nothing.
    """
    trusting = {"MVTRACE_PROPAGATE_TO": "127.0.0.1", "MVTRACE_TRUST_INCOMING": "true"}
    (tmp_path / "collector").mkdir()
    with echoing() as provider, collector(tmp_path / "collector") as one:
        with chain(tmp_path, one.url, provider.url("localhost"), **trusting) as first:
            answers, ids = asked(first)
        seen = {name: explained(one.url, ids[name]) for name in NAMES}
        text = subprocess.run(
            [sys.executable, "-m", "mvtrace", "explain", ids["model"], "--url", one.url],
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    order = list(reversed(NAMES))
    assert [one["service"] for one in answers] == order
    assert all({"baggage", "traceparent"}.isdisjoint(one["provider_was_told"]) for one in answers)
    versions = {name: seen[name]["composite"]["version"] for name in NAMES}
    assert len(set(versions.values())) == 3
    for place, name in enumerate(order):
        tree = seen[name]["tree"]
        assert [line["request_id"] for line in tree["requests"]] == [ids[one] for one in order]
        assert [line["composite_version"] for line in tree["requests"]] == [
            versions[one] for one in order
        ]
        assert [line["arm"] for line in tree["requests"]] == [f"arm-{one}" for one in order]
        assert tree["requests"][place]["relation"] == "this"
        assert tree["root"] == ids["gateway"]
    assert seen["model"]["parent_composite_version"] == versions["answers"]
    assert seen["model"]["parent_arm"] == "arm-answers"
    assert len({seen[name]["trace_id"] for name in NAMES}) == 1
    assert all(ids[name] in text for name in NAMES)


def test_who_does_not_trust(tmp_path: Path) -> None:
    """
    A service that does not trust what comes in has requests without callers.
    """
    wary = {"MVTRACE_PROPAGATE_TO": "127.0.0.1"}
    (tmp_path / "collector").mkdir()
    with echoing() as provider, collector(tmp_path / "collector") as one:
        with chain(tmp_path, one.url, provider.url("localhost"), **wary) as first:
            _, ids = asked(first)
        seen = {name: explained(one.url, ids[name]) for name in NAMES}

    assert {seen[name]["parent_request_id"] for name in NAMES} == {None}
    assert {seen[name]["tree"] is None for name in NAMES} == {True}
