"""What a text names in the graph, what things are called, which version of an experiment won."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from stored import MOMENT, Filler, new_store

from mvtrace.registry.entries import Entry, entry_of
from mvtrace.registry.errors import AmbiguousEntryError, EntryNotFoundError
from mvtrace.registry.lineage.experiments import experiment, experiments
from mvtrace.registry.lineage.naming import named, names_of
from mvtrace.registry.reading import Ask
from mvtrace.registry.refs import Ref
from mvtrace.store import Store
from mvtrace.store.asking import ask_of

ROOT = "d" * 64
SQL_BYTES = 1 << 20
"""What a collector takes of a statement with its parameters."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with new_store(f"chdb://{tmp_path_factory.mktemp('named') / 'store'}") as one:
        yield one


def versions(
    fill: Filler, name: str, many: Sequence[str], *components: tuple[str, str, str]
) -> None:
    """Versions of one name, each with the same components: kind, name, digest."""
    for number, version in enumerate(many):
        fill._insert(
            "composites",
            version=version,
            name=name,
            manifest="{}",
            component_kinds=[kind for kind, _, _ in components],
            component_names=[of for _, of, _ in components],
            component_digests=[f"sha256:{digest}" for _, _, digest in components],
            received_at=MOMENT + timedelta(minutes=number),
        )
    for kind, _, digest in components:
        fill.component(f"sha256:{digest}", kind, b"{}")


def put(store: Store, project: str, *entries: Entry) -> tuple[Filler, Ask]:
    fill = Filler(store, project)
    for entry in entries:
        fill.entry(entry)
    return fill, ask_of(store, project)


def test_digits_of_a_dataset_name_the_dataset(store: Store) -> None:
    """
    A dataset has the name it was registered under, not that of a certificate about it, and of what
    only a certificate is about no dataset is found.
    """
    about = {"root": ROOT, "name": "zz-certificate"}
    other = {"root": "e" * 64, "name": "zz-certificate"}
    _, ask = put(
        store,
        "digits",
        entry_of("dataset", {"root": f"sha256:{ROOT}", "name": "tickets"}),
        entry_of("certificate", about),
        entry_of("certificate", other),
    )

    assert named(ask, ROOT[:8])[:2] == (Ref("dataset", ROOT), "tickets")
    with pytest.raises(EntryNotFoundError):
        named(ask, "e" * 8)


def test_digits_of_a_component_give_its_kind(store: Store) -> None:
    """
    A component that is found by its digits is called what it is: a prompt, a model.
    """
    fill, ask = put(store, "kinds")
    versions(fill, "shop", ["a" * 64], ("prompt", "answer", "1" * 64))

    assert named(ask, "1" * 8)[:2] == (Ref("component", "1" * 64), "prompt")


def test_a_kind_is_looked_for_among_all_of_a_name(store: Store) -> None:
    """
    However many newer versions bear the name, the experiment of it is found, and without a kind
    both are told.
    """
    tried = entry_of("experiment", {"name": "support"})
    fill, ask = put(store, "called", tried)
    versions(fill, "support", [f"{number:064x}" for number in range(1, 31)])

    assert named(ask, "experiment:support").ref == tried.ref
    newest = named(ask, "composite:support")
    assert (newest.ref.digest, newest.note) == (f"{30:064x}", "the newest of over 20 of this name")
    with pytest.raises(AmbiguousEntryError) as refused:
        named(ask, "support")
    assert refused.value.hits[:2] == (
        f"composite:{30:064x} support",
        f"{tried.ref} support",
    )


def test_digits_of_a_kind_are_looked_for_among_all(store: Store) -> None:
    """
    However many components start so, the version that does is found where its kind is said.
    """
    fill, ask = put(store, "starting")
    many = [("prompt", f"p{number}", f"77777777{number:056x}") for number in range(30)]
    versions(fill, "shop", ["7" * 64], *many)

    assert named(ask, "composite:77777777").ref == Ref("composite", "7" * 64)


def test_a_slot_holds_what_a_version_has_in_it(store: Store) -> None:
    """
    Digits behind a slot name a component only where some version has it in that slot.
    """
    fill, ask = put(store, "slots")
    versions(
        fill, "shop", ["b" * 64], ("model", "writer", "2" * 64), ("prompt", "answer", "3" * 64)
    )

    assert named(ask, "model/writer@22222222")[:2] == (Ref("component", "2" * 64), "model/writer")
    for text in ("model/other@22222222", "prompt/answer@22222222", "model/writer@33333333"):
        with pytest.raises(EntryNotFoundError):
            named(ask, text)


def test_a_slot_with_several_of_such_digits(store: Store) -> None:
    """
    Digits that begin several components of one slot name none of them; each is told.
    """
    fill, ask = put(store, "several")
    for version, digest in (("c", "4" * 64), ("d", "4" * 63 + "5")):
        versions(fill, "shop", [version * 64], ("model", "writer", digest))

    with pytest.raises(AmbiguousEntryError) as refused:
        named(ask, "model/writer@44444444")

    assert len(refused.value.hits) == 2


def test_twenty_thousand_names(store: Store) -> None:
    """
    Of as many things as a walk shows the names are found, by statements that a collector takes.
    """
    fill, ask = put(store, "many")
    known = [f"{number:064x}" for number in (0, 19_999)]
    versions(fill, "shop", known)
    sizes: list[int] = []

    def measured(sql: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        sizes.append(len(sql) + len(json.dumps(dict(parameters))))
        return ask(sql, parameters)

    found = names_of(measured, [Ref("composite", f"{number:064x}") for number in range(20_000)])

    assert found == {Ref("composite", version): "shop" for version in known}
    assert max(sizes) < SQL_BYTES


def test_the_last_decision_tells_the_winner(store: Store) -> None:
    """
    Of two promotions at one instant the one that was taken later tells the winner, the tenth after
    the ninth.
    """
    [tried] = experiment("tone")
    fill, ask = put(store, "winner", tried)
    first, last = "1" * 64, "2" * 64
    for version in (first, last):
        fill.edge(f"composite:{version}", str(tried.ref), "experiment")
    decided(fill, last, seq=10)
    decided(fill, first, seq=9)

    [found] = experiments(ask)

    assert found.winner is not None
    assert found.winner["version"] == last


def decided(fill: Filler, version: str, *, seq: int) -> None:
    fill._insert(
        "deployments",
        service="bot",
        environment="prod",
        at=datetime(2026, 8, 22, tzinfo=UTC),
        seq=seq,
        event_id=seq.to_bytes(16, "big"),
        action="promote",
        composite=version,
        share=1.0,
        actor="key",
        body="{}",
        received_at=MOMENT,
    )
