"""gRPC channels: a service that we call, and that may know, is told which request calls it.

In: the channels made by ``grpc`` and ``grpc.aio`` from now on. Out: the metadata ``baggage`` and
``traceparent`` on each call whose target is allowed. Left out: channels made before.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import grpc
import grpc.aio

from mvtrace.capture.guard import fail_open
from mvtrace.integrations.grpc_metadata import metadata_for, receivers
from mvtrace.integrations.hooks import ArgumentsHook, Hook, ResultHook

_MAKERS: Final = {"insecure_channel": 3, "secure_channel": 4}
"""What makes channels, and where ``grpc.aio`` takes the interceptors of one."""


def hooks() -> tuple[Hook, ...]:
    """Wrap what makes channels."""
    return (
        *(ResultHook(grpc, name, intercepted) for name in _MAKERS),
        *(
            ArgumentsHook(grpc.aio, name, partial(with_interceptors, place))
            for name, place in _MAKERS.items()
        ),
    )


def intercepted(channel: Any, *args: Any, **kwargs: Any) -> Any:
    """Return *channel* so that its calls tell who calls."""
    return grpc.intercept_channel(channel, Teller(_target(args, kwargs)))


def with_interceptors(place: int, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
    """Return the arguments of an asynchronous channel, with interceptors behind its own."""
    target = _target(args, kwargs)
    ours = [kind(target) for kind in (TellUU, TellUS, TellSU, TellSS)]
    if len(args) > place:
        return (*args[:place], [*(args[place] or ()), *ours], *args[place + 1 :]), kwargs
    return args, {**kwargs, "interceptors": [*(kwargs.get("interceptors") or ()), *ours]}


def _target(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    target = args[0] if args else kwargs.get("target", "")
    return target.decode() if isinstance(target, bytes) else str(target)


class _Details(grpc.ClientCallDetails):  # type: ignore[misc]
    """The details of a call, with other metadata."""

    def __init__(self, given: Any, metadata: Any) -> None:
        self.method = given.method
        self.timeout = given.timeout
        self.metadata = metadata
        self.credentials = given.credentials
        self.wait_for_ready = given.wait_for_ready
        self.compression = given.compression


class Teller(
    grpc.UnaryUnaryClientInterceptor,  # type: ignore[misc]
    grpc.UnaryStreamClientInterceptor,  # type: ignore[misc]
    grpc.StreamUnaryClientInterceptor,  # type: ignore[misc]
    grpc.StreamStreamClientInterceptor,  # type: ignore[misc]
):
    """Adds to the metadata of each call of one channel."""

    def __init__(self, target: str) -> None:
        self._hosts = receivers(target)

    def intercept_unary_unary(
        self, continuation: Callable[..., Any], client_call_details: Any, request: Any
    ) -> Any:
        """Call on, with who calls in the metadata where it may be known."""
        return continuation(self._details(client_call_details) or client_call_details, request)

    intercept_unary_stream = intercept_unary_unary

    def intercept_stream_unary(
        self, continuation: Callable[..., Any], client_call_details: Any, request_iterator: Any
    ) -> Any:
        """Call on likewise."""
        details = self._details(client_call_details) or client_call_details
        return continuation(details, request_iterator)

    intercept_stream_stream = intercept_stream_unary

    @fail_open
    def _details(self, given: Any) -> _Details | None:
        metadata = metadata_for(self._hosts, given.metadata)
        return None if metadata is None else _Details(given, metadata)


class _Telling:
    """What the asynchronous interceptors share."""

    def __init__(self, target: str) -> None:
        self._hosts = receivers(target)

    @fail_open
    def _details(self, given: Any) -> Any:
        metadata = metadata_for(self._hosts, given.metadata)
        if metadata is None:
            return None
        return grpc.aio.ClientCallDetails(
            given.method,
            given.timeout,
            grpc.aio.Metadata(*metadata),
            given.credentials,
            given.wait_for_ready,
        )


class TellUU(_Telling, grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[misc]
    """One message to, one back."""

    async def intercept_unary_unary(
        self, continuation: Callable[..., Any], client_call_details: Any, request: Any
    ) -> Any:
        """Call on."""
        details = self._details(client_call_details) or client_call_details
        return await continuation(details, request)


class TellUS(_Telling, grpc.aio.UnaryStreamClientInterceptor):  # type: ignore[misc]
    """One message to, many back."""

    async def intercept_unary_stream(
        self, continuation: Callable[..., Any], client_call_details: Any, request: Any
    ) -> Any:
        """Call on."""
        details = self._details(client_call_details) or client_call_details
        return await continuation(details, request)


class TellSU(_Telling, grpc.aio.StreamUnaryClientInterceptor):  # type: ignore[misc]
    """Many messages to, one back."""

    async def intercept_stream_unary(
        self, continuation: Callable[..., Any], client_call_details: Any, request_iterator: Any
    ) -> Any:
        """Call on."""
        details = self._details(client_call_details) or client_call_details
        return await continuation(details, request_iterator)


class TellSS(_Telling, grpc.aio.StreamStreamClientInterceptor):  # type: ignore[misc]
    """Many messages both ways."""

    async def intercept_stream_stream(
        self, continuation: Callable[..., Any], client_call_details: Any, request_iterator: Any
    ) -> Any:
        """Call on."""
        details = self._details(client_call_details) or client_call_details
        return await continuation(details, request_iterator)
