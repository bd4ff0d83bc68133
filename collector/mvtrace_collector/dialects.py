"""What instrumentors of every dialect say of a call, as columns of ``spans``: data turned into SQL.

In: ``schemas/semconv/dialects.json``, which says what its words mean, and the attribute keys that a
segment has. Out: the columns those can fill, with an expression of the engine for each. Sources
whose key the segment lacks cost nothing: they are not in the statement. Of what a sender wrote only
the numbers in indexed keys get into it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Final

from mvtrace.content import is_content
from mvtrace.dialects import NAME_PATTERN, Source, mapping, sources
from mvtrace.semconv import CONTENT_FACTS
from mvtrace_collector.json_members import Members
from mvtrace_collector.statements import listed, quoted

_NAME: Final = quoted(f"^{NAME_PATTERN}$")
_NUMBER: Final = "([0-9]|[1-9][0-9]|1[0-9][0-9])"
"""Of indexed attributes the first two hundred are read: the engine looks for each in each span."""
_OPERATION: Final = "called_operation"
_CONVERSIONS: Final = {
    "count": "toUInt64OrNull({})",
    "integer": "toInt64OrNull({})",
    "number": "if(isFinite(toFloat64OrNull({0})), toFloat64OrNull({0}), NULL)",
}
"""From text in JSON."""
_PLAIN: Final = {
    "text": "call_texts[{}]",
    "texts": "call_texts[{}]",
    "count": "accurateCastOrNull(call_integers[{}], 'UInt64')",
    "integer": "call_integers[{}]",
    "number": "call_numbers[{}]",
}
"""From an attribute that is the value itself: the Maps give null for what they lack. An expression
more costs a segment half a millisecond, however few spans it has: the engine plans each anew."""


@dataclass(frozen=True, slots=True)
class Columns:
    """What a segment's attributes fill: names of columns of ``spans``, and the SQL of each."""

    names: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    readings: tuple[str, ...] = ()
    """SQL with aliases that *values* refer to."""
    response_id: str = ""
    """The SQL of a provider's id of its answer; empty where the segment has none."""

    def put_into(self, text: str) -> str:
        """Return the statement *text* with its placeholders for columns of a call filled in."""
        for placeholder, sql in (
            ("{call_columns}", "".join(f"{name}, " for name in self.names)),
            ("{call_values}", "".join(f"{value},\n    " for value in self.values)),
            ("{call_readings}", "".join(f",\n    {reading}" for reading in self.readings)),
            ("{response_id}", self.response_id),
        ):
            text = text.replace(placeholder, sql)
        return text


NO_CALLS: Final = Columns()


@cache
def _known_keys() -> tuple[frozenset[str], re.Pattern[str]]:
    """Return the keys of all sources, and what matches those that are indexed."""
    keys = {source.key for source in sources()}
    for one in mapping()["documents"]:
        keys |= {one["key"]} if "key" in one else {one["id"], one["score"]}
    patterns = (_numbered_pattern(key) for key in keys if "*" in key)
    return frozenset(keys), re.compile("|".join(patterns))


def _numbered_pattern(key: str) -> str:
    return re.escape(key).replace(r"\*", _NUMBER)


def columns_of(attribute_keys: Collection[str]) -> Columns:
    """Return what spans with *attribute_keys* can fill."""
    keys, numbered = _known_keys()
    seen = {key for key in attribute_keys if key in keys or numbered.fullmatch(key)}
    if CONTENT_FACTS in attribute_keys:
        seen |= _content_keys()
    return _columns(frozenset(seen))


@cache
def _content_keys() -> frozenset[str]:
    """Return the sources that producers take out as content, leaving what they say of the call."""
    return frozenset(key for key in _known_keys()[0] if "*" not in key and is_content(key))


@lru_cache(maxsize=64)
def _columns(keys: frozenset[str]) -> Columns:
    return _Writer(keys).columns() if keys else NO_CALLS


