"""Distances between outputs, and what has none."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mvtrace.reproduce.distances import MAX_OUTPUTS, distances


def test_categories_are_equal_or_not() -> None:
    """
    Texts, numbers or tuples are 0 from what they equal and 1 from all else.
    """
    assert distances(["a", "b", "a"], "category").tolist() == [[0, 1, 0], [1, 0, 1], [0, 1, 0]]


def test_numbers_by_their_difference() -> None:
    """
    Numbers are as far apart as their difference is large.
    """
    assert distances([1.0, 4.0], "number").tolist() == [[0, 3], [3, 0]]


def test_vectors_by_euclid() -> None:
    """
    Vectors have Euclid's distance.
    """
    assert distances([[0.0, 0.0], [3.0, 4.0]], "vector").tolist() == [[0, 5], [5, 0]]


@pytest.mark.parametrize(
    ("outputs", "kind", "problem"),
    [
        ([1.0, math.nan], "number", "an output is not finite"),
        ([1.0, math.inf], "number", "an output is not finite"),
        ([[1.0], [1.0, 2.0]], "vector", "outputs of kind vector have the shapes [(1,), (2,)]"),
        ([[1.0], [2.0]], "number", "outputs of kind number have the shapes [(1,)]"),
        ([1.0, 2.0], "vector", "outputs of kind vector have the shapes [()]"),
        ([], "number", "outputs of kind number have the shapes []"),
        (
            [["a"]],
            "category",
            "an output is no text, number or tuple of these: unhashable type: 'list'",
        ),
        (["a"], "text", "'text' is none of category, number, vector"),
        (
            [0.0] * (MAX_OUTPUTS + 1),
            "number",
            "2001 outputs of one request; at most 2000 compare",
        ),
    ],
)
def test_what_has_no_distance(outputs: list[object], kind: str, problem: str) -> None:
    """
    Numbers that are none, rows of several lengths, unknown kinds and too many outputs are refused.
    """
    with pytest.raises(ValueError) as caught:
        distances(outputs, kind)

    assert str(caught.value) == problem


def test_large_vectors_are_compared_row_by_row() -> None:
    """
    Five hundred outputs of a thousand dimensions compare as two of them do.
    """
    rows = np.random.default_rng(1).standard_normal((500, 1000))

    found = distances(rows, "vector")  # type: ignore[arg-type]

    assert found[3, 7] == pytest.approx(math.dist(rows[3], rows[7]))
