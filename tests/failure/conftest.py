"""The failure matrix: how often to kill, and producers as processes of their own.

The full counts take the better part of an hour; MVTRACE_TEST_KILLS caps each of them, and without
what is marked ``failure_long`` a selection is left that still meets every kind of fault.
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
LONG = (
    "test_function_raises",
    "test_erased_in_a_merge_stays_erased",
    "test_damaged_parts[zeroed checksums]",
    "test_damaged_parts[missing column file]",
    "test_damaged_parts[missing columns.txt]",
    "test_everything_is_gone",
    "test_older_copy_is_restored",
    "test_server_meets_a_fault[242",
    "test_server_meets_a_fault[243",
    "test_server_meets_a_fault[319",
    "test_batch_that_does_not_fit_waits",
    "test_memory_limit",
    "test_spool_disk.py::test_disk_full",
    "test_spool_disk.py::test_disk_read_only",
    "test_spool_disk.py::test_permission_lost",
    "test_spool_disk.py::test_directory_deleted",
    "test_spool_disk.py::test_disk_stalls",
    "test_index_deleted",
    "test_disk_floor",
    "test_memory_is_bounded[disk stalled]",
    "test_workers_are_producers[by environment-gunicorn --preload]",
    "test_workers_are_producers[by environment-gunicorn, its own ASGI worker",
    "test_workers_are_producers[by environment-uvicorn",
    "test_workers_are_producers[configured on import-gunicorn]",
    "test_workers_are_producers[configured on import-gunicorn, its own ASGI worker]",
    "test_workers_are_producers[configured on import-gunicorn, its own ASGI worker, --preload]",
    "test_reload_under_load[--preload]",
    "test_workers_that_are_recycled",
    "test_exit_is_not_held_up[1]",
)
"""How the names begin of what only the full matrix runs: a lighter test meets the same row."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder is the failure matrix, but what is quick and says so itself."""
    for item in items:
        if item.path.is_relative_to(HERE) and not item.path.name.startswith(MARKED_ONE_BY_ONE):
            item.add_marker(pytest.mark.failure)
        names = (f"{item.name}[", f"{item.path.name}::{item.name}[")
        if item.path.is_relative_to(HERE) and any(name.startswith(LONG) for name in names):
            item.add_marker(pytest.mark.failure_long)


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
