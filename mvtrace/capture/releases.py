"""Which dated release first answered for a declared alias, of each composite version.

In: a version, the slot of one of its models, and the release that a provider says it served. Out:
the release that was the first. What is declared as ``large`` may be served as ``large-2026-08-01``:
that is the same model, until the alias is moved to another release. What was first is kept in the
spool folder, so that workers of a service and its next processes agree; a thread writes it there,
so that a request waits for no disk.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from pathlib import Path
from typing import Final

import orjson

from mvtrace.capture.guard import fail_open
from mvtrace.digest import digest_of

FOLDER: Final = "releases"
MAX_KEPT: Final = 500
"""Models of versions that are remembered, the newest."""
MAX_FILE_BYTES: Final = 1 << 20
_DOMAIN: Final = b"mvtrace.releases-file/1\n"


class Releases:
    """What one process knows of a service in its environment; for any thread."""

    def __init__(self, spool_dir: Path, service: str | None, environment: str | None) -> None:
        name = digest_of(_DOMAIN, orjson.dumps([service, environment])).removeprefix("sha256:")
        self._folder = spool_dir / FOLDER
        self._path = self._folder / f"{name[:32]}.json"
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._known = self._read()

    def first(self, version: str, slot: str, served: str) -> str:
        """Return the release that first answered for *slot* of *version*: *served*, if none did."""
        key = f"{version} {slot}"
        known = self._known.get(key)
        if known is not None:
            return known
        with self._lock:
            first = self._known.setdefault(key, served)
        threading.Thread(target=self._keep, name="mvtrace-releases", daemon=True).start()
        return first

    @fail_open
    def _keep(self) -> None:
        # A disk that is full or gone is no error of ours: this process goes by what it knows.
        with contextlib.suppress(OSError):
            self.exchange()

    def exchange(self) -> None:
        """Merge what is known with the file, both ways; what the file says was there first.

        Raises:
            OSError: the file cannot be written.

        """
        with self._writing:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                merged = dict(list((self._known | self._read()).items())[-MAX_KEPT:])
                temporary = self._path.with_suffix(f".{os.getpid()}.tmp")
                temporary.write_bytes(orjson.dumps(merged))
                temporary.replace(self._path)
            finally:
                os.close(descriptor)
            with self._lock:  # what came meanwhile is written by a thread of its own
                self._known = self._known | merged

    def _read(self) -> dict[str, str]:
        try:
            with self._path.open("rb") as file:
                found = orjson.loads(file.read(MAX_FILE_BYTES))
        except (OSError, orjson.JSONDecodeError):
            return {}
        if not isinstance(found, dict):
            return {}
        return {key: value for key, value in found.items() if isinstance(value, str)}
