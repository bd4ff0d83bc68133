"""A look on its way to a collector: kept, put off, or refused."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from mvtrace.comparing.errors import NotAcceptedError
from mvtrace.comparing.sending import sender_to
from mvtrace.errors import CollectorUnreachableError, ConfigurationError
from mvtrace.otlp import LogEvent

LOOK = LogEvent("mvtrace.verdict", 7, '{"decision":"hold"}', {})


class Answering(http.server.BaseHTTPRequestHandler):
    """Answers as it was told, one answer after another."""

    answers: list[tuple[int, Any]]
    got: list[tuple[dict[str, str], Any]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {key.lower(): value for key, value in self.headers.items()}
        self.got.append((headers, json.loads(body)))
        status, said = self.answers.pop(0)
        text = said if isinstance(said, bytes) else json.dumps(said).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(text)))
        self.send_header("retry-after", "0")
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def collector() -> Iterator[tuple[str, type[Answering]]]:
    """A server that answers as a test says, and its address."""
    handler = type("Told", (Answering,), {"answers": [], "got": []})
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", handler
        server.shutdown()
        thread.join()


def test_a_look_is_sent_as_a_log_record(collector: tuple[str, type[Answering]]) -> None:
    """
    What is kept travels as any log record does, with the key and the project.
    """
    url, told = collector
    told.answers = [(200, {})]

    sender_to(url, project="shop", api_key="mvt_1")([LOOK])

    [(headers, body)] = told.got
    [logs] = body["resourceLogs"]
    assert headers["authorization"] == "Bearer mvt_1"
    assert len(headers["x-mvtrace-batch"]) == 32
    assert logs["resource"]["attributes"] == [
        {"key": "mvtrace.project", "value": {"stringValue": "shop"}}
    ]
    assert logs["scopeLogs"][0]["logRecords"] == [
        {
            "timeUnixNano": "7",
            "eventName": "mvtrace.verdict",
            "body": {"stringValue": '{"decision":"hold"}'},
            "attributes": [],
        }
    ]


def test_a_busy_collector_is_asked_again(collector: tuple[str, type[Answering]]) -> None:
    """
    A collector that has no room for now gets the same batch a second time.
    """
    url, told = collector
    told.answers = [(503, {}), (429, {}), (200, {})]

    sender_to(url)([LOOK])

    assert len({headers["x-mvtrace-batch"] for headers, _ in told.got}) == 1
    assert len(told.got) == 3


@pytest.mark.parametrize(
    ("status", "said", "why"),
    [
        (401, {"error": {"message": "no such key"}}, "no such key"),
        (400, {"message": "it is no export"}, "it is no export"),
        (500, {}, "the collector answered with status 500"),
        (
            200,
            {"partialSuccess": {"rejectedLogRecords": "1", "errorMessage": "not govern"}},
            "not govern",
        ),
    ],
)
def test_what_is_not_kept_is_refused(
    collector: tuple[str, type[Answering]], status: int, said: object, why: str
) -> None:
    """
    An answer that does not say that the look is kept is an error, with the collector's words.
    """
    url, told = collector
    told.answers = [(status, said)]

    with pytest.raises(NotAcceptedError) as refused:
        sender_to(url)([LOOK])

    assert refused.value.message == f"The look was not kept, so nothing was decided: {why}"
    assert refused.value.exit_code == 1


def test_without_its_plan_no_look_is_kept(collector: tuple[str, type[Answering]]) -> None:
    """
    A plan that is refused is refused before the look is sent, so what is said of it is true.
    """
    url, told = collector
    refused = {"partialSuccess": {"rejectedLogRecords": 1, "errorMessage": "no scope ingest"}}
    told.answers = [(200, refused)]

    with pytest.raises(NotAcceptedError, match="no scope ingest"):
        sender_to(url)([LOOK, LogEvent("mvtrace.entry", 7, "{}", {})])

    [(_, body)] = told.got
    [record] = body["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
    assert record["eventName"] == "mvtrace.entry"


def test_what_is_no_collector_is_said_so(collector: tuple[str, type[Answering]]) -> None:
    """
    An answer that is no JSON, nobody who answers, and an address that is none are told apart.
    """
    url, told = collector
    told.answers = [(200, b"<html>")]

    with pytest.raises(CollectorUnreachableError):
        sender_to(url)([LOOK])
    with pytest.raises(CollectorUnreachableError, match="Connection refused"):
        sender_to("http://127.0.0.1:9")([LOOK])
    with pytest.raises(ConfigurationError):
        sender_to("chdb:///x")
