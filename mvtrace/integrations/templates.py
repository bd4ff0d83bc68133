"""Prompt templates as libraries use them: what was resolved, what was rendered, for which call.

In: a template's text as it was resolved, children included, and what was rendered from it. Out: a
prompt component that the request met, drift where another text is declared, and, for a call of a
model within the same request, the template its prompt was rendered from. A registry's own version
number is told, but names nothing: one number may resolve to different texts.
"""

from __future__ import annotations

import dataclasses
import weakref
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from mvtrace.capture.context import current_exchange
from mvtrace.capture.exchange import RequestExchange
from mvtrace.capture.guard import fail_open
from mvtrace.capture.observing import Part
from mvtrace.components.component import MAX_NAME_LENGTH, Component
from mvtrace.components.prompt import prompt
from mvtrace.digest import canonical_bytes

MAX_RENDERED: Final = 32
"""Renderings of one request that are looked for in what its models are given."""
MAX_TEXT: Final = 1 << 18
"""Characters of a rendering; a longer one is not looked for, nor is a longer template kept."""
MIN_CONTAINED: Final = 32
"""A shorter one must be the whole of a message, not a part of it."""


class Template(NamedTuple):
    """A template with where it comes from."""

    component: Component
    source: str
    """The library or registry."""
    version: str | None = None
    """The registry's own."""
    is_named: bool = True
    """Whether somebody gave the component its name: else it is that of a place in the code."""


def template_of(
    name: str,
    resolved: str | Sequence[Any] | Mapping[str, Any],
    source: str,
    version: object,
    *,
    is_text_kept: bool = True,
) -> Template:
    """Return the template in the slot *name* whose text, or messages, *resolved* is.

    Without *is_text_kept* its digest is told and the text stays where it is: what an application
    makes anew for each request may hold what somebody said.

    Raises:
        CanonicalFormError: *resolved* is neither text nor what JSON holds.

    """
    text = resolved if isinstance(resolved, str) else canonical_bytes(resolved).decode()
    make = _kept if len(text) <= MAX_TEXT else prompt
    component = make(name[:MAX_NAME_LENGTH], text)
    if not is_text_kept:
        component = dataclasses.replace(component, contents=())
    return Template(component, source, None if version is None else str(version))


@lru_cache(maxsize=256)
def _kept(name: str, text: str) -> Component:
    return prompt(name, text)


@fail_open
def met(template: Template) -> None:
    """Note that the request in progress got *template*."""
    exchange = current_exchange()
    if not isinstance(exchange, RequestExchange):
        return
    component = template.component
    facts = {"source": template.source}
    if template.version is not None:
        facts["version"] = template.version
    exchange.add_observed(component.kind, component.name, component.digest, facts)
    declared = exchange.declared.component(component.kind, component.name)
    if declared is not None and declared.digest != component.digest:
        expected, observed = declared.digest, component.digest
        exchange.add_drift(declared, "template", expected=expected, observed=observed, span_id=None)
    if exchange.system is not None:
        is_named = template.is_named
        exchange.parts.append(component if is_named else Part("prompt", component.name, component))


@fail_open
def rendered(template: Template, result: object) -> None:
    """Note that *result*, text or messages, was rendered from *template*."""
    met(template)
    exchange = current_exchange()
    texts = tuple(texts_in(result))
    if isinstance(exchange, RequestExchange) and texts and sum(map(len, texts)) <= MAX_TEXT:
        _rendered.setdefault(exchange, deque(maxlen=MAX_RENDERED)).append((template, texts))


@fail_open
def rendered_into(content: object) -> Template | None:
    """Return the template that *content*, which a model is given, was rendered from."""
    exchange = current_exchange()
    known = _rendered.get(exchange) if isinstance(exchange, RequestExchange) else None
    if not known:
        return None
    given = tuple(texts_in(content))
    for template, texts in reversed(known):
        if all(_is_among(text, given) for text in texts):
            return template
    return None


_rendered: Final[
    weakref.WeakKeyDictionary[RequestExchange, deque[tuple[Template, tuple[str, ...]]]]
] = weakref.WeakKeyDictionary()


def _is_among(text: str, given: Sequence[str]) -> bool:
    return text in given or (len(text) >= MIN_CONTAINED and any(text in one for one in given))


def texts_in(content: object) -> Iterator[str]:
    """Yield the texts of a prompt: of messages, their parts, a system's instruction."""
    if isinstance(content, str):
        if content:
            yield content
    elif isinstance(content, Mapping):
        for key in ("system", "content", "text", "messages", "input"):
            if key in content:
                yield from texts_in(content[key])
    elif isinstance(content, Sequence) and not isinstance(content, bytes | bytearray):
        for one in content:
            yield from texts_in(one)


class KnownTemplates:
    """Templates by the object of a library that holds them; objects need not be hashable."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[Any], Template]] = {}

    def add(self, holder: object, template: Template) -> None:
        """Remember that *holder* is *template*, as long as it lives."""
        key = id(holder)
        self._known[key] = weakref.ref(holder, lambda _: self._known.pop(key, None)), template

    def get(self, holder: object) -> Template | None:
        """Return what *holder* is known to be."""
        known = self._known.get(id(holder))
        return known[1] if known is not None and known[0]() is holder else None
