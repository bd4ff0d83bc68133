"""What of a text may not stay: secrets by their shape or name, personal data by pattern and check.

In: a text, and the rules of the application's own file. Out: the text with ``[rule]`` in the place
of each match, and how often each rule matched; never what it matched. A pattern finds candidates,
a check (Luhn, IBAN's remainder, the number of digits) decides. Names of persons and free prose are
not found: where they must not be kept, the mode is ``digest``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from mvtrace.errors import ConfigurationError

MAX_RULES: Final = 200
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,63}")
_PHONE_DIGITS: Final = range(8, 16)
_CARD_DIGITS: Final = range(13, 20)
_IBAN_SIZES: Final = range(15, 35)

# Names and first parts have a longest length: hostile text that repeats their beginning would
# otherwise be read to its end from each of them.
_PEM_KIND: Final = r"(?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)? ?"
_PEM_BREAK: Final = r"(?:\\{1,8}[rn]|\s)*+"
"""A line's end, as it is or escaped, also several times (JSON within JSON)."""
_HEADER_NAMES: Final = r"(?:proxy-[\w-]{1,64}+|authorization|(?:set-)?cookie)"
_NAMED: Final = (
    r"(?:proxy[_-][\w-]{1,64}+|(?:[\w-]{1,64}[_-])?(?:authorization|cookie|api[_-]?key|password|passwd"
    r"|secret|private[_-]key|(?:secret[_-]?|shared[_-]?)?access[_-]?key|account[_-]?key"
    r"|(?:access|auth|refresh|security|id|sas)[_-]token))"
)


class Redacted(NamedTuple):
    """A text after the rules, and what they did."""

    text: str
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of thing that may not stay; the group ``keep``, where there is one, does."""

    name: str
    pattern: str
    """Compiled at the first use, not at the import; ``re`` remembers it."""
    check: Callable[[str], int] | None = None
    """How many characters of a candidate, from its start, are one; 0 for none."""

    def apply(self, text: str, counts: Counter[str]) -> str:
        """Return *text* without matches; they are counted."""
        return re.compile(self.pattern).sub(lambda found: self._replaced(found, counts), text)

    def _replaced(self, found: re.Match[str], counts: Counter[str]) -> str:
        text = found.group()
        size = len(text) if self.check is None else self.check(text)
        if not size:
            return text
        counts[self.name] += 1
        kept = found.groupdict().get("keep") or ""
        return f"{kept}[{self.name}]{text[size:]}"


def _digits(text: str) -> list[int]:
    return [int(one) for one in text if one.isascii() and one.isdigit()]


def card_size(text: str) -> int:
    """Return how much of *text* is a card's number, by Luhn's check; more digits may follow it."""
    ends = (end for end in range(len(text), 0, -1) if not text[end : end + 1].isdigit())
    return next((end for end in ends if _is_card(_digits(text[:end]))), 0)


def _is_card(digits: Sequence[int]) -> bool:
    if len(digits) not in _CARD_DIGITS or len(set(digits)) == 1:
        return False
    doubled = (digit * 2 for digit in digits[-2::-2])
    total = sum(digits[-1::-2]) + sum(two // 10 + two % 10 for two in doubled)
    return total % 10 == 0


def iban_size(text: str) -> int:
    """Return how much of *text* is an international bank account number, by its remainder."""
    ends = [end for end in range(len(text), 0, -1) if text[end - 1] != " "]
    return next((end for end in ends if _is_iban(text[:end].replace(" ", ""))), 0)


def _is_iban(text: str) -> bool:
    if len(text) not in _IBAN_SIZES:
        return False
    return int("".join(str(int(one, 36)) for one in text[4:] + text[:4])) % 97 == 1


def phone_size(text: str) -> int:
    """Return the length of *text* if it has as many digits as a telephone number; else 0."""
    return len(text) if len(_digits(text)) in _PHONE_DIGITS else 0


def _rule(name: str, pattern: str, check: Callable[[str], int] | None = None) -> Rule:
    return Rule(name, pattern, check)


SECRET_RULES: Final = (
    _rule(
        "private-key",
        # From BEGIN to END; without an END the lines that are the key's; PuTTY's own form.
        rf"-{{4,5}} ?BEGIN {_PEM_KIND}-{{4,5}}"
        rf"(?:[^-]*(?:-(?!---)[^-]*)*-{{4,5}} ?END {_PEM_KIND}-{{4,5}}"
        rf"|{_PEM_BREAK}(?:[\w-]{{1,40}}: [^\r\n\\]{{1,200}}{_PEM_BREAK}){{0,8}}"
        rf"(?:[A-Za-z0-9+/=]{{16,}}+{_PEM_BREAK})++)"
        r"|PuTTY-User-Key-File-\d{1,2}:(?:(?!PuTTY-User)[\s\S]){1,20000}?"
        r"Private-MAC: ?[0-9a-f]{20,128}",
    ),
    _rule(
        "secret-header",
        rf"(?i)(?P<keep>\b{_HEADER_NAMES}\s*[:=]\s*)(?![\s\\\"'\[])[^\r\n\"'\\]+",
    ),
    _rule(
        "secret-value",
        rf"(?i)(?P<keep>\b{_NAMED}(?:\\?[\"'])?\s*[:=]\s*)"
        r"(?:\\\"(?:[^\"\\]|\\\\(?:\\.|[^\"\\])|\\[^\"\\])*\\\"|\"(?:[^\"\\]|\\.)*\"|'[^']*'|[^\s,;&\"'}\])\[\\]+)",
    ),
    _rule("bearer-token", r"(?i)(?P<keep>\b(?:bearer|basic)\s+)[a-z0-9._~+/-]{8,}=*"),
    _rule("url-user", r"(?i)(?P<keep>\b[a-z][a-z0-9+.-]{0,30}://)[^\s/?#\"'<>]+@"),
    _rule(
        "url-secret",
        r"(?i)(?P<keep>[?&](?:[\w-]*(?:token|secret|password|api[_-]?key|signature)|key|sig|code"
        r"|x-amz-[\w-]+|auth)=)[^&#\s\"'<>]+",
    ),
    _rule(
        "api-key",
        r"\b(?:sk|pk|rk)[-_][A-Za-z0-9_-]{16,}|\bgh[pousr]_[A-Za-z0-9]{20,}"
        r"|\bgithub_pat_[A-Za-z0-9_]{20,}|\bglpat-[A-Za-z0-9_-]{16,}|\bxox[abeprs]-[A-Za-z0-9-]{10,}"
        r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bAIza[A-Za-z0-9_-]{30,}|\bhf_[A-Za-z0-9]{20,}"
        r"|\bnpm_[A-Za-z0-9]{30,}|\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"
        r"|\bmvt_[A-Za-z0-9]+_[A-Za-z0-9_-]{16,}|\bya29\.[A-Za-z0-9_-]{20,}|\bhv[sb]\.[A-Za-z0-9_-]{20,}"
        r"|\bdop_v1_[a-f0-9]{32,}|\bdapi[a-f0-9]{32}\b|\bwhsec_[A-Za-z0-9+/=]{16,}|\bxapp-[A-Za-z0-9-]{10,}"
        r"|\bpypi-[A-Za-z0-9_-]{50,}|\bAGE-SECRET-KEY-1[A-Z0-9]{40,}|\bSK[a-f0-9]{32}\b"
        r"|(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{86}==(?![A-Za-z0-9+/=])"
        r"|\beyJ[A-Za-z0-9_-]{8,8000}+(?:\.[A-Za-z0-9_-]*+){2,4}",
    ),
)
"""What opens doors: it goes in every mode."""

PERSONAL_RULES: Final = (
    _rule("email", r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+"),
    _rule("iban", r"(?ai)\b[a-z]{2}\d{2}(?: ?[a-z0-9]){11,30}\b", iban_size),
    _rule("card-number", r"(?<!\d)(?<!\d\.)\d(?:[ -]?\d){12,18}(?![\d.]?\d)", card_size),
    _rule(
        "phone-number",
        r"(?<![\w.+])(?:\+|00)\d(?:[ ()./-]{0,2}\d){6,13}(?!\w)"
        r"|(?<![\w.+/-])(?:\(\d{2,5}\)[ /-]?|0\d{1,4}[ /-])\d{3,4}[ -]?\d{3,5}(?![\w-])"
        r"|(?<![\w.+/-])\d{3}[ .-]\d{3}[ .-]\d{4}(?![\w-])",
        phone_size,
    ),
)
"""What points to a person: it goes in the mode ``redacted``."""


class Rules:
    """Rules in their order, applied one after the other."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = tuple(rules)

    def redact(self, text: str) -> Redacted:
        """Return *text* after all rules."""
        counts: Counter[str] = Counter()
        for rule in self._rules:
            text = rule.apply(text, counts)
        return Redacted(text, dict(counts))


