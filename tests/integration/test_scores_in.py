"""How scores and derived metrics come in, sentence by sentence, over HTTP to a real collector."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from keyed import Answer, ask
from processes import collector_command, running
from stored import Filler, new_store
from story import SYSTEM, record, request_id
from warm import Commands, Done, warm_commands

from mvtrace.ids import new_request_id
from mvtrace.otlp import LogEvent
from mvtrace.registry.evals.results import Pinned, Result
from mvtrace.scores import Score, event_of, export_of
from mvtrace.semconv import EVENT_EVALUATION
from mvtrace.wire import event_of as request_event

JUDGE = f"sha256:{'5' * 64}"
SCORER, SUITE, RUN = "7" * 64, "8" * 64, "9" * 64
PROTOBUF = {"content-type": "application/x-protobuf"}
APPLICATION = """
import sys
import mvtrace

mvtrace.configure(service="shop", environment="test")
model = mvtrace.model("answer", model="gpt-4o", provider="openai")
system = mvtrace.composite("shop", model)
with mvtrace.request(route="job", composite=system, arm="canary"):
    early = mvtrace.current_request_id()
    mvtrace.score(early, "faithful", 0.75, source="judge", scorer="sha256:" + "5" * 64)
    with mvtrace.generation("answer", model="gpt-4o", provider="openai", component=model) as call:
        call.chunk()
        call.response(model="gpt-4o-2024-08-06", finish_reason="content_filter",
                      input_tokens=1000, output_tokens=200)
    try:
        with mvtrace.tool("search"):
            raise ValueError("no index")
    except ValueError:
        pass
print(early)
sys.exit(not mvtrace.flush(20))
"""


class Shop(NamedTuple):
    """A collector, and commands that ask it."""

    url: str
    folder: Path
    commands: Commands

    def ask(self, path: str, body: bytes | None = None, **asked: Any) -> Answer:
        return ask(self.url + path, None, body, **asked)

    def logs(self, *events: LogEvent) -> Answer:
        return self.ask("/v1/logs", export_of(events), headers=PROTOBUF)

    def run(self, *arguments: str) -> Done:
        kept = {name: value for name, value in os.environ.items() if "MVTRACE" not in name}
        return self.commands.run(arguments, {**kept, "MVTRACE_URL": self.url})

    def json(self, *arguments: str) -> Any:
        done = self.run(*arguments, "--json")
        assert (done.code, done.errors) == (0, ""), (arguments, done)
        return json.loads(done.output)

    def sql(self, statement: str) -> list[Mapping[str, Any]]:
        answer = self.ask("/sql?default_format=JSONEachRow", statement.encode())
        assert answer.status == 200, answer.text
        return [json.loads(line) for line in answer.text.splitlines()]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A collector whose store has a request that an eval scored."""
    folder = tmp_path_factory.mktemp("scores")
    with new_store(f"chdb://{folder / 'store'}") as store:
        fill = Filler(store)
        fill.system()
        fill.request(record(0))
        results = [Result("capital-7", value=1.0, label="C", request_id=request_id(0))]
        fill.results(Pinned(composite=SYSTEM.version, suite=SUITE, scorer=SCORER), results, RUN)
    environ = {"MVTRACE_QUALITY_INTERVAL_S": "0.5"}
    command = collector_command(folder / "store")
    log = folder / "collector.log"
    with running(command, log, environ) as one, warm_commands() as commands:
        yield Shop(one.url, folder, commands)


