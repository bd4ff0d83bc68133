"""Fingerprints of stores that give items by id, in whatever order they keep them.

In: all ids, and a function that reads items. Out: the fingerprint and how it was made: of all items
below the limits of mvtrace.components.fingerprint, above them of a sample chosen by a fixed mix of
the ids together with a sum over all ids. An item is its id and its fields: vectors, and what else a
search gives back (texts, metadata), since that shapes an answer too.
"""

from __future__ import annotations

import hashlib
import heapq
import json
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from mvtrace.components.fingerprint import (
    FULL_BYTES,
    FULL_ITEMS,
    METHOD_FULL,
    METHOD_SAMPLED,
    SAMPLE_ITEMS,
    combine,
    is_array,
    value_bytes,
)
from mvtrace.errors import CanonicalFormError

METHOD_NATIVE: Final = "native"
MAX_IDS: Final = 1_000_000
"""Choosing a sample looks at every id."""

Row = tuple[Any, Mapping[str, Any]]
"""An id, and the item's fields by name."""
_SUM_MODULUS: Final = 1 << 64
_SAID_AS_TEXT: Final = (date, time, timedelta, Decimal, UUID)


def is_small(size: int, row_bytes: int) -> bool:
    """Whether *size* items of about *row_bytes* each are few enough to be all hashed."""
    return size <= FULL_ITEMS and size * row_bytes <= FULL_BYTES


def fingerprint_of(
    ids: Sequence[Any], read: Callable[[Sequence[Any]], Iterable[Row]], *, row_bytes: int
) -> tuple[str, str]:
    """Return method and fingerprint of the items with *ids*; *read* gives those asked for.

    Raises:
        CanonicalFormError: an item has a field without content of its own.

    """
    if is_small(len(ids), row_bytes):
        return METHOD_FULL, of_rows(read(ids))
    chosen, total = _sample(ids)
    facts = {"count": len(ids), "ids": total, "sampled": True}
    return METHOD_SAMPLED, of_rows(read(chosen), **facts)


def of_rows(rows: Iterable[Row], **facts: object) -> str:
    """Return the fingerprint of *rows*, together with plain *facts* about them."""
    return combine(((key_bytes(key), fields_bytes(fields)) for key, fields in rows), **facts)


def key_bytes(key: Any) -> bytes:
    """Return the bytes of an id; a number and its digits as text are told apart."""
    if isinstance(key, int):
        return b"%d" % key
    return json.dumps(key if isinstance(key, str) else str(key)).encode()


def fields_bytes(fields: Mapping[str, Any]) -> bytes:
    """Return the bytes of an item's fields, each framed by its name and length."""
    framed = []
    for name in sorted(fields):
        raw = field_bytes(fields[name])
        framed.append(b"%b %d\n" % (json.dumps(name).encode(), len(raw)))
        framed.append(raw)
    return b"".join(framed)


def field_bytes(value: Any) -> bytes:
    """Return the bytes of a vector, text or metadata.

    Raises:
        CanonicalFormError: it has no content of its own.

    """
    if is_array(value) or isinstance(value, (bytes, bytearray, memoryview)):
        return value_bytes(value)
    if isinstance(value, (list, tuple)) and value and all(type(one) is float for one in value):
        return b"floats\n" + array("d", value).tobytes()
    return b"json\n" + json.dumps(value, sort_keys=True, default=_text).encode()


def _text(value: Any) -> Any:
    if isinstance(value, _SAID_AS_TEXT):
        return f"{type(value).__name__} {value}"
    if is_array(value) or isinstance(value, (bytes, bytearray, memoryview)):
        return value_bytes(value).hex()
    raise CanonicalFormError("$", f"{type(value).__name__} is not a JSON type.")


def _sample(ids: Sequence[Any]) -> tuple[list[Any], str]:
    """Return the ids of the sample, and a sum over all ids as hex digits."""
    mixed = [
        (int.from_bytes(hashlib.blake2b(key_bytes(key), digest_size=8).digest(), "big"), at)
        for at, key in enumerate(ids)
    ]
    total = sum(number for number, _ in mixed) % _SUM_MODULUS
    return [ids[at] for _, at in heapq.nsmallest(SAMPLE_ITEMS, mixed)], f"{total:016x}"
