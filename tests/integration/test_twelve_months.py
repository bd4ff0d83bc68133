"""Requests of twelve different months: the oldest is read as the newest is."""

from __future__ import annotations

from pathlib import Path

from filling import fill

from mvtrace.store import open_store


def test_oldest_request_costs_what_the_newest_does(tmp_path: Path) -> None:
    """
    A look-up by request id reads one granule of one part, whichever of twelve months it lies in.
    """
    ids = fill(tmp_path, 24_000, months=12)
    store = open_store(f"chdb://{tmp_path / 'store'}")
    try:
        months = store.query(
            "SELECT uniqExact(toYYYYMM(fromUnixTimestamp64Milli(toInt64(reinterpretAsUInt64("
            "reverse(substring(request_id, 1, 6))))))) FROM requests"
        ).rows
        read = [
            store.query(
                "SELECT sum(parts), sum(rows) FROM ("
                "EXPLAIN ESTIMATE SELECT record FROM requests WHERE project = 'default' "
                f"AND request_id = unhex('{one.replace('-', '')}'))"
            ).rows[0]
            for one in (ids[0], ids[-1])
        ]
    finally:
        store.close()

    assert months[0][0] >= 12
    assert read[0][0] == read[1][0] == 1
    assert read[0][1] <= 1024
    assert read[1][1] <= 1024
