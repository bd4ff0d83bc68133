"""Canonical bytes and digests: the laws, for generated values."""

from __future__ import annotations

import enum
import hashlib
from types import MappingProxyType
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from mvtrace.digest import (
    COMPONENT_DOMAIN,
    CONTENT_DOMAIN,
    MAX_SAFE_INTEGER,
    canonical_bytes,
    digest_of,
    keyed_digest,
    parse_canonical,
)
from mvtrace.errors import CanonicalFormError

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
SAFE = st.integers(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER)


def values(numbers: st.SearchStrategy[Any], keys: st.SearchStrategy[str]) -> Any:
    leaves = st.none() | st.booleans() | TEXTS | numbers
    return st.recursive(
        leaves, lambda inner: st.lists(inner) | st.dictionaries(keys, inner), max_leaves=20
    )


PLAIN = values(SAFE | FLOATS, TEXTS.filter(lambda key: not key.startswith("$")))
ANY = values(st.integers() | FLOATS, TEXTS | st.sampled_from(["$int", "$", "$$int", "$x"]))


@given(PLAIN)
def test_bytes_are_rfc_8785(value: Any) -> None:
    """
    Without tags and escapes, the bytes are those of RFC 8785.
    """
    assert canonical_bytes(value) == rfc8785.dumps(value)


@given(ANY)
def test_bytes_come_back(value: Any) -> None:
    """
    parse_canonical(canonical_bytes(v)) == v, for every value.
    """
    assert parse_canonical(canonical_bytes(value)) == value


@given(ANY)
def test_bytes_are_stable(value: Any) -> None:
    """
    What was read has the bytes it was read from.
    """
    body = canonical_bytes(value)

    assert canonical_bytes(parse_canonical(body)) == body


@given(st.dictionaries(TEXTS, SAFE))
def test_order_of_keys_does_not_matter(value: dict[str, int]) -> None:
    """
    A dict filled in another order has the same bytes.
    """
    assert canonical_bytes(dict(reversed(value.items()))) == canonical_bytes(value)


@given(ANY, ANY)
def test_other_values_have_other_bytes(first: Any, second: Any) -> None:
    """
    Two values have the same bytes only if they are equal.
    """
    if canonical_bytes(first) == canonical_bytes(second):
        assert first == second


def test_tuples_mappings_and_subclasses_are_their_plain_forms() -> None:
    """
    A tuple is a list, any mapping is an object, and an enumeration is its number.
    """

    class Level(enum.IntEnum):
        HIGH = 3

    value = MappingProxyType({"a": (1, 2), "b": Level.HIGH})

    assert canonical_bytes(value) == b'{"a":[1,2],"b":3}'


def circular() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            {"a": [1, float("nan")]},
            "Value at $.a[1] has no canonical form: nan is not a finite number.",
        ),
        (float("-inf"), "Value at $ has no canonical form: -inf is not a finite number."),
        ({"a": {1: 2}}, "Value at $.a has no canonical form: the key 1 is not text."),
        ({"a": {1, 2}}, "Value at $.a has no canonical form: set is not a JSON type."),
        (b"bytes", "Value at $ has no canonical form: bytes is not a JSON type."),
        (
            circular(),
            f"Value at ${'[0]' * 64} has no canonical form: it nests deeper than 64 levels.",
        ),
    ],
)
def test_value_without_canonical_form(value: object, message: str) -> None:
    """
    A value that JSON cannot hold is refused, with the place where it stands.
    """
    with pytest.raises(CanonicalFormError) as caught:
        canonical_bytes(value)

    assert str(caught.value) == message
    assert caught.value.hint == (
        "Use text, booleans, finite numbers, lists and dicts with text keys."
    )


@pytest.mark.parametrize("value", ["\ud800", ["a\udfff"], {"\ud800": 1}, {"$": "\ud800"}])
def test_lone_surrogate(value: object) -> None:
    """
    Text without a UTF-8 form is refused, in values and in keys.
    """
    with pytest.raises(CanonicalFormError):
        canonical_bytes(value)


def test_digest_is_of_domain_and_body() -> None:
    """
    A digest is plain SHA-256 over the domain line and the body; another domain, another digest.
    """
    expected = hashlib.sha256(b"mvtrace.component/1\n{}").hexdigest()

    assert digest_of(COMPONENT_DOMAIN, b"{}") == f"sha256:{expected}"
    assert digest_of(CONTENT_DOMAIN, b"{}") != digest_of(COMPONENT_DOMAIN, b"{}")


def test_keyed_digest_names_its_key() -> None:
    """
    A keyed digest differs by key, tells the key's id, and takes any text.
    """
    first = keyed_digest(b"one", "k1", "text")

    assert first.startswith("hmac-sha256:k1:")
    assert first != keyed_digest(b"two", "k1", "text")
    assert keyed_digest(b"one", "k1", "\ud800").startswith("hmac-sha256:k1:")
