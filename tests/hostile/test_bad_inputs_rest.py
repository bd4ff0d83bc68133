"""Stores that send those who read from them elsewhere."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from mvtrace.errors import UnavailableError
from mvtrace.store import open_store

PASSWORD, KEY = "a-password-for-one-host", "a-key-for-one-host"


@contextmanager
def redirecting(heard: list[bytes], status: int, target: str) -> Iterator[int]:
    """A server that sends everybody to *target*, and the port it listens on."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.do_POST()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            heard.append(self.headers.as_bytes() + body)
            self.send_response(status)
            self.send_header("location", f"{target}{self.path}")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "dsn", ["http://127.0.0.1:{port}", "clickhouse://u:{password}@127.0.0.1:{port}/db"]
)
def test_store_that_sends_its_readers_elsewhere(dsn: str, status: int) -> None:
    """
    A redirect is an answer that no store gives: neither key nor password nor statement goes on.
    """
    asked: list[bytes] = []
    elsewhere: list[bytes] = []
    with ExitStack() as stack:
        other = stack.enter_context(redirecting(elsewhere, 404, ""))
        port = stack.enter_context(redirecting(asked, status, f"http://127.0.0.1:{other}"))
        with pytest.raises(UnavailableError) as caught:
            open_store(dsn.format(port=port, password=PASSWORD), api_key=KEY)

    assert asked
    assert not elsewhere
    assert PASSWORD not in str(caught.value)
