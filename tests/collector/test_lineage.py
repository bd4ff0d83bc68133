"""Edges of the ancestry graph on their way into the store: from versions, and from derivations."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterable
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from oracle import Batch, write_segment

import mvtrace
from mvtrace.components import CompositeVersion
from mvtrace.otlp import LogEvent, Scope, encode_request, encode_resource, encode_scope_logs
from mvtrace.registry.entries import Entry, entry_of
from mvtrace.registry.lineage.derivations import derivation
from mvtrace.registry.refs import Ref
from mvtrace.resources import schema_root
from mvtrace.store import Store
from mvtrace_collector.loader import load_segment

NOW_MS = time.time_ns() // 10**6
_numbers = itertools.count()

A, B, C, D = (Ref("dataset", letter * 64) for letter in "abcd")


def segment(folder: Path, *events: LogEvent, project: str = "default") -> Path:
    body = encode_request(encode_resource({}), [encode_scope_logs(Scope("mvtrace"), events)])
    batch = Batch(ExportLogsServiceRequest.FromString(body), NOW_MS + next(_numbers), project)
    return write_segment(folder / str(next(_numbers)), [batch])


def events_of(entries: Iterable[Entry]) -> list[LogEvent]:
    return [event for entry in entries for event in entry.events()]


def load(store: Store, folder: Path, *entries: Entry, project: str = "default") -> None:
    load_segment(store, segment(folder, *events_of(entries), project=project))


def edges(store: Store, direction: str = "up") -> set[tuple[str, ...]]:
    """Edges as (project, child, role, parent), read from one of their ends."""
    rows = store.query(
        "SELECT DISTINCT project, node, role, other FROM lineage_edges "
        "WHERE direction = {direction:String}",
        {"direction": direction},
    ).rows
    if direction == "up":
        return set(rows)
    return {(project, other, role, node) for project, node, role, other in rows}


def refused(store: Store) -> list[tuple[str, str, str]]:
    rows = store.query("SELECT reason, detail, subject FROM quarantine ORDER BY received_at")
    return [(str(a), str(b), str(c)) for a, b, c in rows.rows]


@pytest.fixture
def system(tmp_path: Path) -> CompositeVersion:
    """A system of a router with a candidate, and a model with its file."""
    weights = tmp_path / "weights.bin"
    weights.write_bytes(b"weights")
    model = mvtrace.model("writer", path=weights)
    router = mvtrace.router("route", policy={"threshold": 0.5}, candidates=[model])
    return mvtrace.composite("shop", router, mvtrace.sampling("default", temperature=0.5))


def proven(system: CompositeVersion, project: str = "default") -> set[tuple[str, ...]]:
    """The edges that the digests of the system above prove."""
    refs = {part.slot: f"component:{part.digest[7:]}" for part in system.components}
    version = f"composite:{system.version}"
    writer = system.component("model", "writer")
    assert writer is not None
    artifact = f"artifact:{writer.facts['artifact']['digest'][7:]}"
    return {
        *((project, version, slot, ref) for slot, ref in refs.items()),
        (project, refs["router/route"], "model/writer", refs["model/writer"]),
        (project, refs["model/writer"], "artifact", artifact),
    }


def test_a_version_is_made_from_its_parts(
    store: Store, tmp_path: Path, system: CompositeVersion
) -> None:
    """
    Components, what they pin and their files are found from the version, and it from them.
    """
    load_segment(store, segment(tmp_path, *system.events()))

    assert edges(store, "up") == proven(system)
    assert edges(store, "down") == proven(system)


def test_versions_of_before_get_their_edges(
    store: Store, tmp_path: Path, system: CompositeVersion
) -> None:
    """
    The migration that fills the table finds the edges that a load would have, also when repeated.
    """
    load_segment(store, segment(tmp_path, *system.events()))
    store.command("TRUNCATE TABLE lineage_edges")
    text = (schema_root() / "clickhouse" / "0034_fill_lineage_edges.sql").read_text("utf-8")

    for _ in range(2):
        store.command(text.replace("{database}", store.database))

    assert edges(store, "up") == proven(system)
    assert edges(store, "down") == proven(system)
    assert store.query("SELECT count() FROM lineage_edges FINAL").rows == [(10,)]


def test_a_derivation_is_an_edge_to_each_parent(store: Store, tmp_path: Path) -> None:
    """
    Each parent has an edge in its role, and so has the transformation.
    """
    step = entry_of("transformation", {"name": "clean"})
    made = derivation(C, [(A, "dataset"), (B, "config")], how=step.ref)
    load(store, tmp_path, step, made)

    assert edges(store) == {
        ("default", str(C), "dataset", str(A)),
        ("default", str(C), "config", str(B)),
        ("default", str(C), "how", str(step.ref)),
    }
    assert edges(store, "down") == edges(store)


def test_the_same_again_adds_nothing(store: Store, tmp_path: Path) -> None:
    """
    The same segment loaded twice, and the same derivation sent again, leave the same rows.
    """
    path = segment(tmp_path, *events_of([derivation(B, [(A, "dataset")])]))
    load_segment(store, path, token="1")
    before = store.query("SELECT * FROM lineage_edges ORDER BY ALL").rows

    load_segment(store, path, token="2")
    load(store, tmp_path, derivation(B, [(A, "dataset")]))

    assert store.query("SELECT * FROM lineage_edges ORDER BY ALL").rows == before


@pytest.mark.parametrize("segments", [1, 2, 3])
def test_a_cycle_is_refused(store: Store, tmp_path: Path, segments: int) -> None:
    """
    What would close a cycle goes to quarantine with the cycle, in one segment or over several.
    """
    claims = [derivation(B, [(A, "base")]), derivation(C, [(B, "base")])]
    last = derivation(A, [(C, "base")])
    parts = {1: [[*claims, last]], 2: [claims, [last]], 3: [claims[:1], claims[1:], [last]]}
    for part in parts[segments]:
        load(store, tmp_path, *part)

    assert edges(store) == {
        ("default", str(B), "base", str(A)),
        ("default", str(C), "base", str(B)),
    }
    assert refused(store) == [
        (
            "lineage-cycle",
            (
                "dataset:aaaaaaaaaaaa cannot be made from dataset:cccccccccccc, which was made from "
                "dataset:bbbbbbbbbbbb, which was made from dataset:aaaaaaaaaaaa"
            ),
            f"mvtrace.entry {last.digest}",
        )
    ]
    stored = store.query("SELECT digest FROM registry_entries ORDER BY digest").rows
    assert stored == sorted((claim.digest,) for claim in claims)


def test_a_refused_one_is_refused_again(store: Store, tmp_path: Path) -> None:
    """
    Loaded again in the same order everything gets the answer it had, after a loss too.
    """
    paths = [
        segment(tmp_path, *events_of([derivation(B, [(A, "base")])])),
        segment(tmp_path, *events_of([derivation(A, [(B, "base")]), derivation(C, [(B, "base")])])),
    ]
    for path in paths:
        load_segment(store, path)
    before = edges(store)
    store.command(
        "ALTER TABLE lineage_edges DELETE WHERE node = {b:String} SETTINGS mutations_sync = 2",
        {"b": str(B)},
    )

    for path in paths:
        load_segment(store, path, token="again")

    assert edges(store) == edges(store, "down") == before
    assert {reason for reason, _, _ in refused(store)} == {"lineage-cycle"}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_history_makes_a_cycle(store: Store, tmp_path: Path, seed: int) -> None:
    """
    Whatever is claimed over several segments, some of them twice, what is stored has no cycle.
    """
    source = random.Random(seed)
    nodes = [Ref("dataset", f"{n:064x}") for n in range(7)]
    for _ in range(4):
        pairs = [source.sample(nodes, 3) for _ in range(8)]
        made = [derivation(child, [(a, "base"), (b, "data")]) for child, a, b in pairs]
        path = segment(tmp_path, *events_of(made))
        for token in ("1", "2")[: source.randint(1, 2)]:
            load_segment(store, path, token=token)

    graph: dict[str, set[str]] = {}
    for _, child, _, parent in edges(store):
        graph.setdefault(child, set()).add(parent)
    assert list(TopologicalSorter(graph).static_order())
    assert edges(store, "down") == edges(store)
    assert {reason for reason, _, _ in refused(store)} == {"lineage-cycle"}


def test_another_project_closes_no_cycle(store: Store, tmp_path: Path) -> None:
    """
    What is said in one project has no weight in another.
    """
    load(store, tmp_path, derivation(B, [(A, "base")]), project="one")
    load(store, tmp_path, derivation(A, [(B, "base")]), project="two")

    assert edges(store) == {("one", str(B), "base", str(A)), ("two", str(A), "base", str(B))}
    assert refused(store) == []


def test_digests_against_what_was_said_before(
    store: Store, tmp_path: Path, system: CompositeVersion
) -> None:
    """
    A version from which a file of it is said to come is stored, and what would close the circle told.
    """
    writer = system.component("model", "writer")
    assert writer is not None
    artifact = Ref.of("artifact", writer.facts["artifact"]["digest"])
    load(store, tmp_path, derivation(artifact, [(Ref("composite", system.version), "base")]))
    load_segment(store, segment(tmp_path, *system.events()))

    assert store.query("SELECT version FROM composites").rows == [(system.version,)]
    left_out = proven(system) - edges(store)
    assert {edge[2] for edge in left_out} == {"model/writer", "router/route"}
    assert edges(store, "down") == edges(store)
    subject = f"mvtrace.composite {system.version}"
    assert {found[::2] for found in refused(store)} == {("lineage-cycle", subject)}


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"child": "dataset:x", "parents": []}, "'dataset:x' is no ref: behind dataset: stand 64 hex digits"),
        ({"parents": []}, "child is no text"),
        ({"child": str(A), "parents": {}}, "parents is no list of objects"),
        ({"child": str(A), "parents": [{"ref": str(A), "role": "base"}]}, f"A derivation cannot be registered: {A} is a parent of itself."),
        ({"child": str(A), "parents": [{"ref": str(B), "role": "Base Model"}]}, "A derivation cannot be registered: the role 'Base Model' is no word."),
    ],
)  # fmt: skip
def test_what_is_no_derivation(
    store: Store, tmp_path: Path, said: dict[str, object], problem: str
) -> None:
    """
    An entry that says it is a derivation and is none goes to quarantine, and is no entry.
    """
    load(store, tmp_path, entry_of("derivation", said), derivation(C, [(B, "base")]))

    assert edges(store) == {("default", str(C), "base", str(B))}
    assert [found[:2] for found in refused(store)] == [("not-a-derivation", problem)]
    assert store.query("SELECT count() FROM registry_entries").rows == [(1,)]
