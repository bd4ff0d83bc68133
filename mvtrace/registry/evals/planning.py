"""Which versions have to be scored again when a suite is new: those that served lately, or serve.

In: a suite, perhaps a scorer, and since when. Out: the versions without whole results on it, those
that serve first, then by how many requests they answered, each with the commands that record them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from mvtrace.registry.entries import Entry
from mvtrace.registry.evals.refusing import rescore_command
from mvtrace.registry.evals.runs import MOST_RUNS, Run, registered, runs_of
from mvtrace.registry.evals.scorers import is_declared
from mvtrace.registry.reading import Ask, statement

MOST_RECENT: Final = 10_000
"""Versions that are looked at: those that serve, then by requests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recent:
    """A version that served lately, and what it lacks on the suite."""

    version: str
    name: str
    requests: int
    deployed_ns: int
    serves: tuple[str, ...]
    """``service in environment``, where it is the stable version now."""
    lacks: tuple[str, ...]
    """Scorers by which it has no whole results; an empty text where any would do."""

    def commands(self, suite: str) -> list[str]:
        """Return what records its results on *suite*."""
        return [rescore_command(self.version, (suite, scorer)) for scorer in self.lacks]

    def to_dict(self, suite: str) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "version": self.version,
            "name": self.name,
            "requests": self.requests,
            "deployed_ns": str(self.deployed_ns),
            "serves": list(self.serves),
            "lacks": [scorer for scorer in self.lacks if scorer],
            "commands": self.commands(suite),
        }


class Plan(NamedTuple):
    """Which recent versions lack results on a suite, and how many lack none."""

    lacking: list[Recent]
    whole: int
    is_cut: bool
    """There are more versions, or more runs on the suite, than were looked at."""


def rescore_plan(ask: Ask, suite: Entry, *, since_ms: int, scorer: str = "") -> Plan:
    """Return the recent versions that lack results on *suite*, and how many lack none.

    By which scorers: *scorer*, else those that scored the suite already, else those of other suites
    of its name.
    """
    digits = suite.digest.removeprefix("sha256:")
    runs = runs_of(ask, suite=digits)
    on_suite = [run for run in runs if run.is_whole]
    wanted = [scorer] if scorer else _scorers(ask, suite, on_suite)
    has = {(run.composite, run.scorer) for run in on_suite}
    scored = {run.composite for run in on_suite}
    rows = ask(statement("eval_recent"), {"since": since_ms, "limit": MOST_RECENT})
    names = registered(ask, [row["version"] for row in rows])
    found = [
        Recent(
            version=row["version"],
            name=names.get(row["version"], ""),
            requests=int(row["requests"]),
            deployed_ns=int(row["deployed"]),
            serves=tuple(row["serves"]),
            lacks=tuple(one for one in wanted if (row["version"], one) not in has)
            if wanted
            else (() if row["version"] in scored else ("",)),
        )
        for row in rows
    ]
    lacking = [one for one in found if one.lacks]
    is_cut = len(rows) >= MOST_RECENT or len(runs) >= MOST_RUNS
    return Plan(lacking, len(found) - len(lacking), is_cut)


def _scorers(ask: Ask, suite: Entry, on_suite: Sequence[Run]) -> list[str]:
    used = dict.fromkeys(run.scorer for run in on_suite if is_declared(run.scorer))
    if used:
        return list(used)
    rows = ask(statement("entries_of_kind"), {"kind": suite.kind, "limit": 1_000})
    earlier = {row["digest"].removeprefix("sha256:") for row in rows if row["name"] == suite.name}
    runs = runs_of(ask)
    return list(
        dict.fromkeys(
            run.scorer for run in runs if run.suite in earlier and is_declared(run.scorer)
        )
    )
