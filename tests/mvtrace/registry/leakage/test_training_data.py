"""What counts as training data of what was named: versions, suites, experiments; and what is none."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from stored import Filler, new_store

from mvtrace.errors import CheckFailedError, UsageError
from mvtrace.registry.datasets.hashing import hash_dataset
from mvtrace.registry.evals.suites import Examples, suite_entry
from mvtrace.registry.leakage.certificates import Check
from mvtrace.registry.leakage.checking import check
from mvtrace.registry.leakage.methods import Settings
from mvtrace.registry.leakage.sides import Side
from mvtrace.registry.refs import Ref
from mvtrace.store import Store

pytest.importorskip("datasketch")
VERSION, EARLIER = Ref("composite", "1" * 64), Ref("composite", "2" * 64)
MODEL, OTHER = Ref("component", "3" * 64), Ref("component", "4" * 64)
EXPERIMENT = Ref("experiment", "5" * 64)
FAR = Ref("dataset", "6" * 64)
ASKED = "what is the capital of the land beyond the seven mountains"
TAUGHT = "a treatise on the keeping of bees in cold and windy places"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    one = new_store(f"chdb://{tmp_path / 'store'}")
    yield one
    one.close()


class Data:
    """Training data and an eval as files that are registered, and checks of them."""

    def __init__(self, store: Store, folder: Path) -> None:
        self._store = store
        self._folder = folder
        self.fill = Filler(store)
        self._path, self.eval = self._written("eval", ASKED)

    def file(self, name: str, text: str) -> Ref:
        """Register a dataset of one row."""
        path, ref = self._written(name, text)
        self.fill.entry(hash_dataset(path).entry(name, uri=str(path)))
        return ref

    def _written(self, name: str, text: str) -> tuple[Path, Ref]:
        path = self._folder / f"{name}.jsonl"
        path.write_text(json.dumps({"text": text}) + "\n")
        return path, hash_dataset(path).ref

    def made(self, child: Ref, parent: Ref, role: str = "dataset") -> None:
        """Store that *child* was made from *parent*."""
        self.fill.edge(str(child), str(parent), role, "sha256:1")

    def check(self, *train: Ref) -> Check:
        """Compare the eval with all of *train*."""
        sides = [Side(str(ref), ref=ref) for ref in train]
        return check(Side("eval", path=self._path), sides, Settings(), ask=self._ask)

    def _ask(self, sql: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        body = self._store.raw(sql, {"project": "default", **parameters}, "JSONEachRow")
        return [json.loads(line) for line in body.splitlines()]


@pytest.fixture
def data(store: Store, tmp_path: Path) -> Data:
    return Data(store, tmp_path)


def unchecked(found: Check) -> list[Ref | None]:
    return [one.ref for one in found.sources if one.why]


@pytest.mark.parametrize("named", [VERSION, MODEL, EXPERIMENT])
def test_nothing_made_of_data(data: Data, named: Ref) -> None:
    """
    Where no data is recorded of what was named, a check is refused: it would compare nothing.
    """
    data.made(VERSION, MODEL, "model/answer")

    with pytest.raises(UsageError, match=r"is not made of data|is recorded as data"):
        data.check(named)


def test_a_version_with_a_model_without_data(data: Data) -> None:
    """
    Of two models of a version the one without recorded training data is named, and is missing;
    a prompt is none.
    """
    data.made(VERSION, MODEL, "model/answer")
    data.made(VERSION, OTHER, "embedding_model/search")
    data.made(VERSION, Ref("component", "7" * 64), "prompt/answer")
    data.made(MODEL, data.file("train", TAUGHT))

    found = data.check(VERSION)

    assert (unchecked(found), found.overlap, found.is_complete) == ([OTHER], 0, False)
    data.made(OTHER, data.file("pairs", ASKED))
    found = data.check(VERSION)
    assert (unchecked(found), found.overlap, found.is_complete) == ([], 1, True)


def test_what_came_before_is_no_part_of_a_version(data: Data) -> None:
    """
    Data of the version before, and of the experiment it was tried in, is not what it was made from.
    """
    data.made(VERSION, MODEL, "model/answer")
    data.made(MODEL, data.file("train", TAUGHT))
    data.made(VERSION, EARLIER, "previous")
    data.made(VERSION, EXPERIMENT, "experiment")
    data.made(EXPERIMENT, EARLIER, "base")
    data.made(EARLIER, OTHER, "model/answer")
    data.made(OTHER, data.eval)

    found = data.check(VERSION)

    assert (found.overlap, found.is_made_of_eval, found.is_complete) == (0, False, True)


def test_a_suite_is_its_examples(data: Data) -> None:
    """
    A suite that is named as training data is compared by its examples.
    """
    suite = suite_entry("taught", Examples(data.file("taught", ASKED + " of glass").digest, 1))
    data.fill.entry(suite)

    assert data.check(suite.ref).overlap == 1


def test_nothing_at_hand(data: Data) -> None:
    """
    Where no training data can be read, nothing is certified; but that it was made from the eval is.
    """
    data.made(MODEL, FAR)

    with pytest.raises(CheckFailedError, match="No training data could be compared: dataset:666"):
        data.check(MODEL)

    data.made(FAR, data.eval)
    found = data.check(MODEL)
    assert (found.is_made_of_eval, unchecked(found)) == (True, [FAR, data.eval])
