"""What the views show of rows that came twice, late, or in part."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from stored import Filler, new_store
from story import SYSTEM, calls, decision, record, request_id, snapshot

from mvtrace.store import Store

AT = datetime(2026, 8, 22, 12, tzinfo=UTC)
JUDGE = f"sha256:{'5' * 64}"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store with three requests; merges are stopped, so that what came twice lies there twice."""
    with new_store(f"chdb://{tmp_path_factory.mktemp('rows') / 'store'}") as made:
        for table in ("requests", "scores", "eval_results", "drift_episodes", "quality_hourly"):
            made.command(f"SYSTEM STOP MERGES mvtrace.{table}")
        fill = Filler(made)
        fill.system()
        fill.record(record(0, revision=1, state="started", ended_at=None, outcome=None))
        for number in range(3):
            fill.record(record(number))
            fill.record(record(number))
        yield made


def raw(one: str) -> bytes:
    return bytes.fromhex(one.replace("-", ""))


def insert(store: Store, table: str, *rows: dict[str, Any]) -> None:
    with store.session() as session:
        for row in rows:
            session.insert(table, [*row], [[*row.values()]])


def test_a_request_is_there_once_at_its_end(store: Store) -> None:
    """
    Of two revisions and two deliveries of a request one row is left, that of its end.
    """
    told = store.query(
        "SELECT request_id_text, state, is_error, duration_ms FROM requests_latest "
        "WHERE project = 'default'"
    )

    assert sorted(told.rows) == [(request_id(number), "finished", 0, 184.0) for number in range(3)]


def test_calls_choices_and_indexes_are_those_of_the_record(store: Store) -> None:
    """
    Each call, decision and index of a record is one row, with what the record says of it.
    """
    which = {"id": request_id(1)}
    made = store.query(
        "SELECT call, kind, name, model_served, output_tokens, temperature, duration_ms "
        "FROM request_calls WHERE request_id_text = {id:String} AND project = 'default' ORDER BY call",
        which,
    ).rows
    chosen = store.query(
        "SELECT router, chosen, chosen_score, chosen_threshold, candidates, features "
        "FROM router_choices WHERE request_id_text = {id:String} AND project = 'default'",
        which,
    ).rows
    used = store.query(
        "SELECT index_name, is_drifted, size, documents, document_ids, first_score "
        "FROM index_usage WHERE request_id_text = {id:String} AND project = 'default'",
        which,
    ).rows

    assert len(made) == len(calls(1))
    assert made[2] == (3, "generation", "write", "writer-8b", 45, 0.8, 150.0)
    assert made[0][3:6] == (None, None, None)
    one = decision()
    assert chosen == [
        ("route", "writer", 0.79, 0.65, [c.name for c in one.candidates], {"top_score": "0.21"})
    ]
    ids = [document.id for document in snapshot(None, None).documents]
    assert used == [("faq", 0, 612, 2, ids, 0.8123)]


def test_the_score_given_last_holds(store: Store) -> None:
    """
    Of several revisions the latest counts, one that came twice is one revision, and a condition on
    the value never brings an earlier one back.
    """
    said = {
        "project": "default",
        "request_id": raw(request_id(0)),
        "name": "faithful",
        "scorer": JUDGE,
        "source": "judge",
        "voter": "",
        "label": None,
        "actor": "key",
        "received_at": AT,
    }
    given = [(0.1, 1), (0.9, 3), (0.9, 3), (0.2, 2)]
    rows = [
        {
            **said,
            "value": value,
            "event_id": bytes(15) + bytes([at]),
            "scored_at": AT + timedelta(0, at),
        }
        for value, at in given
    ]
    insert(store, "scores", *rows, {**rows[0], "request_id": raw(request_id(9)), "value": 0.3})

    shown = "SELECT request_id_text, value, revisions, is_declared FROM score_latest"
    assert sorted(store.query(shown).rows) == [
        (request_id(0), 0.9, 3, 1),
        (request_id(9), 0.3, 1, 1),
    ]
    assert store.query(f"{shown} WHERE value < 0.25").rows == []
    assert store.query(f"{shown} WHERE scored_at < '2026-08-22 12:00:02'").rows[0][1] == 0.3
    scored = "SELECT request_id_text, version, value FROM scored_requests"
    assert store.query(scored).rows == [(request_id(0), SYSTEM.version[:12], 0.9)]
    assert store.query(f"{scored} WHERE value < 0.5").rows == []


