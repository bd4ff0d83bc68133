"""The run of a tool that a library announces: one call, also where another library runs it beneath.

A tool of an agent may lie on an MCP server: the agent's library knows the run, and the client of
the server what was sent and came back.
"""

from __future__ import annotations

from typing import Final

from mvtrace.capture.api import current_request_id
from mvtrace.capture.step_calls import ToolCall
from mvtrace.integrations.awaiting import Awaiting


class ToolRun:
    """One run."""

    is_taken = False
    """Whether a library beneath tells the call what it knows."""

    def __init__(self, call: ToolCall) -> None:
        self.call = call

    def close(self, error: BaseException | None = None) -> None:
        """End the call."""
        self.call.close(error)


TOOLS: Final[Awaiting[ToolRun]] = Awaiting("mvtrace_tools")
"""Runs that a library further out has begun."""


def taken(name: str) -> ToolCall | None:
    """Return the call of the tool *name* that a library further out has begun, if one has."""
    request_id = current_request_id()

    def fits(one: ToolRun) -> bool:
        call = one.call
        is_here = call.is_open and call.request_id == request_id
        return not one.is_taken and is_here and call.name == name

    run = TOOLS.take(fits)
    if run is None:
        return None
    run.is_taken = True
    return run.call
