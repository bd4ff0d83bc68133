"""Where parts come from, on its way into the store and out again: beside a version, never in it."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from oracle import Batch, write_segment

import mvtrace
from mvtrace import semconv
from mvtrace.components import CompositeVersion
from mvtrace.explain.explainer import explain
from mvtrace.ids import new_request_id
from mvtrace.otlp import LogEvent, Scope, encode_request, encode_resource, encode_scope_logs
from mvtrace.records import RequestRecord, UnixNano
from mvtrace.store import Store
from mvtrace.store.reader import Reader
from mvtrace.wire import event_of
from mvtrace_collector.loader import load_segment

NOW_MS = time.time_ns() // 10**6
_numbers = itertools.count()


def load(store: Store, folder: Path, *events: LogEvent) -> None:
    body = encode_request(encode_resource({}), [encode_scope_logs(Scope("mvtrace"), events)])
    batch = Batch(ExportLogsServiceRequest.FromString(body), NOW_MS + next(_numbers), "default")
    load_segment(store, write_segment(folder / str(next(_numbers)), [batch]))


@pytest.fixture
def system(tmp_path: Path) -> CompositeVersion:
    """A system with weights whose header lies, about which there is something to say."""
    weights = tmp_path / "a.gguf"
    weights.write_bytes(b"GGUF\x01\0\0\0")
    model = mvtrace.model("writer", path=weights)
    return mvtrace.composite("shop", model, mvtrace.sampling("default", temperature=0.5))


NOTE = {
    "source": "gguf",
    "basis": "observed",
    "facts": {"file": "a.gguf", "problem": "it is GGUF of version 1, of which nothing is known"},
}


def shown(store: Store, folder: Path, system: CompositeVersion) -> dict[str, list[object]]:
    """What an explanation says of where each part comes from."""
    record = RequestRecord(
        request_id=new_request_id(),
        revision=2,
        state="finished",
        producer_id="00000000-0000-4000-8000-00000000000a",
        sequence=next(_numbers),
        started_at=UnixNano(NOW_MS * 10**6),
        composite_version=system.version,
    )
    load(store, folder, event_of(record))
    evidence = Reader(store).read(record.request_id)
    parts = explain(evidence).to_dict()["composite"]["components"]
    return {f"{part['kind']}/{part['name']}": part["provenance"] for part in parts}


def test_the_whole_way(store: Store, tmp_path: Path, system: CompositeVersion) -> None:
    """
    What was seen of a part when it was pinned is shown with the part, and others have nothing.
    """
    load(store, tmp_path, *system.events())

    assert shown(store, tmp_path, system) == {"model/writer": [NOTE], "sampling/default": []}


def test_it_is_in_no_digest(tmp_path: Path, system: CompositeVersion) -> None:
    """
    The same bytes under another name, of which nothing is known, are the same version.
    """
    plain = tmp_path / "a.bin"
    plain.write_bytes((tmp_path / "a.gguf").read_bytes())
    model = mvtrace.model("writer", path=plain)

    other = mvtrace.composite("shop", model, mvtrace.sampling("default", temperature=0.5))

    assert other.version == system.version
    assert model.provenance == ()


def changed(event: LogEvent, text: str | None) -> LogEvent:
    """The event of a composite with *text* as its provenance."""
    others = {k: v for k, v in event.attributes.items() if k != semconv.COMPOSITE_PROVENANCE}
    said = {} if text is None else {semconv.COMPOSITE_PROVENANCE: text}
    return event._replace(attributes={**others, **said})


def test_who_says_nothing_takes_nothing_away(
    store: Store, tmp_path: Path, system: CompositeVersion
) -> None:
    """
    A process that knows less of the same version, or another label, removes no note.
    """
    *parts, composite = system.events()
    load(store, tmp_path, *parts, composite)
    silent = changed(composite, None)
    load(
        store,
        tmp_path,
        silent._replace(attributes={**silent.attributes, semconv.COMPOSITE_NAME: "b"}),
    )

    assert store.query("SELECT name FROM composites FINAL").rows == [("b",)]
    assert shown(store, tmp_path, system)["model/writer"] == [NOTE]


def test_the_same_again_changes_nothing(
    store: Store, tmp_path: Path, system: CompositeVersion
) -> None:
    """
    A version that is registered again with the same notes has one row.
    """
    for _ in range(3):
        load(store, tmp_path, *system.events())

    assert store.query("SELECT count() FROM composites").rows == [(1,)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not json",
        '{"model/writer": 7}',
        '{"model/writer": [7, {}, {"source": 1, "basis": "verified", "facts": {}}]}',
        '{"model/writer": [{"source": "x", "basis": "sworn", "facts": {}}]}',
        '{"model/writer": [{"source": "x", "basis": "verified", "facts": []}]}',
        '{"model/writer": "' + "x" * 70_000 + '"}',
    ],
)
def test_hostile_notes(text: str, store: Store, tmp_path: Path, system: CompositeVersion) -> None:
    """
    Notes of another shape are not shown, and the version is explained without them.
    """
    *parts, composite = system.events()
    load(store, tmp_path, *parts, changed(composite, text))

    assert shown(store, tmp_path, system) == {"model/writer": [], "sampling/default": []}
