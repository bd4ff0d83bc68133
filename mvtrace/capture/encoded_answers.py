"""Answers that come compressed, read all the same: a copy is inflated, what passes is not touched.

In: the pieces of an answer in ``gzip`` or ``deflate``, cut anywhere. Out: what an `AnswerReader`
makes of the text. Other encodings (br, zstd) are not read, nor is what inflates beyond a limit.
"""

from __future__ import annotations

import zlib
from typing import Final

from mvtrace.capture.anthropic_protocol import MessagesReader
from mvtrace.capture.openai_protocol import AnswerReader

READABLE: Final = frozenset({b"gzip", b"x-gzip", b"deflate"})
MAX_INFLATED: Final = 64 << 20
"""Bytes of one answer; what a few bytes may grow to is bounded by it."""
_STEP: Final = 256 << 10
_ANY_HEADER: Final = zlib.MAX_WBITS + 32
"""zlib's word for: gzip or zlib, whichever it is."""


class Inflating(AnswerReader):
    """Inflates what it is fed, for the reader that comes after it in a class's bases."""

    def __init__(self, operation: str, *, is_stream: bool) -> None:
        super().__init__(operation, is_stream=is_stream)
        self._inflater = zlib.decompressobj(_ANY_HEADER)
        self._room = MAX_INFLATED

    def feed(self, piece: bytes) -> None:
        """Take the next *piece*; after one that cannot be read, none is."""
        while piece and not self.answered.is_cut:
            try:
                text = self._inflater.decompress(piece, _STEP)
            except zlib.error:
                self.answered.is_cut = True
                return
            self._room -= len(text)
            if self._room < 0:
                self.answered.is_cut = True
                return
            super().feed(text)
            piece = self._inflater.unconsumed_tail


class EncodedAnswerReader(Inflating):
    """Reads the OpenAI-compatible protocol, compressed."""


class EncodedMessagesReader(Inflating, MessagesReader):
    """Reads Anthropic's protocol, compressed."""


ENCODED: Final[dict[type[AnswerReader], type[AnswerReader]]] = {
    AnswerReader: EncodedAnswerReader,
    MessagesReader: EncodedMessagesReader,
}
"""Readers, and what reads the same protocol compressed."""
