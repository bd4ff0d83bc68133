"""Text from the store made harmless for a terminal and for Markdown.

In: any text, for example a header a stranger sent. Out: the same text with every character that
could move the cursor, change colours, hide or reorder what follows written as its escape
(all that Unicode does not call printable: controls, format and bidirectional marks, surrogates).
"""

from __future__ import annotations

import re
from typing import Final

_MARKDOWN: Final = re.compile(r"([\\`*_{}\[\]<>()#!|~&$@]|:(?=/)|(?<=www)\.)", re.IGNORECASE)


def inert(value: object) -> str:
    """Return *value* as one line of text that does nothing but show itself."""
    text = str(value)
    if text.isprintable():
        return text
    return "".join(map(_shown, text))


def markdown_text(value: object) -> str:
    """Return *value* as Markdown that renders as exactly this text: no link, mention or markup."""
    return _MARKDOWN.sub(r"\\\1", inert(value))


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x100:  # noqa: PLR2004 (what two hex digits hold)
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"  # noqa: PLR2004