def test_an_eval_counts_its_newest_whole_run(store: Store) -> None:
    """
    A run of which a piece is missing is none; repeats of an example count once, by their mean.
    """
    said = {
        "project": "default",
        "suite": "5" * 64,
        "scorer": "6" * 64,
        "composite": "7" * 64,
        "cluster": "",
        "label": "",
        "request_id": None,
        "received_at": AT,
    }

    def result(run: str, example: str, value: float | None, **more: Any) -> dict[str, Any]:
        facts = {"entry": f"{run}-1", "repeat": 0, "piece": 1, "pieces": 1, "recorded_at": AT}
        return {**said, **facts, "run": run, "example": example, "value": value, **more}

    later = {"recorded_at": AT + timedelta(1), "pieces": 2}
    insert(
        store,
        "eval_results",
        result("whole", "q1", 1.0),
        result("whole", "q1", 0.0, repeat=1),
        result("whole", "q2", 1.0),
        result("whole", "q2", 1.0),
        result("whole", "q3", None),
        result("half", "q1", 0.0, **later),
    )

    told = store.query("SELECT version, run, examples, scored, mean, runs FROM eval_latest").rows

    assert told == [("7" * 12, "whole", 3, 2, 0.75, 1)]


def test_drift_is_shown_as_it_stands(store: Store) -> None:
    """
    An episode has its newest state, and one that was replaced by a better one is not shown.
    """
    said = {
        "project": "default",
        "basis": "declared",
        "service": "support",
        "environment": "prod",
        "kind": "index",
        "name": "faq",
        "what": "digest",
        "expected": "sha256:1",
        "observed": "sha256:2",
        "first_request": raw(request_id(0)),
        "last_request": raw(request_id(1)),
        "started_at": AT,
        "last_at": AT,
        "changed_at": AT,
    }
    first, second = bytes(15) + b"1", bytes(15) + b"2"
    insert(
        store,
        "drift_episodes",
        {**said, "episode_id": first, "revision": 1, "state": "open", "requests": 1},
        {**said, "episode_id": first, "revision": 2, "state": "ended", "requests": 5},
        {**said, "episode_id": second, "revision": 1, "state": "open", "requests": 1},
        {**said, "episode_id": second, "revision": 2, "state": "withdrawn", "requests": 1},
    )

    told = store.query("SELECT episode, state, slot, requests, first_request FROM drift_log").rows

    assert told == [(first.hex(), "ended", "index/faq", 5, request_id(0))]
    changed = store.query("SELECT change, subject FROM change_log ORDER BY change").rows
    assert ("drift", "index/faq") in changed
    assert ("version", SYSTEM.version[:12]) in changed


def test_sums_of_an_hour_are_of_the_newest_rows(store: Store) -> None:
    """
    A row that was made anew counts as it is now, one that was taken back does not count, and what
    comparisons count for themselves is no metric.
    """
    said = {
        "project": "default",
        "environment": "prod",
        "service": "support",
        "composite_version": "8" * 64,
        "rollout": "r",
        "scorer": "",
        "hour": AT,
        "base_squares": 0.0,
        "cross": 0.0,
    }

    def cell(metric: str, arm: str, phase: str, *numbers: float, **more: Any) -> dict[str, Any]:
        requests, total, squares, base = numbers
        sums = {"requests": int(requests), "total": total, "squares": squares, "base": base}
        place = {"metric": metric, "arm": arm, "phase": phase, "revision": 1}
        return {**said, **place, **sums, **more}

    insert(
        store,
        "quality_hourly",
        cell("request", "stable", "0.25", 9, 9, 9, 9),
        cell("request", "stable", "0.25", 6, 6, 6, 6, revision=2),
        cell("request", "canary", "0.25", 2, 2, 2, 2),
        cell("request", "canary", "0.5", 2, 2, 2, 2),
        cell("request", "canary", "0.5", 0, 0, 0, 0, scorer="x", revision=2),
        cell("request", "canary", "0.5", 5, 5, 5, 5, scorer="x"),
        cell("latency_ms", "stable", "0.25", 2, 30.0, 500.0, 2),
        cell("cost_usd", "stable", "0.25", 2, 0.5, 0.125, 2, scorer="sha256:p"),
        cell(">unit", "stable", "0.25", 1, 1, 1, 1),
    )

    share = (
        "SELECT arm, requests, all_requests, share, planned_canary FROM version_share ORDER BY arm"
    )
    assert store.query(share).rows == [("canary", 4, 10, 0.4, 0.375), ("stable", 6, 10, 0.6, 0.25)]
    quality = (
        "SELECT metric, arm, requests, mean, deviation FROM version_quality_hourly ORDER BY 1, 2"
    )
    assert store.query(quality).rows == [
        ("cost_usd", "stable", 2, 0.25, 0.0),
        ("latency_ms", "stable", 2, 15.0, 5.0),
        ("request", "canary", 4, 1.0, 0.0),
        ("request", "stable", 6, 1.0, 0.0),
    ]
    cost = (
        "SELECT arm, requests, priced_requests, cost_usd, cost_per_request FROM version_cost_daily"
    )
    assert sorted(store.query(cost).rows) == [
        ("canary", 4, 0, None, None),
        ("stable", 6, 2, 0.5, 0.25),
    ]
    tokens = "SELECT DISTINCT input_tokens, output_tokens FROM version_cost_daily"
    assert store.query(tokens).rows == [(None, None)]


