"""Retention against a real collector: what goes, what stays, and what is told of it for ever."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from keyed import ask
from private_app import until
from processes import collector
from retained import Made, Shelf

from mvtrace.cli.registering import asker
from mvtrace.registry.deployments import Decision, event_of
from mvtrace.registry.entries import entry_of
from mvtrace.registry.retention import inputs
from mvtrace.registry.retention.places import Storage
from mvtrace.registry.retention.uris import Where
from mvtrace.registry.retention.values import Known, Policy
from mvtrace.scores import export_of

NUMBER = 6
TABLES = (
    *("components", "composites", "contents", "registry_entries", "lineage_edges"),
    *("deployments", "governance_events", "requests", "scores"),
)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("retaining")
    with collector(folder) as running:
        yield running.url


@pytest.fixture
def shelf(url: str, tmp_path: Path) -> Shelf:
    root = tmp_path / "models"
    root.mkdir()
    return Shelf(url, root, tmp_path.name)


def test_only_what_nothing_needs_goes(shelf: Shelf) -> None:
    """
    What serves, what ever served production and what that was made from stay; experiments go, and
    no row of any table does.
    """
    first, second, base, tried, staged = shelf.models("first", "second", "base", "tried", "staged")
    shelf.derive(second, base)
    shelf.serve(first)
    shelf.serve(second)
    shelf.serve(staged, "staging")
    counts = [f"(SELECT count() FROM {table})" for table in TABLES]
    before = shelf.sql(f"SELECT {', '.join(counts)}")

    plan, told = shelf.plan("--cost", "file=40000000")
    assert shelf.rules(plan) == {
        "first": "production",
        "second": "running",
        "base": "parent",
        "tried": "expired",
        "staged": "running",
    }
    (freed,) = told["freed"]
    assert (freed["rule"], freed["bytes"]) == ("expired", tried.bytes)
    assert freed["cost"] == pytest.approx(tried.bytes / 10**9 * 40_000_000)
    assert all(one.is_there for one in shelf.made.values())

    done = shelf.apply(plan)
    assert [one["outcome"] for one in done["places"]] == ["collected"]
    assert [(one["rule"], one["bytes"]) for one in done["freed"]] == [("expired", tried.bytes)]
    assert [name for name, one in shelf.made.items() if not one.is_there] == ["tried"]
    assert [one["outcome"] for one in shelf.apply(plan)["places"]] == ["already"]
    after = shelf.sql(f"SELECT {', '.join(counts)}")
    more = [new - old for new, old in zip(after[0].values(), before[0].values(), strict=True)]
    assert [number >= 0 for number in more] == [True] * len(TABLES)
    (stone,) = [
        json.loads(one["body"])
        for one in shelf.sql("SELECT body FROM governance_events WHERE name = 'mvtrace.retention'")
        if json.loads(one["body"])["action"] == "collected"
        and json.loads(one["body"])["artifact"] == tried.artifact
    ]
    assert (stone["uri"], stone["bytes"], stone["rule"]) == (tried.uri, tried.bytes, "expired")
    assert stone["plan"] == told["plan"]
    assert stone["reason"].startswith("last used 20")


def test_a_partly_collected_version_is_not_deployed(shelf: Shelf) -> None:
    """
    The refusal names what no longer exists; said knowingly it is decided all the same, and a
    rollback restores the state and says what of it is gone.
    """
    gone, whole = shelf.models("gone", "whole")
    shelf.serve(gone, "dev")
    shelf.serve(whole, "dev")
    shelf.serve(whole)
    plan, _ = shelf.plan()
    shelf.apply(plan)
    day = time.strftime("%Y-%m-%d", time.gmtime())

    refused = shelf.deploy(gone, code=1)
    assert refused == (
        "error: partly-collected\n\n"
        f"Version {gone.version[:12]} is not whole, so it is not deployed: 1 of its 1 artifacts "
        "no longer exist:\n"
        f"  artifact {gone.artifact[:12]} from {gone.uri} ({gone.bytes} bytes), collected {day}: "
        f"last used {day}\n\n"
        "hint: Put the bytes back and say 'mvtrace retention restore ARTIFACT', or say "
        "--without-artifacts if it runs without them.\n"
    )
    told = shelf.decide("rollback", environment="dev")
    assert f"rollback of {gone.version[:12]} for " in told
    lost = f"no longer exists: artifact {gone.artifact[:12]} from {gone.uri} ({gone.bytes} bytes)"
    assert lost in told
    assert lost in shelf.deploy(gone, "--without-artifacts")
    (row,) = shelf.sql(
        f"SELECT body FROM deployments WHERE composite = '{gone.version}' AND environment = 'prod'"
        f" AND service = '{shelf.service}'"
    )
    assert json.loads(row["body"])["without_artifacts"] is True

    prefix = gone.artifact[:10]
    nothing = shelf.run("retention", "restore", prefix, code=1)
    assert "not restored: nothing is there, as seen from here" in nothing
    gone.path.write_text("weights of gone")
    assert f"{gone.uri}  restored" in shelf.run("retention", "restore", prefix)
    assert "1 artifact of it found where registered." in shelf.deploy(gone)
    whole.path.unlink()
    assert f"not found from here: artifact {whole.artifact[:12]} at {whole.uri}" in shelf.deploy(
        whole
    )


def test_an_unknown_version_is_not_deployed(shelf: Shelf) -> None:
    """
    What nobody registered is refused, in whole text.
    """
    assert shelf.decide("deploy", "0" * 64, code=1) == (
        "error: version-not-registered\n\n"
        f"No composite version registered in project 'default' starts with '{'0' * 64}': what it "
        "is made of is not known, so it is not deployed.\n\n"
        "hint: A version is registered by the first process that runs it; "
        "'mvtrace sql \"SELECT version, name FROM composites\"' lists those there are.\n"
    )


def test_what_is_deployed_after_the_plan_stays(shelf: Shelf) -> None:
    """
    Deployed between the plan and its application, an artifact is kept, also one that only another
    version of later shares.
    """
    late, shared, free = shelf.models("late", "shared", "free")
    plan, _ = shelf.plan()
    shelf.serve(late)
    heir = shelf.heir("heir", shared)
    shelf.decide("deploy", heir.version)

    places = shelf.apply(plan)["places"]

    assert {one["artifact"]: one["outcome"] for one in places} == {
        late.artifact: "kept",
        shared.artifact: "kept",
        free.artifact: "collected",
    }
    why = next(one["why"] for one in places if one["artifact"] == shared.artifact)
    assert why == (
        f"The artifact {shared.artifact[:12]} is kept (running): {heir.version[:12]} serves "
        f"{shelf.service} in prod."
    )
    assert (late.is_there, shared.is_there, free.is_there) == (True, True, False)


def test_deployments_and_an_applied_plan_at_once(shelf: Shelf) -> None:
    """
    While a plan is applied, every version is deployed: whichever was, has its bytes.
    """
    names = [f"m{number}" for number in range(NUMBER)]
    made = shelf.models(*names, files={"a": "1", "b/c": "2"})
    plan, _ = shelf.plan()

    def deploy(number: int) -> int:
        said = {"action": "deploy", "service": f"{shelf.service}-{number}", "environment": "dev"}
        version = made[-1 - number].version
        return shelf.post("/api/v1/deploy", {**said, "version": version}).status

    with ThreadPoolExecutor(3) as pool:
        applied = pool.submit(shelf.apply, plan)
        statuses = list(pool.map(deploy, range(NUMBER)))
        outcomes = {one["artifact"]: one["outcome"] for one in applied.result()["places"]}

    for number, status in enumerate(statuses):
        one = made[-1 - number]
        assert status in (201, 409)
        expected = ("kept", True) if status == 201 else ("collected", False)
        files = (one.path / "a").exists() and (one.path / "b/c").exists()
        assert (outcomes[one.artifact], files) == expected


@pytest.mark.failure
def test_killed_and_run_again(shelf: Shelf) -> None:
    """
    The process that applies a plan is killed again and again; run to its end, everything of the
    plan has gone, and each place has one tombstone.
    """
    made = shelf.models(*(f"k{number}" for number in range(8)), files={"a": "1", "b": "2"})
    plan, _ = shelf.plan()
    command = [sys.executable, "-m", "mvtrace", "retention", "apply", str(plan), "--url", shelf.url]
    for _ in range(4):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            process.send_signal(signal.SIGKILL)

    outcomes = [one["outcome"] for one in shelf.apply(plan)["places"]]

    assert set(outcomes) <= {"collected", "already"}
    assert not any(one.is_there for one in made)
    said = shelf.sql(
        "SELECT JSONExtractString(body, 'uri') AS uri, countIf(body LIKE '%\"collected\"%') AS ends"
        f" FROM governance_events WHERE body LIKE '%{shelf.root.as_uri()}/%' GROUP BY uri"
    )
    assert sorted(one["ends"] for one in said) == [1] * 8


def test_the_words_of_both_commands(shelf: Shelf) -> None:
    """
    A plan without a root frees nothing and says why; an applied one tells each place and the sums.
    """
    one, two = shelf.models("one", "two")
    shelf.serve(one)
    out = shelf.root.parent / "words.json"
    without = shelf.run("retention", "plan", "--window", "0h", "--out", str(out))
    assert "would be collected: nothing" in without
    assert "No root is named, so nothing is ever collected: --root URI names one." in without

    said = ("--window", "0h", "--root", str(shelf.root), "--out", str(out))
    told = shelf.run("retention", "plan", *said)
    assert f"would be collected: {two.bytes} bytes" in told
    assert f"is in {out}" in told
    applied = shelf.run("retention", "apply", str(out))
    assert f"{two.artifact[:12]}  {two.uri}  collected" in applied
    assert "1 place: 1 collected" in applied
    assert f"freed: {two.bytes} bytes" in applied


def test_what_is_read_in_parts_is_the_same(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A large registry is asked digit by digit: together that is what one question gives.
    """
    shelf.models("p", "q")
    ask = asker(shelf.url, None)

    def read() -> Known:
        found = inputs.read_all(ask)
        steps = sorted(found.tombstones, key=lambda one: one.came)
        return replace(found, tombstones=tuple(steps))

    whole = read()

    monkeypatch.setattr(inputs, "_AT_ONCE", 0)

    assert read() == whole
    assert len(whole.versions) >= 2