class _Writer:
    """Writes the SQL for a segment whose spans have some of *keys*."""

    def __init__(self, keys: Collection[str]) -> None:
        self._keys = keys
        self._data = mapping()
        self._members = Members(self._asked())

    def columns(self) -> Columns:
        """Return the columns that have a source."""
        made = {
            name: sql
            for name, column in self._data["columns"].items()
            if (sql := self._column(column["from"], column["type"], column.get("renamed", "")))
        }
        if sampling := self._sampling():
            made["sampling"] = sampling
        if documents := self._documents():
            made["documents"] = documents
        operation = made.get("operation", "NULL")
        if "operation" in made:
            made["operation"] = _OPERATION
        return Columns(
            tuple(made),
            tuple(made.values()),
            (*self._members.readings(), f"{operation} AS {_OPERATION}"),
            made.get("response_id", ""),
        )

    def _asked(self) -> Iterator[tuple[str, str]]:
        """Yield each member of JSON that is asked for, with the key it is in."""
        for source in sources():
            if source.at is not None and source.key in self._keys:
                yield from ((source.key, at) for at in (source.at, *source.beside))
        for one in self._data["documents"]:
            if one.get("key") in self._keys:
                yield from ((one["key"], f"*.{one[part]}") for part in ("id", "score"))

    def _column(self, sources: Sequence[Any], kind: str, renamed: str = "") -> str:
        found = [sql for one in sources if (sql := self._value(Source.read(one), kind))]
        if not found:
            return ""
        value = found[0] if len(found) == 1 else f"coalesce({', '.join(found)})"
        if renamed:
            value = f"transform(lower({value}), {self._table(renamed)}, {value})"
        return value

    def _value(self, source: Source, kind: str) -> str:
        """Return the SQL of a nullable value, or nothing where no span has the key."""
        if "*" in source.key:
            return self._numbered(source.key)
        if source.key not in self._keys:
            return ""
        if source.at is not None:
            value = self._member(source, kind)
        elif is_content(source.key):
            value = _named(_text(quoted(source.key)))
        else:
            value = _PLAIN[kind].format(quoted(source.key))
        if source.words:
            value = f"nullIf(transform(lower({value}), {self._table(source.words)}, ''), '')"
        return _if_operation(source.operations, value)

    def _member(self, source: Source, kind: str) -> str:
        at = source.at or ""
        guarded = is_content(source.key)
        if kind == "texts" and "*" in at:
            value = _joined(self._members.all(source.key, at), guarded=guarded)
        else:
            value = self._members.first(source.key, at)
            if kind in _CONVERSIONS:
                value = _CONVERSIONS[kind].format(value)
            else:
                value = _named(value) if guarded else _scalar(value)
        if source.beside:
            some = (f"{self._members.first(source.key, at)} IS NOT NULL" for at in source.beside)
            value = f"if({' OR '.join(some)}, {value}, NULL)"
        return value

    def _numbered(self, key: str) -> str:
        found = self._numbered_keys(key)
        if not found:
            return ""
        texts = f"arrayMap(k -> {_text('k')}, {listed(found)})"
        return _joined(texts, guarded=is_content(found[0]))

    def _numbered_keys(self, key: str) -> list[str]:
        pattern = re.compile(_numbered_pattern(key))
        found = ((one, pattern.fullmatch(one)) for one in self._keys)
        numbered = sorted((int(hit.group(1)), one) for one, hit in found if hit)
        return [one for _, one in numbered]

    def _table(self, name: str) -> str:
        words = self._data["words"][name]
        return f"{listed(words)}, {listed(words.values())}"

    def _sampling(self) -> str:
        found = {
            name: value
            for name, sources in self._data["sampling"].items()
            if (value := self._column(sources, "number"))
        }
        if not found:
            return ""
        return (
            f"CAST(arrayFilter(p -> isFinite(p.2), arrayZip({listed(found)}, "
            f"[{', '.join(found.values())}])), 'Map(LowCardinality(String), Float64)')"
        )

    def _documents(self) -> str:
        """Return the SQL of an array of documents: the first source that has any."""
        made = [sql for one in self._data["documents"] if (sql := self._document_source(one))]
        value = "[]"
        for one in reversed(made):
            value = f"if(notEmpty({one}), {one}, {value})" if value != "[]" else one
        return value if made else ""

    def _document_source(self, one: Mapping[str, Any]) -> str:
        if "key" in one:
            return self._documents_in_json(one)
        ids = self._numbered_keys(one["id"])
        if not ids:
            return ""
        before, after = one["score"].split("*")
        start = len(one["id"].partition("*")[0])
        end = len(one["id"].rpartition("*")[2])
        scores = [f"{before}{key[start:-end]}{after}" for key in ids]
        return (
            f"arrayFilter(d -> d.1 != '', arrayMap((k, s) -> (ifNull(call_texts[k], ''), "
            f"call_numbers[s]), {listed(ids)}, {listed(scores)}))"
        )

    def _documents_in_json(self, one: Mapping[str, Any]) -> str:
        if one["key"] not in self._keys:
            return ""
        ids, scores = (self._members.all(one["key"], f"*.{one[part]}") for part in ("id", "score"))
        made = (
            f"arrayFilter(d -> match(d.1, {_NAME}), arrayMap((d, s) -> "
            f"(ifNull(d, ''), {_CONVERSIONS['number'].format('s')}), {ids}, {scores}))"
        )
        operations = tuple(one.get("for", ()))
        return f"if({_is_one_of(operations)}, {made}, [])" if operations else made


def _text(key: str) -> str:
    """Return SQL of a text in the stage's arrays; *key* is SQL."""
    at = f"indexOf(keys, {key})"
    return f"if(kinds[{at}] = 's', strings[{at}], NULL)"


def _named(text: str) -> str:
    return f"if(match({text}, {_NAME}), {text}, NULL)"


def _scalar(text: str) -> str:
    """Return SQL of *text* out of JSON where that is neither an array nor an object."""
    return f"if(match({text}, '^[^[{{]'), {text}, NULL)"


def _joined(texts: str, *, guarded: bool) -> str:
    if guarded:
        texts = f"arrayFilter(t -> match(t, {_NAME}), {texts})"
    return f"nullIf(arrayStringConcat({texts}, ', '), '')"


def _is_one_of(operations: Iterable[str]) -> str:
    return f"has({listed(operations)}, ifNull({_OPERATION}, ''))"


def _if_operation(operations: Sequence[str], value: str) -> str:
    return f"if({_is_one_of(operations)}, {value}, NULL)" if operations else value
