"""Request ids: the id is the time, and later ids sort later."""

from __future__ import annotations

import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from mvtrace.ids import UUID7_PATTERN, format_uuid7, new_request_id, unix_ms_of


@given(st.integers(0, 2**48 - 1), st.integers(0, 2**74 - 1))
def test_id_holds_its_time(unix_ms: int, random_bits: int) -> None:
    """
    Every id is a UUIDv7 of RFC 9562 and gives its milliseconds back.
    """
    text = format_uuid7(unix_ms, random_bits)

    assert UUID7_PATTERN.fullmatch(text)
    assert unix_ms_of(text) == unix_ms
    parsed = uuid.UUID(text)
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)


@given(st.integers(0, 2**48 - 1), st.integers(0, 2**74 - 1), st.integers(0, 2**74 - 1))
def test_random_bits_are_all_kept(unix_ms: int, first: int, second: int) -> None:
    """
    Ids sort as their random bits do within a millisecond, and differ where these differ.
    """
    texts = (format_uuid7(unix_ms, first), format_uuid7(unix_ms, second))

    assert (texts[0] < texts[1]) == (first < second)
    assert (texts[0] == texts[1]) == (first == second)


def test_ids_sort_in_the_order_they_were_made() -> None:
    """
    Later ids sort later, also within a millisecond and when the clock steps back.
    """
    now_ns = 4_000_000_000_000_000_000

    made = [new_request_id(now_ns), new_request_id(now_ns), new_request_id(now_ns - 10**12)]
    made.append(new_request_id(now_ns + 10**6))

    assert made == sorted(set(made))
    assert unix_ms_of(made[2]) == now_ns // 10**6


def test_threads_make_different_ids() -> None:
    """
    No two threads make the same id.
    """
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: new_request_id(), range(4000)))

    assert len(set(made)) == 4000


FORKING = """
import os
from mvtrace.ids import new_request_id

new_request_id(4 * 10**18)
for _ in range(2):
    if os.fork() == 0:
        os.write(1, new_request_id(4 * 10**18).encode() + b"\\n")
        os._exit(0)
    os.wait()
"""


def test_forked_children_do_not_count_on_from_their_parent() -> None:
    """
    Two children forked from one process make different ids in the same millisecond.
    """
    run = subprocess.run(
        [sys.executable, "-c", FORKING], capture_output=True, text=True, timeout=60, check=True
    )

    first, second = run.stdout.split()
    assert first != second
    assert unix_ms_of(first) == unix_ms_of(second) == 4 * 10**12
