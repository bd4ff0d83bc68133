"""What every component has in common: identity, checks, and nothing half made."""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
from pathlib import Path

import pytest

import mvtrace
from mvtrace.components import KINDS, Component
from mvtrace.components.component import Draft
from mvtrace.digest import COMPONENT_DOMAIN, digest_of
from mvtrace.errors import ComponentError


def sampling(**settings: object) -> Component:
    return mvtrace.sampling("default", **settings)


def test_digest_is_of_the_body() -> None:
    """
    A component is named by the digest of its body; kind and facts are in it, its name is not.
    """
    component = sampling(temperature=0.7)

    assert component.body == b'{"facts":{"parameters":{"temperature":0.7}},"kind":"sampling"}'
    assert component.digest == digest_of(COMPONENT_DOMAIN, component.body)
    assert component.slot == "sampling/default"
    assert component.facts == {"parameters": {"temperature": 0.7}}


def test_same_content_same_digest_whatever_name_and_label() -> None:
    """
    Name and label are in no digest; kind and facts are.
    """
    model = mvtrace.model("a", model_id="m")

    assert mvtrace.model("b", model_id="m", label="v2").digest == model.digest
    assert mvtrace.embedding_model("a", model_id="m").digest != model.digest
    assert mvtrace.model("a", model_id="m", revision="2").digest != model.digest


def test_facts_are_pinned_when_given() -> None:
    """
    Changing a value afterwards, or the facts that were read, changes no component.
    """
    policy = {"threshold": 0.5}
    component = mvtrace.router("route", policy=policy)
    policy["threshold"] = 0.6
    component.facts["policy"]["threshold"] = 0.7

    assert component.facts["policy"] == {"threshold": 0.5}


def test_component_is_a_value() -> None:
    """
    Equal components are equal, hash alike and survive pickling.
    """
    first, second = sampling(top_p=0.9), sampling(top_p=0.9)

    assert (first, hash(first)) == (second, hash(second))
    assert pickle.loads(pickle.dumps(first)) == first


@pytest.mark.parametrize(
    ("kind", "name", "message", "hint"),
    [
        (
            "modle",
            "m",
            "Component modle 'm': there is no such kind.",
            f"Kinds are: {', '.join(KINDS)}.",
        ),
        (
            "model",
            "",
            "Component model '': a name is one line of 1 to 200 printable characters.",
            "The name is the slot in the manifest, such as 'answer' or 'topics'.",
        ),
        (
            "model",
            "two\nlines",
            "Component model 'two\\nlines': a name is one line of 1 to 200 printable characters.",
            "The name is the slot in the manifest, such as 'answer' or 'topics'.",
        ),
    ],
)
def test_slot_that_cannot_be(kind: str, name: str, message: str, hint: str) -> None:
    """
    An unknown kind and an unprintable name are refused.
    """
    with pytest.raises(ComponentError) as caught:
        Draft(kind, name)

    assert (str(caught.value), caught.value.hint) == (message, hint)


def test_label_that_cannot_be() -> None:
    """
    A label is one line.
    """
    with pytest.raises(ComponentError) as caught:
        mvtrace.model("m", model_id="m", label="")

    assert str(caught.value) == (
        "Component model 'm': its label is ''; "
        "a label is one line of 1 to 200 printable characters."
    )


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"kind": "modle"}, "Component modle 'default': there is no such kind."),
        ({"kind": "router"}, "Component router 'default': its body is of another kind."),
        ({"digest": "sha256:" + "0" * 64}, f"its digest is sha256:{'0' * 64}, but its body has "),
        ({"body": b'{"facts":{},"kind":"sampling"}'}, ", but its body has sha256:"),
        ({"name": "two\nlines"}, "a name is one line of 1 to 200 printable characters."),
    ],
)
def test_component_put_together_by_hand(changes: dict[str, object], problem: str) -> None:
    """
    A component is what its digest says however it was made; none that is not can be registered.
    """
    with pytest.raises(ComponentError) as caught:
        dataclasses.replace(sampling(top_p=0.9), **changes)  # type: ignore[arg-type]

    assert problem in str(caught.value)


def test_unserializable_parameter() -> None:
    """
    A parameter that JSON cannot hold is refused, with the place where it stands.
    """
    with pytest.raises(ComponentError) as caught:
        sampling(temperature=0.5, stop={"a", "b"})

    assert str(caught.value) == (
        "Component sampling 'default': value at $.facts.parameters.stop has no canonical form: "
        "set is not a JSON type."
    )
    assert caught.value.hint == (
        "Use text, booleans, finite numbers, lists and dicts with text keys."
    )


def test_facts_that_do_not_fit_an_event() -> None:
    """
    A body is at most 128 KiB.
    """
    with pytest.raises(ComponentError) as caught:
        mvtrace.custom("table", rows=["x" * 1000] * 200)

    assert str(caught.value) == (
        "Component custom 'table': its facts take 200,649 bytes; a component has at most 131,072."
    )
    assert caught.value.hint == "Put large data into a file and pin its path."


def test_expected_digest_of_component_file_and_folder(tmp_path: Path) -> None:
    """
    The digest to expect is the component's, that of its file, or that of its folder.
    """
    weights = tmp_path / "weights.bin"
    weights.write_bytes(b"weights")
    of_file = "sha256:" + hashlib.sha256(b"weights").hexdigest()
    component = mvtrace.model("m", path=weights, digest=of_file)

    assert mvtrace.model("m", path=weights, digest=component.digest) == component
    folder = mvtrace.model("m", path=tmp_path)
    of_folder = folder.facts["artifact"]["digest"]
    assert mvtrace.model("m", path=tmp_path, digest=of_folder) == folder


@pytest.mark.parametrize("name", ["weights.bin", "."])
def test_wrong_digest(name: str, tmp_path: Path) -> None:
    """
    Another content than expected is refused, with the digest that it has.
    """
    (tmp_path / "weights.bin").write_bytes(b"weights")
    wanted = "sha256:" + "0" * 64
    path = tmp_path / name

    with pytest.raises(ComponentError) as caught:
        mvtrace.model("m", path=path, digest=wanted)

    if path.is_file():
        found = "the file has sha256:" + hashlib.sha256(b"weights").hexdigest()
    else:
        found = "the files have " + mvtrace.model("m", path=path).facts["artifact"]["digest"]
    assert str(caught.value) == f"Component model 'm': the digest must be {wanted}, but {found}."
    assert caught.value.hint == (
        "Pin the state that was meant, or correct digest=…; nothing was registered."
    )


def test_wrong_digest_of_facts() -> None:
    """
    A component without files is checked by its own digest.
    """
    wanted = "sha256:" + "f" * 64

    with pytest.raises(ComponentError) as caught:
        mvtrace.model("m", model_id="m-1", digest=wanted)

    found = mvtrace.model("m", model_id="m-1").digest
    assert str(caught.value) == (
        f"Component model 'm': the digest must be {wanted}, but the component has {found}."
    )


def test_malformed_digest() -> None:
    """
    What is no digest is refused before anything is hashed.
    """
    with pytest.raises(ComponentError) as caught:
        mvtrace.model("m", path="/nowhere", digest="deadbeef")

    assert str(caught.value) == (
        "Component model 'm': the expected digest is 'deadbeef'; "
        "a digest is 'sha256:' and 64 lower-case hex digits."
    )
    assert caught.value.hint == "sha256sum FILE prints the hex digits of a file."
