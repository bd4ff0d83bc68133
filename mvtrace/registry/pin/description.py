"""``mvtrace.toml``: what a system is made of, in a file that people write.

In: the text of the file. Out: a Description with one Part a component, each key of which is known
and of the right type; or a SystemFileError that names file, table and key. Nothing is looked up
here: paths, URIs and Python objects are as they are written.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from mvtrace.components.component import KINDS
from mvtrace.registry.errors import SystemFileError

DEFAULT_FILE: Final = "mvtrace.toml"
MAX_BYTES: Final = 1 << 20
MAX_DEPTH: Final = 32
MAX_PARTS: Final = 2_000

_OBJECT: Final = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*(?::[^\W\d]\w*(?:\.[^\W\d]\w*)*)?")
_FILES: Final = frozenset({"path", "uri", "object"})
_OF_ALL: Final = frozenset({"label", "digest", "settings"})
_KEYS: Final[Mapping[str, frozenset[str]]] = {
    "model": _FILES | {"provider", "model_id"},
    "embedding_model": _FILES | {"provider", "model_id"},
    "index": _FILES | {"collection", "embedding_model"},
    "prompt": _FILES | {"text"},
    "tools": _FILES | {"definitions"},
    "router": frozenset({"path", "object", "policy", "classifier", "candidates"}),
    "postprocess": _FILES,
    "guardrail": _FILES,
    "code": _FILES,
    "custom": _FILES,
    "stack": frozenset({"packages", "quantization", "accelerator", "driver", "object"}),
}
"""What the table of a kind may have beside label, digest and settings."""
_SOURCES: Final = ("path", "uri", "object", "text", "definitions", "policy")
"""Ways to say what a part is; a path with a URI is one: the URI tells where the same bytes lie."""
_TYPES: Final[Mapping[str, tuple[type | tuple[type, ...], str]]] = {
    "label": (str, "text"),
    "digest": (str, "text"),
    "settings": (dict, "a table"),
    "provider": (str, "text"),
    "model_id": (str, "text"),
    "path": (str, "text"),
    "uri": (str, "text"),
    "object": (str, "text"),
    "collection": (str, "text"),
    "embedding_model": (str, "text"),
    "text": (str, "text"),
    "definitions": (list, "an array of tables"),
    "classifier": (str, "text"),
    "candidates": (list, "an array of text"),
    "packages": (list, "an array of text"),
    "accelerator": (str, "text"),
    "driver": ((str, int), "text or a number"),
}
_EDGE_KEYS: Final = ("from", "to", "role")


@dataclass(frozen=True, slots=True)
class Part:
    """One component as it is described."""

    kind: str
    name: str
    said: Mapping[str, Any]
    """Its keys, checked; for sampling label, digest, object and parameters."""

    @property
    def slot(self) -> str:
        """``kind/name``."""
        return f"{self.kind}/{self.name}"

    @property
    def table(self) -> str:
        """The name of its table in the file."""
        return f"{self.kind}.{self.name}"


class EdgeLine(NamedTuple):
    """An edge as it is described; both ends are ``kind/name``."""

    source: str
    target: str
    role: str | None


@dataclass(frozen=True, slots=True)
class Description:
    """A system as a file describes it."""

    path: Path
    name: str
    parts: tuple[Part, ...] = ()
    edges: tuple[EdgeLine, ...] = ()
    slots: frozenset[str] = field(default=frozenset())

    @property
    def folder(self) -> Path:
        """What paths of the file are relative to."""
        return self.path.absolute().parent

    def error(
        self, part: Part | None, key: str, problem: str, hint: str | None = None
    ) -> SystemFileError:
        """Return the error of one *key* of *part*."""
        return SystemFileError(self.path.name, part.table if part else "", key, problem, hint=hint)


def read_description(path: str | os.PathLike[str]) -> Description:
    """Return what the file at *path* describes.

    Raises:
        SystemFileError: it cannot be read, is no TOML, or says what cannot be.
    """
    place = Path(path)
    try:
        with place.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SystemFileError(
            place.name,
            "",
            "",
            f"it cannot be read: {error.strerror or error}.",
            hint="'mvtrace pin --file FILE' names another; see the README for what it holds.",
        ) from error
    return description_of(raw, place)


def description_of(raw: bytes, path: Path) -> Description:
    """Return what the bytes of a description say; *path* is where they come from.

    Raises:
        SystemFileError: they are no TOML, or say what cannot be.
    """
    reader = _Reader(path)
    said = reader.parsed(raw)
    name = reader.text(said, "", "name", needed='name = "…" names the system')
    unknown = said.keys() - {"name", "edges", *KINDS}
    if unknown:
        raise reader.error(
            "",
            min(unknown),
            "there is no such kind of component.",
            f"Kinds are: {', '.join(KINDS)}.",
        )
    parts = tuple(part for kind in KINDS for part in reader.parts(kind, said.get(kind, {})))
    if not parts:
        raise reader.error("", "", "it describes no component.", "Begin with [model.NAME].")
    if len(parts) > MAX_PARTS:
        raise reader.error("", "", f"it describes {len(parts):,} components, over {MAX_PARTS:,}.")
    slots = frozenset(part.slot for part in parts)
    return Description(path, name, parts, reader.edges(said.get("edges", [])), slots)


class _Reader:
    """Checks the tables of one file."""

    def __init__(self, path: Path) -> None:
        self._name = path.name

    def error(self, table: str, key: str, problem: str, hint: str | None = None) -> SystemFileError:
        return SystemFileError(self._name, table, key, problem, hint=hint)

    def parsed(self, raw: bytes) -> dict[str, Any]:
        """Return the tables of the file."""
        import tomllib  # noqa: PLC0415 (4 ms of an import, for a process that reads no such file)

        if len(raw) > MAX_BYTES:
            raise self.error("", "", f"it is longer than {MAX_BYTES:,} bytes.")
        try:
            said = tomllib.loads(raw.decode())
        except UnicodeDecodeError as error:
            raise self.error("", "", f"it is not UTF-8 at byte {error.start}.") from error
        except (ValueError, RecursionError) as error:
            problem = "it nests too deep" if isinstance(error, RecursionError) else f"{error}"
            raise self.error("", "", f"it is no TOML: {problem}.") from error
        if _depth_exceeds(said, MAX_DEPTH):
            raise self.error("", "", f"it nests deeper than {MAX_DEPTH} levels.")
        return said

    def parts(self, kind: str, tables: object) -> list[Part]:
        if not isinstance(tables, dict):
            raise self.error("", kind, "it is no table.", f"Write [{kind}.NAME].")
        return [self._part(kind, name, table) for name, table in tables.items()]

    def _part(self, kind: str, name: str, table: object) -> Part:
        where = f"{kind}.{name}"
        if not isinstance(table, dict):
            raise self.error(kind, name, "it is no table.", f"Write [{kind}.NAME].")
        said = _sampling(table) if kind == "sampling" else table
        self._check_keys(kind, where, said)
        for key, value in said.items():
            self._check_type(where, key, value)
        self._check_texts(where, said)
        self._check_sources(kind, where, said)
        return Part(kind, name, said)

    def _check_keys(self, kind: str, where: str, said: Mapping[str, Any]) -> None:
        if kind == "sampling":
            return
        known = _KEYS[kind] | _OF_ALL
        for key in said:
            if key not in known:
                raise self.error(
                    where,
                    key,
                    f"a {kind} has no such key; it has {', '.join(sorted(known))}.",
                    f"Facts of your own go into [{where}.settings].",
                )

    def _check_type(self, where: str, key: str, value: object) -> None:
        types, words = _TYPES.get(key, (object, ""))
        if not isinstance(value, types) or (isinstance(value, bool) and types is not object):
            raise self.error(where, key, f"it is {_shown(value)}; it is {words}.")
        if key in ("candidates", "packages") and not all(isinstance(one, str) for one in value):  # type: ignore[attr-defined]  # a list by now
            raise self.error(where, key, f"it is {_shown(value)}; it is {words}.")

    def _check_texts(self, where: str, said: Mapping[str, Any]) -> None:
        for key in ("path", "uri", "object", "provider", "model_id", "embedding_model"):
            text = said.get(key)
            if text is not None and not (text and text.isprintable()):
                raise self.error(where, key, "it is one line of printable characters.")
        if "object" in said and not _OBJECT.fullmatch(said["object"]):
            raise self.error(
                where, "object", f"it is {said['object']!r}; it is module or module:attribute."
            )
        if "uri" in said:
            self._check_uri(where, said["uri"])

    def _check_uri(self, where: str, uri: str) -> None:
        try:
            scheme = urlsplit(uri).scheme
        except ValueError as error:
            raise self.error(where, "uri", f"it is {uri!r}, which is no URI: {error}.") from error
        if not scheme:
            raise self.error(
                where,
                "uri",
                f"it is {uri!r}; a URI begins with a scheme, such as s3://BUCKET/KEY.",
                "A file of this repository is named by path.",
            )
        if any("@" in after.partition("/")[0] for after in uri.split("://")[1:]):
            problem = "it holds a user or a password, which would be registered for ever."
            hint = "Take it out; credentials belong into the environment."
            raise self.error(where, "uri", problem, hint)
        if "?" in uri or "#" in uri:
            raise self.error(
                where,
                "uri",
                "it has a query (?) or a fragment (#), and tokens in these would be registered for "
                "ever.",
                "Leave it out; what cannot be read without it is downloaded and named by path.",
            )

    def _check_sources(self, kind: str, where: str, said: Mapping[str, Any]) -> None:
        given = [key for key in _SOURCES if key in said]
        if "path" in given and "uri" in given:
            given.remove("uri")
        if len(given) > 1:
            raise self.error(
                where,
                given[1],
                f"{' and '.join(given)} both say what it is.",
                "Keep one of them; a uri beside a path tells where the same bytes lie.",
            )
        if "object" in said and (beside := sorted({"provider", "model_id"} & said.keys())):
            raise self.error(where, beside[0], "beside object it says the same twice.")
        needs = {"prompt": "path, text, uri or object", "tools": "path, definitions or object"}
        needs |= {"index": "path, uri or object", "code": "object, path or uri"}
        if kind in needs and not given:
            raise self.error(where, "", f"nothing says what it is; it has {needs[kind]}.")

    def edges(self, lines: object) -> tuple[EdgeLine, ...]:
        if not isinstance(lines, list):
            raise self.error("", "edges", "it is no array of tables.", "Write [[edges]].")
        return tuple(self._edge(number, line) for number, line in enumerate(lines, 1))

    def _edge(self, number: int, line: object) -> EdgeLine:
        where = f"edges {number}"
        if not isinstance(line, dict):
            raise self.error("", "edges", "it is no array of tables.", "Write [[edges]].")
        for key in line:
            if key not in _EDGE_KEYS:
                raise self.error(where, key, "an edge has from, to and role.")
        ends = [
            self.text(line, where, key, needed="both ends are needed") for key in ("from", "to")
        ]
        role = self.text(line, where, "role", needed="") if "role" in line else None
        return EdgeLine(ends[0], ends[1], role)

    def text(self, said: Mapping[str, Any], where: str, key: str, *, needed: str) -> str:
        if key not in said:
            raise self.error(where, key, f"it is missing; {needed}.")
        value = said[key]
        if not isinstance(value, str) or not value or not value.isprintable():
            raise self.error(where, key, f"it is {_shown(value)}; it is one line of text.")
        return value


def _sampling(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a sampling table with its parameters, which are its own keys, in one place."""
    own = {key: table[key] for key in ("label", "digest", "object") if key in table}
    parameters = {key: value for key, value in table.items() if key not in own}
    return {**own, "parameters": parameters} if parameters else own


def _depth_exceeds(value: object, left: int) -> bool:
    if not isinstance(value, (dict, list)):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return left == 0 or any(_depth_exceeds(one, left - 1) for one in inner)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."  # noqa: PLR2004 (a line's worth)
