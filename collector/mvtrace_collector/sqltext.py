"""Look over the normal form of a statement, sign by sign, before anything prints it as a tree.

In: what ``formatQuerySingleLine`` made of a statement: one line, odd names in backticks, control
characters as escapes, no comment but in the types of parameters, which are refused for it. Out:
the statement without its FORMAT clause, the format, the names of parameters and of WITH
subqueries; or a refusal.

``EXPLAIN AST`` prints names raw, so a name holding a line break could print a tree of its own
choice. Hence a name here has no escape, no control or invisible sign, and no " (" (what begins
the tree's own notes). String literals are escaped by the engine and may hold anything. Whatever
this reader does not know as a sign of the normal form is refused, comments among it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from mvtrace.errors import QueryRefusedError

Token = tuple[str, str]
"""Kind (string, quoted, parameter, word, number, sign) and text."""


class Statement(NamedTuple):
    """A statement in its normal form, looked over."""

    text: str
    """Without the FORMAT clause."""
    format: str | None
    parameters: frozenset[str]
    subqueries: frozenset[str]
    """Names that a WITH clause gives to subqueries."""


_TOKEN: Final = re.compile(
    r"""(?P<string>'(?:[^'\\]|\\.|'')*')
      |(?P<quoted>`(?:[^`\\]|\\.)*`|"(?:[^"\\]|\\.)*")
      |(?P<parameter>\{(?P<name>[A-Za-z_][A-Za-z0-9_]*):
          (?P<type>[A-Za-z](?:[A-Za-z0-9_ ,().=+-]|'[^'{}\\\x00-\x1f]*')*)\})
      |(?P<word>[A-Za-z_][A-Za-z0-9_$]*)
      |(?P<number>[0-9][0-9A-Za-z_]*(?:\.[0-9A-Za-z_]*)?(?:(?<=[eEpP])[+-][0-9]+)?)
      |(?P<sign><=>|->|::|[()\[\],.:=<>!+*/%|?-])
      |(?P<space>[ ]+)""",
    re.VERBOSE,
)
_COMMENTS: Final = ("--", "/*", "//")
_OPENS_QUERY: Final = frozenset({"SELECT", "WITH", "("})
_STATE_TYPE: Final = "AggregateFunction"


def looked_over(normal: str) -> Statement:
    """Return what the gate needs to know of *normal*.

    Raises:
        QueryRefusedError: *normal* is no SELECT, or has a sign or a name that is not let through.

    """
    if any("\ud800" <= sign <= "\udfff" for sign in normal):
        raise QueryRefusedError(
            "a literal holds bytes that are no text", hint="Write them as unhex('…')."
        )
    if "\n" in normal:
        raise QueryRefusedError("its normal form is not one line")
    tokens = list(_tokens(normal))
    first = tokens[0][1] if tokens else ""
    if first not in _OPENS_QUERY:
        raise QueryRefusedError(f"it is {first[:40] or 'empty'}, not SELECT")
    text, output_format = normal, None
    if len(tokens) > 2 and tokens[-2] == ("word", "FORMAT"):  # noqa: PLR2004
        clause = f" FORMAT {tokens[-1][1]}"
        if not normal.endswith(clause):
            raise QueryRefusedError("its FORMAT clause is not understood")
        text, output_format = normal.removesuffix(clause), tokens[-1][1].strip("`")
    if ("word", "PREWHERE") in tokens:
        # It would run before the project's own filter, and its errors show rows of others.
        raise QueryRefusedError("PREWHERE is not let through; WHERE does the same")
    return Statement(
        text,
        output_format,
        frozenset(token[1:].split(":", 1)[0] for kind, token in tokens if kind == "parameter"),
        frozenset(_subquery_names(tokens)),
    )


def _tokens(normal: str) -> Iterator[Token]:
    position, previous_end, previous = 0, -1, ""
    while position < len(normal):
        match = _TOKEN.match(normal, position)
        if match is None:
            raise QueryRefusedError(f"{normal[position : position + 20]!r} is not understood")
        kind, text = match.lastgroup or "", match.group()
        kind = "parameter" if match["parameter"] else kind
        if previous_end == position and (previous + text)[:2] in _COMMENTS:
            raise QueryRefusedError("it holds a comment that the normal form should not have")
        if kind != "space":
            _check(kind, text, match["type"])
            yield kind, text
        position = match.end()
        previous, previous_end = (text, position) if kind == "sign" else ("", -1)


def _check(kind: str, text: str, parameter_type: str | None) -> None:
    if kind == "quoted":
        check_name(text[1:-1])
    if kind in ("string", "parameter") and _STATE_TYPE in text:
        raise QueryRefusedError(f"values of type {_STATE_TYPE} are not let through")
    if parameter_type is not None:
        _check_type(parameter_type)


def _check_type(text: str) -> None:
    """Refuse a parameter's type that the engine could read as shorter or longer than it is here.

    The normal form repeats a type as it was written, comments and all.
    """
    if "Identifier" in text:
        raise QueryRefusedError("a parameter of type Identifier is not let through; write the name")
    if "--" in text:
        raise QueryRefusedError("the type of a parameter holds a comment")


def check_name(name: str) -> None:
    """Raise QueryRefusedError where *name* could be taken for something else in a tree."""
    odd = [sign for sign in name if sign == "\\" or unicodedata.category(sign) in _ODD]
    if odd or " (" in name:
        shown = name if len(name) <= 40 else name[:37] + "..."  # noqa: PLR2004 (a glimpse)
        raise QueryRefusedError(
            f"the name {shown!r} has a sign that names may not have",
            hint="Use letters, digits and plain punctuation in aliases.",
        )


_ODD: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Control, invisible, surrogate, private, unassigned, line and paragraph separators."""


def _subquery_names(tokens: Sequence[Token]) -> Iterator[str]:
    """Yield x of every ``x AS (SELECT`` and ``x (a, b) AS (SELECT``."""
    for at in range(1, len(tokens) - 2):
        if tokens[at] != ("word", "AS"):
            continue
        opened = at + 2 if tokens[at + 1] == ("word", "MATERIALIZED") else at + 1
        if tokens[opened] == ("sign", "(") and tokens[opened + 1][1] in _OPENS_QUERY:
            name = _before_columns(tokens, at - 1)
            if name is not None:
                yield name


def _before_columns(tokens: Sequence[Token], at: int) -> str | None:
    if tokens[at] == ("sign", ")"):
        while at > 0 and tokens[at] != ("sign", "("):
            at -= 1
        at -= 1
    kind, text = tokens[at]
    return {"word": text, "quoted": text[1:-1]}.get(kind) if at >= 0 else None
