"""RequestRecord and the event that carries it."""

from __future__ import annotations

import pytest
from hypothesis import given
from strategies import records

from mvtrace import otlp, semconv
from mvtrace.records import RequestRecord
from mvtrace.wire import event_of, record_of


@given(records)
def test_event_gives_the_record_back(record: RequestRecord) -> None:
    """
    The record read from the event equals the one captured, and the event's body is its bytes.
    """
    event = event_of(record)

    assert record_of(event.body) == record
    assert event.body.encode() == record.to_bytes()
    assert otlp.encode_log_record(event)


@given(records)
def test_event_carries_the_ids(record: RequestRecord) -> None:
    """
    Ids and order are attributes, so that a relay or the loader need not read the body.
    """
    event = event_of(record)

    assert event.name == "mvtrace.request"
    assert event.attributes == {
        semconv.REQUEST_ID: record.request_id,
        semconv.RECORD_REVISION: record.revision,
        semconv.PRODUCER_ID: record.producer_id,
        semconv.PRODUCER_SEQUENCE: record.sequence,
    }
    assert event.trace_id.hex() == (record.trace_id or "")
    assert event.span_id.hex() == (record.span_id or "")


@pytest.mark.parametrize("body", ["", "[]", "5", "{}", '{"request_id": 5}', "{"])
def test_body_that_is_no_record(body: str) -> None:
    """
    A body that is not a record is refused with a ValueError.
    """
    with pytest.raises(ValueError):
        record_of(body)
