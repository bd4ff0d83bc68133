"""What the processes of one service tell each other of its slots: a small file in the spool folder.

In: the slots one process knows. Out: those of all, merged under a lock, so that workers settle on
one version whatever requests each of them gets, and a restart knows what was known. The file holds
component bodies as they are registered, and no content.

Format: JSON ``{"slots": [{"kind", "name", "digest", "body", "changed_at", "seen_at", …}]}``, with
``body`` as canonical text; ``digest`` and ``body`` are absent where the slot holds nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import orjson

from mvtrace.capture.observed_slots import Known, Slot, Slots
from mvtrace.components.component import Component
from mvtrace.digest import digest_of
from mvtrace.errors import ComponentError

FOLDER: Final = "observed"
MAX_FILE_BYTES: Final = 64 << 20
"""A file that is larger is not ours, or broken: it is read no further."""
_DOMAIN: Final = b"mvtrace.observed-file/1\n"


class ObservedFile:
    """The file of one service and environment."""

    def __init__(self, spool_dir: Path, service: str | None, environment: str | None) -> None:
        name = digest_of(_DOMAIN, orjson.dumps([service, environment])).removeprefix("sha256:")
        self._folder = spool_dir / FOLDER
        self.path = self._folder / f"{name[:32]}.json"
        self._seen: tuple[int, int] | None = None

    def changed(self) -> bool:
        """Whether somebody wrote the file since it was read here."""
        return self._state() != self._seen

    def read(self, slots: Slots) -> bool:
        """Let *slots* adopt what the file says; returns whether anything became different."""
        self._seen = self._state()
        differs = False
        for slot, known in _parsed(self._bytes()):
            differs = slots.adopt(slot, known) or differs
        return differs

    def exchange(self, slots: Slots, now: float) -> bool:
        """Merge *slots* with the file, both ways; returns whether *slots* became different.

        Raises:
            OSError: the file cannot be written.

        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(self.path.with_suffix(".lock")):
            differs = self.read(slots)
            differs = slots.forget(now) or differs
            temporary = self.path.with_suffix(f".{os.getpid()}.tmp")
            try:
                temporary.write_bytes(_written(slots))
                temporary.replace(self.path)
            finally:
                temporary.unlink(missing_ok=True)
            self._seen = self._state()
        return differs

    def _state(self) -> tuple[int, int] | None:
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_ino

    def _bytes(self) -> bytes:
        try:
            with self.path.open("rb") as file:
                found = file.read(MAX_FILE_BYTES + 1)
        except OSError:
            return b""
        return found if len(found) <= MAX_FILE_BYTES else b""


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _written(slots: Slots) -> bytes:
    listed = []
    for (kind, name), known in slots.items():
        entry: dict[str, Any] = {
            "kind": kind,
            "name": name,
            "changed_at": known.changed_at,
            "seen_at": known.seen_at,
            "volatile": known.is_volatile,
            "recent": known.recent,
        }
        if known.component is not None:
            entry |= {"digest": known.component.digest, "body": known.component.body.decode()}
        listed.append(entry)
    return orjson.dumps({"slots": listed})


def _parsed(data: bytes) -> Iterator[tuple[Slot, Known]]:
    """Yield what *data* says of each slot; what is damaged is left out."""
    try:
        entries = orjson.loads(data)["slots"] if data else []
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return
    for entry in entries if isinstance(entries, list) else ():
        with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError, ComponentError):
            yield (str(entry["kind"]), str(entry["name"])), _known(entry)


def _known(entry: dict[str, Any]) -> Known:
    component = None
    if "body" in entry and not entry["volatile"]:
        # Its constructor hashes the body: a damaged entry is no component.
        component = Component(
            kind=entry["kind"],
            name=entry["name"],
            digest=entry["digest"],
            body=entry["body"].encode(),
        )
    known = Known(component, float(entry["changed_at"]), float(entry["seen_at"]))
    known.is_volatile = bool(entry["volatile"])
    known.recent = {str(one): float(at) for one, at in entry["recent"].items()}
    return known
