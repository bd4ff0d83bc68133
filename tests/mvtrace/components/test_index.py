"""Indexes of plain Python objects, and what is no index."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mvtrace
from mvtrace.components import Component, ObservedIndex
from mvtrace.components.observed import MAX_AGE_S
from mvtrace.errors import ComponentError


@dataclass(frozen=True, slots=True)
class Passage:
    title: str
    words: tuple[str, ...]


def digest_now(component: Component) -> str | None:
    assert isinstance(component.source, ObservedIndex)
    return component.source.current().digest


def test_mapping_in_any_order() -> None:
    """
    A mapping is its ids and values, whatever order they came in.
    """
    documents = {"a": "first", "b": ["x", 1], 3: Passage("t", ("u", "v")), "n": None}
    backwards = dict(reversed(documents.items()))

    component = mvtrace.index("docs", documents)

    assert mvtrace.index("docs", backwards).digest == component.digest
    assert component.facts["library"] == "python"
    assert component.facts["snapshot"]["size"] == 4
    assert component.facts["snapshot"]["method"] == "full"


@pytest.mark.parametrize(
    "other",
    [
        {"a": [1.0, 2.0], "b": [3.0, 4.1]},
        {"a": [1.0, 2.0], "c": [3.0, 4.0]},
        {"a": [3.0, 4.0], "b": [1.0, 2.0]},
        {"a": [1.0, 2.0]},
        {"a": [1.0, 2.0], "b": [3.0, 4.0], "c": []},
        {},
    ],
)
def test_each_change_of_a_mapping(other: dict[str, list[float]]) -> None:
    """
    Another value, id, assignment or size is another digest.
    """
    component = mvtrace.index("docs", {"a": [1.0, 2.0], "b": [3.0, 4.0]})

    assert component.facts["snapshot"]["dimension"] == 2
    assert mvtrace.index("docs", other).digest != component.digest


def test_sequence_by_position() -> None:
    """
    A sequence's positions are its ids: another order is another index.
    """
    assert (
        mvtrace.index("docs", ["a", "b"]).digest
        == mvtrace.index("docs", ("a", "b")).digest
        != mvtrace.index("docs", ["b", "a"]).digest
    )


def test_arrays() -> None:
    """
    NumPy arrays are pinned by type, shape and content, alone or as values.
    """
    vectors = np.arange(12, dtype=np.float32).reshape(4, 3)
    component = mvtrace.index("docs", vectors)

    assert component.facts["library"] == "numpy"
    assert component.facts["snapshot"]["dimension"] == 3
    assert mvtrace.index("docs", np.asfortranarray(vectors)).digest == component.digest
    assert mvtrace.index("docs", vectors.astype(np.float64)).digest != component.digest
    by_id = dict(enumerate(vectors))
    fingerprint = mvtrace.index("docs", by_id).facts["snapshot"]["fingerprint"]
    assert fingerprint == component.facts["snapshot"]["fingerprint"]


@pytest.mark.parametrize(
    "change",
    [
        lambda documents: documents.update(d="4"),
        lambda documents: documents.pop("a"),
        lambda documents: documents.pop("c"),
        lambda documents: documents.update(c="other"),
        lambda documents: documents.clear(),
    ],
)
def test_change_of_a_mapping_is_seen(change: Callable[[dict[str, str]], object]) -> None:
    """
    What a mapping's length and ends show is seen with the next query.
    """
    documents = {"a": "1", "b": "2", "c": "3"}
    component = mvtrace.index("docs", documents)
    assert digest_now(component) == component.digest

    change(documents)

    assert digest_now(component) != component.digest


def test_change_of_a_list_and_an_array_is_seen() -> None:
    """
    An item replaced in a list, and a row written in an array, are seen with the next query.
    """
    listed, rows = ["a", "b", "c"], np.zeros((3, 2), dtype=np.float32)
    components = [mvtrace.index("listed", listed), mvtrace.index("rows", rows)]

    listed[1] = "other"
    rows[1, 1] = 1.0

    assert all(digest_now(component) != component.digest for component in components)


def test_change_within_an_item_is_seen_in_time() -> None:
    """
    A value changed in place is found once the state is old.
    """
    now = [0.0]
    documents = {"a": [1.0], "b": [2.0], "c": [3.0]}
    component = mvtrace.index("docs", documents)
    assert isinstance(component.source, ObservedIndex)
    component.source._clock = lambda: now[0]
    component.source._hashed_at = component.source._refilled_at = 0.0
    component.source._max_age_s = MAX_AGE_S
    documents["b"][0] = 9.0
    assert digest_now(component) == component.digest

    now[0] = MAX_AGE_S

    assert digest_now(component) != component.digest


@pytest.mark.parametrize("is_mapping", [True, False])
def test_large_object_is_sampled(is_mapping: bool) -> None:
    """
    Above the limit a sample is hashed, and the facts say so; order still does not matter.
    """
    items: Any = {f"id-{number}": number for number in range(30_000)}
    other: Any = dict(reversed(items.items()))
    if not is_mapping:
        items, other = list(items), list(items)

    component = mvtrace.index("docs", items)

    assert component.facts["snapshot"]["method"] == "sampled"
    assert mvtrace.index("docs", other).digest == component.digest
    changed = dict.fromkeys(items, -1) if is_mapping else [*items[:-1], "x"][::-1]
    assert mvtrace.index("docs", changed).digest != component.digest


def test_huge_mapping_is_counted() -> None:
    """
    A mapping too large to choose a sample from has a size and no fingerprint, and says so.
    """
    component = mvtrace.index("docs", dict.fromkeys(range(1_000_001)))

    assert component.facts["snapshot"] == {"size": 1_000_001, "method": "counters"}


def test_bytes_as_values() -> None:
    """
    Bytes are told from the text that they spell.
    """
    assert mvtrace.index("docs", [b"a"]).digest != mvtrace.index("docs", ["a"]).digest


def test_embedding_model_and_settings_are_pinned() -> None:
    """
    Another embedding model, or another setting, is another index; the model is its part.
    """
    first = mvtrace.embedding_model("e5", model_id="small")
    second = mvtrace.embedding_model("e5", model_id="large")
    component = mvtrace.index("docs", ["a"], embedding_model=first, top_k=3)

    assert component.parts == (first,)
    assert component.facts["embedding_model"] == {
        "component": "embedding_model/e5",
        "digest": first.digest,
    }
    others = {
        mvtrace.index("docs", ["a"], embedding_model=second, top_k=3).digest,
        mvtrace.index("docs", ["a"], embedding_model="e5-small", top_k=3).digest,
        mvtrace.index("docs", ["a"], embedding_model=first, top_k=4).digest,
        mvtrace.index("docs", ["a"]).digest,
    }
    assert len(others - {component.digest}) == 4
    assert digest_now(component) == component.digest


def test_files_of_an_index(tmp_path: Path) -> None:
    """
    A path pins the files, and observes nothing.
    """
    (tmp_path / "index.bin").write_bytes(b"index")

    component = mvtrace.index("docs", tmp_path, embedding_model="e5")

    assert component.facts["artifact"]["bytes"] == 5
    assert component.source is None


@pytest.mark.parametrize("source", [object(), 5, {1, 2}, np.float32(1.0), b"bytes", dict])
def test_object_that_is_no_index(source: object) -> None:
    """
    What no adapter fits is named by its class.
    """
    with pytest.raises(ComponentError) as caught:
        mvtrace.index("docs", source)

    kind = f"{type(source).__module__}.{type(source).__qualname__}"
    assert str(caught.value) == f"Component index 'docs': no adapter fits a {kind}."
    assert caught.value.hint == (
        "Give an index, table or synchronous client of a known library, with collection=… "
        "where it has several; a dict, list or NumPy array, a path, or an object with the methods "
        "of mvtrace.components.IndexSource."
    )


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ({"a": object()}, "value at $ has no canonical form: object is not a JSON type."),
        ({("a", 1): object()}, "value at $ has no canonical form: object is not a JSON type."),
        (
            [np.array([object()])],
            "value at $ has no canonical form: an array of objects is not a JSON type.",
        ),
        ([float("nan")], "value at $ has no canonical form: nan is not a finite number."),
    ],
)
def test_items_without_content(source: Any, problem: str) -> None:
    """
    Items that have no bytes of their own cannot be told apart.
    """
    with pytest.raises(ComponentError) as caught:
        mvtrace.index("docs", source)

    assert str(caught.value) == f"Component index 'docs': of its content, {problem}"
    assert caught.value.hint == (
        "Items are arrays, bytes, dataclasses or JSON values; "
        "for others give an object with the methods of mvtrace.components.IndexSource."
    )


def test_index_that_cannot_be_read() -> None:
    """
    What an index raises when it is read is told.
    """

    class Broken:
        def change_signal(self) -> int:
            return 1

        def snapshot(self) -> Any:
            raise RuntimeError("no connection")

        def describe(self) -> dict[str, Any]:
            return {}

    with pytest.raises(ComponentError) as caught:
        mvtrace.index("docs", Broken())

    assert str(caught.value) == (
        "Component index 'docs': its content cannot be read: RuntimeError: no connection"
    )
    assert caught.value.hint == (
        "If other threads change it meanwhile, give lock=… that guards it."
    )
