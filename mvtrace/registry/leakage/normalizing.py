"""The form in which two texts are compared that differ in nothing a reader would call a difference.

In: any text. Out: its normalized form, and the tokens of that. The form is, in this order: Unicode
NFKC, full case folding, NFKC again (folding can undo it); format characters (joiners, soft hyphens,
direction marks) and variation selectors dropped; every run of punctuation, separators and control
characters is one space; every symbol (``+ = < > $ ^``, currency, emoji) stands alone between
spaces; no space at either end. Letters, marks and digits of every script stay.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

FORM: Final = "NFKC, case folding, NFKC; no format characters; punctuation and space are one space"
"""The form in words, as a certificate has it."""

_SYMBOLS: Final = "$+<=>^`|~"
_ASCII_PLAIN: Final = {
    code: " " for code in range(128) if not (chr(code).isalnum() or chr(code) in _SYMBOLS)
}
_ASCII_SYMBOL: Final = re.compile(f"([{re.escape(_SYMBOLS)}])")
_UNSPACED: Final = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # kana, ideographs
    "\U00020000-\U0003ffff"
)
"""Scripts that put no space between words: each character of theirs is a token."""
_TOKEN: Final = re.compile(f"[{_UNSPACED}]|[^\\s{_UNSPACED}]+")
_HAS_UNSPACED: Final = re.compile(f"[{_UNSPACED}]")


class _Signs(dict[int, str]):
    """What becomes of each character, by its category; filled as characters are met."""

    def __missing__(self, code: int) -> str:
        sign = chr(code)
        category = unicodedata.category(sign)
        if category == "Cf" or 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF:  # noqa: PLR2004 (Unicode's own blocks of variation selectors)
            kept = ""
        elif category[0] in "PZC":
            kept = " "
        else:
            kept = f" {sign} " if category[0] == "S" else sign
        self[code] = kept
        return kept


_SIGNS: Final = _Signs()


def normalized(text: str) -> str:
    """Return the normalized form of *text*.

    Law: ``normalized(normalized(text)) == normalized(text)``.
    """
    if text.isascii():
        plain = text.lower().translate(_ASCII_PLAIN)
        if _ASCII_SYMBOL.search(plain):
            plain = _ASCII_SYMBOL.sub(r" \1 ", plain)
        return " ".join(plain.split())
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    spaced = unicodedata.normalize("NFC", folded.translate(_SIGNS))
    return " ".join(spaced.split())


def tokens(form: str) -> list[str]:
    """Return the words of a normalized text; of scripts without spaces, its characters."""
    if form.isascii() or not _HAS_UNSPACED.search(form):
        return form.split()
    return _TOKEN.findall(form)
