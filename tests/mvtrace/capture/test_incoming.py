"""Headers in and out: what is believed, and who is told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvtrace.capture.incoming import MAX_HEADERS, Caller, Incoming, read_headers, read_message
from mvtrace.capture.outgoing import may_see_baggage

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
    caller = Incoming(baggage=baggage).caller(trust=True)

    assert (caller and caller.request_id) == found
    assert Incoming(baggage=baggage).caller(trust=None) is None
    assert Incoming(baggage=baggage).caller(trust=False) is None


@pytest.mark.parametrize(
    ("members", "version", "arm"),
    [
        (f"mvtrace.composite.version={'a' * 64},mvtrace.arm=canary", "a" * 64, "canary"),
        (f"mvtrace.composite.version={'A' * 64},mvtrace.arm=-x", None, None),
        (f"mvtrace.composite.version={'a' * 63},mvtrace.arm={'x' * 129}", None, None),
        ("mvtrace.arm=a%0Ab", None, None),
        ("", None, None),
    ],
)
def test_state_of_the_caller(members: str, version: str | None, arm: str | None) -> None:
    """
    What a caller says of its own version and arm is taken in its exact form, or not at all.
    """
    said = Incoming(baggage=f"{members},mvtrace.request.id={CALLER}")

    assert said.caller(trust=True) == Caller(CALLER, version, arm)
    assert Incoming(baggage=members).caller(trust=True) is None


def test_baggage_in_several_headers_is_one_list() -> None:
    """
    Who called is found in whichever header of the name it stands; other headers count once.
    """
    said = read_headers(
        [(b"baggage", b"a=b"), (b"x", b"y"), (b"baggage", f"mvtrace.request.id={CALLER}".encode())]
    )

    assert said.caller(trust=True) == Caller(CALLER)


@given(st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=200))))
def test_any_headers_can_be_read(headers: list[tuple[bytes, bytes]]) -> None:
    """
    No header makes reading fail.
    """
    known = [(name, value) for _, value in headers for name in (b"traceparent", b"baggage")]

    for found in (read_headers(headers), read_headers(known)):
        found.parent_context(trust=True)
        found.caller(trust=True)


def test_headers_of_a_message() -> None:
    """
    The headers of a queue's message are read without regard to case.
    """
    said = Incoming("x", None, None, "y")
    assert read_message({"TraceParent": "x", "X-Request-Id": "y"}) == said
    assert read_message([("TraceParent", b"x"), ("x-request-id", "y")]) == said
    assert read_message(None) == read_message({}) == read_message(()) == Incoming()


_VALUES = st.none() | st.integers() | st.text() | st.binary() | st.lists(st.text())
_NAMES = st.sampled_from(["baggage", "traceparent", "tracestate"]) | st.text() | st.none()


@given(st.lists(st.tuples(_NAMES, _VALUES)) | st.dictionaries(_NAMES, _VALUES))
def test_any_message_can_be_read(headers: Any) -> None:
    """
    No header of a message makes reading fail, whatever its name and value are.
    """
    found = read_message(headers)

    found.parent_context(trust=True)
    found.caller(trust=True)


def test_a_message_of_very_many_headers_is_read_in_part() -> None:
    """
    What stands behind the first few hundred headers is not looked at.
    """
    many = [("x", b"")] * MAX_HEADERS

    assert read_message([*many, ("traceparent", b"x")]) == Incoming()
    assert read_message([*many[1:], ("traceparent", b"x")]) == Incoming("x")


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
        ("api.internal:9092", True),
        ("http://evil.example\\@api.internal/", False),
        ("http://[::1", False),
        ("http://api.internal:99999/", False),
        ("https://tls/", True),
        ("http://tls/", False),
    ],
)
def test_who_may_see_baggage(url: str, may: bool) -> None:
    """
    Baggage goes to the hosts that are named, with their port where one is, and to no other.
    """
    hosts = ("api.internal", "*.svc", "db:5432", "[::1]", "tls:443")

    assert may_see_baggage(url, hosts) is may
