"""Read what is in force for one service: its stable version, and the rollout that runs.

In: a service, an environment, and the versions that a process calls its own. Out: plain JSON
values, as the middleware of every replica asks for them; nothing of what the versions are made of
but the kinds of their parts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mvtrace.errors import FilterError
from mvtrace.registry.deployments import serving_at
from mvtrace.registry.rollouts import running_of
from mvtrace.store.deployments import Deployments
from mvtrace.store.statements import Statements

MAX_ASKED: Final = 8
MAX_TEXT: Final = 128
_DIGITS: Final = re.compile(r"[0-9a-f]{8,64}")
_KEYS: Final = ("service", "environment", "version")


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutQuestion:
    """Whose rollout is asked about."""

    service: str
    environment: str
    asked: tuple[str, ...] = ()
    """Versions by their first digits, 8 at least, or by the one name that they have."""


def parse_rollout_question(pairs: Iterable[tuple[str, str]]) -> RolloutQuestion:
    """Return the question that *pairs* of a query ask.

    Raises:
        FilterError: a key or a value means nothing, or service or environment is missing.
    """
    said: dict[str, list[str]] = {key: [] for key in _KEYS}
    for key, value in pairs:
        if key not in said:
            raise FilterError(key, value, f"keys are {', '.join(_KEYS)}")
        if not 0 < len(value) <= MAX_TEXT or not value.isprintable():
            raise FilterError(key, value, f"it is a line of at most {MAX_TEXT} characters")
        said[key].append(value)
    for key in ("service", "environment"):
        if len(said[key]) != 1:
            raise FilterError(key, "", "it is named once")
    if len(said["version"]) > MAX_ASKED:
        raise FilterError("version", said["version"][-1], f"at most {MAX_ASKED} may be asked for")
    return RolloutQuestion(
        service=said["service"][0],
        environment=said["environment"][0],
        asked=tuple(dict.fromkeys(said["version"])),
    )


def read_rollout(statements: Statements, question: RolloutQuestion) -> dict[str, Any]:
    """Return what is in force.

    Raises:
        MvtraceError: the store does not answer.
    """
    decided = Deployments(statements).of(question.service, question.environment)
    stable, running = serving_at(decided).version, running_of(decided)
    wanted = [one for one in (stable, running.canary if running else None) if one is not None]
    known = _known(statements, wanted, question.asked)
    told = {
        "service": question.service,
        "environment": question.environment,
        "stable": None if stable is None else _told(stable, known),
        "rollout": None,
        "named": {one: _found(one, known) for one in question.asked},
    }
    if running is not None:
        told["rollout"] = {
            "id": running.id,
            "share": running.share,
            "canary": _told(running.canary, known),
        }
    return told


_Known = Mapping[str, tuple[str, Sequence[str]]]
"""Version -> its name and the kinds of its parts."""


def _known(statements: Statements, versions: Sequence[str], asked: Sequence[str]) -> _Known:
    prefixes = [one for one in asked if _DIGITS.fullmatch(one)]
    if not versions and not asked:
        return {}
    rows = statements.run(
        "rollout_versions", versions=list(versions), prefixes=prefixes, names=list(asked)
    ).rows
    return {str(version): (str(name), list(kinds)) for version, name, kinds in rows}


def _told(version: str, known: _Known) -> dict[str, Any]:
    name, kinds = known.get(version, ("", ()))
    return {"version": version, "name": name, "kinds": list(kinds)}


def _found(text: str, known: _Known) -> dict[str, Any] | None:
    """Return the one version that *text* means; None where none or several are meant."""
    meant = {version for version, (name, _) in known.items() if name == text}
    if _DIGITS.fullmatch(text):
        meant |= {version for version in known if version.startswith(text)}
    return _told(meant.pop(), known) if len(meant) == 1 else None
