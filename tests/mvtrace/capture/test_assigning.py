"""Which side of a rollout a key is on: a share that is exact, keys that stay, rollouts apart."""

from __future__ import annotations

import hashlib
import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvtrace.capture.assigning import POINTS, Draw, rollout_id, share_of
from mvtrace.errors import ConfigurationError

KEYS = [f"user-{number}".encode() for number in range(50_000)]
SHARES = (0.001, 0.01, 0.05, 0.1, 0.5, 0.9)


def canaries(rollout: str, share: float, keys: list[bytes] = KEYS) -> set[bytes]:
    """The keys that the canary serves."""
    draw = Draw(rollout, share)
    return {key for key in keys if draw.is_canary(key)}


@pytest.mark.parametrize("share", SHARES)
def test_the_share_is_that_of_independent_draws(share: float) -> None:
    """
    Of 50,000 keys the canary serves the share, to four standard errors of a binomial count.
    """
    served = len(canaries("a", share))

    error = math.sqrt(len(KEYS) * share * (1 - share))
    assert abs(served - len(KEYS) * share) <= 4 * error


def test_no_share_and_all_of_it_are_exact() -> None:
    """
    A share of 0 serves nobody and one of 1 everybody, without exception.
    """
    assert canaries("a", 0.0) == set()
    assert canaries("a", 1.0) == set(KEYS)


def test_a_larger_share_moves_only_the_keys_it_needs() -> None:
    """
    Whoever had the canary keeps it while its share grows, and the added keys are the difference.
    """
    before: set[bytes] = set()
    for share in SHARES:
        now = canaries("a", share)

        assert before <= now
        before = now
    small, large = canaries("a", 0.05), canaries("a", 0.1)
    error = math.sqrt(len(KEYS) * 0.05 * 0.95)
    assert abs(len(large - small) - len(KEYS) * 0.05) <= 4 * error


def test_rollouts_draw_independently() -> None:
    """
    Who had the canary of one rollout has that of the next with the same share as anybody else.
    """
    first, second = canaries("a", 0.1), canaries("b", 0.1)

    both = len(first & second)

    assert abs(both - len(KEYS) * 0.01) <= 4 * math.sqrt(len(KEYS) * 0.01 * 0.99)


def test_numbered_keys_do_not_line_up_with_buckets() -> None:
    """
    Among the keys of each last digit the share is the same: a hash knows no order.
    """
    served = canaries("a", 0.1)

    for digit in range(10):
        of_digit = [key for key in KEYS if key.endswith(str(digit).encode())]
        found = len(served.intersection(of_digit))
        assert abs(found - len(of_digit) * 0.1) <= 4.5 * math.sqrt(len(of_digit) * 0.09)


@given(st.binary(min_size=1, max_size=40), st.floats(0, 1), st.floats(0, 1))
def test_monotone_law(key: bytes, one: float, other: float) -> None:
    """
    Whatever the key: who is in a share is in every larger one.
    """
    small, large = sorted((one, other))

    assert Draw("r", small).is_canary(key) <= Draw("r", large).is_canary(key)


def test_the_point_is_the_documented_hash() -> None:
    """
    Another language gets the same point from the sentence in the schemas' README.
    """
    digest = hashlib.sha256(b"mvtrace.rollout/1\n" + b"abc" + b"\n" + "ключ".encode()).digest()
    draw = Draw("abc", 0.5)

    assert draw.point("ключ".encode()) == int.from_bytes(digest[:8], "big")
    assert draw.point(b"user-1") == 0xC9FF5DE67CFCA88C
    assert 0 <= draw.point(b"user-1") < POINTS


def test_other_processes_agree() -> None:
    """
    A fresh interpreter with another hash seed puts the same keys on the same side.
    """
    code = (
        "from mvtrace.capture.assigning import Draw; draw = Draw('a', 0.1); "
        "print([n for n in range(2000) if draw.is_canary(f'user-{n}'.encode())])"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={"PYTHONHASHSEED": "7", "PYTHONPATH": ":".join(sys.path)},
    ).stdout  # fmt: skip

    mine = [n for n in range(2000) if Draw("a", 0.1).is_canary(f"user-{n}".encode())]

    assert told.strip() == str(mine)


@pytest.mark.parametrize(
    "share", [-0.1, 1.0001, float("nan"), float("inf"), "0.5", None, True, 10**400]
)
def test_a_share_that_is_none(share: object) -> None:
    """
    What is no number from 0 to 1 is refused with the value.
    """
    with pytest.raises(ConfigurationError, match="it is a number from 0 to 1"):
        share_of(share)


def test_a_rollout_without_a_name_has_that_of_its_facts() -> None:
    """
    The same service, environment and versions are the same rollout; another version is another.
    """
    facts = {"service": "bot", "environment": None, "stable": "a" * 64, "canary": "b" * 64}

    assert rollout_id(**facts) == rollout_id(**facts)
    assert rollout_id(**facts) != rollout_id(**{**facts, "canary": "c" * 64})
    assert len(rollout_id(**facts)) == 32
