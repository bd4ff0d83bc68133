"""What a comparison reads of a real store beside the sums."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from compared import BASELINE, CANARY, store_rows
from rollups import STARTED, plan_of, rolled_up
from stored import Filler, new_store

from mvtrace import comparing
from mvtrace.comparing.errors import NotKeptError
from mvtrace.comparing.events import ARM, Subject, event_of
from mvtrace.comparing.from_store import StoreSource
from mvtrace.comparing.history import past_of
from mvtrace.comparing.looking import Asked, take
from mvtrace.comparing.reading import Span
from mvtrace.registry.evals.scorers import scorer_entry
from mvtrace.store import Store

HOUR = 3600
SUBJECT = Subject(baseline=BASELINE, canary=CANARY, service="support", environment="production")
SCORER = scorer_entry("toxicity", code="sha256:" + "5" * 64, better="lower").entry


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store with a comparison of 27 hours, 2,000 slow and fast requests, and scores of 1 to 5."""
    folder = tmp_path_factory.mktemp("read")
    found = rolled_up({"toxicity": (0.9, 0.9), "error": (0.1, 0.1)}, requests=200, hours=3)
    scorers = {"toxicity": SCORER.digest}
    with new_store(f"chdb://{folder / 'store'}") as store:
        store_rows(store, found, first_hour=STARTED, scorers=scorers)
        store_rows(store, found, first_hour=STARTED, project="elsewhere", scorers=scorers)
        Filler(store).entry(SCORER)
        fill_requests(store)
        yield store


def fill_requests(store: Store) -> None:
    """Store requests of the first hour: the canary's are drawn by user from its tenth second on."""
    rows, scores, now = [], [], datetime.now(UTC)
    for number in range(2000):
        ms = STARTED * HOUR * 1000 + number
        id_ = ms.to_bytes(6, "big") + number.to_bytes(10, "big")
        at = datetime.fromtimestamp(STARTED * HOUR + number % 60, UTC)
        said = "" if number % 2 else '{"assignment": {"unit_kind": "user"}}'
        drawn = at.second >= 10 and not number % 2
        rows.append(
            [
                *("default", id_, 1, said, "finished", at, (number + 1) * 10**6, "support"),
                *("production", CANARY if drawn else BASELINE, "canary" if drawn else "stable"),
                *("r1", b"u" * 16 if drawn else bytes(16), "http", now),
            ]
        )
        scores.append(
            ["default", id_, "toxicity", SCORER.digest, id_, "user", "", number % 5 + 1.0, at, "k", now]
        )  # fmt: skip
    # A page that votes under the judge's name, and a judge of what never was.
    for number, (name, voter) in enumerate(
        [("toxicity", "v1"), ("toxicity", ""), ("thumbs", "v2")]
    ):
        id_ = scores[-1][1] if voter else (STARTED * HOUR * 1000).to_bytes(6, "big") + b"n" * 10
        event, scorer = number.to_bytes(16, "big"), f"undeclared:user/{name}"
        scores.append(
            ["default", id_, name, scorer, event, "user", voter, 1e6, at, "k", now]
        )  # fmt: skip
    columns = "project request_id revision record state started_at duration_ns service environment "
    columns += "composite_version arm rollout unit protocol received_at"
    of_scores = "project request_id name scorer event_id source voter value scored_at actor "
    of_scores += "received_at"
    with store.session() as session:
        session.insert("requests", columns.split(), rows)
        session.insert("scores", of_scores.split(), scores)


def test_the_first_request_is_found_in_its_hour(store: Store) -> None:
    """
    The canary's first request is told to the second, with what was drawn for it.
    """
    source = StoreSource(store, "default")

    assert source.first_hours(SUBJECT) == (STARTED, STARTED)
    assert source.started(SUBJECT, STARTED) == (STARTED * HOUR + 10, "user")
    assert source.started(SUBJECT, STARTED + 1) == (None, "request")
    by_arm = replace(SUBJECT, baseline="stable", canary="canary", by=ARM, rollout="r1")
    assert source.first_hours(by_arm) == (STARTED, STARTED)
    assert source.started(by_arm, STARTED)[0] == STARTED * HOUR + 10
    assert source.started(replace(by_arm, rollout="r2"), STARTED)[0] is None


