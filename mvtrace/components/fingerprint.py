"""Content fingerprints of indexes: one digest over all items, whatever order they came in.

Each item's SHA-256 covers its id and value; the digests are added modulo 2^256, so the sum knows
neither order nor insertion history, and the sum is hashed under the domain ``mvtrace.index/1``.
It tells two contents apart; it is no proof against somebody who chooses vectors to collide.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable
from typing import Any, Final

from mvtrace.digest import canonical_bytes, digest_of
from mvtrace.errors import CanonicalFormError

INDEX_DOMAIN: Final = b"mvtrace.index/1\n"
ITEM_DOMAIN: Final = b"mvtrace.index-item/1\n"

FULL_ITEMS: Final = 10_000
"""Up to here every item is hashed: some twenty milliseconds."""
FULL_BYTES: Final = 64 * 1024 * 1024
SAMPLE_ITEMS: Final = 1_024
"""Above, this many are, chosen by a fixed mix of their ids."""

METHOD_FULL: Final = "full"
METHOD_SAMPLED: Final = "sampled"
METHOD_SERIALIZED: Final = "serialized"
METHOD_COUNTERS: Final = "counters"

_MODULUS = 1 << 256
_MIX_1 = 0x9E3779B97F4A7C15
_MIX_2 = 0xBF58476D1CE4E5B9


def item_digest(key: bytes, value: bytes) -> int:
    """Return the SHA-256 of one item as a number; *key* holds no line feed."""
    return int.from_bytes(hashlib.sha256(ITEM_DOMAIN + key + b"\n" + value).digest(), "big")


def combine(items: Iterable[tuple[bytes, bytes]], **facts: object) -> str:
    """Return the fingerprint of *items* (id and value), together with plain *facts* about them."""
    total = 0
    for key, value in items:
        total += item_digest(key, value)
    return digest_of(INDEX_DOMAIN, canonical_bytes({"sum": f"{total % _MODULUS:064x}", **facts}))


def array_bytes(row: Any) -> bytes:
    """Return type, shape and content of a NumPy array; equal arrays give equal bytes."""
    shape = "x".join(str(length) for length in row.shape)
    raw: bytes = row.tobytes()
    return f"array {row.dtype.str} {shape}\n".encode() + raw


def is_array(value: object) -> bool:
    """Whether *value* is a NumPy array or scalar, or looks like one."""
    return all(hasattr(value, name) for name in ("dtype", "shape", "tobytes"))


def mixed(ids: Any) -> Any:
    """Return a NumPy array of *ids* (64 bits) mixed by a fixed one-to-one function.

    The ids that come first in it are a sample that does not depend on when they were added.
    """
    word = ids.astype("uint64")
    number = word.dtype.type
    word = word * number(_MIX_1)
    word ^= word >> number(29)
    word *= number(_MIX_2)
    return word ^ (word >> number(32))


def sample_of(ids: Any) -> tuple[Any, str]:
    """Return the positions in *ids* of the sample, and a sum over all ids as hex digits."""
    word = mixed(ids)
    return word.argpartition(SAMPLE_ITEMS)[:SAMPLE_ITEMS], f"{int(word.sum()):016x}"


def spread(size: int) -> list[int]:
    """Return SAMPLE_ITEMS positions, evenly over *size*."""
    return sorted({at * size // SAMPLE_ITEMS for at in range(SAMPLE_ITEMS)})


def value_bytes(value: object) -> bytes:
    """Return the bytes of a vector or document.

    Raises:
        CanonicalFormError: it is neither array, bytes, dataclass nor JSON value.

    """
    if is_array(value):
        if getattr(value, "dtype").hasobject:  # noqa: B009 (an array of a library not imported here)
            raise CanonicalFormError("$", "an array of objects is not a JSON type.")
        return array_bytes(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return b"bytes\n" + bytes(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    return b"json\n" + canonical_bytes(value)