def read_rules(path: Path) -> tuple[Rule, ...]:
    """Return the rules of a TOML file: a table ``rules`` of names and regular expressions.

    Raises:
        ConfigurationError: the file, a name or an expression cannot be read.
    """
    import tomllib  # noqa: PLC0415 (seldom used, and every application would import it)

    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError("redaction_rules", str(path), f"it is TOML: {error}") from error
    listed = document.get("rules")
    if document.keys() != {"rules"} or not isinstance(listed, dict) or len(listed) > MAX_RULES:
        raise ConfigurationError(
            "redaction_rules", str(path), f"it has one table, rules, of at most {MAX_RULES} entries"
        )
    return tuple(_own_rule(name, pattern) for name, pattern in listed.items())


def _own_rule(name: str, pattern: object) -> Rule:
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            "redaction_rules", name, "a rule's name has lower-case letters, digits and '-'"
        )
    try:
        compiled = re.compile(pattern)  # type: ignore[call-overload]
    except (re.error, TypeError) as error:
        raise ConfigurationError(
            "redaction_rules", name, f"its expression cannot be read: {error}"
        ) from error
    if compiled.fullmatch("") is not None:
        raise ConfigurationError("redaction_rules", name, "its expression must not match nothing")
    return Rule(name, compiled.pattern)


def rules_of(*, is_personal: bool, own: Sequence[Rule] = ()) -> Rules:
    """Return the rules of a mode: secrets, the application's own, and personal data if wanted."""
    return Rules((*SECRET_RULES, *own, *(PERSONAL_RULES if is_personal else ())))
