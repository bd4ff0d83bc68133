"""What an import reads from the log of another tool: results, with the suite and scorer they had.

A tool's log names its examples, asks them in some way and scores them by some code: all of that
is in the suite's and the scorer's digest, so two logs are of one test only if they agree in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mvtrace.errors import CheckFailedError
from mvtrace.registry.datasets.hashing import hash_rows, row_digest
from mvtrace.registry.datasets.rows import Row, Rows
from mvtrace.registry.entries import Entry
from mvtrace.registry.evals.results import Result
from mvtrace.registry.evals.scorers import Scorer
from mvtrace.registry.evals.suites import Examples
from mvtrace.registry.evals.texts import Texts

MAX_LINE_BYTES: Final = 64 * 1024 * 1024
UNSCORED: Final = "unscored"
"""Label of an example that a tool gave no finite number, and no reason."""


class LogError(CheckFailedError):
    """A log is not what it has to be: nothing of it was recorded."""

    code = "eval-log"

    def __init__(self, path: object, problem: str, *, hint: str | None = None) -> None:
        super().__init__(f"{path}: {problem}", hint=hint)


UNKNOWN_LAYOUT: Final = (AttributeError, KeyError, IndexError, TypeError, ValueError)
"""What a log that holds other things than the tool writes meets where they are looked up."""


def unknown_layout(path: object, tool: str, error: Exception) -> LogError:
    """Return the error of a log that is not laid out as *tool* writes it."""
    return LogError(
        path,
        f"it is not laid out as {tool} writes logs ({type(error).__name__}: {str(error)[:200]}).",
        hint="Was it changed, or written by a version that is not known?",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """The results of one suite by one scorer, as a log has them."""

    tool: str
    suite: Entry
    texts: Texts
    """What the suite names by digest: templates, few-shot examples."""
    scorer: Scorer | None
    """None: the log does not say what its code was."""
    scorer_name: str
    results: tuple[Result, ...]
    recorded_at: str
    """Unix nanoseconds in digits."""

    @property
    def unscored(self) -> int:
        """How many results have no score."""
        return sum(one.value is None for one in self.results)


@dataclass(slots=True)
class RowsOfLog:
    """The examples that a log holds, gathered: each one's canonical row once."""

    rows: dict[str, Row] = field(default_factory=dict)
    """By what tells it apart in the log."""
    _form: Rows = field(default_factory=Rows)

    def add(self, key: str, row: Mapping[str, Any]) -> None:
        """Add the example *key*; raises ValueError where it is there with another row."""
        form = self._form.row(dict(row))
        if self.rows.setdefault(key, form) != form:
            raise ValueError(f"the example {key!r} is there with two contents")

    def examples(self) -> Examples:
        """Return their root and number."""
        return Examples(*hash_rows(self.rows.values()))

    def names(self) -> dict[str, str]:
        """Return what each example is called by its content, where the log has no lasting name.

        It is the digest of its row; of equal rows the second is ``…#2``.
        """
        seen: dict[str, int] = {}
        names: dict[str, str] = {}
        for key, row in self.rows.items():
            digest = row_digest(row).hex()
            seen[digest] = seen.get(digest, 0) + 1
            names[key] = digest if seen[digest] == 1 else f"{digest}#{seen[digest]}"
        return names


def single(path: Path, found: Iterable[Path], what: str) -> Path:
    """Return the one of *found*.

    Raises:
        LogError: there are none or several.
    """
    listed = sorted(found)
    if not listed:
        raise LogError(path, f"there is no {what} in it.")
    if len(listed) > 1:
        names = "".join(f"\n  {one}" for one in listed[:20])
        raise LogError(
            path, f"it holds {len(listed):,} of {what}:{names}", hint="Import one of them."
        )
    return listed[0]
