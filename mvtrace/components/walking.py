"""What is in a folder, links followed: within bounds, whatever the folder was made for.

In: a folder. Out: everything in it that is no folder, however deep. Links can make few folders look
like many: what is met counts each time, so that a walk ends. Nothing here recurses.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

MOST_MET: Final = 1_000_000
"""Files, folders and links that are met on a walk."""
_Identity: TypeAlias = tuple[int, int]


class Met(NamedTuple):
    """Something that is no folder."""

    relative: str
    """Its path within the folder, with ``/``."""
    path: Path
    status: os.stat_result


class FolderError(ValueError):
    """A folder has no end, or none within bounds."""

    def __init__(self, place: Path, problem: str) -> None:
        super().__init__(f"{str(place)!r} {problem}")
        self.place = place
        self.problem = problem


def walk(
    root: Path,
    *,
    is_left_out: Callable[[str], bool] = lambda name: not name,
    skipped_folders: Collection[str] = (),
) -> Iterator[Met]:
    """Yield what is in *root*, in no order; of names left out nothing is looked at.

    Raises:
        OSError: something cannot be read, or a link leads nowhere.
        FolderError: a folder is within itself, or over MOST_MET things are met.
    """
    waiting: list[tuple[Path, str, tuple[_Identity, ...]]]
    waiting = [(root, "", (_identity(root.stat()),))]
    met = 0
    while waiting:
        folder, prefix, above = waiting.pop()
        for child in folder.iterdir():
            met += 1
            if met > MOST_MET:
                raise FolderError(root, f"holds more than {MOST_MET:,} files, folders and links.")
            if is_left_out(child.name):
                continue
            status = child.stat()
            if not stat.S_ISDIR(status.st_mode):
                yield Met(prefix + child.name, child, status)
            elif child.name not in skipped_folders:
                if _identity(status) in above:
                    raise FolderError(child, "is a link to a folder that holds it.")
                waiting.append((child, f"{prefix}{child.name}/", (*above, _identity(status))))


def _identity(status: os.stat_result) -> _Identity:
    return status.st_dev, status.st_ino
