"""What a span's content says of the call and is none itself: asked model, parameters, tokens, ids.

In: a span's attributes, before content is taken out of them. Out: JSON of those members of content
that ``schemas/semconv/dialects.json`` has columns for, which the collector reads in their stead:
numbers, and texts that can be ids. Without it a dialect that keeps a call's parameters within its
content (OpenInference, MLflow, Langfuse) would be understood only where that reaches the collector.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, Final

import orjson

from mvtrace import content
from mvtrace.dialects import NAME_PATTERN, Source, mapping, sources

MAX_CHARACTERS: Final = 1 << 20
"""A longer content is not looked into."""
MAX_ELEMENTS: Final = 200
_EACH: Final = "*"
_NAME: Final = re.compile(NAME_PATTERN)


def content_facts(attributes: Mapping[str, Any], removed: Collection[str]) -> str | None:
    """Return JSON by key of what the *removed* ones of *attributes* say; None if nothing."""
    asked = [key for key in removed if key in _sources()]
    if not asked:
        return None
    operation = _operation(attributes)
    found = {}
    for key in asked:
        facts = _facts_of(attributes[key], _sources()[key], operation)
        if facts is not None:
            found[key] = facts
    return orjson.dumps(found).decode() if found else None


@cache
def _sources() -> Mapping[str, tuple[Source, ...]]:
    """Return the sources that are content, by key."""
    found: dict[str, list[Source]] = {}
    for source in (*sources(), *_document_sources()):
        if source.at is not None and content.is_content(source.key):
            found.setdefault(source.key, []).append(source)
    return {key: tuple(those) for key, those in found.items()}


def _document_sources() -> Iterator[Source]:
    for one in mapping()["documents"]:
        if "key" in one:
            for part in ("id", "score"):
                at = f"*.{one[part]}"
                yield Source(one["key"], at, operations=tuple(one.get("for", ())))


def _operation(attributes: Mapping[str, Any]) -> str | None:
    for source in _operation_sources():
        value = attributes.get(source.key)
        if not isinstance(value, str):
            continue
        if not source.words:
            return value
        word = value.strip('"').lower() if source.at == "" else value.lower()
        if (known := mapping()["words"][source.words].get(word)) is not None:
            return str(known)
    return None


@cache
def _operation_sources() -> tuple[Source, ...]:
    return tuple(map(Source.read, mapping()["columns"]["operation"]["from"]))


def _facts_of(value: Any, asked: Sequence[Source], operation: str | None) -> Any:
    parsed = _parsed(value)
    wanted = [
        member
        for source in asked
        if not source.operations or operation in source.operations
        if not source.beside or any(any(_values(parsed, at)) for at in source.beside)
        for member in (source.at or "", *source.beside)
    ]
    return _reduced(parsed, _tree(tuple(wanted))) if wanted else None


def _parsed(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if len(value) > MAX_CHARACTERS:
        return None
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return None


def _values(value: Any, at: str) -> Iterator[bool]:
    """Yield True for each member that is there."""
    name, _, rest = at.partition(".")
    if not name:
        yield value is not None
    elif name == _EACH:
        for one in value if isinstance(value, (list, tuple)) else ():
            yield from _values(one, rest)
    elif isinstance(value, Mapping):
        yield from _values(value.get(name), rest)


class _Tree(dict[str, "_Tree"]):
    """Names of members, and what is wanted of each; an empty name is the value itself."""


@lru_cache(maxsize=256)
def _tree(wanted: tuple[str, ...]) -> _Tree:
    root = _Tree()
    for at in wanted:
        tree = root
        for name in (*filter(None, at.split(".")), ""):
            tree = tree.setdefault(name, _Tree())
    return root


def _reduced(value: Any, wanted: _Tree) -> Any:
    """Return of *value* just the members *wanted*; None where it has none of them."""
    if "" in wanted and (fact := _fact(value)) is not None:
        return fact
    if isinstance(value, Mapping):
        found = {
            name: made
            for name, below in wanted.items()
            if name in value and (made := _reduced(value[name], below)) is not None
        }
        return found or None
    if isinstance(value, (list, tuple)) and _EACH in wanted:
        elements = [_reduced(one, wanted[_EACH]) for one in value[:MAX_ELEMENTS]]
        return elements if any(one is not None for one in elements) else None
    return None


def _fact(value: Any) -> Any:
    """Return *value* if it is a number, or can be an id."""
    if isinstance(value, str):
        return value if _NAME.fullmatch(value) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if math.isfinite(value) and abs(value) < 2**63 else None
