"""What a version was made from, looked up for explanations: when it is looked up again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest
from stored import MOMENT, Filler, new_store
from story import SYSTEM

from mvtrace.registry.entries import entry_of
from mvtrace.registry.lineage.derivations import derivation
from mvtrace.registry.refs import Ref
from mvtrace.store import Store
from mvtrace.store.ancestors import MAX_CERTIFICATES, Ancestors
from mvtrace.store.memory import Memory
from mvtrace.store.statements import Statements

VERSION = Ref("composite", SYSTEM.version)
BASE, OTHER = Ref("composite", "a" * 64), Ref("composite", "b" * 64)


@pytest.fixture
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    one = new_store(f"chdb://{tmp_path_factory.mktemp('ancestors') / 'db'}")
    yield one
    one.close()


def record(fill: Filler, parent: Ref, role: str = "base") -> None:
    entry = derivation(VERSION, [(parent, role)])
    fill.entry(entry)
    fill.edge(str(VERSION), str(parent), role, entry.digest)


def parents(ancestors: Ancestors) -> set[Ref]:
    found = ancestors.of(SYSTEM.version)
    return {edge.parent for edge in found.graph.edges} if found else set()


def test_what_is_recorded_is_seen_at_once(store: Store) -> None:
    """
    Nothing is known before anything is recorded, each derivation is seen with the next question,
    and another project's never.
    """
    fill = Filler(store)
    ancestors = Ancestors(Statements(store, "default"), Memory(Statements(store, "default")))
    strangers = Ancestors(Statements(store, "other"), Memory(Statements(store, "other")))

    assert ancestors.of(SYSTEM.version) is None
    record(fill, BASE)
    assert parents(ancestors) == {BASE}
    record(fill, OTHER)
    assert parents(ancestors) == {BASE, OTHER}
    assert strangers.of(SYSTEM.version) is None


def test_what_came_before_is_not_in_it(store: Store) -> None:
    """
    The version before this one, and what that was made from, say nothing of this one.
    """
    fill = Filler(store)
    record(fill, BASE)
    record(fill, OTHER, "previous")
    fill.edge(str(OTHER), f"dataset:{'d' * 64}", "dataset", "sha256:1")

    found = Ancestors(Statements(store, "default"), Memory(Statements(store, "default")))

    assert parents(found) == {BASE}


def test_a_leak_is_among_many_certificates(store: Store) -> None:
    """
    Of more certificates than are read those that found something are, and then the newest.
    """
    fill = Filler(store)
    data = f"dataset:{'d' * 64}"
    record(fill, Ref.parse(data), "dataset")
    for number in range(MAX_CERTIFICATES + 9):
        checked = [{"ref": data, "found": int(number == 0)}]
        said = {"name": f"n{number}", "train": [data], "checked": checked}
        fill.entry(entry_of("certificate", said), received_at=MOMENT + timedelta(minutes=number))

    found = Ancestors(Statements(store, "default"), Memory(Statements(store, "default")))
    ancestry = found.of(SYSTEM.version)

    assert ancestry is not None
    names = [one.name for one in ancestry.certificates]
    newest = MAX_CERTIFICATES + 8
    assert names == [*(f"n{newest - n}" for n in range(MAX_CERTIFICATES - 1)), "n0"]


def test_a_certificate_of_the_version_itself(store: Store) -> None:
    """
    A certificate that was asked about the whole version is read, also where it names no data.
    """
    fill = Filler(store)
    record(fill, Ref("dataset", "d" * 64), "dataset")
    fill.entry(entry_of("certificate", {"name": "whole", "train": [str(VERSION)]}))

    found = Ancestors(Statements(store, "default"), Memory(Statements(store, "default")))
    ancestry = found.of(SYSTEM.version)

    assert ancestry is not None
    assert [one.name for one in ancestry.certificates] == ["whole"]


def test_a_certificate_that_nobody_can_read_hides_no_other(store: Store) -> None:
    """
    It is passed by, and what another says is told.
    """
    fill = Filler(store)
    data = f"dataset:{'d' * 64}"
    record(fill, Ref.parse(data), "dataset")
    sound = entry_of("certificate", {"name": "sound", "train": [data]})
    fill.entry(sound)
    broken = {"kind": "certificate", "schema_version": 1, "train": [data], "x": {"$int": "x"}}
    with store.session() as session:
        columns = ("project", "kind", "digest", "body")
        row = ("default", "certificate", f"sha256:{'0' * 64}", json.dumps(broken))
        session.insert("registry_entries", columns, [row])

    found = Ancestors(Statements(store, "default"), Memory(Statements(store, "default")))
    ancestry = found.of(SYSTEM.version)

    assert ancestry is not None
    assert ancestry.certificates == (sound,)


def test_nothing_is_walked_twice_for_nothing(store: Store) -> None:
    """
    While nothing more is recorded, whatever else is stored, the walk is not repeated.
    """
    fill = Filler(store)
    record(fill, BASE)
    ancestors = Ancestors(Statements(store, "default"), Memory(Statements(store, "default")))

    first = ancestors.of(SYSTEM.version)
    fill.gap(service="support")

    assert first is not None
    assert ancestors.of(SYSTEM.version) is first
