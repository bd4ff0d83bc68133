"""Real ``transformers`` in this process, with models made here: generations, and chat templates."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_models
from captured import Captured
from captured_table import record as tell

import mvtrace
from mvtrace.integrations import torch_models
from mvtrace.integrations import transformers as integration
from mvtrace.integrations.torch_models import Origin, origin_of
from mvtrace.records import Call, RequestRecord

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

pytestmark = [
    pytest.mark.integrations,
    pytest.mark.usefixtures("instrumented", "seeded"),
    pytest.mark.filterwarnings("ignore"),  # the library's own
]
ASKED = "a secret question"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def seeded() -> Iterator[None]:
    """Torch's random numbers as they are before anybody seeds them, and again after."""
    before = torch.get_rng_state()
    torch.default_generator.manual_seed(torch_models._UNSEEDED)
    yield
    torch.set_rng_state(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.generating(tmp_path_factory.mktemp("models") / "generator")


def generator(folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder)


def ids(folder: Path, *texts: str) -> Any:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, padding_side="left")
    return tokenizer(list(texts or [ASKED]), return_tensors="pt", padding=True)


def recorded(captured: Captured, act: Callable[[], object]) -> tuple[RequestRecord, Call]:
    """The record of a request in which *act* is done, and its one call."""
    before = len(captured.records)
    with mvtrace.request(route="/ask"):
        act()
    record = captured.records[before]
    [call] = record.calls
    return record, call


def test_generate(captured: Captured, folder: Path) -> None:
    """
    A generation has model, parameters in force, seed, tokens and why it ended; no word of it.
    """
    model = generator(folder)
    transformers.set_seed(7)
    made: list[Any] = []
    settings = {"do_sample": True, "temperature": 0.5, "max_new_tokens": 3, "eos_token_id": None}
    record, call = recorded(
        captured,
        lambda: made.append(model.generate(**ids(folder), **settings)),
    )

    assert (call.kind, call.provider) == ("generation", "transformers")
    assert call.name.endswith("test_generate.<lambda>")
    assert (call.model_requested, call.model_served) == ("generator", "generator")
    assert call.sampling == {
        **{key: value for key, value in settings.items() if value is not None},
        "eos_token_id": 4,
    }
    assert call.seed == 7
    assert call.usage is not None
    assert call.usage.input_tokens == 3
    new = made[0][0, 3:].tolist()
    assert call.usage.output_tokens == (new.index(4) + 1 if 4 in new else len(new))
    assert call.finish_reason == ("stop" if 4 in new else "length")
    assert call.output_digest is not None
    assert record.composite_version is not None
    assert b"secret" not in record.to_bytes()
    assert str(folder).encode() not in record.to_bytes()
    tell("transformers", transformers.__version__, ["generate", "seed", "identity of the weights"])


def test_each_sequence_ends_for_itself(captured: Captured, folder: Path) -> None:
    """
    Of several sequences the tokens to each end count, and the padding after it does not.
    """
    model = generator(folder)
    asked = ids(folder, ASKED, "why")
    first = int(model.generate(**asked, max_new_tokens=1)[0, -1])

    _, call = recorded(
        captured, lambda: model.generate(**asked, max_new_tokens=4, eos_token_id=first)
    )

    assert call.usage is not None
    assert call.usage.input_tokens == 4
    sequences = model.generate(**asked, max_new_tokens=4, eos_token_id=first)[:, 3:].tolist()
    counts = [row.index(first) + 1 if first in row else len(row) for row in sequences]
    assert counts[0] == 1
    assert call.usage.output_tokens == sum(counts)
    assert call.seed is None


@pytest.mark.parametrize("changed", ["weights", "adapter"])
def test_identity_is_that_of_the_weights(
    captured: Captured, folder: Path, tmp_path: Path, changed: str
) -> None:
    """
    The same weights in another folder of that name are the same version; others are another, also
    where only what lies in memory was changed.
    """
    asked = ids(folder)
    same = tiny_models.generating(tmp_path / "same" / "generator")
    if changed == "weights":
        other = generator(tiny_models.generating(tmp_path / "other" / "generator", seed=2))
    else:
        other = generator(folder)
        with torch.no_grad():
            other.lm_head.weight.add_(0.5)
    for model in (generator(folder), generator(same), other):
        with mvtrace.request(route="/ask"):
            model.generate(**asked, max_new_tokens=1)

    versions = [record.composite_version for record in captured.records]
    assert versions[0] == versions[1] != versions[2]
    assert [(one.kind, one.name) for one in captured.records[2].drift] == [("model", "generator")]


def test_stream(captured: Captured, folder: Path) -> None:
    """
    A stream is followed, in a thread that carries the request's context; the prompt is no piece.
    """
    model = generator(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    streamer = transformers.TextIteratorStreamer(tokenizer, skip_prompt=True)
    asked = {**ids(folder), "max_new_tokens": 3, "streamer": streamer}
    pieces: list[str] = []

    def act() -> None:
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(lambda: model.generate(**asked),))
        thread.start()
        pieces.extend(streamer)
        thread.join()

    _, call = recorded(captured, act)

    assert pieces
    assert call.time_to_first_chunk_ns is not None
    assert call.usage is not None
    assert "put" not in vars(streamer)
    tell("transformers", transformers.__version__, ["streams"])


