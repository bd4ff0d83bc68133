"""``mvtrace proxy`` as the process that people run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from raw_http import Connection, RawServer
from sink import Sink

from mvtrace.cli.main import run

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"


def test_an_end_that_is_asked_for(sink: Sink, upstream: RawServer, tmp_path: Path) -> None:
    """
    SIGTERM lets an answer in progress end; the process exits with 0 once the record is delivered.
    """
    goes_on = threading.Event()

    def handle(connection: Connection) -> None:
        connection.head()
        connection.send(OK, b"a")
        goes_on.wait(20)
        connection.send(b"b")

    upstream.handle = handle
    command = [sys.executable, "-m", "mvtrace", "proxy", "--upstream", upstream.url]
    environ = {**os.environ, "MVTRACE_URL": sink.url, "MVTRACE_SPOOL_DIR": str(tmp_path)}
    with subprocess.Popen(
        [*command, "--listen", "127.0.0.1:0"], env=environ, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        port = int(line.split(",")[0].rpartition(":")[2])
        with Connection.to(port) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
            client.head()
            assert client.exactly(1) == b"a"
            process.send_signal(signal.SIGTERM)
            goes_on.set()
            assert client.exactly(1) == b"b"
        assert process.wait(30) == 0

    assert line.endswith(f", upstream {upstream.url}\n")
    sink.wait_for(lambda one: [log for log in one.logs if log.event_name == "mvtrace.request"])


def test_wrong_use(capsys: object) -> None:
    """
    Without an upstream, or with one that is none, nothing is started: exit code 2.
    """
    assert run(["proxy"]) == 2
    assert run(["proxy", "--upstream", "localhost:8000"]) == 2
    assert run(["proxy", "--upstream", "http://localhost:1", "--listen", "nowhere"]) == 2
