"""What an answer of the collector means, and how long to wait after it."""

from __future__ import annotations

import email.utils

import pytest
from sink import PROTOBUF, partial_success

from mvtrace.capture.answers import Answer, Verdict, retry_after_s, retry_delay_s


def answer(status: int, content_type: str = "", body: bytes = b"") -> Answer:
    return Answer(status, content_type, None, body)


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        (answer(200, PROTOBUF), Verdict.ACCEPTED),
        (answer(200, "application/json", b"{}"), Verdict.ACCEPTED),
        (answer(200), Verdict.ACCEPTED),
        (answer(204), Verdict.ACCEPTED),
        (answer(200, "text/html; charset=utf-8", b"<html>log in"), Verdict.BLOCKED),
        (answer(302), Verdict.BLOCKED),
        (answer(400), Verdict.REFUSED),
        (answer(401), Verdict.BLOCKED),
        (answer(403), Verdict.BLOCKED),
        (answer(404), Verdict.BLOCKED),
        (answer(405), Verdict.BLOCKED),
        (answer(408), Verdict.BUSY),
        (answer(413), Verdict.TOO_LARGE),
        (answer(415), Verdict.BLOCKED),
        (answer(422), Verdict.REFUSED),
        (answer(429), Verdict.BUSY),
        (answer(500), Verdict.BUSY),
        (answer(501), Verdict.BLOCKED),
        (answer(502), Verdict.BUSY),
        (answer(503), Verdict.BUSY),
        (answer(504), Verdict.BUSY),
    ],
)
def test_verdicts(given: Answer, verdict: Verdict) -> None:
    """
    Only an undecodable batch is put aside; an operator's error keeps everything.
    """
    assert given.verdict is verdict


@pytest.mark.parametrize("path", ["/v1/traces", "/v1/logs"])
def test_partial_success(path: str) -> None:
    """
    What the collector did not take is read from the official response, zero where it took all.
    """
    assert answer(200, PROTOBUF, partial_success(path, 300)).rejected == 300
    assert answer(200, PROTOBUF).rejected == 0


@pytest.mark.parametrize("body", [b"\xff", b"\x0a\x05\x08", b"\x0d\x00\x00\x00\x00", b"\x08\x01"])
def test_damaged_response(body: bytes) -> None:
    """
    A body that cannot be read counts as nothing rejected.
    """
    assert answer(200, PROTOBUF, body).rejected == 0


NOW = 1_790_000_000.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("7", 7.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        (email.utils.formatdate(NOW + 90, usegmt=True), 90.0),
        (email.utils.formatdate(NOW - 90, usegmt=True), 0.0),
    ],
)
def test_retry_after(text: str | None, seconds: float | None) -> None:
    """
    Retry-After is seconds or a date; anything else is as if it were not there.
    """
    assert retry_after_s(text, now=NOW) == seconds


def test_backoff_grows_to_its_cap() -> None:
    """
    Waits double up to 30 s, or to 5 minutes where an operator has to act, and vary by half.
    """
    busy = [retry_delay_s(Verdict.BUSY, n, None, jitter=1.0) for n in (1, 2, 3, 10, 10_000)]
    blocked = [retry_delay_s(Verdict.BLOCKED, n, None, jitter=1.0) for n in (1, 2, 10_000)]

    assert busy == [0.5, 1.0, 2.0, 30.0, 30.0]
    assert blocked == [5.0, 10.0, 300.0]
    assert retry_delay_s(Verdict.BUSY, 1, None, jitter=0.0) == 0.25


def test_retry_after_is_honoured_and_bounded() -> None:
    """
    The collector's word wins over the backoff, but a mad one neither stops deliveries for years nor
    makes them a loop without a pause.
    """
    assert retry_delay_s(Verdict.BUSY, 9, 2.0, jitter=0.0) == 2.0
    assert retry_delay_s(Verdict.BUSY, 1, 1e9, jitter=0.0) == 600.0
    assert retry_delay_s(Verdict.BUSY, 1, 0.0, jitter=0.0) == 0.5


def test_no_delay_is_longer_than_the_operator_allows() -> None:
    """
    A cap of the operator's own holds for grown and for asked delays, and keeps its jitter.
    """
    for asked in (None, 1e9):
        delays = [
            retry_delay_s(Verdict.BLOCKED, 9, asked, jitter=jitter, most_s=2.0)
            for jitter in (0.0, 0.5, 1.0)
        ]
        assert delays == [1.0, 1.5, 2.0]
    assert retry_delay_s(Verdict.BUSY, 1, None, jitter=1.0, most_s=2.0) == 0.5
