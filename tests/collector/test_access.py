"""What a route reads of a body, and what of a data key is let into the key store."""

from __future__ import annotations

import asyncio
import base64

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from starlette.requests import Request
from starlette.types import Message

from mvtrace import semconv
from mvtrace.errors import ConfigurationError
from mvtrace_collector.access import small_body
from mvtrace_collector.intake import read_logs

CHUNK = b"x" * 1024


class Sender:
    """Sends chunks for as long as it is asked."""

    def __init__(self, chunks: int) -> None:
        self.asked = 0
        self._chunks = chunks

    async def receive(self) -> Message:
        self.asked += 1
        return {"type": "http.request", "body": CHUNK, "more_body": self.asked < self._chunks}


def sent(sender: Sender, most: int) -> bytes:
    return asyncio.run(small_body(Request({"type": "http"}, sender.receive), most))


def a_key(key_id: str, subject: str, wrapped: str) -> bytes:
    request = ExportLogsServiceRequest()
    record = request.resource_logs.add().scope_logs.add().log_records.add()
    record.event_name = semconv.EVENT_PAYLOAD_KEY
    record.body.string_value = wrapped
    record.attributes.add(key=semconv.PAYLOAD_KEY_ID).value.string_value = key_id
    record.attributes.add(key=semconv.PAYLOAD_SUBJECT).value.string_value = subject
    record.attributes.add(key=semconv.PAYLOAD_KEY_MADE).value.int_value = 1
    return request.SerializeToString()


WRAPPED = base64.b64encode(bytes(60)).decode()


def test_a_small_body_is_whole() -> None:
    """
    What is within the limit comes as it was sent.
    """
    assert sent(Sender(4), 4096) == CHUNK * 4


def test_of_a_large_body_no_more_is_read_than_the_limit() -> None:
    """
    A sender that never ends is refused at the first chunk over the limit.
    """
    sender = Sender(1_000_000)

    with pytest.raises(ConfigurationError):
        sent(sender, 4096)

    assert sender.asked == 5


def test_a_data_key_goes_to_the_key_store_only() -> None:
    """
    A key of ordinary lengths is handed over, and nothing of it goes into the inbox.
    """
    intake = read_logs(a_key("0123456789abcdef", "hmac-sha256:00000000:aa", WRAPPED))

    assert [key.id for key in intake.keys] == ["0123456789abcdef"]
    assert not intake.pieces
    assert not intake.rejected


@pytest.mark.parametrize(
    ("key_id", "subject", "wrapped"),
    [
        ("", "subject", WRAPPED),
        ("k" * 65, "subject", WRAPPED),
        ("key", "", WRAPPED),
        ("key", "s" * 257, WRAPPED),
        ("key", "subject", "no base64"),
        ("key", "subject", ""),
        ("key", "subject", base64.b64encode(bytes(1025)).decode()),
    ],
)
def test_what_is_no_data_key_is_rejected(key_id: str, subject: str, wrapped: str) -> None:
    """
    Names and keys of any length would fill the key store and the memory of who remembers them.
    """
    intake = read_logs(a_key(key_id, subject, wrapped))

    assert not intake.keys
    assert not intake.pieces
    assert intake.rejected == {"payload-key": 1}
