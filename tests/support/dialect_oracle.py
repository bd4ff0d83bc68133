"""What a span's attributes say of a call, read from the data in slow, readable Python.

In: a plain dictionary of attributes. Out: the columns of a call that they fill. Written apart from the
SQL, after what ``schemas/semconv/dialects.json`` says of itself.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from mvtrace.content import is_content
from mvtrace.resources import schema_root

DATA = json.loads((schema_root() / "semconv" / "dialects.json").read_text())
SCALAR = re.compile(r"[^\[{].*", re.DOTALL)
NUMBERED = 200
"""Of indexed attributes, so many are read."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+#-]{0,127}")


def columns(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns that are filled, with their values."""
    found: dict[str, Any] = {}
    for name, column in DATA["columns"].items():
        value = _first(column["from"], column["type"], attributes, found.get("operation"))
        if "renamed" in column and value is not None:
            value = DATA["words"][column["renamed"]].get(_lower(value), value)
        found[name] = value
    operation = found["operation"]
    found["sampling"] = {
        name: value
        for name, sources in DATA["sampling"].items()
        if (value := _first(sources, "number", attributes, operation)) is not None
    }
    found["documents"] = next(
        filter(None, (_documents(one, attributes, operation) for one in DATA["documents"])), []
    )
    return {name: value for name, value in found.items() if value not in (None, {}, [])}


def keys_of_the_data() -> list[str]:
    """Return every key that is a source, indexed ones with a number."""
    sources = [one for column in DATA["columns"].values() for one in column["from"]]
    sources += [one for those in DATA["sampling"].values() for one in those]
    keys = {one if isinstance(one, str) else one["key"] for one in sources}
    for one in DATA["documents"]:
        keys |= {one["key"]} if "key" in one else {one["id"], one["score"]}
    return sorted(key.replace("*", str(number)) for key in keys for number in range(2))


def _first(sources: Iterable[Any], kind: str, attributes: Mapping[str, Any], operation: Any) -> Any:
    for one in sources:
        source = {"key": one} if isinstance(one, str) else one
        if "for" in source and operation not in source["for"]:
            continue
        value = _value(source, kind, attributes)
        if value is not None and "words" in source:
            value = DATA["words"][source["words"]].get(_lower(value))
        if value is not None:
            return value
    return None


def _value(source: Mapping[str, Any], kind: str, attributes: Mapping[str, Any]) -> Any:
    key = source["key"]
    if "*" in key:
        texts = [text for text in _numbered(key, attributes) if isinstance(text, str)]
        return ", ".join(texts) or None
    if key not in attributes:
        return None
    if "at" not in source:
        return _plain(attributes[key], kind, is_guarded=is_content(key))
    members = list(_members(_parsed(attributes[key]), source["at"]))
    if "with" in source and not any(
        list(_members(_parsed(attributes[key]), at)) for at in source["with"]
    ):
        return None
    if kind == "texts" and "*" in source["at"]:
        return ", ".join(_named(members) if is_content(key) else members) or None
    return _from_text(members[0], kind, is_guarded=is_content(key)) if members else None


def _plain(value: Any, kind: str, *, is_guarded: bool) -> Any:
    if kind in ("text", "texts"):
        is_text = isinstance(value, str) and (not is_guarded or NAME.fullmatch(value))
        return value if is_text else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if kind == "number":
        return float(value) if math.isfinite(value) else None
    is_integer = isinstance(value, int) and (kind == "integer" or value >= 0)
    return value if is_integer else None


def _from_text(text: str, kind: str, *, is_guarded: bool) -> Any:
    if kind in ("text", "texts"):
        return text if (NAME if is_guarded else SCALAR).fullmatch(text) else None
    try:
        number = float(text) if kind == "number" else int(text)
    except ValueError:
        return None
    if kind == "number":
        return number if math.isfinite(number) else None
    is_in_range = 0 <= number < 2**64 if kind == "count" else -(2**63) <= number < 2**63
    return number if is_in_range else None


def _documents(one: Mapping[str, Any], attributes: Mapping[str, Any], operation: Any) -> Any:
    if "key" not in one:
        return [
            (name, _plain(attributes.get(_same_number(one, key)), "number", is_guarded=False))
            for key, name in _numbered_items(one["id"], attributes)
            if isinstance(name, str) and name
        ]
    if one["key"] not in attributes or ("for" in one and operation not in one["for"]):
        return []
    items = _parsed(attributes[one["key"]])
    found = []
    for item in items if isinstance(items, list) else []:
        names = list(_members(item, one["id"]))
        scores = list(_members(item, one["score"]))
        if _named(names):
            score = _from_text(scores[0], "number", is_guarded=False) if scores else None
            found.append((names[0], score))
    return found


def _same_number(one: Mapping[str, str], key: str) -> str:
    before, after = one["id"].split("*")
    return one["score"].replace("*", key.removeprefix(before).removesuffix(after))


def _named(texts: Iterable[str]) -> list[str]:
    return [text for text in texts if NAME.fullmatch(text)]


def _numbered(key: str, attributes: Mapping[str, Any]) -> list[Any]:
    return [value for _, value in _numbered_items(key, attributes)]


def _numbered_items(key: str, attributes: Mapping[str, Any]) -> list[tuple[str, Any]]:
    pattern = re.compile(re.escape(key).replace(r"\*", "(0|[1-9][0-9]*)"))
    found = [(pattern.fullmatch(one), one) for one in attributes]
    hits = sorted((int(hit.group(1)), one) for hit, one in found if hit)
    return [(one, attributes[one]) for number, one in hits if number < NUMBERED]


def _parsed(value: Any) -> Any:
    if isinstance(value, bool | float):
        return None
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return None


def _members(value: Any, at: str) -> Iterable[str]:
    """Yield the texts of the members that are there: what is no text as JSON writes it."""
    if at:
        name, _, rest = at.partition(".")
        if name == "*":
            inner = value if isinstance(value, list) else []
        else:
            inner = [value[name]] if isinstance(value, dict) and name in value else []
            inner = [_parsed(one) for one in inner] if rest else inner
        for one in inner:
            yield from _members(one, rest)
    elif isinstance(value, str):
        yield value
    elif value is not None:
        yield json.dumps(value, separators=(",", ":"))


def _lower(text: str) -> str:
    return "".join(letter.lower() if letter.isascii() else letter for letter in text)
