"""Content: cut so that it fits an event, and whole again when joined."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mvtrace.components.content import PIECE_BYTES, pin_content
from mvtrace.digest import CONTENT_DOMAIN, digest_of


@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.integers(PIECE_BYTES - 40, PIECE_BYTES + 40),
    st.sampled_from(["a", "é", "€", "😀"]),
)
def test_pieces_make_the_text(start: str, length: int, character: str) -> None:
    """
    Pieces fit, have their own digests, cannot be longer, and joined are the text.
    """
    text = start + character * length

    pinned = pin_content(text)

    assert "".join(piece.text for piece in pinned.pieces) == text
    raw = [piece.text.encode() for piece in pinned.pieces]
    assert [digest_of(CONTENT_DOMAIN, one) for one in raw] == [one.digest for one in pinned.pieces]
    assert all(PIECE_BYTES - 4 < len(one) <= PIECE_BYTES for one in raw[:-1])
    assert len(raw[-1]) <= PIECE_BYTES
