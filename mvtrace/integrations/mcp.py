"""MCP: the tools of a server, as it listed them, and each call of one.

In: what a client session lists and calls, over any transport. Out: a tool call a call, with the
component of all definitions that the server has listed in this session; so a server that describes
a tool otherwise is another version. A result that says it is an error is a call that failed.

Left out: resources, prompts and sampling; the rounds in which a server asks back are one call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Final
from weakref import WeakKeyDictionary

from mvtrace.capture.context import current_exchange
from mvtrace.capture.exchange import RequestExchange
from mvtrace.capture.guard import fail_open
from mvtrace.capture.step_calls import ToolCall, tool
from mvtrace.components.component import MAX_NAME_LENGTH, Component
from mvtrace.components.prompt import tools
from mvtrace.errors import MvtraceError
from mvtrace.integrations.hooks import Hook, Installed
from mvtrace.integrations.tool_runs import taken

LIBRARY: Final = "mcp"
TOOL_ERROR: Final = "tool_error"
"""OpenTelemetry's word for a result that says it is an error."""
_NOT_DEFINED: Final = "_meta"
"""What a listing says of itself, not of a tool."""

_listed: Final[WeakKeyDictionary[Any, Component]] = WeakKeyDictionary()
"""What each session was listed last."""
_pages: Final[WeakKeyDictionary[Any, list[Mapping[str, Any]]]] = WeakKeyDictionary()
"""The definitions of a listing whose next page is yet to come."""
_is_calling: Final[ContextVar[bool]] = ContextVar("mvtrace_mcp_calling", default=False)


def install() -> tuple[Installed, ...]:
    """Wrap sessions, and the client above them where this version has one."""
    import mcp  # noqa: PLC0415 (only where it is installed)

    session = mcp.ClientSession
    hooks = [Hook(session, "list_tools", Listing), Hook(session, "call_tool", begin)]
    client = getattr(mcp, "Client", None)
    if client is not None:
        hooks.append(Hook(client, "list_tools", ClientListing))
        hooks.append(Hook(client, "call_tool", begin_of_client))
    return tuple(hooks)


class Listing:
    """One page of a server's tools, or all."""

    def __init__(self, session: Any, *_: Any, **kwargs: Any) -> None:
        self._session = session
        params = kwargs.get("params")
        self._is_first = kwargs.get("cursor") is None and getattr(params, "cursor", None) is None

    def enter(self) -> None:
        """Nothing is current while a server lists."""

    def leave(self) -> None:
        """Nothing to end."""

    @fail_open
    def answered(self, result: Any) -> None:
        """Take the definitions, and note them where a request asked for them."""
        session = self._session
        before = [] if self._is_first else _pages.get(session, [])
        found = [*before, *map(_plain, result.tools)]
        _pages[session] = found
        if result.next_cursor is not None:
            return
        component = _component(session, found)
        if component is None:
            _listed.pop(session, None)
        else:
            _listed[session] = component
            _met(component)

    def failed(self, _error: BaseException) -> None:
        """What was listed before still holds."""


class ClientListing(Listing):
    """The same by a client, which may have it from a cache of its own."""

    @fail_open
    def answered(self, result: Any) -> None:
        """Take the definitions for the client's session."""
        self._session = self._session.session
        super().answered(result)


class ToolUse:
    """One call of a tool."""

    def __init__(self, session: Any, name: str, arguments: Any) -> None:
        self._session = session
        further = taken(name)
        self._is_ours = further is None
        self._call: ToolCall = tool(name, arguments=arguments) if further is None else further
        if further is None:
            self._call.open()

    @fail_open
    def enter(self) -> None:
        """Let no session beneath record the call again."""
        self._before = _is_calling.set(True)
        if self._is_ours:
            self._call.attach()

    @fail_open
    def leave(self) -> None:
        """End that."""
        _is_calling.reset(self._before)
        if self._is_ours:
            self._call.detach()

    @fail_open
    def answered(self, result: Any) -> None:
        """Take the result, and the definitions that hold."""
        self._tell()
        if getattr(result, "is_error", False) or getattr(result, "isError", False):
            self._call.failed(TOOL_ERROR)
        self._call.result(_said(result))
        if self._is_ours:
            self._call.close()

    @fail_open
    def failed(self, error: BaseException) -> None:
        """End by *error*."""
        self._tell()
        if self._is_ours:
            self._call.close(error)

    @fail_open
    def _tell(self) -> None:
        self._call.component = self._call.component or _listed.get(self._session)


def begin(session: Any, name: str, arguments: Any = None, *_: Any, **__: Any) -> ToolUse | None:
    """Return the call of a tool; None within one that is recorded already."""
    return None if _is_calling.get() else ToolUse(session, name, arguments)


def begin_of_client(
    client: Any, name: str, arguments: Any = None, *_: Any, **__: Any
) -> ToolUse | None:
    """Return the call of a tool by a client, whose session may need several rounds."""
    return begin(client.session, name, arguments)


def _plain(definition: Any) -> dict[str, Any]:
    plain: dict[str, Any] = definition.model_dump(mode="json", by_alias=True, exclude_none=True)
    plain.pop(_NOT_DEFINED, None)
    return plain


def _component(session: Any, definitions: Sequence[Mapping[str, Any]]) -> Component | None:
    """Return the tools of a server by the name that it gives itself; None where they are odd."""
    info = getattr(session, "server_info", None)
    name = str(getattr(info, "name", None) or LIBRARY)
    try:
        return tools(name[:MAX_NAME_LENGTH], definitions)
    except MvtraceError:
        return None


def _met(component: Component) -> None:
    """Note, on the request in progress, that it was shown these definitions."""
    exchange = current_exchange()
    if not isinstance(exchange, RequestExchange):
        return
    exchange.add_observed(component.kind, component.name, component.digest)
    declared = exchange.declared.component(component.kind, component.name)
    if declared is not None and declared.digest != component.digest:
        exchange.add_drift(
            declared, "digest", expected=declared.digest, observed=component.digest, span_id=None
        )
    if exchange.system is not None:
        exchange.parts.append(component)


def _said(result: Any) -> Any:
    """Return what a tool said, as plain values."""
    plain = result.model_dump(mode="json", by_alias=True, exclude_none=True)
    structured = plain.get("structuredContent")
    return plain.get("content") if structured is None else structured
