"""Calls of models: what they have in common, and ``generation``.

In: what was asked for and what the provider answered. Out: ``gen_ai.*`` attributes, a ``Call`` with
prompt, sampling, seed, usage and the provider's own ids; drift where another model, another
fingerprint or another template was met than the composite declares.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, ClassVar, Final

from opentelemetry.trace import SpanKind

from mvtrace import semconv
from mvtrace.capture import plain
from mvtrace.capture.calls import Call
from mvtrace.capture.declared import (
    FINGERPRINT,
    MODEL_ID,
    SETTINGS,
    Pinned,
    digest_with,
    facts_of,
    names_same_model,
)
from mvtrace.capture.exchange import RequestExchange
from mvtrace.capture.guard import fail_open
from mvtrace.capture.observing import Part
from mvtrace.components.component import Component
from mvtrace.components.prompt import tools as pinned_tools
from mvtrace.records import CallKind, PromptUse, Usage

SERVED: Final = "served"
"""The fact of an observed model that says which one answered."""
MAX_COLLECTED: Final = 4 << 20
"""Characters of a streamed answer that are held for its digest; of a longer one there is none."""

_USAGE: Final = {
    "input_tokens": ("input_tokens", "prompt_tokens"),
    "output_tokens": ("output_tokens", "completion_tokens"),
    "cache_read_input_tokens": ("cache_read_input_tokens", "cached_tokens"),
    "cache_write_input_tokens": ("cache_write_input_tokens", "cache_creation_input_tokens"),
    "reasoning_output_tokens": ("reasoning_output_tokens", "reasoning_tokens", "thinking_tokens"),
}
"""Fields of a Usage, and what providers call them."""

_USAGE_KEYS: Final = {
    "input_tokens": semconv.GEN_AI_INPUT_TOKENS,
    "output_tokens": semconv.GEN_AI_OUTPUT_TOKENS,
    "cache_read_input_tokens": semconv.GEN_AI_CACHE_READ_TOKENS,
    "cache_write_input_tokens": semconv.GEN_AI_CACHE_WRITE_TOKENS,
    "reasoning_output_tokens": semconv.GEN_AI_REASONING_TOKENS,
}

_SAMPLING_KEYS: Final = {
    name: semconv.GEN_AI_REQUEST_PREFIX + name
    for name in (
        "temperature",
        "top_p",
        "top_k",
        "max_tokens",
        "frequency_penalty",
        "presence_penalty",
    )
}
"""Parameters for which OpenTelemetry has a key, all of them numbers."""
_SEED_KEY: Final = semconv.GEN_AI_REQUEST_PREFIX + "seed"
_NUMBERS: Final = frozenset({int, float})


class ModelCall(Call):
    """A model that is asked and one that serves."""

    span_kind = SpanKind.CLIENT
    slot_kind: ClassVar[str]
    """Kind of the component that declares the model."""

    provider: str | None = None
    model: str | None = None
    operation: str

    _served: str | None = None
    _response_id: str | None = None
    _fingerprint: str | None = None
    _finish_reason: str | None = None
    _usage: Usage | None = None

    @fail_open
    def response(  # noqa: PLR0913 (one keyword a fact of the answer)
        self,
        *,
        model: str | None = None,
        id: str | None = None,  # noqa: A002 (the provider's word)
        fingerprint: str | None = None,
        finish_reason: str | None = None,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        text: str | None = None,
        usage: object = None,
    ) -> None:
        """Say what the provider answered; of *text* only a keyed digest is kept.

        *usage* is a mapping or the provider's object; counts given by name win over it.
        """
        counter = self._exchange or self
        if model is not None:
            self._served = plain.text(model, plain.MAX_NAME, counter) or self._served
        if id is not None:
            self._response_id = plain.text(id, plain.MAX_ID, counter) or self._response_id
        if fingerprint is not None:
            told = plain.text(fingerprint, plain.MAX_NAME, counter)
            self._fingerprint = told or self._fingerprint
        if finish_reason is not None:
            told = plain.text(finish_reason, plain.MAX_NAME, counter)
            self._finish_reason = told or self._finish_reason
        if text is not None:
            self._output_digest = self.digest(text, "output")
        if usage is not None or input_tokens is not None or output_tokens is not None:
            self._usage = usage_of(usage, input_tokens, output_tokens)

    @property
    def served(self) -> str | None:
        """The model that the provider said it was; None until it said so."""
        return self._served

    def span_name(self) -> str:
        """Return operation and model, as OpenTelemetry names such spans."""
        return f"{self.operation} {self.model or self.name}"

    def start_attributes(self) -> dict[str, Any]:
        """Return what was asked for."""
        found = {
            semconv.CALL_KIND: self.kind,
            semconv.CALL_NAME: self.name,
            semconv.GEN_AI_OPERATION: self.operation,
        }
        if self.provider is not None:
            found[semconv.GEN_AI_PROVIDER] = self.provider
        if self.model is not None:
            found[semconv.GEN_AI_REQUEST_MODEL] = self.model
        return found

    def end_attributes(self) -> dict[str, Any]:
        """Return what was answered."""
        found = super().end_attributes()
        if self._served is not None:
            found[semconv.GEN_AI_RESPONSE_MODEL] = self._served
        if self._response_id is not None:
            found[semconv.GEN_AI_RESPONSE_ID] = self._response_id
        if self._fingerprint is not None:
            found[semconv.SYSTEM_FINGERPRINT] = self._fingerprint
        if self._finish_reason is not None:
            found[semconv.GEN_AI_FINISH_REASONS] = _reasons(self._finish_reason)
        if self._usage is not None:
            for name, number in vars(self._usage).items():
                if number is not None:
                    found[_USAGE_KEYS[name]] = number
        return found

    def opened(self) -> None:
        """Find the declared component, where the model's id names one."""
        if self.component is None:
            self.component = self.declared.model(self.slot_kind, self.model)

    def compare(self) -> None:
        """Compare model and fingerprint with what the component declares."""
        component, exchange = self.component, self._exchange
        if component is None or exchange is None or self.is_cached:
            return
        self.compare_with_declared(component, "digest")
        facts = facts_of(component)
        expected, served = facts.get(MODEL_ID), self._served
        if isinstance(expected, str) and served is not None:
            seen = component.digest
            if not names_same_model(expected, served):
                self.drifted(component, "model_served", expected, served)
                seen = digest_with(component, model_id=served)
            elif served != expected:
                self._compare_release(component, served)
            # Without a word of the provider nothing was observed: the component is only declared.
            exchange.add_observed(component.kind, component.name, seen, {MODEL_ID: served})
        self._compare_fingerprint(component, facts)

    def parts(self) -> Iterator[Part | Component]:
        """Yield the model: the component that was named, else what was asked for and who served."""
        if not self.is_ok or self.is_cached:
            return  # who would have served is not known
        component, served = self.component, self._served
        if component is None and self.model is None and served is None:
            return
        if component is None:
            facts = {"provider": self.provider, MODEL_ID: self.model, SERVED: served}
            seen = {key: fact for key, fact in facts.items() if fact is not None}
            yield Part(self.slot_kind, self.name, seen)
            return
        expected = facts_of(component).get(MODEL_ID)
        if served is None or not isinstance(expected, str) or names_same_model(expected, served):
            yield from super().parts()
        else:
            facts = {**facts_of(component), MODEL_ID: served}
            yield Part(component.kind, component.name, facts, at_call=False)

    def _compare_release(self, component: Pinned, served: str) -> None:
        """Note drift where a declared alias is answered by another release than at first."""
        version = self.declared.version
        if version is None or self._tracing is None:
            return
        slot = f"{component.kind}/{component.name}"
        first = self._tracing.releases.first(version, slot, served)
        if first != served:
            self.drifted(component, "release", first, served)

    def _compare_fingerprint(self, component: Pinned, facts: Mapping[str, Any]) -> None:
        expected = facts.get(SETTINGS, {}).get(FINGERPRINT)
        if isinstance(expected, str) and self._fingerprint not in {None, expected}:
            self.drifted(component, "fingerprint", expected, self._fingerprint or "")

    def fill(self, exchange: RequestExchange, duration_ns: int) -> None:
        """Put the call on the record, with what its kind adds."""
        facts = self.asked_facts(exchange)
        if self.provider is not None:
            facts["provider"] = plain.text(self.provider, plain.MAX_NAME, exchange)
        if self.model is not None:
            facts["model_requested"] = plain.text(self.model, plain.MAX_NAME, exchange)
        facts["model_served"] = self._served
        facts["response_id"] = self._response_id
        facts["fingerprint"] = self._fingerprint
        facts["finish_reason"] = self._finish_reason
        facts["usage"] = self._usage
        exchange.add_call(self.as_record(exchange, duration_ns, facts))

    def asked_facts(self, exchange: RequestExchange) -> dict[str, Any]:  # noqa: ARG002
        """Return what only this kind of call asks with: a new dict, to be added to."""
        return {}


