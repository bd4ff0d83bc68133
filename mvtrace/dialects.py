"""What attributes of every instrumentor say of a call: ``schemas/semconv/dialects.json``, read.

In: the data, which says itself what it means. Out: its sources as values. Read at first use, not
at the import. The collector makes columns of it, ``capture`` keeps what content says of a call.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import orjson

from mvtrace.resources import schema_root

NAME_PATTERN: Final = r"[A-Za-z0-9][A-Za-z0-9._:/@+#-]{0,127}"
"""What is taken out of content as text has to be able to be an id, which no prose is."""


@dataclass(frozen=True, slots=True)
class Source:
    """One place where a value may be."""

    key: str
    at: str | None = None
    words: str = ""
    operations: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()

    @classmethod
    def read(cls, data: str | Mapping[str, Any]) -> Source:
        """Return what the data says, a key alone or an object."""
        said = {"key": data} if isinstance(data, str) else data
        return cls(
            said["key"],
            said.get("at"),
            said.get("words", ""),
            tuple(said.get("for", ())),
            tuple(said.get("with", ())),
        )


@cache
def mapping() -> Mapping[str, Any]:
    """Return the data."""
    read: Mapping[str, Any] = orjson.loads(
        (schema_root() / "semconv" / "dialects.json").read_bytes()
    )
    return read


def sources() -> Iterator[Source]:
    """Yield every source of a value; those of documents are others."""
    data = mapping()
    for column in data["columns"].values():
        yield from map(Source.read, column["from"])
    for those in data["sampling"].values():
        yield from map(Source.read, those)
