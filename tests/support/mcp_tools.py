"""A small MCP server with two tools, over stdio as a program or over streamable HTTP in a thread."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from mcp import StdioServerParameters
from mcp.server.mcpserver import MCPServer
from raw_http import running

NAME = "places"
DESCRIBED = "MVTRACE_TEST_DESCRIPTION"


def server(description: str = "Look at a place.") -> MCPServer[Any]:
    """Return a server whose tool ``look`` is described so."""
    made: MCPServer[Any] = MCPServer(NAME, log_level="ERROR")

    @made.tool(description=description)
    def look(place: str) -> str:
        return f"{place} is there"

    @made.tool(description="Fails.")
    def fail(place: str) -> str:
        raise ValueError(place)

    return made


def over_stdio(description: str = "Look at a place.") -> StdioServerParameters:
    """Return how to start the server as a process."""
    environ = {**os.environ, DESCRIBED: description, "PYTHONPATH": str(Path(__file__).parent)}
    return StdioServerParameters(command=sys.executable, args=[__file__], env=environ)


@contextmanager
def over_http(description: str = "Look at a place.") -> Iterator[str]:
    """Serve over streamable HTTP; yields the URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        app = server(description).streamable_http_app()
        config = uvicorn.Config(app, log_level="error", lifespan="on", ws="none")
        with running(config, listener) as port:
            yield f"http://127.0.0.1:{port}/mcp"


if __name__ == "__main__":
    server(os.environ[DESCRIBED]).run("stdio")
