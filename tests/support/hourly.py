"""Rows of the table of the roll-up, made of cells: one a bucket in, one an hour out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

KEY: Final = (
    *("project", "environment", "service", "composite_version", "metric", "rollout", "arm"),
    *("hour", "phase", "scorer"),
)
SUMS: Final = ("requests", "total", "squares", "base", "base_squares", "cross")
COLUMNS: Final = (*KEY, "revision", *SUMS, "buckets", *(f"bucket_{name}" for name in SUMS))


def folded(cells: Iterable[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    """Return *cells* (KEY, SUMS and ``bucket``) as rows of COLUMNS; of one bucket there is one."""
    hours: dict[tuple[Any, ...], dict[int, tuple[float, ...]]] = {}
    for one in cells:
        key = tuple(one[name] for name in KEY)
        hours.setdefault(key, {})[one["bucket"]] = tuple(one[name] for name in SUMS)
    rows = []
    for key, those in hours.items():
        lists = list(zip(*(those[bucket] for bucket in sorted(those)), strict=True))
        rows.append((*key, 1, *map(sum, lists), sorted(those), *map(list, lists)))
    return rows
