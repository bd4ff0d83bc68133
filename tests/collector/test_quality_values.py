"""What requests are worth: the statement against the definition, over what a loader stored."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from valued import (
    NOW_MS,
    Worth,
    answer,
    by_metric,
    close,
    expected,
    metric_of,
    put,
    put_events,
    record,
    values_in,
    values_of,
)

from mvtrace.records import Call, UnixNano, Usage
from mvtrace.scores import Score
from mvtrace.store import Store
from mvtrace.wire import event_of as request_event

JUDGE = f"sha256:{'5' * 64}"


def each_of(store: Store, folder: Path, calls: Sequence[Call]) -> list[dict[str, float]]:
    """Return by metric what requests with one call each are worth."""
    records = [record(number, calls=(call,)) for number, call in enumerate(calls)]
    found = values_in(store, project=put(store, folder, records))
    ids = [one.request_id.replace("-", "") for one in records]
    return [dict(by_metric(one for one in found if one.request == request)) for request in ids]


tokens = st.none() | st.integers(0, 400_000)
usages = st.none() | st.builds(
    Usage,
    input_tokens=tokens,
    output_tokens=tokens,
    cache_read_input_tokens=st.none() | st.integers(0, 5_000),
    cache_write_input_tokens=st.none() | st.integers(0, 5_000),
    reasoning_output_tokens=st.none() | st.integers(0, 100),
)
models = st.sampled_from(
    [
        ("openai", "gpt-4o"), ("openai", "o3"), ("anthropic", "claude-sonnet-4-5"),
        ("google", "gemini-2.5-pro"), ("deepseek", "deepseek-chat"), ("openai", "own-model"),
        ("", "gpt-4o"), ("nobody", "gpt-4o"), ("aws", "anthropic.claude-3-5-sonnet-20241022-v2:0"),
    ]
)  # fmt: skip
calls = st.builds(
    lambda named, kind, usage, reason, outcome, times, origin: Call(
        kind=kind,
        name="c",
        provider=named[0] or None,
        model_served=named[1] if times % 2 else None,
        model_requested=named[1],
        usage=usage,
        finish_reason=reason,
        outcome=outcome,
        started_at=UnixNano(NOW_MS * 10**6 + times * 10**9) if times else None,
        time_to_first_chunk_ns=times * 1_000_003 if times > 1 else None,
        cache_origin=origin,
    ),
    models,
    st.sampled_from(["generation", "generation", "embedding", "tool"]),
    usages,
    st.sampled_from([None, "stop", "content_filter", "SAFETY", "stop, refusal"]),
    st.sampled_from([None, "ok", "error"]),
    st.integers(0, 80_000),
    st.sampled_from([None, None, None, "unknown"]),
)
requests = st.builds(
    lambda made, protocol, state, outcome, took: {
        "calls": tuple(made),
        "protocol": protocol,
        "state": state,
        "outcome": None if state == "started" else outcome,
        "ended_at": None if state == "started" else UnixNano(NOW_MS * 10**6 + took),
        "started_at": UnixNano(NOW_MS * 10**6),
        "revision": 1 if state == "started" else 2,
    },
    st.lists(calls, max_size=3),
    st.sampled_from(["http", "http", "websocket", "task"]),
    st.sampled_from(["finished", "finished", "finished", "started"]),
    st.sampled_from(["ok", "error", "client_disconnected"]),
    st.integers(0, 10**11),
)
scored = st.tuples(
    st.integers(0, 19),
    st.sampled_from(["thumbs", "faithful", "error", "a:given", "x>1"]),
    st.none() | st.floats(-1e3, 1e3),
    st.sampled_from([None, JUDGE]),
    st.integers(0, 3),
)
SOURCES = (
    *("latency_ms>1200", "thumbs<0.5", "cost_usd^0.002", "cost_usd/thumbs", "faithful>0"),
    *("score:error^0.5", "output_tokens/input_tokens"),
)


@settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    said=st.lists(requests, min_size=12, max_size=30),
    votes=st.lists(
        scored, min_size=8, max_size=60, unique_by=lambda one: (one[0], one[1], one[3], one[4])
    ),
    shuffle=st.integers(0, 10_000),
)
def test_values_are_those_of_the_definition(
    store: Store,
    tmp_path_factory: pytest.TempPathFactory,
    said: Sequence[dict[str, Any]],
    votes: Sequence[tuple[int, str, float | None, str | None, int]],
    shuffle: int,
) -> None:
    """
    Whatever requests and scores there are, in whatever order they came and however often, the
    statement gives each value that the definition gives, and no other.
    """
    records = [record(number, **one) for number, one in enumerate(said)]
    scores = [
        Score(
            request_id=records[number % len(records)].request_id,
            name=name,
            value=value,
            label=None if value is not None else "later",
            scorer=scorer,
            at=(NOW_MS + 5_000) * 10**6 + at * 100 + number,
        )
        for number, name, value, scorer, at in votes
    ]
    folder = tmp_path_factory.mktemp("inbox")
    project = put(store, folder, records, scores, shuffle=shuffle, times=2)

    found = values_in(store, project=project, wanted=["thumbs", "none"], sources=SOURCES)

    price_list = next((one.scorer for one in found if one.metric == "cost_usd"), "")
    told = expected(records, scores, prices=price_list, wanted=["thumbs", "none"], sources=SOURCES)
    assert close(found, told), set(found) ^ set(told)


def test_a_score_that_holds_is_the_latest_even_if_it_takes_a_value_back(
    store: Store, tmp_path: Path
) -> None:
    """
    A later score without a value leaves none; that feedback was given stays said.
    """
    request = record()
    scores = [
        Score(request_id=request.request_id, name="tone", value=1.0, at=NOW_MS * 10**6),
        Score(request_id=request.request_id, name="tone", label="?", at=NOW_MS * 10**6 + 1),
    ]
    found = by_metric(values_in(store, project=put(store, tmp_path, [request], scores)))

    assert "tone" not in found
    assert found["tone:given"] == 1.0


def test_no_score_passes_for_a_derived_metric(store: Store, tmp_path: Path) -> None:
    """
    A score of a name that is a derived metric's, or reads like one, is a metric of its own.
    """
    names = ["a/b", "a>1", "a^b", "error", "request", "score:x", "x:first", "x:given"]
    request = record()
    scores = [
        Score(request_id=request.request_id, name=name, value=7.0, at=NOW_MS * 10**6)
        for name in names
    ]
    found = values_in(store, project=put(store, tmp_path, [request], scores))

    assert [(one.metric, one.scorer) for one in found if one.value == 7.0] == [
        (f"score:{name}", f"undeclared:user/{name}") for name in names
    ]
    assert [metric_of(name) for name in names] == [f"score:{name}" for name in names]
    assert by_metric(found)["error"] == 0.0


def test_what_is_not_known_has_no_value(store: Store, tmp_path: Path) -> None:
    """
    An unknown model, no usage, no provider, more cached than was sent: no cost, and never 0.
    """
    unknown = [
        answer(model_served="own-model"),
        answer(usage=None),
        answer(provider=None),
        answer(usage=Usage(input_tokens=5, output_tokens=5, cache_read_input_tokens=9)),
        answer(usage=Usage(input_tokens=-5, output_tokens=5)),
        answer(kind="embedding", usage=None),
    ]
    free, priced = answer(cache_origin="unknown"), answer()
    found = each_of(store, tmp_path, [*unknown, free, priced])
    both = record(calls=(answer(), unknown[0]))
    nothing = record(1)
    project = put(store, tmp_path, [both, nothing])

    assert ["cost_usd" in one for one in found] == [*[False] * len(unknown), True, True]
    assert [one["cost_usd"] for one in found[-2:]] == [0.0, 0.0045]
    assert "log_cost_usd" not in found[-2]
    two = values_in(store, project=project)
    assert {one.metric for one in two if one.value == 2_000} == {"input_tokens"}
    assert "cost_usd" not in {one.metric for one in two}
    bare = [one.metric for one in two if one.request == nothing.request_id.replace("-", "")]
    assert bare == ["error", "latency_ms", "log_latency_ms", "request"]


def test_a_list_is_a_scorer_and_a_component(store: Store, tmp_path: Path) -> None:
    """
    What costs are scored by is the digest of the list's component, which the project has; a model
    is looked up once, and one that the list does not have is known not to be there.
    """
    made = [answer(), answer(model_served="own-model")]
    project = put(store, tmp_path, [record(n, calls=(call,)) for n, call in enumerate(made)])
    (cost,) = [one for one in values_in(store, project=project) if one.metric == "cost_usd"]
    values_in(store, project=project)

    asked = {"project": project}
    listed = store.query(
        "SELECT model, priced_as, count(), any(list) FROM model_prices "
        "WHERE project = {project:String} GROUP BY ALL ORDER BY model",
        asked,
    ).rows
    assert [row[:3] for row in listed] == [
        ("gpt-4o-2024-08-06", "openai/gpt-4o", 3),
        ("own-model", "", 1),
    ]
    assert {row[3] for row in listed} == {cost.scorer}
    ((digest, recomputed, body),) = store.query(
        "SELECT digest, 'sha256:' || lower(hex(SHA256('mvtrace.component/1\n' || body))), body "
        "FROM components FINAL WHERE project = {project:String}",
        asked,
    ).rows
    assert digest == recomputed == cost.scorer
    assert '"library":"genai-prices"' in body


def test_another_list_is_another_scorer(store: Store, tmp_path: Path) -> None:
    """
    Costs are only those of the list that is asked for.
    """
    project = put(store, tmp_path, [record(calls=(answer(),))])
    values_in(store, project=project)
    with store.session() as session:
        found = by_metric(values_of(session, store.database, JUDGE, project))

    assert "cost_usd" not in found


def test_another_projects_requests_scores_and_prices_are_not_there(
    store: Store, tmp_path: Path
) -> None:
    """
    A project sees its own, though another has scores and prices of the same requests.
    """
    request = record(calls=(answer(),))
    score = Score(request_id=request.request_id, name="thumbs", value=1.0, at=NOW_MS * 10**6)
    values_in(store, project=put(store, tmp_path, [request], [score]))
    mine = put(store, tmp_path, [request])

    with store.session() as session:
        prices = next(iter(store.query("SELECT any(list) FROM model_prices").rows))[0]
        found = by_metric(values_of(session, store.database, prices, mine))
    assert {"thumbs", "thumbs:given", "cost_usd"} & set(found) == set()
    assert values_in(store, project="nobody's") == []


def test_a_flood_of_names_leaves_those_that_plans_want(store: Store, tmp_path: Path) -> None:
    """
    Of very many names of scores some hundred are metrics, those wanted and most given first.
    """
    request = record()
    scores = [
        Score(request_id=request.request_id, name=f"n{n:05}", value=1.0, at=NOW_MS * 10**6)
        for n in range(2_000)
    ]
    project = put(store, tmp_path, [request], scores)
    found = values_in(store, project=project, wanted=["n01999", "nobody"])

    names = {one.metric for one in found if one.metric.startswith("n")}
    assert len([name for name in names if not name.endswith(":given")]) == 256
    assert {"n01999", "n01999:given", "nobody:given"} <= names
    assert len([name for name in names if name.endswith(":given")]) == 17


def test_values_that_sums_of_squares_cannot_hold_are_left_out(store: Store, tmp_path: Path) -> None:
    """
    A finite score beyond all measure spoils no sum.
    """
    request = record()
    scores = [
        Score(request_id=request.request_id, name=name, value=value, at=NOW_MS * 10**6)
        for name, value in (("huge", 1e300), ("low", -1.7e308), ("large", 1e99))
    ]
    found = values_in(store, project=put(store, tmp_path, [request], scores))

    assert {one.metric for one in found if one.metric in {"huge", "low", "large"}} == {"large"}
    assert all(math.isfinite(one.value**2) for one in found if isinstance(one, Worth))


ODD_CALLS = (
    {"calls": {"kind": "generation"}},
    {"calls": [7, None, "x", [], {"kind": 3, "usage": "many", "finish_reason": ["stop"]}]},
    {"calls": [{"kind": "generation", "usage": {"input_tokens": "12", "output_tokens": 1e30}}]},
    {
        "calls": [
            {"kind": "generation", "usage": {"input_tokens": 2**63 - 1, "output_tokens": 2**63}}
        ]
    },
    {
        "calls": [
            {"kind": "generation", "started_at": "9" * 19, "time_to_first_chunk_ns": 2**63 - 1}
        ]
    },
    {"calls": [{"kind": "generation", "started_at": "-1", "time_to_first_chunk_ns": -5}]},
    {"calls": [{"kind": "tool", "outcome": {"error": 1}}] * 3_000},
    {"started_at": "9" * 19, "ended_at": "1", "outcome": "\x00", "state": "finished"},
)


def test_a_record_of_any_shape_spoils_no_other(store: Store, tmp_path: Path) -> None:
    """
    Whatever a sender calls a record, the hour has its values, and the others' are what they are.
    """
    sound = record(99, calls=(answer(),))
    bodies = [
        {**json.loads(record(number).to_bytes()), **odd} for number, odd in enumerate(ODD_CALLS)
    ]
    events = [request_event(sound)._replace(body=json.dumps(body)) for body in bodies]
    project = put_events(store, tmp_path, [*events, request_event(sound)])
    found = values_in(store, project=project, sources=SOURCES)

    assert len({one.request for one in found}) == len(ODD_CALLS) + 1
    mine = [one for one in found if one.request == sound.request_id.replace("-", "")]
    lists = {one.scorer for one in mine if one.metric == "cost_usd"}
    assert close(mine, expected([sound], prices=lists.pop(), sources=SOURCES))
