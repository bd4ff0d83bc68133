"""What was scored: the runs of evals that a store holds, and the suites and scorers they name.

In: an Ask. Out: :class:`Run` values, suites and scorers as they were registered. A suite or scorer
that results name and nobody registered is known by its digest alone.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from mvtrace.errors import AmbiguousVersionError
from mvtrace.registry.entries import Entry, read_entries
from mvtrace.registry.errors import EntryNotFoundError
from mvtrace.registry.evals import results, scorers, suites
from mvtrace.registry.evals.scorers import is_declared
from mvtrace.registry.evals.strays import own_pieces
from mvtrace.registry.evals.suites import examples_said
from mvtrace.registry.pin.naming import named
from mvtrace.registry.reading import Ask, entries, entry_named, statement

SHORT: Final = 12
MIN_DIGITS: Final = 8
DIGITS: Final = 64
MOST_RUNS: Final = 100_000
"""Runs that are looked at, the newest."""
MOST_MENDED: Final = 100
_MAX_LISTED: Final = 20
_AT_ONCE: Final = 1_000


def one_line(text: object) -> str:
    """Return *text* without the ends of lines: it must not begin one of an error's own."""
    return " ".join(str(text).split())


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a suite: how much of it there is."""

    composite: str
    suite: str
    scorer: str
    run: str
    results: int
    scored: int
    examples: int
    is_whole: bool
    recorded_ns: int
    strays: tuple[str, ...] = ()
    """Entries that name it and are none of its pieces."""

    @property
    def test(self) -> tuple[str, str]:
        """What makes it comparable: suite and scorer."""
        return self.suite, self.scorer


@dataclass(frozen=True, slots=True)
class Known:
    """The suites and scorers that some runs name, by their digits."""

    suites: Mapping[str, Entry] = field(default_factory=dict)
    scorers: Mapping[str, Entry] = field(default_factory=dict)

    def suite_words(self, digits: str) -> str:
        """Return what a suite is called."""
        said = self.said("suites", digits)
        if not said:
            return f"{digits[:SHORT]} (not registered)"
        version = f" {said['version']}" if said.get("version") else ""
        count = examples_said(said).count
        name = one_line(f"{said.get('name', '')}{version}")
        return f"{name} ({digits[:SHORT]}, {count:,} examples)"

    def scorer_words(self, digits: str) -> str:
        """Return what a scorer is called."""
        if not is_declared(digits):
            return one_line(digits)
        said = self.said("scorers", digits)
        called = f"{one_line(said.get('name', ''))} " if said else ""
        return f"{called}({digits[:SHORT]}{'' if said else ', not registered'})"

    def said(self, what: str, digits: str) -> dict[str, Any]:
        """Return what a suite or a scorer says; nothing where it is not registered."""
        found: Mapping[str, Entry] = getattr(self, what)
        return found[digits].said if digits in found else {}


def runs_of(ask: Ask, composites: Iterable[str] = (), *, suite: str = "") -> list[Run]:
    """Return the runs of *composites* (none: of all) on *suite* (none: on any), newest first.

    Of more than MOST_RUNS the newest; of those that more entries name than they have pieces the
    newest MOST_MENDED are looked at.
    """
    wanted = {"composites": sorted(set(composites)), "suite": suite, "limit": MOST_RUNS}
    rows = ask(statement("eval_runs"), wanted)
    claimed = itertools.islice((row for row in rows if row["claims"]), MOST_MENDED)
    mended = {id(row) for row in claimed}
    return [_mended(ask, row) if id(row) in mended else _run(row) for row in rows]


def _run(row: Mapping[str, Any]) -> Run:
    return Run(
        composite=row["composite"],
        suite=row["suite"],
        scorer=row["scorer"],
        run=row["run"],
        results=int(row["results"]),
        scored=int(row["scored"]),
        examples=int(row["examples"]),
        is_whole=bool(int(row["is_whole"])),
        recorded_ns=int(row["recorded"]),
    )


def _mended(ask: Ask, row: Mapping[str, Any]) -> Run:
    """Return the run that more entries name than it has pieces, by those that it is made of."""
    found = _run(row)
    claims = entries(ask, results.KIND, row["claims"])
    own = own_pieces((one for one in claims.values() if _is_of(one.said, found)), found.run)
    if not own:
        return replace(found, is_whole=False)
    said = [one for entry in own for one in entry.said["results"]]
    return replace(
        found,
        results=len(said),
        scored=sum(one.get("value") is not None for one in said),
        examples=len({one["example"] for one in said}),
        is_whole=True,
        recorded_ns=int(own[0].said["recorded_at"]),
        strays=tuple(sorted(claims.keys() - {one.digest for one in own})),
    )


def _is_of(said: Mapping[str, Any], run: Run) -> bool:
    return (said["composite"], said["suite"], said["scorer"]) == (run.composite, *run.test)


def known_of(ask: Ask, runs: Iterable[Run], tests: Iterable[tuple[str, str]] = ()) -> Known:
    """Return what is registered of the suites and scorers that *runs* and *tests* name."""
    listed = [*(run.test for run in runs), *tests]
    return Known(
        _entries(ask, suites.KIND, {suite for suite, _ in listed if suite}),
        _entries(ask, scorers.KIND, {one for _, one in listed if one and is_declared(one)}),
    )


def version_named(ask: Ask, text: str) -> str:
    """Return the version that *text* names, by its digits or as ``mvtrace diff`` takes it.

    All 64 digits are taken as they are, since results may come before their version; of a version
    that was only scored the first 8 or more will do.

    Raises:
        NothingNamedError: nothing is called so.
        AmbiguousVersionError: several versions start so.
        AmbiguousIdError: several things are called so.
    """
    digits = text.removeprefix("composite:").lower()
    if len(digits) >= MIN_DIGITS and not set(digits) - set("0123456789abcdef"):
        if len(digits) == DIGITS:
            return digits
        found = [row["version"] for row in ask(statement("eval_versions"), {"prefix": digits})]
        if len(found) > 1:
            raise AmbiguousVersionError(digits, found[:_MAX_LISTED])
        if found:
            return str(found[0])
    return named(ask, text, now_ms=time.time_ns() // 1_000_000).version.version


def registered(ask: Ask, versions: Sequence[str]) -> dict[str, str]:
    """Return the names of those of *versions* that are registered."""
    rows = ask(statement("eval_registered"), {"versions": list(versions)})
    return {row["version"]: row["name"] for row in rows}


def suite_named(ask: Ask, text: str) -> Entry:
    """Return the suite that *text* names: a digest, its beginning, a name, or ``name@version``.

    Raises:
        EntryNotFoundError: there is none.
        AmbiguousEntryError: several digests start like that.
    """
    name, at, version = text.rpartition("@")
    if not at:
        return _named(ask, suites.KIND, text)
    rows = ask(statement("entries_of_kind"), {"kind": suites.KIND, "limit": _AT_ONCE})
    for entry in read_entries(row["body"] for row in rows):
        if (entry.name, entry.said.get("version")) == (name, version):
            return entry
    raise EntryNotFoundError(suites.KIND, text, hint=f"{_LIST} lists those there are.")


def scorer_named(ask: Ask, text: str) -> Entry:
    """Return the scorer that *text* names: a digest, its beginning, or a name.

    Raises:
        EntryNotFoundError: there is none.
        AmbiguousEntryError: several digests start like that.
    """
    return _named(ask, scorers.KIND, text)


_LIST: Final = "'mvtrace eval list'"


def _named(ask: Ask, kind: str, text: str) -> Entry:
    try:
        return entry_named(ask, kind, text)
    except EntryNotFoundError as error:
        raise EntryNotFoundError(
            kind, text, hint=f"{_LIST} lists those there are; 'mvtrace eval {kind}' registers one."
        ) from error


def _entries(ask: Ask, kind: str, digits: Iterable[str]) -> dict[str, Entry]:
    wanted = sorted(f"sha256:{one}" for one in digits)
    found: dict[str, Entry] = {}
    for first in range(0, len(wanted), _AT_ONCE):
        found |= entries(ask, kind, wanted[first : first + _AT_ONCE])
    return {digest.removeprefix("sha256:"): entry for digest, entry in found.items()}