def until(find: Callable[[], Any]) -> Any:
    """Ask until there is an answer."""
    deadline = time.monotonic() + 30
    while not (found := find()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def listed(shop: Shop, *arguments: str) -> list[Any]:
    return list(shop.json("scores", "list", *arguments)["scores"])


def measured(shop: Shop, metrics: set[str]) -> Mapping[str, Any]:
    """Return the rows of the shop's roll-up by metric, once *metrics* are among them."""
    rows = shop.sql(
        "SELECT metric, scorer, total, requests FROM quality_hourly FINAL "
        "WHERE service = 'shop' AND requests > 0"
    )
    found = {row["metric"]: row for row in rows}
    return found if metrics <= found.keys() else {}


def test_every_way_in_is_one_score_with_its_source_scorer_and_delay(shop: Shop) -> None:
    """
    An event of feedback, OpenTelemetry's evaluation of a trace, a page's vote and a line of a file
    become scores of one request, each with source, scorer and delay.
    """
    request, trace = request_id(0), bytes.fromhex(record(0).trace_id or "")
    at = record(0).started_at + 90_000_000_000
    file = shop.folder / "lines.jsonl"
    file.write_text(
        json.dumps({"request_id": request, "name": "way-file", "label": "good", "at": str(at)})
    )
    judged = Score(request_id=request, name="way-event", value=0.5, source="judge", scorer=JUDGE)
    evaluated = {"gen_ai.evaluation.name": "way-otel", "gen_ai.evaluation.score.value": 0.25}
    vote = json.dumps({"request_id": request, "name": "way-page", "value": True, "voter": "ann"})

    assert shop.logs(event_of(judged, now_ns=at)).status == 200
    assert shop.logs(LogEvent(EVENT_EVALUATION, at, "", evaluated, trace)).status == 200
    assert shop.ask("/api/v1/scores", vote.encode()).status == 202
    assert shop.run("scores", "import", str(file)).output == "1 score sent.\n"

    found = until(
        lambda: len(ways := listed(shop, "--request", request, "--since", "9999d")) >= 4 and ways
    )
    told = {one["name"]: one for one in found if one["name"].startswith("way-")}
    assert {name: (one["source"], one["scorer"]) for name, one in told.items()} == {
        "way-event": ("judge", JUDGE),
        "way-otel": ("evaluation", "undeclared:evaluation/way-otel"),
        "way-page": ("user", "undeclared:user/way-page"),
        "way-file": ("user", "undeclared:user/way-file"),
    }
    assert [told[name]["delay_ms"] for name in ("way-event", "way-otel", "way-file")] == [
        90_000
    ] * 3
    assert {one["composite_version"] for one in told.values()} == {SYSTEM.version}
    assert not any(one["is_pending"] for one in told.values())


def test_a_score_waits_for_its_request_and_counts_once_that_is_stored(shop: Shop) -> None:
    """
    Scores before their request are pending, by number and name; once an application has sent the
    request they are its version's and arm's, and only the request that never came still waits.
    """
    never = new_request_id()
    lost = Score(request_id=never, name="lost", value=1.0)
    assert shop.logs(event_of(lost, now_ns=time.time_ns())).status == 200
    waiting = until(
        lambda: shop.json("scores", "pending")["scores"] and shop.json("scores", "pending")
    )
    assert (waiting["scores"], waiting["requests"]) == (1, 1)
    assert [(one["request_id"], one["is_pending"]) for one in waiting["listed"]] == [(never, True)]
    text = shop.run("scores", "pending").output
    assert text.startswith("1 score waits for 1 request; the first came ")
    assert f"{never} " in text
    assert "pending" in shop.run("scores", "list", "--name", "lost").output

    asked = {**os.environ, "MVTRACE_URL": shop.url, "MVTRACE_SPOOL_DIR": str(shop.folder / "spool")}
    done = subprocess.run(
        [sys.executable, "-c", APPLICATION],
        capture_output=True, text=True, check=True, env=asked, timeout=60,
    )  # fmt: skip
    early = done.stdout.strip()
    (found,) = until(
        lambda: [one for one in listed(shop, "--request", early) if not one["is_pending"]]
    )
    assert (found["name"], found["value"], found["scorer"]) == ("faithful", 0.75, JUDGE)
    assert (found["arm"], found["service"]) == ("canary", "shop")
    assert len(found["composite_version"]) == 64
    assert shop.json("scores", "pending")["requests"] == 1


def test_an_evaluation_of_a_trace_waits_for_the_traces_request(shop: Shop) -> None:
    """
    Sent while the request still runs it names a trace that nobody knows; once the record is stored
    it is the request's, its pending twin is gone, and the explanation shows it once.
    """
    fresh = replace(
        record(5), request_id=new_request_id(), trace_id="ef" * 16, parent_request_id=None
    )
    judged = {"gen_ai.evaluation.name": "early-otel", "gen_ai.evaluation.score.value": 0.5}
    trace = bytes.fromhex("ef" * 16)
    assert shop.logs(LogEvent(EVENT_EVALUATION, time.time_ns(), "", judged, trace)).status == 200
    (waiting,) = until(lambda: listed(shop, "--name", "early-otel"))
    assert (waiting["is_pending"], waiting["request_id"] == fresh.request_id) == (True, False)

    assert shop.logs(request_event(fresh)).status == 200
    (found,) = until(
        lambda: [one for one in listed(shop, "--name", "early-otel") if not one["is_pending"]]
    )
    assert (found["request_id"], found["value"]) == (fresh.request_id, 0.5)
    assert found["composite_version"] == fresh.composite_version
    assert until(lambda: shop.json("scores", "pending", "--name", "early-otel")["scores"] == 0)
    told = shop.ask(f"/api/v1/explanation?id={fresh.request_id}").json["scores"]
    assert [(one["name"], one["revisions"]) for one in told] == [("early-otel", 1)]


def test_requests_are_measured_without_anybodys_doing(shop: Shop) -> None:
    """
    Latency, time to the first token, errors, refusals, tokens, failed tools and cost of the request
    that the application sent are in the roll-up, the cost by the digest of its price list.
    """
    metrics = until(lambda: measured(shop, {"cost_usd", "faithful"}))
    values = {name: row["total"] for name, row in metrics.items()}
    assert (values["error"], values["refusal"], values["tool_failure"]) == (0, 1, 1)
    assert (values["input_tokens"], values["output_tokens"]) == (1000, 200)
    assert values["cost_usd"] == 0.0045
    assert 0 < values["time_to_first_token_ms"] <= values["latency_ms"]
    assert (values["faithful"], metrics["faithful"]["scorer"]) == (0.75, JUDGE)
    assert values["faithful:given"] == 1
    digest = metrics["cost_usd"]["scorer"]
    (component,) = shop.sql(f"SELECT DISTINCT body FROM components WHERE digest = '{digest}'")
    assert json.loads(component["body"])["facts"]["settings"]["library"] == "genai-prices"
    (price,) = shop.sql(
        f"SELECT usd, per FROM model_prices WHERE list = '{digest}' AND unit = 'input' "
        "AND model = 'gpt-4o-2024-08-06'"
    )
    assert float(price["usd"]) * 1000 / price["per"] == 0.0025


def test_a_late_score_counts_for_the_hour_of_its_request(shop: Shop) -> None:
    """
    Given after its request was rolled up, it is in that hour, and so is its correction.
    """
    (one,) = shop.sql("SELECT request_id_text AS id FROM requests WHERE service = 'shop'")
    for value, at in ((0.0, 1), (1.0, 2)):
        late = Score(request_id=one["id"], name="late", value=value, at=time.time_ns() + at)
        assert shop.logs(event_of(late, now_ns=0)).status == 200
        found = until(
            lambda value=value: (
                (told := measured(shop, {"late"})) and told["late"]["total"] == value and told
            )
        )
        assert (found["late"]["requests"], found["late"]["total"]) == (1, value)


def test_an_explanation_shows_what_an_eval_gave_the_answer(shop: Shop) -> None:
    """
    A result of an eval that names the request is among its scores, with suite, example and run.
    """
    found = shop.ask(f"/api/v1/explanation?id={request_id(0)}").json["scores"]
    (result,) = [one for one in found if one["source"] == "eval"]
    assert (result["suite"], result["example"], result["run"]) == (SUITE, "capital-7", RUN)
    assert (result["name"], result["scorer"]) == (SCORER[:12], f"sha256:{SCORER}")
    assert (result["value"], result["label"], result["is_declared"]) == (1.0, "C", True)
    text = shop.run("explain", request_id(0)).output
    assert f"suite {SUITE[:12]} example capital-7" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("list", "--request", "42"),
            (
                "error: usage\n\n'42' is no request id.\n\nhint: 'mvtrace find' lists ids of requests; "
                "'mvtrace explain' takes any id of one.\n"
            ),
        ),
        (
            ("pending", "--since", "soon"),
            (
                "error: filter\n\nthe time is 'soon'; it is 2026-08-01, 2026-08-01T10:00 (UTC), "
                "now, or 6h, 7d back.\n"
            ),
        ),
    ],
    ids=["id", "time"],
)
def test_what_is_no_question_says_why(shop: Shop, arguments: tuple[str, ...], said: str) -> None:
    """
    A wrong id or time is refused whole, as wrong use.
    """
    done = shop.run("scores", *arguments)

    assert (done.code, done.output) == (2, "")
    assert done.errors == said


def test_lists_of_nothing_say_so(shop: Shop) -> None:
    """
    Without a match there is a sentence, and exit code 0.
    """
    assert shop.run("scores", "list", "--name", "nobody's").output == "No score matches.\n"
    assert shop.run("scores", "pending", "--name", "'; --").output == "No score is pending.\n"
