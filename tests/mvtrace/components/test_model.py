"""Models, embedding models and sampling parameters."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import mvtrace
from mvtrace.components import Component
from mvtrace.errors import ComponentError


def test_model_of_a_provider() -> None:
    """
    A hosted model is what its provider calls it, and the settings that tell it apart.
    """
    model = mvtrace.model("llm", provider="openai", model_id="gpt-5", revision=None)

    assert model.facts == {
        "provider": "openai",
        "model_id": "gpt-5",
        "settings": {"revision": None},
    }


def test_one_byte_of_weights(tmp_path: Path) -> None:
    """
    One changed byte is another digest; another file name is the same.
    """
    weights = tmp_path / "a.gguf"
    weights.write_bytes(b"\x00" * 100)
    before = mvtrace.model("llm", path=weights)
    renamed = weights.rename(tmp_path / "b.gguf")
    assert mvtrace.model("llm", path=str(renamed)).digest == before.digest

    renamed.write_bytes(b"\x00" * 99 + b"\x01")

    assert mvtrace.model("llm", path=renamed).digest != before.digest


def test_artifact_in_facts(tmp_path: Path) -> None:
    """
    The facts hold digest, size and listing of the files, and no path of this machine.
    """
    (tmp_path / "config.json").write_text("{}")

    model = mvtrace.embedding_model("e5", path=tmp_path)

    artifact = model.facts["artifact"]
    assert (artifact["bytes"], artifact["files"]) == (2, 1)
    (listing,) = model.contents
    assert listing.digest == artifact["listing"]["content"]["digest"]
    assert "config.json" in listing.text
    assert str(tmp_path) not in model.body.decode() + listing.text


def test_model_without_anything() -> None:
    """
    A model needs an id, weights or settings.
    """
    with pytest.raises(ComponentError) as caught:
        mvtrace.model("llm", provider="openai")

    assert str(caught.value) == "Component model 'llm': nothing says which model it is."
    assert caught.value.hint == (
        "Give model_id=… as its provider calls it, or path=… of its weights."
    )


def test_missing_file(tmp_path: Path) -> None:
    """
    A missing file is named.
    """
    missing = tmp_path / "weights.gguf"

    with pytest.raises(ComponentError) as caught:
        mvtrace.model("llm", path=missing)

    assert str(caught.value) == (
        f"Component model 'llm': there is no file or folder at {str(missing)!r}."
    )
    assert caught.value.hint == (
        "Check the path: it must be a readable file, or a folder with files."
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_unreadable_file(tmp_path: Path) -> None:
    """
    A file without read permission is named, with the reason.
    """
    secret = tmp_path / "weights.gguf"
    secret.touch(mode=0)

    with pytest.raises(ComponentError) as caught:
        mvtrace.model("llm", path=secret)

    assert str(caught.value) == (
        f"Component model 'llm': {str(secret)!r} cannot be read: Permission denied."
    )


@pytest.mark.parametrize(
    "other",
    [
        mvtrace.sampling("default", temperature=0.81, stop=["\n"]),
        mvtrace.sampling("default", temperature=0.8, stop=[]),
        mvtrace.sampling("default", temperature=0.8),
    ],
)
def test_each_sampling_parameter_counts(other: Component) -> None:
    """
    One changed or absent parameter is another digest.
    """
    assert mvtrace.sampling("default", temperature=0.8, stop=["\n"]).digest != other.digest


def test_sampling_without_parameters() -> None:
    """
    No parameters pin nothing.
    """
    with pytest.raises(ComponentError) as caught:
        mvtrace.sampling("default", label="v1")

    assert str(caught.value) == "Component sampling 'default': it has no parameters."
    assert caught.value.hint == "Name them: mvtrace.sampling('default', temperature=0.7)."
