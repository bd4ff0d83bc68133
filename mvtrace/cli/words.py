"""Small values in words: digests, times, durations, numbers. Pure; made for one line of text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mvtrace.cli.inert import inert

SHORT: Final = 12
_MILLISECOND: Final = 1_000_000
_SECOND: Final = 1_000_000_000
_MINUTE: Final = 60 * _SECOND


def digest_words(digest: str | None) -> str:
    """Return a digest's algorithm and first 12 digits, or another value whole."""
    if not digest:
        return "not known"
    head, colon, rest = digest.rpartition(":")
    return inert(f"{head}{colon}{rest[:SHORT]}") if colon and len(rest) > SHORT else inert(digest)


def version_words(version: str | None) -> str:
    """Return a composite version as it is shown everywhere: 12 hex digits."""
    return inert(version[:SHORT]) if version else "not known"


def time_words(iso: str | None) -> str:
    """Return a time of the explanation to the second."""
    return f"{inert(iso[:19]).replace('T', ' ')} UTC" if iso else "at an unknown time"


def duration_words(nanoseconds: int | None) -> str:
    """Return a duration with a unit that suits it, or nothing."""
    if nanoseconds is None:
        return ""
    if nanoseconds < 10 * _MILLISECOND:
        return f"{nanoseconds / _MILLISECOND:.2f} ms"
    if nanoseconds < _SECOND:
        return f"{nanoseconds / _MILLISECOND:.0f} ms"
    if nanoseconds < _MINUTE:
        return f"{nanoseconds / _SECOND:.2f} s"
    minutes, rest = divmod(nanoseconds, _MINUTE)
    return f"{minutes} min {rest / _SECOND:.0f} s"


def number_words(value: float | None) -> str:
    """Return a score or threshold without digits that say nothing."""
    return "" if value is None else f"{value:.6g}"


def named(name: str, value: object) -> str:
    """Return ``name value``, or nothing where there is no value."""
    return "" if value is None or value == "" else f"{name} {inert(value)}"


def joined(*parts: str, by: str = "  ") -> str:
    """Return the parts that say something, side by side."""
    return by.join(part for part in parts if part)


def settings_words(settings: Mapping[str, Any] | None) -> str:
    """Return sampling settings or features as ``name value`` pairs."""
    return ", ".join(f"{inert(key)} {inert(value)}" for key, value in (settings or {}).items())


def plural(number: int, one: str) -> str:
    """Return *number* with its noun."""
    return f"{number:,} {one if number == 1 else one + 's'}"
