"""Texts of a request on their way out: as events, treated before anything is on the disk."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvtrace import semconv
from mvtrace.capture.privacy import (
    MAX_TEXT_BYTES,
    PIECE_BYTES,
    Held,
    Privacy,
    Text,
    bound_to,
    subject_digest,
)
from mvtrace.capture.privacy_keys import (
    Sealed,
    SubjectKeys,
    new_key,
    opened,
    parse_master_key,
    sealed,
    unwrapped,
)
from mvtrace.capture.privacy_rules import rules_of
from mvtrace.digest import keyed_digest
from mvtrace.errors import CheckFailedError, ConfigurationError
from mvtrace.ids import new_request_id
from mvtrace.otlp import LogEvent

MASTER = bytes(range(32))
REQUEST = new_request_id()


def digest(text: str) -> str:
    return keyed_digest(b"k" * 32, "00000000", text)


def held(*texts: str, subject: str | None = None) -> Held:
    named = subject_digest(digest, subject) if subject else None
    return Held(REQUEST, named, tuple(Text(f"kind/{n}", t, digest(t)) for n, t in enumerate(texts)))


def full(**options: float) -> Privacy:
    return Privacy(rules_of(is_personal=False), SubjectKeys(MASTER, **options), digest)


def payloads(events: Iterable[LogEvent]) -> list[dict[str, object]]:
    return [json.loads(event.body) for event in events if event.name == semconv.EVENT_PAYLOAD]


def key_events(events: Iterable[LogEvent]) -> list[LogEvent]:
    return [event for event in events if event.name == semconv.EVENT_PAYLOAD_KEY]


def test_redacted_text_is_in_the_event() -> None:
    """
    What the rules leave goes out as it is, with the digest of what was and what was done to it.
    """
    privacy = Privacy(rules_of(is_personal=True), None, digest)

    [said] = payloads(privacy.events(held("mail a@b.org"), Counter({"secret-key": 2})))

    assert base64.b64decode(str(said["body"])) == b"mail [email]"
    assert said["digest"] == digest("mail a@b.org")
    assert said["redactions"] == {"email": 1, "secret-key": 2}
    assert (said["mode"], said["key_id"], said["pieces"]) == ("redacted", "", 1)


@given(st.text(max_size=300))
def test_sealed_text_opens_in_its_own_place_only(text: str) -> None:
    """
    A ciphertext opens under its key for its request, kind, subject and digest, and for no other.
    """
    events = list(full().events(held(text, subject="s")))
    [said], [key_event] = payloads(events), key_events(events)
    subject, key_id = str(said["subject"]), str(said["key_id"])
    wrapped = base64.b64decode(key_event.body)
    key = unwrapped(MASTER, key_id=key_id, subject=subject, wrapped=wrapped)
    closed = Sealed(base64.b64decode(str(said["nonce"])), base64.b64decode(str(said["body"])))

    about = bound_to(REQUEST, "kind/0", subject, digest(text))
    plain = opened(key, closed, about=about)

    assert plain == rules_of(is_personal=False).redact(text).text.encode("utf-8", "replace")
    for other in (
        bound_to(new_request_id(), "kind/0", subject, digest(text)),
        bound_to(REQUEST, "kind/1", subject, digest(text)),
    ):
        with pytest.raises(CheckFailedError):
            opened(key, closed, about=other)


def test_wrong_master_key_opens_nothing() -> None:
    """
    A wrapped key opens under its own master key, id and subject only.
    """
    key = new_key(MASTER, "s")

    assert unwrapped(MASTER, key_id=key.id, subject="s", wrapped=key.wrapped) == key.key
    for master, key_id, subject in (
        (bytes(32), key.id, "s"),
        (MASTER, "0" * 16, "s"),
        (MASTER, key.id, "t"),
    ):
        with pytest.raises(CheckFailedError):
            unwrapped(master, key_id=key_id, subject=subject, wrapped=key.wrapped)
    with pytest.raises(CheckFailedError):
        opened(key.key, Sealed(b"", b""), about=b"")
    assert "key" not in repr(key).partition("(")[2].replace(key.id, "")


def test_one_key_a_subject_for_a_while() -> None:
    """
    Requests of one subject share a data key until it is old; another subject has its own.
    """
    keys = SubjectKeys(MASTER)
    old = SubjectKeys(MASTER, max_age_s=0.0)

    assert keys.key_of("a") is keys.key_of("a")
    assert keys.key_of("a").key != keys.key_of("b").key
    assert old.key_of("a").key != old.key_of("a").key


def test_request_without_subject_is_its_own() -> None:
    """
    Without a subject each request has a key of its own, under the digest of its id.
    """
    [said] = payloads(full().events(held("x")))

    assert said["subject"] == subject_digest(digest, REQUEST)


def test_span_that_comes_later_belongs_to_the_subject_of_its_request() -> None:
    """
    Once a request's subject was named, what comes without one is under the same key.
    """
    privacy = full()

    [first] = payloads(privacy.events(held("x", subject="s")))
    [later] = payloads(privacy.events(held("y")))

    assert (later["subject"], later["key_id"]) == (first["subject"], first["key_id"])


def test_long_text_goes_in_pieces_and_is_cut_at_its_limit() -> None:
    """
    No event holds more than a piece, and of a text beyond the limit the beginning is kept.
    """
    privacy = Privacy(rules_of(is_personal=False), None, digest)

    found = payloads(privacy.events(held("ä" * MAX_TEXT_BYTES)))

    bodies = [base64.b64decode(str(one["body"])) for one in found]
    assert max(map(len, bodies)) == PIECE_BYTES
    assert b"".join(bodies).decode() == "ä" * (MAX_TEXT_BYTES // 2)
    assert [one["piece"] for one in found] == list(range(len(found)))
    assert {one["is_cut"] for one in found} == {True}


def test_secret_keys_of_a_span_are_left_out() -> None:
    """
    Of a span's content what stands under a denied key is counted and not kept.
    """
    report: Counter[str] = Counter()
    taken = [("http.request.header.authorization", "Bearer x"), ("input.value", "why?")]

    text = full().text_of_span(b"s" * 8, taken, report)

    assert text is not None
    assert json.loads(text.text) == {"input.value": "why?"}
    assert report == {"secret-key": 1}
    assert full().text_of_span(b"s" * 8, taken[:1], report) is None


@pytest.mark.parametrize("text", ["", "short", "zz" * 32, "=" * 44])
def test_master_key_that_cannot_be(text: str) -> None:
    """
    A master key that is not 32 bytes as hex or base64 is refused, and never shown.
    """
    with pytest.raises(ConfigurationError) as caught:
        parse_master_key(text)

    assert text not in caught.value.message or not text


def test_master_key_in_both_forms() -> None:
    """
    Hex and base64 of the same bytes are the same key.
    """
    assert parse_master_key(MASTER.hex()) == MASTER
    assert parse_master_key(base64.b64encode(MASTER).decode()) == MASTER
    assert sealed(MASTER, b"x", about=b"").nonce != sealed(MASTER, b"x", about=b"").nonce
