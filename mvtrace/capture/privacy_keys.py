"""Keys of encrypted content: one master key that never leaves, a data key for each person.

In: ``MVTRACE_PAYLOAD_KEY`` (or a file) and a subject's digest. Out: a data key for AES-256-GCM, and
the same wrapped by the master key, for the collector's key store; that is apart from the data, so
that a copy of the data is unreadable once the wrapped key is destroyed. A process makes its own
data keys and takes new ones after KEY_AGE_S. ``cryptography`` is an extra and imported at use.
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
import stat
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any, Final, NamedTuple

from mvtrace.errors import CheckFailedError, ConfigurationError

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
KEY_AGE_S: Final = 3600.0
_OTHERS: Final = 0o077
_MAX_FILE: Final = 4096
MAX_SUBJECTS: Final = 4096
"""Data keys that are remembered; the one used longest ago is forgotten first."""


class DataKey(NamedTuple):
    """A data key: its id, itself, and as the key store may hold it."""

    id: str
    key: bytes
    wrapped: bytes
    made_ms: int

    def __repr__(self) -> str:
        return f"DataKey({self.id!r})"


class Sealed(NamedTuple):
    """An encrypted text."""

    nonce: bytes
    ciphertext: bytes


class SubjectKeys:
    """The data keys this process encrypts with; for one thread."""

    def __init__(self, master: bytes, *, max_age_s: float = KEY_AGE_S) -> None:
        self._master = master
        self._max_age_s = max_age_s
        self._keys: OrderedDict[str, tuple[DataKey, float]] = OrderedDict()

    def key_of(self, subject: str) -> DataKey:
        """Return the data key of *subject*, a new one where there is none that is young enough."""
        found = self._keys.get(subject)
        if found is not None and time.monotonic() - found[1] < self._max_age_s:
            self._keys.move_to_end(subject)
            return found[0]
        made = new_key(self._master, subject)
        self._keys[subject] = (made, time.monotonic())
        self._keys.move_to_end(subject)
        while len(self._keys) > MAX_SUBJECTS:
            self._keys.popitem(last=False)
        return made


def new_key(master: bytes, subject: str) -> DataKey:
    """Return a new data key of *subject*, wrapped by *master*."""
    key = secrets.token_bytes(KEY_BYTES)
    key_id = secrets.token_hex(8)
    nonce = secrets.token_bytes(NONCE_BYTES)
    wrapped = nonce + _cipher(master).encrypt(nonce, key, _bound(key_id, subject))
    return DataKey(key_id, key, wrapped, time.time_ns() // 1_000_000)


def unwrapped(master: bytes, *, key_id: str, subject: str, wrapped: bytes) -> bytes:
    """Return the data key that *wrapped* holds.

    Raises:
        CheckFailedError: *master* is another one, or the bytes are not what was wrapped.
    """
    return _opened(
        master, wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], about=_bound(key_id, subject)
    )


def sealed(key: bytes, text: bytes, *, about: bytes) -> Sealed:
    """Return *text* encrypted; *about* is bound to it and has to be the same at opening."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    return Sealed(nonce, _cipher(key).encrypt(nonce, text, about))


def opened(key: bytes, closed: Sealed, *, about: bytes) -> bytes:
    """Return the text of *closed*.

    Raises:
        CheckFailedError: the key is another one, or the bytes were changed.
    """
    return _opened(key, closed.nonce, closed.ciphertext, about=about)


def _opened(key: bytes, nonce: bytes, ciphertext: bytes, *, about: bytes) -> bytes:
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415 (an extra)

    try:
        return bytes(_cipher(key).decrypt(nonce, ciphertext, about))
    except (InvalidTag, ValueError) as error:
        raise CheckFailedError(
            "The content cannot be decrypted: another MVTRACE_PAYLOAD_KEY, or damaged bytes."
        ) from error


def _bound(key_id: str, subject: str) -> bytes:
    return f"mvtrace.payload-key/1\n{key_id}\n{subject}".encode()


def _cipher(key: bytes) -> Any:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 (an extra)

    return AESGCM(key)


def parse_master_key(text: str) -> bytes:
    """Return the master key written as 64 hex digits or as base64 of 32 bytes.

    Raises:
        ConfigurationError: it is neither.
    """
    plain = text.strip()
    try:
        key = bytes.fromhex(plain) if len(plain) == 2 * KEY_BYTES else _base64(plain)
    except (ValueError, binascii.Error):
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigurationError(
            "payload_key",
            "***",
            "it is 32 random bytes as hex or base64",
            hint="Make one with: python -c 'import secrets; print(secrets.token_hex(32))'",
        )
    return key


def _base64(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


def _private_text(path: Path) -> str:
    """Return the text of a file that nobody but its owner may read.

    As ssh has it: somebody else's file is somebody else's to keep (a mounted secret is root's).

    Raises:
        ConfigurationError: it is this user's own, and others may read or change it.
    """
    with path.open("rb") as file:
        found = os.fstat(file.fileno())
        mode = stat.S_IMODE(found.st_mode)
        if found.st_uid == os.geteuid() and mode & _OTHERS:
            raise ConfigurationError(
                "payload_key_file",
                str(path),
                f"others may read or change it (mode {mode:04o})",
                hint=f"chmod 600 {path}",
            )
        return file.read(_MAX_FILE).decode("ascii")


def read_master_key(text: str | None, path: Path | None) -> bytes | None:
    """Return the master key of the variable *text*, else of the file at *path*; None without both.

    Raises:
        ConfigurationError: it cannot be read.
    """
    if text is not None:
        return parse_master_key(text)
    if path is None:
        return None
    try:
        return parse_master_key(_private_text(path))
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            "payload_key_file", str(path), f"it cannot be read: {error}"
        ) from error
