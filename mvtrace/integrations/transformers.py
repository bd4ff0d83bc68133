"""Hugging Face ``transformers``: ``generate`` of a model in this process, and chat templates.

In: the model, token ids, the generation's configuration. Out: a generation a call, with the model's
origin, its weights' fingerprint, the parameters in force, the seed that torch began from, tokens
and why it ended. Digests are over token ids: texts are the tokenizer's. Left out: what runs in a
thread of the application's own that carries no context; images and sound that are given too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mvtrace.capture.guard import fail_open
from mvtrace.capture.openai_protocol import COMPLETION, Answered, Asked
from mvtrace.components.component import Component
from mvtrace.components.model import model as pinned_model
from mvtrace.digest import canonical_bytes
from mvtrace.integrations.hooks import Hook
from mvtrace.integrations.inference import Inference, is_told
from mvtrace.integrations.prompt_registry import Told
from mvtrace.integrations.templates import rendered, template_of
from mvtrace.integrations.torch_models import Origin, identified, origin_of, seed

LIBRARY: Final = "transformers"
PARAMETERS: Final = (
    "do_sample",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "typical_p",
    "epsilon_cutoff",
    "eta_cutoff",
    "repetition_penalty",
    "encoder_repetition_penalty",
    "no_repeat_ngram_size",
    "length_penalty",
    "early_stopping",
    "num_beams",
    "num_return_sequences",
    "penalty_alpha",
    "max_length",
    "max_new_tokens",
    "min_length",
    "min_new_tokens",
    "eos_token_id",
    "bad_words_ids",
    "stop_strings",
    "cache_implementation",
)
_STOP: Final = "stop"
_LENGTH: Final = "length"


def install() -> tuple[Hook, ...]:
    """Wrap what all generating models inherit."""
    from transformers.generation.utils import GenerationMixin  # noqa: PLC0415
    from transformers.tokenization_utils_base import PreTrainedTokenizerBase  # noqa: PLC0415

    return (
        Hook(GenerationMixin, "generate", begin),
        Hook(PreTrainedTokenizerBase, "apply_chat_template", begin_rendering),
    )


class Generating:
    """One call of a model."""

    def __init__(self, inference: Inference, origin: Origin, given: _Given) -> None:
        self._inference = inference
        self._origin = origin
        self._given = given
        self._pieces = given.pieces_told_to(inference)
        self.enter = inference.enter

    def leave(self) -> None:
        """End what follows the stream, and be current no more."""
        if self._pieces is not None:
            self._pieces.remove()
        self._inference.leave()

    @fail_open
    def answered(self, result: Any) -> None:
        """Take the sequences."""
        made = self._given.made(getattr(result, "sequences", result).tolist())
        ends = self._given.ends
        reason = _STOP if all(set(ids) & ends for ids in made) else _LENGTH
        text = canonical_bytes(made).decode()
        self._inference.end(
            Answered(
                model=self._origin.name,
                finish_reason=reason,
                usage={
                    "input_tokens": self._given.tokens,
                    "output_tokens": sum(self._given.length(ids) for ids in made),
                },
                texts=[text],
                length=len(text),
            )
        )

    def failed(self, error: BaseException) -> None:
        """End by *error*."""
        self._inference.failed(error)


class _Given:
    """What ``generate`` is called with."""

    def __init__(self, model: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        inputs: Any = args[0] if args else kwargs.get("inputs", kwargs.get("input_ids"))
        self.ids: list[list[int]] = [] if inputs is None else inputs.tolist()
        config = kwargs.get("generation_config") or (args[1] if len(args) > 1 else None)
        self._config = config or model.generation_config
        self._kwargs = kwargs
        self._is_continued = not model.config.is_encoder_decoder
        self._streamer = kwargs.get("streamer")
        mask = kwargs.get("attention_mask")
        self.tokens = sum(map(len, self.ids)) if mask is None else int(mask.sum())
        ends = self.setting("eos_token_id")
        self.ends = frozenset(ends if isinstance(ends, list | tuple) else [ends])

    def setting(self, name: str) -> Any:
        """Return a parameter: what the call says, else the configuration."""
        given = self._kwargs.get(name)
        found: Any = getattr(self._config, name, None) if given is None else given
        return found.tolist() if hasattr(found, "tolist") else found

    def parameters(self) -> dict[str, Any]:
        """Return those that are set."""
        found = {name: self.setting(name) for name in PARAMETERS}
        return {name: value for name, value in found.items() if value is not None}

    def made(self, sequences: list[list[int]]) -> list[list[int]]:
        """Return what was generated of *sequences*."""
        start = len(self.ids[0]) if self._is_continued and self.ids else 0
        return [ids[start:] for ids in sequences]

    def length(self, ids: list[int]) -> int:
        """Return how many of *ids* were generated: to the first end, after it comes padding."""
        return next((at + 1 for at, one in enumerate(ids) if one in self.ends), len(ids))

    def pieces_told_to(self, inference: Inference) -> Hook | None:
        """Return what follows the stream, if there is one: its first piece is the prompt."""
        if self._streamer is None:
            return None
        is_prompt = [True]

        def piece(*_: Any, **__: Any) -> None:
            if not is_prompt[0]:
                inference.chunk()
            is_prompt[0] = False

        return Hook(self._streamer, "put", piece)


def begin(model: Any, *args: Any, **kwargs: Any) -> Generating | None:
    """Return the call that a generation is."""
    if is_told.get():
        return None
    given = _Given(model, args, kwargs)
    config = model.config
    commit = getattr(config, "_commit_hash", None)
    origin = origin_of(getattr(config, "_name_or_path", None), commit, type(model).__name__)
    content = canonical_bytes(given.ids).decode() if given.ids else None
    asked = Asked(COMPLETION, origin.name, given.parameters(), seed(), content=content)
    inference = Inference(asked, LIBRARY)
    call = inference.call
    if call.component is None:
        call.component = identified(model, lambda weights: _pinned(model, origin, weights))
    return Generating(inference, origin, given)


# Chat templates


def begin_rendering(tokenizer: Any, *_: Any, **kwargs: Any) -> Told:
    """Return what notes a rendering of a chat template, to text or to token ids."""
    text = tokenizer.get_chat_template(kwargs.get("chat_template"), kwargs.get("tools"))
    origin = origin_of(tokenizer.name_or_path, None, type(tokenizer).__name__)
    template = template_of(f"{origin.name} chat_template", text, LIBRARY, None)
    return Told(lambda result: rendered(template, _as_given(result)))


def _as_given(result: Any) -> str:
    """Return the text, or token ids as ``generate`` is given them."""
    if isinstance(result, str):
        return result
    ids = result["input_ids"] if isinstance(result, Mapping) else result
    listed = ids.tolist() if hasattr(ids, "tolist") else list(ids)
    is_one = bool(listed) and isinstance(listed[0], int)
    return canonical_bytes([listed] if is_one else listed).decode()


def _pinned(model: Any, origin: Origin, weights: Mapping[str, Any]) -> Component:
    quantized = getattr(model.config, "quantization_config", None)
    if quantized is not None and not isinstance(quantized, Mapping):
        quantized = quantized.to_dict()
    settings: dict[str, Any] = {
        "revision": origin.revision,
        "weights": dict(weights),
        "architecture": type(model).__name__,
        "dtype": str(model.dtype),
        "quantization": None if quantized is None else str(quantized.get("quant_method")),
    }
    told = {key: value for key, value in settings.items() if value is not None}
    return pinned_model(origin.name, provider=LIBRARY, model_id=origin.name, **told)
