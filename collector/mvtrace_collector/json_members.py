"""Members of JSON as SQL: one reading of each object by the engine, whatever is asked of it.

In: keys of attributes whose value is JSON, and which members are asked for: names joined by dots,
``*`` for each element of an array, nothing for the value itself. Out: SQL of nullable texts.
Numbers and truth values are texts here as JSON writes them, so that nothing is rounded on the way.

The engine would fill named members from an array by position, a word of a prompt into a name of a
model; so what is read as an object has to begin as one, at every level.

The statement that the SQL stands in has ``call_texts``, ``call_integers`` and ``call_values``: Maps
of a span's texts and integers, and of its arrays and maps as JSON, all without content, which is
looked up in the stage's arrays; where a producer took it out, in what it left instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from mvtrace.content import is_content
from mvtrace.semconv import CONTENT_FACTS
from mvtrace_collector.statements import quoted

_EACH: Final = "*"
_OBJECT: Final = "JSONExtract(if(startsWith(trimLeft(%), '{'), %, ''), "
_ELEMENTS: Final = "JSONExtractArrayRaw(%)"
_VALUES: Final = "JSONExtract(%, 'Array(Nullable(String))')"
"""SQL about a text, ``%``."""


class _Tree(dict[str, "_Tree"]):
    """Names of members, and what is asked of each; empty where the member itself is."""


class Members:
    """What is asked of each key, and the SQL that gets it."""

    def __init__(self, asked: Iterable[tuple[str, str]]) -> None:
        self._readings: dict[str, str] = {}
        self._found: dict[tuple[str, str], str] = {}
        trees: dict[str, _Tree] = {}
        for key, at in asked:
            tree = trees.setdefault(key, _Tree())
            if not at:
                self._found[key, ""] = f"JSONExtract({json_of(key)}, 'Nullable(String)')"
            for name in _steps(at):
                tree = tree.setdefault(name, _Tree())
        for key, tree in trees.items():
            if tree:
                self._read(key, "", tree, self._alias(json_of(key)))

    def first(self, key: str, at: str) -> str:
        """Return SQL of the member's text; of several the first that is there."""
        value = self._found[key, at]
        return f"arrayFirstOrNull(t -> t IS NOT NULL, {value})" if _EACH in at else value

    def all(self, key: str, at: str) -> str:
        """Return SQL of an array with a text for every element, null where one lacks it."""
        return self._found[key, at]

    def readings(self) -> Iterator[str]:
        """Yield the SQL that the rest refers to, each with its alias."""
        for reading, alias in self._readings.items():
            yield f"{reading} AS {alias}"

    def _read(self, key: str, path: str, tree: _Tree, text: str) -> None:
        """Read what *tree* asks of *text*: SQL of a text, or of texts below an array."""
        is_many = _EACH in path
        if names := [name for name in tree if name != _EACH]:
            type_of = ", ".join(f"`{name}` Nullable(String)" for name in names)
            members = self._alias(_applied(_OBJECT + f"'Tuple({type_of})')", text, is_many=is_many))
            for name in names:
                member = f"tupleElement({members}, {quoted(name)})"
                self._below(key, f"{path}.{name}".lstrip("."), tree[name], member)
        if _EACH in tree:
            elements = _applied(_ELEMENTS if tree[_EACH] else _VALUES, text, is_many=is_many)
            each = self._alias(f"arrayFlatten({elements})" if is_many else elements)
            self._below(key, f"{path}.{_EACH}".lstrip("."), tree[_EACH], each)

    def _below(self, key: str, path: str, tree: _Tree, value: str) -> None:
        self._found[key, path] = value
        if tree:
            each = f"arrayMap(t -> ifNull(t, ''), {value})"
            self._read(key, path, tree, each if _EACH in path else f"ifNull({value}, '')")

    def _alias(self, reading: str) -> str:
        return self._readings.setdefault(reading, f"call_json_{len(self._readings)}")


def json_of(key: str) -> str:
    """Return SQL of an attribute's JSON: the text it is, or what an array or map means."""
    name = quoted(key)
    if not is_content(key):
        return f"coalesce(call_texts[{name}], toString(call_integers[{name}]), call_values[{name}])"
    at = f"indexOf(keys, {name})"
    nested = (
        f"transform(concat(toString(kinds[{at}]), others[{at}]), nested_raws, nested_texts, '')"
    )
    instead = f"JSONExtractRaw(ifNull(call_texts[{quoted(CONTENT_FACTS)}], ''), {name})"
    return (
        f"multiIf(kinds[{at}] = 's', strings[{at}], kinds[{at}] = 'i', toString(ints[{at}]), "
        f"kinds[{at}] IN ('a', 'm'), assumeNotNull({nested}), {instead})"
    )


def _applied(read: str, text: str, *, is_many: bool) -> str:
    """Return *read* of *text*, or of each of the texts that it is."""
    if is_many:
        return f"arrayMap(t -> {read.replace('%', 't')}, {text})"
    return read.replace("%", text)


def _steps(at: str) -> list[str]:
    return at.split(".") if at else []
