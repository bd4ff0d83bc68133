"""Delivery to a real HTTP server that answers as it was told."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sink import PROTOBUF, Scripted, Sink, attributes, partial_success

from mvtrace.capture import exporter
from mvtrace.capture.connection import CollectorConnection
from mvtrace.capture.pipeline import Tracing
from mvtrace.config import TracingConfig
from mvtrace.otlp import FinishedSpan


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink() as running:
        yield running


def tracing_to(url: str, root: Path, **options: object) -> Tracing:
    return Tracing(
        TracingConfig.from_environ(
            {"HOME": str(root)}, url=url, spool_dir=root, spool_min_free_bytes=0, **options
        )
    )


def a_span(name: str, size: int = 0) -> FinishedSpan:
    return FinishedSpan(b"t" * 16, b"s" * 8, b"", name, 1, 1, 2, {"padding": "x" * size})


def test_delivery_has_id_key_and_encoding(sink: Sink, tmp_path: Path) -> None:
    """
    A batch is gzipped protobuf under its fixed id, with the key as a bearer token.
    """
    options = {"api_key": "mvt_k_s", "service": "svc", "compression": "gzip"}
    tracing = tracing_to(f"{sink.url}/base", tmp_path, **options)

    tracing.emit_spans([a_span("one")])

    assert tracing.flush(10)
    (delivery,) = sink.deliveries
    (resource,) = delivery.message.resource_spans
    assert delivery.path == "/base/v1/traces"
    assert delivery.batch_id == f"{tracing.producer_id}-1-0-0-traces"
    assert delivery.headers["authorization"] == "Bearer mvt_k_s"
    assert delivery.headers["content-type"] == PROTOBUF
    assert delivery.headers["content-encoding"] == "gzip"
    assert attributes(resource.resource) == {
        "service.name": "svc",
        "service.instance.id": tracing.producer_id,
    }
    tracing.shutdown()


@pytest.mark.parametrize("compression", ["none", "auto"])
def test_without_compression(sink: Sink, tmp_path: Path, compression: str) -> None:
    """
    Where compression is off, or the collector on this machine, the body is plain protobuf.
    """
    tracing = tracing_to(sink.url, tmp_path, compression=compression)

    tracing.emit_spans([a_span("one")])

    assert tracing.flush(10)
    assert "content-encoding" not in sink.deliveries[0].headers
    assert [span.name for span in sink.spans] == ["one"]
    tracing.shutdown()


@pytest.mark.parametrize(
    ("url", "is_local"),
    [("http://[::1]:1", True), ("http://localhost:1/x", True), ("https://collector:1", False)],
)
def test_local_collector(url: str, is_local: bool) -> None:
    """
    A collector is on this machine where its URL says so.
    """
    assert CollectorConnection(TracingConfig(url=url)).is_local is is_local


def test_retry_is_byte_identical(sink: Sink, tmp_path: Path) -> None:
    """
    What was answered 503 is sent again under the same id with the same bytes, though more was
    captured meanwhile.
    """
    sink.script.append(Scripted(503))
    tracing = tracing_to(sink.url, tmp_path)
    tracing.emit_spans([a_span("one")])
    sink.wait_for(lambda s: s.deliveries)

    tracing.emit_spans([a_span("two")])

    assert tracing.flush(10)
    first, second = sink.deliveries[:2]
    assert (first.status, second.status) == (503, 200)
    assert (first.batch_id, first.raw) == (second.batch_id, second.raw)
    assert [span.name for span in sink.spans] == ["one", "two"]
    assert tracing.stats()["ship_answers_busy"] == 1
    tracing.shutdown()


def test_retry_after_is_waited_for(sink: Sink, tmp_path: Path) -> None:
    """
    Deliveries pause for as long as the collector asked.
    """
    sink.script.append(Scripted(429, {"retry-after": "1"}))
    tracing = tracing_to(sink.url, tmp_path)

    tracing.emit_spans([a_span("one")])
    sink.wait_for(lambda s: s.accepted)

    refused, accepted = sink.deliveries
    assert accepted.at - refused.at >= 1.0
    tracing.shutdown()


def test_too_large_batch_is_split(tmp_path: Path) -> None:
    """
    After 413 the batch is halved until it fits; nothing is lost, what never fits is put aside.
    """
    with Sink(max_body=200_000) as sink:
        tracing = tracing_to(sink.url, tmp_path)
        names = [str(i) for i in range(40)]

        tracing.emit_spans([a_span(name, 20_000) for name in names])
        tracing.emit_spans([a_span("huge")._replace(name="y" * 250_000)])

        assert tracing.flush(20)
        stats = tracing.stats()
        ids = [delivery.batch_id for delivery in sink.accepted]
        tracing.shutdown()
    assert sorted(span.name for span in sink.spans) == sorted(names)
    assert len(ids) == len(set(ids))
    assert stats["ship_batches_split"] >= 2
    assert stats["ship_batches_quarantined"] == 1
    assert len(list((tmp_path / "quarantine").iterdir())) == 1


def test_refused_batch_is_put_aside(sink: Sink, tmp_path: Path) -> None:
    """
    After 400 the batch lies in the quarantine, counted, and the next one is delivered.
    """
    sink.script.append(Scripted(400, {"content-type": "text/plain"}, b"cannot decode"))
    tracing = tracing_to(sink.url, tmp_path)
    tracing.emit_spans([a_span("bad")])
    assert tracing.flush(10)

    tracing.emit_spans([a_span("good")])

    assert tracing.flush(10)
    (aside,) = (tmp_path / "quarantine").iterdir()
    assert aside.name == f"{tracing.producer_id}-1-0-0-traces.otlp"
    assert aside.read_bytes() == sink.deliveries[0].body
    assert [span.name for span in sink.spans] == ["good"]
    assert tracing.stats()["ship_batches_quarantined"] == 1
    tracing.shutdown()


@pytest.mark.parametrize(
    "answer",
    [
        Scripted(401),
        Scripted(403),
        Scripted(404),
        Scripted(302, {"location": "http://127.0.0.1:9/"}),
        Scripted(200, {"content-type": "text/html"}, b"<html>log in</html>"),
    ],
)
def test_operators_error_keeps_everything(sink: Sink, tmp_path: Path, answer: Scripted) -> None:
    """
    A wrong key, path or login page loses nothing: the next process delivers it under the same id.
    """
    sink.script.extend([answer] * 3)
    tracing = tracing_to(sink.url, tmp_path, exit_grace_s=1.0)
    tracing.emit_spans([a_span("kept")])
    sink.wait_for(lambda s: s.deliveries)
    tracing.shutdown()
    sink.script.clear()
    refused = sink.deliveries[0]

    following = tracing_to(sink.url, tmp_path)
    following.emit_spans([a_span("new")])
    sink.wait_for(lambda s: len(s.spans) == 2)

    assert tracing.stats()["ship_answers_blocked"] >= 1
    assert sorted(span.name for span in sink.spans) == ["kept", "new"]
    assert (refused.batch_id, refused.raw) in [(d.batch_id, d.raw) for d in sink.accepted]
    assert following.stats()["spools_adopted"] == 1
    following.shutdown()


def test_collector_that_starts_later(tmp_path: Path) -> None:
    """
    Without a collector everything stays in the spool, and is delivered once there is one.
    """
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
    tracing = tracing_to(f"http://127.0.0.1:{port}", tmp_path, exit_grace_s=5)
    tracing.emit_spans([a_span("early")])
    started = time.monotonic()
    tracing.shutdown()
    took_s = time.monotonic() - started

    with Sink() as sink:
        following = tracing_to(sink.url, tmp_path)
        following.emit_spans([a_span("late")])
        sink.wait_for(lambda s: len(s.spans) == 2 and len(list(tmp_path.iterdir())) == 1)
        following.shutdown()

    assert tracing.stats()["ship_connection_errors"] >= 1
    assert took_s < 4
    assert [path.name for path in tmp_path.iterdir()] == []


def test_connection_closed_by_the_collector(sink: Sink, tmp_path: Path) -> None:
    """
    A kept connection that was closed meanwhile is opened again without waiting.
    """
    tracing = tracing_to(sink.url, tmp_path)
    sink.script.append(Scripted(200, {"content-type": PROTOBUF, "connection": "keep-alive"}))
    tracing.emit_spans([a_span("one")])
    assert tracing.flush(10)
    connection = tracing._shipper._connection._connection
    assert connection is not None
    connection.sock.shutdown(socket.SHUT_RDWR)

    tracing.emit_spans([a_span("two")])

    assert tracing.flush(10)
    assert [span.name for span in sink.spans] == ["one", "two"]
    assert tracing.stats()["ship_connection_errors"] == 0
    tracing.shutdown()


def test_server_that_does_not_speak_http(tmp_path: Path) -> None:
    """
    A port that answers with something else counts as no answer; the data stays.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        tracing = tracing_to(url, tmp_path, exit_grace_s=0.1)
        thread = threading.Thread(target=_answer_nonsense, args=(server,))
        thread.start()
        tracing.emit_spans([a_span("kept")])

        assert not tracing.flush(0.7)

        thread.join()
        assert tracing.stats()["ship_connection_errors"] >= 1
        assert tracing.stats()["spool_undelivered_bytes"] > 0
        tracing.shutdown()


