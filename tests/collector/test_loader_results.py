"""Results of evals on their way into the store: a row each, verified, once, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attested import PRODUCER, drain, load

from mvtrace.digest import ENTRY_DOMAIN, canonical_bytes, digest_of
from mvtrace.otlp import LogEvent
from mvtrace.registry.entries import Entry
from mvtrace.registry.evals.results import Pinned, Result, pieces_of
from mvtrace.semconv import ENTRY_DIGEST, EVENT_ENTRY
from mvtrace.store import Store, migrate, open_store

PINNED = Pinned(composite="a" * 64, suite="b" * 64, scorer="c" * 64)
REQUEST = "01989f3c-2a4b-7c3d-8e5f-6a7b8c9d0e1f"
AT = "1787396527123456789"
SOME = [
    Result("q1", value=1.0, cluster="page 1", request_id=REQUEST),
    Result("q2", value=0.5, label="P"),
    Result("q2", repeat=1, value=0.0, label="I"),
    Result("q3", label="grader_failed"),
]
ROWS = (
    "SELECT suite, scorer, composite, run, entry, example, repeat, cluster, value, label, "
    "lower(hex(request_id)), piece, pieces, toUnixTimestamp64Nano(recorded_at) "
    "FROM eval_results ORDER BY example, repeat"
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(f"chdb://{tmp_path / 'db'}") as opened:
        migrate(opened)
        yield opened


def events(entries: list[Entry]) -> list[Any]:
    return [(event, PRODUCER) for entry in entries for event in entry.events()]


def test_each_result_is_a_row_pinned_to_version_suite_and_scorer(
    store: Store, tmp_path: Path
) -> None:
    """
    A row says what was scored, by what, on which suite, in which run, and which entry says so.
    """
    [entry] = pieces_of(PINNED, SOME, recorded_at=AT)
    load(store, tmp_path / "in", events([entry])).close()

    pinned = (PINNED.suite, PINNED.scorer, PINNED.composite, entry.said["run"], entry.digest)
    place = (1, 1, int(AT))
    assert store.query(ROWS).rows == [
        (*pinned, "q1", 0, "page 1", 1.0, "", REQUEST.replace("-", ""), *place),
        (*pinned, "q2", 0, "", 0.5, "P", None, *place),
        (*pinned, "q2", 1, "", 0.0, "I", None, *place),
        (*pinned, "q3", 0, "", None, "grader_failed", None, *place),
    ]


def test_a_replay_changes_nothing(store: Store, tmp_path: Path) -> None:
    """
    Sent twice, and loaded again with another token, each result is one row still; a row that the
    store lost comes back.
    """
    entries = pieces_of(PINNED, SOME, recorded_at=AT)
    inbox = load(store, tmp_path / "in", events(entries * 2))
    once = store.query(ROWS).rows

    inbox.reopen(inbox.stored_segments(after_ms=0), is_new_epoch=True)
    drain(store, inbox)
    assert store.query(ROWS).rows == once

    store.command("ALTER TABLE eval_results DELETE WHERE example = 'q2' SETTINGS mutations_sync=2")
    inbox.reopen(inbox.stored_segments(after_ms=0), is_new_epoch=True)
    drain(store, inbox)
    inbox.close()
    assert store.query(ROWS).rows == once


def test_a_run_in_pieces_is_stored_whole(store: Store, tmp_path: Path) -> None:
    """
    Ten thousand results come in several entries, and every one of them is a row.
    """
    results = [Result(f"question-{n:05}", value=n % 2, cluster=f"c{n // 9}") for n in range(10_000)]
    entries = pieces_of(PINNED, results, recorded_at=AT)
    load(store, tmp_path / "in", events(entries)).close()

    assert len(entries) > 2
    assert store.query(
        "SELECT count(), uniqExact(example), uniqExact(entry), any(pieces), sum(value) "
        "FROM eval_results"
    ).rows == [(10_000, 10_000, len(entries), len(entries), 5_000.0)]


def said(**changed: Any) -> str:
    [entry] = pieces_of(PINNED, SOME[:2], recorded_at=AT)
    return canonical_bytes({**entry.said, **changed}).decode()


ONE = {"example": "q", "value": 1}


FLAWED = [
    (said(suite="b"), "its suite is no digest"),
    (said(composite=5), "its composite is no version"),
    (said(run=""), "its run is no digest"),
    (said(scorer="me"), "its scorer is no digest"),
    (said(recorded_at="yesterday"), "recorded_at is no time"),
    (said(recorded_at="9" * 19), "recorded_at is no time"),
    (said(piece=3, pieces=2), "its piece is none"),
    (said(results=[]), "its results are no list of results"),
    (said(results="all"), "its results are no list of results"),
    (said(results=[ONE, ONE]), "an example comes twice"),
    (said(results=[{"value": 1}]), "an example or a cluster is not 1 to 200 characters"),
    (said(results=[{"example": "q"}]), "a value and a label are missing"),
    (
        said(results=[{"example": "q", "label": "x" * 257}]),
        "a value is not finite, or a label too long",
    ),
    (said(results=[{**ONE, "request_id": "me"}]), "a request_id is none"),
]


def test_results_that_are_none_go_to_quarantine_whole(store: Store, tmp_path: Path) -> None:
    """
    One flaw keeps all of an entry out: neither the entry nor a row of it is stored.
    """
    sent = [
        LogEvent(EVENT_ENTRY, 1, body, {ENTRY_DIGEST: digest_of(ENTRY_DOMAIN, body.encode())})
        for body, _ in FLAWED
    ]
    load(store, tmp_path / "in", [(event, PRODUCER) for event in sent]).close()

    found = store.query("SELECT body, reason, detail FROM quarantine").rows
    assert {body: (reason, detail) for body, reason, detail in found} == {
        body: ("not-results", problem) for body, problem in FLAWED
    }
    for table in ("registry_entries", "eval_results"):
        assert store.query(f"SELECT count() FROM {table}").rows == [(0,)]