class GenerationCall(ModelCall):
    """A model that generates: text, a message, an image."""

    kind: ClassVar[CallKind] = "generation"
    slot_kind = "model"

    prompt: Pinned | str | None = None
    prompt_version: str | None = None
    is_prompt_named = True
    """Whether the template has a name of its own; else its slot is this call's of its route."""
    sampling: Mapping[str, Any] | None = None
    seed: int | None = None
    tools: Sequence[Any] = ()

    _rendered_digest: str | None = None
    _first_chunk_ns: int | None = None
    _chunks = 0
    _texts: list[str] | None = None
    _collected = 0

    @fail_open
    def rendered(self, text: object) -> None:
        """Give the prompt as it goes to the model (text or messages): its keyed digest is kept."""
        self._rendered_digest = self.digest(text, "prompt")

    @fail_open
    def chunk(self, text: str | None = None) -> None:
        """Note a piece of a streamed answer; *text* goes into the digest of the whole."""
        if not self._is_open:
            return
        self._chunks += 1
        if self._first_chunk_ns is None:
            self._first_chunk_ns = time.perf_counter_ns() - self._clock_start
        if text is not None:
            self._collect(text)

    def _collect(self, text: str) -> None:
        if self._texts is None:
            self._texts = []
        self._collected += len(text)
        if self._collected <= MAX_COLLECTED:
            self._texts.append(text)
        else:
            self._texts.clear()

    def returned(self, result: object) -> None:
        """Take the result of a decorated function as the answer, if it is text."""
        if isinstance(result, str) and self._output_digest is None:
            self.response(text=result)

    def yielded(self, item: object) -> None:
        """Take an item of a decorated generator as a chunk."""
        self.chunk(item if isinstance(item, str) else None)

    def opened(self) -> None:
        """Take the seed out of the sampling parameters, where it lies there."""
        super().opened()
        if self.sampling is not None and self.seed is None and "seed" in self.sampling:
            self.seed = self.sampling["seed"]
            self.sampling = {key: item for key, item in self.sampling.items() if key != "seed"}

    def start_attributes(self) -> dict[str, Any]:
        """Return model, parameters, seed and template."""
        found = super().start_attributes()
        if self.sampling:
            for key, value in self.sampling.items():
                if key in _SAMPLING_KEYS and type(value) in _NUMBERS:
                    found[_SAMPLING_KEYS[key]] = value
        return found

    def end_attributes(self) -> dict[str, Any]:
        """Return what was rendered and what was answered."""
        found = super().end_attributes()
        if type(self.seed) is int:
            found[_SEED_KEY] = self.seed
        if self._rendered_digest is not None:
            found[semconv.PROMPT_RENDERED_DIGEST] = self._rendered_digest
        if self.prompt is not None:
            self._add_prompt_attributes(found, self.prompt)
        if self._first_chunk_ns is not None:
            found[semconv.GEN_AI_TIME_TO_FIRST_CHUNK] = self._first_chunk_ns / 1e9
            found[semconv.RESPONSE_CHUNKS] = self._chunks
        return found

    def _add_prompt_attributes(self, found: dict[str, Any], prompt: Pinned | str) -> None:
        if isinstance(prompt, str):
            found[semconv.GEN_AI_PROMPT_NAME] = prompt
        else:
            found[semconv.GEN_AI_PROMPT_NAME] = prompt.name
            found[semconv.PROMPT_TEMPLATE_DIGEST] = prompt.digest
        if self.prompt_version is not None:
            found[semconv.GEN_AI_PROMPT_VERSION] = self.prompt_version

    def compare(self) -> None:
        """Compare the template too, and finish the digest of a streamed answer."""
        if self._texts and self._output_digest is None:
            self._output_digest = self.digest("".join(self._texts), "output")
        elif self._collected > MAX_COLLECTED:
            self.counter.truncated += 1
        self._texts = None
        super().compare()
        if self.prompt is not None and not isinstance(self.prompt, str):
            self.meet(self.prompt, "template")

    def parts(self) -> Iterator[Part | Component]:
        """Yield template, tools and sampling too."""
        yield from super().parts()
        if isinstance(self.prompt, Component):
            is_named = self.is_prompt_named
            yield self.prompt if is_named else Part("prompt", self.prompt.name, self.prompt)
        elif self.prompt is not None and self.prompt_version is not None:
            facts = {"registered_as": str(self.prompt), "version": str(self.prompt_version)}
            yield Part("prompt", str(self.prompt), facts, at_call=False)
        if self.tools:
            yield Part("tools", self.name, pinned_tools(self.name, self.tools))
        if self.sampling:
            yield Part("sampling", self.name, {"parameters": dict(self.sampling)})

    def asked_facts(self, exchange: RequestExchange) -> dict[str, Any]:
        """Return prompt, sampling, seed and the time to the first chunk."""
        found: dict[str, Any] = {}
        if self.prompt is not None or self._rendered_digest is not None:
            found["prompt"] = self._prompt_use(exchange)
        if self.sampling is not None:
            found["sampling"] = plain.facts(self.sampling, exchange)
        if self.seed is not None:
            found["seed"] = int(self.seed)
        if self._first_chunk_ns is not None:
            found["time_to_first_chunk_ns"] = self._first_chunk_ns
        return found

    def _prompt_use(self, exchange: RequestExchange) -> PromptUse:
        prompt = self.prompt
        is_named = isinstance(prompt, str)
        return PromptUse(
            name=plain.text(prompt, plain.MAX_NAME, exchange)
            if is_named
            else getattr(prompt, "name", None),
            template_digest=None if is_named else getattr(prompt, "digest", None),
            rendered_digest=self._rendered_digest,
            version=plain.optional_text(self.prompt_version, plain.MAX_NAME, exchange),
        )


