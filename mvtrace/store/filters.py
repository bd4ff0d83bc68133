"""Which requests a list shall show: texts from a command line or a URL in, a checked filter out.

Times are ISO 8601 (UTC where no zone is given) or a span back from now such as ``15m``, ``6h`` or
``7d``. Nothing is fetched; that a version's prefix is unique is the reader's to find out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from mvtrace.errors import FilterError

DEFAULT_LIMIT: Final = 20
MAX_LIMIT: Final = 10_000
MIN_VERSION_DIGITS: Final = 8

KEYS: Final = (
    "since",
    "until",
    "route",
    "service",
    "environment",
    "version",
    "error",
    "conversation",
    "arm",
    "limit",
)

GAP_KEYS: Final = ("since", "until", "service", "environment", "all", "limit")

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_BACK: Final = re.compile(r"(\d{1,6})([smhdw])")
_VERSION: Final = re.compile(r"[0-9a-f]{8,64}")
_FLAGS: Final = {"": False, "0": False, "false": False, "1": True, "true": True}
_MAX_MS: Final = 2**48 - 1
"""The latest time a UUIDv7 can hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFilter:
    """What a request must have to be listed; None: anything."""

    since_ms: int = 0
    until_ms: int = _MAX_MS
    route: str | None = None
    service: str | None = None
    environment: str | None = None
    version: str | None = None
    """8 to 64 hex digits: the beginning of a composite version."""
    errors: bool = False
    conversation: str | None = None
    arm: str | None = None
    limit: int = DEFAULT_LIMIT


def parse_filter(texts: Mapping[str, str], *, now_ms: int) -> RequestFilter:
    """Return the filter that *texts* by key ask for.

    Raises:
        FilterError: a key or a value means nothing.

    """
    check_keys(texts, KEYS)
    return RequestFilter(
        since_ms=time_of("since", texts.get("since"), now_ms, default=0),
        until_ms=time_of("until", texts.get("until"), now_ms, default=_MAX_MS),
        route=texts.get("route") or None,
        service=texts.get("service") or None,
        environment=texts.get("environment") or None,
        version=_version(texts.get("version")),
        errors=_flag(texts, "error"),
        conversation=texts.get("conversation") or None,
        arm=texts.get("arm") or None,
        limit=limit_of(texts.get("limit")),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GapFilter:
    """Which gaps to list; None: any."""

    since_ms: int = 0
    until_ms: int = _MAX_MS
    service: str | None = None
    environment: str | None = None
    filled_too: bool = False
    """Also those all of whose records came late."""
    limit: int = DEFAULT_LIMIT


def parse_gap_filter(texts: Mapping[str, str], *, now_ms: int) -> GapFilter:
    """Return the filter that *texts* by key ask for.

    Raises:
        FilterError: a key or a value means nothing.

    """
    check_keys(texts, GAP_KEYS)
    return GapFilter(
        since_ms=time_of("since", texts.get("since"), now_ms, default=0),
        until_ms=time_of("until", texts.get("until"), now_ms, default=_MAX_MS),
        service=texts.get("service") or None,
        environment=texts.get("environment") or None,
        filled_too=_flag(texts, "all"),
        limit=limit_of(texts.get("limit")),
    )


def check_keys(texts: Mapping[str, str], known: Sequence[str]) -> None:
    """Raise a FilterError where *texts* have a key that is not *known*."""
    for key in texts:
        if key not in known:
            raise FilterError(key, texts[key], f"keys are {', '.join(known)}")


def _flag(texts: Mapping[str, str], key: str) -> bool:
    text = texts.get(key, "")
    if text.lower() not in _FLAGS:
        raise FilterError(key, text, "it is 1 or 0")
    return _FLAGS[text.lower()]


def flag_of(key: str, text: str | None) -> bool:
    """Return whether *text* says yes."""
    word = (text or "").lower()
    if word not in _FLAGS:
        raise FilterError(key, text or "", "it is 1 or 0")
    return _FLAGS[word]


def time_of(key: str, text: str | None, now_ms: int, *, default: int) -> int:
    """Return Unix milliseconds."""
    if not text:
        return default
    back = _BACK.fullmatch(text)
    if back:
        return max(0, now_ms - int(back[1]) * _UNITS[back[2]] * 1000)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise FilterError(
            key, text, "it is a time such as 2026-08-22T11:00 (UTC), or 15m, 6h, 7d back from now"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max(0, round(moment.timestamp() * 1000)), _MAX_MS)


def _version(text: str | None) -> str | None:
    if not text:
        return None
    digits = text.lower().removeprefix("sha256:")
    if not _VERSION.fullmatch(digits):
        raise FilterError(
            "version", text, f"it is {MIN_VERSION_DIGITS} to 64 hex digits of a composite version"
        )
    return digits


def limit_of(text: str | None) -> int:
    if not text:
        return DEFAULT_LIMIT
    if not text.isdecimal() or not 1 <= int(text) <= MAX_LIMIT:
        raise FilterError("limit", text, f"it is a number from 1 to {MAX_LIMIT:,}")
    return int(text)
