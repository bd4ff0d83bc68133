"""Celery: a task knows which request published it, and is a request of its own.

In: messages of tasks as kombu publishes them, and the worker's signals around each execution.
Out: the headers ``baggage`` and ``traceparent`` where the broker's host is allowed (a broker in
memory or in a folder counts as ``localhost``), and one record an execution, with the route
``celery:<name of the task>``. A retry is called by the execution that asked for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from mvtrace.capture.guard import fail_open
from mvtrace.capture.task import TaskRequest, request
from mvtrace.integrations.hooks import ArgumentsHook, Installed
from mvtrace.integrations.http_clients import changed

LIBRARY: Final = "celery"
_HELD: Final = "_mvtrace"
"""Where the record of an execution lies, in Celery's own account of that execution."""


class SignalHook:
    """A function that is called with one of Celery's signals."""

    def __init__(self, signal: Any, told: Callable[..., object]) -> None:
        self._signal = signal
        self._told = told
        signal.connect(told, weak=False)

    def remove(self) -> None:
        """Be told no more."""
        self._signal.disconnect(self._told)


def install() -> tuple[Installed, ...]:
    """Wrap the publishing of messages, and listen to the signals of workers."""
    from celery import signals  # noqa: PLC0415 (only where it is installed)
    from kombu import Producer  # noqa: PLC0415 (comes with it)

    return (
        ArgumentsHook(Producer, "publish", begin_publish),
        SignalHook(signals.task_prerun, begin_task),
        SignalHook(signals.task_postrun, end_task),
    )


def begin_publish(
    producer: Any, *args: Any, headers: Any = None, **kwargs: Any
) -> tuple[Any, Any] | None:
    """Return what to publish instead; None for what is no task's message, or may not be told."""
    if not isinstance(headers, Mapping) or "task" not in headers or "id" not in headers:
        return None
    told = changed(headers, *brokers(producer.connection))
    return None if told is None else ((producer, *args), {**kwargs, "headers": told})


def brokers(connection: Any) -> tuple[str, ...]:
    """Return where a message may go: the broker, and those that stand in for it."""
    port = f":{connection.port}" if connection.port else ""
    return (f"//{connection.hostname or 'localhost'}{port}", *connection.alt)


@fail_open
def begin_task(task: Any = None, **_: object) -> None:
    """Begin the record of an execution."""
    work = request(f"celery:{task.name}", headers=_headers(task.request))
    setattr(task.request, _HELD, work)
    work.__enter__()


@fail_open
def end_task(task: Any = None, retval: Any = None, state: Any = None, **_: object) -> None:
    """End it, with the exception of what failed or is to be retried."""
    work = vars(task.request).pop(_HELD, None)
    if not isinstance(work, TaskRequest):
        return
    error = retval if isinstance(retval, BaseException) else None
    if state in ("FAILURE", "RETRY", "REJECTED") and error is not None:
        work.__exit__(type(error), error, None)
        return
    if state in ("FAILURE", "REJECTED"):
        work.failed(str(state))
    work.__exit__(None, None, None)


def _headers(context: Any) -> dict[str, Any]:
    """Return the headers of a message: Celery makes attributes of them."""
    names = ("baggage", "traceparent", "tracestate", "x-request-id")
    return {name: vars(context)[name] for name in names if name in vars(context)}
