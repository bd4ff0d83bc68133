"""A real HTTP server on loopback that tells what is in force, as a collector does."""

from __future__ import annotations

import http.server
import json
import threading
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

PATH = "/api/v1/rollout"


def version_told(version: str, name: str = "bot") -> dict[str, Any]:
    """Return how a collector tells of a version."""
    return {"version": version, "name": name, "kinds": ["model"]}


class RolloutServer:
    """Answers every question with *answer*, or with *status* and a line of text."""

    def __init__(self, port: int = 0) -> None:
        self.answer: Any = {"stable": None, "rollout": None}
        self.raw: bytes | None = None
        self.status = 200
        self.questions: list[tuple[dict[str, str], list[tuple[str, str]]]] = []
        self.asked = threading.Condition()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                with outer.asked:
                    pairs = parse_qsl(parts.query)
                    outer.questions.append(({k.lower(): v for k, v in self.headers.items()}, pairs))
                    outer.asked.notify_all()
                body = outer.raw or json.dumps(outer.answer).encode()
                self.send_response(outer.status if parts.path == PATH else 404)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.01,), daemon=True
        )

    def runs(self, rollout: str, stable: str | None, canary: str, share: float) -> None:
        """Tell that a canary runs."""
        told = {"id": rollout, "share": share, "canary": version_told(canary)}
        self.answer = {"stable": stable and version_told(stable), "rollout": told, "named": {}}

    def serves(self, stable: str) -> None:
        """Tell that one version serves all."""
        self.answer = {"stable": version_told(stable), "rollout": None, "named": {}}

    def wait_asked(self, more: int = 1) -> None:
        """Wait until *more* further questions have been asked."""
        with self.asked:
            target = len(self.questions) + more
            if not self.asked.wait_for(lambda: len(self.questions) >= target, 30):
                raise AssertionError("nobody asked")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
