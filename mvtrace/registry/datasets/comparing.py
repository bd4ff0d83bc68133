"""Two datasets from the files at hand: how many rows only one of them has.

In: the paths of both. Out: counts, of rows as often as they occur. Memory does not grow with them:
both are sorted (sorting.py) and compared one range of digests at a time.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mvtrace.registry.datasets.columns import Columns
from mvtrace.registry.datasets.files import find_files
from mvtrace.registry.datasets.hashing import collect_digests, root_of
from mvtrace.registry.datasets.sorting import DIGEST_BYTES, RECORD_BYTES, RowDigests

Path = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Difference:
    """What two datasets have in common, and what not."""

    roots: tuple[str, str]
    rows: tuple[int, int]
    common: int
    """Rows that both have; a row that is twice in each counts twice."""

    @property
    def is_same(self) -> bool:
        """Whether both are one multiset of rows."""
        return self.roots[0] == self.roots[1]

    @property
    def only(self) -> tuple[int, int]:
        """How many rows only the first has, and only the second."""
        return self.rows[0] - self.common, self.rows[1] - self.common

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        names = zip(("a", "b"), self.roots, self.rows, self.only, strict=True)
        both = {name: {"root": r, "rows": n, "only": only} for name, r, n, only in names}
        return {**both, "common": self.common, "same": self.is_same}


def compare_datasets(
    first: Path,
    second: Path,
    *,
    formats: tuple[str | None, str | None] = (None, None),
    columns: tuple[Columns, Columns] = ({}, {}),
    splits: tuple[str | None, str | None] = (None, None),
) -> Difference:
    """Return what the datasets at *first* and *second* differ in.

    Raises:
        DatasetError: one is no dataset.
    """
    with RowDigests() as one, RowDigests() as other:
        both = (one, other)
        for path, digests, form, kinds, split in zip(
            (first, second), both, formats, columns, splits, strict=True
        ):
            collect_digests(find_files(path, form=form, split=split), digests, kinds)
        roots = (root_of(one.records())[0], root_of(other.records())[0])
        return Difference(roots, (one.rows, other.rows), _common(one, other))


def _common(one: RowDigests, other: RowDigests) -> int:
    count = max(one.part_count, other.part_count)
    common = 0
    for (_, left), (_, right) in zip(one.parts(count), other.parts(count), strict=True):
        counts = _counts(left)
        common += sum(
            min(number, counts.get(digest, 0)) for digest, number in _counts(right).items()
        )
    return common


def _counts(records: bytes) -> Mapping[bytes, int]:
    return {
        records[at : at + DIGEST_BYTES]: int.from_bytes(
            records[at + DIGEST_BYTES : at + RECORD_BYTES]
        )
        for at in range(0, len(records), RECORD_BYTES)
    }
