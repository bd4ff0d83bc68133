"""Experiments: branches of the one ancestry graph, and which of their versions won.

In: a name, a branch and what it starts from. Out: entries; and back: each experiment with its
versions. A version belongs to an experiment by a derivation in the role ``experiment``. Its winner
is no entry: it is the version that was decided, under a key that may decide, to serve all requests.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mvtrace.registry.entries import Entry, entry_of, read_entries
from mvtrace.registry.errors import RegistryError
from mvtrace.registry.lineage.derivations import EXPERIMENT_ROLE, MAX_REASON, derivation
from mvtrace.registry.reading import Ask, in_parts, statement
from mvtrace.registry.refs import Ref

KIND: Final = "experiment"


@dataclass(frozen=True, slots=True)
class Experiment:
    """One branch with its versions, oldest first."""

    ref: Ref
    said: Mapping[str, Any]
    started_at: str
    by: str
    versions: tuple[Mapping[str, Any], ...] = ()
    winner: Mapping[str, Any] | None = None
    """The last decision to have one of the versions serve all requests."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "experiment": self.ref.digest,
            "name": self.said.get("name", ""),
            "branch": self.said.get("branch", ""),
            "base": self.said.get("base"),
            "reason": self.said.get("reason", ""),
            "started_at": self.started_at,
            "by": self.by,
            "versions": [dict(one) for one in self.versions],
            "winner": dict(self.winner) if self.winner else None,
        }


def experiment(
    name: str, *, branch: str = "", base: Ref | None = None, reason: str = ""
) -> list[Entry]:
    """Return the entries that start the *branch* of the experiment *name*.

    Raises:
        RegistryError: a text is none.
    """
    for what, text in (("name", name), ("branch", branch or "main")):
        if not (0 < len(text) <= 200 and text.isprintable()):  # noqa: PLR2004 (as any name)
            raise RegistryError(KIND, f"its {what} is one line of 1 to 200 printable characters.")
    if len(reason) > MAX_REASON:
        raise RegistryError(KIND, f"its reason has over {MAX_REASON:,} characters.")
    said = {"name": name, "branch": branch, "base": str(base) if base else "", "reason": reason}
    started = entry_of(KIND, {key: text for key, text in said.items() if text})
    return [started] if base is None else [started, derivation(started.ref, [(base, "base")])]


def belonging(version: Ref, to: Ref, *, reason: str = "") -> Entry:
    """Return the entry that says that *version* belongs to the experiment *to*.

    Raises:
        RegistryError: *version* is no composite version.
    """
    if version.kind != "composite":
        raise RegistryError(
            KIND,
            f"{version} is of kind {version.kind}; composite versions belong to experiments.",
            hint="Give the version that the part was tried in.",
        )
    return derivation(version, [(to, EXPERIMENT_ROLE)], reason=reason)


def experiments(ask: Ask, name: str = "") -> list[Experiment]:
    """Return the experiments called *name*, or all, newest first."""
    rows = ask(statement("experiments"), {"name": name})
    refs = [f"{KIND}:{row['digest'].removeprefix('sha256:')}" for row in rows]
    found = ask(statement("experiment_versions"), {"experiments": refs}) if refs else []
    winners = _winners(ask, {row["version"] for row in found})
    return [
        _experiment(row, entry, [one for one in found if one["experiment"] == ref], winners)
        for ref, row in zip(refs, rows, strict=True)
        for entry in read_entries([row["body"]])
    ]


def _winners(ask: Ask, versions: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return, by version, the last decision to have it serve all requests."""
    return {
        row["composite"]: row
        for part in in_parts(sorted(versions))
        for row in ask(statement("experiment_decisions"), {"versions": part})
    }


def _experiment(
    row: Mapping[str, Any],
    entry: Entry,
    versions: list[dict[str, Any]],
    winners: Mapping[str, Mapping[str, Any]],
) -> Experiment:
    won = [winners[one["version"]] for one in versions if one["version"] in winners]
    last = max(won, key=lambda one: (one["at"], int(one["seq"]), one["event_id"]), default=None)
    return Experiment(
        ref=Ref.of(KIND, row["digest"]),
        said=entry.said,
        started_at=row["started_at"],
        by=_who(row),
        versions=tuple({key: one[key] for key in ("version", "since")} for one in versions),
        winner=None if last is None else _decision(last),
    )


def _decision(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "version": row["composite"],
        **{key: row[key] for key in ("event_id", "time", "action", "service", "environment")},
        "by": _who(row),
    }


def _who(row: Mapping[str, Any]) -> str:
    label = row["actor_label"]
    return f"{row['actor']} ({label})" if label else str(row["actor"])
