"""Whether a place of this host is, through links, also another: so that none goes with it.

In: the URIs where artifacts are registered to lie. Out: of a place the one that it shares with
another by way of a link, a mount, or a spelling that no URI is read from. Compared are real paths
and what the disk says a folder is; links within folders are followed, as artifacts follow them.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import unquote

from mvtrace.registry.retention.uris import Where

_FILE: Final = re.compile(r"(?:file:(?://(?:localhost)?)?)?(/.*)", re.DOTALL | re.IGNORECASE)

Identity = tuple[int, int]
"""Device and number of a file or folder."""


class _Told(NamedTuple):
    """A URI, and the place that it is read as, if any."""

    uri: str
    where: Where | None


class Reached:
    """The places of *uris* as this host reaches them."""

    def __init__(self, uris: Iterable[str]) -> None:
        self._at: defaultdict[str | Identity, list[_Told]] = defaultdict(list)
        """By real path, and by identity."""
        self._below: defaultdict[str, list[_Told]] = defaultdict(list)
        """By each folder around a real path."""
        for uri in sorted(set(uris)):
            told = _Told(uri, _where(uri))
            for real in {one for path in _paths(uri) for one in _real_paths(path)}:
                self._at[real].append(told)
                if (found := _identity(real)) is not None:
                    self._at[found].append(told)
                for folder in Path(real).parents:
                    self._below[str(folder)].append(told)

    def near(self, where: Where) -> str | None:
        """Return a URI whose place is, holds, or lies within *where*, though it is not read so."""
        if where.scheme != "file":
            return None
        real = os.path.realpath(where.path)
        within = [real, *map(str, Path(real).parents)]
        ids = [found for path in within if (found := _identity(path)) is not None]
        keys: list[str | Identity] = [*within, *ids]
        found_there = [told for key in keys for told in self._at.get(key, ())]
        found_there += self._below.get(real, ())
        others = (one for one in found_there if not (one.where and one.where.overlaps(where)))
        return next((one.uri for one in others), None)


def _real_paths(path: str) -> Iterator[str]:
    """Yield where *path* leads, and every link within it, and within what those lead to."""
    seen: set[str] = set()
    waiting = [os.path.realpath(path)]
    while waiting:
        real = waiting.pop()
        if real in seen:
            continue
        seen.add(real)
        yield real
        if real == "/":
            continue  # whatever there is lies within it
        for folder, folders, files in os.walk(real):
            inner = (os.path.join(folder, name) for name in (*folders, *files))  # noqa: PTH118
            waiting.extend(os.path.realpath(one) for one in inner if os.path.islink(one))  # noqa: PTH114


def _paths(uri: str) -> set[str]:
    """Return the paths of this host that somebody might mean by *uri*."""
    found = _FILE.fullmatch(uri)
    if found is None or "\0" in uri:
        return set()
    return {found[1]} if uri.startswith("/") else {found[1], unquote(found[1])}


def _identity(path: str) -> Identity | None:
    try:
        status = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def _where(uri: str) -> Where | None:
    try:
        return Where.parse(uri)
    except ValueError:
        return None
