"""sentence-transformers: ``encode`` of a model in this process.

In: the model and what is encoded. Out: an embedding a call, with the model's origin, its weights'
fingerprint, how it pools and normalizes, how many vectors of which dimension came. Left out: sparse
encoders and cross encoders.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from mvtrace.capture.guard import fail_open
from mvtrace.capture.openai_protocol import EMBEDDINGS, Answered, Asked
from mvtrace.components.component import Component
from mvtrace.components.model import embedding_model
from mvtrace.integrations.hooks import Hook
from mvtrace.integrations.inference import Inference, is_told
from mvtrace.integrations.torch_models import Origin, identified, origin_of

LIBRARY: Final = "sentence_transformers"
_ASKED: Final = ("normalize_embeddings", "precision", "truncate_dim", "prompt_name")
_MATRIX: Final = 2


def install() -> tuple[Hook, ...]:
    """Wrap the models."""
    import sentence_transformers  # noqa: PLC0415 (only where it is installed)

    return (Hook(sentence_transformers.SentenceTransformer, "encode", begin),)


class Encoding:
    """One call of a model."""

    def __init__(self, inference: Inference, origin: Origin) -> None:
        self._inference = inference
        self._origin = origin
        self.enter = inference.enter
        self.leave = inference.leave
        self.failed = inference.failed

    @fail_open
    def answered(self, result: Any) -> None:
        """Take the shape of *result*."""
        vectors, dimension = shape_of(result)
        self._inference.end(Answered(model=self._origin.name, vectors=vectors, dimension=dimension))


def begin(model: Any, *args: Any, **kwargs: Any) -> Encoding | None:
    """Return the call that an encoding is."""
    if is_told.get():
        return None
    inputs: Any = args[0] if args else kwargs.get("inputs", kwargs.get("sentences"))
    parameters = {key: kwargs[key] for key in _ASKED if kwargs.get(key) not in {None, False}}
    origin = _origin(model)
    asked = Asked(EMBEDDINGS, origin.name, parameters, content=_texts(inputs))
    inference = Inference(asked, LIBRARY)
    call = inference.call
    if call.component is None:
        call.component = identified(model, lambda weights: _pinned(model, origin, weights))
    return Encoding(inference, origin)


def shape_of(result: Any) -> tuple[int | None, int | None]:
    """Return how many vectors of which dimension *result* is: an array, a tensor, or several."""
    if isinstance(result, Sequence):
        one = shape_of(result[0])[1] if result else None
        return len(result), one
    shape = tuple(getattr(result, "shape", ()))
    if not shape:
        return None, None
    return (1, shape[0]) if len(shape) < _MATRIX else (shape[0], shape[-1])


def _texts(inputs: Any) -> list[str] | None:
    """Return what is encoded, if it is texts: of images, sound and pairs nothing is told."""
    if isinstance(inputs, str):
        return [inputs]
    listed = inputs.tolist() if hasattr(inputs, "tolist") else inputs
    is_texts = isinstance(listed, list | tuple) and all(isinstance(one, str) for one in listed)
    return list(listed) if is_texts else None


def _origin(model: Any) -> Origin:
    config = getattr(getattr(model, "transformers_model", None), "config", None)
    if config is None:  # an older version, or a model without a transformer
        config = getattr(getattr(model[0], "auto_model", None), "config", None)
    card = getattr(model, "model_card_data", None)
    told = getattr(card, "model_id", None) or getattr(card, "base_model", None)
    loaded_from = getattr(config, "_name_or_path", None) or told
    return origin_of(loaded_from, getattr(config, "_commit_hash", None), type(model).__name__)


def _pinned(model: Any, origin: Origin, weights: Mapping[str, Any]) -> Component:
    settings: dict[str, Any] = {
        "revision": origin.revision,
        "weights": dict(weights),
        "modules": [_module(one) for one in model],
        "max_seq_length": model.max_seq_length,
        "truncate_dim": model.truncate_dim,
        "prompts": dict(model.prompts) or None,
        "default_prompt_name": model.default_prompt_name,
    }
    told = {key: value for key, value in settings.items() if value is not None}
    return embedding_model(origin.name, provider=LIBRARY, model_id=origin.name, **told)


def _module(module: Any) -> dict[str, Any]:
    """Return the name of a step, and how it pools, if it does."""
    pooling = getattr(module, "pooling_mode", None)
    mode = pooling if isinstance(pooling, str) else _mode(module)
    name = type(module).__name__
    return {"name": name} if mode is None else {"name": name, "pooling": mode}


def _mode(module: Any) -> str | None:
    mode = getattr(module, "get_pooling_mode_str", None)
    return None if mode is None else str(mode())
