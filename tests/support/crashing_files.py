"""Disk states that a crash may leave, computed from the file operations that were issued.

In: a disk as it was and the operations since. Out: the disk after a kill of the process (everything
issued is there, the last write perhaps in part) or after a loss of power (what no fsync covered may
be missing, torn at any byte or sector, filled with zeroes or rubbish, and in any order: a later
write may be there without an earlier one, a name without its data, data without its name). Only
rename is atomic. This is weaker than what ext4 or XFS promise, and what POSIX promises.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from hypothesis import strategies as st

SECTOR_BYTES: Final = 512
ROOT: Final = 0
"""The node of the folder in which everything happens."""


class Enter(NamedTuple):
    """A new file or folder *node* gets a name."""

    folder: int
    name: str
    node: int
    is_folder: bool


class Move(NamedTuple):
    """A name becomes another one, replacing what had it."""

    folder: int
    name: str
    to_folder: int
    to_name: str


class Leave(NamedTuple):
    """A name goes."""

    folder: int
    name: str


class Write(NamedTuple):
    """Bytes go to an offset of a file."""

    node: int
    offset: int
    data: bytes


class Cut(NamedTuple):
    """A file gets another size."""

    node: int
    size: int


class Sync(NamedTuple):
    """All before it that concerns the file's content, or the folder's names, is durable."""

    node: int


Operation = Enter | Move | Leave | Write | Cut | Sync


class Disk:
    """Files and folders by node; a node without a name is lost to whoever looks."""

    def __init__(self) -> None:
        self.files: dict[int, bytearray] = {}
        self.folders: dict[int, dict[str, int]] = {ROOT: {}}

    @classmethod
    def read(cls, root: Path) -> Disk:
        """Return what lies below *root*."""
        disk = cls()
        disk._read_folder(root, ROOT)
        return disk

    def _read_folder(self, path: Path, node: int) -> None:
        for entry in sorted(os.scandir(path), key=lambda one: one.name):
            fresh = len(self.files) + len(self.folders)
            self.apply(Enter(node, entry.name, fresh, entry.is_dir(follow_symlinks=False)))
            if entry.is_dir(follow_symlinks=False):
                self._read_folder(Path(entry.path), fresh)
            else:
                self.files[fresh] = bytearray(Path(entry.path).read_bytes())

    def copy(self) -> Disk:
        """Return a disk of its own with the same content."""
        other = Disk()
        other.files = {node: bytearray(content) for node, content in self.files.items()}
        other.folders = {node: dict(names) for node, names in self.folders.items()}
        return other

    def write_to(self, root: Path) -> Path:
        """Make everything that has a name real, below the new folder *root*; return that."""
        self._write_folder(root, ROOT)
        return root

    def _write_folder(self, path: Path, node: int) -> None:
        path.mkdir(mode=0o700)
        for name, child in self.folders[node].items():
            if child in self.folders:
                self._write_folder(path / name, child)
            else:
                (path / name).write_bytes(self.files[child])

    def named(self, node: int = ROOT, prefix: str = "") -> dict[str, bytes]:
        """Return the content of all files that have a name, by path."""
        found: dict[str, bytes] = {}
        for name, child in self.folders[node].items():
            if child in self.folders:
                found |= self.named(child, f"{prefix}{name}/")
            else:
                found[f"{prefix}{name}"] = bytes(self.files[child])
        return found

    def apply(self, operation: Operation) -> None:
        """Do *operation*; one whose subject never reached the disk does nothing."""
        match operation:
            case Enter(folder, name, node, is_folder):
                if is_folder:
                    self.folders.setdefault(node, {})
                else:
                    self.files.setdefault(node, bytearray())
                self.folders.setdefault(folder, {})[name] = node
            case Move(folder, name, to_folder, to_name):
                moved = self.folders.setdefault(folder, {}).pop(name, None)
                if moved is not None:
                    self.folders.setdefault(to_folder, {})[to_name] = moved
            case Leave(folder, name):
                self.folders.setdefault(folder, {}).pop(name, None)
            case Write(node, offset, data):
                self.put(node, offset, data)
            case Cut(node, size):
                content = self.files.setdefault(node, bytearray())
                content[size:] = bytes(max(0, size - len(content)))
            case Sync():
                pass

    def put(self, node: int, offset: int, data: bytes) -> None:
        """Write *data*; what lies between the old end and *offset* is zeroes."""
        content = self.files.setdefault(node, bytearray())
        content.extend(bytes(max(0, offset - len(content))))
        content[offset : offset + len(data)] = data


def done_at_kill(operations: Sequence[Operation], at: int, kept_bytes: int) -> list[Operation]:
    """Return what a kill leaves: *at* operations, and *kept_bytes* of the next one if it writes.

    All of it is there for the next process, and what was not synced still is not.
    """
    done = list(operations[:at])
    following = operations[at] if at < len(operations) else None
    if isinstance(following, Write) and kept_bytes:
        done.append(following._replace(data=following.data[:kept_bytes]))
    return done


Fate = Callable[[Disk, Operation], None]
"""Does to a disk whatever may become of an operation that was not synced."""


def after_power_loss(base: Disk, operations: Sequence[Operation], at: int, fate: Fate) -> Disk:
    """Return the disk after a power loss once *at* operations were issued."""
    disk = base.copy()
    durable = _durable(operations[:at])
    for operation, is_durable in zip(operations[:at], durable, strict=True):
        if is_durable:
            disk.apply(operation)
        else:
            fate(disk, operation)
    return disk


def _durable(operations: Sequence[Operation]) -> list[bool]:
    """Tell for each operation whether a later sync covers it."""
    synced: set[int] = set()
    durable: list[bool] = []
    for operation in reversed(operations):
        if isinstance(operation, Sync):
            synced.add(operation.node)
        durable.append(_subjects(operation) <= synced)
    return durable[::-1]


def _subjects(operation: Operation) -> set[int]:
    """Return the files and folders that must be synced before *operation* is durable."""
    match operation:
        case Enter(folder, _, _, _) | Leave(folder, _):
            return {folder}
        case Move(folder, _, to_folder, _):
            return {folder, to_folder}
        case Write(node, _, _) | Cut(node, _) | Sync(node):
            return {node}


def lost(_disk: Disk, _operation: Operation) -> None:
    """Nothing that was not synced has reached the disk."""


@st.composite
def fates(draw: st.DrawFn) -> Fate:
    """What becomes of unsynced operations: all lost, all kept, or each its own way."""
    whole = draw(st.sampled_from(["lost", "kept", "mixed"]))
    if whole == "lost":
        return lost

    def mixed(disk: Disk, operation: Operation) -> None:
        if not isinstance(operation, Write):
            if draw(st.booleans()):
                disk.apply(operation)
            return
        _torn_write(draw, disk, operation)

    return Disk.apply if whole == "kept" else mixed


def _torn_write(draw: st.DrawFn, disk: Disk, write: Write) -> None:
    """Do a write as a power loss leaves it."""
    size = len(write.data)
    match draw(st.sampled_from(["lost", "whole", "cut", "sized", "sectors"])):
        case "whole":
            disk.apply(write)
        case "cut":
            disk.put(write.node, write.offset, write.data[: draw(st.integers(0, size))])
        case "sized":  # the size is there, the data is not
            disk.put(write.node, write.offset + size, b"")
        case "sectors":
            _scattered_write(draw, disk, write)
        case _:
            pass


def _scattered_write(draw: st.DrawFn, disk: Disk, write: Write) -> None:
    """Keep some sectors; the others hold what was there before, or rubbish."""
    rubbish = draw(st.sampled_from([None, 0x00, 0x5A, 0xFF]))
    end = write.offset + len(write.data)
    disk.put(write.node, max(end, len(disk.files.get(write.node, b""))), b"")
    start = write.offset
    while start < end:
        stop = min(end, (start // SECTOR_BYTES + 1) * SECTOR_BYTES)
        if draw(st.booleans()):
            disk.put(write.node, start, write.data[start - write.offset : stop - write.offset])
        elif rubbish is not None:
            disk.put(write.node, start, bytes([rubbish]) * (stop - start))
        start = stop