def test_a_version_registered_since_is_not_deployed_by_an_event(shelf: Shelf) -> None:
    """
    While an artifact is being collected, another version that needs it is registered, and deployed
    by an event: the event is in quarantine, and says why.
    """
    model = shelf.model("going")
    begin(shelf, model)
    heir = shelf.heir("heir of going", model)
    decision = Decision(
        action="deploy", service=shelf.service, environment="dev", composite=heir.version
    )
    event = event_of(decision, now_ns=time.time_ns())
    headers = {"content-type": "application/x-protobuf"}
    assert ask(f"{shelf.url}/v1/logs", None, export_of([event]), headers=headers).status == 200
    where = f"FROM quarantine WHERE body LIKE '%{heir.version}%'"

    assert until(lambda: bool(shelf.sql(f"SELECT 1 AS one {where}")))
    assert shelf.sql(f"SELECT reason, detail {where}") == [
        {
            "reason": "being-collected",
            "detail": f"{heir.version[:12]} needs the artifact {model.artifact[:12]}, whose "
            f"collection from {model.uri} has begun",
        }
    ]
    assert shelf.sql(f"SELECT 1 AS one FROM deployments WHERE composite = '{heir.version}'") == []
    assert shelf.decide("deploy", heir.version, environment="dev", code=1) == (
        "error: being-collected\n\n"
        f"The decision was not taken: {heir.version[:12]} needs the artifact "
        f"{model.artifact[:12]}, whose collection from {model.uri} has begun.\n\n"
        "hint: Let 'mvtrace retention apply' end what it began (run it again if it was "
        "interrupted); then deploying tells what no longer exists.\n"
    )
    assert [one["outcome"] for one in shelf.apply(shelf.plan()[0])["places"]] == ["collected"]


