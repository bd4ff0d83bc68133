"""A suite: an immutable set of examples with how they are asked, named by the digest of its entry.

In: the examples (a file, or rows) and what else shapes the answers: a template, few-shot examples.
Out: the entry of kind ``suite``, and how an example of it is called. Another example, another order
of none: the root over the rows does not know their order, and a changed row is another suite.

What an example is called is its *id_key*'s value in its row, or the digest of the row: both are in
the root, so a name means the same example in every result pinned to the suite. *cluster_key* names
the value that groups examples (a document, an author) whose errors go together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from mvtrace.registry.entries import Entry, entry_of
from mvtrace.registry.errors import RegistryError

KIND: Final = "suite"
MAX_EXAMPLE: Final = 200
"""Characters of an example's name, and of a cluster's."""
MAX_EXAMPLES: Final = 10_000_000


@dataclass(frozen=True, slots=True)
class Examples:
    """The examples of a suite: *root* is the 64 hex digits over their rows."""

    root: str
    count: int


def suite_entry(
    name: str,
    examples: Examples,
    *,
    version: str = "",
    id_key: str = "",
    cluster_key: str = "",
    settings: Mapping[str, Any] | None = None,
) -> Entry:
    """Return the entry of a suite; *settings* are how its examples are asked.

    Raises:
        RegistryError: a text is none, or there are no examples.
    """
    _check(name, examples)
    said: dict[str, Any] = {
        "name": name,
        "examples": {"root": examples.root, "count": examples.count},
    }
    if id_key:
        said["examples"]["id_key"] = id_key
    said |= {
        key: value for key, value in (("version", version), ("cluster_key", cluster_key)) if value
    }
    if settings:
        said["settings"] = dict(settings)
    return entry_of(KIND, said)


def examples_said(said: Mapping[str, Any]) -> Examples:
    """Return the examples of what a stored suite says; none where it says nothing of that kind."""
    found = said.get("examples")
    root, count = (found.get("root"), found.get("count")) if isinstance(found, dict) else ("", 0)
    return Examples(
        root if isinstance(root, str) else "", count if type(count) is int and count > 0 else 0
    )


def text_said(said: object, name: str) -> str:
    """Return the text under *name* of what was stored; empty where there is none."""
    found = said.get(name) if isinstance(said, dict) else None
    return found if isinstance(found, str) else ""


def key_text(row: Mapping[str, Any], key: str) -> str:
    """Return the value of *row* under *key*, dots leading into objects, as a line of text.

    Raises:
        ValueError: there is none, or it is neither text nor a number.
    """
    value: Any = row
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            raise ValueError(f"it has no {key!r}")
        value = value[part]
    return line_of(value, repr(key))


def line_of(value: object, what: str) -> str:
    """Return *value* as the name of an example or a cluster.

    Raises:
        ValueError: it is none.
    """
    if type(value) is int:
        value = str(value)
    if not isinstance(value, str) or not 0 < len(value) <= MAX_EXAMPLE or not value.isprintable():
        raise ValueError(f"{what} is no line of 1 to {MAX_EXAMPLE} printable characters")
    return value


def _check(name: str, examples: Examples) -> None:
    if not name or not name.isprintable():
        raise RegistryError(KIND, "it has no name of one line.", hint="Give it with --name.")
    if not 0 < examples.count <= MAX_EXAMPLES:
        raise RegistryError(
            KIND,
            f"it has {examples.count:,} examples; a suite has 1 to {MAX_EXAMPLES:,}.",
        )
    if len(examples.root) != 64 or set(examples.root) - set("0123456789abcdef"):  # noqa: PLR2004
        raise RegistryError(KIND, "the root of its examples is no 64 hex digits.")
