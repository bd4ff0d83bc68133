"""The entries of one segment, judged before they are stored as readers of the registry read them.

In: the stage of the registry's events. Out: entries that cannot be read, or that the engine reads
otherwise, marked in it. Judged by its bytes alone, so that a segment loaded again gives the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mvtrace.registry.entries import read_entry
from mvtrace.store.session import Session
from mvtrace_collector.statements import statement

NOT_AN_ENTRY: Final = "not-an-entry"


def refuse_unreadable(session: Session, database: str) -> bool:
    """Mark the entries of the segment that nobody can read; return whether there are any."""
    sent = session.query(statement("entries_sent", database)).dicts()
    rows = list(_unreadable((row["digest"], row["kind"], row["body"]) for row in sent))
    if rows:
        session.command(statement("unreadable_stage_create", database))
        session.insert("stage_unreadable", ("digest", "problem"), rows)
        session.command(statement("entries_refuse", database))
    return bool(rows)


def _unreadable(sent: Iterator[tuple[str, str, str | bytes]]) -> Iterator[tuple[str, str]]:
    for digest, kind, body in sent:
        if why := _problem(digest, kind, body):
            yield digest, f"{NOT_AN_ENTRY}: {why}"


def _problem(digest: str, kind: str, body: str | bytes) -> str:
    try:
        entry = read_entry(body)
    except ValueError as error:
        return str(error)
    if entry.digest != digest:
        return "it is no UTF-8"
    return "" if entry.kind == kind else "it says two kinds"
