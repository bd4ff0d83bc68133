"""What a re-run comes to: mismatch, match or inconclusive, in whole sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from mvtrace.quality import paired
from mvtrace.reproduce.reproducing import Family, equal_bytes, holm, reproduced, upper_bound


def lengths(shift: float, *, sizes: tuple[int, int] = (5, 5), requests: int = 30) -> Family:
    """Return lengths of outputs; the re-runs' are longer by *shift*."""
    generator = np.random.default_rng(3)
    return Family(
        name="length",
        kind="number",
        recorded=generator.normal(0, 1, (requests, sizes[0])).tolist(),
        rerun=generator.normal(shift, 1, (requests, sizes[1])).tolist(),
    )


def modes(recorded: str, rerun: str) -> Family:
    """Return thirty requests whose outputs are all of one mode."""
    return Family(
        name="mode", kind="category", recorded=[list(recorded)] * 30, rerun=[list(rerun)] * 30
    )


def test_longer_outputs_are_a_mismatch() -> None:
    """
    One family that differs is enough, after the correction for all of them; it is named.
    """
    found = reproduced([lengths(1.0), modes("aabba", "abbaa")])

    assert (found.outcome, found.reason) == ("mismatch", "differs")
    assert found.sentence == (
        "Mismatch: outputs run again differ from those recorded in length (p = 0.002)."
    )
    assert [one.adjusted for one in found.families] == [0.002, 1.0]
    assert [(one.requests, one.recorded, one.rerun) for one in found.families] == [
        (30, 150, 150)
    ] * 2


def test_what_is_not_rejected_is_no_match() -> None:
    """
    Equal distributions are inconclusive, never a match.
    """
    found = reproduced([lengths(0.0)])

    assert (found.outcome, found.reason) == ("inconclusive", "not_rejected")
    assert found.sentence.startswith("Inconclusive: no difference was seen (p = 0.")
    assert found.sentence.endswith("), which proves none; 30 requests were compared.")


def test_too_few_outputs_are_refused() -> None:
    """
    Three and three outputs of one request could never be significant: nothing is claimed.
    """
    found = reproduced([lengths(100.0, sizes=(3, 3), requests=1)])

    assert (found.outcome, found.reason) == ("inconclusive", "too_few")
    assert found.families[0].p is None
    assert found.sentence == (
        "Inconclusive: outputs in these numbers cannot have a p-value below 0.1, and 0.05 was "
        "asked for; record 5 outputs of 30 requests or more."
    )


def test_families_share_the_reach() -> None:
    """
    What would be enough for one family (2 of 70) is not for two.
    """
    one = lengths(100.0, sizes=(4, 4), requests=1)
    other = Family(name="again", kind="number", recorded=one.recorded, rerun=one.rerun)

    assert reproduced([one]).outcome == "mismatch"
    assert reproduced([one, other]).reason == "too_few"


@pytest.mark.parametrize(
    ("families", "problem"),
    [
        ([], "families are named nothing"),
        ([modes("a", "b"), modes("a", "b")], "families are named 'mode', 'mode'"),
        ([modes("a", "")], "1 of 1 outputs were recorded: one side is empty"),
        ([modes("", "a")], "0 of 1 outputs were recorded: one side is empty"),
    ],
)
def test_what_does_not_compare(families: Sequence[Family], problem: str) -> None:
    """
    No families, two of one name, and requests with one side alone are refused.
    """
    with pytest.raises(ValueError) as caught:
        reproduced(families)

    assert str(caught.value) == problem


def test_requests_go_in_pairs() -> None:
    """
    A request that was not run again is refused, and not silently left out.
    """
    with pytest.raises(ValueError, match="shorter"):
        reproduced([Family(name="x", kind="number", recorded=[[1.0]], rerun=[])])


def test_a_deterministic_state_matches_up_to_a_bound() -> None:
    """
    No unlike output among 300 bounds their share at one per cent: below a tolerance it is a match.
    """
    same = [("sha256:a", "sha256:a")] * 300

    match, few, unlike = (
        equal_bytes(same, tolerance=0.01),
        equal_bytes(same, tolerance=0.005),
        equal_bytes([*same, ("sha256:a", "sha256:b")], tolerance=0.05),
    )

    assert match.sentence == (
        "Match: 0 of 300 outputs differ; at most 0.00994 of all may, and 0.01 was declared."
    )
    assert (few.outcome, few.sentence) == (
        "inconclusive",
        "Inconclusive: 0 of 300 outputs differ; at most 0.00994 of all may, but 0.005 was declared.",
    )
    assert (unlike.outcome, unlike.sentence) == (
        "mismatch",
        "Mismatch: 1 of 301 outputs differ; at most 0.0157 of all may.",
    )


@pytest.mark.parametrize(("pairs", "tolerance"), [(0, 0.1), (3, 0.0), (3, 1.0), (3, math.nan)])
def test_nothing_to_say_of_equality(pairs: int, tolerance: float) -> None:
    """
    Without pairs, or with a tolerance of nothing or all, there is no answer.
    """
    with pytest.raises(ValueError) as caught:
        equal_bytes([("a", "a")] * pairs, tolerance=tolerance)

    assert str(caught.value) == (f"{pairs} pairs and a tolerance of {tolerance}: nothing to say")


@pytest.mark.parametrize(
    ("unlike", "pairs"), [(0, 10), (0, 300), (3, 40), (39, 40), (40, 40), (17, 100_000)]
)
def test_upper_bound_is_that_of_clopper_and_pearson(unlike: int, pairs: int) -> None:
    """
    It is the quantile of a beta distribution; of none it is 1 - alpha^(1 / pairs).
    """
    exact = 1.0 if unlike == pairs else float(stats.beta.ppf(0.95, unlike + 1, pairs - unlike))

    assert upper_bound(unlike, pairs) == pytest.approx(exact, rel=1e-9)
    assert upper_bound(0, pairs) == pytest.approx(1 - 0.05 ** (1 / pairs), rel=1e-9)


def test_holm_is_the_same_as_elsewhere() -> None:
    """
    The correction is that of the comparison of evals, and of the published example.
    """
    values = [0.01, 0.04, 0.03, 0.005, 0.5, 0.04]

    assert holm(values) == pytest.approx(paired.holm(values))
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
