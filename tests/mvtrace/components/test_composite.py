"""Composite versions: the same system has the same version, everywhere."""

from __future__ import annotations

import itertools
import os
import platform
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

import mvtrace
from mvtrace import semconv
from mvtrace.components import Component, CompositeVersion, Edge, postprocess
from mvtrace.digest import COMPONENT_DOMAIN, COMPOSITE_DOMAIN, CONTENT_DOMAIN, digest_of
from mvtrace.errors import CompositeError
from mvtrace.otlp import LogEvent

WORKER = Path(__file__).parent / "composite_worker.py"
ROOT = Path(__file__).parents[3]


def tidy(text: str) -> str:
    return text.strip()


def tidier(text: str) -> str:
    return text.strip() + "."


class Parts:
    """The parts of one system, each of which a test may change."""

    def __init__(self, folder: Path) -> None:
        self.weights = folder / "weights.bin"
        self.weights.write_bytes(b"\x00" * 1000)
        self.package = folder / "probe_of_composite-1.0.dist-info" / "METADATA"
        self.package.parent.mkdir()
        self.set_package("1.0")
        self.policy = {"feature": "score", "threshold": 0.5}
        self.template = "Answer: {question}"
        self.tool = {"name": "search", "parameters": {"limit": 3}}
        self.documents = {"a": [1.0, 2.0], "b": [3.0, 4.0]}
        self.sampling = {"temperature": 0.8}
        self.tidy: Callable[[str], str] = tidy
        self.labels: dict[str, str] = {}
        self.name = "system"
        self.edges: list[Any] = []

    def set_package(self, version: str) -> None:
        self.package.write_text(
            f"Metadata-Version: 2.1\nName: probe-of-composite\nVersion: {version}\n"
        )

    def components(self) -> list[Component]:
        label = self.labels.get
        embedder = mvtrace.embedding_model("e5", path=self.weights, label=label("e5"))
        large = mvtrace.model("large", model_id="l-1", label=label("large"))
        return [
            embedder,
            large,
            mvtrace.index("topics", self.documents, embedding_model=embedder),
            mvtrace.prompt("answer", self.template, label=label("answer")),
            mvtrace.tools("all", [self.tool]),
            mvtrace.router(
                "route", policy=self.policy, candidates=["small", large], label=label("route")
            ),
            postprocess("tidy", self.tidy),
            mvtrace.sampling("default", **self.sampling),
            mvtrace.stack(packages=["probe-of-composite"]),
        ]

    def build(self) -> CompositeVersion:
        return mvtrace.composite(self.name, *self.components(), edges=self.edges)


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Parts:
    monkeypatch.syspath_prepend(str(tmp_path))
    return Parts(tmp_path)


def test_two_processes_give_one_version(tmp_path: Path) -> None:
    """
    The same system, built in two processes with everything in another order: one version.
    """
    weights = tmp_path / "weights.bin"
    weights.write_bytes(b"weights" * 1000)
    versions = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-W", "error", str(WORKER), str(weights), seed]
        run = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert (run.returncode, run.stderr) == (0, "")
        versions.add(run.stdout.strip())

    assert len(versions) == 1
    assert len(versions.pop()) == 64


