"""Scores on their way into the store: what counts, whose vote it is, what stays apart."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from attested import BROWSER, PRODUCER, drain, load
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stored import Filler
from valued import NOW_MS, record

from mvtrace.ids import format_uuid7, new_request_id
from mvtrace.otlp import LogEvent
from mvtrace.registry.scored import ScoreFilter, scores_listed, scores_pending
from mvtrace.scores import Score, event_of, export_of
from mvtrace.semconv import EVENT_EVALUATION, EVENT_FEEDBACK
from mvtrace.store import Store
from mvtrace.store.asking import ask_of
from mvtrace.store.reader import Reader
from mvtrace.wire import event_of as request_event
from mvtrace_collector.inbox import Inbox
from mvtrace_collector.segments import Sender

NOW_NS = time.time_ns()
JUDGE = f"sha256:{'5' * 64}"
REQUEST = new_request_id()


def score(value: float | None = 1.0, seconds: float = 0, **said: Any) -> LogEvent:
    at = NOW_NS + int(seconds * 10**9)
    facts: dict[str, Any] = {"request_id": REQUEST, "name": "thumbs", "at": at, **said}
    return event_of(Score(value=value, **facts), now_ns=at)


def evaluation(**facts: Any) -> LogEvent:
    attributes = {f"gen_ai.evaluation.{key}": value for key, value in facts.items()}
    return LogEvent(EVENT_EVALUATION, NOW_NS, "", attributes, bytes.fromhex("ab" * 16))


def stored(store: Store, columns: str = "name, scorer, source, value, label") -> list[Any]:
    return store.query(f"SELECT {columns} FROM scores FINAL ORDER BY name, scored_at").rows


def refused(store: Store) -> list[tuple[str, str]]:
    return store.query("SELECT reason, detail FROM quarantine ORDER BY detail").rows


def test_a_score_is_stored_as_it_was_given(store: Store, tmp_path: Path) -> None:
    """
    Name, value, label, scorer and time are columns; a score without a scorer says whose it is.
    """
    sent = [
        score(0.25, name="faithful", scorer=JUDGE, source="judge"),
        score(None, name="tone", label="curt", source="judge"),
        score(0.0, name="zero"),
    ]
    load(store, tmp_path, [(one, PRODUCER) for one in sent]).close()

    assert stored(store) == [
        ("faithful", JUDGE, "judge", 0.25, None),
        ("tone", "undeclared:judge/tone", "judge", None, "curt"),
        ("zero", "undeclared:user/zero", "user", 0.0, None),
    ]
    (row,) = store.query(
        "SELECT DISTINCT request_id_text, toUnixTimestamp64Nano(scored_at), actor, delay_ms "
        "FROM scores"
    ).rows
    assert row[:3] == (REQUEST, NOW_NS, "ba9876543210")
    assert abs(row[3]) < 60_000


def test_the_latest_of_a_name_and_scorer_holds(store: Store, tmp_path: Path) -> None:
    """
    Every revision is kept; the explanation shows the one given last, in whatever order they came.
    """
    Filler(store).alias("trace_id", "cd" * 16, REQUEST)
    sent = [score(1.0, 2), score(0.5, 3), score(0.0, 1), score(0.7, 0, scorer=JUDGE)]
    load(store, tmp_path, [(one, PRODUCER) for one in sent]).close()

    assert len(stored(store)) == 4
    latest = Reader(store)._gathering._scores([REQUEST])
    assert [(one.value, one.revisions) for one in latest] == [(0.7, 1), (0.5, 3)]


def test_a_vote_is_a_users_and_undeclared(store: Store, tmp_path: Path) -> None:
    """
    Under a key that may only score nobody speaks for a judge.
    """
    sent = [(score(0.9, name="faithful", scorer=JUDGE, source="judge"), BROWSER)]
    load(store, tmp_path, sent).close()

    assert stored(store) == [("faithful", "undeclared:user/faithful", "user", 0.9, None)]


def test_one_vote_a_request_and_name(store: Store, tmp_path: Path) -> None:
    """
    Whoever votes first has the vote and may change it; another's is turned away, also later.
    """
    sent = [score(1.0, 0, voter="ann"), score(0.0, 1, voter="bob"), score(0.5, 2, voter="ann")]
    inbox = load(store, tmp_path, [(one, BROWSER) for one in sent])
    inbox.submit("default", "logs", export_of([score(0.1, 3)]), "later", sender=BROWSER).result()
    drain(store, inbox)

    assert stored(store, "value") == [(1.0,), (0.5,)]
    assert refused(store) == [("vote-taken", "somebody else has voted on this request")] * 2
    inbox.reopen(inbox.stored_segments(after_ms=0), is_new_epoch=True)
    drain(store, inbox)
    inbox.close()
    assert stored(store, "value") == [(1.0,), (0.5,)]
    assert "ann" not in str(store.query("SELECT * FROM scores").rows)


def test_evaluations_of_opentelemetry_are_scores_of_their_trace(
    store: Store, tmp_path: Path
) -> None:
    """
    The standard event is stored as it came and as a score of the request that its trace has.
    """
    Filler(store).alias("trace_id", "ab" * 16, REQUEST)
    sent = [
        evaluation(**{"name": "Relevance", "score.value": 0.75, "score.label": "good"}),
        evaluation(**{"name": "Whole", "score.value": 4}),
        evaluation(name="Nothing"),
    ]
    load(store, tmp_path, [(one, PRODUCER) for one in sent]).close()

    assert stored(store) == [
        ("Relevance", "undeclared:evaluation/Relevance", "evaluation", 0.75, "good"),
        ("Whole", "undeclared:evaluation/Whole", "evaluation", 4.0, None),
    ]
    assert stored(store, "DISTINCT request_id_text") == [(REQUEST,)] * 1
    assert refused(store) == [("not-a-score", "value and label are missing")]
    assert store.query("SELECT uniq(event_id) FROM events").rows == [(3,)]


def said(**facts: Any) -> str:
    return json.dumps({"schema_version": 1, "request_id": REQUEST, "name": "x", **facts})


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("no json", "no JSON object"),
        ("[]", "no JSON object"),
        (said(value=1, schema_version=None), "schema_version is missing"),
        (said(value=1, request_id="42"), "no UUIDv7"),
        (said(value=1, name=None), "name is not"),
        (said(), "value and label"),
        (said(value=1, scorer="me"), "no digest"),
        (said(label="l" * 257), "label is not"),
        (said(value=1, source="s" * 65), "source is not"),
        (said(value=1, request_id="ffffffff-ffff-7fff-bfff-ffffffffffff"), "cannot be"),
    ],
    ids=lambda value: value if value[0] not in "[{" else "",  # what is made anew has no name
)
def test_what_is_no_score_is_kept_apart(
    store: Store, tmp_path: Path, body: str, problem: str
) -> None:
    """
    A body that says nothing of the kind is in quarantine with what is wrong, and is no score.
    """
    load(store, tmp_path, [(LogEvent(EVENT_FEEDBACK, NOW_NS, body, {}), PRODUCER)]).close()

    ((reason, detail),) = refused(store)
    assert reason == "not-a-score"
    assert problem in detail
    assert stored(store) == []


@pytest.mark.parametrize("sender", [None, Sender("k", "", "govern"), Sender("k")])
def test_a_key_that_may_not_scores_nothing(
    store: Store, tmp_path: Path, sender: Sender | None
) -> None:
    """
    Without ingest or score what was sent is no score.
    """
    load(store, tmp_path, [(score(), sender)]).close()

    assert stored(store) == []
    assert refused(store) == [("not-a-score", "its key has neither the scope ingest nor score")]


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    given=st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 3), st.sampled_from(["ann", "bob", ""])),
        min_size=1,
        max_size=6,
    )
)
def test_a_replay_gives_the_same_scores(
    store: Store, tmp_path_factory: pytest.TempPathFactory, given: list[tuple[float, int, str]]
) -> None:
    """
    Whatever was voted, loading all of it again, into what is stored or into nothing, changes no row.
    """
    store.command("TRUNCATE TABLE scores")
    sent = [
        (score(value, seconds, **({"voter": voter} if voter else {})), BROWSER)
        for value, seconds, voter in given
    ]
    inbox = load(store, tmp_path_factory.mktemp("inbox"), sent)
    columns = "hex(event_id), value, voter"
    before = sorted(set(stored(store, columns)))
    inbox.reopen(inbox.stored_segments(after_ms=0), is_new_epoch=True)
    drain(store, inbox)
    assert sorted(set(stored(store, columns))) == before
    store.command("TRUNCATE TABLE scores")
    inbox.reopen(inbox.stored_segments(after_ms=0), is_new_epoch=True)
    drain(store, inbox)
    inbox.close()
    assert sorted(set(stored(store, columns))) == before
    assert len({voter for _, _, voter in before}) == 1


def of_trace(number: int = 0, trace: str = "ab", **fields: Any) -> LogEvent:
    """Return the event of a record of a trace."""
    return request_event(record(number, trace_id=trace * 16, **fields))


def owned(store: Store) -> list[tuple[str, float]]:
    """Return the evaluations of requests that have a record."""
    return store.query(
        "SELECT DISTINCT request_id_text, value FROM scores "
        "WHERE request_id IN (SELECT request_id FROM requests) ORDER BY ALL"
    ).rows


@pytest.mark.parametrize(
    ("order", "is_one"),
    [((0, 1), False), ((1, 0), False), ((0, 1), True)],
    ids=["before", "after", "together"],
)
def test_an_evaluation_of_a_trace_is_its_requests_whichever_came_first(
    store: Store, tmp_path: Path, order: tuple[int, int], is_one: bool
) -> None:
    """
    Before its record, after it, or in one batch: it counts for the request, once, also replayed.
    """
    events = (evaluation(**{"name": "Fit", "score.value": 0.5}), of_trace())
    sent = [events[at] for at in order]
    inbox = Inbox(tmp_path)
    for number, part in enumerate([sent] if is_one else [[one] for one in sent]):
        inbox.submit("default", "logs", export_of(part), str(number), sender=PRODUCER).result()
        drain(store, inbox)
    expected = [(record(0).request_id, 0.5)]
    assert owned(store) == expected

    inbox.reopen(inbox.stored_segments(after_ms=0), is_new_epoch=True)
    drain(store, inbox)
    inbox.close()
    assert owned(store) == expected
    assert [one.revisions for one in Reader(store).evidence(expected[0][0]).scores] == [1]
    assert scores_pending(ask_of(store, "default"), ScoreFilter())["scores"] == 0
    (told,) = scores_listed(ask_of(store, "default"), ScoreFilter())
    assert (told["request_id"], told["is_pending"]) == (expected[0][0], False)


def test_an_evaluation_is_of_the_request_that_has_a_record(store: Store, tmp_path: Path) -> None:
    """
    Though a stranger's earlier span has given the trace another id; and never of one that it does
    not name where it names one.
    """
    Filler(store).alias("trace_id", "ab" * 16, format_uuid7(NOW_MS - 5_000, 1))
    other = format_uuid7(NOW_MS - 4_000, 2)
    named = evaluation(**{"name": "Named", "score.value": 1.0})
    named.attributes["mvtrace.request.id"] = other  # type: ignore[index]
    sent = [of_trace(), evaluation(**{"name": "Fit", "score.value": 0.5}), named]
    load(store, tmp_path, [(one, PRODUCER) for one in sent]).close()

    assert owned(store) == [(record(0).request_id, 0.5)]
    waiting = scores_listed(ask_of(store, "default"), ScoreFilter(only_pending=True))
    assert [(one["request_id"], one["name"]) for one in waiting] == [(other, "Named")]


def test_an_evaluation_of_another_projects_trace_stays_there(store: Store, tmp_path: Path) -> None:
    """
    A record of the same trace in another project takes no score of this one.
    """
    load(
        store, tmp_path / "a", [(evaluation(**{"name": "Fit", "score.value": 0.5}), PRODUCER)]
    ).close()
    load(store, tmp_path / "b", [(of_trace(), PRODUCER)], project="other").close()

    assert owned(store) == []
    assert scores_pending(ask_of(store, "default"), ScoreFilter())["scores"] == 1
    assert scores_pending(ask_of(store, "other"), ScoreFilter())["scores"] == 0
