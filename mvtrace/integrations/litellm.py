"""LiteLLM: its functions, and its Router with every deployment it could have taken.

In: ``completion``, ``embedding`` and their asynchronous forms, of the module and of ``Router``.
Out: a generation or an embedding an attempt, whatever client LiteLLM uses beneath; around them, for
a Router, the decision: policy in force, all deployments of the group, which failed and why, which
are in cooldown, which answered. Of an error only its kind and status are told: its words hold
content.

Left out: decisions taken after a stream has begun, and cooldowns that lie in Redis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakKeyDictionary

from mvtrace.capture.guard import fail_open
from mvtrace.capture.openai_protocol import CHAT, EMBEDDINGS
from mvtrace.capture.step_calls import routing
from mvtrace.integrations.client_call import plain_answer
from mvtrace.integrations.hooks import Begin, Hook
from mvtrace.integrations.inference import Inference, inference_of, is_told

LIBRARY: Final = "litellm"
_FUNCTIONS: Final = {
    "completion": (CHAT, "messages"),
    "acompletion": (CHAT, "messages"),
    "embedding": (EMBEDDINGS, "input"),
    "aembedding": (EMBEDDINGS, "input"),
}
"""What each does, and what its second argument is called."""
_SETTINGS: Final = (
    "routing_strategy",
    "num_retries",
    "allowed_fails",
    "cooldown_time",
    "fallbacks",
    "context_window_fallbacks",
    "content_policy_fallbacks",
    "default_fallbacks",
)
_WEIGHTS: Final = ("model", "weight", "order", "rpm", "tpm")
"""What of a deployment decides: no key, no address."""
NOT_TRIED: Final = "not tried"
ANSWERED: Final = "answered"

_streams: Final[WeakKeyDictionary[Any, Inference]] = WeakKeyDictionary()


def install() -> tuple[Hook, ...]:
    """Wrap functions, Router and streams."""
    import litellm  # noqa: PLC0415 (only where it is installed)

    hooks = []
    for name, (operation, content) in _FUNCTIONS.items():
        hooks.append(Hook(litellm, name, _function(operation, content)))
        hooks.append(Hook(litellm.Router, name, begin_routing))
    stream = litellm.CustomStreamWrapper
    return (*hooks, Hook(stream, "__next__", begin_chunk), Hook(stream, "__anext__", begin_chunk))


# Functions: one attempt each


class Attempt:
    """One call of one model."""

    def __init__(self, inference: Inference, tried: Tried | None) -> None:
        self._inference = inference
        self._tried = tried

    @fail_open
    def enter(self) -> None:
        """Let no client beneath record the call again."""
        is_told.set(True)
        self._inference.enter()

    @fail_open
    def leave(self) -> None:
        """End that."""
        is_told.set(False)
        self._inference.leave()

    @fail_open
    def answered(self, result: Any) -> None:
        """Take an answer, or a stream of it."""
        hidden = getattr(result, "_hidden_params", None) or {}
        self._inference.is_from_cache = hidden.get("cache_hit") is True
        if hasattr(result, "__next__") or hasattr(result, "__anext__"):
            _streams[result] = self._inference
        else:
            self._inference.told(plain_answer(self._inference.operation, result))

    @fail_open
    def failed(self, error: BaseException) -> None:
        """Note why the attempt failed."""
        if self._tried is not None:
            self._tried.error = kind_of(error)
        self._inference.failed(error)


def _function(operation: str, content: str) -> Begin:
    def begin(*args: Any, **kwargs: Any) -> Attempt | None:
        given = {**dict(zip(("model", content), args, strict=False)), **kwargs}
        model = str(given.get("model") or "")
        provider = given.get("custom_llm_provider") or model.rpartition("/")[0] or LIBRARY
        inference = inference_of(operation, given, str(provider))
        if inference is None:
            return None
        decision = _deciding.get()
        return Attempt(inference, None if decision is None else decision.tries(given))

    return begin


def kind_of(error: BaseException) -> str:
    """Return the class of *error* and its HTTP status."""
    status = getattr(error, "status_code", None)
    name = type(error).__name__
    return name if status is None else f"{name} {status}"


# Streams: pieces as LiteLLM hands them out


class Piece:
    """One step of a stream."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference

    def enter(self) -> None:
        """Nothing is current while a stream is read."""

    def leave(self) -> None:
        """Nothing to end."""

    @fail_open
    def answered(self, result: Any) -> None:
        """Take the piece."""
        self._inference.piece(plain_answer(CHAT, result))

    @fail_open
    def failed(self, error: BaseException) -> None:
        """End: by the end of the stream, or by an error."""
        if isinstance(error, StopIteration | StopAsyncIteration):
            self._inference.end_of_pieces()
        else:
            self._inference.failed(error)


