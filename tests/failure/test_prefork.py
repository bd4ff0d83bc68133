"""Servers that fork: every worker is a producer of its own, and every record arrives."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from processes import collector
from servers import Reply, Server, files_held, serving

HERE = Path(__file__).parent
GUNICORN = ("-m", "gunicorn", "--workers", "4", "--bind", "fd://{fd}", "prefork_app:app")
WORKER = ("--worker-class", "uvicorn_worker.UvicornWorker", "--graceful-timeout", "10")
UVICORN = ("-m", "uvicorn", "--fd", "{fd}", "--log-level", "warning", "prefork_app:app")
OPTIONS = {
    "gunicorn": (*GUNICORN, *WORKER),
    "gunicorn --preload": (*GUNICORN, *WORKER, "--preload"),
    "gunicorn, its own ASGI worker": (*GUNICORN, "--worker-class", "asgi"),
    "gunicorn, its own ASGI worker, --preload": (*GUNICORN, "--worker-class", "asgi", "--preload"),
    "uvicorn --workers 2": (*UVICORN, "--workers", "2"),
}
TRIES = 5
STORED = (
    "SELECT DISTINCT request_id_text, hex(producer_id), sequence FROM requests"
    " WHERE service = 'prefork' AND route LIKE '/echo%' FORMAT TSV"
)

pytestmark = pytest.mark.failure
Serve = Callable[..., AbstractContextManager[Server]]


@dataclass(frozen=True)
class Seen:
    """A record that arrived."""

    request_id: str
    producer_id: str
    sequence: str


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real collector for all of these tests."""
    with collector(tmp_path_factory.mktemp("collector")) as one:
        yield one.url


@pytest.fixture
def serve(tmp_path: Path, url: str) -> Serve:
    """Start a server in a folder of its own, with a spool of its own."""
    shutil.copy(HERE / "prefork_app.py", tmp_path)

    def begin(command: Sequence[str], **environ: str) -> AbstractContextManager[Server]:
        settings = {
            "MVTRACE_URL": url,
            "MVTRACE_SERVICE": "prefork",
            "MVTRACE_SPOOL_DIR": str(tmp_path / "spool"),
            "PYTHONPATH": f"{HERE.parents[1]}:{HERE.parents[1] / 'collector'}",
        }
        return serving(command, tmp_path / "server.log", tmp_path, {**settings, **environ})

    return begin


def judge(url: str, replies: Sequence[Reply]) -> list[Seen]:
    """Return the records of *replies* once all are stored; each answer was right.

    Raises:
        AssertionError: an answer was wrong, a record is missing, or two share a number.
    """
    assert [(r.status, r.body["number"]) for r in replies] == [(200, r.number) for r in replies]
    wanted = {reply.request_id for reply in replies}
    assert len(wanted) == len(replies)
    deadline = time.monotonic() + 180
    while True:
        text = httpx2.get(f"{url}/sql", params={"query": STORED, "database": "mvtrace"}).text
        rows = [Seen(*line.split("\t")) for line in text.splitlines()]
        found = [row for row in rows if row.request_id in wanted]
        if {row.request_id for row in found} == wanted or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    assert {row.request_id for row in found} == wanted
    numbers = {(row.producer_id, row.sequence) for row in rows}
    assert len(numbers) == len(rows)
    return found


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("configured", ["", "1"], ids=["by environment", "configured on import"])
def test_workers_are_producers(
    serve: Serve, url: str, tmp_path: Path, options: Sequence[str], configured: str
) -> None:
    """
    Each worker counts for itself and holds files of its own; all records arrive.
    """
    with serve(options, PREFORK_CONFIGURE=configured) as server:
        replies = server.ask_all(range(400))
        held = files_held(server.family(), tmp_path / "spool")

    found = judge(url, replies)
    pids = {reply.body["pid"] for reply in replies}
    producers = {row.producer_id for row in found}
    shared = {name: pids for name, pids in held.items() if len(pids) > 1}
    print(f"{len(found)} records of {len(pids)} workers, {len(producers)} producers")
    assert len(producers) == len(pids) > 1
    assert held
    assert shared == {}


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "--preload"])
def test_reload_under_load(serve: Serve, url: str, preload: tuple[str, ...]) -> None:
    """
    SIGHUP replaces the workers while they answer; no record is lost or numbered twice.
    """
    options = (*GUNICORN, *WORKER, *preload)
    with serve(options, PREFORK_CONFIGURE="1") as server:
        before = server.ask_all(range(50))
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(server.ask_all, range(50, 650))
            for _ in range(2):
                time.sleep(0.4)
                server.signal(signal.SIGHUP)
            during = asked.result()
        wait_for_new_workers(server, {reply.body["pid"] for reply in before})
        after = server.ask_all(range(650, 700))

    found = judge(url, [*before, *during, *after])
    workers = {reply.body["pid"] for reply in [*before, *during, *after]}
    print(f"{len(found)} records of {len(workers)} workers over two reloads")
    assert len(workers) > 4
    assert {r.body["pid"] for r in after}.isdisjoint(r.body["pid"] for r in before)


