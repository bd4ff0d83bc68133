"""What the registry asks of a store: a statement with parameters in, rows out.

An ``Ask`` runs one SELECT for one project: through a collector's ``/sql`` or in a store that this
process opened. So every reader here works the same way over either, and imports neither.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from mvtrace.registry.entries import Entry, read_entry
from mvtrace.registry.errors import AmbiguousEntryError, EntryNotFoundError

Ask = Callable[[str, Mapping[str, Any]], list[dict[str, Any]]]
"""SQL with ``{name:Type}`` parameters -> rows by column; ``{project:String}`` is bound already."""

_FOLDER: Final = Path(__file__).resolve().parents[1] / "store" / "sql" / "registry"
MIN_DIGITS: Final = 8
_MAX_HITS: Final = 20


@cache
def statement(name: str) -> str:
    """Return the text of ``mvtrace/store/sql/registry/<name>.sql``."""
    return (_FOLDER / f"{name}.sql").read_text("utf-8")


def entries(ask: Ask, kind: str, digests: Sequence[str]) -> dict[str, Entry]:
    """Return those of the entries *digests* (``sha256:…``) that are stored, by digest."""
    if not digests:
        return {}
    rows = ask(statement("entries"), {"kind": kind, "digests": list(digests)})
    found = (read_entry(row["body"]) for row in rows)
    return {one.digest: one for one in found}


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
        if rows:
            return read_entry(rows[0]["body"])
    rows = ask(statement("entries_called"), {"kind": kind, "name": text})
    if not rows:
        raise EntryNotFoundError(kind, text)
    return read_entry(rows[0]["body"])
