"""Records every operation on files below a folder, while real code runs on the real disk.

In: a folder. Out: the operations in their order, of Python's code (the functions of ``os`` are
wrapped while recording) and of SQLite (through ``recorded_sqlite``), as ``crashing_files`` wants
them. Syncs are recorded and not done, so that many histories cost little. ``check_complete`` tells
whether anything went past the recorder. A disk that refuses can be simulated as well.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from crashing_files import ROOT, Cut, Disk, Enter, Leave, Move, Operation, Sync, Write

_WRAPPED: Final = (
    *("open", "close", "fdopen", "write", "writev", "pwrite", "ftruncate", "truncate"),
    *("fsync", "fdatasync", "rename", "replace", "unlink", "remove", "mkdir", "rmdir"),
)
_REAL: Final = {name: getattr(os, name) for name in _WRAPPED}
_NOT_KEPT: Final = "-shm"
"""SQLite's shared memory: whoever opens the database first makes it anew."""


class Recorder:
    """The operations below *root*, which shows *base* and what was done since; thread-safe."""

    def __init__(self, root: Path, base: Disk, operations: Sequence[Operation] = ()) -> None:
        self.root = root
        self.base = base
        self.live = base.copy()
        self.operations: list[Operation] = []
        self.refusals: dict[str, OSError] = {}
        """What the next call of a function of ``os`` raises, by its name."""
        self.omitted: frozenset[str] = frozenset()
        """Functions whose syncs are lies: they are not recorded."""
        self.lock = threading.RLock()
        self._nodes: dict[int, int] = {}
        for operation in operations:
            self.record(operation)
        self._next_node = 1 + max(*self.live.files, *self.live.folders, ROOT, ROOT)

    @property
    def now(self) -> int:
        """How many operations there are so far."""
        return len(self.operations)

    def record(self, operation: Operation) -> None:
        """Note that *operation* was done."""
        self.operations.append(operation)
        self.live.apply(operation)

    def refuse(self, name: str, number: int = errno.EIO) -> None:
        """Make the next call of ``os.name`` on a file of ours fail."""
        self.refusals[name] = OSError(number, os.strerror(number))

    def check_complete(self) -> None:
        """Raise AssertionError if a file differs from what was recorded."""
        with self.lock:
            real = Disk.read(self.root).named()
            recorded = self.live.named()
        differing = [
            name
            for name in real.keys() | recorded.keys()
            if real.get(name) != recorded.get(name) and not name.endswith(_NOT_KEPT)
        ]
        assert differing == [], f"operations went past the recorder: {differing}"

    def place(self, path: object) -> tuple[int, str] | None:
        """Return the folder's node and the name of *path*; None if it lies elsewhere."""
        if not isinstance(path, str | os.PathLike):
            return None
        try:
            parts = Path(os.fspath(path)).relative_to(self.root).parts
        except ValueError:
            return None
        node = ROOT
        for part in parts[:-1]:
            found = self.live.folders[node].get(part)
            if found is None:
                return None
            node = found
        return (node, parts[-1]) if parts else (ROOT, ".")

    def node_at(self, path: object) -> int | None:
        """Return the node of *path*, None if it lies elsewhere or does not exist."""
        place = self.place(path)
        if place is None or place[1] == ".":
            return None if place is None else ROOT
        return self.live.folders[place[0]].get(place[1])

    def enter(self, path: object, *, is_folder: bool = False) -> int | None:
        """Note a new name, unless it is there already; return its node."""
        place = self.place(path)
        if place is None:
            return None
        known = self.node_at(path)
        if known is not None:
            return known
        node, self._next_node = self._next_node, self._next_node + 1
        self.record(Enter(*place, node, is_folder))
        return node

    def leave(self, path: object) -> None:
        """Note that a name is gone."""
        place = self.place(path)
        if place is not None:
            self.record(Leave(*place))

    def _refuse(self, name: str) -> None:
        refusal = self.refusals.pop(name, None)
        if refusal is not None:
            raise refusal

    # What stands in for the functions of ``os``, one for one.

    def open(self, path: Any, flags: int, mode: int = 0o777, **options: Any) -> int:
        with self.lock:
            if self.place(path) is None:
                return int(_REAL["open"](path, flags, mode, **options))
            if flags & os.O_CREAT:
                self._refuse("open")
            descriptor = int(_REAL["open"](path, flags, mode, **options))
            node = self.enter(path)
            if node is not None:
                self._nodes[descriptor] = node
                if flags & os.O_TRUNC and self.live.files[node]:
                    self.record(Cut(node, 0))
            return descriptor

    def close(self, descriptor: int) -> None:
        with self.lock:
            self._nodes.pop(descriptor, None)
            _REAL["close"](descriptor)

    def write(self, descriptor: int, data: Any) -> int:
        return self._write("write", descriptor, bytes(data), data)

    def writev(self, descriptor: int, parts: Any) -> int:
        return self._write("writev", descriptor, b"".join(parts), parts)

    def _write(self, name: str, descriptor: int, flat: bytes, data: Any) -> int:
        with self.lock:
            node = self._nodes.get(descriptor)
            if node is None:
                return int(_REAL[name](descriptor, data))
            if name in self.refusals and len(flat) > 1:
                half = flat[: len(flat) // 2]  # a full disk takes what fits
                self.record(Write(node, len(self.live.files[node]), half))
                _REAL["write"](descriptor, half)
            self._refuse(name)
            written = int(_REAL[name](descriptor, data))
            # All our files are written to their ends only.
            self.record(Write(node, len(self.live.files[node]), flat[:written]))
            return written

    def pwrite(self, descriptor: int, data: Any, offset: int) -> int:
        with self.lock:
            written = int(_REAL["pwrite"](descriptor, data, offset))
            if (node := self._nodes.get(descriptor)) is not None:
                self.record(Write(node, offset, bytes(data)[:written]))
            return written

    def fsync(self, descriptor: int) -> None:
        self._sync("fsync", descriptor)

    def fdatasync(self, descriptor: int) -> None:
        self._sync("fdatasync", descriptor)

    def _sync(self, name: str, descriptor: int) -> None:
        with self.lock:
            node = self._nodes.get(descriptor)
            if node is None:
                _REAL[name](descriptor)
                return
            self._refuse(name)
            is_folder = node in self.live.folders
            if name not in self.omitted and not (is_folder and "folder" in self.omitted):
                self.record(Sync(node))

    def ftruncate(self, descriptor: int, size: int) -> None:
        with self.lock:
            _REAL["ftruncate"](descriptor, size)
            if (node := self._nodes.get(descriptor)) is not None:
                self.record(Cut(node, size))

    def truncate(self, path: Any, size: int) -> None:
        with self.lock:
            node = self._nodes.get(path) if isinstance(path, int) else self.node_at(path)
            _REAL["truncate"](path, size)
            if node is not None:
                self.record(Cut(node, size))

    def rename(self, source: Any, target: Any) -> None:
        with self.lock:
            _REAL["rename"](source, target)
            old, new = self.place(source), self.place(target)
            if old is not None and new is not None:
                self.record(Move(*old, *new))

    def unlink(self, path: Any, **options: Any) -> None:
        with self.lock:
            _REAL["unlink"](path, **options)
            self.leave(path)

    def mkdir(self, path: Any, mode: int = 0o777, **options: Any) -> None:
        with self.lock:
            _REAL["mkdir"](path, mode, **options)
            self.enter(path, is_folder=True)

    def rmdir(self, path: Any, **options: Any) -> None:
        with self.lock:
            _REAL["rmdir"](path, **options)
            self.leave(path)

    def fdopen(self, descriptor: int, mode: str = "r", buffering: int = -1) -> Any:
        """Return a file whose writes come back here (those of a plain one would not)."""
        if descriptor not in self._nodes or "b" not in mode:
            return _REAL["fdopen"](descriptor, mode, buffering)
        if "w" not in mode:
            return _Reading(self, descriptor, buffering)
        raw = _Writing(self, descriptor)
        return raw if buffering == 0 else io.BufferedWriter(raw)


class _Reading(io.FileIO):
    """A plain file for reading that tells the recorder when its descriptor goes."""

    def __init__(self, recorder: Recorder, descriptor: int, _buffering: int) -> None:
        super().__init__(descriptor, "rb", closefd=False)
        self._recorder = recorder
        self._descriptor = descriptor

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._recorder.close(self._descriptor)


class _Writing(io.RawIOBase):
    """A file for writing, each write of which is recorded."""

    def __init__(self, recorder: Recorder, descriptor: int) -> None:
        self._recorder = recorder
        self._descriptor = descriptor

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def write(self, data: Any) -> int:
        return self._recorder.write(self._descriptor, data)

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._recorder.close(self._descriptor)


@contextlib.contextmanager
def recorded(root: Path, base: Disk, operations: Sequence[Operation] = ()) -> Iterator[Recorder]:
    """Record what happens below *root*, a new folder that shows *base* after *operations*."""
    recorder = Recorder(root, base, operations)
    recorder.live.write_to(root)
    stand_ins = {name: getattr(recorder, name) for name in _REAL if hasattr(recorder, name)}
    stand_ins |= {"replace": recorder.rename, "remove": recorder.unlink}
    with patch.multiple(os, **stand_ins):
        yield recorder
