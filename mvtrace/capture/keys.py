"""The key of keyed digests: from the configuration, else made once for a spool directory.

In: a TracingConfig. Out: the key and its id, under which digests compare. A key that cannot be
stored lives as long as the process, so its digests compare within the process only.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import threading
from pathlib import Path
from typing import Final, NamedTuple

from mvtrace.capture.guard import fail_open
from mvtrace.capture.spool import open_private, private_directory
from mvtrace.config import TracingConfig

KEY_FILE: Final = "digest.key"
KEY_BYTES: Final = 32
KEY_ID_DIGITS: Final = 8
_OTHERS: Final = 0o077
"""Rights of a file that its owner does not need."""
PATIENCE_S: Final = 0.25
"""How long the first request of a process may wait for the disk to tell the key."""

_log: Final = logging.getLogger("mvtrace")


class DigestKey(NamedTuple):
    """A key and its public id."""

    key: bytes
    key_id: str

    def __repr__(self) -> str:
        return f"DigestKey(key_id={self.key_id!r})"


def digest_key(key: bytes) -> DigestKey:
    """Return *key* with its id: the first digits of its SHA-256."""
    return DigestKey(key, hashlib.sha256(key).hexdigest()[:KEY_ID_DIGITS])


def load_digest_key(config: TracingConfig) -> DigestKey:
    """Return the configured key, else that of the spool directory, made on first use."""
    if config.digest_key is not None:
        return digest_key(config.digest_key.encode())
    try:
        return digest_key(_stored_key(config.spool_dir))
    except OSError as error:
        _log.warning("The digest key of %s cannot be kept: %s", config.spool_dir, error)
        return digest_key(secrets.token_bytes(KEY_BYTES))


def load_in_time(config: TracingConfig, timeout_s: float = PATIENCE_S) -> DigestKey:
    """Return the key of *config*; one of the process's own if the disk does not answer in time."""
    if config.digest_key is not None:
        return load_digest_key(config)
    found: list[DigestKey] = []

    @fail_open
    def load() -> None:
        found.append(load_digest_key(config))

    thread = threading.Thread(target=load, name="mvtrace-key", daemon=True)
    try:
        thread.start()
    except RuntimeError:
        return load_digest_key(config)  # the interpreter is ending, or has too many threads
    thread.join(timeout_s)
    if found:
        return found[0]
    _log.warning("The digest key of %s cannot be read in %g s", config.spool_dir, timeout_s)
    return digest_key(secrets.token_bytes(KEY_BYTES))


def _stored_key(root: Path) -> bytes:
    path = root / KEY_FILE
    try:
        return _read_key(path)
    except FileNotFoundError:
        private_directory(root)
    fresh = root / f"{KEY_FILE}.{secrets.token_hex(8)}"
    with os.fdopen(open_private(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
        file.write(secrets.token_bytes(KEY_BYTES))
    try:
        os.link(fresh, path)  # never replaces: of two processes the first one's key stays
    except FileExistsError:
        pass
    finally:
        fresh.unlink()
    return _read_key(path)


def _read_key(path: Path) -> bytes:
    with os.fdopen(open_private(path, os.O_RDONLY), "rb") as file:
        if os.fstat(file.fileno()).st_uid != os.geteuid():
            raise PermissionError(f"{path} belongs to another user")
        if os.fstat(file.fileno()).st_mode & _OTHERS:
            _log.warning("%s was open to other users: its digests can be guessed by them", path)
            os.fchmod(file.fileno(), 0o600)
        key = file.read(KEY_BYTES + 1)
    if len(key) != KEY_BYTES:
        raise OSError(f"{path} has {len(key)} bytes instead of {KEY_BYTES}")
    return key