def test_pipeline(captured: Captured, folder: Path) -> None:
    """
    A pipeline's generation is one call, named by who asked.
    """
    pipe = transformers.pipeline("text-generation", model=str(folder))
    _, call = recorded(captured, lambda: pipe(ASKED, max_new_tokens=2))

    assert call.name.endswith("test_pipeline.<lambda>")
    assert (call.model_served, (call.sampling or {})["max_new_tokens"]) == ("generator", 2)
    tell("transformers", transformers.__version__, ["pipelines"])


CHAT_TEMPLATE = "{% for one in messages %}{{ one.content }} {% endfor %}"


@pytest.mark.parametrize("way", ["ids", "tensors", "pipeline"])
def test_chat_template(captured: Captured, folder: Path, way: str) -> None:
    """
    The tokenizer's chat template is a part of the version, and the call says that its prompt was
    rendered from it.
    """
    model = generator(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = CHAT_TEMPLATE
    messages = [{"role": "user", "content": ASKED}]
    pipe = transformers.pipeline("text-generation", model=model, tokenizer=tokenizer)

    def act() -> None:
        if way == "pipeline":
            pipe(messages, max_new_tokens=1)
        elif way == "tensors":
            given = tokenizer.apply_chat_template(messages, return_tensors="pt")
            model.generate(**given, max_new_tokens=1)
        else:
            ids = tokenizer.apply_chat_template(messages, return_dict=False)
            model.generate(torch.tensor([ids]), max_new_tokens=1)

    record, call = recorded(captured, act)

    assert call.prompt is not None
    assert call.prompt.name == "generator chat_template"
    assert call.prompt.template_digest == mvtrace.prompt("x", CHAT_TEMPLATE).digest
    assert b"secret" not in record.to_bytes()
    tell("transformers", transformers.__version__, ["chat templates"])


def test_chat_template_as_text(captured: Captured, folder: Path) -> None:
    """
    A template that is rendered to text alone is met.
    """
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = CHAT_TEMPLATE
    with mvtrace.request(route="/ask"):
        messages = [{"role": "user", "content": ASKED}]
        assert tokenizer.apply_chat_template(messages, tokenize=False) == f"{ASKED} "

    [met] = [one for one in captured.record.observed if one.kind == "prompt"]
    assert met.digest == mvtrace.prompt("x", CHAT_TEMPLATE).digest


def test_error_of_the_model(captured: Captured, folder: Path) -> None:
    """
    The library's error comes as it is, and is on the call.
    """
    model = generator(folder)

    def act() -> None:
        with pytest.raises(ValueError, match="max_new_tokens"):
            model.generate(**ids(folder), max_new_tokens=-1)

    _, call = recorded(captured, act)

    assert (call.outcome, call.error_type) == ("error", "ValueError")


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ("org/name", Origin("org/name", "c")),
        ("/models/name", Origin("name", "c")),
        ("./name/", Origin("name", "c")),
        ("a/b/name", Origin("name", "c")),
        ("C:\\models\\name", Origin("name", "c")),
        (f"/hub/models--org--name/snapshots/{COMMIT}", Origin("org/name", COMMIT)),
        ("", Origin("Model", "c")),
        (None, Origin("Model", "c")),
    ],
)
def test_origin(told: str | None, found: Origin) -> None:
    """
    A name tells no path of this machine; a Hugging Face cache tells name and commit.
    """
    assert origin_of(told, "c", "Model") == found


def boom(*_: object, **__: object) -> None:
    raise RuntimeError("a bug of ours")


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (integration, "origin_of"),
        (integration, "seed"),
        (integration, "Inference"),
        (integration, "Generating"),
        (integration, "canonical_bytes"),
        (integration._Given, "made"),
        (integration._Given, "pieces_told_to"),
        (integration, "_pinned"),
        (integration, "template_of"),
        (integration, "_as_given"),
        (torch_models, "_sample"),
    ],
)
def test_no_failure_of_ours_reaches_the_library(
    captured: Captured, folder: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    """
    Whichever step of ours fails, models generate as ever.
    """
    model, asked = generator(folder), ids(folder)
    expected = model.generate(**asked, max_new_tokens=2).tolist()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = CHAT_TEMPLATE
    monkeypatch.setattr(owner, name, boom)
    with mvtrace.request(route="/ask"):
        assert model.generate(**asked, max_new_tokens=2).tolist() == expected
        assert tokenizer.apply_chat_template([{"content": "a"}], tokenize=False) == "a "

    assert captured.record.outcome == "ok"


def test_uninstrument(captured: Captured, folder: Path) -> None:
    """
    Turned off, nothing is recorded.
    """
    mvtrace.uninstrument()
    with mvtrace.request(route="/ask"):
        generator(folder).generate(**ids(folder), max_new_tokens=1)

    assert captured.record.calls == ()
