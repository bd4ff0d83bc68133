"""Digests sorted beyond memory: the same records as from a list, and differences counted."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvtrace.registry.datasets.comparing import compare_datasets
from mvtrace.registry.datasets.files import find_files
from mvtrace.registry.datasets.hashing import collect_digests, root_of
from mvtrace.registry.datasets.sorting import RowDigests

digests = st.lists(
    st.one_of(
        st.binary(min_size=32, max_size=32),
        st.sampled_from([bytes(32), b"\xff" * 32, b"\x80" + bytes(31)]),
    ),
    max_size=60,
)


def expected(listed: list[bytes]) -> bytes:
    counts = Counter(listed)
    return b"".join(one + counts[one].to_bytes(8, "big") for one in sorted(counts))


@given(listed=digests, run_rows=st.integers(1, 20), batch=st.integers(1, 9))
def test_records_are_sorted_and_counted_however_they_are_spilled(
    listed: list[bytes], run_rows: int, batch: int
) -> None:
    """
    Runs of any length give the records that sorting everything at once gives, and give them again.
    """
    with RowDigests(run_rows=run_rows) as found:
        for start in range(0, len(listed), batch):
            found.add(listed[start : start + batch])

        assert b"".join(found.records()) == expected(listed)
        assert b"".join(found.records()) == expected(listed)
        assert found.rows == len(listed)


@given(listed=digests, run_rows=st.integers(1, 20), count=st.integers(1, 300))
def test_parts_are_equal_ranges_of_digests(listed: list[bytes], run_rows: int, count: int) -> None:
    """
    Divided into any number of parts, each digest is in the part of its range.
    """
    with RowDigests(run_rows=run_rows) as found:
        found.add(listed)
        parts = dict(found.parts(count))

    assert sorted(parts) == list(range(count))
    for part, records in parts.items():
        for at in range(0, len(records), 40):
            assert int.from_bytes(records[at : at + 8]) * count >> 64 == part


@given(one=st.lists(st.integers(0, 9), max_size=20), other=st.lists(st.integers(0, 9), max_size=20))
def test_common_rows_are_those_of_both_multisets(
    tmp_path_factory: pytest.TempPathFactory, one: list[int], other: list[int]
) -> None:
    """
    What only one has is counted as often as it has it more often than the other.
    """
    folder = tmp_path_factory.mktemp("diff")
    for name, numbers in (("a", one), ("b", other)):
        (folder / f"{name}.jsonl").write_text("".join(f'{{"n":{n}}}\n' for n in numbers))

    found = compare_datasets(folder / "a.jsonl", folder / "b.jsonl")

    left, right = Counter(one), Counter(other)
    assert found.common == (left & right).total()
    assert found.only == ((left - right).total(), (right - left).total())
    assert found.is_same == (left == right)


def test_a_root_of_many_runs_is_that_of_one(tmp_path: Path) -> None:
    """
    A dataset beyond the rows that are sorted in memory has the root it has within them.
    """
    (tmp_path / "x.jsonl").write_text("".join(f'{{"n":{n % 900}}}\n' for n in range(1000)))
    roots = []
    for run_rows in (7, 1 << 18):
        with RowDigests(run_rows=run_rows) as found:
            collect_digests(find_files(tmp_path / "x.jsonl"), found, {})
            roots.append(root_of(found.records()))

    assert roots[0] == roots[1]
    assert roots[0][1] == 900
