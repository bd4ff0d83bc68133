"""Text from the store made harmless: for a terminal, Markdown, JSON in a page, a spreadsheet.

In: any text, for example a header a stranger sent. Out: the same text with every character that
could move the cursor, change colours, hide or reorder what follows written as its escape
(all that Unicode does not call printable: controls, format and bidirectional marks, surrogates;
and the letters and marks that are printable and show nothing).
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

_UNSEEN: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u2800\u3164\ufe00-\ufe0e\uffa0\U000e0100-\U000e01ef]"
)
"""Printable, and shown as nothing; text can be hidden in them."""
_MARKDOWN: Final = re.compile(r"([\\`*_{}\[\]<>()#!|~&$@]|:(?=/)|(?<=www)\.)", re.IGNORECASE)
_BLOCK: Final = re.compile(r"[-+=](?=[-+=\s]|$)|\d{1,9}(?=[.)](?:\s|$))")
"""What makes a list or a heading of a line that it begins."""
_MENTION: Final = re.compile(r"(?<=\\@)(?=\w)")
"""Where a person would be notified, or an address linked, although the sign is escaped."""
_UNSEEN_SPACE: Final = "&#8203;"
_QUOTED: Final = re.compile(rb'"([=+\-@\t\r\n]|\xef\xbc[\x8b\x8d\x9d\xa0])?(?:[^"]|"")*"')
"""A quoted cell of CSV, and what a formula begins with, also as a full-width sign."""
_PAINT: Final = re.compile(r"\x1b\[(?:0|1|3[1-6])m")
"""The colours that reports have: alone they do no harm."""


def inert(value: object) -> str:
    """Return *value* as one line of text that does nothing but show itself."""
    text = str(value)
    if not text.isprintable():
        text = "".join(map(_shown, text))
    return _UNSEEN.sub(lambda found: _escape(found[0]), text)


def inert_lines(text: str) -> str:
    """Return *text* of several lines, each inert but for our own colours."""
    if not any(line for line in text.split("\n") if not line.isprintable()):
        return text
    parts = _PAINT.split(text)
    shown = ["\n".join(map(inert, part.split("\n"))) for part in parts]
    colours = [*_PAINT.findall(text), ""]
    return "".join(part + colour for part, colour in zip(shown, colours, strict=True))


def json_text(value: Any, *, indent: int | None = 2) -> str:
    """Return *value* as JSON in ASCII that ends no script it may be put into, and a line's end."""
    text = json.dumps(value, indent=indent)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026") + "\n"


def inert_json(line: str) -> str:
    """Return a line of JSON that somebody else wrote, with escapes for what json_text escapes."""
    if not line.isprintable():
        line = "".join(sign if sign.isprintable() else json.dumps(sign)[1:-1] for sign in line)
    line = _UNSEEN.sub(lambda found: json.dumps(found[0])[1:-1], line)
    return line.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def inert_csv(body: bytes) -> bytes:
    """Return ClickHouse's CSV with an apostrophe before each text that a spreadsheet would run.

    Texts are quoted there and numbers are not, so a negative number stays one.
    """
    return _QUOTED.sub(
        lambda found: found[0][:1] + b"'" + found[0][1:] if found[1] else found[0], body
    )


def markdown_text(value: object) -> str:
    """Return *value* as Markdown that renders as exactly this text: no link, mention or markup."""
    text = _MENTION.sub(_UNSEEN_SPACE, _MARKDOWN.sub(r"\\\1", inert(value)))
    block = _BLOCK.match(text)
    if block is None:
        return text
    first = block[0]
    return f"{first}\\{text[len(first) :]}" if first.isdigit() else f"\\{text}"


def _shown(character: str) -> str:
    return character if character.isprintable() else _escape(character)


def _escape(character: str) -> str:
    code = ord(character)
    if code < 0x100:  # noqa: PLR2004 (what two hex digits hold)
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"  # noqa: PLR2004
