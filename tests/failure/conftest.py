"""The failure matrix: how often to kill, and producers as processes of their own.

The full counts take the better part of an hour; MVTRACE_TEST_KILLS caps each of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from application import Application, Produce
from supervised import Supervised

HERE = Path(__file__).parent
MARKED_ONE_BY_ONE = ("test_application_safety", "test_prefork", "test_streaming")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder is the failure matrix, but what is quick and says so itself."""
    for item in items:
        if item.path.is_relative_to(HERE) and not item.path.name.startswith(MARKED_ONE_BY_ONE):
            item.add_marker(pytest.mark.failure)


@pytest.fixture(scope="session")
def times() -> Callable[[int], int]:
    """How often to do what the full matrix does so many times."""
    most = int(os.environ.get("MVTRACE_TEST_KILLS", "1000"))
    return lambda full: min(full, most)


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Supervised]:
    """A collector with a store of its own."""
    with Supervised(tmp_path / "collector") as one:
        yield one


@pytest.fixture
def produce(tmp_path: Path) -> Iterator[Produce]:
    """Start an application that captures; it is killed at the end if it still lives."""
    made: list[Application] = []

    def begin(
        url: str,
        ledger: Path,
        *options: str,
        spool: Path | None = None,
        before: Sequence[str] = (),
        **environ: str,
    ) -> Application:
        address = {"MVTRACE_URL": url, "MVTRACE_SPOOL_DIR": str(spool or tmp_path / "spool")}
        one = Application(ledger, *options, environ={**address, **environ}, before=before)
        made.append(one)
        return made[-1]

    yield begin
    for one in made:
        one.kill()
