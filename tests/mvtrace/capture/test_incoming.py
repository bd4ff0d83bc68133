"""Headers in and out: what is believed, and who is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvtrace.capture.incoming import Incoming, may_see_baggage, read_headers, read_mapping

CALLER = "01900000-0000-7000-8000-000000000000"


@pytest.mark.parametrize(
    ("baggage", "found"),
    [
        (f"mvtrace.request.id={CALLER}", CALLER),
        (f" a=b ,  mvtrace.request.id = {CALLER} ;x=y", CALLER),
        ("mvtrace.request.id=" + CALLER.replace("-", "%2D"), CALLER),
        ("mvtrace.request.id=", None),
        ("mvtrace.request.id", None),
        ("mvtrace.request.id=' OR 1=1", None),
        (f"xmvtrace.request.id={CALLER}", None),
        (f"mvtrace.request.id={CALLER}0", None),
        ("a=" + "x" * 9000 + f",mvtrace.request.id={CALLER}", None),
        ("", None),
    ],
)
def test_parent_request_id(baggage: str, found: str | None) -> None:
    """
    Only a request id in its exact form is taken from baggage, and only from trusted one.
    """
    assert Incoming(baggage=baggage).parent_request_id(trust=True) == found
    assert Incoming(baggage=baggage).parent_request_id(trust=None) is None


@given(st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=200))))
def test_any_headers_can_be_read(headers: list[tuple[bytes, bytes]]) -> None:
    """
    No header makes reading fail.
    """
    known = [(name, value) for _, value in headers for name in (b"traceparent", b"baggage")]

    for found in (read_headers(headers), read_headers(known)):
        found.parent_context(trust=True)
        found.parent_request_id(trust=True)


def test_headers_of_a_message() -> None:
    """
    The headers of a queue's message are read without regard to case.
    """
    assert read_mapping({"TraceParent": "x", "X-Request-Id": "y"}) == Incoming("x", None, None, "y")
    assert read_mapping(None) == read_mapping({}) == Incoming()


@pytest.mark.parametrize(
    ("url", "may"),
    [
        ("http://api.internal/x", True),
        ("https://API.internal:8443", True),
        ("http://a.b.svc/", True),
        ("http://svc/", False),
        ("http://evilsvc/", False),
        ("http://db:5432/", True),
        ("http://db:5433/", False),
        ("http://db/", False),
        ("http://[::1]:80/", True),
        ("http://api.internal.evil.example/", False),
        ("http://user@api.internal@evil.example/", False),
        ("not a url", False),
    ],
)
def test_who_may_see_baggage(url: str, may: bool) -> None:
    """
    Baggage goes to the hosts that are named, with their port where one is, and to no other.
    """
    hosts = ("api.internal", "*.svc", "db:5432", "[::1]")

    assert may_see_baggage(url, hosts) is may
