"""What requests are worth: the statement against the definition, over what a loader stored."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
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
    put_all,
    record,
    told_of,
    values_in,
    values_of,
)

from mvtrace.otlp import LogEvent
from mvtrace.records import Call, UnixNano, Usage
from mvtrace.scores import Score
from mvtrace.store import Store
from mvtrace.wire import event_of as request_event

JUDGE = f"sha256:{'5' * 64}"


PRICED, SECOND = record(calls=(answer(),)), record(1)
REQUEST = record()
NAMES = ["a/b", "a>1", "a^b", "error", "request", "score:x", "x:first", "x:given"]
UNKNOWN = [
    answer(model_served="own-model"),
    answer(usage=None),
    answer(provider=None),
    answer(usage=Usage(input_tokens=5, output_tokens=5, cache_read_input_tokens=9)),
    answer(usage=Usage(input_tokens=-5, output_tokens=5)),
    answer(kind="embedding", usage=None),
]
ONE_EACH = [
    record(number, calls=(call,))
    for number, call in enumerate([*UNKNOWN, answer(cache_origin="unknown"), answer()])
]
THUMBS = Score(request_id=PRICED.request_id, name="thumbs", value=1.0, at=NOW_MS * 10**6)
ODD_CALLS: tuple[dict[str, Any], ...] = (
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
SOUND = record(99, calls=(answer(),))


def scores_named(*names: str, value: float | None = 1.0, at: int = 0, **said: Any) -> list[Score]:
    """Return scores of the request."""
    moment = NOW_MS * 10**6 + at
    facts: dict[str, Any] = {"request_id": REQUEST.request_id, "value": value, "at": moment, **said}
    return [Score(name=name, **facts) for name in names]


def odd_records() -> list[LogEvent]:
    """Return events of records of other shapes, and of one as it should be."""
    bodies = [{**json.loads(record(n).to_bytes()), **odd} for n, odd in enumerate(ODD_CALLS)]
    sound = request_event(SOUND)
    return [*(sound._replace(body=json.dumps(body)) for body in bodies), sound]


def every() -> dict[str, list[LogEvent]]:
    """Return by project what the tests are about."""
    back = [*scores_named("tone"), *scores_named("tone", value=None, label="?", at=1)]
    flood = scores_named(*(f"n{number:05}" for number in range(2_000)))
    huge = (("huge", 1e300), ("low", -1.7e308), ("large", 1e99))
    sizes = [score for name, value in huge for score in scores_named(name, value=value)]
    return {
        "taken-back": told_of([REQUEST], back),
        "names": told_of([REQUEST], scores_named(*NAMES, value=7.0)),
        "each": told_of(ONE_EACH),
        "both": told_of([record(calls=(answer(), UNKNOWN[0])), SECOND]),
        "listed": told_of([PRICED, record(1, calls=(UNKNOWN[0],))]),
        "mine": told_of([PRICED]),
        "theirs": told_of([PRICED], [THUMBS]),
        "flood": told_of([REQUEST], flood),
        "sizes": told_of([REQUEST], sizes),
        "odd": odd_records(),
    }


@pytest.fixture(scope="module")
def store(shared_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The module's store, with a project for each test."""
    put_all(shared_store, tmp_path_factory.mktemp("all"), every())
    return shared_store


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


def test_a_score_that_holds_is_the_latest_even_if_it_takes_a_value_back(store: Store) -> None:
    """
    A later score without a value leaves none; that feedback was given stays said.
    """
    found = by_metric(values_in(store, project="taken-back"))

    assert "tone" not in found
    assert found["tone:given"] == 1.0


def test_no_score_passes_for_a_derived_metric(store: Store) -> None:
    """
    A score of a name that is a derived metric's, or reads like one, is a metric of its own.
    """
    found = values_in(store, project="names")

    assert [(one.metric, one.scorer) for one in found if one.value == 7.0] == [
        (f"score:{name}", f"undeclared:user/{name}") for name in NAMES
    ]
    assert [metric_of(name) for name in NAMES] == [f"score:{name}" for name in NAMES]
    assert by_metric(found)["error"] == 0.0


def test_what_is_not_known_has_no_value(store: Store) -> None:
    """
    An unknown model, no usage, no provider, more cached than was sent: no cost, and never 0.
    """
    each = values_in(store, project="each")
    ids = [one.request_id.replace("-", "") for one in ONE_EACH]
    found = [dict(by_metric(one for one in each if one.request == request)) for request in ids]
    two = values_in(store, project="both")

    assert ["cost_usd" in one for one in found] == [*[False] * len(UNKNOWN), True, True]
    assert [one["cost_usd"] for one in found[-2:]] == [0.0, 0.0045]
    assert "log_cost_usd" not in found[-2]
    assert {one.metric for one in two if one.value == 2_000} == {"input_tokens"}
    assert "cost_usd" not in {one.metric for one in two}
    bare = [one.metric for one in two if one.request == SECOND.request_id.replace("-", "")]
    assert bare == ["error", "latency_ms", "log_latency_ms", "request"]


def test_a_list_is_a_scorer_and_a_component(store: Store) -> None:
    """
    What costs are scored by is the digest of the list's component, which the project has; a model
    is looked up once, and one that the list does not have is known not to be there.
    """
    (cost,) = [one for one in values_in(store, project="listed") if one.metric == "cost_usd"]
    values_in(store, project="listed")

    asked = {"project": "listed"}
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


def test_another_list_is_another_scorer(store: Store) -> None:
    """
    Costs are only those of the list that is asked for.
    """
    assert "cost_usd" in by_metric(values_in(store, project="theirs"))
    with store.session() as session:
        found = by_metric(values_of(session, store.database, JUDGE, "theirs"))

    assert "cost_usd" not in found


def test_another_projects_requests_scores_and_prices_are_not_there(store: Store) -> None:
    """
    A project sees its own, though another has scores and prices of the same requests.
    """
    (cost,) = [one for one in values_in(store, project="theirs") if one.metric == "cost_usd"]

    with store.session() as session:
        found = by_metric(values_of(session, store.database, cost.scorer, "mine"))
    assert {"thumbs", "thumbs:given", "cost_usd"} & set(found) == set()
    assert values_in(store, project="nobody's") == []


def test_a_flood_of_names_leaves_those_that_plans_want(store: Store) -> None:
    """
    Of very many names of scores some hundred are metrics, those wanted and most given first.
    """
    found = values_in(store, project="flood", wanted=["n01999", "nobody"])

    names = {one.metric for one in found if one.metric.startswith("n")}
    assert len([name for name in names if not name.endswith(":given")]) == 256
    assert {"n01999", "n01999:given", "nobody:given"} <= names
    assert len([name for name in names if name.endswith(":given")]) == 17


def test_values_that_sums_of_squares_cannot_hold_are_left_out(store: Store) -> None:
    """
    A finite score beyond all measure spoils no sum.
    """
    found = values_in(store, project="sizes")

    assert {one.metric for one in found if one.metric in {"huge", "low", "large"}} == {"large"}
    assert all(math.isfinite(one.value**2) for one in found if isinstance(one, Worth))


def test_a_record_of_any_shape_spoils_no_other(store: Store) -> None:
    """
    Whatever a sender calls a record, the hour has its values, and the others' are what they are.
    """
    found = values_in(store, project="odd", sources=SOURCES)

    assert len({one.request for one in found}) == len(ODD_CALLS) + 1
    mine = [one for one in found if one.request == SOUND.request_id.replace("-", "")]
    lists = {one.scorer for one in mine if one.metric == "cost_usd"}
    assert close(mine, expected([SOUND], prices=lists.pop(), sources=SOURCES))