def begin(shelf: Shelf, model: Made) -> None:
    """Begin to collect a model as ``apply`` does."""
    found = Storage((Where.parse(str(shelf.root)),)).find(Where.parse(model.uri))
    assert found is not None
    policy = Policy(roots=(str(shelf.root),), window_ns=0).to_dict()
    said: dict[str, Any] = {
        "action": "collect",
        "artifact": model.artifact,
        "uri": model.uri,
        "policy": policy,
    }
    said |= {"listing": found.listing.decode(), "host": socket.gethostname()}
    answer = shelf.post("/api/v1/retention", said)
    assert answer.status == 201, answer.text


def test_what_another_project_registered_stays(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Another project has an artifact around, within or at the place: it is kept, and nobody named.
    """
    model = shelf.model("both sides")
    monkeypatch.setenv("MVTRACE_PROJECT", "neighbours")
    shelf.register(model.entry(f"file://localhost{model.path.as_posix()}"))
    monkeypatch.delenv("MVTRACE_PROJECT")
    plan, _ = shelf.plan()

    (outcome,) = shelf.apply(plan)["places"]

    assert outcome["outcome"] == "kept"
    assert outcome["why"] == (
        f"The artifact {model.artifact[:12]} is kept (overlap): another project registered what "
        "lies within, around or where it lies."
    )
    assert model.is_there


def test_what_overlaps_is_read_however_it_is_spelled(shelf: Shelf) -> None:
    """
    Signs that only a file's URI decodes, accounts and other names of a scheme hide nothing.
    """
    model = shelf.model("spelled")
    named = {
        "s3://bucket/m%20x": "s3a://bucket/m%20x/part",
        "abfs://box/m": "wasbs://box@account.blob.core.windows.net/m/part",
        "/models/m x/part": "file:///models/m%20x",
    }
    shelf.register(*(model.entry(uri) for uri in named.values()))

    for uri, expected in named.items():
        near = inputs.read_near(asker(shelf.url, None), "0" * 64, Where.parse(uri))

        assert expected in {one.uri for one in near.places}
        assert model.version in near.versions


def test_the_size_of_a_tombstone_is_what_its_files_have(shelf: Shelf) -> None:
    """
    Who registers a place may claim any size; the tombstone and the sums are of what went.
    """
    model = shelf.model("claimed", uris=[])
    claimed = {"artifact": model.artifact, "uri": model.uri, "bytes": 10**15}
    shelf.register(entry_of("artifact", claimed))

    told = shelf.apply(shelf.plan()[0])

    assert [one["bytes"] for one in told["freed"]] == [model.bytes]
    (stone,) = [
        one
        for one in inputs.steps_of(asker(shelf.url, None), [model.artifact])
        if one.action == "collected"
    ]
    assert stone.size == model.bytes


def test_an_environment_spelled_wrong_makes_no_plan(shelf: Shelf) -> None:
    """
    What nothing ever served is refused, in whole text.
    """
    told = shelf.run("retention", "plan", "--environment", "prdo", code=2)

    assert told == (
        "error: usage\n\nNothing ever served 'prdo', so as an environment it keeps nothing.\n\n"
        "hint: 'mvtrace deployments' lists environments; what is spelled wrong is not kept.\n"
    )
