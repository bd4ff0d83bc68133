"""Real ``sentence-transformers`` in this process, with models made here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_models
from captured import Captured
from captured_table import record as tell

import mvtrace
from mvtrace.integrations import sentence_transformers as integration
from mvtrace.integrations import torch_models
from mvtrace.records import Call, RequestRecord

torch = pytest.importorskip("torch")
sentence_transformers = pytest.importorskip("sentence_transformers")

pytestmark = [
    pytest.mark.integrations,
    pytest.mark.usefixtures("instrumented"),
    pytest.mark.filterwarnings("ignore"),  # the library's own
]
ASKED = "a secret question"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.embedding(tmp_path_factory.mktemp("models") / "embedder")


def embedder(folder: Path) -> Any:
    return sentence_transformers.SentenceTransformer(str(folder))


def recorded(captured: Captured, act: Callable[[], object]) -> tuple[RequestRecord, Call]:
    """The record of a request in which *act* is done, and its one call."""
    before = len(captured.records)
    with mvtrace.request(route="/ask"):
        act()
    record = captured.records[before]
    [call] = record.calls
    return record, call


@pytest.mark.parametrize("is_tensor", [False, True])
def test_encode(captured: Captured, folder: Path, is_tensor: bool) -> None:
    """
    An embedding has model, count and dimension, and what was asked of it; no word of it.
    """
    model = embedder(folder)
    record, call = recorded(
        captured,
        lambda: model.encode(
            [ASKED, "why"], convert_to_tensor=is_tensor, normalize_embeddings=True
        ),
    )

    assert (call.kind, call.provider) == ("embedding", "sentence_transformers")
    assert (call.model_requested, call.model_served) == ("embedder", "embedder")
    assert (call.vectors, call.dimension) == (2, 8)
    assert call.sampling == {"normalize_embeddings": True}
    assert call.input_digest is not None
    assert b"secret" not in record.to_bytes()
    assert str(folder).encode() not in record.to_bytes()
    tell(
        "sentence-transformers",
        sentence_transformers.__version__,
        ["encode", "identity of the weights, pooling and normalization", "count and dimension"],
    )


@pytest.mark.parametrize("way", ["encode", "encode_query", "encode_document"])
def test_one_text(captured: Captured, folder: Path, way: str) -> None:
    """
    A single text is one vector, by whatever method, as an array or as a list of tensors.
    """
    model = embedder(folder)
    _, call = recorded(captured, lambda: getattr(model, way)(ASKED))
    assert (call.vectors, call.dimension) == (1, 8)
    _, call = recorded(captured, lambda: getattr(model, way)([ASKED], convert_to_numpy=False))
    assert (call.vectors, call.dimension) == (1, 8)


def test_normalization_is_a_part_of_the_model(
    captured: Captured, folder: Path, tmp_path: Path
) -> None:
    """
    The same weights without their normalization are another version; from a Hugging Face cache the
    commit is told.
    """
    bare = tiny_models.embedding(tmp_path / "bare" / "embedder", is_normalized=False)
    place = tmp_path / "models--org--embedder" / "snapshots" / COMMIT
    place.parent.mkdir(parents=True)
    cached = tiny_models.embedding(place)
    for model in map(embedder, (folder, folder, bare, cached)):
        with mvtrace.request(route="/ask"):
            model.encode(ASKED)

    versions = [record.composite_version for record in captured.records]
    assert versions[0] == versions[1] != versions[2]
    [call] = captured.records[3].calls
    assert call.model_served == "org/embedder"
    [model] = [one for one in captured.records[3].observed if one.kind == "embedding_model"]
    assert model.name == "org/embedder"


def test_changed_model_is_seen_again(
    captured: Captured, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Weights that change while the model serves are found when they are looked at again.
    """
    monkeypatch.setattr(torch_models, "MAX_AGE_S", 0.0)
    monkeypatch.setattr(torch_models, "MAX_AGE_IN_COSTS", 0)
    model = embedder(folder)
    for step in (0.0, 0.0, 0.5):
        with torch.no_grad():
            next(model.parameters()).add_(step)
        with mvtrace.request(route="/ask"):
            model.encode(ASKED)

    versions = [record.composite_version for record in captured.records]
    assert versions[0] == versions[1] != versions[2]


def boom(*_: object, **__: object) -> None:
    raise RuntimeError("a bug of ours")


def test_weights_that_cannot_be_read(
    captured: Captured, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Weights that cannot be read are one error for a while, not one a call; the call is told.
    """
    model = embedder(folder)
    monkeypatch.setattr(torch_models, "_sample", boom)
    for _ in range(3):
        with mvtrace.request(route="/ask"):
            model.encode(ASKED)

    reports = [record.capture.errors for record in captured.records if record.capture]
    assert reports == [1, 0, 0]
    assert [call.model_served for one in captured.records for call in one.calls] == ["embedder"] * 3


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "int8", "bool"])
def test_every_type_of_weights(dtype: str) -> None:
    """
    Weights of any type are told apart by their values, and by their type.
    """

    class Weights(torch.nn.Module):
        def __init__(self, kind: str, start: int = 0) -> None:
            super().__init__()
            values = torch.arange(start, start + 200).remainder(2)
            self.register_buffer("values", values.to(getattr(torch, kind)))

    def fingerprint(*args: Any) -> Any:
        return torch_models.weights_of(Weights(*args))["fingerprint"]

    assert fingerprint(dtype) == fingerprint(dtype)
    assert len({fingerprint(dtype), fingerprint(dtype, 1), fingerprint("float32")}) == 3


def test_within_a_wrapper_of_the_applications(captured: Captured, folder: Path) -> None:
    """
    An embedding that the application wraps itself is one call, which the library tells the rest.
    """
    model = embedder(folder)

    def act() -> None:
        with mvtrace.embedding("question"):
            model.encode(ASKED)

    _, call = recorded(captured, act)

    assert (call.name, call.model_served, call.dimension) == ("question", "embedder", 8)


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (integration, "_origin"),
        (integration, "_texts"),
        (integration, "_pinned"),
        (integration, "Inference"),
        (integration, "shape_of"),
        (torch_models, "_sample"),
    ],
)
def test_no_failure_of_ours_reaches_the_library(
    captured: Captured, folder: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    """
    Whichever step of ours fails, models encode as ever.
    """
    model = embedder(folder)
    monkeypatch.setattr(owner, name, boom)
    with mvtrace.request(route="/ask"):
        assert model.encode([ASKED, "why"]).shape == (2, 8)

    assert captured.record.outcome == "ok"


def test_error_of_the_model(captured: Captured, folder: Path) -> None:
    """
    The library's error comes as it is, and is on the call.
    """
    model = embedder(folder)

    def act() -> None:
        with pytest.raises(ValueError, match="absent"):
            model.encode(ASKED, prompt_name="absent")

    _, call = recorded(captured, act)

    assert (call.outcome, call.error_type) == ("error", "ValueError")


def test_uninstrument(captured: Captured, folder: Path) -> None:
    """
    Turned off, nothing is recorded.
    """
    mvtrace.uninstrument()
    with mvtrace.request(route="/ask"):
        embedder(folder).encode(ASKED)

    assert captured.record.calls == ()