def _answer_nonsense(server: socket.socket) -> None:
    peer, _ = server.accept()
    with peer:
        peer.recv(65536)
        peer.sendall(b"SSH-2.0-OpenSSH_9.7\r\n")


def test_what_was_rejected_is_counted(sink: Sink, tmp_path: Path) -> None:
    """
    Items a 200 says were not taken are counted and not sent again.
    """
    body = partial_success("/v1/traces", 2)
    sink.script.append(Scripted(200, {"content-type": PROTOBUF}, body))
    tracing = tracing_to(sink.url, tmp_path)

    tracing.emit_spans([a_span("one"), a_span("two"), a_span("three")])

    assert tracing.flush(10)
    assert len(sink.deliveries) == 1
    assert tracing.stats()["shipped_rejected_items"] == 2
    tracing.shutdown()


def test_batches_have_a_size(sink: Sink, tmp_path: Path) -> None:
    """
    A batch is 4 MiB at most, whatever has gathered.
    """
    sink.script.append(Scripted(503, {"retry-after": "1"}))
    tracing = tracing_to(sink.url, tmp_path)

    for number in range(200):
        tracing.emit_spans([a_span(str(number), 60_000)])

    assert tracing.flush(20)
    assert max(len(delivery.body) for delivery in sink.deliveries) <= 4 << 20
    assert sorted(int(span.name) for span in sink.spans) == list(range(200))
    tracing.shutdown()


def test_few_batches_for_many_requests(sink: Sink, tmp_path: Path) -> None:
    """
    Frames gather for a moment, so that many small requests are few deliveries.
    """
    assert exporter.LINGER_S == 0.1
    tracing = tracing_to(sink.url, tmp_path)

    started = time.monotonic()
    for number in range(300):
        tracing.emit_spans([a_span(str(number))])
        time.sleep(0.001)

    assert tracing.flush(10)
    took_s = time.monotonic() - started
    assert len(sink.spans) == 300
    assert len(sink.deliveries) <= took_s / exporter.LINGER_S + 2
    tracing.shutdown()
