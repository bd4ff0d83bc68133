"""Canonical bytes and the digests over them: the identity of everything mvtrace names.

In: plain values (None, bool, int, float, str, list/tuple, dict with text keys). Out: RFC 8785 JSON
bytes, and SHA-256 over a domain line plus these bytes. Integers beyond ±(2^53-1) become tagged
decimal strings, NaN and infinity are refused, text is never normalized. The form is written down
for other languages in ``schemas/canonical/README.md``, with test vectors.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, Final

import orjson
import rfc8785

from mvtrace.errors import CanonicalFormError

COMPONENT_DOMAIN: Final = b"mvtrace.component/1\n"
COMPOSITE_DOMAIN: Final = b"mvtrace.composite/1\n"
CONTENT_DOMAIN: Final = b"mvtrace.content/1\n"
ARTIFACT_DOMAIN: Final = b"mvtrace.artifact/1\n"
ENTRY_DOMAIN: Final = b"mvtrace.entry/1\n"
RECORD_DOMAIN: Final = b"mvtrace.record/1\n"
SOURCE_DOMAIN: Final = b"mvtrace.source/1\n"

MAX_SAFE_INTEGER: Final = 2**53 - 1
INTEGER_TAG: Final = "$int"
MAX_DEPTH: Final = 64
"""Deeper values are refused: no component needs more, and every reader is safe from recursion."""

_AS_THEY_ARE: Final = frozenset({str, bool, int, type(None)})
_SORTED_AND_SAFE: Final = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER
_MIN_PLAIN: Final = 1e-4
_MAX_PLAIN: Final = 1e15
"""Between these, ECMAScript prints a number that is not whole by its shortest digits, as orjson."""


class NeedsFullForm(Exception):  # noqa: N818 (no error: the long way has to be taken)
    """orjson may write other bytes than RFC 8785 wants, or cannot write them."""


def canonical_bytes(value: object) -> bytes:
    """Return the RFC 8785 form of *value*, with the integer tagging described above.

    orjson with sorted keys writes the same bytes ten times faster where no key is outside ASCII and
    no number needs ECMAScript's formatting, so it does where that is known to hold.

    Raises:
        CanonicalFormError: *value* holds something that JSON cannot, or a lone surrogate.

    """
    try:
        return dump_plain(orjson_form(value))
    except NeedsFullForm:
        pass
    try:
        return rfc8785.dumps(_tagged(value, "$", 0))
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, RecursionError) as error:
        raise CanonicalFormError("$", str(error)) from error


def dump_plain(form: object) -> bytes:
    """Return the canonical bytes of *form*, which orjson_form has made.

    Raises:
        NeedsFullForm: it holds a lone surrogate or an integer beyond MAX_SAFE_INTEGER.
    """
    try:
        return orjson.dumps(form, option=_SORTED_AND_SAFE)
    except TypeError as error:
        raise NeedsFullForm from error


def orjson_form(value: object, depth: int = 0) -> Any:
    """Return what orjson has to be given to write *value* in its RFC 8785 form, byte for byte.

    Integers may be beyond what is safe still: dump_plain finds them without looking twice.

    Raises:
        NeedsFullForm: orjson cannot, or it is not known that it can.
    """
    kind = type(value)
    if kind in _AS_THEY_ARE:
        return value
    if kind is float:
        return _number_form(value)  # type: ignore[arg-type]
    if depth >= MAX_DEPTH:
        raise NeedsFullForm
    if kind is dict:
        form = {}
        for key, item in value.items():  # type: ignore[attr-defined]
            if type(key) is not str or not key.isascii() or key[:1] == "$":
                raise NeedsFullForm
            form[key] = item if type(item) is str else orjson_form(item, depth + 1)
        return form
    if kind is list or kind is tuple:
        return [orjson_form(item, depth + 1) for item in value]  # type: ignore[attr-defined]
    raise NeedsFullForm


def _number_form(value: float) -> float | int:
    size = abs(value)
    if size <= MAX_SAFE_INTEGER and value % 1 == 0:
        return int(value)  # ECMAScript prints whole numbers without a point, and no sign of zero
    if _MIN_PLAIN <= size < _MAX_PLAIN:
        return value
    raise NeedsFullForm


def digest_of(domain: bytes, body: bytes) -> str:
    """Return ``sha256:<hex>`` over *domain* and *body*; in SQL ``SHA256(concat(domain, body))``."""
    return "sha256:" + hashlib.sha256(domain + body).hexdigest()


def keyed_digest(key: bytes, key_id: str, text: str) -> str:
    """Return ``hmac-sha256:<key id>:<hex>`` of *text*.

    A plain digest of a short prompt can be reversed by guessing; a keyed one only with the key, and
    two compare only under the same key id.
    """
    mac = hmac.digest(key, text.encode("utf-8", "surrogatepass"), "sha256").hex()
    return f"hmac-sha256:{key_id}:{mac}"


def parse_canonical(body: bytes | str) -> Any:
    """Return the value of canonical bytes, tagged integers resolved; inverse of canonical_bytes.

    Raises:
        ValueError: *body* is not JSON, nests too deep, or tags as an integer what is none.
    """
    return _untagged(orjson.loads(body), 0)


def _tagged(value: object, path: str, depth: int) -> Any:
    """Return *value* as rfc8785 takes it: large integers tagged, keys checked."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return value if abs(value) <= MAX_SAFE_INTEGER else {INTEGER_TAG: str(int(value))}
    if isinstance(value, float):
        return _finite(value, path)
    if depth >= MAX_DEPTH and isinstance(value, (Mapping, list, tuple)):
        raise CanonicalFormError(path, f"it nests deeper than {MAX_DEPTH} levels.")
    if isinstance(value, Mapping):
        return {
            _escaped_key(key, path): _tagged(item, f"{path}.{key}", depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_tagged(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(value)]
    raise CanonicalFormError(path, f"{type(value).__name__} is not a JSON type.")


def _finite(value: float, path: str) -> float:
    if value != value or value in (float("inf"), float("-inf")):  # noqa: PLR0124 (NaN)
        raise CanonicalFormError(path, f"{value} is not a finite number.")
    return float(value)


def _escaped_key(key: object, path: str) -> str:
    """Return *key* so that no dict of a caller can look like a tagged integer."""
    if not isinstance(key, str):
        raise CanonicalFormError(path, f"the key {key!r} is not text.")
    return "$" + key if key.startswith("$") else key


def _untagged(value: Any, depth: int) -> Any:
    if isinstance(value, dict) and len(value) == 1 and INTEGER_TAG in value:
        return _tagged_integer(value[INTEGER_TAG])
    if depth >= MAX_DEPTH and isinstance(value, (dict, list)):
        raise ValueError(f"it nests deeper than {MAX_DEPTH} levels")
    if isinstance(value, dict):
        return {key.removeprefix("$"): _untagged(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_untagged(item, depth + 1) for item in value]
    if type(value) is int and abs(value) > MAX_SAFE_INTEGER:
        # RFC 8785 prints large floats without a point; large integers are tagged.
        return float(value)
    return value


def _tagged_integer(text: object) -> int:
    if not isinstance(text, str):
        raise ValueError(f"{INTEGER_TAG} is not followed by digits")  # noqa: TRY004 (of the input)
    return int(text)
