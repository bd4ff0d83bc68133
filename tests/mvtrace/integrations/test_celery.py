"""Celery: a task's execution is a request, called by the one that published it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.services
celery = pytest.importorskip("celery")

from captured import Captured  # noqa: E402 (after the check that there is anything to test)
from captured_table import record  # noqa: E402
from celery.contrib.testing.worker import start_worker  # noqa: E402

import mvtrace  # noqa: E402
from mvtrace.integrations.celery import brokers  # noqa: E402
from mvtrace.records import RequestRecord  # noqa: E402

STALE = "mvtrace.request.id=01900000-0000-7000-8000-000000000000"


def _app(folder: Path, broker: str) -> Any:
    for name in ("queue", "results"):
        (folder / name).mkdir(exist_ok=True)
    app = celery.Celery("notes", broker=broker, backend="cache+memory://", set_as_current=False)
    app.conf.update(
        task_default_queue=folder.name,
        broker_connection_retry_on_startup=True,
        worker_hijack_root_logger=False,
        broker_transport_options={
            "data_folder_in": str(folder / "queue"),
            "data_folder_out": str(folder / "queue"),
            "control_folder": str(folder / "control"),
            "polling_interval": 0.02,
        },
    )

    @app.task(name="notes.summarize", shared=False)
    def summarize() -> str:
        with mvtrace.generation("g", model="m", provider="p"):
            return str(mvtrace.current_request_id())

    @app.task(name="notes.headers", shared=False, bind=True)
    def headers(self: Any) -> dict[str, Any]:
        return {k: v for k, v in vars(self.request).items() if k in ("baggage", "user")}

    @app.task(name="notes.fail", shared=False)
    def fail() -> None:
        raise ValueError("broken")

    @app.task(name="notes.again", shared=False, bind=True, max_retries=1)
    def again(self: Any) -> str:
        if self.request.retries == 0:
            raise self.retry(countdown=0)
        return str(mvtrace.current_request_id())

    @app.task(name="notes.further", shared=False)
    def further() -> str:
        return str(summarize.apply_async().id)

    return app


@pytest.fixture(params=["memory://", "filesystem://"])
def app(request: pytest.FixtureRequest, tmp_path: Path, telling: Captured) -> Iterator[Any]:
    """An application with a running worker, over each broker that needs no server."""
    made = _app(tmp_path, request.param)
    with start_worker(made, perform_ping_check=False, shutdown_timeout=30):
        yield made


@pytest.fixture
def telling(captured: Captured) -> Iterator[Captured]:
    """Tracing that may tell this machine's queues who calls, and believes who calls."""
    configured(captured, ["localhost"])
    mvtrace.instrument("celery")
    yield captured
    mvtrace.uninstrument()
    captured.tracing.shutdown()


def configured(captured: Captured, hosts: list[str]) -> None:
    config = captured.tracing.config
    captured.tracing = mvtrace.configure(
        service="shop",
        url=config.url,
        spool_dir=config.spool_dir,
        propagate_to=hosts,
        trust_incoming=True,
    )


def executions(captured: Captured, name: str, count: int = 1) -> list[RequestRecord]:
    """The records of *count* executions, once they are there."""
    deadline = time.monotonic() + 30
    while True:
        found = [one for one in captured.records if one.route == f"celery:{name}"]
        if len(found) >= count:
            assert len(found) == count
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def test_a_task_names_its_caller(app: Any, telling: Captured) -> None:
    """
    The record of an execution names the request that published the task, and has its calls.
    """
    with mvtrace.request(route="r", arm="stable") as work:
        answer = app.tasks["notes.summarize"].apply_async().get(timeout=30)

    [own] = executions(telling, "notes.summarize")
    assert own.request_id == answer
    assert (own.parent_request_id, own.parent_arm) == (work.request_id, "stable")
    assert [call.name for call in own.calls] == ["g"]
    assert own.outcome == "ok"
    assert {one.trace_id for one in telling.records} == {own.trace_id}
    record("celery", version("celery"), ["a request for each execution", "the request that asked"])


def test_a_task_of_a_task(app: Any, telling: Captured) -> None:
    """
    What a task publishes is called by the task, not by who called that.
    """
    with mvtrace.request(route="r") as work:
        app.tasks["notes.further"].apply_async().get(timeout=30)

    [first] = executions(telling, "notes.further")
    [second] = executions(telling, "notes.summarize")
    assert first.parent_request_id == work.request_id
    assert second.parent_request_id == first.request_id


def test_a_retry(app: Any, telling: Captured) -> None:
    """
    A retry is a request of its own, called by the execution that asked for it.
    """
    with mvtrace.request(route="r") as work:
        app.tasks["notes.again"].apply_async().get(timeout=30)

    first, second = executions(telling, "notes.again", 2)
    assert first.parent_request_id == work.request_id
    assert second.parent_request_id == first.request_id
    assert (first.outcome, first.error_type, second.outcome) == (
        "error",
        "celery.exceptions.Retry",
        "ok",
    )


def test_a_task_that_fails(app: Any, telling: Captured) -> None:
    """
    An execution that raises is recorded as failed, and Celery tells its caller as ever.
    """
    with pytest.raises(ValueError, match="broken"):
        app.tasks["notes.fail"].apply_async().get(timeout=30)

    [own] = executions(telling, "notes.fail")
    assert (own.outcome, own.error_type) == ("error", "ValueError")
    assert own.parent_request_id is None


def test_headers_of_the_application_stay(app: Any, telling: Captured) -> None:
    """
    Headers and baggage of the application's own arrive beside ours.
    """
    given = {"baggage": f"a=b,{STALE}", "user": "7"}

    with mvtrace.request(route="r") as work:
        found = app.tasks["notes.headers"].apply_async(headers=given).get(timeout=30)

    assert found == {"baggage": f"mvtrace.request.id={work.request_id},a=b", "user": "7"}


def test_a_broker_that_is_not_named(app: Any, telling: Captured) -> None:
    """
    A broker whose host is not allowed carries nothing of ours; executions are recorded still.
    """
    configured(telling, ["queue.internal"])

    with mvtrace.request(route="r"):
        app.tasks["notes.summarize"].apply_async().get(timeout=30)

    assert executions(telling, "notes.summarize")[0].parent_request_id is None


def test_a_task_called_in_place(telling: Captured, tmp_path: Path) -> None:
    """
    A task that is executed where it is called is a request within that one.
    """
    with mvtrace.request(route="r") as work:
        _app(tmp_path, "memory://").tasks["notes.summarize"].apply()

    [own] = executions(telling, "notes.summarize")
    assert own.parent_request_id == work.request_id


def test_left_alone_again(app: Any, telling: Captured) -> None:
    """
    After uninstrument() messages and executions are as without us.
    """
    mvtrace.uninstrument()

    with mvtrace.request(route="r"):
        assert app.tasks["notes.headers"].apply_async().get(timeout=30) == {}

    assert [one.route for one in telling.records] == ["r"]


def test_where_a_message_may_go() -> None:
    """
    A broker and all that stand in for it are asked about.
    """
    from kombu import Connection

    with contextlib.ExitStack() as stack:
        named = {
            url: brokers(stack.enter_context(Connection(url)))
            for url in ("memory://", "amqp://u:p@a:5671//", "amqp://a//;amqp://b//")
        }

    assert named == {
        "memory://": ("//localhost",),
        "amqp://u:p@a:5671//": ("//a:5671",),
        "amqp://a//;amqp://b//": ("//a", "amqp://a//", "amqp://b//"),
    }
