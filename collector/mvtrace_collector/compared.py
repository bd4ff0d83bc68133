"""What somebody asks to have compared: parameters of an address in, a checked value out. Pure.

Two versions by their digits, two arms by their names, or neither: then it is the canary that runs
in a service and environment, against the version that serves there. Nothing but digits is taken as
a version here: names that a command resolves (files, moments) mean nothing in a collector.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from mvtrace.errors import FilterError

KEYS: Final = (
    *("baseline", "canary", "arms", "service", "environment", "rollout", "plan"),
    *("full", "project"),
)
"""What an address may say; another word is refused, so that no condition is lost by a slip."""
MAX_NAME: Final = 128
_DIGITS: Final = re.compile(r"[0-9a-f]{8,64}", re.ASCII)
_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)
_VERSION: Final = "it is 8 to 64 hex digits of a composite version"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One comparison; what is empty was left open."""

    project: str
    baseline: str = ""
    canary: str = ""
    by_arm: bool = False
    """Whether these two are names of arms."""
    service: str = ""
    environment: str = ""
    rollout: str = ""
    plan: str = ""
    """The first digits of a registered plan."""

    @property
    def is_of_rollout(self) -> bool:
        """Whether it is about whatever canary runs in a place, rather than about two names."""
        return not self.baseline

    @classmethod
    def of(cls, project: str, texts: Mapping[str, str]) -> Self:
        """Return what the parameters *texts* ask for in *project*.

        Raises:
            FilterError: one of them means nothing, or one is missing.
        """
        for key in texts:
            if key not in KEYS:
                raise FilterError(key, texts[key], f"keys are {', '.join(KEYS)}")
        by_arm = _flag(texts, "arms")
        named = _arm if by_arm else _version
        asked = cls(
            project=project,
            baseline=named(texts, "baseline"),
            canary=named(texts, "canary"),
            by_arm=by_arm,
            service=_name(texts, "service"),
            environment=_name(texts, "environment"),
            rollout=_text(texts, "rollout", _ID, "it is the id of a rollout"),
            plan=_digits(texts, "plan", "it is 8 to 64 hex digits of a registered plan"),
        )
        _check_whole(asked)
        return asked


def is_full(texts: Mapping[str, str]) -> bool:
    """Return whether everything a verdict was computed from is asked for.

    Raises:
        FilterError: the flag means nothing.
    """
    return _flag(texts, "full")


def _check_whole(asked: Asked) -> None:
    if bool(asked.baseline) != bool(asked.canary):
        missing = "canary" if asked.baseline else "baseline"
        raise FilterError(missing, "", "baseline and canary are named both or neither")
    if asked.by_arm and asked.is_of_rollout:
        raise FilterError("arms", "1", "baseline and canary then name two arms")
    if asked.is_of_rollout:
        for key, value in (("service", asked.service), ("environment", asked.environment)):
            if not value:
                expected = "without baseline and canary it says whose canary is meant"
                raise FilterError(key, "", expected)


def _flag(texts: Mapping[str, str], key: str) -> bool:
    text = texts.get(key, "0")
    if text not in ("0", "1"):
        raise FilterError(key, text, "it is 0 or 1")
    return text == "1"


def _digits(texts: Mapping[str, str], key: str, expected: str) -> str:
    text = texts.get(key, "").lower().removeprefix("sha256:")
    if text and not _DIGITS.fullmatch(text):
        raise FilterError(key, texts[key], expected)
    return text


def _version(texts: Mapping[str, str], key: str) -> str:
    return _digits(texts, key, _VERSION)


def _arm(texts: Mapping[str, str], key: str) -> str:
    return _name(texts, key)


def _name(texts: Mapping[str, str], key: str) -> str:
    text = texts.get(key, "")
    if len(text) > MAX_NAME or not text.isprintable():
        raise FilterError(key, text, f"it is at most {MAX_NAME} printable characters")
    return text


def _text(texts: Mapping[str, str], key: str, form: re.Pattern[str], expected: str) -> str:
    text = texts.get(key, "")
    if text and not form.fullmatch(text):
        raise FilterError(key, text, expected)
    return text
