"""The examples of an eval, and of its earlier versions: the side that is held in memory.

In: rows. Out: the distinct texts in them, numbered; which example has which text in which column;
and what finding a text tells. A text alone tells that its example was met, unless it has fewer than
MIN_TOKENS tokens, more than MAX_SHARING examples that differ have it ("None of the above answers"),
or its column says the same in every row: then only the whole row tells, or all its texts in one
training row (a question with its answer).
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from mvtrace.errors import UsageError
from mvtrace.registry.leakage.columns import Cell, cells_of
from mvtrace.registry.leakage.methods import MAX_SHARING, MIN_TOKENS
from mvtrace.registry.leakage.normalizing import normalized, tokens

ROW_DOMAIN: Final = b"mvtrace.row/1\n"
_SHOWN: Final = 12


class Example(NamedTuple):
    """One row of the eval, or of one of its earlier versions."""

    version: int
    """0 is the eval itself."""
    position: int
    """Of the row in its file, from 0."""
    digest: bytes
    """Of the row, 32 bytes."""


class Text(NamedTuple):
    """Where a text of the eval stands."""

    example: int
    column: int
    is_telling: bool
    """Whether to meet it alone is to meet the example."""


@dataclass(slots=True)
class Examples:
    """All of them; texts are numbered by their normalized form."""

    columns: tuple[str, ...] = ()
    """Those compared."""
    constant: tuple[str, ...] = ()
    """Those that say the same in every row, and are not compared."""
    each: list[Example] = field(default_factory=list)
    forms: list[str] = field(default_factory=list)
    places: list[list[Text]] = field(default_factory=list)
    """For each form the examples that have it."""
    telling: list[bool] = field(default_factory=list)
    """For each form whether to meet it alone tells of an example."""
    exact: dict[str, int] = field(default_factory=dict)
    """Text -> the number of its form."""
    numbers: dict[str, int] = field(default_factory=dict)
    """Form -> its number."""
    pairs: dict[frozenset[int], list[int]] = field(default_factory=dict)
    """The forms of all columns of an example, where it has several -> the examples of these."""
    keys: dict[int, list[frozenset[int]]] = field(default_factory=dict)
    """Form -> the pairs of which it is the rarest form, so that few are looked at in any row."""
    rows: dict[bytes, list[int]] = field(default_factory=dict)
    """Digest of a row -> its examples."""
    short: int = 0
    """Texts of the eval itself that are too short to tell anything alone."""
    shared: int = 0
    """Texts that tell nothing alone since many different examples have them."""

    def count(self, version: int = 0) -> int:
        """Return how many examples a version has."""
        return sum(one.version == version for one in self.each)

    def telling_forms(self) -> list[str]:
        """Return the forms by number; an empty text for one that tells nothing alone."""
        return [form if tells else "" for form, tells in zip(self.forms, self.telling, strict=True)]

    def pairs_in(self, forms: Iterable[int]) -> Iterator[frozenset[int]]:
        """Yield the pairs of which a row that holds all *forms* holds every text."""
        held = set(forms)
        for number in held:
            for pair in self.keys.get(number, ()):
                if pair <= held:
                    yield pair


def row_digest(row: bytes) -> bytes:
    """Return the digest of a canonical row, 32 bytes, as a dataset's root is over."""
    return hashlib.sha256(ROW_DOMAIN + row).digest()


def read_examples(versions: Sequence[Iterable[bytes]], columns: Sequence[str] = ()) -> Examples:
    """Return the examples of an eval: its own rows first, then those of its earlier versions.

    Raises:
        UsageError: none of its rows has one of the *columns* that are to be compared.
    """
    found = Examples()
    cells: list[list[Cell]] = []
    for version, rows in enumerate(versions):
        for position, row in enumerate(rows):
            digest = row_digest(row)
            found.rows.setdefault(digest, []).append(len(found.each))
            found.each.append(Example(version, position, digest))
            cells.append(cells_of(row))
    seen = _seen(cells)
    _require(seen, columns)
    found.constant = () if columns else tuple(sorted(_constant(seen)))
    found.columns = tuple(columns) or tuple(sorted(seen.keys() - set(found.constant)))
    _place(found, cells, tells_short=bool(columns) or len(found.columns) == 1)
    return found


def _seen(cells: Sequence[Sequence[Cell]]) -> dict[str, tuple[int, set[str]]]:
    """Return for each column how many rows have it, and up to two of its texts."""
    seen: dict[str, tuple[int, set[str]]] = defaultdict(lambda: (0, set()))
    for row in cells:
        for cell in row:
            count, texts = seen[cell.column]
            if len(texts) <= 1:
                texts.add(cell.text)
            seen[cell.column] = (count + 1, texts)
    return seen


def _constant(seen: dict[str, tuple[int, set[str]]]) -> set[str]:
    """Return the columns with one text in several rows, where another column has several."""
    same = {name for name, (count, texts) in seen.items() if count > 1 and len(texts) == 1}
    return same if same != seen.keys() else set()


def _require(seen: dict[str, tuple[int, set[str]]], columns: Sequence[str]) -> None:
    for name in columns:
        if name not in seen:
            known = ", ".join(sorted(seen)[:_SHOWN]) or "none"
            raise UsageError(
                f"No row of the eval has a text in a column {name!r}; its columns are: {known}.",
                hint="Within lists and objects a column is a path such as messages.content.",
            )


def _place(found: Examples, cells: Sequence[Sequence[Cell]], *, tells_short: bool) -> None:
    places = {name: number for number, name in enumerate(found.columns)}
    is_short: list[bool] = []
    for example, row in enumerate(cells):
        own: set[int] = set()
        for column, text in row:
            form = normalized(text) if column in places else ""
            if not form:
                continue
            number = found.numbers.setdefault(form, len(found.forms))
            if number == len(found.forms):
                found.forms.append(form)
                found.places.append([])
                found.telling.append(False)
                is_short.append(len(tokens(form)) < MIN_TOKENS)
            found.exact[text] = number
            is_telling = tells_short or not is_short[number]
            found.short += not is_telling and found.each[example].version == 0
            found.places[number].append(Text(example, places[column], is_telling))
            found.telling[number] |= is_telling
            own.add(number)
        if len(own) > 1:
            found.pairs.setdefault(frozenset(own), []).append(example)
    if not tells_short:
        _mark_shared(found)
    for pair in found.pairs:
        rarest = min(pair, key=lambda number: (len(found.places[number]), number))
        found.keys.setdefault(rarest, []).append(pair)


def _mark_shared(found: Examples) -> None:
    """Let a text that many different examples have tell nothing alone."""
    sharing = Counter(number for pair in found.pairs for number in pair)
    for number, count in sharing.items():
        if count > MAX_SHARING and found.telling[number]:
            found.shared += 1
            found.telling[number] = False
            found.places[number] = [
                text._replace(is_telling=False) for text in found.places[number]
            ]
