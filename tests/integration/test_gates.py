"""Where decisions are taken: each example of ``deploy/gates``, read and run against a collector."""

from __future__ import annotations

import base64
import json
import re
import shlex
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from gate_tools import (
    ERROR,
    FAILED,
    INCONCLUSIVE,
    RUNNING,
    SUCCESSFUL,
    AnalysisRun,
    Stepped,
    evaluated,
    measured,
    refused_by_argo,
    rolled_out,
    samples_in,
    stepped,
    with_arguments,
)
from gated import ADMIN, DECISIONS, ENVIRONMENT, HORIZON, IMPOSTOR, PLAN, Gated, digits, gated
from keyed import ask
from story import SECOND, SYSTEM

from mvtrace.cli.main import cli
from mvtrace.quality.plan_file import read_plan
from mvtrace.quality.verdict import EXIT_CODES

GATES = Path(__file__).resolve().parents[2] / "deploy" / "gates"
NOWHERE = "http://127.0.0.1:9"
WITHIN_S = 30


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gated]:
    """A collector with canaries to promote, to revert and to hold."""
    with gated(tmp_path_factory.mktemp("gates")) as one:
        yield one


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((GATES / name).read_text()))


def test_the_verdict_is_an_answer_and_leaves_nothing_behind(gate: Gated) -> None:
    """
    Each canary gets its decision with the reason; a read keeps no look, however often it is asked.
    """
    before = _verdicts_kept(gate)
    answers = {service: gate.compare(**gate.at(service)) for service in DECISIONS}

    assert {name: one.json["decision"] for name, one in answers.items()} == DECISIONS
    assert {one.status for one in answers.values()} == {200}
    worse = answers["worse"].json
    assert (worse["reason"], worse["metrics"], worse["exit_code"]) == ("harm", ["resolved"], 11)
    assert (worse["baseline"], worse["canary"]) == (SYSTEM.version, SECOND.version)
    assert (worse["plan"], worse["kept"], worse["looks"]) == (PLAN.digest, False, 1)
    assert gate.compare(**gate.at("worse", full="1")).json["evidence"]["plan"]["name"] == "gated"
    assert _verdicts_kept(gate) == before


def test_a_look_is_kept_by_who_may_govern_and_only_where_it_is_news(gate: Gated) -> None:
    """
    POST keeps a look, not a second one in the same hour with the same outcome; a reader may not.
    """
    pair = {"baseline": SYSTEM.version, "canary": SECOND.version, "plan": digits(PLAN)}
    before = _verdicts_kept(gate)

    refused = gate.compare(post=True, **pair)
    first = gate.compare(gate.governor, post=True, **pair)
    shared = gate.compare(gate.governor, post=True, **pair)
    again = gate.compare(gate.governor, post=True, **pair, environment="")

    assert refused.status == 403
    assert "has not the scope govern that POST /api/v1/compare asks for." in refused.text
    assert (first.status, first.json["kept"], first.json["looks"]) == (200, True, 1)
    assert shared.json["verdict"] == again.json["verdict"] == first.json["verdict"]
    assert _verdicts_kept(gate) == before + 1

    other = gate.compare(gate.governor, post=True, **{**pair, "canary": SECOND.version[:12]})
    is_next_hour = len({one.json["looked_s"] // 3600 for one in (first, other)}) == 2
    assert (other.json["kept"], other.json["looks"]) == (is_next_hour, 2)


def test_polling_takes_the_last_look_of_a_horizon_from_nobody(gate: Gated) -> None:
    """
    A declared horizon has one last look: who reads never takes it, whoever keeps a look does, once.
    """
    asked = gate.at("better", plan=digits(HORIZON), full="1")

    read = gate.compare(**asked).json
    kept = gate.compare(gate.governor, post=True, **asked).json
    after = gate.compare(**asked).json

    past = [one["evidence"]["past"]["final_at"] for one in (read, kept, after)]
    assert past[0] is None
    assert past[1] is not None
    assert past[1] == past[2]
    said = "the declared horizon is reached; its last look is taken when a look is kept"
    assert [said in one["warnings"] for one in (read, kept, after)] == [True, False, False]


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ({"service": "nobody", "environment": ENVIRONMENT}, 404, "no-canary"),
        ({"service": "better", "environment": ENVIRONMENT, "plan": IMPOSTOR.name}, 404,
         "entry-not-found"),
        ({"baseline": "12345678", "canary": "87654321"}, 404, "version-not-named"),
        ({"baseline": "/etc/hosts", "canary": "87654321"}, 400, "filter"),
        ({"service": "x' OR 1=1 --", "environment": "\x00"}, 400, "filter"),
        ({"service": "x" * 4000, "environment": ENVIRONMENT}, 400, "filter"),
        ({"service": "better", "environment": ENVIRONMENT, "project": "other"}, 403,
         "forbidden-project"),
    ],
)  # fmt: skip
def test_what_is_no_verdict_is_an_error(
    gate: Gated, asked: dict[str, str], status: int, code: str
) -> None:
    """
    A slip, a plan that is only called so and another project are errors, and never a decision.
    """
    answer = gate.compare(**asked)

    assert (answer.status, answer.json["error"]["code"]) == (status, code)


