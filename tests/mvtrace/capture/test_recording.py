"""derived(): what an application says something was made from, on its way out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from captured import Captured
from sink import Sink

import mvtrace
from mvtrace.capture.recording import ref_of
from mvtrace.components.artifact import hash_artifact
from mvtrace.registry.entries import entry_of
from mvtrace.registry.errors import RegistryError
from mvtrace.registry.refs import Ref

DATA = Ref("dataset", "d" * 64)


def test_everything_at_hand_has_a_ref(tmp_path: Path) -> None:
    """
    A component, a version, an entry, a ref, its text and a file are named by what they are.
    """
    prompt = mvtrace.prompt("answer", "Say {x}")
    system = mvtrace.composite("shop", prompt)
    weights = tmp_path / "weights.bin"
    weights.write_bytes(b"weights")
    step = entry_of("transformation", {"name": "clean"})
    data = entry_of("dataset", {"name": "tickets", "root": DATA.digest})

    assert ref_of(prompt) == Ref("component", prompt.digest.removeprefix("sha256:"))
    assert ref_of(system) == Ref("composite", system.version)
    assert ref_of(step) == step.ref
    assert ref_of(data) == ref_of(DATA) == ref_of(str(DATA)) == DATA
    assert ref_of(weights) == Ref.of("artifact", hash_artifact(weights).digest)


def test_what_is_said_is_sent(captured: Captured, sink: Sink, tmp_path: Path) -> None:
    """
    A parent without a role is what its kind mostly is, and the entry goes the way of all evidence.
    """
    prompt = mvtrace.prompt("answer", "Say {x}")
    base = tmp_path / "base.bin"
    base.write_bytes(b"base")

    entry = mvtrace.derived(f"artifact:{'a' * 64}", [base, DATA, (prompt, "prompt")])

    captured.flush()
    (sent,) = (log for log in sink.logs if log.event_name == "mvtrace.entry")
    assert sent.body.string_value.encode() == entry.body
    roles = {one["ref"].partition(":")[0]: one["role"] for one in entry.said["parents"]}
    assert roles == {"artifact": "base", "dataset": "dataset", "component": "prompt"}


@pytest.mark.parametrize(
    ("child", "problem"),
    [
        (
            "nonsense",
            (
                "'nonsense' is nothing that is made: 'nonsense' is no ref: a kind is one of "
                "artifact, certificate, component, composite, dataset, derivation, experiment, "
                "request, results, scorer, suite, transformation."
            ),
        ),
        (str(DATA), f"{DATA} is a parent of itself."),
    ],
)
def test_what_is_nothing_is_refused(child: Any, problem: str) -> None:
    """
    Nothing is sent of what cannot be, and the error says why.
    """
    with pytest.raises(RegistryError) as refused:
        mvtrace.derived(child, [DATA])

    assert refused.value.message == f"A derivation cannot be registered: {problem}"