def test_a_plan_freezes_what_the_baseline_had(store: Store) -> None:
    """
    Scorers say which way is better, scores which scale they have, requests how slow they were.
    """
    source = StoreSource(store, "default")
    span = Span(STARTED * HOUR, (STARTED + 1) * HOUR)

    metrics = source.metrics(SUBJECT, STARTED * HOUR)
    scored = {"toxicity": [*metrics["toxicity"], "undeclared:user/toxicity"]}
    facts = source.facts(SUBJECT, {**metrics, **scored, "thumbs": ["undeclared:user/thumbs"]}, span)

    assert metrics["toxicity"] == [SCORER.digest]
    assert {"error", "request"} <= metrics.keys()
    assert facts.better == {"toxicity": "lower"}
    assert facts.scorers == {"toxicity": SCORER.digest}
    assert facts.ranges == {"toxicity": (1.0, 5.0)}
    found = source.thresholds(SUBJECT, span)
    assert list(found.values()) == [0.05, 0.01]
    assert [round(float(one.removeprefix("latency_ms>")), -2) for one in found] == [1900, 2000]
    assert source.thresholds(replace(SUBJECT, baseline=CANARY), span) == {}  # of too few requests


def test_of_a_metric_with_one_scorer_no_others_values_count(store: Store) -> None:
    """
    What somebody else scored under a metric's name is left out where the plan names the scorer.
    """
    source = StoreSource(store, "default")
    span = Span(STARTED * HOUR, (STARTED + 3) * HOUR)

    both = source.rolled_up(SUBJECT, ["toxicity", "error"], span, {})
    ours = source.rolled_up(SUBJECT, ["toxicity", "error"], span, {"toxicity": SCORER.digest})
    none = source.rolled_up(SUBJECT, ["toxicity", "error"], span, {"toxicity": "sha256:other"})

    assert both.scorers["toxicity"] == {SCORER.digest}
    assert ours.columns().keys() == both.columns().keys()
    assert {name for name, _ in none.columns()} == {"error", "request"}


def test_of_arms_their_versions_are_told(store: Store) -> None:
    """
    Which versions served an arm is told by rollout and place, with how many requests each.
    """
    source, span = StoreSource(store, "default"), Span(STARTED * HOUR, (STARTED + 3) * HOUR)
    asked = replace(SUBJECT, baseline="stable", canary="canary", by=ARM, rollout="r1")

    found = source.versions(asked, span)

    assert {arm: list(those) for arm, those in found.items()} == {
        "canary": [CANARY], "stable": [BASELINE],
    }  # fmt: skip
    assert sum(sum(those.values()) for those in found.values()) == 600
    assert source.versions(replace(asked, rollout="r2"), span) == {}


def test_a_version_counts_as_the_one_it_settled_on(store: Store) -> None:
    """
    What an observed version was while its process warmed up is that version; what both sides may
    have been is neither, what was declared is what it says, and what served elsewhere or at another
    time is another system. However many have the same parts and never served, they hide none.
    """
    parts = {
        "a": ["model", "prompt", "tools"], "b": ["model", "prompt'"], "warm": ["model", "tools"],
        "both": ["model"], "said": ["prompt", "tools"], "far": ["tools"], "before": ["prompt"],
    }  # fmt: skip
    ours = {name: f"{number}" * 64 for number, name in enumerate(parts, 1)}
    minted = {f"{number:064x}": parts["warm"] for number in range(300)}
    at, place = datetime.fromtimestamp(STARTED * HOUR, UTC), ("shop", "prod")
    with store.session() as session:
        columns = "project version name manifest component_kinds component_names "
        columns += "component_digests received_at"
        session.insert("composites", columns.split(), [
            ["settled", version, "bot", "{}", ["custom"] * len(those), [one.strip("'") for one in those], those, at]
            for version, those in {**minted, **{ours[name]: those for name, those in parts.items()}}.items()
        ])  # fmt: skip
        ids = {name: at_ms(number) for number, name in enumerate(ours)}
        columns = "project request_id revision record service environment composite_version "
        columns += "started_at received_at"
        session.insert(
            "requests",
            columns.split(),
            [["settled", ids[name], 1, "{}" if name == "said" else '{"composite_basis":"observed"}',
              *place, ours[name], at, datetime.now(UTC)] for name in ours],
        )  # fmt: skip
    rows = rolled_up({"error": (0.1, 0.1)}, requests=100, hours=1, share=0.5)
    for stable, canary in (("a", "b"), ("warm", "both"), ("said", "said")):
        versions = {"stable": ours[stable], "canary": ours[canary]}
        store_rows(store, rows, first_hour=STARTED, project="settled", versions=versions)
    for name, hour, service in (("far", STARTED, "other"), ("before", STARTED - 1, "support")):
        versions = dict.fromkeys(("stable", "canary"), ours[name])
        store_rows(
            store, rows, first_hour=hour, project="settled", versions=versions, service=service
        )
    span = Span(STARTED * HOUR, (STARTED + 1) * HOUR)

    found = StoreSource(store, "settled").rolled_up(
        Subject(baseline=ours["a"], canary=ours["b"]), ["error"], span, {}
    )

    requests = {
        arm: one.sums[0].sum() for (name, arm), one in found.columns().items() if name == "error"
    }
    cells = rows.cells.items()
    one = {
        arm: sum(cell.requests for key, cell in cells if key.arm == arm)
        for arm in ("stable", "canary")
    }
    assert requests == {ours["a"]: 2 * one["stable"], ours["b"]: one["canary"]}