def test_argo_rollouts_takes_promote_for_success_and_hold_for_neither(gate: Gated) -> None:
    """
    The step ends at promote and at revert; hold pauses after three days; errors decide nothing.
    """
    metric = _metric("mvtrace-verdict", gate.url, "better", gate.reader)
    assert refused_by_argo(metric) == ""

    phases = {
        service: measured(_metric("mvtrace-verdict", gate.url, service, gate.reader))
        for service in DECISIONS
    }
    nobody = measured(_metric("mvtrace-verdict", gate.url, "nobody", gate.reader))
    stranger = measured(_metric("mvtrace-verdict", gate.url, "better", "no-key"))
    away = measured(_metric("mvtrace-verdict", NOWHERE, "worse", gate.reader))

    assert phases == {"better": SUCCESSFUL, "worse": FAILED, "young": INCONCLUSIVE}
    assert {nobody, stranger, away} == {ERROR}
    assert AnalysisRun(metric).take(phases["better"]) == SUCCESSFUL
    assert AnalysisRun(metric).take(phases["worse"]) == FAILED
    held = AnalysisRun(metric)
    assert held.take(INCONCLUSIVE, metric["count"] - 1) == RUNNING
    assert AnalysisRun(metric).take(INCONCLUSIVE, metric["count"]) == INCONCLUSIVE
    assert (held.take(ERROR, 360), held.take(SUCCESSFUL)) == (RUNNING, SUCCESSFUL)
    without = {key: one for key, one in metric.items() if key != "consecutiveSuccessLimit"}
    assert AnalysisRun(without).take(INCONCLUSIVE, metric["count"]) == SUCCESSFUL


def test_argo_rollouts_guard_ends_a_rollout_and_never_promotes(gate: Gated) -> None:
    """
    The analysis beside the steps fails on revert alone, and has no end of its own.
    """
    metric = _metric("mvtrace-guard", gate.url, "worse", gate.reader)

    phases = {
        service: measured(_metric("mvtrace-guard", gate.url, service, gate.reader))
        for service in DECISIONS
    }

    assert refused_by_argo(metric) == ""
    assert phases == {"better": SUCCESSFUL, "worse": FAILED, "young": SUCCESSFUL}
    assert AnalysisRun(metric).take(SUCCESSFUL, 10_000) == RUNNING
    assert AnalysisRun(metric).take(FAILED) == FAILED


def test_argo_rollouts_uses_the_templates_there_are() -> None:
    """
    The Rollout names templates of the same file and gives every argument that has no value.
    """
    *templates, rollout = documents("argo-rollouts.yaml")
    canary = rollout["spec"]["strategy"]["canary"]
    uses = [canary["analysis"], *(one["analysis"] for one in canary["steps"] if "analysis" in one)]

    by_name = {one["metadata"]["name"]: one["spec"] for one in templates}
    for use in uses:
        (name,) = (one["templateName"] for one in use["templates"])
        needed = {one["name"] for one in by_name[name]["args"] if one.keys() == {"name"}}
        assert needed == {one["name"] for one in use["args"]}
    assert len(uses) == 2


