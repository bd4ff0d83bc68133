"""What the collector says of a service's rollout, and the file that remembers it.

In: the collector's answer, or a file in the spool folder that holds the last one. Out: ``Told``. A
server that starts while the collector is down goes by the file: its units stay on their sides. What
cannot be an answer, from either, is refused whole.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from mvtrace.capture.arms import KnownVersion
from mvtrace.capture.assigning import MAX_ID
from mvtrace.capture.spool import open_private, private_directory
from mvtrace.digest import digest_of

FOLDER: Final = "rollouts"
MAX_BYTES: Final = 1 << 18
MAX_KINDS: Final = 64
_DOMAIN: Final = b"mvtrace.rollout-file/1\n"
_VERSION: Final = re.compile(r"[0-9a-f]{64}")


class Told(NamedTuple):
    """What is in force for one service in one environment."""

    stable: KnownVersion | None
    canary: KnownVersion | None = None
    rollout: str | None = None
    """The id of the rollout that runs; None: none does."""
    share: float = 0.0
    named: Mapping[str, KnownVersion | None] = {}
    """What the versions are that were asked for by digits or by name; None: nobody knows."""


def parsed(data: bytes) -> Told:
    """Return what *data* says.

    Raises:
        ValueError: it is no such answer.
    """
    if len(data) > MAX_BYTES:
        raise ValueError(f"over {MAX_BYTES} bytes")
    said = orjson.loads(data)
    if not isinstance(said, dict) or not {"stable", "rollout"} <= said.keys():
        raise ValueError("nothing is said of what serves")
    named = {text: _known(one) for text, one in _object(said.get("named", {})).items()}
    stable, running = _known(said["stable"]), said["rollout"]
    if running is None:
        return Told(stable, named=named)
    return Told(stable, *_running(_object(running)), named)


def _running(said: Mapping[str, Any]) -> tuple[KnownVersion, str, float]:
    found, share, canary = said.get("id"), said.get("share"), _known(said.get("canary"))
    if not isinstance(found, str) or not 0 < len(found) <= MAX_ID or not found.isprintable():
        raise ValueError("the id of the rollout is none")
    if canary is None:
        raise ValueError("the rollout has no canary")
    if not isinstance(share, (int, float)) or isinstance(share, bool) or not 0 <= share <= 1:
        raise ValueError("the rollout has no share")
    return canary, found, float(share)


def _known(said: Any) -> KnownVersion | None:
    if said is None:
        return None
    facts = _object(said)
    version, name, kinds = facts.get("version"), facts.get("name", ""), facts.get("kinds", [])
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        raise ValueError("a version has 64 hex digits")
    is_plain = isinstance(kinds, list) and all(isinstance(one, str) for one in kinds[:MAX_KINDS])
    if not isinstance(name, str) or not is_plain:
        raise ValueError("a version has a name and kinds")
    return KnownVersion(version, name, tuple(kinds[:MAX_KINDS]))


def _object(said: Any) -> dict[str, Any]:
    if isinstance(said, dict):
        return said
    raise ValueError(f"{type(said).__name__} for an object")


class RolloutFile:
    """The last answer for one question to one collector; a file that nobody else may read."""

    def __init__(self, spool_dir: Path, question: Sequence[str | None]) -> None:
        digits = digest_of(_DOMAIN, orjson.dumps(list(question))).removeprefix("sha256:")
        self._folder = spool_dir / FOLDER
        self.path = self._folder / f"{digits[:32]}.json"

    def read(self) -> bytes:
        """Return the last answer; nothing where there is none."""
        try:
            with os.fdopen(open_private(self.path, os.O_RDONLY), "rb") as file:
                return file.read(MAX_BYTES + 1)
        except OSError:
            return b""

    def write(self, data: bytes) -> None:
        """Keep *data* in place of what there was, whole or not at all.

        Raises:
            OSError: it cannot be kept.
        """
        private_directory(self._folder.parent)
        private_directory(self._folder)
        fresh = self.path.with_suffix(f".{os.getpid()}.tmp")
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            with os.fdopen(open_private(fresh, flags), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self.path)
        finally:
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)
