"""What is registered of datasets, and whether a claim about them holds.

In: an ``Ask``, a name or a digest, what is at hand. Out: the entry; or a refusal that says what was
claimed and what is there. A claim that two runs used the same data is a comparison of roots, both
computed from rows: a name, a path or a size proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from mvtrace.errors import CheckFailedError
from mvtrace.registry.datasets.claims import Claim, claim_of
from mvtrace.registry.datasets.columns import Kind
from mvtrace.registry.datasets.hashing import Dataset, hash_dataset
from mvtrace.registry.datasets.running import ROLE, Run
from mvtrace.registry.entries import read_entries
from mvtrace.registry.errors import AmbiguousEntryError, EntryNotFoundError
from mvtrace.registry.lineage.derivations import HOW, edges_of
from mvtrace.registry.reading import MIN_DIGITS, Ask, entry_named, statement
from mvtrace.registry.refs import Ref

KIND: Final = "dataset"


class DatasetDiffersError(CheckFailedError):
    """What is at hand is not the dataset that was claimed."""

    code = "dataset-differs"

    def __init__(self, path: object, claimed: Claim, found: Dataset) -> None:
        name = f" ({' '.join(claimed.name.split())})" if claimed.name else ""
        rows = f"it has {found.rows:,} rows"
        if claimed.rows == found.rows:
            rows = f"both have {found.rows:,} rows, and not all are the same"
        elif claimed.rows is not None:
            rows += f", and {claimed.rows:,} are registered"
        super().__init__(
            f"{str(path)!r} is not {claimed.ref}{name}: its root is {found.root}; {rows}.",
            hint="'mvtrace dataset diff A B' counts the rows that differ, of files at hand.",
        )
        self.found = found


class NotReproducedError(CheckFailedError):
    """The same transformation of the same inputs did not give what was claimed."""

    code = "not-reproduced"


def dataset_named(ask: Ask, text: str) -> Claim:
    """Return what was registered last of what *text* names: a root, its beginning, or a name.

    Raises:
        EntryNotFoundError: there is none.
        AmbiguousEntryError: several roots start like that.
        CheckFailedError: what is called so says of no dataset.
    """
    digits = text.removeprefix(f"{KIND}:").removeprefix("sha256:").lower()
    if len(digits) >= MIN_DIGITS and not set(digits) - set("0123456789abcdef"):
        rows = ask(statement("dataset_starting"), {"prefix": digits})
        if len(rows) > 1:
            hits = [f"{KIND}:{row['root']} {row['newest_name']}" for row in rows]
            raise AmbiguousEntryError(KIND, text, hits)
        for entry in read_entries(row["newest_body"] for row in rows):
            return claim_of(entry)
    try:
        return claim_of(entry_named(ask, KIND, text))
    except EntryNotFoundError as error:
        hint = "'mvtrace dataset list' shows those there are."
        raise EntryNotFoundError(KIND, text, hint=hint) from error


def known_roots(ask: Ask, roots: Iterable[str]) -> set[str]:
    """Return those of *roots* that are registered."""
    found = {root: ask(statement("dataset_starting"), {"prefix": root}) for root in set(roots)}
    return {root for root, rows in found.items() if rows}


def verify_dataset(
    path: str,
    claimed: Claim,
    *,
    format: str | None = None,  # noqa: A002 (what it is called everywhere)
    columns: Mapping[str, Kind] | None = None,
    split: str | None = None,
) -> Dataset:
    """Return the dataset at *path*, which is the one that was *claimed*.

    Texts are of the types that were registered, where no *columns* are given, so that what was
    hashed as Parquet is found again in its CSV.

    Raises:
        DatasetDiffersError: it is another.
        DatasetError: it is none.
    """
    kinds = columns if columns is not None else claimed.typed
    found = hash_dataset(path, format=format, columns=kinds, split=split)
    if found.root != claimed.root:
        raise DatasetDiffersError(path, claimed, found)
    return found


def check_run(ask: Ask, run: Run) -> None:
    """Check that *run* gave what runs of the same step on the same inputs gave before.

    Raises:
        NotReproducedError: it gave something else, or there was no such run.
    """
    before = earlier_outputs(ask, run)
    for slot, made in run.outputs.items():
        if slot in run.unchanged:
            continue
        claimed = before.get(slot)
        if not claimed:
            raise NotReproducedError(
                f"No run of {run.step.ref} on these inputs is registered for {slot!r}, so there "
                "is no claim to check.",
                hint="The code, a parameter, the seed, the command or an input is another; "
                "without --check the run is registered.",
            )
        if claimed != {made.ref}:
            listed = ", ".join(sorted(str(ref) for ref in claimed))
            raise NotReproducedError(
                f"The claim does not hold: {run.step.ref} made {listed} from the same inputs, and "
                f"now it made {made.ref} ({made.rows:,} rows).",
                hint="A seed that is not used, a clock, an order or another version of a library "
                "may be why.",
            )


def earlier_outputs(ask: Ask, run: Run) -> dict[str, set[Ref]]:
    """Return what the same step made of the same inputs before, by slot."""
    rows = ask(statement("dataset_runs"), {"how": str(run.step.ref)})
    inputs = set(run.parents)
    found: dict[str, set[Ref]] = {}
    for entry in read_entries(row["said"] for row in rows):
        edges = edges_of(entry)
        parents = {(edge.parent, edge.role) for edge in edges if edge.role != HOW}
        if parents == inputs and all(role == ROLE for _, role in parents):
            found.setdefault(entry.name, set()).add(edges[0].child)
    return found
