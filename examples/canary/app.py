"""The server of this example: two versions behind one middleware, which draws for each user.

    python -m examples.canary.app VERSION [--arm-header x-arm]

Which version the canary is, is named here; who gets it, and whether there is one at all, is decided
by ``mvtrace canary``. With ``--arm-header`` a balancer in front splits the traffic instead, and
names the side that it chose. Tracing is configured by the environment.
"""

from __future__ import annotations

import argparse
import socket
from collections.abc import Mapping
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import mvtrace
from examples.canary.system import VERSIONS, Assistant, Parts
from mvtrace.capture.rollout import Rollout


def traced_app(rollout: Rollout, *systems: Assistant) -> Starlette:
    """Return the application that answers with whichever of *systems* serves the request.

    By its version, not by its side: once promoted, the new version is the stable one.
    """
    of_version = {one.composite.version: one for one in systems}

    async def ask(request: Request) -> JSONResponse:
        said = await request.json()
        arm = mvtrace.current_arm() or rollout.arm
        serving = of_version[arm.composite_version or ""]
        return JSONResponse(
            {
                "answer": serving.answer(said["question"], said["seed"]),
                "version": serving.composite.version,
                "request_id": mvtrace.current_request_id(),
            }
        )

    return Starlette(routes=[Route("/ask", ask, methods=["POST"])])


async def feedback(request: Request) -> JSONResponse:
    """Take what a user thought of an answer, whenever it comes."""
    said = await request.json()
    mvtrace.score(said["request_id"], "helpful", 1.0 if said["helpful"] else 0.0)
    return JSONResponse({})


class Server:
    """Questions are traced; feedback is no request of its own, it is about one."""

    def __init__(self, app: Any, rollout: Any, arm_header: str | None) -> None:
        self._plain = Starlette(routes=[Route("/feedback", feedback, methods=["POST"])])
        self._drawn = mvtrace.TraceMiddleware(app, composite=rollout)
        self._named: Mapping[bytes, Any] = {
            name.encode(): mvtrace.TraceMiddleware(app, composite=rollout, arm=name)
            for name in ("stable", "canary")
        }
        self._header = arm_header.encode() if arm_header else None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        app = self._drawn
        if scope["type"] == "http" and scope["path"] == "/feedback":
            app = self._plain
        elif scope["type"] == "http" and self._header is not None:
            app = self._named[dict(scope["headers"])[self._header]]
        await app(scope, receive, send)


def main() -> None:
    """Serve on a free port of the loopback, until a signal."""
    parser = argparse.ArgumentParser()
    parser.add_argument("version", choices=[name for name in VERSIONS if name != "stable"])
    parser.add_argument("--arm-header")
    said = parser.parse_args()
    parts = Parts()
    stable, canary = (Assistant(parts, VERSIONS[name]) for name in ("stable", said.version))
    rollout = mvtrace.rollout(
        stable=stable.composite, canary=canary.composite, key="header:x-user", refresh_s=0.5
    )
    app = Server(traced_app(rollout, stable, canary), rollout, said.arm_header)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        versions = f"stable {stable.composite.version}, canary {canary.composite.version}"
        port = listener.getsockname()[1]
        print(f"listens on http://127.0.0.1:{port} ({versions})", flush=True)
        config = uvicorn.Config(app, log_level="warning", access_log=False)
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