def wait_for_new_workers(server: Server, old: set[int]) -> None:
    deadline = time.monotonic() + 80
    while old & set(server.family()) and time.monotonic() < deadline:
        time.sleep(0.05)


def test_workers_that_are_recycled(serve: Serve, url: str) -> None:
    """
    Workers that end after some requests lose none of their records.
    """
    recycled = ("--max-requests", "40", "--max-requests-jitter", "10")
    with serve((*GUNICORN, *WORKER, *recycled)) as server:
        replies = server.ask_all(range(600))

    found = judge(url, replies)
    workers = {reply.body["pid"] for reply in replies}
    print(f"{len(found)} records of {len(workers)} workers")
    assert len(workers) >= 8


def test_worker_that_is_killed(serve: Serve, url: str) -> None:
    """
    What a killed worker had spooled is delivered by the processes that come after it.
    """
    with serve((*GUNICORN, *WORKER), PREFORK_CONFIGURE="1") as server:
        replies = server.ask_all(range(100))
        time.sleep(0.1)  # the writer's: to spool what was captured
        victims = {reply.body["pid"] for reply in replies}
        for pid in sorted(victims)[:2]:
            os.kill(pid, signal.SIGKILL)
        replies += server.ask_all(range(100, 200))
    with serve((*GUNICORN, *WORKER)) as server:
        replies += server.ask_all(range(200, 300))
        judge(url, replies)


def test_reloading_server(serve: Serve, url: str, tmp_path: Path) -> None:
    """
    A server that restarts when its code changes records before and after.
    """
    with serve((*UVICORN, "--reload")) as server:
        before = server.ask_all(range(20))
        time.sleep(1.2)  # a change within the same second as the start is not seen
        (tmp_path / "prefork_app.py").touch()
        deadline = time.monotonic() + 80
        after = server.ask_all(range(20, 40))
        while after[-1].body["pid"] == before[0].body["pid"] and time.monotonic() < deadline:
            after.append(server.ask(len(before) + len(after)))
            time.sleep(0.05)

    judge(url, [*before, *after])
    assert before[0].body["pid"] != after[-1].body["pid"]


@pytest.mark.parametrize("grace_s", ["0", "1"])
def test_exit_is_not_held_up(serve: Serve, grace_s: str) -> None:
    """
    With the collector down a server ends no later than the grace after it would without tracing.
    """
    down = {"MVTRACE_URL": "http://127.0.0.1:9", "MVTRACE_EXIT_GRACE_S": grace_s}
    held_up = []
    for _ in range(TRIES):  # of a busy machine one exit says little
        took = []
        for environ in ({"MVTRACE_DISABLED": "true"}, down):
            with serve((*GUNICORN, *WORKER), **environ) as server:
                server.ask_all(range(100))
                took.append(server.stop())
        held_up.append(took[1] - took[0])
        if held_up[-1] < float(grace_s) + 1.5:
            break

    print(f"exit held up, grace {grace_s} s:", [f"{seconds:.2f} s" for seconds in held_up])
    assert held_up[-1] < float(grace_s) + 1.5
