"""Which template a prompt was rendered from, as LangChain's template objects tell.

In: the serialized form of a template, and the messages it was rendered to. Out: for the messages
that a model is given, the component of the template they begin with. Of a template counts what it
says: its texts, in their order, with role and syntax; not the names of its fields, nor the values
that were bound to some of them.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

from mvtrace.capture.context import Exchange, current_exchange
from mvtrace.components.component import Component
from mvtrace.components.prompt import prompt
from mvtrace.digest import canonical_bytes
from mvtrace.errors import MvtraceError

MAX_TEMPLATES: Final = 256
"""Templates of a process that are remembered, so that none is digested a request."""
MAX_RENDERED: Final = 32
"""Prompts of one request among which that of a model is looked for."""
_PLAIN_TEMPLATE: Final = "PromptTemplate"
_NOT_SAID: Final = frozenset(
    {"input_variables", "optional_variables", "input_types", "output_parser", "partial_variables"}
    | {"metadata", "tags", "name", "validate_template"}
)
"""Fields of a template that say nothing to a model."""


class Template(NamedTuple):
    """What a template says."""

    text: str


class Rendered(NamedTuple):
    """A template, and what was made of it."""

    template: Template
    messages: tuple[tuple[str, Any], ...]


_known: Final[OrderedDict[int, tuple[Mapping[str, Any], Template | None]]] = OrderedDict()
"""By identity of the serialized form, which a template makes once and which is held here."""
_rendered: Final[WeakKeyDictionary[Exchange, deque[Rendered]]] = WeakKeyDictionary()


def template_of(serialized: Mapping[str, Any]) -> Template | None:
    """Return what the template *serialized* says; None where it does not tell its parts."""
    known = _known.get(id(serialized))
    if known is not None:
        return known[1]
    found = _template(serialized)
    _known[id(serialized)] = serialized, found
    if len(_known) > MAX_TEMPLATES:
        _known.popitem(last=False)
    return found


def rendered(template: Template, messages: Sequence[Any]) -> None:
    """Note that *messages* were made of *template*, for the rest of the request."""
    exchange = current_exchange()
    if exchange is not None:
        made = _rendered.setdefault(exchange, deque(maxlen=MAX_RENDERED))
        made.append(Rendered(template, _said(messages)))


def template_behind(name: str, messages: Sequence[Any]) -> Component | None:
    """Return, as the prompt *name*, the template that *messages* begin with what was made of."""
    exchange = current_exchange()
    made = None if exchange is None else _rendered.get(exchange)
    if not made:
        return None
    said = _said(messages)
    fitting = [one for one in made if one.messages and said[: len(one.messages)] == one.messages]
    if not fitting:
        return None
    longest = max(reversed(fitting), key=lambda one: len(one.messages))
    return _component(name, longest.template.text)


@lru_cache(maxsize=MAX_TEMPLATES)
def _component(name: str, text: str) -> Component | None:
    try:
        return prompt(name, text)
    except MvtraceError:
        return None


def _said(messages: Sequence[Any]) -> tuple[tuple[str, Any], ...]:
    return tuple((one.type, one.content) for one in messages)


def _template(serialized: Mapping[str, Any]) -> Template | None:
    if _class_of(serialized) == _PLAIN_TEMPLATE:
        fields = serialized["kwargs"]
        if fields.get("template_format", "f-string") == "f-string":
            return Template(fields["template"])  # as mvtrace.prompt() would have it
    plain = _plain(serialized)
    return None if plain is None else Template(canonical_bytes(plain).decode())


def _plain(value: Any) -> Any:
    """Return *value* with its classes named and what says nothing left out; None if it is cut."""
    if isinstance(value, Mapping):
        if value.get("lc") is not None:
            return _plain_object(value)
        return {str(key): _plain(one) for key, one in value.items() if key not in _NOT_SAID}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value if isinstance(value, str | int | float | bool | None) else repr(type(value))


def _plain_object(value: Mapping[str, Any]) -> Any:
    if value.get("type") != "constructor":
        return None
    return {"class": _class_of(value), **_plain(value.get("kwargs") or {})}


def _class_of(serialized: Mapping[str, Any]) -> str:
    """Return the name of the class that *serialized* was; empty where it does not tell."""
    is_told = serialized.get("type") == "constructor"
    return str((serialized.get("id") or [""])[-1]) if is_told else ""
