"""Decisions on their way into the store: whose key may take them, and which one wins a race."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from attested import GOVERNOR, PRODUCER, drain, load
from hypothesis import given, settings
from hypothesis import strategies as st

from mvtrace.otlp import LogEvent
from mvtrace.registry.deployments import Action, Decision, event_of, serving_at
from mvtrace.registry.retention.values import Known
from mvtrace.store import Store
from mvtrace.store.deployments import Deployments
from mvtrace.store.statements import Statements
from mvtrace_collector import decisions
from mvtrace_collector.segments import Sender

A, B, C = (digit * 64 for digit in "abc")
NOW_NS = time.time_ns() - 10**12


def deployment(
    version: str, seconds: float = 0, action: Action = "deploy", **said: Any
) -> LogEvent:
    at = NOW_NS + int(seconds * 10**9)
    facts: dict[str, Any] = {"service": "bot", "environment": "prod", "at": at, **said}
    return event_of(Decision(action=action, composite=version, **facts), now_ns=at)


def stored(store: Store) -> list[tuple[Any, ...]]:
    return store.query(
        "SELECT action, left(composite, 1), actor, actor_label, claimed_actor FROM deployments "
        "ORDER BY at, seq"
    ).rows


def refused(store: Store) -> list[tuple[str, str]]:
    return store.query("SELECT reason, detail FROM quarantine ORDER BY detail").rows


def test_the_actor_is_the_key(store: Store, tmp_path: Path) -> None:
    """
    A decision is stored with the identity of the key it came under; a claimed name is a label.
    """
    load(store, tmp_path, [(deployment(A, claimed_actor="root"), GOVERNOR)]).close()

    assert stored(store) == [("deploy", "a", "0123456789ab", "release team", "root")]
    ((at, body),) = store.query("SELECT toUnixTimestamp64Nano(at), body FROM deployments").rows
    assert at == NOW_NS
    assert Decision.from_bytes(body).claimed_actor == "root"


@pytest.mark.parametrize("sender", [None, PRODUCER, Sender("x", "y", "ingest score")])
def test_a_key_that_may_not_decides_nothing(
    store: Store, tmp_path: Path, sender: Sender | None
) -> None:
    """
    What comes without the scope govern is in quarantine with its bytes, and nowhere else.
    """
    event = deployment(A)
    verdict = LogEvent("mvtrace.verdict", NOW_NS, '{"schema_version": 1}', {})
    load(store, tmp_path, [(event, sender), (verdict, sender)]).close()

    assert stored(store) == []
    assert store.query("SELECT count() FROM governance_events").rows == [(0,)]
    assert [reason for reason, _ in refused(store)] == ["not-permitted"] * 2
    ((body,),) = store.query("SELECT body FROM quarantine WHERE subject LIKE '%deployment%'").rows
    assert body == event.body


def test_an_expected_version_refuses_the_second_of_two(store: Store, tmp_path: Path) -> None:
    """
    Of two that expect the same version to serve, the first is taken and the second told so.
    """
    sent = [
        (deployment(A, 0), GOVERNOR),
        (deployment(B, 1, expect=A), GOVERNOR),
        (deployment(C, 2, expect=A), GOVERNOR),
        (deployment(C, 3, expect=B, service="other"), GOVERNOR),
    ]
    load(store, tmp_path, sent).close()

    assert [row[1] for row in stored(store)] == ["a", "b"]
    by = "0123456789ab (release team)"
    assert refused(store) == [
        ("lost-race", f"{A[:12]} was expected to serve, but {B[:12]} serves, decided by {by}"),
        ("lost-race", f"{B[:12]} was expected to serve, but nothing was deployed"),
    ]


def test_a_replay_changes_nothing(store: Store, tmp_path: Path) -> None:
    """
    The same segments loaded again, under a new epoch, give the same rows and the same refusals.
    """
    sent = [
        (deployment(A, 0), GOVERNOR),
        (deployment(B, 1, expect=A), GOVERNOR),
        (deployment(C, 2, expect=A), GOVERNOR),
        (deployment(A, 3, "rollback"), GOVERNOR),
        (deployment(A, 3), PRODUCER),
    ]
    inbox = load(store, tmp_path, sent)
    before = stored(store), sorted(set(refused(store)))
    inbox.reopen(inbox.stored_segments(after_ms=0), is_new_epoch=True)
    drain(store, inbox)

    assert (stored(store), sorted(set(refused(store)))) == before
    store.command("TRUNCATE TABLE deployments")
    inbox.reopen(inbox.stored_segments(after_ms=0), is_new_epoch=True)
    drain(store, inbox)
    inbox.close()

    assert stored(store) == before[0]


def test_the_same_decision_sent_twice_is_one(store: Store, tmp_path: Path) -> None:
    """
    A retry in another batch is the same event, and does not lose against itself.
    """
    first, second = deployment(A), deployment(B, 1, expect=A)
    sent = [(first, GOVERNOR), (second, GOVERNOR), (second, GOVERNOR), (first, GOVERNOR)]
    load(store, tmp_path, sent).close()

    assert [row[1] for row in stored(store)] == ["a", "b"]
    assert refused(store) == []


def test_a_time_to_come_is_now(store: Store, tmp_path: Path) -> None:
    """
    Nobody decides the future: what claims a later time takes effect when it is received.
    """
    load(store, tmp_path, [(deployment(A, 10**6), GOVERNOR)]).close()

    ((at, received),) = store.query(
        "SELECT toUnixTimestamp64Milli(at), toUnixTimestamp64Milli(received_at) FROM deployments"
    ).rows
    assert at == received


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("{}", "schema_version is missing"),
        ('{"schema_version": 1}', "action is no text"),
        ("no json", "line 1 column 1"),
        (deployment(A, -(10**9)).body, "its time cannot be"),
    ],
)
def test_what_is_no_decision_is_kept_apart(
    store: Store, tmp_path: Path, body: str, problem: str
) -> None:
    """
    A body that says nothing of the kind is in quarantine with what is wrong.
    """
    load(store, tmp_path, [(LogEvent("mvtrace.deployment", NOW_NS, body, {}), GOVERNOR)]).close()

    ((reason, detail),) = refused(store)
    assert reason == "not-a-decision"
    assert problem in detail


def test_retentions_and_verdicts_are_kept_as_they_were_said(store: Store, tmp_path: Path) -> None:
    """
    The other decisions are rows with their bytes and their key.
    """
    sent = [
        (LogEvent(f"mvtrace.{name}", NOW_NS, '{"schema_version": 1, "x": 2}', {}), GOVERNOR)
        for name in ("retention", "verdict", "verdict")
    ]
    load(store, tmp_path, sent).close()

    rows = store.query("SELECT name, actor, body FROM governance_events FINAL ORDER BY name").rows
    assert rows == [
        (f"mvtrace.{name}", "0123456789ab", '{"schema_version": 1, "x": 2}')
        for name in ("retention", "verdict")
    ]


def test_the_reader_folds_what_is_stored(store: Store, tmp_path: Path) -> None:
    """
    What served is told for any instant, of the one service that is asked about.
    """
    sent = [
        (deployment(A, 0), GOVERNOR),
        (deployment(B, 1, "canary", share=0.1), GOVERNOR),
        (deployment(B, 2, "promote"), GOVERNOR),
        (deployment(C, 1, service="other"), GOVERNOR),
    ]
    load(store, tmp_path, sent).close()

    found = Deployments(Statements(store, "default")).of("bot", "prod")
    assert [serving_at(found, NOW_NS + s * 10**9).version for s in (-1, 0, 1, 2)] == [None, A, A, B]
    assert Deployments(Statements(store, "elsewhere")).of("bot", "prod") == ()


steps = st.tuples(
    st.sampled_from([A, B, C]), st.integers(0, 5), st.none() | st.sampled_from([A, B, C])
)


def unasked(project: str, version: str) -> Known:
    raise AssertionError(f"nothing is being collected, and {version} of {project} is looked up")


@settings(max_examples=300)
@given(st.lists(steps, max_size=10), st.data())
def test_judgement_is_the_same_when_loaded_again(
    history: list[tuple[str, int, str | None]], data: st.DataObject
) -> None:
    """
    Whatever part of the rows was lost, all decisions loaded again get the answers they had.
    """
    sent = [
        decisions.Sent(
            project="p",
            received_ms=NOW_NS // 10**6 + 10_000 + number // 2,
            seq=number,
            name="mvtrace.deployment",
            time_ns=0,
            body=deployment(version, seconds, expect=expect).body,
            is_text=True,
            actor="key",
            actor_label="",
            grants="govern",
        )
        for number, (version, seconds, expect) in enumerate(history)
    ]
    first = list(decisions.judge(sent, [], [], unasked))
    rows = [
        decisions.Stored(
            one.project,
            one.at_ns,
            one.seq,
            one.event_id.hex(),
            "key",
            "",
            one.body,
            one.received_ms,
        )
        for one in first
        if one.is_new
    ]
    is_kept = data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)))
    kept = [row for row, holds in zip(rows, is_kept, strict=True) if holds]
    data.draw(st.randoms(use_true_random=False)).shuffle(kept)

    again = list(decisions.judge(sent, kept, [], unasked))

    taken = {one.event_id for one in first if one.is_new}
    news = {one.event_id for one in again if one.is_new}
    assert news | {bytes.fromhex(row.event) for row in kept} == taken
    assert all(one.problem == "" for one in again if one.event_id in taken and one.is_new)
