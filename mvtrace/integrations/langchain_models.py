"""A run of a model by LangChain, as a generation.

In: what LangChain says of the model, its parameters, the messages and the result. Out: one
generation. Where a client beneath is observed too, it knows better and its word counts; where not,
the result's does, in whatever form the provider's package left it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from langchain_core.messages import BaseMessage, convert_to_openai_messages
from langchain_core.outputs import LLMResult

from mvtrace.capture.answer_cache import RESPONSES
from mvtrace.capture.calls import Call
from mvtrace.capture.guard import fail_open
from mvtrace.capture.model_calls import GenerationCall
from mvtrace.capture.observing import Part
from mvtrace.capture.openai_protocol import Answered, Asked, asked_in
from mvtrace.components.component import Component
from mvtrace.integrations import langchain_fallbacks as fallbacks
from mvtrace.integrations.client_call import provider_at
from mvtrace.integrations.inference import Inference
from mvtrace.integrations.langchain_prompts import template_behind
from mvtrace.integrations.openai import COMPATIBLE, PROVIDERS
from mvtrace.integrations.openai import LIBRARY as OPENAI

_FINISHED: Final = ("finish_reason", "stop_reason", "done_reason")
_MODELS: Final = ("model_name", "model", "model_id")
_OWN_ID: Final = ("lc_run-", "run-")
"""How the ids begin that LangChain gives itself."""


class TemplatedGeneration(GenerationCall):
    """A generation whose template nobody has named: its slot is that of the call."""

    def parts(self) -> Iterator[Part | Component]:
        """Yield the template under the name of this call of this route."""
        for part in super().parts():
            yield Part("prompt", self.name, part) if part is self.prompt else part


class ModelRun:
    """One run of a model."""

    def __init__(
        self,
        operation: str,
        serialized: Mapping[str, Any],
        said: Sequence[BaseMessage] | str,
        metadata: Mapping[str, Any],
        *,
        name: str,
        within: Call | None,
    ) -> None:
        self._said = said
        asked = _asked(operation, metadata)
        provider = _provider(serialized, metadata)
        own = TemplatedGeneration(name)
        own.model, own.provider, own.operation = asked.model, provider, operation
        own.sampling = dict(asked.parameters) or None
        own.seed, own.tools = asked.seed, asked.tools
        self.inference = Inference(asked, provider, own=own, within=within)
        self._attempt = fallbacks.tried(asked.model or str(serialized.get("name") or name))
        self._give_template(name)

    @fail_open
    def _give_template(self, name: str) -> None:
        call = self.inference.call
        is_open_to_it = isinstance(call, GenerationCall) and call.prompt is None
        if is_open_to_it and not isinstance(self._said, str):
            call.prompt = template_behind(name, self._said)  # type: ignore[attr-defined]

    def chunk(self) -> None:
        """Note a piece of a stream, where no client beneath counts them."""
        if not self.inference.is_taken:
            self.inference.chunk()

    def end(self, result: LLMResult) -> None:
        """End the run."""
        self._give_prompt()
        one = _first_of(result)
        message = getattr(one, "message", None)
        self.inference.ids = tuple(filter(None, [getattr(message, "id", None)]))
        self.inference.is_from_cache = _is_from_cache(message)
        self.inference.end(None if self.inference.is_taken or one is None else _answered(result))
        if self.inference.is_taken:
            RESPONSES.made(getattr(message, "id", None), self.inference.call.request_id)

    def failed(self, error: BaseException) -> None:
        """End the run by *error*; a stream that is left is no error."""
        self._give_prompt()
        fallbacks.failed(self._attempt, error)
        if isinstance(error, GeneratorExit):
            self.inference.end()
        else:
            self.inference.failed(error)

    @fail_open
    def _give_prompt(self) -> None:
        call = self.inference.call
        if self.inference.is_taken or not isinstance(call, GenerationCall):
            return
        is_text = isinstance(self._said, str)
        call.rendered(self._said if is_text else convert_to_openai_messages(self._said))


def _asked(operation: str, metadata: Mapping[str, Any]) -> Asked:
    given = metadata["invocation_params"]
    known = {
        "model": metadata.get("ls_model_name") or given.get("model") or given.get("model_name"),
        "temperature": metadata.get("ls_temperature"),
        "max_tokens": metadata.get("ls_max_tokens"),
    }
    return asked_in(operation, {**given, **{key: one for key, one in known.items() if one}})


def _provider(serialized: Mapping[str, Any], metadata: Mapping[str, Any]) -> str:
    """Return who is asked; OpenAI's own class speaks to whoever speaks the protocol."""
    told = str(metadata.get("ls_provider") or "langchain")
    base = (serialized.get("kwargs") or {}).get("openai_api_base")
    if told != OPENAI or not base:
        return told
    return provider_at(urlsplit(str(base)).hostname or "", PROVIDERS, COMPATIBLE)


def _first_of(result: LLMResult) -> Any:
    return next((one for several in result.generations for one in several), None)


def _is_from_cache(message: Any) -> bool:
    """Whether LangChain's own cache gave *message*: it says so by what it cost."""
    usage = getattr(message, "usage_metadata", None) or {}
    return usage.get("total_cost") == 0


def _answered(result: LLMResult) -> Answered:
    one = _first_of(result)
    message = getattr(one, "message", None)
    told = {**(result.llm_output or {}), **(one.generation_info or {})}
    told.update(getattr(message, "response_metadata", None) or {})
    id_ = told.get("id") or getattr(message, "id", None)
    return Answered(
        model=_first(told, _MODELS),
        id=None if id_ is None or str(id_).startswith(_OWN_ID) else str(id_),
        fingerprint=told.get("system_fingerprint"),
        finish_reason=_first(told, _FINISHED),
        usage=_usage(getattr(message, "usage_metadata", None) or {}),
        texts=[one.text] if one.text else [],
        length=len(one.text),
    )


def _first(told: Mapping[str, Any], keys: Sequence[str]) -> str | None:
    return next((str(told[key]) for key in keys if told.get(key)), None)


def _usage(told: Mapping[str, Any]) -> dict[str, int]:
    """Return LangChain's token counts in our words."""
    read, made = told.get("input_token_details") or {}, told.get("output_token_details") or {}
    found = {
        "input_tokens": told.get("input_tokens"),
        "output_tokens": told.get("output_tokens"),
        "cache_read_input_tokens": read.get("cache_read"),
        "cache_write_input_tokens": read.get("cache_creation"),
        "reasoning_output_tokens": made.get("reasoning"),
    }
    return {key: count for key, count in found.items() if type(count) is int}
