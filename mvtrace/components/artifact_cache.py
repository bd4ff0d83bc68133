"""Remembered hashes of large files, in one small JSON file under the user's cache folder.

In: a path with its stat result. Out: the SHA-256 it had in exactly that state, or None. It is only
ever a saving: a cache that is missing, damaged or read-only costs time, never an error.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import orjson

MIN_BYTES: Final = 1024 * 1024
"""Smaller files are hashed faster than looked up and kept."""
MAX_ENTRIES: Final = 10_000
SETTLED_NS: Final = 2_000_000_000
"""A file changed more recently may change again within its file system's clock tick."""

_FORMAT = 1
_HEX = re.compile(r"[0-9a-f]{64}")


def cache_folder() -> Path:
    """Return mvtrace's folder under ``XDG_CACHE_HOME`` (which must be absolute) or ``~/.cache``."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(home) if Path(home).is_absolute() else Path(os.path.expanduser("~/.cache"))  # noqa: PTH111 (Path.expanduser raises without a home)
    return base / "mvtrace"


class ArtifactCache:
    """Hashes by path, size, times, and inode; read lazily, written by save() in one rename."""

    def __init__(
        self, path: Path | None = None, *, clock_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self.path = cache_folder() / "artifacts.json" if path is None else path
        self._clock_ns = clock_ns
        self._known: dict[str, Any] | None = None
        self._new: dict[str, list[Any]] = {}

    def find(self, path: Path, status: os.stat_result) -> str | None:
        """Return the hex SHA-256 that *path* had in the state *status*."""
        if status.st_size < MIN_BYTES:
            return None
        if self._known is None:
            self._known = self._read()
        entry = self._known.get(_key(path))
        if not isinstance(entry, list) or entry[:-1] != _state(status):
            return None
        digest = entry[-1]
        return digest if isinstance(digest, str) and _HEX.fullmatch(digest) else None

    def remember(self, path: Path, status: os.stat_result, digest: str) -> None:
        """Keep *digest* for *path* in the state *status*, once that state has settled."""
        changed_ns = max(status.st_mtime_ns, status.st_ctime_ns)
        if status.st_size >= MIN_BYTES and self._clock_ns() - changed_ns > SETTLED_NS:
            self._new[_key(path)] = [*_state(status), digest]

    def save(self) -> None:
        """Write what is new, after what other processes wrote meanwhile; never raises OSError."""
        if not self._new:
            return
        entries = self._read()
        for key, entry in self._new.items():
            entries.pop(key, None)
            entries[key] = entry
        newest = dict(list(entries.items())[-MAX_ENTRIES:])
        self._known, self._new = newest, {}
        with contextlib.suppress(OSError):
            self._replace(orjson.dumps({"format": _FORMAT, "files": newest}))

    def _read(self) -> dict[str, Any]:
        try:
            stored = orjson.loads(self.path.read_bytes())
        except (OSError, orjson.JSONDecodeError):
            return {}
        if not isinstance(stored, dict) or stored.get("format") != _FORMAT:
            return {}
        files = stored.get("files")
        return files if isinstance(files, dict) else {}

    def _replace(self, body: bytes) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(dir=self.path.parent, prefix=self.path.name + ".")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(body)
            Path(partial).replace(self.path)
        except OSError:
            with contextlib.suppress(OSError):
                Path(partial).unlink()
            raise


def _key(path: Path) -> str:
    return os.fsencode(os.path.realpath(path)).decode("utf-8", "backslashreplace")


def _state(status: os.stat_result) -> list[int]:
    # The change time is kept too: a tool may set the modification time back, not this one.
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev]