def generation(  # noqa: PLR0913 (one keyword a fact of the call)
    name: str,
    *,
    model: str | None = None,
    provider: str | None = None,
    prompt: Pinned | str | None = None,
    prompt_version: str | None = None,
    sampling: Mapping[str, Any] | None = None,
    seed: int | None = None,
    tools: Sequence[Any] = (),
    component: Pinned | None = None,
    operation: str = "chat",
) -> GenerationCall:
    """Return a call of a generating model, for ``with``, ``async with`` or as a decorator.

    *prompt* is the component whose template is used, or a name with *prompt_version*; *component*
    is the model's own. Without it a declared model with this *model* id is taken. *tools* are the
    definitions that the model is given.
    """
    call = GenerationCall(name, component)
    call.model = model
    call.provider = provider
    call.prompt = prompt
    call.prompt_version = prompt_version
    call.sampling = sampling
    call.seed = seed
    call.tools = tools
    call.operation = operation
    return call


def usage_of(usage: object, input_tokens: int | None, output_tokens: int | None) -> Usage:
    """Return the token counts of a provider's *usage*, in our words."""
    found: dict[str, int] = {}
    if usage is not None:
        told = usage.get if isinstance(usage, Mapping) else partial(getattr, usage)
        for field, names in _USAGE.items():
            values = (told(name, None) for name in names)
            number = next((int(value) for value in values if value is not None), None)
            if number is not None:
                found[field] = number
    if input_tokens is not None:
        found["input_tokens"] = int(input_tokens)
    if output_tokens is not None:
        found["output_tokens"] = int(output_tokens)
    return Usage.holding(found)


@lru_cache(maxsize=64)
def _reasons(finish_reason: str) -> tuple[str, ...]:
    """Return the list of one that OpenTelemetry wants: providers know a handful of them."""
    return (finish_reason,)
