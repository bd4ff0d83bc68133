"""Plans: made of what there is, written as text, registered and found again."""

from __future__ import annotations

import json
from dataclasses import replace

import jsonschema
import orjson
import pytest
from compared import BASELINE, CANARY, Memory
from hypothesis import given, settings
from hypothesis import strategies as st
from rollups import STARTED, arms_after, plan_of, rolled_up

from mvtrace.comparing.defaults import Facts, default_plan, is_score
from mvtrace.comparing.errors import NothingToDecideError
from mvtrace.comparing.events import Subject, entry_of_plan, plan_of_entry
from mvtrace.comparing.looking import Wish, made_plan
from mvtrace.comparing.plans import meaning, plan_named, plan_text
from mvtrace.errors import PlanFileError
from mvtrace.quality.cells import RollUp
from mvtrace.quality.plan import Gates, Horizon, Metric, Plan, Policy
from mvtrace.quality.plan_file import parse_plan
from mvtrace.quality.sources import Made
from mvtrace.registry.entries import Entry
from mvtrace.registry.errors import AmbiguousEntryError, EntryNotFoundError
from mvtrace.resources import schema_root
from mvtrace_collector.quality_asked import asked_by

VOTE = frozenset({"undeclared:user/thumbs"})
JUDGED = frozenset({"sha256:" + "1" * 64})
SUBJECT = Subject(baseline=BASELINE, canary=CANARY)
NOW = (STARTED + 40) * 3600


def served(*names: str, rate: float = 0.9, **changes: object) -> RollUp:
    """Return what a service with these metrics has served."""
    found = rolled_up(dict.fromkeys(names, (rate, rate)), requests=400, hours=4)
    return replace(found, **changes)  # type: ignore[arg-type]


def made(found: RollUp, facts: Facts | None = None) -> Plan:
    """Return the plan of what was served."""
    plan = default_plan(found, arms_after(4), facts or Facts())
    assert plan is not None
    return plan


def asked(plan: Plan) -> list[tuple[str, str, str, float]]:
    """Return what a plan asks."""
    return [(one.name, one.kind, one.role, one.margin) for one in plan.metrics]


def test_votes_decide_while_both_arms_get_as_many() -> None:
    """
    Users' votes are a goal, and how often they are given is a gate.
    """
    plan = made(served("thumbs", "thumbs:given", scorers={"thumbs": VOTE}))

    assert asked(plan) == [
        ("thumbs", "rate", "goal", 0.03),
        ("thumbs:given", "rate", "gate", 0.05),
    ]


def test_a_plan_written_beforehand_counts_each_vote_by_itself() -> None:
    """
    Before the comparison there is time to roll up each vote as 1 or 0, so that none on another scale
    leaves them unjudged; a plan made at the first look has what is rolled up by then.
    """
    found = served("thumbs", "thumbs:given", "tone", scorers={"thumbs": VOTE, "tone": JUDGED})
    place = Memory(found, facts_=Facts(better={"tone": "higher"}))

    beforehand, at_once = (
        made_plan(place, SUBJECT, NOW, Wish(thresholds=one)) for one in (True, False)
    )

    sources = [[plan.source_of(one) for one in plan.metrics] for plan in (beforehand, at_once)]
    assert sources == [["thumbs>0.5", "thumbs:given", "tone"], ["thumbs", "thumbs:given", "tone"]]
    assert [one.name for one in beforehand.metrics] == [one.name for one in at_once.metrics]
    text = plan_text(beforehand, comments={one.name: meaning(one) for one in beforehand.metrics})
    assert (
        "# one vote on another scale would leave it unjudged\n"
        '[[metrics]]\nname = "thumbs"\nkind = "rate"\nmargin = 0.03\nsource = "thumbs>0.5"\n'
    ) in text
    asked_for = asked_by([json.dumps(beforehand.to_dict())])
    assert asked_for.sources == (Made("thumbs>0.5", "thumbs", ">", "0.5"),)


def test_scores_of_which_nobody_says_what_is_better_decide_nothing() -> None:
    """
    A score of an undeclared judge is shown; a declared scorer says which way is better.
    """
    found = served("thumbs", "toxicity", scorers={"thumbs": VOTE, "toxicity": JUDGED})

    unknown = made(found)
    known = made(found, Facts(better={"toxicity": "lower"}))

    assert asked(unknown)[1] == ("toxicity", "rate", "info", 0.03)
    assert known.metrics[1].direction == "lower"
    assert asked(known)[1] == ("toxicity", "rate", "goal", 0.03)


def test_scores_have_the_scale_that_holds_them() -> None:
    """
    A score that is no rate has the usual scale around the values seen, and a margin of 3 % of it.
    """
    cells = {
        key: replace(cell, total=3.0 * cell.requests, squares=10.0 * cell.requests)
        for key, cell in served("stars").cells.items()
    }

    plan = made(RollUp(cells=cells), Facts(ranges={"stars": (1, 5)}, better={"stars": "higher"}))

    metric = plan.metrics[0]
    assert (metric.kind, metric.low, metric.high) == ("score", 0.0, 5.0)
    assert metric.margin == pytest.approx(0.15)