def begin_chunk(stream: Any) -> Piece | None:
    """Return the step of a stream that is known."""
    inference = _streams.get(stream)
    return None if inference is None else Piece(inference)


# The Router: the decision around the attempts


@dataclass(slots=True)
class Tried:
    """A deployment that was asked."""

    id: str | None
    model: str
    error: str | None = None


class Decision:
    """One request to a Router."""

    def __init__(self, router: Any, group: str) -> None:
        self._router = router
        self._deployments = _deployments(router, group)
        self._resting = _cooldowns(router, self._deployments)
        self._tried: list[Tried] = []
        self._call = routing(group, policy=_policy(router, self._deployments))
        self._call.open()

    def tries(self, given: Mapping[str, Any]) -> Tried:
        """Note an attempt."""
        info = given.get("model_info") or {}
        self._tried.append(Tried(info.get("id"), str(given.get("model"))))
        return self._tried[-1]

    @fail_open
    def enter(self) -> None:
        """Let attempts find the decision."""
        _deciding.set(self)
        self._call.attach()

    @fail_open
    def leave(self) -> None:
        """End that."""
        _deciding.set(None)
        self._call.detach()

    @fail_open
    def answered(self, _result: Any) -> None:
        """Close the decision: the last attempt answered."""
        self._tell()
        self._call.close()

    @fail_open
    def failed(self, error: BaseException) -> None:
        """Close the decision: nobody answered."""
        self._tell()
        self._call.close(error)

    @fail_open
    def _tell(self) -> None:
        names = _names(self._deployments)
        resting = _cooldowns(self._router, self._deployments)
        errors: dict[str, str] = {}
        chosen = None
        for one in self._tried:
            name = names.setdefault(one.id or one.model, one.model)  # new: of another group
            if one.error is None:
                chosen = name
            else:
                errors[name] = one.error
                self._call.fallback(name)
        for id_, name in names.items():
            if name in errors:
                rests = f"; now in cooldown: {resting[id_]}" if id_ in resting else ""
                self._call.candidate(name, reason=f"failed: {errors[name]}{rests}")
            else:
                self._call.candidate(name, reason=self._untried(id_))
        if chosen is not None:
            self._call.candidate(chosen, reason=ANSWERED)
            self._call.choose(chosen, reason=ANSWERED)

    def _untried(self, id_: str) -> str:
        return f"in cooldown: {self._resting[id_]}" if id_ in self._resting else NOT_TRIED


_deciding: Final[ContextVar[Decision | None]] = ContextVar("mvtrace_deciding", default=None)


def begin_routing(router: Any, *args: Any, **kwargs: Any) -> Decision | None:
    """Return the decision that a call of a Router is; None within another."""
    if _deciding.get() is not None:
        return None
    return Decision(router, str(kwargs.get("model") or args[0]))


def _deployments(router: Any, group: str) -> Sequence[Mapping[str, Any]]:
    return router.get_model_list(model_name=group) or ()


def _names(deployments: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return a name for each id: the model, with the id where several have it."""
    found: dict[str, str] = {}
    models = [str(one["litellm_params"]["model"]) for one in deployments]
    for one, model in zip(deployments, models, strict=True):
        id_ = str(one["model_info"]["id"])
        found[id_] = model if models.count(model) == 1 else f"{model} {id_[:12]}"
    return found


def _policy(router: Any, deployments: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what decides, as plain values."""
    found = {name: getattr(router, name, None) for name in _SETTINGS}
    weighed = [
        {key: one["litellm_params"][key] for key in _WEIGHTS if key in one["litellm_params"]}
        for one in deployments
    ]
    found["deployments"] = sorted(weighed, key=repr)
    return {key: _simple(value) for key, value in found.items() if value is not None}


def _simple(value: object) -> object:
    """Return *value* as JSON can hold it."""
    if isinstance(value, Mapping):
        return {str(key): _simple(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_simple(one) for one in value]
    return value if isinstance(value, str | int | float | bool) else str(value)


def _cooldowns(router: Any, deployments: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the deployments that rest, and the status that sent them there."""
    if getattr(router.cache, "redis_cache", None) is not None:
        return {}  # asking it would wait for the network
    ids = [str(one["model_info"]["id"]) for one in deployments]
    resting = router.cooldown_cache.get_active_cooldowns(ids, None)
    return {id_: f"{why['status_code']} for {why['cooldown_time']:g} s" for id_, why in resting}
