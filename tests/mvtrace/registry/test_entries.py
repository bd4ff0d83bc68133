"""Entries and refs: what names a thing of the registry, and the bytes it is named by."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvtrace.digest import ENTRY_DOMAIN, digest_of
from mvtrace.registry.entries import MAX_ENTRY_BYTES, entry_of, read_entries, read_entry
from mvtrace.registry.errors import RegistryError
from mvtrace.registry.refs import KINDS, Ref
from mvtrace.semconv import ENTRY_DIGEST, ENTRY_KIND, EVENT_ENTRY

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | TEXTS
    | st.floats(allow_nan=False, allow_infinity=False, width=32),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.from_regex(r"[a-z]{1,6}", fullmatch=True), VALUES, max_size=4))
def test_an_entry_is_its_bytes(said: dict[str, object]) -> None:
    """
    What is read from an entry's bytes is the entry, under the digest of these bytes.
    """
    said.pop("name", None)
    entry = entry_of("dataset", said)

    assert read_entry(entry.body) == entry
    assert entry.digest == digest_of(ENTRY_DOMAIN, entry.body)
    assert (entry.said["kind"], entry.said["schema_version"]) == ("dataset", 1)


def test_an_entry_travels_as_one_event() -> None:
    """
    The event has the body, and the digest and kind as attributes.
    """
    entry = entry_of("suite", {"name": "billing", "examples": {"count": 3}})

    (event,) = entry.events()

    assert (event.name, event.body) == (EVENT_ENTRY, entry.body.decode())
    assert event.attributes == {ENTRY_DIGEST: entry.digest, ENTRY_KIND: "suite"}
    assert (entry.name, str(entry.ref)) == ("billing", f"suite:{entry.digest[7:]}")


@pytest.mark.parametrize(
    ("kind", "said", "message"),
    [
        ("thing", {}, "A thing cannot be registered: a kind is one of artifact, certificate, "),
        ("suite", {"name": "a\nb"}, "A suite cannot be registered: its name is one line "),
        ("suite", {"x": float("nan")}, "A suite cannot be registered: Value at $.x has no "),
        ("suite", {"x": "y" * MAX_ENTRY_BYTES}, "A suite cannot be registered: it takes 196,"),
    ],
    ids=["kind", "name", "value", "size"],
)
def test_what_is_no_entry_is_refused(kind: str, said: dict[str, object], message: str) -> None:
    """
    What has no kind, no name of one line, no canonical form or too many bytes becomes no entry.
    """
    with pytest.raises(RegistryError) as refusal:
        entry_of(kind, said)

    assert refusal.value.message.startswith(message)


@given(
    st.sampled_from([kind for kind in KINDS if kind != "request"]),
    st.binary(min_size=32, max_size=32),
)
def test_a_ref_is_its_text(kind: str, digest: bytes) -> None:
    """
    A ref is read back from its text, with sha256: before the digits or without.
    """
    ref = Ref(kind, digest.hex())

    assert Ref.parse(str(ref)) == ref == Ref.parse(f"{kind}:sha256:{digest.hex().upper()}")


@pytest.mark.parametrize(
    "text", ["", "dataset", "dataset:12", "thing:" + "0" * 64, "request:" + "0" * 64]
)
def test_what_is_no_ref_is_refused(text: str) -> None:
    """
    A text that names no kind, or has not all digits, is no ref.
    """
    with pytest.raises(ValueError, match="is no ref"):
        Ref.parse(text)


@pytest.mark.parametrize(
    "body",
    [
        "[]",
        '{"kind":"suite"}',
        '{"kind":"suite","schema_version":1,"x":{"$int":"x"}}',
        '{"kind":"suite","schema_version":1,"x":' + "[" * 70 + "]" * 70 + "}",
    ],
    ids=["list", "version", "integer", "depth"],
)
def test_an_entry_that_cannot_be_read_hides_no_other(body: str) -> None:
    """
    What an entry says can be read whole or it is none, and of several the others remain.
    """
    entry = entry_of("suite", {"name": "billing"})

    with pytest.raises(ValueError):
        read_entry(body)
    assert list(read_entries([body, entry.body])) == [entry]
