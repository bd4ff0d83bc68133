"""What the collector's answer to a delivery means, and how long to wait after it.

In: an HTTP answer. Out: a Verdict, and a delay. Pure. Data is never dropped for an operator's error
(a wrong key, a wrong path): it stays in the spool. Only what the collector calls undecodable is put
aside, so that one bad batch does not hold up all that follow.

| answer | verdict |
|---|---|
| 2xx with an OTLP body, or none | ACCEPTED |
| 400, 422 | REFUSED: put aside |
| 413 | TOO_LARGE: split |
| 408, 429, 5xx but 501 and 505 | BUSY: again soon, or when Retry-After says |
| everything else, such as 2xx with HTML, 3xx, 401, 403, 404, 405, 415, 501 | BLOCKED: again later |
"""

from __future__ import annotations

import enum
from typing import Final, NamedTuple

BUSY_FIRST_S: Final = 0.5
BUSY_MOST_S: Final = 30.0
BLOCKED_FIRST_S: Final = 5.0
BLOCKED_MOST_S: Final = 300.0
RETRY_AFTER_MOST_S: Final = 600.0

_OTLP_TYPES: Final = ("application/x-protobuf", "application/json")
_FINAL_SERVER_ERRORS: Final = (501, 505)


class Verdict(enum.Enum):
    """What becomes of a delivered range."""

    ACCEPTED = enum.auto()
    REFUSED = enum.auto()
    TOO_LARGE = enum.auto()
    BUSY = enum.auto()
    BLOCKED = enum.auto()


class Answer(NamedTuple):
    """One HTTP answer, as far as it matters."""

    status: int
    content_type: str
    retry_after: str | None
    body: bytes

    @property
    def verdict(self) -> Verdict:
        """What becomes of the range this answers."""
        status = self.status
        if 200 <= status < 300:  # noqa: PLR2004
            is_otlp = not self.body or self.content_type.startswith(_OTLP_TYPES)
            return Verdict.ACCEPTED if is_otlp else Verdict.BLOCKED
        if status in {400, 422}:
            return Verdict.REFUSED
        if status == 413:  # noqa: PLR2004
            return Verdict.TOO_LARGE
        if status in {408, 429} or (status >= 500 and status not in _FINAL_SERVER_ERRORS):  # noqa: PLR2004
            return Verdict.BUSY
        return Verdict.BLOCKED

    @property
    def rejected(self) -> int:
        """How many items of an accepted protobuf answer the collector did not take."""
        if not self.content_type.startswith(_OTLP_TYPES[0]):
            return 0
        try:
            partial = _fields(self.body).get(1)
            count = _fields(partial).get(1, 0) if isinstance(partial, bytes) else 0
        except (IndexError, ValueError):
            return 0
        return count if isinstance(count, int) else 0


def retry_delay_s(
    verdict: Verdict,
    failures: int,
    retry_after_s: float | None,
    *,
    jitter: float,
    most_s: float = float("inf"),
) -> float:
    """Return how long to wait after the *failures*-th failure in a row.

    *jitter* is a random number from 0 to 1: many producers must not return at once. No delay is
    longer than *most_s*, whatever the collector asks for.
    """
    delay_s = _asked_or_grown(verdict, failures, retry_after_s, jitter=jitter)
    return delay_s if delay_s <= most_s else most_s * (0.5 + 0.5 * jitter)


def _asked_or_grown(
    verdict: Verdict, failures: int, retry_after_s: float | None, *, jitter: float
) -> float:
    if retry_after_s is not None:
        # "0", or a date that this clock has passed, must not make a loop without a pause.
        asked_s = max(retry_after_s, BUSY_FIRST_S)
        return min(asked_s, RETRY_AFTER_MOST_S) * (1 + 0.2 * jitter)
    is_blocked = verdict is Verdict.BLOCKED
    first, most = (BLOCKED_FIRST_S, BLOCKED_MOST_S) if is_blocked else (BUSY_FIRST_S, BUSY_MOST_S)
    return float(min(most, first * 2 ** min(failures - 1, 20))) * (0.5 + 0.5 * jitter)


def retry_after_s(text: str | None, *, now: float) -> float | None:
    """Return the seconds of a Retry-After header, which is a number or a date; None if neither."""
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        import email.utils  # noqa: PLC0415 (3 ms of an import, for a date that hardly ever comes)

        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return max(seconds, 0.0) if seconds == seconds else None  # noqa: PLR0124 (NaN)


def _fields(message: bytes) -> dict[int, int | bytes]:
    """Return the varint and length-delimited fields of a small protobuf *message*."""
    found: dict[int, int | bytes] = {}
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        value, at = _varint(message, at)
        if key & 7 == 0:
            found[key >> 3] = value
        elif key & 7 == 2:  # noqa: PLR2004 (wire type)
            found[key >> 3] = message[at : at + value]
            at += value
        else:
            raise ValueError(f"wire type {key & 7}")
    return found


def _varint(message: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = message[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004
            return number, at
        shift += 7