def test_a_websocket_is_no_error_for_its_close_code_and_has_no_latency(store: Store) -> None:
    """
    That a socket was closed in peace (1000) is no status of 500 or more, and how long it was open says
    nothing of its version; an HTTP answer of 500 is an error, whatever its outcome.
    """
    fill = Filler(store, "sockets")
    fill.record(record(0, protocol="websocket", status_code=1000))
    fill.record(record(1, status_code=500))

    told = "SELECT protocol, is_error FROM requests_latest WHERE project = 'sockets' ORDER BY 1"
    assert store.query(told).rows == [("http", 1), ("websocket", 0)]
    daily = "SELECT requests, errors, max_ms FROM version_latency_daily WHERE project = 'sockets'"
    assert store.query(daily).rows == [(1, 1, 184.0)]


def test_what_changed_is_told_by_the_newest_revisions(store: Store) -> None:
    """
    A version that only an earlier revision named was not there; a share is said of a canary alone.
    """
    fill = Filler(store, "changed")
    fill.record(record(0, revision=1, state="started", composite_version="9" * 64))
    fill.record(record(0))
    said = {
        "project": "changed",
        "service": "support",
        "environment": "prod",
        "at": AT,
        "composite": "7" * 64,
        "reason": "why",
        "body": "{}",
        "received_at": AT,
    }
    actions = (("canary", 0.25), ("promote", 1.0))
    rows = [
        {**said, "seq": n, "event_id": bytes([n] * 16), "action": action, "share": share}
        for n, (action, share) in enumerate(actions)
    ]
    insert(store, "deployments", *rows)

    told = store.query(
        "SELECT change, subject, detail FROM change_log WHERE project = 'changed' ORDER BY ALL"
    ).rows
    assert told == [
        ("deployment", "7" * 12, "canary at share 0.25: why"),
        ("deployment", "7" * 12, "promote: why"),
        ("version", SYSTEM.version[:12], "first request of support-bot"),
    ]


@pytest.mark.parametrize(
    "body",
    [
        "no JSON",
        '{"calls":5,"router_decisions":"x","index_snapshots":{"name":"a"},"annotations":[1]}',
        '{"calls":[1,null,"x",{"kind":7,"name":null,"usage":[],"seed":1e300,"duration_ns":-1}]}',
        '{"router_decisions":[{"name":null,"candidates":[{"score":"high"}],"fallbacks":[1]},3]}',
        '{"index_snapshots":[null,{"name":"a","size":-1,"documents":[{},7,{"id":1,"score":"x"}]}]}',
        '{"annotations":{"a":{"b":[1,2]},"c":null,"d":true,"e":1e400}}',
        '{"calls":' + "[" * 500 + "]" * 500 + "}",
    ],
)
def test_a_record_of_another_shape_spoils_no_view(store: Store, body: str) -> None:
    """
    What a record should not hold is left out or NULL; the rows of others are shown as before.
    """
    fill = Filler(store, "hostile")
    fill.record(record(0))
    fill.record(record(1), body.encode())

    for view in ("requests_latest", "request_calls", "router_choices", "index_usage"):
        told = store.query(
            f"SELECT DISTINCT request_id_text FROM {view} WHERE project = 'hostile'"
        ).rows
        assert (request_id(0),) in told
        store.raw(f"SELECT * FROM {view} WHERE project = 'hostile'", None, "JSONEachRow")
