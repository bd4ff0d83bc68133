"""gRPC services: each call they serve is a request of its own.

``grpc.server(pool, interceptors=[TraceInterceptor(composite=system)])``, with ``grpc.aio`` an
``AsyncTraceInterceptor``. In: calls of all four kinds. Out: one record a call, with the method as
its route, and its caller where the metadata may be believed. A stream is in the request until its
last message. What the service answers and raises is unchanged.
"""

from __future__ import annotations

import contextvars
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Final

import grpc
import grpc.aio
from opentelemetry.trace import SpanKind

from mvtrace.capture.declared import Composite
from mvtrace.capture.guard import fail_open
from mvtrace.capture.task import TaskRequest

Behaviour = Callable[[Any, Any], Any]
FAULTS: Final = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)
"""Status codes that are the service's own failure; the others are an answer."""
_MAKERS: Final = {
    (False, False): ("unary_unary", grpc.unary_unary_rpc_method_handler),
    (False, True): ("unary_stream", grpc.unary_stream_rpc_method_handler),
    (True, False): ("stream_unary", grpc.stream_unary_rpc_method_handler),
    (True, True): ("stream_stream", grpc.stream_stream_rpc_method_handler),
}


class _Served(TaskRequest):
    """A call that is served."""

    span_kind = SpanKind.SERVER


class _Interceptor:
    """What both kinds share: an immutable interceptor, a request a call."""

    def __init__(self, *, composite: Composite | None = None, arm: str | None = None) -> None:
        self._composite = composite
        self._arm = arm

    @fail_open
    def _traced(self, handler: Any, details: Any) -> Any:
        """Return *handler* so that it works within a request; None where there is none."""
        if handler is None:
            return None
        name, make = _MAKERS[bool(handler.request_streaming), bool(handler.response_streaming)]
        behaviour = self._within(getattr(handler, name), details, handler.response_streaming)
        return make(
            behaviour,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    def _request(self, details: Any) -> TaskRequest:
        return _Served(str(details.method), self._composite, self._arm, details.invocation_metadata)

    def _within(self, before: Behaviour, details: Any, is_stream: bool) -> Behaviour:  # noqa: FBT001 (of the handler)
        if inspect.isasyncgenfunction(before):
            return self._async_stream(before, details)
        if inspect.iscoroutinefunction(before):
            return self._async_answer(before, details)
        return self._stream(before, details) if is_stream else self._answer(before, details)

    def _answer(self, before: Behaviour, details: Any) -> Behaviour:
        def behaviour(asked: Any, context: Any) -> Any:
            with self._request(details) as work:
                try:
                    return before(asked, context)
                finally:
                    _note_status(work, context)

        return behaviour

    def _stream(self, before: Behaviour, details: Any) -> Behaviour:
        def behaviour(asked: Any, context: Any) -> Iterator[Any]:
            # The messages may be asked for by any thread: the request is in a context of its own.
            own = contextvars.copy_context()
            work = self._request(details)
            own.run(work.__enter__)
            try:
                answers = own.run(lambda: iter(before(asked, context)))
                while (answer := own.run(next, answers, _END)) is not _END:
                    yield answer
            except BaseException as error:
                _note_status(work, context)
                own.run(work.__exit__, type(error), error, error.__traceback__)
                raise
            _note_status(work, context)
            own.run(work.__exit__, None, None, None)

        return behaviour

    def _async_answer(self, before: Behaviour, details: Any) -> Behaviour:
        async def behaviour(asked: Any, context: Any) -> Any:
            with self._request(details) as work:
                try:
                    return await before(asked, context)
                finally:
                    _note_status(work, context)

        return behaviour

    def _async_stream(self, before: Behaviour, details: Any) -> Behaviour:
        async def behaviour(asked: Any, context: Any) -> AsyncIterator[Any]:
            with self._request(details) as work:
                try:
                    async for answer in before(asked, context):
                        yield answer
                finally:
                    _note_status(work, context)

        return behaviour


_END: Final = object()


class TraceInterceptor(_Interceptor, grpc.ServerInterceptor):  # type: ignore[misc]
    """Records the calls of ``grpc.server``."""

    def intercept_service(
        self, continuation: Callable[[Any], Any], handler_call_details: Any
    ) -> Any:
        """Return the handler of a call, within a request."""
        handler = continuation(handler_call_details)
        return self._traced(handler, handler_call_details) or handler


class AsyncTraceInterceptor(_Interceptor, grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Records the calls of ``grpc.aio.server``."""

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any
    ) -> Any:
        """Return the handler of a call, within a request."""
        handler = await continuation(handler_call_details)
        return self._traced(handler, handler_call_details) or handler


@fail_open
def _note_status(work: TaskRequest, context: Any) -> None:
    """Note the status that the service has set, where it is not OK."""
    code = context.code()
    name = grpc.StatusCode.OK.name if code in (None, 0) else _name_of(code)
    if name != grpc.StatusCode.OK.name:
        work.failed(name, is_fault=name in FAULTS)


def _name_of(code: Any) -> str:
    """Return the name of a status code; asynchronous contexts have its number."""
    if isinstance(code, grpc.StatusCode):
        return str(code.name)
    return next((one.name for one in grpc.StatusCode if one.value[0] == code), str(code))
