"""The engine's rows against the oracle's, and what holds whatever a sender sends."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from oracle import Batch, expected_spans, stored_spans, write_segment

from mvtrace.content import CONTENT_KEYS
from mvtrace.ids import format_uuid7
from mvtrace.store import Store
from mvtrace_collector.loader import Loader, load_segment

NOW_MS = time.time_ns() // 10**6
NOW_NS = NOW_MS * 10**6
EXAMPLES = int(os.environ.get("MVTRACE_TEST_EXAMPLES", "10"))
"""More of them find more: 300 take two minutes."""


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
keys = st.one_of(
    texts,
    st.sampled_from(
        [
            "gen_ai.request.model",
            "gen_ai.usage.input_tokens",
            "gen_ai.system",
            "error.type",
            "mvtrace.arm",
            "service.name",
            "mvtrace.request.id",
            *sorted(CONTENT_KEYS)[:5],
        ]
    ),
)
scalars = st.one_of(
    st.builds(lambda v: AnyValue(string_value=v), texts),
    st.builds(lambda v: AnyValue(bool_value=v), st.booleans()),
    st.builds(lambda v: AnyValue(int_value=v), st.integers(-(2**63), 2**63 - 1)),
    st.builds(lambda v: AnyValue(double_value=v), st.floats()),
    st.builds(lambda v: AnyValue(bytes_value=v), st.binary(max_size=9)),
    st.just(AnyValue()),
    st.sampled_from([AnyValue(string_value=""), AnyValue(int_value=0), AnyValue(double_value=0.0)]),
)


def _array(items: list[AnyValue]) -> AnyValue:
    value = AnyValue()
    value.array_value.SetInParent()
    value.array_value.values.extend(items)
    return value


def _kvlist(items: list[tuple[str, AnyValue]]) -> AnyValue:
    value = AnyValue()
    value.kvlist_value.SetInParent()
    for key, item in items:
        value.kvlist_value.values.add(key=key).value.CopyFrom(item)
    return value


values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.builds(_array, st.lists(inner, max_size=3)),
        st.builds(_kvlist, st.lists(st.tuples(keys, inner), max_size=3)),
    ),
    max_leaves=6,
)
attributes = st.lists(
    st.builds(lambda key, value: KeyValue(key=key, value=value), keys, values), max_size=6
)
request_ids = st.builds(
    lambda ms, number: format_uuid7(ms, number),
    st.one_of(st.integers(0, 2**48 - 1), st.integers(NOW_MS - 10**9, NOW_MS)),
    st.integers(0, 2**74 - 1),
)
times = st.one_of(
    st.integers(NOW_NS - 10**12, NOW_NS),
    st.integers(NOW_MS - 10**6, NOW_MS).map(lambda ms: ms // 1000 * 10**9),
    st.sampled_from([0, 1, 2**63, 2**64 - 1, NOW_NS + 10**15]),
)


@st.composite
def spans(draw: st.DrawFn) -> Span:
    span = Span(
        trace_id=draw(st.sampled_from([b"a" * 16, b"\0" * 15 + b"\1", b"\1" + bytes(15)])),
        span_id=draw(st.binary(min_size=8, max_size=8).filter(any)),
        parent_span_id=draw(st.sampled_from([b"", b"\0\0\0\0\0\0\0\1", b"short"])),
        name=draw(texts),
        start_time_unix_nano=draw(times),
        end_time_unix_nano=draw(times),
        trace_state=draw(texts),
        flags=draw(st.integers(0, 2**32 - 1)),
        dropped_attributes_count=draw(st.integers(0, 2**32 - 1)),
    )
    span.kind = draw(st.sampled_from([0, 1, 5, 77, -3]))  # type: ignore[assignment]
    span.attributes.extend(draw(attributes))
    if draw(st.booleans()):
        span.attributes.add(key="mvtrace.request.id").value.string_value = draw(request_ids)
    for items in draw(st.lists(attributes, max_size=2)):
        event = span.events.add(name=draw(texts), time_unix_nano=draw(times))
        event.attributes.extend(items)
    for items in draw(st.lists(attributes, max_size=2)):
        link = span.links.add(trace_id=draw(st.sampled_from([b"l" * 16, b"x"])), span_id=b"m" * 8)
        link.attributes.extend(items)
    if draw(st.booleans()):
        span.status.message = draw(texts)
        span.status.code = draw(st.sampled_from([0, 1, 2, 9]))  # type: ignore[assignment]
    return span


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    request = ExportTraceServiceRequest()
    for _ in range(draw(st.integers(0, 2))):
        resource_spans = request.resource_spans.add()
        resource_spans.resource.attributes.extend(draw(attributes))
        for _ in range(draw(st.integers(0, 2))):
            scope_spans = resource_spans.scope_spans.add(schema_url=draw(texts))
            scope_spans.scope.name = draw(texts)
            scope_spans.scope.version = draw(texts)
            scope_spans.scope.attributes.extend(draw(attributes))
            scope_spans.spans.extend(draw(st.lists(spans(), max_size=3)))
    return Batch(request, NOW_MS, draw(st.sampled_from(["default", "other"])))


def _twice(claims: list[str]) -> Batch:
    """Return a batch that has one span once for each of *claims*, none where one is empty."""
    request = ExportTraceServiceRequest()
    scope_spans = request.resource_spans.add().scope_spans.add()
    for claim in claims:
        span = scope_spans.spans.add(
            trace_id=b"\0" * 15 + b"\1",
            span_id=b"\0" * 7 + b"\1",
            start_time_unix_nano=NOW_NS,
            end_time_unix_nano=NOW_NS,
        )
        if claim:
            span.attributes.add(key="mvtrace.request.id").value.string_value = claim
    return Batch(request, NOW_MS)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(made=st.lists(batches(), max_size=3))
@example(made=[_twice(["", "00000000-0000-7000-8000-000000000000"])])
@example(made=[_twice(["00000000-0000-7000-8000-000000000000", ""])])
def test_rows_equal_the_oracles(made: list[Batch], store: Store, tmp_path: Path) -> None:
    """
    Whatever OTLP may say, the engine and the readable Python decoder make the same rows of it.
    """
    for table in ("spans", "request_aliases"):
        store.command(f"TRUNCATE TABLE {table}")
    segment = write_segment(tmp_path / "segment", made)

    load_segment(store, segment, token=str(time.time_ns()))

    assert stored_spans(store) == expected_spans(made)


def _trace(trace_id: bytes, starts_ms: list[int], *, first_span: int = 1) -> Batch:
    """Return a batch of foreign spans of one trace that start at *starts_ms*."""
    request = ExportTraceServiceRequest()
    scope_spans = request.resource_spans.add().scope_spans.add()
    for number, start_ms in enumerate(starts_ms, first_span):
        scope_spans.spans.add(
            trace_id=trace_id,
            span_id=number.to_bytes(8),
            start_time_unix_nano=start_ms * 10**6,
            end_time_unix_nano=start_ms * 10**6 + 5,
        )
    return Batch(request, NOW_MS)


def _requests_of(store: Store) -> dict[bytes, set[bytes]]:
    found: dict[bytes, set[bytes]] = {}
    for trace_id, request_id in store.query("SELECT DISTINCT trace_id, request_id FROM spans").rows:
        found.setdefault(trace_id, set()).add(request_id)
    return found


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_foreign_trace_split_over_segments_has_one_request_id(
    order: tuple[int, ...], store: Store, tmp_path: Path
) -> None:
    """
    Spans of one trace in several segments, in any order, belong to one request.
    """
    trace_id = bytes(range(16))
    parts = [
        _trace(trace_id, [NOW_MS - 5000 + 100 * number], first_span=10 * number + 1)
        for number in range(3)
    ]

    for number in order:
        load_segment(store, write_segment(tmp_path / str(number), [parts[number]]))

    ids = _requests_of(store)
    assert list(ids) == [trace_id]
    assert len(ids[trace_id]) == 1
    assert store.query("SELECT count() FROM spans FINAL").rows == [(3,)]
    aliases = store.query("SELECT alias, request_id FROM request_aliases FINAL").rows
    assert aliases == [(trace_id.hex(), *ids[trace_id])]


def test_time_bytes_that_are_zero_stay_in_the_id(store: Store, tmp_path: Path) -> None:
    """
    A start whose milliseconds end in zero bytes gives an id with just this time in front.
    """
    start_ms = (NOW_MS >> 16) << 16

    load_segment(store, write_segment(tmp_path / "s", [_trace(b"\0" * 15 + b"\1", [start_ms])]))

    ((request_id, text),) = store.query("SELECT request_id, request_id_text FROM spans").rows
    assert int.from_bytes(request_id[:6]) == start_ms
    assert text.replace("-", "") == request_id.hex()


def test_150_months_in_one_batch_are_stored(store: Store, tmp_path: Path) -> None:
    """
    A batch over more months than an insert may touch is stored whole.
    """
    month_ms = 31 * 86_400_000
    received_ms = 1577836800000 + 150 * month_ms
    batches = [
        _trace(number.to_bytes(16), [1577836800000 + number * month_ms])._replace(
            received_ms=received_ms
        )
        for number in range(1, 151)
    ]

    rows = load_segment(store, write_segment(tmp_path / "s", batches))

    assert rows["spans"] == 150
    partitions = store.query("SELECT uniqExact(_partition_id), count() FROM spans").rows
    assert partitions == [(150, 150)]
    assert stored_spans(store) == expected_spans(batches)


def test_replay_changes_nothing(store: Store, tmp_path: Path) -> None:
    """
    A segment loaded again, under the same epoch or a new one, leaves the same distinct rows.
    """
    batches = [
        _trace(b"a" * 16, [NOW_MS - 10, 0, NOW_MS]),
        _trace(b"b" * 16, [NOW_MS]),
    ]
    segment = write_segment(tmp_path / "s", batches)

    first = load_segment(store, segment, token="1:1")
    rows = stored_spans(store)
    for token in ("1:1", "2:1"):
        assert load_segment(store, segment, token=token) == first

    assert stored_spans(store) == rows == expected_spans(batches)
    assert store.query("SELECT count() FROM request_aliases FINAL").rows == [(2,)]


def test_swallowed_rows_are_noticed_and_stored(store: Store, tmp_path: Path) -> None:
    """
    Rows that were lost after their insert come back on replay, although their token was seen.
    """
    segment = write_segment(tmp_path / "s", [_trace(b"a" * 16, [NOW_MS, NOW_MS + 1])])
    load_segment(store, segment, token="1:1")
    ((part,),) = store.query(
        "SELECT name FROM system.parts WHERE active AND table = 'spans' AND database = 'mvtrace'"
    ).rows
    store.command(f"ALTER TABLE spans DETACH PART '{part}'")
    assert store.query("SELECT count() FROM spans").rows == [(0,)]

    load_segment(store, segment, token="1:1")

    assert store.query("SELECT count() FROM spans").rows == [(2,)]


def test_span_without_valid_ids_is_quarantined(store: Store, tmp_path: Path) -> None:
    """
    A span that no key can have is kept with its reason, and the others are stored.
    """
    batch = _trace(b"a" * 16, [NOW_MS])
    for trace_id, span_id in (
        (b"short", b"12345678"),
        (b"a" * 16, bytes(8)),
        (b"a" * 17, b"x" * 9),
    ):
        batch.request.resource_spans[0].scope_spans[0].spans.add(
            trace_id=trace_id, span_id=span_id, name="bad"
        )

    rows = load_segment(store, write_segment(tmp_path / "s", [batch]))

    assert dict(rows) == {"spans": 1, "quarantine": 3}
    refused = store.query("SELECT reason, subject, detail FROM quarantine ORDER BY detail").rows
    assert refused == [
        (
            "malformed-id",
            "bad",
            "trace id 61616161616161616161616161616161, span id 0000000000000000",
        ),
        (
            "malformed-id",
            "bad",
            "trace id 6161616161616161616161616161616161, span id 787878787878787878",
        ),
        ("malformed-id", "bad", "trace id 73686f7274, span id 3132333435363738"),
    ]


def test_poisonous_batch_stands_alone(store: Store, tmp_path: Path) -> None:
    """
    One batch that the engine cannot read goes to quarantine as it came; the others are stored.
    """
    good = [_trace(bytes([number]) * 16, [NOW_MS]) for number in range(1, 6)]
    path = write_segment(tmp_path / "s", good)
    # A frame whose body claims more bytes than it has.
    broken = b"\x0a\x07default\x10\x80\xa0\xcf\x85\xe0\x32\x18\x63\x2a\x05\x0a\x7f\x0a\x01\x02"
    raw = path.read_bytes()
    path.write_bytes(raw + bytes([len(broken)]) + broken + raw[: len(raw) // 5])
    loader = Loader(store)

    rows = loader.load_segment(path)
    loader.close()

    assert rows["spans"] == 6
    assert rows["quarantine"] == loader.stats.unloadable == 1
    assert store.query("SELECT count() FROM spans FINAL").rows == [(5,)]
    ((reason, subject, body),) = store.query(
        "SELECT reason, subject, hex(body) FROM quarantine"
    ).rows
    assert reason == "unloadable-batch"
    assert subject == "batch 99 of 26 bytes"
    assert bytes.fromhex(body)[1:] == broken


def test_answer_of_a_provider_names_the_request(store: Store, tmp_path: Path) -> None:
    """
    A foreign span's response id and its trace id are aliases of the same request.
    """
    batch = _trace(b"a" * 16, [NOW_MS])
    span = batch.request.resource_spans[0].scope_spans[0].spans[0]
    span.attributes.add(key="gen_ai.response.id").value.string_value = "chatcmpl-1"

    load_segment(store, write_segment(tmp_path / "s", [batch]))

    ((request_id,),) = store.query("SELECT request_id FROM spans").rows
    aliases = store.query(
        "SELECT kind, alias, request_id, alias_hash = sipHash64(alias) FROM request_aliases ORDER BY kind"
    ).rows
    assert aliases == [
        ("response_id", "chatcmpl-1", request_id, 1),
        ("trace_id", "61" * 16, request_id, 1),
    ]
