"""Filters of lists: texts in, a checked filter out."""

from __future__ import annotations

import pytest

from mvtrace.errors import FilterError
from mvtrace.store.filters import RequestFilter, parse_filter

NOW_MS = 1_787_396_527_123


def test_nothing_asked_lets_everything_through() -> None:
    """
    Without texts, and with empty ones, the filter has its defaults.
    """
    assert parse_filter({}, now_ms=NOW_MS) == RequestFilter()
    assert parse_filter({"route": "", "since": "", "error": "0"}, now_ms=NOW_MS) == RequestFilter()


def test_everything_asked() -> None:
    """
    Each text becomes its field.
    """
    texts = {
        "since": "2026-08-22T11:00",
        "until": "2026-08-22T13:00:00.5+02:00",
        "route": "/ask",
        "service": "support",
        "environment": "production",
        "version": "sha256:9F2C41D0A1B2",
        "error": "true",
        "conversation": "c",
        "arm": "canary",
        "limit": "7",
    }

    assert parse_filter(texts, now_ms=NOW_MS) == RequestFilter(
        since_ms=1_787_396_400_000,
        until_ms=1_787_396_400_500,
        route="/ask",
        service="support",
        environment="production",
        version="9f2c41d0a1b2",
        errors=True,
        conversation="c",
        arm="canary",
        limit=7,
    )


@pytest.mark.parametrize(
    ("text", "back_ms"),
    [
        ("90s", 90_000),
        ("15m", 900_000),
        ("6h", 21_600_000),
        ("7d", 604_800_000),
        ("1w", 604_800_000),
    ],
)
def test_spans_back_from_now(text: str, back_ms: int) -> None:
    """
    A number with a unit is that long before now.
    """
    assert parse_filter({"since": text}, now_ms=NOW_MS).since_ms == NOW_MS - back_ms


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        (
            "since",
            "yesterday",
            (
                "since is 'yesterday'; it is a time such as 2026-08-22T11:00 (UTC), or 15m, 6h, 7d "
                "back from now."
            ),
        ),
        ("version", "9f2c", "version is '9f2c'; it is 8 to 64 hex digits of a composite version."),
        ("limit", "0", "limit is '0'; it is a number from 1 to 10,000."),
        ("limit", "²", "limit is '²'; it is a number from 1 to 10,000."),
        ("error", "maybe", "error is 'maybe'; it is 1 or 0."),
        (
            "colour",
            "red",
            (
                "colour is 'red'; keys are since, until, route, service, environment, version, error, "
                "conversation, arm, limit."
            ),
        ),
    ],
)
def test_meaningless_texts_are_refused(key: str, text: str, message: str) -> None:
    """
    A key or value that means nothing is told with what would mean something.
    """
    with pytest.raises(FilterError) as raised:
        parse_filter({key: text}, now_ms=NOW_MS)

    assert raised.value.message == message
