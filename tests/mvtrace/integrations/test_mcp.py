"""Real MCP servers, over stdio and HTTP: what a client gets is unchanged, tools are recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import pytest
from captured import Captured
from captured_table import record as tell

import mvtrace
from mvtrace.integrations import mcp as integration
from mvtrace.records import RequestRecord

mcp = pytest.importorskip("mcp")

from mcp.client.streamable_http import streamable_http_client  # noqa: E402
from mcp_tools import NAME, over_http, over_stdio, server  # noqa: E402

pytestmark = pytest.mark.usefixtures("instrumented")


@contextmanager
def transport(kind: str, description: str = "Look at a place.") -> Iterator[Any]:
    """What a client connects to."""
    if kind == "stdio":
        yield mcp.stdio_client(over_stdio(description))
    elif kind == "http":
        with over_http(description) as url:
            yield streamable_http_client(url)
    else:
        yield server(description)


async def look_around(to: Any, *, is_listing: bool = True) -> list[Any]:
    """List the tools, use one that answers and one that fails."""
    async with mcp.Client(to) as client:
        if is_listing:
            await client.list_tools()
        return [await client.call_tool(name, {"place": "here"}) for name in ("look", "fail")]


def recorded(captured: Captured, to: Any, **how: Any) -> RequestRecord:
    """The record of a request that looks around."""
    with mvtrace.request(route="/ask"):
        good, bad = asyncio.run(look_around(to, **how))
    assert (good.content[0].text, good.is_error, bad.is_error) == ("here is there", False, True)
    return captured.records[-1]


@pytest.mark.parametrize("kind", ["stdio", "http"])
def test_tools_of_a_server(captured: Captured, kind: str) -> None:
    """
    Each use of a tool is one call with digests of what went in and came out, under the definitions
    as the server listed them; a result that is an error is a failed call.
    """
    with transport(kind) as to:
        record = recorded(captured, to)

    good, bad = record.calls
    assert [(call.kind, call.name) for call in record.calls] == [("tool", "look"), ("tool", "fail")]
    assert (good.outcome, bad.outcome, bad.error_type) == ("ok", "error", "tool_error")
    assert good.component == bad.component == f"tools/{NAME}"
    assert good.input_digest is not None
    assert good.output_digest is not None
    [listed] = {one.digest for one in record.observed if one.kind == "tools"}
    body = next(
        log.body.string_value
        for log in captured.sink.logs
        if log.event_name == "mvtrace.component" and '"kind":"tools"' in log.body.string_value
    )
    assert '"names":["look","fail"]' in body
    assert listed == mvtrace.tools(NAME, asyncio.run(definitions())).digest
    assert captured.span("execute_tool look").attributes["gen_ai.tool.name"] == "look"
    tell("mcp", version("mcp"), ["tool definitions as listed", "tool calls", "errors of tools"])


async def definitions() -> list[dict[str, Any]]:
    mvtrace.uninstrument()
    async with mcp.Client(server()) as client:
        listed = (await client.list_tools()).tools
    return [one.model_dump(mode="json", by_alias=True, exclude_none=True) for one in listed]


def test_a_server_that_describes_its_tool_otherwise(captured: Captured) -> None:
    """
    The same definitions are the same version, over whatever transport; a description that was
    edited behind everybody's back is another, and drift says that the tools changed.
    """
    for kind, description in [("http", "Look."), ("memory", "Look."), ("memory", "Look twice.")]:
        with transport(kind, description) as to:
            recorded(captured, to)

    first, second, third = captured.records
    assert first.composite_version == second.composite_version != third.composite_version
    assert [(drift.kind, drift.name, drift.what) for drift in third.drift] == [
        ("tools", NAME, "changed")
    ]


def test_declared_tools(captured: Captured) -> None:
    """
    Where a composite declares the tools of a server, another listing is drift from it.
    """
    declared = mvtrace.tools(NAME, [{"name": "look"}])
    system = mvtrace.composite("s", declared)
    with mvtrace.request(route="/ask", composite=system):
        asyncio.run(look_around(server()))

    [drift] = captured.record.drift
    assert (drift.kind, drift.name, drift.expected) == ("tools", NAME, declared.digest)


def test_definitions_that_nobody_listed(captured: Captured) -> None:
    """
    A client that uses a tool without listing any has listed them to check the result.
    """
    record = recorded(captured, server(), is_listing=False)

    assert [call.component for call in record.calls] == [f"tools/{NAME}"] * 2


def test_a_session_without_a_client(captured: Captured) -> None:
    """
    A bare session is observed too, and its error passes.
    """

    async def act() -> None:
        async with (
            mcp.stdio_client(over_stdio()) as (read, write),
            mcp.ClientSession(read, write, read_timeout_seconds=30) as session,
        ):
            await session.initialize()
            await session.call_tool("look", {"place": "here"})
            with pytest.raises(mcp.MCPError):
                await session.call_tool("look", {"place": "there"}, read_timeout_seconds=0)

    with mvtrace.request(route="/ask"):
        asyncio.run(act())

    good, bad = captured.record.calls
    assert (good.outcome, bad.outcome) == ("ok", "error")


def test_a_tool_of_an_agent(captured: Captured) -> None:
    """
    A tool that an agent's library runs on a server is one call, of both.
    """
    tools = pytest.importorskip("langchain_core.tools")

    async def act() -> None:
        async with mcp.Client(server()) as client:

            @tools.tool
            async def look(place: str) -> str:
                """Look at a place."""
                return str((await client.call_tool("look", {"place": place})).content[0].text)

            assert await look.ainvoke({"place": "here"}) == "here is there"

    with mvtrace.request(route="/ask"):
        asyncio.run(act())

    [call] = captured.record.calls
    assert (call.name, call.component) == ("look", f"tools/{NAME}")


def test_a_server_of_an_odd_name(captured: Captured) -> None:
    """
    A server whose name is no name for a part costs the evidence of its tools, and nothing else.
    """
    odd = server()
    odd._lowlevel_server.name = "odd\x00name"
    record = recorded(captured, odd)

    assert [call.component for call in record.calls] == [None, None]
    assert record.capture is not None
    assert record.capture.errors == 0


def boom(*_: object, **__: object) -> None:
    raise RuntimeError("a bug of ours")


@pytest.mark.parametrize("name", ["_plain", "_component", "_met", "_said", "tool", "taken"])
def test_no_failure_of_ours_reaches_the_library(
    captured: Captured, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """
    Whichever step of ours fails, the client gets what the server says.
    """
    monkeypatch.setattr(integration, name, boom)
    assert recorded(captured, server()).outcome == "ok"


def test_uninstrument(captured: Captured) -> None:
    """
    Turned off, nothing is recorded.
    """
    mvtrace.uninstrument()
    assert recorded(captured, server()).calls == ()
