"""What is kept of a statement: its words, without the values in it.

Comes in: any text that was sent as SQL. Goes out: one line. Literals may hold what must not be kept
for ever (a person's name, a digest key), so each becomes a keyed digest: the same literal is
recognized again, and whoever knows it can ask for it. Request ids, recent times and small numbers
stay; comments go. Where the text is not understood, all that follows is left out. Nothing is
parsed: whether it was let through is the gate's word.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from mvtrace.ids import UUID7_PATTERN

SHORT_DIGEST: Final = 16
"""Hex digits of a literal's digest."""
_TOKEN: Final = re.compile(
    r"""(?P<comment>--[^\n]*|\#[^\n]*|//[^\n]*|/\*(?:.*?\*/|.*))
      |(?P<heredoc>\$(?P<tag>[A-Za-z0-9_]*)\$.*?\$(?P=tag)\$)
      |(?P<string>'(?:[^'\\]|\\.|'')*'|\u2018[^\u2019]*\u2019)
      |(?P<quoted>`(?:[^`\\]|\\.|``)*`|"(?:[^"\\]|\\.|"")*"|\u201c[^\u201d]*\u201d)
      |(?P<number>[0-9][0-9A-Za-z_]*(?:\.[0-9A-Za-z_]*)?(?:(?<=[eEpP])[+-][0-9]+)?)
      |(?P<word>[A-Za-z_][A-Za-z0-9_]*)
      |(?P<sign>[()\[\]{},.:;=<>!+*/%|?@^&~-])
      |(?P<space>\s+)""",
    re.VERBOSE | re.DOTALL,
)
_TIME: Final = re.compile(r"20[2-9]\d-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d(?:\.\d+)?)?Z?)?", re.ASCII)
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_. ()]{0,63}", re.ASCII)
_MOST_DIGITS: Final = 6
_MOST_LETTERS: Final = 64
_REST: Final = "…"
_MAX_TEXT: Final = 128 * 1024


def kept_statement(sql: str, digest: Callable[[str], str]) -> str:
    """Return *sql* in one line, its values as digests."""
    parts: list[str] = []
    position = 0
    while position < len(sql):
        match = _TOKEN.match(sql, position) if position < _MAX_TEXT else None
        if match is None:
            parts.append(_REST)
            break
        parts.append(_kept(match.lastgroup or "", match, digest))
        position = match.end()
    return re.sub(" +", " ", "".join(parts)).strip()


def literal_word(value: str, digest: Callable[[str], str]) -> str:
    """Return what stands for the literal *value* in a statement."""
    if not value or UUID7_PATTERN.fullmatch(value) or _TIME.fullmatch(value):
        return value
    return f"hmac:{digest(value).rpartition(':')[2][:SHORT_DIGEST]}"


def _kept(kind: str, match: re.Match[str], digest: Callable[[str], str]) -> str:
    text = match.group()
    if kind in ("comment", "space"):
        return " "
    if kind in ("string", "heredoc"):
        tag = match["tag"]
        inner = text[1:-1] if tag is None else text[len(tag) + 2 : -len(tag) - 2]
        return f"'{literal_word(inner, digest)}'"
    if kind == "quoted":
        return f"`{text[1:-1] if _NAME.fullmatch(text[1:-1]) else literal_word(text, digest)}`"
    if kind == "number":
        return text if sum(map(str.isdigit, text)) <= _MOST_DIGITS else literal_word(text, digest)
    return text if len(text) <= _MOST_LETTERS else literal_word(text, digest)