def test_flagger_promotes_rolls_back_and_waits(gate: Gated) -> None:
    """
    Promote opens the promotion, revert the rollback, hold and a silent collector neither.
    """
    phases = {
        service: rolled_out(_canary(gate.url, service, gate.reader), 4) for service in DECISIONS
    }
    away = rolled_out(_canary(NOWHERE, "worse", gate.reader), 4)
    stranger = rolled_out(_canary(gate.url, "worse", "no-key"), 4)

    assert phases == {"better": "Succeeded", "worse": "Failed", "young": "WaitingPromotion"}
    assert (away, stranger) == ("WaitingPromotion", "WaitingPromotion")


def test_a_closed_hook_says_why(gate: Gated) -> None:
    """
    Flagger shows the body of a refusal in its events: it is the verdict in one sentence.
    """
    address = f"{gate.url}/api/v1/compare/flagger?hook=confirm-promotion"
    body = json.dumps({"metadata": gate.at("worse")}).encode()

    answer = ask(address, gate.reader, body)

    assert answer.status == 412
    assert re.fullmatch(r"Revert: resolved is proven worse\. .*\n", answer.text)


def test_a_key_in_an_address_opens_the_hook_alone(gate: Gated) -> None:
    """
    HTTP Basic is a key for Flagger's path and for no other; one that is none opens nothing.
    """
    token = {"authorization": "Basic bXZ0cmFjZTo="}
    path = "/api/v1/compare/flagger?hook=rollback"

    empty = ask(f"{gate.url}{path}", body=b"{}", headers=token)
    broken = ask(f"{gate.url}{path}", body=b"{}", headers={"authorization": "Basic \xff"})
    elsewhere = ask(f"{gate.url}/api/v1/requests", headers={"authorization": _basic(gate.reader)})
    there = ask(f"{gate.url}{path}", body=b"{}", headers={"authorization": _basic(gate.reader)})

    assert [one.status for one in (empty, broken, elsewhere, there)] == [401, 401, 401, 400]


def test_the_step_of_a_workflow_ends_with_the_verdict(gate: Gated, tmp_path: Path) -> None:
    """
    Every decision is an output of a step that succeeds; what is no verdict fails it, and sets none.
    """
    (workflow,) = documents("github-actions.yml")
    steps = {one.get("name"): one for one in workflow["jobs"]["verdict"]["steps"]}
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps(PLAN.to_dict()))

    def run(service: str) -> Stepped:
        environ = {
            **{name: str(value) for name, value in workflow["env"].items()},
            "MVTRACE_URL": gate.url,
            "MVTRACE_API_KEY": ADMIN,
            "MVTRACE_PROJECT": "default",
            "SERVICE": service,
            "PLAN": str(plan),
        }
        return stepped(steps["Ask for the verdict"], tmp_path / service, environ)

    with ThreadPoolExecutor(2) as pool:
        done = dict(zip(("worse", "nobody"), pool.map(run, ("worse", "nobody")), strict=True))

    assert (done["worse"].code, done["worse"].outputs["decision"]) == (0, "revert")
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", done["worse"].outputs["verdict"])
    assert "Revert: resolved is proven worse." in done["worse"].summary
    assert (done["nobody"].code, done["nobody"].outputs) == (1, {})
    assert "::error::no verdict: mvtrace compare ended with 1" in done["nobody"].log


def test_the_workflow_knows_each_exit_code() -> None:
    """
    The step's cases are the exit codes of a verdict, and the steps after it ask for its words.
    """
    (workflow,) = documents("github-actions.yml")
    steps = workflow["jobs"]["verdict"]["steps"]
    by_id = {one["id"]: one for one in steps if "id" in one}

    cases = re.findall(r"(\d+)\) decision=(\w+)", by_id["verdict"]["run"])
    conditions = [one["if"] for one in steps if "if" in one]

    assert {word: int(code) for code, word in cases} == EXIT_CODES
    asked = {word for one in conditions for word in re.findall(r"decision == '(\w+)'", one)}
    assert asked == {"promote", "revert"}
    for step in steps:
        words = shlex.split(step.get("run", ""))
        if words[:1] == ["mvtrace"]:
            cli.commands[words[1]].make_context(words[1], words[2:])


