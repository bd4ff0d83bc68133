"""The edges of the ancestry graph in one segment, judged before anything of them is stored.

In: the stage of the registry's events. Out: ``stage_lineage``, with the problem of what may not be
stored, and derivations that were refused marked in ``stage_registry``. Edges come from two sources:
digests prove that a version is made from its components, and a component from its parts and its
artifact; everything else a derivation says.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from mvtrace.registry.entries import read_entry
from mvtrace.registry.lineage.derivations import edges_of
from mvtrace.store.session import Session
from mvtrace_collector.ancestry import CYCLE, Claim, judge
from mvtrace_collector.statements import statement

NOT_A_DERIVATION: Final = "not-a-derivation"
MAX_STORED: Final = 1_000_000
"""Stored edges that are looked at for one segment; what touches more on both sides is refused."""
_COLUMNS: Final = (
    *("project", "child", "parent", "role"),
    *("source", "event", "received_ms", "problem"),
)
_TOO_LARGE: Final = f"{CYCLE}: over {MAX_STORED:,} edges would have to be looked at"


class _Staged(NamedTuple):
    """One claim of the segment with what a row needs: edges as pairs of parent and role."""

    project: str
    came: tuple[int, ...]
    child: str
    edges: tuple[tuple[str, str], ...]
    source: str
    event: str
    is_known: bool
    problem: str = ""


class Lineage:
    """Judges the edges of one segment."""

    def __init__(self, session: Session, database: str) -> None:
        self._session = session
        self._database = database
        self.edges = 0
        """After judging: rows that the segment's edges have in lineage_edges."""
        self.left_out = 0
        """Edges that digests prove and that are not stored."""

    def judge(self, survey: Mapping[str, Any]) -> bool:
        """Fill ``stage_lineage``; return whether a derivation was refused."""
        staged: list[_Staged] = []
        if survey["composites"] or survey["components"]:
            staged.extend(map(_proven, self._query("lineage_structure")))
        if survey["derivations"]:
            staged.extend(map(_said, self._query("lineage_derivations")))
        if not staged:
            return False
        judged = self._judged(sorted(staged, key=lambda one: (one.came, one.source, one.edges)))
        rows = [
            (*(one.project, one.child, parent, role), one.source, one.event, one.came[0], problem)
            for one, problem in judged
            for parent, role in one.edges or (("", ""),)
        ]
        self._command("lineage_stage_create")
        self._session.insert("stage_lineage", _COLUMNS, rows)
        sound = {row[:5] for row in rows if not row[-1]}
        self.edges = 2 * len(sound)
        self.left_out = len({row[:4] for row in rows if row[-1] and not row[4]})
        is_refused = any(problem and one.source for one, problem in judged)
        if is_refused:
            self._command("lineage_refuse")
        return is_refused

    def _judged(self, staged: Sequence[_Staged]) -> list[tuple[_Staged, str]]:
        by_project: defaultdict[str, list[_Staged]] = defaultdict(list)
        for one in staged:
            by_project[one.project].append(one)
        found: list[tuple[_Staged, str]] = []
        for project, claims in by_project.items():
            sound = [one for one in claims if not one.problem]
            found.extend((one, one.problem) for one in claims if one.problem)
            found.extend(zip(sound, self._problems(project, sound), strict=True))
        return found

    def _problems(self, project: str, staged: Sequence[_Staged]) -> list[str]:
        claims = [
            Claim(one.child, tuple(parent for parent, _ in one.edges), one.is_known)
            for one in staged
        ]
        fresh = [claim for claim in claims if not claim.is_known]
        stored = self._near(
            project,
            {claim.child for claim in fresh},
            {parent for claim in fresh for parent in claim.parents},
        )
        if stored is None:
            return ["" if claim.is_known else _TOO_LARGE for claim in claims]
        return judge(claims, stored)

    def _near(
        self, project: str, children: set[str], parents: set[str]
    ) -> list[tuple[str, str]] | None:
        """Return the stored edges, child and parent, that a cycle could use; None: too many.

        These are all below the *children*, or all above the *parents*, whichever ends sooner.
        """
        sides = {"down": _Side(children), "up": _Side(parents)}
        direction = "down"
        while sides["down"].ahead and sides["up"].ahead:
            side = sides[direction]
            rows = self._step(project, direction, side.ahead)
            side.add(rows)
            if len(side.rows) > MAX_STORED:
                return None
            direction = min(sides, key=lambda name: len(sides[name].ahead))
        if not sides["down"].ahead:
            return [(other, node) for node, other in sides["down"].rows]
        return sides["up"].rows

    def _step(self, project: str, direction: str, nodes: Iterable[str]) -> list[tuple[str, str]]:
        self._command("lineage_near_create")
        rows = [(project, node) for node in nodes]
        self._session.insert("stage_lineage_near", ("project", "node"), rows)
        found = self._query("lineage_near", {"direction": direction, "limit": MAX_STORED + 1})
        return [(row["node"], row["other"]) for row in found]

    def _command(self, name: str) -> None:
        self._session.command(statement(name, self._database))

    def _query(
        self, name: str, parameters: Mapping[str, Any] | None = None
    ) -> Iterable[dict[str, Any]]:
        return self._session.query(statement(name, self._database), parameters).dicts()


class _Side:
    """What was found in one direction, and the nodes that are looked at next."""

    def __init__(self, nodes: set[str]) -> None:
        self.ahead = set(nodes)
        self.rows: list[tuple[str, str]] = []
        self._seen = set(nodes)

    def add(self, rows: Iterable[tuple[str, str]]) -> None:
        """Take the edges of the nodes that were ahead."""
        found = list(rows)
        self.rows.extend(found)
        self.ahead = {other for _, other in found} - self._seen
        self._seen |= self.ahead


def _proven(row: Mapping[str, Any]) -> _Staged:
    return _Staged(
        project=row["project"],
        came=tuple(row["came"]),
        child=row["child"],
        edges=((row["parent"], row["role"]),),
        source="",
        event=row["event"],
        is_known=bool(row["is_known"]),
    )


def _said(row: Mapping[str, Any]) -> _Staged:
    staged = _Staged(
        project=row["project"],
        came=tuple(row["came"]),
        child="",
        edges=(),
        source=row["digest"],
        event=f"mvtrace.entry {row['digest']}",
        is_known=bool(row["is_known"]),
    )
    try:
        edges = edges_of(read_entry(row["body"]))
    except ValueError as error:
        return staged._replace(problem=f"{NOT_A_DERIVATION}: {error}")
    pairs = tuple((str(edge.parent), edge.role) for edge in edges)
    return staged._replace(child=str(edges[0].child), edges=pairs)
