"""A real HTTP server that answers with the headers it was sent, and redirects where it is told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class _Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:  # the name is the base class's
        target = parse_qs(urlsplit(self.path).query).get("to")
        if target:
            self.server.hops.append(self._said())  # type: ignore[attr-defined]
            self.send_response(307)
            self.send_header("location", target[0])
            self.send_header("content-length", "0")
            self.end_headers()
            return
        body = json.dumps(self._said()).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def _said(self) -> dict[str, str]:
        names = {name.lower() for name in self.headers}
        return {name: ",".join(self.headers.get_all(name, [])) for name in names}

    def log_message(self, *_: object) -> None:
        """Print nothing."""


class Echo:
    """The server: reached as the host ``127.0.0.1`` and as ``localhost``."""

    def __init__(self, port: int, hops: list[dict[str, str]]) -> None:
        self.port = port
        self.hops = hops
        """Headers of what was redirected."""

    def url(self, host: str, redirect_to: str | None = None) -> str:
        query = "" if redirect_to is None else f"?to={redirect_to}"
        return f"http://{host}:{self.port}/x{query}"


@contextmanager
def echoing() -> Iterator[Echo]:
    """Serve for the length of a block."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Echo) as server:
        server.daemon_threads = True
        server.hops = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield Echo(server.server_port, server.hops)  # type: ignore[attr-defined]
        finally:
            server.shutdown()
            thread.join()
