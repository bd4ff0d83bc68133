"""RequestRecord and its parts: values that travel as canonical bytes and come back equal."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import plain, records

from mvtrace import records as records_module
from mvtrace.capture.budget import MAX_RECORD_BYTES, fitted
from mvtrace.digest import canonical_bytes
from mvtrace.records import (
    Call,
    Candidate,
    CaptureReport,
    IndexSnapshot,
    RequestRecord,
    RetrievedDocument,
    RouterDecision,
    UnixNano,
    Value,
)

PARTS = [
    item
    for item in vars(records_module).values()
    if isinstance(item, type) and issubclass(item, Value) and item is not Value
]
SMALLEST = RequestRecord(
    request_id="01900000-0000-7000-8000-000000000000",
    revision=1,
    state="started",
    producer_id="p",
    sequence=1,
    started_at=UnixNano(1_700_000_000_000_000_001),
)


@given(records)
def test_bytes_give_the_record_back(record: RequestRecord) -> None:
    """
    For every record, the record of its bytes equals it, and has the same bytes.
    """
    again = RequestRecord.from_bytes(record.to_bytes())

    assert again == record
    assert again.to_bytes() == record.to_bytes()


@given(records)
def test_bytes_are_the_canonical_form(record: RequestRecord) -> None:
    """
    The fast way to the bytes and the plain form's RFC 8785 bytes are one.
    """
    assert record.to_bytes() == canonical_bytes(record.to_dict())


@given(records)
def test_seen_is_the_same_record(record: RequestRecord) -> None:
    """
    A record of nothing but what was seen equals the one with every absent field, byte for byte.
    """
    told = {name: item for name, item in vars(record).items() if item is not None and item != ()}

    assert RequestRecord.seen(**told) == record
    assert RequestRecord.seen(**told).to_bytes() == record.to_bytes()


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_seen_knows_the_defaults(part: type[Value]) -> None:
    """
    A default that is on the record is there whether or not it was named.
    """
    needed = {f.name: "x" for f in dataclasses.fields(part) if f.default is dataclasses.MISSING}

    assert part.seen(**needed) == part(**needed)
    assert part.seen(**needed).to_dict() == part(**needed).to_dict()


@given(record=records, key=st.text(st.characters(codec="utf-8"), min_size=1), value=plain)
def test_unknown_fields_are_ignored(record: RequestRecord, key: str, value: Any) -> None:
    """
    A field that a newer version has added does not keep an older one from reading the rest.
    """
    extended = {"x-" + key: value, **record.to_dict()}

    assert RequestRecord.from_dict(extended) == record


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_absent_is_no_value(part: type[Value]) -> None:
    """
    None is absent from the plain form; zero, false and the empty text are there, and differ.
    """
    optional = [field.name for field in dataclasses.fields(part) if field.default is None]
    needed = {
        field.name: "x"
        for field in dataclasses.fields(part)
        if field.default is dataclasses.MISSING
    }
    if part is RequestRecord:
        needed = {**needed, "started_at": 5, "revision": 1, "sequence": 1}
    bare = part(**needed)

    assert not set(optional) & set(bare.to_dict())
    for name in optional:
        seen = [part(**needed, **{name: value}) for value in (None, "", 0, {})]
        plain_forms = [orjson.dumps(value.to_dict(), option=orjson.OPT_SORT_KEYS) for value in seen]
        assert len(set(plain_forms)) == 4, name


@pytest.mark.parametrize(
    "field", ["status_code", "request_bytes", "response_bytes", "response_chunks"]
)
def test_zero_is_seen(field: str) -> None:
    """
    A count of zero comes back as zero, and no count as no count.
    """
    zero = dataclasses.replace(SMALLEST, **{field: 0})

    assert getattr(RequestRecord.from_bytes(zero.to_bytes()), field) == 0
    assert getattr(RequestRecord.from_bytes(SMALLEST.to_bytes()), field) is None
    assert zero.to_bytes() != SMALLEST.to_bytes()


def test_different_evidence_has_different_bytes() -> None:
    """
    No score, a score of zero, one of minus one half and one that is tiny are four records.
    """
    scored = [
        dataclasses.replace(
            SMALLEST,
            router_decisions=(
                RouterDecision(name="r", candidates=(Candidate(name="a", score=score),)),
            ),
        )
        for score in (None, 0.0, -0.5, 5e-324)
    ]

    for one, other in itertools.combinations(scored, 2):
        assert one.to_bytes() != other.to_bytes()
    assert [RequestRecord.from_bytes(record.to_bytes()) for record in scored] == scored


def test_whole_scores_are_floats_again() -> None:
    """
    The canonical form writes 1.0 as 1; what comes back is a float all the same.
    """
    record = dataclasses.replace(
        SMALLEST,
        index_snapshots=(
            IndexSnapshot(name="i", documents=(RetrievedDocument(id="d", score=1.0),)),
        ),
    )

    [snapshot] = RequestRecord.from_bytes(record.to_bytes()).index_snapshots

    assert type(snapshot.documents[0].score) is float


def test_times_travel_as_text() -> None:
    """
    Nanoseconds exceed what JSON numbers hold, so they are decimal text.
    """
    plain_form = orjson.loads(SMALLEST.to_bytes())

    assert plain_form["started_at"] == "1700000000000000001"
    assert RequestRecord.from_bytes(SMALLEST.to_bytes()).started_at == 1_700_000_000_000_000_001


@pytest.mark.parametrize(
    "broken",
    [b"", b"null", b"[]", b"{}", b'"x"', b'{"request_id": 1}', b"\xff", SMALLEST.to_bytes()[:-1]],
)
def test_bytes_that_are_no_record(broken: bytes) -> None:
    """
    What is no record is refused with a ValueError, never half-read.
    """
    with pytest.raises(ValueError):
        RequestRecord.from_bytes(broken)


@given(record=records, limit=st.integers(1500, 10_000))
def test_fitted_record(record: RequestRecord, limit: int) -> None:
    """
    A record within its limit is left alone; a lightened one says how much went.
    """
    made = fitted(record, limit)

    if len(record.to_bytes()) <= limit:
        assert made == record
    else:
        before, after = record.capture or CaptureReport(), made.capture
        assert after is not None
        assert after.truncated + after.calls_dropped >= before.truncated + before.calls_dropped
        assert (made.request_id, made.outcome, made.drift) == (
            record.request_id, record.outcome, record.drift,
        )  # fmt: skip


@pytest.mark.parametrize("letter", ["x", "é", "\U0001f600", "\x01"])
def test_largest_record_fits(letter: str) -> None:
    """
    The most that the limits of capture let through still becomes one event.
    """
    call = Call(
        kind="generation",
        name=letter * 256,
        response_id=letter * 512,
        model_requested=letter * 256,
        sampling={f"{n}": letter * 4096 for n in range(20)},
    )
    record = dataclasses.replace(
        SMALLEST,
        calls=(call,) * 1000,
        annotations={f"{n}": letter * 4096 for n in range(128)},
        aliases=many_aliases(letter),
    )

    assert len(fitted(record).to_bytes()) <= MAX_RECORD_BYTES


def many_aliases(letter: str) -> tuple[records_module.Alias, ...]:
    return tuple(
        records_module.Alias(kind=letter * 256, value=f"{n}{letter * 250}") for n in range(64)
    )