def test_prometheus_rules_fire_for_what_they_say(gate: Gated) -> None:
    """
    Each rule is read over a real scrape: harm pages, a promotion is told, a hold is silent.
    """
    for service in DECISIONS:
        gate.compare(gate.governor, post=True, **gate.at(service))
    samples = _scraped(gate, len(DECISIONS))

    (rules,) = documents("prometheus-rules.yaml")
    fired = {}
    for rule in rules["groups"][0]["rules"]:
        found = evaluated(rule["expr"], samples)
        fired[rule["alert"]] = sorted(dict(labels).get("service", "") for labels in found)
        _check_words(rule, [dict(one) for one in found])

    assert fired == {
        "MvtraceCanaryIsWorse": ["worse"],
        "MvtraceCanaryMayBePromoted": ["better"],
        "MvtraceArmsDoNotCompare": [],
        "MvtraceCanaryIsSuspicious": ["worse"],
        "MvtraceRolloutIsNotLookedAt": [],
        "MvtraceRolloutsLeftOut": [],
        "MvtraceQualityIsBehind": [],
    }


def test_prometheus_reads_what_the_collector_gives() -> None:
    """
    The configuration names the rules beside it and a key in a file, not in the text.
    """
    (config,) = documents("prometheus.yaml")
    (job,) = config["scrape_configs"]

    assert [(GATES / name).is_file() for name in config["rule_files"]] == [True]
    assert job["authorization"].keys() == {"type", "credentials_file"}
    assert urlsplit(f"//{job['static_configs'][0]['targets'][0]}").port == 4318


def test_the_plan_of_the_examples_is_one() -> None:
    """
    The plan beside the examples can be read, and asks for what the workflow takes it for.
    """
    plan = read_plan(GATES / "plan.toml")

    assert plan.name == "support"
    assert {one.role for one in plan.metrics} == {"goal", "guardrail"}


def _metric(template: str, url: str, service: str, key: str) -> dict[str, Any]:
    """Return the metric of a template with all its arguments given."""
    (found,) = (
        one
        for one in documents("argo-rollouts.yaml")
        if (one["kind"], one["metadata"]["name"]) == ("AnalysisTemplate", template)
    )
    given = {one["name"]: one.get("value", "") for one in found["spec"]["args"]}
    given |= {"collector": url, "service": service, "plan": digits(PLAN), "api-key": key}
    (metric,) = with_arguments(found["spec"]["metrics"], given)
    return dict(metric)


def _canary(url: str, service: str, key: str) -> dict[str, Any]:
    """Return Flagger's Canary with the collector's address, the key and the plan filled in."""
    text = (GATES / "flagger.yaml").read_text()
    address = "mvtrace-collector.mvtrace:4318"
    assert text.count(f"API_KEY@{address}") == 2
    text = text.replace(f"API_KEY@{address}", f"{key}@{urlsplit(url).netloc}")
    text = text.replace("0123456789abcdef", digits(PLAN))
    return dict(yaml.safe_load(text.replace("service: support", f"service: {service}")))


def _basic(key: str) -> str:
    return f"Basic {base64.b64encode(f'x:{key}'.encode()).decode()}"


def _scraped(gate: Gated, rollouts: int) -> dict[str, Any]:
    """Scrape until so many rollouts are shown."""
    deadline = time.monotonic() + WITHIN_S
    while True:
        samples = samples_in(ask(f"{gate.url}/metrics", ADMIN).text)
        shown = samples.get("mvtrace_rollout_info", {})
        if len(shown) == rollouts and not samples["mvtrace_rollouts_left_out"][frozenset()]:
            return samples
        assert time.monotonic() < deadline, (len(shown), gate.running.log.read_text()[-2000:])
        time.sleep(0.1)


def _check_words(rule: dict[str, Any], found: list[dict[str, str]]) -> None:
    """Check that a rule's text names labels that its result has."""
    named = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
    for labels in found:
        assert named <= labels.keys()
    assert rule["labels"]["severity"] in ("page", "ticket", "info")


def _verdicts_kept(gate: Gated) -> int:
    query = "SELECT count() FROM governance_events WHERE name = 'mvtrace.verdict'"
    answer = ask(f"{gate.url}/sql?project=default", ADMIN, query.encode())
    assert answer.status == 200, answer.text
    return int(answer.text)