def test_nobody_who_may_only_vote_says_how_large_a_margin_is() -> None:
    """
    Votes on no known scale are shown; of a declared scorer no vote of the same name counts.
    """
    cells = {
        key: replace(cell, total=3.0 * cell.requests, squares=10.0 * cell.requests)
        for key, cell in served("stars").cells.items()
    }
    digest = min(JUDGED)

    voted = made(replace(served("error"), cells=cells | dict(served("error").cells),
                         scorers={"stars": VOTE}))  # fmt: skip
    facts = Facts(
        ranges={"stars": (1, 5)}, better={"stars": "higher"}, scorers={"stars": digest}
    )  # fmt: skip
    judged = made(RollUp(cells=cells, scorers={"stars": VOTE | JUDGED}), facts)

    undeclared = frozenset({"undeclared:judge/stars"})
    mixed = made(served("error", "stars", scorers={"stars": VOTE | undeclared}))

    assert asked(voted)[0] == ("stars", "score", "info", 0.03)
    assert asked(mixed)[0] == ("stars", "rate", "info", 0.03)
    assert [(one.name, one.role, one.scorer) for one in judged.metrics] == [
        ("stars", "goal", digest)
    ]


def test_bad_events_are_counted_where_a_share_is_planned() -> None:
    """
    Errors are an exact test where the share is known and there are enough; else their rate is asked.
    """
    often = served("error", rate=0.1)

    counted = made(often)
    elsewhere = made(replace(often, shares={}))
    seldom = made(served("error", rate=0.001))

    assert asked(counted) == [("error", "event", "guardrail", 1.5)]
    assert asked(elsewhere) == [("error", "rate", "guardrail", 0.01)]
    assert asked(seldom) == [("error", "rate", "guardrail", 0.01)]
    assert (counted.gates.sample_ratio, elsewhere.gates.sample_ratio) == (True, False)


def test_what_costs_more_is_for_people_to_judge() -> None:
    """
    Latency is a guardrail; cost and tokens are shown.
    """
    names = ("log_latency_ms", "log_cost_usd", "log_output_tokens")

    plan = made(served(*names, "error"))

    assert [(one.name, one.role) for one in plan.metrics] == [
        ("error", "guardrail"),
        ("log_latency_ms", "guardrail"),
        ("log_cost_usd", "info"),
        ("log_output_tokens", "info"),
    ]


def test_the_difference_seen_decides_nothing_of_the_plan() -> None:
    """
    The plan is the same whatever the canary did.
    """
    good, bad = (rolled_up({"error": (0.1, rate)}, hours=4) for rate in (0.05, 0.5))

    assert made(good) == made(bad)


def test_a_plan_of_nothing_is_refused() -> None:
    """
    A baseline that has nothing to decide by has no plan, and it is said what it has.
    """
    place = Memory(served("tone", scorers={"tone": JUDGED}))

    with pytest.raises(NothingToDecideError) as refused:
        made_plan(place, SUBJECT, NOW)

    assert refused.value.message == (
        "No plan can be made of what aaaaaaaaaaaa has: in the last seven days it has only tone."
    )
    assert refused.value.hint == (
        "Score requests with mvtrace.score(), or write a plan: 'mvtrace plan new --help'."
    )


def test_thresholds_are_frozen_where_they_are_wished_for() -> None:
    """
    How often the baseline's slowest requests are exceeded is asked by a plan written beforehand.
    """
    place = Memory(served("error", rate=0.1), thresholds_={"latency_ms>812.5": 0.05})
    wish = Wish(name="bot", thresholds=True, unit="user", has_shares=True)

    plan = made_plan(place, SUBJECT, NOW, wish)

    assert (plan.name, plan.unit) == ("bot", "user")
    assert asked(plan)[-1] == ("latency_ms>812.5", "event", "guardrail", 1.5)
    assert plan.source_of(plan.metrics[-1]) == "latency_ms>812.5:first"


@pytest.mark.parametrize(
    ("metric", "holds"),
    [("tone", True), ("rag:tone", True), ("score:error", True), ("error", False)]
    + [(name, False) for name in ("tone:given", "tone:first", "tone>0.5", "cost/tone", "request")],
)
def test_what_a_score_is(metric: str, holds: bool) -> None:
    """
    What is derived of records or of other metrics is no score.
    """
    assert is_score(metric) is holds


