"""``mvtrace lineage`` and ``mvtrace experiment`` over a real collector: one story, told in order."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from processes import collector

from mvtrace.cli.main import run

APPLICATION = """
import sys, mvtrace
mvtrace.configure(service="bot", environment="prod", url=sys.argv[1], spool_dir="spool")
for weights in ("tuned.bin", "merged.bin"):
    model = mvtrace.model("writer", path=weights)
    system = mvtrace.composite("shop", model, mvtrace.prompt("answer", "Say {x}"))
    for _ in range(2):
        with mvtrace.request(route="/ask", composite=system) as request:
            pass
    print(system.version, request.request_id)
mvtrace.derived(model, [(mvtrace.prompt("answer", "Say {x}"), "prompt")], reason="by hand")
assert mvtrace.flush(30)
"""
FILES = {
    "raw.jsonl": '{"q": "a"}\n{"q": "b"}\n',
    "train.jsonl": '{"q": "a"}\n',
    "base.bin": "base",
    "tuned.bin": "tuned",
    "other.bin": "other",
    "merged.bin": "merged",
}


@dataclass
class World:
    """A collector, a folder with files, and two versions with a request each."""

    url: str
    folder: Path
    tuned: str
    merged: str
    request: str

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Run the command in this process, in the folder of the files."""
        output, errors = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
        with (
            contextlib.chdir(self.folder),
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(errors),
        ):
            code = run([*arguments, "--url", self.url])
        texts = []
        for written in (output, errors):
            written.flush()
            texts.append(written.buffer.getvalue().decode())  # type: ignore[attr-defined]
        return code, texts[0], texts[1]

    def told(self, *arguments: str) -> str:
        code, output, errors = self.run(*arguments)
        assert code == 0, errors
        return output


def environment() -> dict[str, str]:
    return {key: text for key, text in os.environ.items() if not key.startswith("MVTRACE_")}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("lineage")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    with collector(folder) as running:
        told = subprocess.run(
            [sys.executable, "-c", APPLICATION, running.url],
            cwd=folder, env=environment(), capture_output=True, text=True, check=True,
        ).stdout.split()  # fmt: skip
        one = World(running.url, folder, told[0], told[2], told[3])
        one.told("lineage", "record", "./train.jsonl", "--from", "./raw.jsonl:dataset")
        one.told(
            *("lineage", "record", "./tuned.bin", "--from", "./base.bin"),
            *("--from", "dataset:./train.jsonl", "--reason", "tone"),
        )
        one.told(
            *("lineage", "record", "./merged.bin"),
            *("--from", "./tuned.bin:merge", "--from", "./other.bin:merge"),
        )
        yield one


def test_from_a_request_up_to_the_raw_data(world: World) -> None:
    """
    One command leads from an answer to its version, its model, what that was merged from, the data
    it was trained on and what that was made from; and warns of the merge.
    """
    text = world.told("lineage", world.request, "--up")

    head, title, *lines = [line for line in text.splitlines() if line]
    assert (head, title) == (f"request:{world.request}", "made from")
    shape = [line[: line.index(":")].rstrip() for line in lines[:8]]
    assert shape == [
        "  └─ answered by  composite",
        "     ├─ model/writer  component",
        "     │  ├─ artifact  artifact",
        "     │  │  ├─ merge  artifact",
        "     │  │  │  ├─ base  artifact",
        "     │  │  │  └─ dataset  dataset",
        "     │  │  │     └─ dataset  dataset",
        "     │  │  └─ merge  artifact",
    ]
    assert "is a merge of 2 models" in lines[-1]
    assert world.merged[:12] in lines[0]


def test_which_requests_anything_made_from_it_answered(world: World) -> None:
    """
    From the raw data down: how many requests, which, and a statement that lists them all.
    """
    found = json.loads(world.told("lineage", "./raw.jsonl", "--down", "--requests", "--json"))

    answered = found["answered"]
    assert answered["requests"] == 4
    assert set(answered["versions"]) == {world.tuned, world.merged}
    assert answered["newest"][0]["request_id"] == answered["last_request"] == world.request
    (statement,) = answered["sql"]
    assert len(world.told("sql", statement, "--format", "csv").splitlines()) == 4
    assert {edge["role"] for edge in found["down"]["edges"]} >= {"dataset", "merge", "artifact"}
    assert "up" not in found


