"""Real usearch and FAISS indexes: content decides, whatever way it came in."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import faiss
import numpy as np
import pytest
from usearch.index import Index, Indexes

import mvtrace
from mvtrace.components import Component, IndexState, ObservedIndex
from mvtrace.errors import ComponentError

DIMENSION = 8
COUNT = 200
RANDOM = np.random.default_rng(7)
VECTORS = RANDOM.normal(size=(COUNT, DIMENSION)).astype(np.float32)
OTHER = RANDOM.normal(size=(COUNT, DIMENSION)).astype(np.float32)
KEYS = np.arange(COUNT) + 1000
SHUFFLED = RANDOM.permutation(COUNT)


def state_of(component: Component) -> IndexState:
    assert isinstance(component.source, ObservedIndex)
    return component.source.current()


def usearch_of(order: Any = None, vectors: Any = VECTORS, **options: Any) -> Index:
    order = np.arange(len(vectors)) if order is None else order
    index = Index(ndim=vectors.shape[1], **{"metric": "cos", "dtype": "f32", **options})
    for number in order:
        index.add(int(KEYS[number]) if len(KEYS) > number else int(number), vectors[number])
    return index


def faiss_of(factory: str, order: Any = None, vectors: Any = VECTORS) -> Any:
    order = np.arange(len(vectors)) if order is None else order
    index = faiss.index_factory(DIMENSION, factory)
    if "IVF" in factory:
        index.verbose = False
        index.cp.min_points_per_centroid = 1
        index.train(VECTORS)
    elif not index.is_trained:
        index.train(VECTORS)
    index.add_with_ids(vectors[order], KEYS[order])
    return index


class TestUsearch:
    def test_content_in_another_order(self) -> None:
        """
        The same vectors under the same keys, added in another order: the same digest.
        """
        component = mvtrace.index("docs", usearch_of())

        assert mvtrace.index("docs", usearch_of(SHUFFLED)).digest == component.digest
        assert component.facts["library"] == "usearch"
        assert component.facts["snapshot"] == {
            "size": COUNT,
            "dimension": DIMENSION,
            "metric": "cos",
            "method": "full",
            "fingerprint": component.facts["snapshot"]["fingerprint"],
        }

    def test_fingerprint_is_that_of_its_items(self) -> None:
        """
        A usearch index and a dict with the same keys and vectors have the same fingerprint.
        """
        plain = {int(key): row for key, row in zip(KEYS, VECTORS, strict=True)}
        snapshots = [
            mvtrace.index("docs", source).facts["snapshot"] for source in (plain, usearch_of())
        ]

        assert snapshots[0]["fingerprint"] == snapshots[1]["fingerprint"]

    def test_saved_and_restored(self, tmp_path: Any) -> None:
        """
        An index read back from its file, or viewed in it, is the same.
        """
        index = usearch_of()
        index.save(tmp_path / "index.usearch")
        digest = mvtrace.index("docs", index).digest

        for view in (False, True):
            restored = Index.restore(tmp_path / "index.usearch", view=view)
            assert mvtrace.index("docs", restored).digest == digest

    @pytest.mark.parametrize(
        "change",
        [
            lambda index: index.add(5, VECTORS[0]),
            lambda index: index.remove(int(KEYS[3])),
            lambda index: index.clear(),
            lambda index: index.reset(),
            lambda index: setattr(index, "expansion_search", 200),
        ],
    )
    def test_change_is_seen_at_once(self, change: Callable[[Index], object]) -> None:
        """
        An add, a remove, a clear and another search setting are seen with the next query.
        """
        index = usearch_of()
        component = mvtrace.index("docs", index)
        assert state_of(component).digest == component.digest

        change(index)

        assert state_of(component).digest not in (component.digest, None)

    def test_reindex_is_seen_at_once(self) -> None:
        """
        Other vectors under the same keys are seen with the next query, and so is the way back.
        """
        index = usearch_of()
        component = mvtrace.index("docs", index)

        index.reset()
        index.add(KEYS, OTHER)
        assert state_of(component).digest not in (component.digest, None)

        index.clear()
        index.add(KEYS, VECTORS)
        assert state_of(component).digest == component.digest

    def test_exchanged_vector_is_seen_in_time(self) -> None:
        """
        One vector exchanged under its key is found by the next full hash.
        """
        index = usearch_of()
        component = mvtrace.index("docs", index)
        index.remove(int(KEYS[77]))
        index.add(int(KEYS[77]), OTHER[77])
        assert isinstance(component.source, ObservedIndex)

        component.source._hashed_at -= 60

        assert state_of(component).digest not in (component.digest, None)

    @pytest.mark.parametrize(
        "options",
        [
            {"metric": "l2sq"},
            {"dtype": "f16"},
            {"dtype": "i8"},
            {"connectivity": 4},
            {"expansion_search": 10},
            {"multi": True},
        ],
    )
    def test_settings_count(self, options: dict[str, Any]) -> None:
        """
        Metric, type of numbers and graph settings are pinned.
        """
        digest = mvtrace.index("docs", usearch_of()).digest

        assert mvtrace.index("docs", usearch_of(**options)).digest != digest

    def test_several_vectors_under_one_key(self) -> None:
        """
        In a multi index each vector of a key counts, in any order, and each once.
        """
        indexes = []
        for rows in ([0, 1, 2], [2, 0, 1], [0, 1, 3], [0, 1]):
            index = Index(ndim=DIMENSION, metric="cos", dtype="f32", multi=True)
            for row in rows:
                index.add(7, VECTORS[row])
            index.add(8, VECTORS[5])
            indexes.append(mvtrace.index("docs", index).digest)

        assert indexes[0] == indexes[1]
        assert len(set(indexes)) == 3

    def test_empty_index(self) -> None:
        """
        An empty index is one too, and the first vector is seen.
        """
        index = Index(ndim=DIMENSION, metric="cos")
        component = mvtrace.index("docs", index)
        assert component.facts["snapshot"]["size"] == 0

        index.add(1, VECTORS[0])

        assert state_of(component).digest not in (component.digest, None)

    def test_large_index_is_sampled(self) -> None:
        """
        Above the limit the vectors of a sample are hashed and all keys summed; the facts say so.
        """
        count = 20_500
        vectors = RANDOM.normal(size=(count, 2)).astype(np.float32)
        keys = np.arange(count)
        options = {"connectivity": 3, "expansion_add": 2, "metric": "l2sq", "dtype": "f32"}

        def digest(order: Any, keys: Any = keys, vectors: Any = vectors) -> str:
            index = Index(ndim=2, **options)
            index.add(keys[order], vectors[order])
            component = mvtrace.index("docs", index)
            assert component.facts["snapshot"]["method"] == "sampled"
            assert state_of(component).digest == component.digest
            return component.digest

        first = digest(np.arange(count))
        assert digest(RANDOM.permutation(count)) == first
        assert digest(np.arange(count), vectors=vectors + 1) != first
        other_keys = keys.copy()
        other_keys[17] = count + 5
        assert digest(np.arange(count), keys=other_keys) != first

    def test_several_indexes_at_once_have_no_adapter(self) -> None:
        """
        A group of shards does not give its vectors, so it is refused rather than half pinned.
        """
        with pytest.raises(ComponentError) as caught:
            mvtrace.index("docs", Indexes([usearch_of()]))

        assert str(caught.value) == (
            "Component index 'docs': no adapter fits a usearch.index.Indexes."
        )


class TestFaiss:
    @pytest.mark.parametrize("factory", ["IDMap,Flat", "IDMap2,Flat", "IDMap2,HNSW8", "IVF4,Flat"])
    def test_content_in_another_order(self, factory: str) -> None:
        """
        The same vectors under the same ids, added in another order: the same digest; other vectors,
        and the same under other ids, another.
        """
        component = mvtrace.index("docs", faiss_of(factory))

        assert component.facts["snapshot"]["method"] == "full"
        assert mvtrace.index("docs", faiss_of(factory, SHUFFLED)).digest == component.digest
        assert mvtrace.index("docs", faiss_of(factory, vectors=OTHER)).digest != component.digest
        moved = faiss_of(factory, vectors=VECTORS[::-1].copy())
        assert mvtrace.index("docs", moved).digest != component.digest

    @pytest.mark.parametrize("factory", ["Flat", "HNSW8", "SQ8", "PCA4,Flat", "IDMap2,SQ8"])
    def test_reindex_is_seen_at_once(self, factory: str) -> None:
        """
        Whatever the kind of index, other vectors are another digest.
        """
        index = faiss.index_factory(DIMENSION, factory)
        index.train(VECTORS)
        add = index.add_with_ids if "IDMap" in factory else lambda rows, _: index.add(rows)
        add(VECTORS, KEYS)
        component = mvtrace.index("docs", index)
        assert state_of(component).digest == component.digest

        index.reset()
        add(OTHER[:-1], KEYS[:-1])

        state = state_of(component)
        assert state.digest not in (component.digest, None)
        assert state.snapshot.size == COUNT - 1

    @pytest.mark.parametrize("factory", ["IDMap2,Flat", "IVF4,Flat"])
    def test_reindex_of_the_same_size_is_seen_at_once(self, factory: str) -> None:
        """
        Other vectors under the same ids are seen with the next query, and so is the way back.
        """
        index = faiss_of(factory)
        component = mvtrace.index("docs", index)
        index.reset()
        index.add_with_ids(OTHER, KEYS)
        assert state_of(component).digest not in (component.digest, None)

        index.reset()
        index.add_with_ids(VECTORS, KEYS)

        assert state_of(component).digest == component.digest

    def test_removed_id_and_search_setting_are_seen_at_once(self) -> None:
        """
        A removed vector, and another number of lists searched, are seen with the next query.
        """
        for factory, change in (
            ("IDMap2,Flat", lambda index: index.remove_ids(KEYS[:1])),
            ("IVF4,Flat", lambda index: setattr(index, "nprobe", 3)),
        ):
            index = faiss_of(factory)
            component = mvtrace.index("docs", index)

            change(index)

            assert state_of(component).digest not in (component.digest, None)

    def test_position_is_the_id_of_a_flat_index(self) -> None:
        """
        Without an id map another order is another index, since FAISS answers by position.
        """
        digests = []
        for order in (np.arange(COUNT), SHUFFLED):
            index = faiss.IndexFlatIP(DIMENSION)
            index.add(VECTORS[order])
            digests.append(mvtrace.index("docs", index).digest)

        assert digests[0] != digests[1]

    def test_large_flat_index_is_sampled(self) -> None:
        """
        Above the limit a sample is hashed; with ids its choice does not depend on their order.
        """
        count = 25_000
        vectors = RANDOM.normal(size=(count, 2)).astype(np.float32)
        digests = []
        for order in (np.arange(count), RANDOM.permutation(count)):
            index = faiss.IndexIDMap2(faiss.IndexFlatL2(2))
            index.add_with_ids(vectors[order], order)
            component = mvtrace.index("docs", index)
            assert component.facts["snapshot"]["method"] == "sampled"
            digests.append(component.digest)
        flat = faiss.IndexFlatL2(2)
        flat.add(vectors)

        assert digests[0] == digests[1]
        assert mvtrace.index("docs", flat).facts["snapshot"]["method"] == "sampled"

    def test_binary_and_empty_index(self) -> None:
        """
        Binary indexes are hashed as serialized, empty ones have a digest too.
        """
        binary = faiss.IndexBinaryFlat(16)
        binary.add(np.zeros((3, 2), dtype=np.uint8))

        component = mvtrace.index("docs", binary)

        assert component.facts["snapshot"]["method"] == "serialized"
        assert state_of(component).digest == component.digest
        assert mvtrace.index("docs", faiss.IndexFlatL2(4)).facts["snapshot"]["size"] == 0


def test_no_library_is_imported() -> None:
    """
    Making components, also of plain indexes, imports no library of arrays or indexes.
    """
    program = (
        "import sys, mvtrace.components as c\n"
        "c.index('docs', {'a': [1.0]}); c.stack()\n"
        "heavy = {'numpy', 'usearch', 'faiss', 'rich', 'click', 'pandas'} & set(sys.modules)\n"
        "sys.exit(', '.join(sorted(heavy)) or None)\n"
    )

    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )

    assert (run.returncode, run.stderr) == (0, "")