NAMES = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20).filter(
    str.isprintable
)
METRICS = st.builds(
    Metric,
    name=NAMES,
    kind=st.sampled_from(["rate", "mean"]),
    margin=st.floats(0.001, 0.5),
    weight=st.floats(0.1, 5),
    tau=st.none() | st.floats(0.01, 1),
    maturity_hours=st.integers(0, 100),
    source=st.none() | NAMES,
)
PLANS = st.builds(
    Plan,
    name=NAMES,
    metrics=st.lists(METRICS, min_size=1, max_size=3, unique_by=lambda one: one.name).map(tuple),
    unit=NAMES,
    deadline_hours=st.none() | st.integers(25, 1000),
    gates=st.builds(Gates, completeness=st.none() | st.floats(0, 1), mixed=st.none()),
    horizon=st.none() | st.builds(Horizon, requests=st.integers(1, 10**6)),
    policy=st.builds(Policy, expired=st.sampled_from(["hold", "revert"])),
)


@given(plan=PLANS)
@settings(max_examples=60, deadline=None)
def test_text_of_a_plan_is_the_plan(plan: Plan) -> None:
    """
    The file that a plan is written as holds the same plan, and so does its entry.
    """
    text = plan_text(plan, comments={"": "what it asks\nand why", plan.metrics[0].name: "first"})

    assert parse_plan(text.encode(), name="x") == plan
    assert plan_of_entry(entry_of_plan(plan)) == plan


PLAN_FILE = """
name = "bot"
{first}
[[metrics]]
name = "ok"
kind = "rate"
margin = {margin}
"""


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (PLAN_FILE.format(first="", margin="nan"), ", metrics, 'ok', margin: nan is not finite."),
        (
            PLAN_FILE.format(first="", margin="-0.1"),
            ", metrics, 'ok', margin: it is -0.1; of kind rate it is above 0.",
        ),
        (
            PLAN_FILE.format(first="alpha_revert = inf", margin="0.1"),
            ", alpha_revert: inf is not between 0 and 1.",
        ),
        (
            PLAN_FILE.format(first="gates = { completeness = true }", margin="0.1"),
            ", gates.completeness: True is not a number.",
        ),
        (
            PLAN_FILE.replace('"bot"', '"b\\u001b[2J"').format(first="", margin="0.1"),
            ", name: it is 1 to 128 printable characters.",
        ),
        ("[[metrics]]\n" * 10**6, ": it has 12000000 bytes; a plan has at most 262144."),
    ],
)
def test_a_file_that_is_no_plan_says_where(text: str, problem: str) -> None:
    """
    Numbers that are none, controls in names and a million metrics are refused, each with its place.
    """
    with pytest.raises(PlanFileError) as refused:
        parse_plan(text.encode(), name="x")

    assert refused.value.message == f"Plan x{problem}"
    assert refused.value.exit_code == 2


def test_a_gate_is_turned_off_with_false() -> None:
    """
    A limit that is false is none, since TOML has no word for nothing.
    """
    said = PLAN_FILE.format(first="gates = { completeness = false, mixed = false }", margin="0.1")

    assert parse_plan(said.encode(), name="x").gates == Gates(completeness=None, mixed=None)


def test_entry_of_a_plan_is_what_the_schema_says() -> None:
    """
    A plan's entry is valid by its published schema.
    """
    schema = orjson.loads((schema_root() / "events" / "plan.schema.json").read_bytes())

    jsonschema.validate(entry_of_plan(plan_of()).said, schema)


class Registered:
    """A registry that holds plans."""

    def __init__(self, *plans: Plan) -> None:
        self.entries: list[Entry] = [entry_of_plan(one) for one in plans]

    def __call__(self, sql: str, parameters: object) -> list[dict[str, object]]:
        """Return the entries, the newest first."""
        return [{"body": one.body.decode()} for one in reversed(self.entries)]


def test_registered_plans_are_found_by_any_name() -> None:
    """
    A plan is found by its own digest, by its entry's and by its name.
    """
    old, new = (plan_of(name=f"bot {hours}", minimum_hours=hours) for hours in (24, 48))
    ask = Registered(old, new)

    texts = [old.digest[:20], ask.entries[0].digest, f"plan:{old.digest[7:15]}", "bot 48"]

    assert [plan_named(ask, one) for one in texts] == [old, old, old, new]


def test_a_name_of_two_plans_names_neither() -> None:
    """
    Whoever registers a milder plan of the same name cannot have it taken for the other.
    """
    plans = [plan_of(name="bot", minimum_hours=hours) for hours in (24, 48)]

    with pytest.raises(AmbiguousEntryError) as refused:
        plan_named(Registered(*plans), "bot")

    assert refused.value.exit_code == 1
    assert all(one.digest in refused.value.message for one in plans)


def test_a_plan_that_is_none_is_refused() -> None:
    """
    A plan that nobody registered is refused.
    """
    ask = Registered(plan_of(name="bot"))

    with pytest.raises(EntryNotFoundError) as refused:
        plan_named(ask, "bto'; --\x1b[2J")

    assert refused.value.exit_code == 1
    assert 'No plan "bto\'; --\\x1b[2J" is registered.' in refused.value.message