def test_requests_of_a_walk_that_was_cut(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where the walk to the versions ends at its bound, text says so, and never that these are all.
    """
    monkeypatch.setattr("mvtrace.cli.lineage.MOST_NODES", 4)
    none = world.told("lineage", "./raw.jsonl", "--down", "--requests")
    monkeypatch.setattr("mvtrace.cli.lineage.MOST_NODES", 7)
    some = world.told("lineage", "./raw.jsonl", "--down", "--requests")

    more = "There may be more: the walk to the versions ended at its bound on nodes.\n"
    assert none.endswith(f"answered\n  no request of what was reached\n{more}")
    assert "\n  at least 2 requests, the newest:\n" in some
    assert "\nthose that were counted:\n" in some
    assert some.endswith(f"\n{more}")


@pytest.mark.parametrize("how", ["version", "slot", "component", "path", "ref", "name"])
def test_anything_names_it(world: World, how: str) -> None:
    """
    A version's first digits, a slot, a digest, a file, a ref and a name all lead into the graph.
    """
    up = json.loads(world.told("lineage", world.tuned[:10], "--up", "--json"))["up"]
    component = next(node["ref"] for node in up["nodes"] if node["name"] == "model")
    text = {
        "version": world.tuned[:10],
        "slot": f"model/writer@{component.partition(':')[2][:12]}",
        "component": component.partition(":")[2][:16],
        "path": "./tuned.bin",
        "ref": f"composite:{world.tuned}",
        "name": "shop",
    }[how]

    found = json.loads(world.told("lineage", text, "--json"))

    kind = {"slot": "component", "component": "component", "path": "artifact"}.get(how, "composite")
    assert found["ref"].startswith(f"{kind}:")
    assert found["note"] == ("the newest of 2 of this name" if how == "name" else "")


def test_a_deployment_names_its_version(world: World) -> None:
    """
    The id of a decision leads to the version it is about.
    """
    decided = json.loads(
        world.told(
            *("deploy", world.tuned[:12], "--service", "lineage", "--environment", "test"),
            "--json",
        )
    )

    found = json.loads(world.told("lineage", decided["event_id"], "--json"))

    assert found["ref"] == f"composite:{world.tuned}"
    assert found["note"] == f"deploy {decided['event_id']} for lineage in test"


def test_an_experiment_and_its_winner(world: World) -> None:
    """
    A branch starts from a version, versions belong to it, and the promoted one is its winner.
    """
    world.told("experiment", "start", "tone", "--branch", "warm", "--base", world.tuned[:12])
    world.told("experiment", "add", "tone", world.merged[:12])
    (before,) = json.loads(world.told("experiment", "list", "tone", "--json"))["experiments"]
    assert before["winner"] is None
    place = ("--service", "tone", "--environment", "prod")
    world.told("deploy", world.merged[:12], "--share", "0.1", *place)

    world.told("promote", *place)

    (after,) = json.loads(world.told("experiment", "list", "tone", "--json"))["experiments"]
    assert (after["name"], after["branch"], after["base"]) == (
        "tone",
        "warm",
        f"composite:{world.tuned}",
    )
    assert [one["version"] for one in after["versions"]] == [world.merged]
    assert after["winner"]["version"] == world.merged
    assert after["winner"]["action"] == "promote"
    assert f"tone / warm: {world.merged[:12]} won: promote on " in world.told(
        "lineage", world.merged[:12]
    )
    assert world.merged[:12] in world.told("experiment", "list")


def test_what_would_close_a_cycle_is_told(world: World) -> None:
    """
    Who says that raw data came from a model trained on it reads the way that leads back.
    """
    asked = ("lineage", "record", "./raw.jsonl", "--from", "./tuned.bin:data", "--json")
    refs = {
        name: json.loads(world.told("lineage", f"./{name}", "--json"))["ref"]
        for name in ("raw.jsonl", "train.jsonl", "tuned.bin")
    }
    raw, train, tuned = ("{}:{:.12}".format(*ref.split(":")) for ref in refs.values())

    code, output, errors = world.run(*asked)

    assert (code, output) == (2, "")
    assert errors == (
        "error: registry\n\n"
        f"A derivation cannot be registered: {raw} cannot be made from {tuned}, "
        f"which was made from {train}, which was made from {raw}.\n\n"
        "hint: What was made earlier does not come from what was made later: "
        "check which is the child.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            ("lineage", "nonsense"),
            1,
            ("error: entry-not-found\n\nNo thing 'nonsense' is registered.\n\n"
            "hint: Things are named by kind:digest, the first 8 digits, kind/name of a component, "
            "a name, a request's id, a deployment's id, or a path.\n"),
        ),
        (
            ("lineage", "dataset:" + "0" * 64),
            1,
            (f"error: entry-not-found\n\nNo dataset '{'0' * 64}' is registered.\n\n"
            "hint: Nothing of this digest is registered, and no derivation names it.\n"),
        ),
        (
            ("lineage", "./nowhere.bin"),
            2,
            ("error: usage\n\n'nowhere.bin' cannot be read: [Errno 2] No such file or directory: "
            "'nowhere.bin'\n"),
        ),
        (
            ("lineage", "n" * 300),
            1,
            (f"error: entry-not-found\n\nNo thing '{'n' * 77}...' is registered.\n\n"
            "hint: Things are named by kind:digest, the first 8 digits, kind/name of a component, "
            "a name, a request's id, a deployment's id, or a path.\n"),
        ),
        (
            ("experiment", "add", "nobody", "shop"),
            1,
            "error: entry-not-found\n\nNo experiment 'nobody' is registered.\n",
        ),
        (
            ("experiment", "start", "x", "--base", "nobody"),
            1,
            ("error: entry-not-found\n\nNo thing 'nobody' is registered.\n\n"
            "hint: Things are named by kind:digest, the first 8 digits, kind/name of a component, "
            "a name, a request's id, a deployment's id, or a path.\n"),
        ),
    ],
)  # fmt: skip
def test_refusals(world: World, arguments: tuple[str, ...], code: int, message: str) -> None:
    """
    What names nothing is told with its value and how things are named.
    """
    assert world.run(*arguments) == (code, "", message)


def test_only_versions_belong_to_experiments(world: World) -> None:
    """
    A file is no version: what it was tried in belongs to the experiment.
    """
    world.told("experiment", "start", "parts")
    code, _, errors = world.run("experiment", "add", "parts", "./base.bin")

    assert code == 2
    assert "is of kind artifact; composite versions belong to experiments." in errors


def test_json_says_why(world: World) -> None:
    """
    Each edge that somebody recorded names the derivation, with its reason and who said it.
    """
    found = json.loads(world.told("lineage", "./tuned.bin", "--up", "--json"))

    said = [edge for edge in found["up"]["edges"] if edge["source"]]
    tuned = found["derivations"][said[0]["source"]]
    assert tuned == {"reason": "tone", "by": "open"}
    assert {edge["source"] for edge in said} == found["derivations"].keys()


def test_dot(world: World) -> None:
    """
    The graph is drawn by Graphviz: each node once, each edge from the parent.
    """
    text = world.told("lineage", world.merged[:12], "--up", "--format", "dot")

    assert text.startswith("digraph lineage {\n")
    assert text.endswith("}\n")
    merged = f'"composite:{world.merged}"'
    assert sum(line.startswith(f"  {merged} [") for line in text.splitlines()) == 1
    assert f'-> {merged} [label="model/writer"];' in text


def test_how_far_is_said(world: World) -> None:
    """
    A walk that was ended by a bound says by which, and how to go on.
    """
    shallow = world.told("lineage", world.merged[:12], "--up", "--depth", "1")
    narrow = world.told("lineage", world.merged[:12], "--up", "--nodes", "2")

    assert "\nThere is more beyond this depth: --depth goes further.\n" in shallow
    assert "\nThere is more: the walk ended after 2 nodes; --nodes goes further.\n" in narrow


def test_an_explanation_warns(world: World) -> None:
    """
    The explanation of an answer says that its model is a merge, and that no eval was compared with
    the data it was trained on.
    """
    found = json.loads(world.told("explain", world.request, "--json"))["findings"]

    codes = {one["code"]: one for one in found}
    assert len(codes["model_merged"]["evidence"]["parents"]) == 2
    assert codes["leakage_unchecked"]["text"].startswith("model writer was made from 2 datasets (")
