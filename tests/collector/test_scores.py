"""Scores on their way into the store: what counts, whose vote it is, what stays apart."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from attested import BROWSER, PRODUCER, Sent, drain, load
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
from mvtrace_collector.loader import Loader
from mvtrace_collector.segments import Sender
from mvtrace_collector.statements import statement

NOW_NS = time.time_ns()
HOUR_MS = 3_600_000
LATER = 2 * HOUR_MS
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
    replay(store, inbox)
    inbox.close()
    assert stored(store, "value") == [(1.0,), (0.5,)]
    assert "ann" not in str(store.query("SELECT * FROM scores").rows)


def test_a_vote_is_a_thumb_or_some_stars(store: Store, tmp_path: Path) -> None:
    """
    Who may only vote gives -1 to 10; a judge's score may be whatever it is.
    """
    values = (-1.0, 10.0, -1.5, 1e6, None)
    sent = [
        (score(value, at, name=f"v{at}", label="x"), BROWSER) for at, value in enumerate(values)
    ]
    load(store, tmp_path, [*sent, (score(1e6, name="judged"), PRODUCER)]).close()

    assert stored(store, "value") == [(1e6,), (-1.0,), (10.0,), (None,)]
    assert refused(store) == [("not-a-score", "the value of a vote is not -1 to 10")] * 2


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


def put_each(store: Store, folder: Path, sent: Sequence[Sequence[Sent]]) -> Inbox:
    """Load what is sent to each of the projects p00, p01, … of which one knows nothing of another."""
    inbox = Inbox(folder)
    for project, events in zip(projects(len(sent)), sent, strict=True):
        for number, (event, sender) in enumerate(events):
            body = export_of([event])
            inbox.submit(project, "logs", body, str(number), sender=sender).result()
    drain(store, inbox)
    return inbox


def projects(number: int) -> list[str]:
    return [f"p{one:02}" for one in range(number)]


def replay(store: Store, inbox: Inbox) -> None:
    """Load all once more."""
    inbox.reopen(inbox.stored_segments(after_ms=0), is_new_epoch=True)
    drain(store, inbox)


def said(**facts: Any) -> str:
    return json.dumps({"schema_version": 1, "request_id": REQUEST, "name": "x", **facts})


NO_SCORES = (
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
)
POWERLESS = (None, Sender("k", "", "govern"), Sender("k"))


def test_what_is_no_score_is_kept_apart(store: Store, tmp_path: Path) -> None:
    """
    A body that says nothing of the kind, and what a key sends that has neither ingest nor score, is
    in quarantine with what is wrong, and is no score.
    """
    sent = [[(LogEvent(EVENT_FEEDBACK, NOW_NS, body, {}), PRODUCER)] for body, _ in NO_SCORES]
    put_each(store, tmp_path, [*sent, *([(score(), one)] for one in POWERLESS)]).close()

    told = store.query("SELECT reason, detail FROM quarantine ORDER BY project").rows
    assert {reason for reason, _ in told} == {"not-a-score"}
    problems = [problem for _, problem in NO_SCORES]
    assert [problem in detail for (_, detail), problem in zip(told, problems, strict=False)] == [
        True
    ] * len(problems)
    refusal = "its key has neither the scope ingest nor score"
    assert [detail for _, detail in told[len(problems) :]] == [refusal] * len(POWERLESS)
    assert stored(store) == []


votes = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 3), st.sampled_from(["ann", "bob", ""])),
    min_size=1,
    max_size=6,
)


@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(given=st.lists(votes, min_size=16, max_size=16))
def test_a_replay_gives_the_same_scores(
    store: Store,
    tmp_path_factory: pytest.TempPathFactory,
    given: list[list[tuple[float, int, str]]],
) -> None:
    """
    Whatever was voted, loading all of it again, into what is stored or into nothing, changes no row.
    """
    store.command("TRUNCATE TABLE scores")
    sent = [
        [
            (score(value, seconds, **({"voter": voter} if voter else {})), BROWSER)
            for value, seconds, voter in one
        ]
        for one in given
    ]
    inbox = put_each(store, tmp_path_factory.mktemp("inbox"), sent)
    columns = "project, hex(event_id), value, voter"
    before = sorted(set(stored(store, columns)))
    replay(store, inbox)
    assert sorted(set(stored(store, columns))) == before
    store.command("TRUNCATE TABLE scores")
    replay(store, inbox)
    inbox.close()
    assert sorted(set(stored(store, columns))) == before
    voters = {(project, voter) for project, *_, voter in before}
    assert [project for project, _ in sorted(voters)] == projects(len(given))


def of_trace(number: int = 0, trace: str = "ab", **fields: Any) -> LogEvent:
    """Return the event of a record of a trace."""
    return request_event(record(number, trace_id=trace * 16, **fields))


def owned(store: Store, columns: str = "request_id_text, value") -> list[Any]:
    """Return the evaluations of requests that have a record."""
    return store.query(
        f"SELECT DISTINCT {columns} FROM scores "
        "WHERE (project, request_id) IN (SELECT project, request_id FROM requests) ORDER BY ALL"
    ).rows


def hours_of_what_came_in(store: Store, project: str, since_ms: int) -> list[int]:
    """Return the hours of requests that a sweep after a restart would find."""
    asked: dict[str, Any] = {"project": project, "projects": [project], "reached": [since_ms]}
    asked |= {"others_ms": since_ms, "slack_ms": 0, "first": "0" * 32, "last": "f" * 32}
    rows = store.query(statement("quality_received", store.database), asked).rows
    return [hour for _, hour in rows]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_scores_of_no_request_make_no_hour_anew(
    store: Store, tmp_path: Path, order: tuple[int, int]
) -> None:
    """
    Only hours of requests that there are are rolled up for the sake of scores, whoever names others
    from a page; a request that comes later brings its own hour.
    """
    named = record(LATER).request_id
    scores = [score(request_id=named)] + [
        score(request_id=format_uuid7(NOW_MS - hour * HOUR_MS, 7)) for hour in range(50)
    ]
    parts = [[(one, BROWSER) for one in scores], [(of_trace(LATER), PRODUCER)]]
    inbox = Inbox(tmp_path)
    loader = Loader(store, inbox)
    told: list[tuple[str, str, int]] = []
    loader.on_scored = lambda hours: told.extend(("scored", *one) for one in hours)
    loader.on_stored = lambda numbers, _: told.extend(
        ("stored", one[0], one[-1] // HOUR_MS) for one in numbers
    )
    for part in order:
        for number, (event, sender) in enumerate(parts[part]):
            body = export_of([event])
            inbox.submit("default", "logs", body, f"{part} {number}", sender=sender).result()
        while inbox.lag().stored_seq < inbox.lag().accepted_seq:
            loader.load_next()
    loader.close()
    inbox.close()

    later = NOW_MS // HOUR_MS + 2
    assert len(stored(store)) == 51
    stored_first = [("stored", "default", later)]
    assert told == (
        stored_first if order == (0, 1) else [*stored_first, ("scored", "default", later)]
    )


def test_evaluations_of_a_trace_are_its_first_requests_in_any_order(
    store: Store, tmp_path: Path
) -> None:
    """
    One or two records of a trace and what was evaluated come in each order, one by one, together,
    with a stranger's span before them and without: all is the first request's and stored there
    alone, also replayed; what names a request stays with it. Both hours are rolled up anew.
    """
    told = [evaluation(**{"name": "Fit", "score.value": value}) for value in (0.5, 0.75)]
    two, one = [told, [of_trace(LATER)], [of_trace()]], [[of_trace()], told, []]
    orders = [*permutations(two), *permutations(two), *permutations(one), [[*told, of_trace()]]]
    inbox = Inbox(tmp_path)
    for project in projects(6):
        earlier = format_uuid7(NOW_MS - 5_000, 1)
        Filler(store, project=project).alias("trace_id", "ab" * 16, earlier)
    own = score(0.25, request_id=record(LATER).request_id)
    for at in range(4):
        since_ms = time.time_ns() // 10**6
        for project, order in zip(projects(len(orders)), orders, strict=True):
            if part := [[own], *order, [], []][at]:
                body = export_of(part)
                inbox.submit(project, "logs", body, str(at), sender=PRODUCER).result()
        drain(store, inbox)

    assert hours_of_what_came_in(store, "p00", since_ms) == [
        NOW_MS // HOUR_MS,
        NOW_MS // HOUR_MS + 2,
    ]
    first, second = record(0).request_id, record(LATER).request_id
    expected = [
        (project, *row)
        for project in projects(len(orders))
        for row in ((first, 0.5, 1), (first, 0.75, 1), (second, 0.25, 1))
    ]
    rows = "SELECT project, request_id_text, value, count() FROM scores GROUP BY ALL ORDER BY ALL"
    assert store.query(rows).rows == expected
    replay(store, inbox)
    inbox.close()
    assert store.query(rows).rows == expected
    for project, number in (("p00", 0), ("p12", 1), (projects(len(orders))[-1], 1)):
        evidence = Reader(store, project).evidence(first)
        assert evidence is not None
        assert [score.revisions for score in evidence.scores] == [2]
        asked = ask_of(store, project)
        assert scores_pending(asked, ScoreFilter())["scores"] == number
        listed = {
            one["request_id"]: one["is_pending"] for one in scores_listed(asked, ScoreFilter())
        }
        assert listed == {first: False, second: bool(number)}


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