def at_ms(number: int) -> bytes:
    """Return the id of a request, so many milliseconds after the first hour began."""
    return (STARTED * HOUR * 1000 + number).to_bytes(6, "big") + bytes(10)


def test_another_project_reads_none_of_it(store: Store) -> None:
    """
    What one project has is in no answer to another.
    """
    source = StoreSource(store, "third")
    span = Span(STARTED * HOUR, (STARTED + 1) * HOUR)

    assert source.first_hours(SUBJECT) == (None, None)
    assert source.metrics(SUBJECT, 0) == {}
    assert source.started(SUBJECT, STARTED) == (None, "request")
    assert StoreSource(store, "elsewhere").started(SUBJECT, STARTED) == (None, "request")
    assert source.facts(SUBJECT, {"toxicity": [SCORER.digest]}, span).ranges == {}


def test_looks_are_read_back_from_a_store(store: Store) -> None:
    """
    Looks that were kept as events are found again by what they compare, and by nothing else.
    """
    source, plan = StoreSource(store, "default"), plan_of()
    plan = replace(plan, metrics=(replace(plan.metrics[0], name="toxicity", direction="lower"),))
    fill, looks = Filler(store), []
    for hours in (2, 3):
        asked = Asked(
            baseline=BASELINE, canary=CANARY, service="support", environment="production",
            until=(STARTED + hours) * HOUR,
        )  # fmt: skip
        looks.append(take(source, asked, plan, keep=list))
        fill.verdict(event_of(looks[-1].body).body.encode())

    past = past_of(source.ask, SUBJECT, plan.digest, until=10**11)
    assert looks[1].last == (looks[0].verdict,)
    assert past.shown == (looks[0].verdict, looks[1].verdict)
    assert past.last == (looks[1].verdict,)
    assert past_of(source.ask, SUBJECT, None, until=(STARTED + 2) * HOUR).looks == 1
    others = [replace(SUBJECT, **{name: "x"}) for name in ("service", "rollout", "baseline")]
    assert [past_of(source.ask, one, None, until=10**11).looks for one in others] == [0, 0, 0]
    elsewhere = StoreSource(store, "elsewhere")
    assert past_of(elsewhere.ask, SUBJECT, None, until=10**11).looks == 0


def test_a_store_that_is_read_directly_keeps_nothing(store: Store) -> None:
    """
    Without a collector a look may be taken, but not kept.
    """
    with pytest.raises(NotKeptError) as refused:
        comparing.look(store, BASELINE, CANARY, plan=plan_of())

    assert refused.value.exit_code == 2
    assert "is read directly, so this look cannot be kept: " in refused.value.message
    alone = comparing.compare(
        store, BASELINE, CANARY, plan=plan_of(), remember=False, project="default"
    )
    assert alone.decision == "hold"


def test_addresses_that_are_none_are_refused(tmp_path: Path) -> None:
    """
    A store that is not there, and an address that is none, are said so.
    """
    for source, code in ((f"chdb://{tmp_path / 'none'}", 3), ("ftp://x", 2)):
        with pytest.raises(Exception) as refused:
            comparing.compare(source, BASELINE, CANARY, remember=False)
        assert refused.value.exit_code == code  # type: ignore[attr-defined]