CHANGES: dict[str, Callable[[Parts], Any]] = {
    "a threshold": lambda parts: parts.policy.update(threshold=0.51),
    "one character of a prompt": lambda parts: setattr(parts, "template", "Answer: {question}."),
    "one tool field": lambda parts: parts.tool.update(parameters={"limit": 4}),
    "one byte of weights": lambda parts: parts.weights.write_bytes(b"\x00" * 999 + b"\x01"),
    "a package version": lambda parts: parts.set_package("1.0.1"),
    "one vector": lambda parts: parts.documents.update(b=[3.0, 4.5]),
    "a sampling parameter": lambda parts: parts.sampling.update(temperature=0.81),
    "code": lambda parts: setattr(parts, "tidy", tidier),
    "an edge": lambda parts: parts.edges.append(("prompt/answer", "tools/all")),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_each_single_change_is_another_version(
    change: Callable[[Parts], Any], parts: Parts
) -> None:
    """
    One change of one part, whichever, is another version.
    """
    before = parts.build()

    change(parts)

    assert parts.build().version != before.version


def test_labels_and_name_are_no_change(parts: Parts) -> None:
    """
    Labels and the composite's name change nothing but what is shown.
    """
    before = parts.build()
    parts.labels = {"e5": "v1", "large": "v2", "answer": "v3", "route": "v4"}
    parts.name = "renamed"

    after = parts.build()

    assert (after.version, after.manifest) == (before.version, before.manifest)
    assert after.labels == {
        "embedding_model/e5": "v1",
        "model/large": "v2",
        "prompt/answer": "v3",
        "router/route": "v4",
    }
    assert (before.labels, after.name) == ({}, "renamed")


def test_host_is_no_change(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Another host name, kernel or CPU: the same version.
    """
    before = parts.build().version
    other = os.uname_result(("Linux", "elsewhere", "9.9.9", "#99", "aarch64"))
    monkeypatch.setattr(os, "uname", lambda: other)
    monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")
    for fact in ("node", "release", "version", "processor", "machine", "platform"):
        monkeypatch.setattr(platform, fact, lambda *_args: "elsewhere")

    assert parts.build().version == before


def test_version_is_of_the_manifest(parts: Parts) -> None:
    """
    The manifest lists sorted components and edges, and the version is its digest.
    """
    version = parts.build()

    manifest = orjson.loads(version.manifest)
    assert f"sha256:{version.version}" == digest_of(COMPOSITE_DOMAIN, version.manifest)
    assert version.short == version.version[:12]
    slots = [(part["kind"], part["name"]) for part in manifest["components"]]
    assert slots == sorted(slots)
    assert slots == [(part.kind, part.name) for part in version.components]
    assert manifest["edges"] == [
        {"from": "index/topics", "to": "embedding_model/e5", "role": "embedding_model"},
        {"from": "router/route", "to": "model/large", "role": "candidate"},
    ]


def test_parts_of_components_are_added() -> None:
    """
    What a router or an index pins is part of the system, at any depth, with its edge.
    """
    embedder = mvtrace.embedding_model("e5", model_id="e5")
    index = mvtrace.index("topics", {"a": "text"}, embedding_model=embedder)
    inner = mvtrace.router("inner", policy=1, candidates=[index])
    outer = mvtrace.router("outer", policy=2, classifier=tidy, candidates=[inner, index])

    version = mvtrace.composite("system", outer)

    assert [part.slot for part in version.components] == [
        "code/outer.classifier",
        "embedding_model/e5",
        "index/topics",
        "router/inner",
        "router/outer",
    ]
    assert version.edges == (
        Edge("index/topics", "embedding_model/e5", "embedding_model"),
        Edge("router/inner", "index/topics", "candidate"),
        Edge("router/outer", "code/outer.classifier", "classifier"),
        Edge("router/outer", "index/topics", "candidate"),
        Edge("router/outer", "router/inner", "candidate"),
    )
    assert version.version == mvtrace.composite("system", index, inner, outer, embedder).version


def test_component_by_slot(parts: Parts) -> None:
    """
    A component is found by its slot; an empty slot gives None.
    """
    version = parts.build()

    found = version.component("prompt", "answer")

    assert found is not None
    assert found.slot == "prompt/answer"
    assert version.component("prompt", "other") is None


def test_edges_by_component_or_slot() -> None:
    """
    Ends may be components or slots; the role is 'uses' unless given; a repeated edge is one.
    """
    a, b = mvtrace.custom("a", x=1), mvtrace.custom("b", x=2)

    version = mvtrace.composite(
        "s", a, b, edges=[(a, b), ("custom/a", "custom/b"), (a, "custom/b", "feeds")]
    )

    assert version.edges == (
        Edge("custom/a", "custom/b", "feeds"),
        Edge("custom/a", "custom/b", "uses"),
    )


def abc() -> list[Component]:
    return [mvtrace.custom(name, fact=name) for name in "abc"]


def refused(*components: Any, edges: Any = (), name: Any = "system") -> tuple[str, str | None]:
    with pytest.raises(CompositeError) as caught:
        mvtrace.composite(name, *components, edges=edges)
    return str(caught.value), caught.value.hint


@pytest.mark.parametrize(
    ("edges", "cycle"),
    [
        (["ab", "bc", "ca"], "custom/a -> custom/b -> custom/c -> custom/a"),
        (["ab", "bc", "cb"], "custom/b -> custom/c -> custom/b"),
        (["bb"], "custom/b -> custom/b"),
    ],
)
def test_cycle(edges: list[str], cycle: str) -> None:
    """
    Edges that come back to where they start are refused, and the way is named.
    """
    pairs = [(f"custom/{source}", f"custom/{target}") for source, target in edges]

    assert refused(*abc(), edges=pairs) == (
        f"Composite 'system': its edges make a cycle: {cycle}.",
        "An edge leads from what uses to what is used; remove one of these.",
    )


def test_cycle_through_automatic_edges() -> None:
    """
    An edge back from a candidate to its router is a cycle too.
    """
    model = mvtrace.model("m", model_id="m")
    router = mvtrace.router("r", policy=1, candidates=[model])

    message, _ = refused(router, edges=[(model, router)])

    assert message == (
        "Composite 'system': its edges make a cycle: model/m -> router/r -> model/m."
    )


def test_many_paths_are_no_cycle() -> None:
    """
    Several ways to the same component are legal, and looked at once each.
    """
    layers = [[mvtrace.custom(f"{depth}-{side}", d=depth) for side in "ab"] for depth in range(30)]
    edges = [
        (upper, lower)
        for above, below in itertools.pairwise(layers)
        for upper in above
        for lower in below
    ]

    version = mvtrace.composite("s", *(part for layer in layers for part in layer), edges=edges)

    assert len(version.edges) == 116


def test_duplicate_slot() -> None:
    """
    One component a slot, and each once.
    """
    first, second = mvtrace.prompt("p", "one"), mvtrace.prompt("p", "two")
    hint = "One component a slot: give each its own name, and give it once."

    assert refused(first, second) == (
        (
            "Composite 'system': two components take the slot prompt/p: "
            f"{first.digest} and {second.digest}."
        ),
        hint,
    )
    assert refused(first, first) == (
        "Composite 'system': the component prompt/p is given twice.",
        hint,
    )


def test_part_that_differs_from_the_given_component() -> None:
    """
    A router that pins another state of a component than the system has is refused.
    """
    first, second = mvtrace.prompt("p", "one"), mvtrace.prompt("p", "two")
    router = mvtrace.router("r", policy=1, candidates=[first])

    message, _ = refused(router, second)

    digests = " and ".join(sorted((first.digest, second.digest)))
    assert message == f"Composite 'system': two components take the slot prompt/p: {digests}."


@pytest.mark.parametrize(
    ("edge", "message", "hint"),
    [
        (
            ("custom/a", "custom/x"),
            "Composite 'system': its edge names 'custom/x', a slot that no component takes.",
            "Slots are: custom/a, custom/b, custom/c.",
        ),
        (
            ("custom/a", 3),
            "Composite 'system': its edge names 3, a slot that no component takes.",
            "Slots are: custom/a, custom/b, custom/c.",
        ),
        (
            "custom/a",
            "Composite 'system': its edge 'custom/a' is neither (from, to) nor (from, to, role).",
            'Write edges such as ("router/route", "prompt/answer", "candidate").',
        ),
        (
            ("custom/a", "custom/b", ""),
            "Composite 'system': the role '' of its edge custom/a -> custom/b is no name.",
            None,
        ),
    ],
)
def test_edge_that_cannot_be(edge: Any, message: str, hint: str | None) -> None:
    """
    An edge has two known ends and a role.
    """
    assert refused(*abc(), edges=[edge]) == (message, hint)


def test_edge_to_another_state_of_a_component() -> None:
    """
    A component given as an end must be the one that the system has.
    """
    a, b = mvtrace.custom("a", x=1), mvtrace.custom("b", x=2)
    other = mvtrace.custom("b", x=3)

    assert refused(a, b, edges=[(a, other)]) == (
        (
            f"Composite 'system': its edge names custom/b with the digest {other.digest}, "
            f"but that slot has {b.digest}."
        ),
        "Give edges the components that the composite is made of.",
    )


@pytest.mark.parametrize(
    ("components", "name", "message", "hint"),
    [
        (
            [],
            "system",
            "Composite 'system': it has no components.",
            "Give the parts that the answer depends on.",
        ),
        (
            ["prompt/p"],
            "system",
            "Composite 'system': 'prompt/p' is a str, not a component.",
            "Make one with mvtrace.model(), mvtrace.prompt() and so on.",
        ),
        (
            [],
            "",
            "Composite '': a name is one line of 1 to 200 printable characters.",
            None,
        ),
    ],
)
def test_composite_that_cannot_be(
    components: list[Any], name: str, message: str, hint: str | None
) -> None:
    """
    A composite has a name and components.
    """
    assert refused(*components, name=name) == (message, hint)


def test_manifest_that_does_not_fit_an_event() -> None:
    """
    More components than an event can list are refused.
    """
    many = [mvtrace.custom(f"{'n' * 190}-{number}", x=1) for number in range(700)]

    message, hint = refused(*many)

    assert message == (
        "Composite 'system': its manifest takes 213,417 bytes for 700 components; "
        "a manifest has at most 196,608."
    )
    assert hint == "Pin many alike parts as one component, such as a folder."


def test_events_register_everything_they_name(parts: Parts) -> None:
    """
    Contents come first, then components, then the composite; every digest recomputes, and every
    content a component refers to is there.
    """
    parts.labels = {"answer": "v3"}
    version = parts.build()

    events = list(version.events())

    names = [event.name for event in events]
    assert names == sorted(
        names,
        key=[
            semconv.EVENT_CONTENT,
            semconv.EVENT_COMPONENT,
            semconv.EVENT_COMPOSITE,
        ].index,
    )
    contents = {
        event.attributes[semconv.CONTENT_DIGEST]: event.body
        for event in events
        if event.name == semconv.EVENT_CONTENT
    }
    assert all(digest_of(CONTENT_DOMAIN, body.encode()) == key for key, body in contents.items())
    components = [event for event in events if event.name == semconv.EVENT_COMPONENT]
    assert [component_of(event) for event in components] == [
        (part.digest, part.kind, part.name, part.body) for part in version.components
    ]
    for event in components:
        body = event.body.encode()
        assert digest_of(COMPONENT_DOMAIN, body) == event.attributes[semconv.COMPONENT_DIGEST]
        assert references(orjson.loads(body)) <= contents.keys()
    assert events[-1].body.encode() == version.manifest
    assert events[-1].attributes == {
        semconv.COMPOSITE_VERSION: version.version,
        semconv.COMPOSITE_NAME: "system",
        semconv.COMPOSITE_LABELS: '{"prompt/answer":"v3"}',
    }


def component_of(event: LogEvent) -> tuple[Any, ...]:
    keys = (semconv.COMPONENT_DIGEST, semconv.COMPONENT_KIND, semconv.COMPONENT_NAME)
    return (*(event.attributes[key] for key in keys), event.body.encode())


def references(value: Any) -> set[str]:
    """Return the digests of all content that *value* refers to."""
    if isinstance(value, list):
        return set().union(*map(references, value))
    if not isinstance(value, dict):
        return set()
    content = value.get("content")
    if isinstance(content, dict):
        return set(content.get("pieces", [content["digest"]]))
    return set().union(*map(references, value.values()))


def test_events_without_content(parts: Parts) -> None:
    """
    Where content must not leave the process, digests and facts alone are registered.
    """
    version = parts.build()

    events = list(version.events(register_content=False))

    assert {event.name for event in events} == {semconv.EVENT_COMPONENT, semconv.EVENT_COMPOSITE}
    assert "Answer:" not in "".join(event.body for event in events)


def test_events_fit_their_limit() -> None:
    """
    Large content goes in pieces that fit an event of 256 KiB.
    """
    version = mvtrace.composite("s", mvtrace.prompt("p", "€uro " * 200_000))

    assert max(len(event.body.encode()) for event in version.events()) <= 131_072
