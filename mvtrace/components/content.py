"""Text a component pins: cut into pieces that fit an event, and referred to by digest.

In: text. Out: a reference ``{"content": {"digest", "bytes"[, "pieces"]}}`` for the component's
facts, and the pieces to register. Bytes that are no text are artifacts, not content.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from mvtrace.digest import CONTENT_DOMAIN, digest_of

PIECE_BYTES: Final = 131_072
"""The most UTF-8 bytes of one piece; longer content is cut before the character that exceeds it."""
MAX_CONTENT_BYTES: Final = 16 * 1024 * 1024

_UTF8_CONTINUATION = 0b1000_0000


class Content(NamedTuple):
    """One piece of content: what an event carries."""

    digest: str
    text: str


class Pinned(NamedTuple):
    """Content as a component refers to it, and the pieces it is made of."""

    reference: dict[str, Any]
    pieces: tuple[Content, ...]


def pin_content(text: str) -> Pinned:
    """Return the reference to *text* and its pieces; joined, the pieces are *text* again.

    Raises:
        ValueError: *text* has no UTF-8 form or exceeds MAX_CONTENT_BYTES; says which.

    """
    try:
        raw = text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"its text holds a lone surrogate at position {error.start}, so it has no UTF-8 form."
        ) from error
    if len(raw) > MAX_CONTENT_BYTES:
        raise ValueError(
            f"its text has {len(raw):,} bytes; content has at most {MAX_CONTENT_BYTES:,}."
        )
    reference: dict[str, Any] = {"digest": digest_of(CONTENT_DOMAIN, raw), "bytes": len(raw)}
    pieces = tuple(
        Content(digest_of(CONTENT_DOMAIN, piece), piece.decode()) for piece in _pieces(raw)
    )
    if len(pieces) > 1:
        reference["pieces"] = [piece.digest for piece in pieces]
    return Pinned({"content": reference}, pieces)


def _pieces(raw: bytes) -> Iterator[bytes]:
    start = 0
    while len(raw) - start > PIECE_BYTES:
        end = start + PIECE_BYTES
        while raw[end] & 0b1100_0000 == _UTF8_CONTINUATION:  # within a character: step back
            end -= 1
        yield raw[start:end]
        start = end
    yield raw[start:]
