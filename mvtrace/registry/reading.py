"""What the registry asks of a store: a statement with parameters in, rows out.

An ``Ask`` runs one SELECT for one project: through a collector's ``/sql`` or in a store that this
process opened. So every reader here works the same way over either, and imports neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar

from mvtrace.registry.entries import Entry, read_entries
from mvtrace.registry.errors import AmbiguousEntryError, EntryNotFoundError

_T = TypeVar("_T")
Ask = Callable[[str, Mapping[str, Any]], list[dict[str, Any]]]
"""SQL with ``{name:Type}`` parameters -> rows by column; ``{project:String}`` is bound already."""

_FOLDER: Final = Path(__file__).resolve().parents[1] / "store" / "sql" / "registry"
MIN_DIGITS: Final = 8
_MAX_HITS: Final = 20
_AT_ONCE: Final = 1_000
"""Digests that one statement names: a collector takes 1 MiB with its parameters."""


@cache
def statement(name: str) -> str:
    """Return the text of ``mvtrace/store/sql/registry/<name>.sql``."""
    return (_FOLDER / f"{name}.sql").read_text("utf-8")


def in_parts(these: Sequence[_T]) -> Iterator[list[_T]]:
    """Yield *these* in parts, each of which one statement may name."""
    for first in range(0, len(these), _AT_ONCE):
        yield list(these[first : first + _AT_ONCE])


def entries(ask: Ask, kind: str, digests: Sequence[str]) -> dict[str, Entry]:
    """Return those of the entries *digests* (``sha256:…``) that are stored, by digest."""
    if not digests:
        return {}
    rows = ask(statement("entries"), {"kind": kind, "digests": list(digests)})
    return {one.digest: one for one in read_entries(row["body"] for row in rows)}


def entry_named(ask: Ask, kind: str, text: str) -> Entry:
    """Return the one entry of *kind* that *text* names: a digest, its beginning, or a name.

    Of several entries of one name the newest is meant; a beginning of 8 digits or more may fit one.

    Raises:
        EntryNotFoundError: there is none.
        AmbiguousEntryError: several digests start like that.
    """
    digits = text.removeprefix(f"{kind}:").removeprefix("sha256:").lower()
    is_hex = len(digits) >= MIN_DIGITS and not set(digits) - set("0123456789abcdef")
    if is_hex:
        rows = ask(statement("entries_starting"), {"kind": kind, "prefix": f"sha256:{digits}"})
        if len(rows) > 1:
            hits = [f"{row['digest']} {row['name']}" for row in rows[:_MAX_HITS]]
            raise AmbiguousEntryError(kind, text, hits)
        for entry in read_entries(row["body"] for row in rows):
            return entry
    rows = ask(statement("entries_called"), {"kind": kind, "name": text})
    for entry in read_entries(row["body"] for row in rows):
        return entry
    raise EntryNotFoundError(kind, text)
